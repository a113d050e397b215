/** Moments in the viewer's zone for reading, and in UTC for comparing with a log: every shown time carries both. */
const pad = (value: number): string => String(value).padStart(2, '0');

/** "12:03:05" in the viewer's zone, with the date before it when `nowMs` is another day there. */
export function formatClock(atMs: number, nowMs: number): string {
  const at = new Date(atMs);
  if (Number.isNaN(at.getTime())) return '–';
  const clock = `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
  if (at.toDateString() === new Date(nowMs).toDateString()) return clock;
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ${clock}`;
}

/** "2026-11-21 06:26:38 UTC". */
export function formatUtc(atMs: number): string {
  const at = new Date(atMs);
  return Number.isNaN(at.getTime()) ? '' : `${at.toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}
