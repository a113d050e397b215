/** Alerts of a node that this database does not have end at the start; all others go on. */
import { ManualClock } from '@tidemark/service';
import { expect, test } from 'vitest';
import { closeStrangers } from './alerting.ts';
import { memoryRecorder, openingOf } from './incidents/testing.ts';

test('a journal that was written beside another database keeps no alert open for ever', async () => {
  const clock = new ManualClock();
  const recorder = memoryRecorder(clock);
  const at = clock.wallMs();
  const opened = (incidentId: string, nodeId: number) => ({ kind: 'opened' as const, at, opening: openingOf(incidentId, { nodeId }) });
  await recorder.record([opened('ours', 1), opened('of-a-namesake', 2), opened('of-nobody', 3)]);
  const nodes = new Map([
    [1, { createdAt: at - 1 }],
    [2, { createdAt: at + 1 }],
  ]);
  clock.advance(60_000);
  await closeStrangers(recorder, { byId: (id) => nodes.get(id) }, clock.wallMs());
  const open = [...recorder.book.incidents()].filter(({ closedAt }) => closedAt === null);
  expect(open.map(({ incidentId }) => incidentId)).toEqual(['ours']);
  expect(recorder.book.incident('of-nobody')).toMatchObject({ closeReason: 'retired', closedAt: clock.wallMs() });
});
