/** The head of the alerts' pages: what is open, in one line, and the way between open, past and silences. */
import type { JSX } from 'preact';
import { addressOf } from '../base.ts';
import { countOf } from '../format/quantities.ts';
import type { AlertsTab } from '../router.ts';
import { openAlerts, openCounts } from './open-alerts.ts';

const TABS: readonly { tab: AlertsTab; href: string; label: string }[] = [
  { tab: 'open', href: '/alerts', label: 'Open' },
  { tab: 'past', href: '/alerts/past', label: 'Past' },
  { tab: 'silences', href: '/alerts/silences', label: 'Silences' },
];

function CountLine(): JSX.Element | null {
  const counts = openCounts.value;
  if (counts === null || counts.open === 0) return null;
  const taken = (openAlerts.value ?? []).filter((alert) => alert.acknowledged !== null).length;
  const silenced = (openAlerts.value ?? []).filter((alert) => alert.silencedBy !== null).length;
  return (
    <p class="count-line">
      <span>{countOf(counts.open, 'open', 'open')}</span>
      {counts.critical > 0 ? <span class="bad">{countOf(counts.critical, 'critical', 'critical')}</span> : <span>none critical</span>}
      {taken > 0 ? <span>{countOf(taken, 'acknowledged', 'acknowledged')}</span> : null}
      {silenced > 0 ? <span>{countOf(silenced, 'silenced', 'silenced')}</span> : null}
    </p>
  );
}

export function AlertsHead({ tab }: { tab: AlertsTab }): JSX.Element {
  return (
    <div class="alerts-head">
      <h1>Alerts</h1>
      <CountLine />
      <nav class="tabs" aria-label="Alerts">
        {TABS.map((each) => (
          <a key={each.tab} href={addressOf(each.href)} {...(each.tab === tab ? { 'aria-current': 'page' as const } : {})}>
            {each.label}
          </a>
        ))}
      </nav>
    </div>
  );
}
