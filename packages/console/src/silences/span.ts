/** For how long a silence is: the spans that are offered, and one's own. Everything ends; the longest is a year. */

export type Span = { kind: 'hours'; hours: number } | { kind: 'morning' } | { kind: 'until'; local: string };

const MINUTE_MS = 60_000;
const YEAR_SECONDS = 31_536_000;
const MORNING_HOUR = 8;

/** Eight o'clock of the next day in the viewer's zone; before then, of this one: who silences at 2 at night means the coming morning. */
export function nextMorning(nowMs: number): number {
  const at = new Date(nowMs);
  at.setHours(MORNING_HOUR, 0, 0, 0);
  if (at.getTime() - nowMs < MINUTE_MS) at.setDate(at.getDate() + 1);
  return at.getTime();
}

/** When a span that begins now ends; null when that is no moment, is over already, or is more than a year away. */
export function endOf(span: Span, nowMs: number): number | null {
  const endMs =
    span.kind === 'hours'
      ? nowMs + span.hours * 60 * MINUTE_MS
      : span.kind === 'morning'
        ? nextMorning(nowMs)
        : new Date(span.local).getTime();
  const seconds = (endMs - nowMs) / 1_000;
  return Number.isNaN(endMs) || seconds < 60 || seconds > YEAR_SECONDS ? null : endMs;
}

const pad = (value: number): string => String(value).padStart(2, '0');

/** A moment as a `datetime-local` field has it. */
export function localField(atMs: number): string {
  const at = new Date(atMs);
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}T${pad(at.getHours())}:${pad(at.getMinutes())}`;
}
