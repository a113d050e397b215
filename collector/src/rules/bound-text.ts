/**
 * Values and bounds in people's words: "93 % above 90 %", "112 MiB above 100 MiB". Two numbers that differ are
 * never written the same way beside each other: then they get more digits.
 */
import type { Bound } from '@tidemark/protocol';
import { holdForm, type Hold } from './duration.ts';

const DIGITS_MAX = 12;

/** A number of a unit ("ratio", "bytes", "seconds" or anything else) with about `digits` significant digits. */
export function valueText(value: number, unit: string, digits = 3): string {
  if (Number.isNaN(value)) return 'not a number';
  if (!Number.isFinite(value)) return value > 0 ? 'infinite' : 'minus infinite';
  if (unit === 'ratio') return `${rounded(value * 100, digits)} %`;
  if (unit === 'bytes') return bytesText(value, digits);
  if (unit === 'seconds') return secondsText(value, digits);
  return rounded(value, digits);
}

/** Whole digits are never rounded away. */
function rounded(value: number, digits: number): string {
  const whole = Math.trunc(Math.abs(value)).toString().length;
  return String(
    Number(value.toFixed(Math.max(0, Math.min(20, value === 0 ? 0 : digits - (Math.abs(value) < 1 ? leadingZeros(value) : whole))))),
  );
}

function leadingZeros(value: number): number {
  return Math.floor(Math.log10(Math.abs(value))) + 1;
}

function bytesText(value: number, digits: number): string {
  const size = Math.abs(value);
  const step = size < 1024 ? 0 : Math.min(5, Math.floor(Math.log2(size) / 10));
  return `${rounded(value / 2 ** (10 * step), digits)} ${['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'][step]!}`;
}

/** The two largest units, or as many as the digits ask for: "3 d 4 h". */
function secondsText(value: number, digits: number): string {
  const sign = value < 0 ? '-' : '';
  const size = Math.abs(value);
  if (size < 1 && size > 0) return `${sign}${rounded(size * 1_000, digits)} ms`;
  if (size < 60) return `${sign}${rounded(size, digits)} s`;
  const parts: string[] = [];
  let rest = digits > 6 ? Number(size.toFixed(digits - 6)) : Math.round(size);
  for (const [unit, seconds] of [
    ['d', 86_400],
    ['h', 3_600],
    ['min', 60],
  ] as const) {
    const count = Math.floor(rest / seconds);
    if (count > 0) parts.push(`${count} ${unit}`);
    rest -= count * seconds;
  }
  if (rest > 0) parts.push(`${Number(rest.toFixed(6))} s`);
  return sign + parts.slice(0, digits <= 3 ? 2 : 5).join(' ');
}

/** "above 90 %", "is 0 or 2", "missing", "rose by 1 or more". */
export function boundText(bound: Bound, unit: string, digits = 3): string {
  if ('above' in bound) return `above ${valueText(bound.above, unit, digits)}`;
  if ('atLeast' in bound) return `at least ${valueText(bound.atLeast, unit, digits)}`;
  if ('below' in bound) return `below ${valueText(bound.below, unit, digits)}`;
  if ('atMost' in bound) return `at most ${valueText(bound.atMost, unit, digits)}`;
  if ('is' in bound) return `is ${alternatives(bound.is)}`;
  if ('isNot' in bound) return `is not ${alternatives(bound.isNot)}`;
  if ('roseBy' in bound) return `rose by ${valueText(bound.roseBy, unit, digits)} or more`;
  return 'missing';
}

function alternatives(values: readonly (string | number | boolean)[]): string {
  const texts = values.map(String);
  const last = texts.pop()!;
  return texts.length === 0 ? last : `${texts.join(', ')} or ${last}`;
}

/** The number a bound compares with, if it is one. */
export function boundValue(bound: Bound): number | undefined {
  if ('above' in bound) return bound.above;
  if ('atLeast' in bound) return bound.atLeast;
  if ('below' in bound) return bound.below;
  if ('atMost' in bound) return bound.atMost;
  return undefined;
}

/** "93 % above 90 %"; a value exactly on the bound reads the same as it, any other differs. */
export function crossingText(value: number, bound: Bound, unit: string): string {
  const limit = boundValue(bound);
  let digits = 3;
  if (limit !== undefined && value !== limit)
    while (digits < DIGITS_MAX && valueText(value, unit, digits) === valueText(limit, unit, digits)) digits++;
  // Said like a sentence: "0, which is 0" helps nobody.
  if (limit === undefined) return 'is' in bound || 'isNot' in bound ? `is ${valueText(value, unit)}` : boundText(bound, unit);
  return `${valueText(value, unit, digits)} ${boundText(bound, unit, digits)}`;
}

/** "for 5m without interruption", "for 10m of the last 15m", or empty for at once. */
export function holdText(hold: Hold): string {
  if (hold.trueForMs === 0) return '';
  const [part, whole] = holdForm(hold).split(' of ').map(spaced);
  return whole === undefined ? `for ${part!} without interruption` : `for ${part!} of the last ${whole}`;
}

/** "1h30m" as "1 h 30 min". */
function spaced(duration: string): string {
  return duration.replaceAll(/(\d+)([dhms])/g, (_, count: string, unit: string) => ` ${count} ${unit === 'm' ? 'min' : unit}`).trim();
}
