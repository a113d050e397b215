/** The chart around the moment an alert began, with its bound drawn in. The charts come by themselves when they are there. */
import type { AlertView } from '@tidemark/protocol';
import type { JSX } from 'preact';

/** Alerts of series that can be drawn. */
export function Crossing({ alert }: { alert: AlertView }): JSX.Element | null {
  return alert.metric === null ? null : <div class="crossing" data-slot="chart around the crossing" />;
}
