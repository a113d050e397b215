/** Questions for time series: what is understood, and what is refused before it costs anything. */
import { ProblemError } from '@tidemark/protocol';
import { expect, test } from 'vitest';
import { readQuestion } from './question.ts';

const NOW = Date.UTC(2026, 5, 1, 12);
const read = (query: Record<string, unknown>) => readQuestion({ metric: 'm', ...query }, NOW);

test('the last hour, raw, of every node, unless told otherwise', () => {
  expect(read({})).toEqual({
    metrics: ['m'],
    node: undefined,
    site: undefined,
    labels: {},
    fromMs: NOW - 3_600_000,
    toMs: NOW,
    stepMs: undefined,
    rate: false,
    by: undefined,
    extremes: false,
  });
});

test.each([
  ['1780315200000', NOW],
  ['1780315200000.5', NOW + 0.5],
  ['2026-06-01T12:00:00Z', NOW],
  ['2026-06-01T12:00:00.250Z', NOW + 250],
  ['2026-06-01T14:00+02:00', NOW],
  ['2026-06-01T14:00 02:00', NOW],
  ['2026-06-01', NOW - 43_200_000],
])('the time %s', (to, toMs) => {
  expect(read({ to })).toMatchObject({ toMs, fromMs: toMs - 3_600_000 });
});

test('labels are named as answers name them', () => {
  expect(read({ 'label.device': 'a "b"\n', 'label.exported_site': 's', 'label.site': 'north', 'label.node': 'db1' })).toMatchObject({
    labels: { device: 'a "b"\n', site: 's' },
    site: 'north',
    node: 'db1',
  });
});

test('steps have milliseconds', () => {
  expect(read({ step: '60' }).stepMs).toBe(60_000);
  expect(read({ step: '0.5' }).stepMs).toBe(500);
});

test('several metrics, as rates, added up by labels', () => {
  expect(read({ metric: 'a_total,b,a_total', step: '15', rate: 'true', by: 'mode,cpu' })).toMatchObject({
    metrics: ['a_total', 'b'],
    rate: true,
    by: ['mode', 'cpu'],
  });
  expect(read({ step: '15', by: '' }).by).toEqual([]);
});

test.each([
  ['no metric', { metric: undefined }],
  ['an empty one among metrics', { metric: 'a,,b' }],
  ['too many metrics', { metric: Array.from({ length: 11 }, (_, i) => `m${i}`).join(',') }],
  ['a rate without a step', { rate: 'true' }],
  ['a rate in words', { rate: 'yes', step: '15' }],
  ['sums without a step', { by: 'mode' }],
  ['sums by what is no label', { by: 'a-b', step: '15' }],
  ['extremes without a step', { extremes: 'true' }],
  ['extremes of sums', { extremes: 'true', by: 'mode', step: '15' }],
  ['a metric that cannot be', { metric: 'a-b' }],
  ['a time without its offset', { from: '2026-06-01T12:00:00' }],
  ['a time in words', { from: 'yesterday' }],
  ['a day that is not', { from: '2026-02-31T00:00:00Zx' }],
  ['from after to', { from: String(NOW), to: String(NOW - 1) }],
  ['more than 400 days', { from: String(NOW - 401 * 86_400_000) }],
  ['a step of nothing', { step: '0' }],
  ['a step in words', { step: '1m' }],
  ['a step below nothing', { step: '-1' }],
  ['a step too fine', { from: String(NOW - 86_400_000), step: '1' }],
  ['a parameter twice', { node: ['a', 'b'] }],
  ['a label that cannot be', { 'label.__proto__': 'x' }],
  ['two different nodes', { node: 'a', 'label.node': 'b' }],
])('refuses %s', (_, query) => {
  let caught: unknown;
  try {
    read(query);
  } catch (error) {
    caught = error;
  }
  expect(caught).toBeInstanceOf(ProblemError);
  expect((caught as ProblemError).code).toBe('query_invalid');
});
