/** A ratio as a number and a thin level of water below the line it should not reach. */
import type { JSX } from 'preact';
import { levelOf, type Bounds } from '../fleet/bounds.ts';
import { formatRatio } from '../format/quantities.ts';

/** The number speaks; the bar is for the eye. */
export function RatioLevel({ ratio, bounds }: { ratio: number | null; bounds: Bounds }): JSX.Element {
  const level = levelOf(ratio, bounds);
  return (
    <span class={`ratio ratio-${level}`}>
      <span class="ratio-number">{formatRatio(ratio)}</span>
      <span class="bar" aria-hidden="true">
        {ratio === null ? null : <span class="bar-fill" style={{ width: `${Math.min(100, Math.max(0, ratio * 100)).toFixed(1)}%` }} />}
        <span class="bar-mark" style={{ left: `${bounds.critical * 100}%` }} />
      </span>
    </span>
  );
}
