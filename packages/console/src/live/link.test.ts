/** The verdicts on the connection, at their edges. */
import { expect, test } from 'vitest';
import { FRESH_MS, LOST_AFTER_MS, judgeLink, type LinkFacts } from './link.ts';

const at = (facts: Partial<LinkFacts>): string =>
  judgeLink({ nowMs: 100_000, askingSinceMs: 0, answeredAtMs: 100_000, figuresAtMs: 100_000, failure: null, ...facts }).kind;
const problem = { type: '', title: '', status: 503, code: 'database_away', detail: '' };

test('fresh figures are live', () => {
  expect(at({})).toBe('live');
  expect(at({ figuresAtMs: 100_000 - FRESH_MS })).toBe('live');
});

test('one failed question does not dim figures that are still fresh', () => {
  expect(at({ figuresAtMs: 95_000, failure: { kind: 'problem', problem } })).toBe('live');
});

test('no answer for long enough is a connection lost, whatever the figures', () => {
  expect(at({ answeredAtMs: 100_000 - LOST_AFTER_MS })).toBe('live');
  expect(at({ answeredAtMs: 99_999 - LOST_AFTER_MS })).toBe('lost');
  expect(at({ answeredAtMs: null, figuresAtMs: null, askingSinceMs: 99_999 - LOST_AFTER_MS })).toBe('lost');
});

test('answers without figures are trouble once the figures are old', () => {
  expect(at({ figuresAtMs: 80_000, failure: { kind: 'problem', problem } })).toBe('troubled');
  expect(at({ figuresAtMs: 80_000 })).toBe('troubled');
});

test('back in sight after an hour: neither fresh nor lost, but asking', () => {
  expect(at({ figuresAtMs: 20_000, answeredAtMs: 20_000, askingSinceMs: 99_000 })).toBe('resuming');
  expect(at({ figuresAtMs: 20_000, answeredAtMs: 20_000, askingSinceMs: 95_000 })).toBe('lost');
});

test('before the first figures', () => {
  expect(at({ figuresAtMs: null })).toBe('waiting');
  expect(at({ figuresAtMs: null, failure: { kind: 'forbidden', problem } })).toBe('troubled');
});
