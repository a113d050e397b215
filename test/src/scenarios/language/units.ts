/** Durations, sizes and rates as people write them in a scenario ("500 ms", "1.5s", "2 MB", "500 kB/s"), and back. Each reading throws a sentence that says what is allowed. */

const DURATION_UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, min: 60_000, h: 3_600_000 };
const SIZE_UNITS: Readonly<Record<string, number>> = { B: 1, kB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 };

/** Milliseconds of "2s", "500ms", "1.5min". */
export function parseDuration(text: string): number {
  return quantity(text, DURATION_UNITS, 'a duration (500ms, 2s, 1.5min, 1h)');
}

/** Bytes of "100B", "500kB", "1.5MB"; as PostgreSQL counts, kB is 1024. */
export function parseSize(text: string): number {
  return quantity(text, SIZE_UNITS, 'a size (100B, 500kB, 16MB, 1GB)');
}

/** Bytes a second of "500kB/s". */
export function parseRate(text: string): number {
  if (!text.endsWith('/s')) throw new Error(`${JSON.stringify(text)} is not a rate (500kB/s, 2MB/s)`);
  return quantity(text.slice(0, -2), SIZE_UNITS, 'a rate (500kB/s, 2MB/s)');
}

export function parseNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new Error(`${JSON.stringify(text)} is not a number`);
  return value;
}

function quantity(text: string, units: Readonly<Record<string, number>>, what: string): number {
  const match = /^(\d+(?:\.\d+)?)([A-Za-z]+)$/.exec(text);
  const unit = match === null ? undefined : units[match[2]!];
  if (match === null || unit === undefined) {
    // A bare 0 is the same in every unit.
    if (text === '0') return 0;
    throw new Error(`${JSON.stringify(text)} is not ${what}`);
  }
  return Number(match[1]) * unit;
}

/** "0.4 s", "12 s", "3 min". */
export function showSeconds(seconds: number): string {
  if (!Number.isFinite(seconds)) return 'for ever';
  if (seconds >= 7_200) return `${(seconds / 3600).toFixed(1)} h`;
  if (seconds >= 120) return `${(seconds / 60).toFixed(1)} min`;
  return `${seconds >= 10 ? seconds.toFixed(0) : seconds.toFixed(1)} s`;
}

/** "56 B", "1.2 MB". */
export function showBytes(bytes: number): string {
  if (Math.abs(bytes) < 1024) return `${bytes} B`;
  for (const [unit, size] of [
    ['kB', 1024],
    ['MB', 1024 ** 2],
  ] as const) {
    const value = bytes / size;
    if (Math.abs(value) < 1024) return `${value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${unit}`;
  }
  return `${(bytes / 1024 ** 3).toFixed(1)} GB`;
}
