/** The console's few drawings: the tide mark, and a shape for every condition, so that colour is never the only sign. */
import type { JSX } from 'preact';
import type { Condition } from '../fleet/standing.ts';
import type { Theme } from './theme.ts';

/** The sign of the product: the line that shows how far the water has come. */
export function TideMark({ size }: { size: number }): JSX.Element {
  return (
    <svg class="tide-mark" width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <path class="tide-line" d="M4 8h24" />
      <path class="tide-wave" d="M4 17.5c4-4 8-4 12 0s8 4 12 0" />
      <path class="tide-wave tide-deep" d="M4 25c4-4 8-4 12 0s8 4 12 0" />
    </svg>
  );
}

const SHAPES: Record<Condition, JSX.Element> = {
  up: <circle cx="6" cy="6" r="3.25" fill="currentColor" />,
  down: (
    <g>
      <rect x="0.5" y="0.5" width="11" height="11" rx="2.5" fill="currentColor" />
      <path d="M3.8 3.8l4.4 4.4m0-4.4L3.8 8.2" stroke="var(--on-bad)" stroke-width="1.6" stroke-linecap="round" />
    </g>
  ),
  awaited: <circle cx="6" cy="6" r="4.25" fill="none" stroke="currentColor" stroke-width="1.5" stroke-dasharray="2 1.6" />,
  pending: (
    <g fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round">
      <circle cx="6" cy="6" r="4.75" />
      <path d="M6 3.6V6l1.6 1.2" />
    </g>
  ),
  revoked: (
    <g fill="none" stroke="currentColor" stroke-width="1.5">
      <circle cx="6" cy="6" r="4.5" />
      <path d="M2.9 9.1l6.2-6.2" />
    </g>
  ),
  retired: <path d="M2.5 6h7" stroke="currentColor" stroke-width="1.75" stroke-linecap="round" />,
};

/** The shape of a condition; the word beside it speaks. */
export function ConditionShape({ condition }: { condition: Condition }): JSX.Element {
  return (
    <svg class="shape" width="12" height="12" viewBox="0 0 12 12" aria-hidden="true">
      {SHAPES[condition]}
    </svg>
  );
}

/** A small triangle for what a cell warns of. */
export function WarningShape(): JSX.Element {
  return (
    <svg class="shape" width="12" height="12" viewBox="0 0 12 12" aria-hidden="true">
      <path d="M6 1.4 11.2 10.6H.8z" fill="currentColor" />
      <path d="M6 4.6v2.7m0 1.5v.1" stroke="var(--on-bad)" stroke-width="1.2" stroke-linecap="round" />
    </svg>
  );
}

const THEMES: Record<Theme, JSX.Element> = {
  system: (
    <g>
      <circle cx="8" cy="8" r="5.5" fill="none" stroke="currentColor" stroke-width="1.5" />
      <path d="M8 2.5a5.5 5.5 0 0 1 0 11z" fill="currentColor" />
    </g>
  ),
  dark: (
    <path
      d="M13 9.6A5.6 5.6 0 0 1 6.4 3 5.6 5.6 0 1 0 13 9.6z"
      fill="none"
      stroke="currentColor"
      stroke-width="1.5"
      stroke-linejoin="round"
    />
  ),
  light: (
    <g fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round">
      <circle cx="8" cy="8" r="2.9" />
      <path d="M8 1.4v1.3m0 10.6v1.3M1.4 8h1.3m10.6 0h1.3M3.3 3.3l.9.9m7.6 7.6.9.9m0-9.4-.9.9m-7.6 7.6-.9.9" />
    </g>
  ),
};

/** Half a disk for "as the system", a moon, a sun. */
export function ThemeShape({ theme }: { theme: Theme }): JSX.Element {
  return (
    <svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">
      {THEMES[theme]}
    </svg>
  );
}
