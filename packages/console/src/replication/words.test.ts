import type { ReplicationLag, ReplicationSlot } from '@tidemark/protocol';
import { expect, test } from 'vitest';
import { slotOf } from '../../dev/mock-cluster.ts';
import { SHIPPED } from '../fleet/bounds.ts';
import { catchupText, formatLagSeconds, formatMinute, isBehind, lagText, lagWords, lossText, slotWords } from './words.ts';

const AT = '2026-11-21T14:05:00.000Z';
const NOW_MS = Date.parse(AT);
const lag = (seconds: number, lowerSeconds: number, upperSeconds: number | null, unknownSince: string | null = null): ReplicationLag => ({
  seconds,
  lowerSeconds,
  upperSeconds,
  bytes: null,
  source: 'primary',
  at: AT,
  unknownSince,
});

test('seconds as they are long', () => {
  expect(
    [0, 0.04, 0.4, 3.4, 9.94, 9.97, 12.2, 59.7, 60, 252, 3_599.6, 3_600, 40 * 3_600 + 12 * 60, 5 * 86_400].map((s) => formatLagSeconds(s)),
  ).toEqual(['0 s', '0 s', '0.4 s', '3.4 s', '9.9 s', '10 s', '12 s', '1 min', '1 min', '4 min 12 s', '1 h', '1 h', '40 h 12 min', '5 d']);
  expect([formatLagSeconds(3.4, 'down'), formatLagSeconds(3.4, 'up')]).toEqual(['3.4 s', '3.4 s']);
  expect([formatLagSeconds(3.44, 'down'), formatLagSeconds(3.41, 'up')]).toEqual(['3.4 s', '3.5 s']);
  expect([formatLagSeconds(61.9, 'down'), formatLagSeconds(61.1, 'up')]).toEqual(['1 min 1 s', '1 min 2 s']);
});

test('a lag is a figure with its bounds', () => {
  expect(lagText(lag(0, 0, 0), NOW_MS)).toBe('0 s');
  expect(lagText(lag(0, 0, 1.96), NOW_MS)).toBe('≤ 2 s');
  expect(lagText(lag(3.4, 2.14, 4.27), NOW_MS)).toBe('3.4 s (2.1–4.3 s)');
  expect(lagText(lag(1.1, 0, 2.2), NOW_MS)).toBe('1.1 s (0–2.2 s)');
  expect(lagText(lag(252, 251, 253.4), NOW_MS)).toBe('4 min 12 s');
  expect(lagText(lag(65, 58, 71), NOW_MS)).toBe('1 min 5 s (58 s – 1 min 11 s)');
});

test('what is not known is never nothing', () => {
  const since = '2026-11-21T14:03:10.000Z';
  expect(lagText(null, NOW_MS)).toBe('not known');
  expect(lagText(lag(720, 720, null, since), NOW_MS)).toBe(
    `at least 12 min – the primary has not been seen since ${formatMinute(since, NOW_MS)}`,
  );
  expect(lagText(lag(0, 0, null, since), NOW_MS)).toMatch(/^not known – the primary has not been seen since \d\d:\d\d$/);
  expect(lagText(lag(0, 0, 1, since), NOW_MS)).toMatch(/^not known – /);
  expect(lagText(lag(7, 5, null), NOW_MS)).toBe('at least 5 s');
});

test('the words never claim more than the bounds do', () => {
  const read = (text: string): number => {
    const [, hours = '0'] = /([\d.]+) h/.exec(text) ?? [];
    const [, minutes = '0'] = /([\d.]+) min/.exec(text) ?? [];
    const [, seconds = '0'] = /([\d.]+) s/.exec(text) ?? [];
    return Number(hours) * 3_600 + Number(minutes) * 60 + Number(seconds);
  };
  for (let n = 0; n < 5_000; n += 1) {
    const seconds = 10 ** ((n / 5_000) * 6.5 - 1);
    if (seconds >= 100 * 3_600) break;
    expect(read(formatLagSeconds(seconds, 'down'))).toBeLessThanOrEqual(seconds + 1e-6);
    expect(read(formatLagSeconds(seconds, 'up'))).toBeGreaterThanOrEqual(seconds - 1e-6);
    const { value } = lagWords(lag(0, 0, null, AT), NOW_MS);
    expect(value).toBe('not known');
    expect(lagWords(lag(0, 0, seconds), NOW_MS).value).toMatch(/^≤ /);
  }
});

test('when it has caught up, or that it never will', () => {
  expect(catchupText({ state: 'catching_up', catchup: 'converging', catchupSeconds: 190 })).toBe('caught up in ~3 min');
  expect(catchupText({ state: 'catching_up', catchup: 'converging', catchupSeconds: 171 })).toBe('caught up in ~3 min');
  expect(catchupText({ state: 'catching_up', catchup: 'converging', catchupSeconds: 0.2 })).toBe('caught up in ~1 s');
  expect(catchupText({ state: 'catching_up', catchup: 'never', catchupSeconds: null })).toBe('never at this rate');
  expect(catchupText({ state: 'catching_up', catchup: 'converging', catchupSeconds: null })).toBeNull();
  expect(catchupText({ state: 'catching_up', catchup: 'caught_up', catchupSeconds: null })).toBeNull();
  expect(catchupText({ state: 'paused', catchup: 'never', catchupSeconds: null })).toBe('not while it is paused');
  expect(catchupText({ state: 'catching_up', catchup: 'unknown', catchupSeconds: 3 })).toBeNull();
});

test('a slot is taken by what is lost or about to be, the soonest named, and what runs out is rounded down', () => {
  const slot = slotOf('db-1', 's', { usedBy: null });
  const words = (parts: Partial<ReplicationSlot>): unknown[] => Object.values(slotWords({ ...slot, ...parts }, SHIPPED.diskFull));
  expect(words({ active: true })).toEqual(['active', null, null]);
  expect(words({ active: false, diskFullInSeconds: 90_000 })).toEqual(['idle', null, null]);
  expect(words({ active: null })).toEqual(['unknown', null, null]);
  expect(words({ diskFullInSeconds: 14_400 })).toEqual(['danger', 'warning', 'disk full in ~4 h']);
  expect(words({ diskFullInSeconds: 3_600, lostInSeconds: 1_379 })).toEqual(['danger', 'critical', 'lost in ~22 min']);
  expect(words({ walStatus: 'unreserved' })).toEqual(['danger', 'critical', 'may be lost at any checkpoint']);
  expect(words({ walStatus: 'lost', lostInSeconds: 3 })).toEqual(['lost', 'critical', 'lost']);
  expect(words({ invalidationReason: 'wal_removed' })).toEqual(['lost', 'critical', 'lost: wal removed']);
});

test('what is not behind has no backlog to speak of', () => {
  expect([lag(0, 0, 0), lag(0, 0, 2), lag(0.4, 0, 2), lag(0, 0, null), lag(0, 0, 1, AT)].map(isBehind)).toEqual([
    false,
    false,
    true,
    true,
    true,
  ]);
});

test('what would be lost, and what is', () => {
  expect(lossText(null, false)).toBe('not known');
  expect(lossText(0, false)).toBe('nothing');
  expect(lossText(1_258_291, false)).toBe('1.2 MiB');
  expect(lossText(1_258_291, true)).toBe('1.2 MiB unless it comes back');
  expect(lossText(0, true)).toBe('nothing is known to be missing');
});
