/** What happened, newest first: when, to whom, in one sentence; to be narrowed to one kind. */
import { useSignal } from '@preact/signals';
import type { ReplicationCluster, ReplicationEvent, ReplicationEventKind } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { explain, type Failure } from '../api/failure.ts';
import { useConsole } from '../context.ts';
import { formatBytes, formatCount, formatDuration } from '../format/quantities.ts';
import { Ago, Clock } from '../look/moment.tsx';
import { SeverityShape } from './marks.tsx';
import { clusterPath } from './view.ts';
import './tables.css';

const SHOWN = 30;
/** So many older ones at a time. */
const PAGE = 100;

export const KIND_WORDS: Record<ReplicationEventKind, string> = {
  primary_lost: 'Primary lost',
  primary_back: 'Primary back',
  promotion: 'Promotion',
  switchover: 'Switchover',
  failover: 'Failover',
  split_brain: 'Split brain',
  split_brain_over: 'Split brain over',
  clone_suspected: 'Clone?',
  unexpected_primary: 'Unexpected primary',
  diverged: 'Diverged',
  rejoined: 'Rejoined',
  timeline_switch: 'Timeline switch',
  replica_added: 'Replica added',
  replica_gone: 'Replica gone',
  slot_created: 'Slot created',
  slot_dropped: 'Slot dropped',
  slot_inactive: 'Slot inactive',
  slot_active: 'Slot active again',
  slot_unreserved: 'Slot unreserved',
  slot_lost: 'Slot lost',
  sync_standby_missing: 'Synchronous standby missing',
  sync_commits_waiting: 'Commits hang',
  sync_standby_back: 'Synchronous standby back',
  archiver_failing: 'Archiving fails',
  archiver_recovered: 'Archiving works again',
};
const SEVERITY_WORDS: Record<ReplicationEvent['severity'], string> = { info: 'Information', warning: 'Warning', critical: 'Critical' };

/** A kind of a later collector is shown as it is called. */
const kindText = (kind: string): string => (KIND_WORDS as Record<string, string | undefined>)[kind] ?? kind.replaceAll('_', ' ');

/** "lostBytes" → "lost bytes: 12 MiB". */
function detailText(name: string, value: string | number | boolean | null): string | null {
  if (value === null || value === '') return null;
  const words = name
    .replaceAll(/([A-Z])/g, (letter) => ` ${letter.toLowerCase()}`)
    .replaceAll(/\b(lsn|wal|rpo)\b/g, (word) => word.toUpperCase());
  if (typeof value !== 'number') return `${words}: ${value}`;
  if (/ bytes( |$)/.test(` ${words}`)) return `${words.replace(/ ?bytes/, '').trim()}: ${formatBytes(value)}`;
  if (words.endsWith(' seconds')) return `${words.slice(0, -8)}: ${formatDuration(value)}`;
  return `${words}: ${formatCount(value)}`;
}

function EventRow({ event, cluster }: { event: ReplicationEvent; cluster: ReplicationCluster | null }): JSX.Element {
  const details = Object.entries(event.details).flatMap(([name, value]) => detailText(name, value) ?? []);
  return (
    <li class={`r-event r-event-${event.severity}`}>
      <span class="level-mark">
        <SeverityShape severity={event.severity} />
        <span class="unseen">{SEVERITY_WORDS[event.severity]}</span>
      </span>
      <span class="r-event-when">
        <Clock atMs={Date.parse(event.at)} />
        <span class="muted">
          <Ago at={event.at} />
        </span>
      </span>
      <span class="r-event-what">
        <strong>{kindText(event.kind)}</strong> <span>{event.text}</span>
        {details.length === 0 ? null : <span class="r-under">{details.join(' · ')}</span>}
      </span>
      {cluster === null ? null : (
        <a class="r-event-cluster" href={clusterPath(cluster.systemIdentifier)}>
          <bdi>{cluster.name}</bdi>
        </a>
      )}
    </li>
  );
}

/** What the collector keeps beyond what it tells of by itself; asked for by whoever goes there. */
function useOlder(clusters: readonly ReplicationCluster[], kind: string | null) {
  const { api, feed } = useConsole();
  const older = useSignal<readonly ReplicationEvent[]>([]);
  const more = useSignal(true);
  const busy = useSignal(false);
  const failure = useSignal<Failure | null>(null);
  const [only] = clusters;
  const ask = async (oldestAt: string | null): Promise<void> => {
    busy.value = true;
    const answer = await api.replicationEvents({
      ...(clusters.length === 1 && only !== undefined ? { cluster: only.systemIdentifier } : {}),
      ...(kind === null ? {} : { kind }),
      // Of those of one moment some may not be here yet.
      ...(oldestAt === null ? {} : { before: new Date(Date.parse(oldestAt) + 1).toISOString() }),
      limit: PAGE,
    });
    busy.value = false;
    feed.heard(answer);
    failure.value = answer.ok ? null : answer.failure;
    if (!answer.ok) return;
    const found = answer.value.events;
    more.value = found.length >= PAGE;
    older.value = [...older.value, ...found];
  };
  return { older, more, busy, failure, ask };
}

/** Of one scope and one kind: made anew when either changes. */
function Events({ clusters, kind }: { clusters: readonly ReplicationCluster[]; kind: string | null }): JSX.Element {
  const most = useSignal(SHOWN);
  const { older, more, busy, failure, ask } = useOlder(clusters, kind);
  const byId = new Map(clusters.map((cluster) => [cluster.systemIdentifier, cluster]));
  const known = new Map([...clusters.flatMap(({ events }) => events), ...older.value].map((event) => [event.id, event]));
  const all = [...known.values()]
    .filter((event) => (kind === null || event.kind === kind) && byId.has(event.systemIdentifier))
    .toSorted((a, b) => b.at.localeCompare(a.at));
  const isAllHere = all.length <= most.value;
  return (
    <>
      {all.length === 0 ? (
        <p class="muted">{kind === null ? 'Nothing has happened since these clusters are watched.' : 'Nothing of this kind of late.'}</p>
      ) : (
        <ol class="r-events">
          {all.slice(0, most.value).map((event) => (
            <EventRow key={event.id} event={event} cluster={clusters.length > 1 ? (byId.get(event.systemIdentifier) ?? null) : null} />
          ))}
        </ol>
      )}
      {all.length === 0 && kind === null ? null : (
        <p class="more">
          {isAllHere && !more.value ? (
            <span class="muted">That is all that is kept.</span>
          ) : (
            <button
              type="button"
              class="button"
              disabled={busy.value}
              onClick={() => {
                most.value += PAGE;
                if (isAllHere) void ask(all.at(-1)?.at ?? null);
              }}
            >
              {busy.value ? 'One moment…' : 'Older ones'}
            </button>
          )}
          {failure.value === null ? null : (
            <span class="bad" role="alert">
              {explain(failure.value)}
            </span>
          )}
        </p>
      )}
    </>
  );
}

export function EventsList(props: {
  clusters: readonly ReplicationCluster[];
  kind: string | null;
  onKind: (kind: string | null) => void;
}): JSX.Element {
  const { clusters, kind, onKind } = props;
  const occurring = new Set<string>(clusters.flatMap(({ events }) => events.map((event) => event.kind)));
  if (kind !== null) occurring.add(kind);
  // Whatever the order they stand in just now.
  const scope = clusters
    .map(({ systemIdentifier }) => systemIdentifier)
    .toSorted()
    .join(' ');
  const kinds = [...occurring].toSorted((a, b) => kindText(a).localeCompare(kindText(b)));
  return (
    <>
      <div class="section-line">
        <h2 id="replication-events">Events</h2>
        {kinds.length < 2 && kind === null ? null : (
          <select
            class="field"
            aria-label="Kind of event"
            value={kind ?? ''}
            onChange={(event) => onKind(event.currentTarget.value === '' ? null : event.currentTarget.value)}
          >
            <option value="">All kinds</option>
            {kinds.map((each) => (
              <option key={each} value={each}>
                {kindText(each)}
              </option>
            ))}
          </select>
        )}
      </div>
      <Events key={`${kind ?? ''} ${scope}`} clusters={clusters} kind={kind} />
    </>
  );
}
