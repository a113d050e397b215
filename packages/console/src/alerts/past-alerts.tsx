/** What was and is over, newest first, a page at a time, by the day it began. */
import { useSignal } from '@preact/signals';
import type { AlertView } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { explain, type Failure } from '../api/failure.ts';
import { useConsole } from '../context.ts';
import { formatDuration } from '../format/quantities.ts';
import { formatClock, formatUtc } from '../format/times.ts';
import { Notice } from '../look/notice.tsx';
import { alertPath, nodePath, rememberQuery } from '../router.ts';
import { EVERYTHING, filterOf, filterQuery, labelsText, passes, type Filter } from './arrange.ts';
import { AlertFilters } from './filters.tsx';
import { LevelMark } from './marks.tsx';
import { CLOSE_WORDS, lastedMs } from './words.ts';

const PAGE = 60;

function usePast(filter: Filter) {
  const { api, feed } = useConsole();
  const alerts = useSignal<readonly AlertView[] | null>(null);
  const more = useSignal(false);
  const failure = useSignal<Failure | null>(null);
  const busy = useSignal(false);
  const open = useRef<AbortController | null>(null);
  // Text is looked for in what is here; the rest is the collector's to find.
  const { level, site, rule } = filter;
  const ask = async (known: readonly AlertView[]): Promise<void> => {
    open.current?.abort();
    const mine = new AbortController();
    open.current = mine;
    busy.value = true;
    const before = known.at(-1)?.id;
    const answer = await api.alerts(
      {
        state: 'closed',
        limit: PAGE,
        ...(level === null ? {} : { level }),
        ...(site === null ? {} : { site }),
        ...(rule === null ? {} : { rule }),
        ...(before === undefined ? {} : { before }),
      },
      mine.signal,
    );
    if (open.current !== mine) return;
    busy.value = false;
    feed.heard(answer);
    failure.value = answer.ok ? null : answer.failure;
    if (!answer.ok) return;
    alerts.value = [...known, ...answer.value.alerts];
    more.value = answer.value.more;
  };
  useEffect(() => {
    void ask([]);
    return () => open.current?.abort();
  }, [level, site, rule]);
  return { alerts, more, failure, busy, older: () => void ask(alerts.peek() ?? []), again: () => void ask([]) };
}

/** The day stands above; the whole of it is on hover. */
function TimeOfDay({ at }: { at: string }): JSX.Element {
  const atMs = Date.parse(at);
  return (
    <time dateTime={at} title={`${formatClock(atMs, 0)} · ${formatUtc(atMs)}`}>
      {formatClock(atMs, atMs).slice(0, 5)}
    </time>
  );
}

const dayOf = (iso: string): string => new Date(iso).toDateString();
function dayText(iso: string): string {
  const at = new Date(iso);
  const today = new Date();
  const yesterday = new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1);
  if (at.toDateString() === today.toDateString()) return 'Today';
  if (at.toDateString() === yesterday.toDateString()) return 'Yesterday';
  return at.toLocaleDateString('en-GB', {
    weekday: 'long',
    day: 'numeric',
    month: 'long',
    year: at.getFullYear() === today.getFullYear() ? undefined : 'numeric',
  });
}

function PastRow({ alert }: { alert: AlertView }): JSX.Element {
  const labels = labelsText(alert.labels);
  return (
    <li class={`past-row alert-${alert.levelMax}`}>
      <LevelMark level={alert.levelMax} />
      <span class="past-from">
        <TimeOfDay at={alert.since} />
      </span>
      <span class="past-what">
        <a href={alertPath(alert.id)}>{alert.title}</a>{' '}
        <a class="alert-node" href={nodePath(alert.node)}>
          <bdi>{alert.node}</bdi>
        </a>{' '}
        {labels === '' ? null : <span class="tags">{labels}</span>}
      </span>
      <span class="past-lasted number">{formatDuration(lastedMs(alert, Date.now()) / 1_000)}</span>
      <span class="past-end muted">
        {alert.closeReason === null ? '' : CLOSE_WORDS[alert.closeReason]}
        {alert.acknowledged === null ? '' : ` · ${alert.acknowledged.by} had it`}
      </span>
    </li>
  );
}

export function PastAlerts(): JSX.Element {
  const filter = useSignal<Filter>(filterOf(location.search));
  const past = usePast(filter.value);
  const change = (next: Filter): void => {
    filter.value = next;
    rememberQuery('/alerts/past', filterQuery(next));
  };
  const alerts = past.alerts.value;
  const failure = past.failure.value;
  if (alerts === null)
    return failure === null ? (
      <Notice title="Fetching past alerts…" busy />
    ) : (
      <Notice title="Past alerts are not known">
        <p>{explain(failure)}</p>
        <button type="button" class="button" onClick={past.again}>
          Ask again
        </button>
      </Notice>
    );
  const shown = alerts.filter((alert) => passes(alert, { ...EVERYTHING, text: filter.value.text }));
  const days = new Map<string, AlertView[]>();
  for (const alert of shown) {
    const day = days.get(dayOf(alert.since));
    if (day === undefined) days.set(dayOf(alert.since), [alert]);
    else day.push(alert);
  }
  return (
    <>
      <AlertFilters alerts={alerts} shown={shown.length} filter={filter.value} onChange={change} />
      {shown.length === 0 ? (
        <p class="no-match">{filterQuery(filter.value) === '' ? 'Nothing has been yet.' : 'Nothing of the past matches.'}</p>
      ) : null}
      {[...days].map(([day, of]) => (
        <section key={day} class="past-day">
          <h2>{dayText(of[0]?.since ?? '')}</h2>
          <ul class="past-list">
            {of.map((alert) => (
              <PastRow key={alert.id} alert={alert} />
            ))}
          </ul>
        </section>
      ))}
      <p class="more">
        {past.more.value ? (
          <button type="button" class="button" disabled={past.busy.value} onClick={past.older}>
            {past.busy.value ? 'One moment…' : 'Older ones'}
          </button>
        ) : (
          <span class="muted">{alerts.length > PAGE ? 'That is all that is kept.' : ''}</span>
        )}
        {failure === null ? null : (
          <span class="bad" role="alert">
            {explain(failure)}
          </span>
        )}
      </p>
    </>
  );
}
