/** A layer says what decides, and not what a rule is called. */
import { expect, test } from 'vitest';
import { decisive } from './layers.tsx';

test('bounds, durations, labels and switches decide; names and texts do not', () => {
  const decides = ['warning.above = 75%', 'critical.for = 5m', 'enabled = false', 'labels.fstype = ["!nfs*"]', 'suppressedBy = []'];
  const not = ['kind = threshold', 'title = Disk', 'metric = x', 'runbook = /runbooks/x', 'annotations.summary = above 75%'];
  expect(decisive([...not, ...decides])).toEqual(decides);
});
