/** The shapes of an alert: level and what holds it. Shape and word, never colour alone. */
import type { AlertLevel, AlertView } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { addressOf } from '../base.ts';
import { Ago, Clock } from '../look/moment.tsx';

/** A square for critical, a triangle for warning. */
export function LevelShape({ level }: { level: AlertLevel }): JSX.Element {
  return (
    <svg class={`level-shape level-${level}`} width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">
      {level === 'critical' ? (
        <rect x="1" y="1" width="14" height="14" rx="3.5" fill="currentColor" />
      ) : (
        <path d="M7 1.9a1.15 1.15 0 0 1 2 0l6.1 11a1.15 1.15 0 0 1-1 1.7H1.9a1.15 1.15 0 0 1-1-1.7z" fill="currentColor" />
      )}
      <path
        d={level === 'critical' ? 'M8 4.2v4.6m0 2.6v.2' : 'M8 6v3.8m0 2.2v.2'}
        stroke="var(--on-bad)"
        stroke-width="1.9"
        stroke-linecap="round"
      />
    </svg>
  );
}

export function LevelMark({ level }: { level: AlertLevel }): JSX.Element {
  return (
    <span class="level-mark">
      <LevelShape level={level} />
      <span class="unseen">{level === 'critical' ? 'Critical' : 'Warning'}</span>
    </span>
  );
}

/** Who or what holds an alert, and since when: nothing when it calls. */
export function HeldBy({ alert }: { alert: AlertView }): JSX.Element | null {
  const { acknowledged } = alert;
  return (
    <>
      {alert.noData && alert.state === 'open' ? (
        <span class="chip chip-warn" title="Nothing has been measured of late: it stays open, and nobody knows.">
          no data
        </span>
      ) : null}
      {acknowledged === null ? null : (
        <span class="chip" title={acknowledged.note === '' ? undefined : acknowledged.note}>
          <svg width="11" height="11" viewBox="0 0 12 12" aria-hidden="true">
            <path
              d="M2 6.5 4.8 9.2 10 3"
              fill="none"
              stroke="currentColor"
              stroke-width="1.8"
              stroke-linecap="round"
              stroke-linejoin="round"
            />
          </svg>
          {acknowledged.by}, {alert.state === 'open' ? <Ago at={acknowledged.at} /> : <Clock atMs={Date.parse(acknowledged.at)} />}
        </span>
      )}
      {alert.silencedBy === null ? null : (
        <a class="chip" href={addressOf('/alerts/silences')}>
          silenced
        </a>
      )}
      {alert.suppressedBy === null ? null : (
        <a
          class="chip"
          href={addressOf(`/alerts/${encodeURIComponent(alert.suppressedBy)}`)}
          title="Another alert makes this one moot: nobody is told of it."
        >
          covered by another
        </a>
      )}
    </>
  );
}
