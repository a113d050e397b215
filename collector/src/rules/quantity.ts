/**
 * Bounds as people write them: a number in the metric's base unit, or a percentage, a size or a time. A unit that
 * does not belong to the metric is a mistake, and so is 70 where a ratio from 0 to 1 is meant.
 */
import { durationText, parseDuration } from './duration.ts';

/** The units a rule can have; '' is a plain count. */
export const UNITS = ['ratio', 'bytes', 'seconds', ''] as const;
export type RuleUnit = (typeof UNITS)[number];

const SIZES: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};
const PERCENT = /^(\d+(?:\.\d+)?)\s*%$/;
const SIZE = /^(\d+(?:\.\d+)?)\s*([kKMGT]i?B|B)$/;
const SECONDS = /^(\d+(?:\.\d+)?)\s*(ms|s)$/;

interface Read {
  readonly unit: RuleUnit;
  readonly value: number;
}

function readText(text: string): Read | undefined {
  const percent = PERCENT.exec(text);
  // Over 100 and not times 0.01, so that "70%" is exactly what 0.7 is.
  if (percent !== null) return { unit: 'ratio', value: Number(percent[1]) / 100 };
  const size = SIZE.exec(text);
  const factor = size === null ? undefined : SIZES[size[2]!];
  if (size !== null && factor !== undefined) return { unit: 'bytes', value: Number(size[1]) * factor };
  const seconds = SECONDS.exec(text);
  if (seconds !== null) return { unit: 'seconds', value: Number(seconds[1]) / (seconds[2] === 'ms' ? 1_000 : 1) };
  const ms = parseDuration(text);
  return ms === undefined ? undefined : { unit: 'seconds', value: ms / 1_000 };
}

/** Whether a text is a percentage, a size or a time. */
export function isQuantity(text: string): boolean {
  return readText(text.trim()) !== undefined;
}

/** The unit that a metric's name tells: its last part that is one ("…_bytes_behind", "…_seconds_total"). */
export function unitOfMetric(metric: string | null): RuleUnit {
  const parts = (metric ?? '').split('_').slice(1);
  return parts.findLast((part): part is 'ratio' | 'bytes' | 'seconds' => part === 'ratio' || part === 'bytes' || part === 'seconds') ?? '';
}

const EXAMPLES: Readonly<Record<RuleUnit, string>> = {
  ratio: 'a percentage (70%) or a number from 0 to 1',
  bytes: 'a size (100MiB) or a number of bytes',
  seconds: 'a time (2s, 14d) or a number of seconds',
  '': 'a plain number',
};

/** The number in base units, or the sentence that says what is wrong with it. */
export function toBaseUnit(written: number | string, unit: RuleUnit): { value: number } | { mistake: string } {
  if (typeof written === 'number') {
    if (unit === 'ratio' && (written > 1 || written < 0))
      return {
        mistake: `${written} is no ratio from 0 to 1${written > 1 && written <= 100 ? `: write ${written}% or ${written / 100}` : ''}`,
      };
    return { value: written };
  }
  const read = readText(written.trim());
  if (read === undefined || read.unit !== unit) {
    const what = unit === '' ? 'the metric has no unit' : `the metric is in ${unit === 'ratio' ? 'ratios' : unit}`;
    return { mistake: `"${written}" does not fit: ${what}, write ${EXAMPLES[unit]}` };
  }
  if (unit === 'ratio' && read.value > 1) return { mistake: `${written} is more than all: write at most 100%` };
  return { value: read.value };
}

/** A number in base units, as it is best written in the file. */
export function quantityForm(value: number, unit: RuleUnit): string {
  if (unit === 'ratio') return `${Number((value * 100).toPrecision(12))}%`;
  if (unit === 'seconds' && Number.isInteger(value) && value > 0) return durationText(value * 1_000);
  if (unit === 'seconds') return `${value}s`;
  if (unit === 'bytes' && value > 0) {
    const name = ['TiB', 'GiB', 'MiB', 'KiB'].find((one) => Number.isInteger(value / SIZES[one]!));
    if (name !== undefined) return `${value / SIZES[name]!}${name}`;
  }
  return String(value);
}
