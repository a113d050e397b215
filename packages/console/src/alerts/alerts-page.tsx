/** Alerts: what waits for somebody first, then what is in hand; past ones and silences beside them. */
import { useComputed, useSignal } from '@preact/signals';
import type { AlertView } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { explain } from '../api/failure.ts';
import { useConsole } from '../context.ts';
import { Notice } from '../look/notice.tsx';
import { rememberQuery, step, type AlertsTab } from '../router.ts';
import { useMayChange } from '../session/rights.ts';
import { SilencesList } from '../silences/silences-list.tsx';
import { AlertFilters } from './filters.tsx';
import { EVERYTHING, arrangeAlerts, filterOf, filterQuery, passes, type Entry, type Filter } from './arrange.ts';
import { AlertRow, GroupRow } from './alert-row.tsx';
import { isCalling, openAlerts, openAlertsTrouble } from './open-alerts.ts';
import { PastAlerts } from './past-alerts.tsx';
import { Quiet } from './quiet.tsx';
import { AlertsHead } from './tabs.tsx';

function Entries({ entries, mayChange }: { entries: readonly Entry[]; mayChange: boolean }): JSX.Element {
  return (
    <ul class="alert-list">
      {entries.map((entry) =>
        entry.kind === 'alert' ? (
          <AlertRow key={entry.alert.id} alert={entry.alert} mayChange={mayChange} />
        ) : (
          <GroupRow key={entry.group.key} group={entry.group} mayChange={mayChange} />
        ),
      )}
    </ul>
  );
}

/** While the open alerts are not known, "none" would be a lie. */
function Unknown(): JSX.Element {
  const { feed } = useConsole();
  const failure = openAlertsTrouble.value;
  if (feed.link.value.kind === 'lost')
    return (
      <Notice title="The collector does not answer">
        <p>Whether anything is open is not known. This page tries again by itself.</p>
      </Notice>
    );
  if (failure === null || failure.kind === 'aborted') return <Notice title="Fetching the alerts…" busy />;
  return (
    <Notice title={failure.kind === 'forbidden' ? 'You may not see the alerts' : 'The alerts are not known'}>
      <p>{explain(failure)}</p>
      <p>{failure.kind === 'forbidden' ? 'Sign out and use a token that may.' : 'This page tries again by itself.'}</p>
    </Notice>
  );
}

function useFilter(path: string) {
  const filter = useSignal<Filter>(filterOf(location.search));
  const at = step.value;
  useEffect(() => {
    filter.value = filterOf(location.search);
  }, [at]);
  return {
    filter,
    change: (next: Filter): void => {
      filter.value = next;
      rememberQuery(path, filterQuery(next));
    },
  };
}

function OpenAlerts({ alerts }: { alerts: readonly AlertView[] }): JSX.Element {
  const mayChange = useMayChange();
  const { filter, change } = useFilter('/alerts');
  const shown = useComputed(() => (openAlerts.value ?? []).filter((alert) => passes(alert, filter.value)));
  const calling = useComputed(() => arrangeAlerts(shown.value.filter(isCalling)));
  const held = useComputed(() => arrangeAlerts(shown.value.filter((alert) => !isCalling(alert))));
  return (
    <>
      <AlertFilters alerts={alerts} shown={shown.value.length} filter={filter.value} onChange={change} />
      {mayChange ? null : <p class="muted read-only">You may look, not change: acknowledging needs the administrator's token.</p>}
      {shown.value.length === 0 ? (
        <div class="no-match">
          <p>No open alert matches.</p>
          <button type="button" class="button" onClick={() => change(EVERYTHING)}>
            Show all {alerts.length}
          </button>
        </div>
      ) : (
        <>
          {calling.value.length > 0 ? (
            <Entries entries={calling.value} mayChange={mayChange} />
          ) : (
            <p class="in-hand">Nothing waits for anybody: all that is open is in hand.</p>
          )}
          {held.value.length > 0 ? (
            <section class="held" aria-labelledby="in-hand">
              <h2 id="in-hand">In hand</h2>
              <Entries entries={held.value} mayChange={mayChange} />
            </section>
          ) : null}
        </>
      )}
    </>
  );
}

function Open(): JSX.Element {
  const { feed } = useConsole();
  const alerts = openAlerts.value;
  // Quiet is only believed of a fleet that is known.
  const failure = openAlertsTrouble.value;
  if (alerts === null || (alerts.length === 0 && (failure !== null || feed.figures.value === null))) return <Unknown />;
  return (
    <>
      {failure === null || feed.stale.value ? null : (
        <p class="warn" role="status">
          This list may be behind: asking for the alerts fails just now. {explain(failure)}
        </p>
      )}
      {alerts.length === 0 ? <Quiet /> : <OpenAlerts alerts={alerts} />}
    </>
  );
}

export function AlertsPage({ tab }: { tab: AlertsTab }): JSX.Element {
  return (
    <div class="alerts-page">
      <AlertsHead tab={tab} />
      {tab === 'open' ? <Open /> : tab === 'past' ? <PastAlerts /> : <SilencesList />}
    </div>
  );
}
