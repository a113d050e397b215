/**
 * Durations as people write them ("90s", "5m", "1h30m", "2d") and holds ("10m of 15m"). What is written is
 * parsed to whole milliseconds, and what is parsed is written back so that it parses to the same.
 */

const UNIT_MS = { w: 604_800_000, d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000 } as const;
type Unit = keyof typeof UNIT_MS;
const FORM = /^(?:(\d{1,9})w)?(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?$/;
const ORDER: readonly Unit[] = ['w', 'd', 'h', 'm', 's'];

/** How long something has to have been true, of how long a time. Both the same: without interruption. */
export interface Hold {
  readonly trueForMs: number;
  readonly ofLastMs: number;
}

/** Milliseconds of "1h30m"; blanks between the parts are allowed, the units fall from left to right. Undefined for any other text. */
export function parseDuration(text: string): number | undefined {
  const compact = text.replace(/\s+/g, '');
  const match = FORM.exec(compact);
  if (compact === '' || match === null) return undefined;
  return ORDER.reduce((total, unit, i) => total + Number(match[i + 1] ?? 0) * UNIT_MS[unit], 0);
}

/** The shortest text that `parseDuration` reads as the same; `ms` is whole seconds. */
export function durationText(ms: number): string {
  let rest = Math.round(ms / 1_000) * 1_000;
  if (rest === 0) return '0s';
  let text = '';
  // Weeks are understood, but "10d" is clearer than "1w3d".
  for (const unit of ORDER.slice(1)) {
    const count = Math.floor(rest / UNIT_MS[unit]);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * UNIT_MS[unit];
  }
  return text;
}

/** "5m" is without interruption, "10m of 15m" for ten of the last fifteen minutes. */
export function parseHold(text: string): Hold | undefined {
  const parts = text.trim().split(/\s+of\s+/);
  const [trueForMs, ofLastMs] = parts.map(parseDuration);
  if (trueForMs === undefined || parts.length > 2) return undefined;
  if (parts.length === 1) return { trueForMs, ofLastMs: trueForMs };
  return ofLastMs === undefined ? undefined : { trueForMs, ofLastMs };
}

/** What `parseHold` reads as the same. */
export function holdForm({ trueForMs, ofLastMs }: Hold): string {
  return trueForMs === ofLastMs ? durationText(trueForMs) : `${durationText(trueForMs)} of ${durationText(ofLastMs)}`;
}
