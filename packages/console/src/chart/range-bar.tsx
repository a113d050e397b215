/** Which stretch of time the charts of a page show, in words and buttons; and the moment the cursor points at. */
import type { JSX } from 'preact';
import { formatClock, formatUtc } from '../format/times.ts';
import type { ChartGroup } from './group.ts';
import { PRESETS, panned, spanOf, zoomed } from './range.ts';

const WORDS: Record<string, string> = { '1h': '1 h', '6h': '6 h', '24h': '24 h', '7d': '7 d', '30d': '30 d' };

function Moment({ ms, nowMs }: { ms: number; nowMs: number }): JSX.Element {
  return (
    <time dateTime={new Date(ms).toISOString()} title={formatUtc(ms)}>
      {formatClock(ms, nowMs)}
    </time>
  );
}

/** The cursor's moment alone is drawn anew when it moves. */
function CursorMoment({ group }: { group: ChartGroup }): JSX.Element {
  const cursor = group.cursorMs.value;
  const now = group.nowMs.value;
  const { fromMs, toMs } = group.span.value;
  if (cursor !== null) {
    const step = group.grid.value?.stepMs ?? 1_000;
    const at = Math.round(cursor / step) * step;
    return (
      <p class="range-moment at-cursor">
        {formatClock(at, now)} <span class="muted">· {formatUtc(at)}</span>
      </p>
    );
  }
  return (
    <p class="range-moment muted">
      <Moment ms={fromMs} nowMs={now} /> – {group.range.value.kind === 'last' ? 'now' : <Moment ms={toMs} nowMs={now} />}
    </p>
  );
}

export function RangeBar({ group }: { group: ChartGroup }): JSX.Element {
  const range = group.range.value;
  const now = (): number => group.nowMs.peek();
  const pan = (share: number): void => group.change(panned(range, share, now()));
  const zoom = (factor: number): void => {
    const { fromMs, toMs } = spanOf(range, now());
    group.change(zoomed(range, factor, range.kind === 'last' ? toMs : (fromMs + toMs) / 2, now()));
  };
  return (
    <div class="range-bar" role="toolbar" aria-label="Time shown">
      <div class="range-presets" role="group" aria-label="The last">
        {PRESETS.map(({ word, ms }) => (
          <button
            key={word}
            type="button"
            aria-pressed={range.kind === 'last' && range.ms === ms}
            onClick={() => group.change({ kind: 'last', ms })}
          >
            {WORDS[word] ?? word}
          </button>
        ))}
      </div>
      <div class="range-steps" role="group" aria-label="Move">
        <button type="button" aria-label="Earlier" title="Earlier (Shift and drag, or Page Up, in a chart)" onClick={() => pan(-0.5)}>
          ‹
        </button>
        <button type="button" aria-label="Later" title="Later (Page Down)" disabled={range.kind === 'last'} onClick={() => pan(0.5)}>
          ›
        </button>
        <button type="button" aria-label="Show less time" title="Zoom in (drag over a chart, or +)" onClick={() => zoom(0.5)}>
          +
        </button>
        <button type="button" aria-label="Show more time" title="Zoom out (double click, or −)" onClick={() => zoom(2)}>
          −
        </button>
        {range.kind === 'last' ? null : (
          <button
            type="button"
            class="range-now"
            onClick={() => group.change({ kind: 'last', ms: Math.min(30 * 86_400_000, Math.round(range.toMs - range.fromMs)) })}
          >
            Now
          </button>
        )}
      </div>
      <CursorMoment group={group} />
    </div>
  );
}
