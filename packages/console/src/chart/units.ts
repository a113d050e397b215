/** Values and axes in the unit they have: bytes by powers of two, ratios as percent, seconds as they are long. */
import { NOTHING, formatBytes, formatDuration } from '../format/quantities.ts';

export type Unit = 'ratio' | 'bytes' | 'bytes/s' | 'seconds' | 'count' | '1/s';

const plain = (value: number, digits: number): string => value.toLocaleString('en-US', { maximumFractionDigits: digits });

function formatCountLike(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e9) return `${plain(value / 1e9, 1)} G`;
  if (size >= 1e6) return `${plain(value / 1e6, 1)} M`;
  if (size >= 1e4) return `${plain(value / 1e3, 1)} k`;
  return plain(value, size >= 100 ? 0 : size >= 1 ? 2 : 3);
}

function formatSeconds(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return '0 s';
  if (size < 1e-3) return `${plain(value * 1e6, 0)} µs`;
  if (size < 1) return `${plain(value * 1e3, size < 0.01 ? 2 : 0)} ms`;
  return size < 120 ? `${plain(value, 2)} s` : formatDuration(value);
}

/** A value to be read: more exact than the axis. Mirrored values lie below zero for the eye alone. */
export function formatValue(value: number | null | undefined, unit: Unit): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NOTHING;
  switch (unit) {
    case 'ratio': {
      const percent = value * 100;
      return `${percent.toFixed(Math.abs(percent) < 9.95 && percent !== 0 ? 1 : 0)} %`;
    }
    case 'bytes':
      return formatBytes(value);
    case 'bytes/s':
      return `${formatBytes(value)}/s`;
    case 'seconds':
      return formatSeconds(value);
    case '1/s':
      return `${formatCountLike(value)}/s`;
    case 'count':
      return formatCountLike(value);
  }
}

/** A tick of an axis. */
export function formatTick(value: number, unit: Unit): string {
  switch (unit) {
    case 'ratio':
      return `${Number((value * 100).toFixed(3))} %`;
    case 'bytes':
    case 'bytes/s':
      return value === 0 ? '0' : formatBytes(Math.abs(value)).replace('.0 ', ' ');
    case 'seconds':
      return value === 0 ? '0' : formatSeconds(value);
    default:
      return formatCountLike(Math.abs(value));
  }
}

const decimal: number[] = [];
for (let power = -6; power < 13; power += 1) for (const digit of [1, 2, 5]) decimal.push(Number(`${digit}e${power}`));
const binary = Array.from({ length: 60 }, (_, power) => 2 ** power);
const shares = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10];
const days = [86_400, 2 * 86_400, 5 * 86_400, 10 * 86_400, 30 * 86_400, 90 * 86_400, 365 * 86_400];

/** By how much ticks may lie apart. */
export function tickSteps(unit: Unit): number[] {
  if (unit === 'bytes' || unit === 'bytes/s') return binary;
  if (unit === 'ratio') return shares;
  if (unit === 'count') return decimal.filter((step) => step >= 0.01);
  if (unit === 'seconds') return [...decimal.filter((step) => step <= 10), 30, 60, 300, 600, 1_800, 3_600, 7_200, 21_600, 43_200, ...days];
  return decimal;
}
