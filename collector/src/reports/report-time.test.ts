/** Where reports are placed in time when clocks are wrong, are set, or when a report waited. */
import { expect, test } from 'vitest';
import { ClockOffset, placeInTime } from './report-time.ts';

const NOW = Date.UTC(2026, 5, 1, 12);
const HOUR = 3_600_000;
const boot = 'a';

/** A report taken `ageMs` before the sending, by an agent whose clock is `aheadMs` ahead. */
function sent(
  ageMs: number,
  aheadMs = 0,
): {
  report: { bootId: string; takenAt: number; monotonicMs: number };
  request: { bootId: string; sentAt: number; sentMonotonicMs: number };
} {
  return {
    report: { bootId: boot, takenAt: NOW + aheadMs - ageMs, monotonicMs: 5 * HOUR - ageMs },
    request: { bootId: boot, sentAt: NOW + aheadMs, sentMonotonicMs: 5 * HOUR },
  };
}

test('a right clock is taken as it is', () => {
  const { report, request } = sent(1_200);
  expect(placeInTime(report, request, 40, NOW + 40)).toMatchObject({ at: NOW - 1_200, live: true });
});

test.each([-HOUR, HOUR])('a clock %i ms off is corrected, and its report is live, not a backlog', (aheadMs) => {
  const { report, request } = sent(1_000, aheadMs);
  expect(placeInTime(report, request, -aheadMs, NOW)).toMatchObject({ at: NOW - 1_000, live: true });
});

test('a report that waited is back-fill, by a right clock and by a wrong one', () => {
  for (const aheadMs of [0, HOUR]) {
    const { report, request } = sent(10 * 60_000, aheadMs);
    expect(placeInTime(report, request, -aheadMs, NOW)).toMatchObject({ at: NOW - 10 * 60_000, live: false });
  }
});

test('a clock set between taking and sending does not misfile what waited', () => {
  const { report, request } = sent(120_000);
  // It was an hour ahead when the report was taken; it is right now.
  expect(placeInTime({ ...report, takenAt: report.takenAt + HOUR }, request, 0, NOW)).toMatchObject({ at: NOW - 120_000, live: false });
});

test('a time that cannot be true is a sentence', () => {
  const { report, request } = sent(0);
  const other = { ...report, bootId: 'earlier run' };
  expect(placeInTime({ ...other, takenAt: NOW + 2 * HOUR }, request, 0, NOW)).toMatch(/7200 s from now/);
  expect(placeInTime({ ...other, takenAt: 0 }, request, 0, NOW)).toMatch(/days ago/);
  expect(placeInTime({ ...other, takenAt: 1e300 }, request, 0, NOW)).toMatch(/not a time/);
});

test('the offset is the smallest difference lately, and a clock that was set starts it anew', () => {
  const offset = new ClockOffset();
  const note = (atMs: number, aheadMs: number, delayMs: number, bootId = boot): boolean =>
    offset.note({ bootId, sentAt: NOW + atMs + aheadMs, sentMonotonicMs: atMs }, NOW + atMs + delayMs);
  expect(note(0, 0, 900)).toBe(false);
  note(5_000, 0, 30);
  note(10_000, 0, 4_000);
  expect(offset.offsetMs).toBe(30);
  expect(note(15_000, HOUR, 20)).toBe(true);
  expect(offset.offsetMs).toBe(20 - HOUR);
  expect(note(20_000, 0, 25, 'another run')).toBe(false);
  expect(offset.offsetMs).toBe(25);
});

test('an old smallest difference is forgotten after two windows', () => {
  const offset = new ClockOffset();
  for (let minute = 0; minute <= 20; minute++) {
    const atMs = minute * 60_000;
    // The clock drifts by 10 ms a minute.
    offset.note({ bootId: boot, sentAt: NOW + atMs - minute * 10, sentMonotonicMs: atMs }, NOW + atMs);
  }
  expect(offset.offsetMs).toBeGreaterThan(80);
});
