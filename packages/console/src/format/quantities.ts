/** Numbers as people read them: binary bytes, percent, durations. A missing figure is a dash, never a zero. */
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'] as const;
const MINUTE = 60;
const HOUR = 3_600;
const DAY = 86_400;

/** What stands where nothing was measured. */
export const NOTHING = '–';

const counts = new Intl.NumberFormat('en-US');

/** 1000 as "1,000". */
export function formatCount(value: number): string {
  return counts.format(value);
}

/** "1 node", "2 nodes". */
export function countOf(value: number, one: string, many = `${one}s`): string {
  return `${formatCount(value)} ${value === 1 ? one : many}`;
}

/** Bytes with three significant digits at most: "512 B", "1.2 KiB", "118 MiB". */
export function formatBytes(bytes: number | null): string {
  if (bytes === null || !Number.isFinite(bytes)) return NOTHING;
  let value = Math.abs(bytes);
  let unit = 0;
  // 1023.5 would print as "1024 KiB", which nobody writes.
  while (value >= 1023.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : 1;
  const sign = bytes < 0 ? '−' : '';
  return `${sign}${value.toFixed(digits)} ${UNITS[unit] ?? 'B'}`;
}

/** A ratio 0–1 as percent. Only what is full says "100 %", only what is empty "0 %". */
export function formatRatio(ratio: number | null): string {
  if (ratio === null || !Number.isFinite(ratio)) return NOTHING;
  const percent = ratio * 100;
  if (percent > 0 && percent < 1) return '< 1 %';
  if (percent >= 99.5 && percent < 99.95) return `${(Math.floor(percent * 10) / 10).toFixed(1)} %`;
  return `${Math.round(percent)} %`;
}

/** Seconds in the two largest units that matter: "3 d 4 h", "4 h 12 min", "45 s". */
export function formatDuration(seconds: number | null): string {
  if (seconds === null || !Number.isFinite(seconds)) return NOTHING;
  const whole = Math.max(0, Math.floor(seconds));
  const two = (large: number, largeUnit: string, small: number, smallUnit: string): string =>
    small === 0 ? `${formatCount(large)} ${largeUnit}` : `${formatCount(large)} ${largeUnit} ${small} ${smallUnit}`;
  if (whole < MINUTE) return `${whole} s`;
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)} min`;
  if (whole < DAY) return two(Math.floor(whole / HOUR), 'h', Math.floor((whole % HOUR) / MINUTE), 'min');
  return two(Math.floor(whole / DAY), 'd', Math.floor((whole % DAY) / HOUR), 'h');
}

/** How long ago, in one unit: "2 s ago". A moment in the future is "0 s ago": clocks differ a little. */
export function formatAge(ageMs: number): string {
  const seconds = Math.max(0, Math.floor(ageMs / 1_000));
  if (seconds < MINUTE) return `${seconds} s ago`;
  if (seconds < HOUR) return `${Math.floor(seconds / MINUTE)} min ago`;
  if (seconds < 2 * DAY) return `${Math.floor(seconds / HOUR)} h ago`;
  return `${formatCount(Math.floor(seconds / DAY))} d ago`;
}
