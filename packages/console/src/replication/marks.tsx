/** The shapes of replication: one for every mood of an instance and of a slot, so that colour is never the only sign. */
import type { ReplicationState } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { MOODS, STATE_WORDS, type SlotMood } from './words.ts';

const stroke = {
  fill: 'none',
  stroke: 'currentColor',
  'stroke-width': '1.7',
  'stroke-linecap': 'round',
  'stroke-linejoin': 'round',
} as const;
const cross = (
  <g>
    <rect x="0.5" y="0.5" width="11" height="11" rx="2.5" fill="currentColor" />
    <path d="M3.8 3.8l4.4 4.4m0-4.4L3.8 8.2" stroke="var(--on-bad)" stroke-width="1.6" stroke-linecap="round" />
  </g>
);

const SHAPES: Record<ReplicationState, JSX.Element> = {
  running: <circle cx="6" cy="6" r="3.6" fill="currentColor" />,
  streaming: <path d="M1 6h8.2M6.4 2.8 9.8 6 6.4 9.2" {...stroke} />,
  catching_up: <path d="M1.2 2.8 4.6 6 1.2 9.2M6.4 2.8 9.8 6 6.4 9.2" {...stroke} />,
  stalled: <path d="M1.6 9.6h8.8M3.4 9.6c0-4.4 5.2-3.6 5.2-7.4M3.4 2.2h5.2" {...stroke} />,
  paused: <path d="M3.6 2v8M8.4 2v8" {...stroke} stroke-width="2.6" />,
  delayed: (
    <g {...stroke} stroke-width="1.5">
      <circle cx="6" cy="6" r="4.75" />
      <path d="M6 3.6V6l1.6 1.2" />
    </g>
  ),
  archive_recovery: <path d="M1.2 1.8h9.6v2.7H1.2zM2 4.6v5.6h8V4.6M4.8 7h2.4" {...stroke} stroke-width="1.4" />,
  disconnected: <path d="M4.4 3.2H3a2.8 2.8 0 0 0 0 5.6h1.4M7.6 3.2H9a2.8 2.8 0 0 1 0 5.6H7.6M5 1l2 10" {...stroke} stroke-width="1.5" />,
  diverged: <path d="M1 6h3.2M4.2 6c2.6 0 2.4-4 6-4M4.2 6c2.6 0 2.4 4 6 4" {...stroke} />,
  starting: <circle cx="6" cy="6" r="4.25" fill="none" stroke="currentColor" stroke-width="1.6" stroke-dasharray="2 1.7" />,
  down: cross,
  insufficient_privilege: <path d="M2.6 5.4h6.8v5H2.6zM4 5.2V3.6a2 2 0 0 1 4 0v1.6" {...stroke} stroke-width="1.5" />,
  unknown: <path d="M3.6 4.2a2.4 2.2 0 1 1 3.4 2c-.7.3-1 .7-1 1.3M6 10v.1" {...stroke} />,
};

export function StateShape({ state }: { state: ReplicationState }): JSX.Element {
  return (
    <svg class={`shape mood-${MOODS[state]}`} width="12" height="12" viewBox="0 0 12 12" aria-hidden="true">
      {SHAPES[state]}
    </svg>
  );
}

/** Shape and word. */
export function StateMark({ state, why }: { state: ReplicationState; why?: string }): JSX.Element {
  return (
    <span class={`r-state tint-${MOODS[state]}`} title={why}>
      <StateShape state={state} />
      {STATE_WORDS[state]}
    </span>
  );
}

const SLOT_SHAPES: Record<SlotMood, JSX.Element> = {
  active: <circle cx="5" cy="5" r="3" fill="currentColor" />,
  idle: <circle cx="5" cy="5" r="3" fill="none" stroke="currentColor" stroke-width="1.5" />,
  unknown: <path d="M2.5 5h5" {...stroke} />,
  danger: <path d="M5 1.2 9.4 9H.6z" fill="currentColor" />,
  lost: <path d="M2 2l6 6m0-6L2 8" {...stroke} stroke-width="2" />,
};
export const SLOT_WORDS: Record<SlotMood, string> = {
  active: 'in use',
  idle: 'not in use',
  unknown: 'not known',
  danger: 'in danger',
  lost: 'lost',
};

export function SlotShape({ mood }: { mood: SlotMood }): JSX.Element {
  return (
    <svg class={`shape slot-shape slot-${mood}`} width="10" height="10" viewBox="0 0 10 10" aria-hidden="true">
      {SLOT_SHAPES[mood]}
    </svg>
  );
}

/** Three steps of severity, and a tick for what is well. */
export function SeverityShape({ severity }: { severity: 'info' | 'warning' | 'critical' | 'good' }): JSX.Element {
  if (severity === 'info' || severity === 'good')
    return (
      <svg class={`level-shape severity-${severity}`} width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">
        <circle cx="8" cy="8" r={severity === 'good' ? 6.6 : 6} fill="none" stroke="currentColor" stroke-width="1.6" />
        <path
          d={severity === 'good' ? 'M5 8.3 7.2 10.4 11 5.9' : 'M8 7.3v3.6m0-6v.1'}
          fill="none"
          stroke="currentColor"
          stroke-width="1.8"
          stroke-linecap="round"
          stroke-linejoin="round"
        />
      </svg>
    );
  return (
    <svg class={`level-shape level-${severity}`} width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">
      {severity === 'critical' ? (
        <rect x="1" y="1" width="14" height="14" rx="3.5" fill="currentColor" />
      ) : (
        <path d="M7 1.9a1.15 1.15 0 0 1 2 0l6.1 11a1.15 1.15 0 0 1-1 1.7H1.9a1.15 1.15 0 0 1-1-1.7z" fill="currentColor" />
      )}
      <path
        d={severity === 'critical' ? 'M8 4.2v4.6m0 2.6v.2' : 'M8 6v3.8m0 2.2v.2'}
        stroke="var(--on-bad)"
        stroke-width="1.9"
        stroke-linecap="round"
      />
    </svg>
  );
}
