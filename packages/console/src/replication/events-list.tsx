/** What happened, newest first: when, to whom, in one sentence; to be narrowed to one kind. */
import { useSignal } from '@preact/signals';
import type { ReplicationCluster, ReplicationEvent, ReplicationEventKind } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { countOf, formatBytes, formatCount, formatDuration } from '../format/quantities.ts';
import { Ago, Clock } from '../look/moment.tsx';
import { SeverityShape } from './marks.tsx';
import { clusterPath } from './view.ts';
import './tables.css';

const SHOWN = 30;

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

export function EventsList(props: {
  clusters: readonly ReplicationCluster[];
  kind: string | null;
  onKind: (kind: string | null) => void;
}): JSX.Element {
  const { clusters, kind, onKind } = props;
  const most = useSignal(SHOWN);
  const all = clusters
    .flatMap((cluster) => cluster.events.map((event) => ({ event, cluster })))
    .toSorted((a, b) => b.event.at.localeCompare(a.event.at));
  const kinds = [...new Set(all.map(({ event }) => event.kind))].toSorted((a, b) => kindText(a).localeCompare(kindText(b)));
  const shown = kind === null ? all : all.filter(({ event }) => event.kind === kind);
  return (
    <>
      <div class="section-line">
        <h2 id="replication-events">Events</h2>
        {kinds.length < 2 && kind === null ? null : (
          <select
            class="field"
            aria-label="Kind of event"
            value={kind ?? ''}
            onChange={(event) => {
              most.value = SHOWN;
              onKind(event.currentTarget.value === '' ? null : event.currentTarget.value);
            }}
          >
            <option value="">All kinds</option>
            {kinds.map((each) => (
              <option key={each} value={each}>
                {kindText(each)}
              </option>
            ))}
            {kind === null || kinds.some((each) => each === kind) ? null : <option value={kind}>{kindText(kind)}</option>}
          </select>
        )}
      </div>
      {shown.length === 0 ? (
        <p class="muted">{all.length === 0 ? 'Nothing has happened since these clusters are watched.' : 'Nothing of this kind.'}</p>
      ) : (
        <ol class="r-events">
          {shown.slice(0, most.value).map(({ event, cluster }) => (
            <EventRow key={event.id} event={event} cluster={clusters.length > 1 ? cluster : null} />
          ))}
        </ol>
      )}
      {shown.length > most.value ? (
        <p class="more">
          <button
            type="button"
            class="button"
            onClick={() => {
              most.value += 120;
            }}
          >
            Older ones
          </button>
          <span class="muted">
            {formatCount(most.value)} of {countOf(shown.length, 'event')}
          </span>
        </p>
      ) : null}
    </>
  );
}
