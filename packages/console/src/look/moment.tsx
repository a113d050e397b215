/** Times on the page: "2 s ago" that moves by itself, and clock times, each with UTC on hover. */
import { computed } from '@preact/signals';
import type { JSX } from 'preact';
import { useMemo } from 'preact/hooks';
import { useConsole } from '../context.ts';
import { NOTHING, formatAge } from '../format/quantities.ts';
import { formatClock, formatUtc } from '../format/times.ts';
import { tick } from '../live/clock.ts';
import type { Feed } from '../live/feed.ts';

/** The age of a moment on the collector's clock; while figures are not fresh the clock time, which stays true. */
function ageText(feed: Feed, atMs: number): string {
  const figures = feed.figures.value;
  if (figures === null || feed.stale.value) return formatClock(atMs, Date.now());
  return formatAge(figures.collectorAtMs + (tick.value - figures.receivedAtMs) - atMs);
}

/** "2 s ago". The text alone is renewed each second, not what is around it. */
export function Ago({ at }: { at: string | null }): JSX.Element {
  const { feed } = useConsole();
  const text = useMemo(() => computed(() => (at === null ? NOTHING : ageText(feed, Date.parse(at)))), [feed, at]);
  if (at === null) return <span class="muted">never</span>;
  const atMs = Date.parse(at);
  return (
    <time dateTime={at} title={`${formatClock(atMs, Date.now())} · ${formatUtc(atMs)}`}>
      {text}
    </time>
  );
}

/** A clock time in the viewer's zone. */
export function Clock({ atMs }: { atMs: number }): JSX.Element {
  const valid = Number.isFinite(atMs);
  return (
    <time dateTime={valid ? new Date(atMs).toISOString() : ''} title={formatUtc(atMs)}>
      {formatClock(atMs, Date.now())}
    </time>
  );
}
