/** The instances and the slots as tables: all that the pictures show, for whoever reads or sorts rather than looks. */
import { useSignal, type Signal } from '@preact/signals';
import type { ReplicationCluster, ReplicationInstance, ReplicationSlot } from '@tidemark/protocol';
import type { ComponentChildren, JSX } from 'preact';
import { bounds } from '../fleet/bounds.ts';
import { NOTHING, countOf, formatBytes, formatCount, formatDuration } from '../format/quantities.ts';
import { Ago } from '../look/moment.tsx';
import { nodePath } from '../router.ts';
import { SLOT_WORDS, SlotShape, StateMark } from './marks.tsx';
import { sortedInstances, sortedSlots, type InstanceKey, type InstanceRow, type SlotKey, type SlotRow, type Sorting } from './sorting.ts';
import { MOODS, catchupText, lagLevel, lagText, lagWords, slotWords, upstreamByText, type SlotMood } from './words.ts';
import { clusterPath } from './view.ts';
import './tables.css';

/** So many rows are drawn at first: what is wrong stands among them. */
const SHOWN = 60;

interface Column<Key extends string> {
  key: Key | null;
  title: string;
  /** Not where the screen is narrow. */
  aside?: true;
  number?: true;
  hint?: string;
  /** Sorted the large ones first. */
  largeFirst?: true;
}

const classOf = (number: true | undefined, aside: true | undefined): string | undefined =>
  aside === true ? 'r-aside' : number === true ? 'number' : undefined;

function Head<Key extends string>({ columns, sorting }: { columns: readonly Column<Key>[]; sorting: Signal<Sorting<Key>> }): JSX.Element {
  const { key: sorted, descending } = sorting.value;
  return (
    <thead>
      <tr>
        {columns.map(({ key, title, number, hint, largeFirst, aside }) =>
          key === null ? (
            <th key={title} scope="col" class={classOf(number, aside)} title={hint}>
              {title}
            </th>
          ) : (
            <th
              key={title}
              scope="col"
              class={classOf(number, aside)}
              aria-sort={sorted === key ? (descending ? 'descending' : 'ascending') : 'none'}
            >
              <button
                type="button"
                class="sort"
                title={hint}
                onClick={() => {
                  sorting.value = { key, descending: sorted === key ? !descending : largeFirst === true };
                }}
              >
                <span>{title}</span>
                <svg class="sort-arrow" width="8" height="8" viewBox="0 0 8 8" aria-hidden="true">
                  <path d={sorted === key && descending ? 'M4 6.5 7.2 1.8H.8z' : 'M4 1.5l3.2 4.7H.8z'} fill="currentColor" />
                </svg>
              </button>
            </th>
          ),
        )}
      </tr>
    </thead>
  );
}

/** A table that begins with its first rows. */
function Table<Key extends string, Row>(props: {
  label: string;
  columns: readonly Column<Key>[];
  sorting: Signal<Sorting<Key>>;
  rows: readonly Row[];
  what: string;
  draw: (row: Row) => ComponentChildren;
}): JSX.Element {
  const { label, columns, sorting, rows, what, draw } = props;
  const most = useSignal(SHOWN);
  return (
    <>
      <div class="scroller r-table" tabIndex={0} role="region" aria-label={label}>
        <table aria-label={label}>
          <Head columns={columns} sorting={sorting} />
          <tbody>{rows.slice(0, most.value).map(draw)}</tbody>
        </table>
      </div>
      {rows.length > most.value ? (
        <p class="more">
          <button
            type="button"
            class="button"
            onClick={() => {
              most.value += 240;
            }}
          >
            Show more
          </button>
          <span class="muted">
            {formatCount(most.value)} of {countOf(rows.length, what)}
          </span>
        </p>
      ) : null}
    </>
  );
}

const ClusterCell = ({ cluster }: { cluster: ReplicationCluster }): JSX.Element => (
  <td class="r-aside">
    <a href={clusterPath(cluster.systemIdentifier)}>
      <bdi>{cluster.name}</bdi>
    </a>
  </td>
);

const instanceColumns = (several: boolean): Column<InstanceKey>[] => [
  { key: 'name', title: 'Instance' },
  ...(several ? [{ key: 'cluster', title: 'Cluster', aside: true } as const] : []),
  { key: 'role', title: 'Role', aside: true },
  { key: 'state', title: 'State', hint: 'What is wrong first' },
  { key: 'upstream', title: 'Receives from' },
  { key: 'lag', title: 'Behind the primary', number: true, largeFirst: true, hint: 'The age of the oldest WAL that it has not replayed' },
  { key: 'transport', title: 'Not received', number: true, largeFirst: true, hint: 'Written upstream, and not here yet' },
  { key: 'replay', title: 'Not replayed', number: true, largeFirst: true, hint: 'Here, and not replayed yet' },
  { key: 'catchup', title: 'Catches up', largeFirst: true },
  { key: 'timeline', title: 'Timeline', number: true },
  { key: 'wal', title: 'WAL', number: true, largeFirst: true, hint: 'Written by a primary, replayed by a replica' },
  { key: 'seen', title: 'Seen', number: true },
];

function Upstream({ instance }: { instance: ReplicationInstance }): JSX.Element {
  const { upstream, upstreamAddress, upstreamBy, role } = instance;
  if (role === 'primary') return <td class="muted">{NOTHING}</td>;
  const by = upstreamBy === null ? undefined : `Known by ${upstreamByText(upstreamBy)}`;
  if (upstream !== null)
    return (
      <td title={by}>
        <bdi>{upstream}</bdi>
      </td>
    );
  return upstreamAddress === null ? <td class="muted">not known</td> : <td class="code">{upstreamAddress}</td>;
}

function LagCell({ instance, nowMs }: { instance: ReplicationInstance; nowMs: number }): JSX.Element {
  const { lag, role } = instance;
  if (role === 'primary') return <td class="number muted">{NOTHING}</td>;
  const words = lagWords(lag, nowMs);
  const level = lagLevel(lag, instance.delaySeconds, bounds.value.lag);
  return (
    <td class="number" title={lagText(lag, nowMs)}>
      <span class={level === 'critical' ? 'bad' : level === 'warning' ? 'warn' : lag === null ? 'muted' : undefined}>{words.value}</span>
      {words.bounds === null ? null : <span class="r-under">{words.bounds}</span>}
      {words.note === null ? null : <span class="r-under r-note">{words.note}</span>}
    </td>
  );
}

function InstanceLine({ row, several, nowMs }: { row: InstanceRow; several: boolean; nowMs: number }): JSX.Element {
  const { instance, cluster } = row;
  const { node, site, role, watched, syncState } = instance;
  const rate = instance.walBytesPerSecond;
  return (
    <tr data-instance={instance.name}>
      <th scope="row">
        {node === null ? (
          <bdi>{instance.name}</bdi>
        ) : (
          <a href={nodePath(node)}>
            <bdi>{instance.name}</bdi>
          </a>
        )}
        <span class="r-under">
          {watched ? `${site === '' ? 'no site' : site}${instance.version === null ? '' : ` · ${instance.version}`}` : 'not watched'}
        </span>
      </th>
      {several ? <ClusterCell cluster={cluster} /> : null}
      <td class="r-aside">
        {role === 'unknown' ? 'not known' : role}
        {syncState === null || syncState === 'async' ? null : <span class="r-under">{syncState}</span>}
      </td>
      <td class="r-state-cell">
        <StateMark state={instance.state} />
        {MOODS[instance.state] === 'good' ? (
          <span class="unseen">{instance.why}</span>
        ) : (
          <span class="r-under r-why-cell">{instance.why}</span>
        )}
      </td>
      <Upstream instance={instance} />
      <LagCell instance={instance} nowMs={nowMs} />
      <td class="number">{role === 'primary' ? NOTHING : formatBytes(instance.transportBytes)}</td>
      <td class="number">{role === 'primary' ? NOTHING : formatBytes(instance.replayBytes)}</td>
      <td class={instance.catchup === 'never' ? 'warn' : undefined}>
        {catchupText(instance)?.replace('caught up ', '') ??
          (instance.catchup === 'caught_up' && role !== 'primary' ? 'caught up' : NOTHING)}
      </td>
      <td class="number">{instance.timeline ?? NOTHING}</td>
      <td class="number">{rate === null ? NOTHING : `${formatBytes(rate)}/s`}</td>
      <td class="number muted">{instance.seenAt === null && !watched ? NOTHING : <Ago at={instance.seenAt} />}</td>
    </tr>
  );
}

export function InstancesTable({ clusters, nowMs }: { clusters: readonly ReplicationCluster[]; nowMs: number }): JSX.Element {
  const sorting = useSignal<Sorting<InstanceKey>>({ key: 'state', descending: false });
  const rows = clusters.flatMap((cluster) => cluster.instances.map((instance) => ({ instance, cluster })));
  const several = clusters.length > 1;
  return (
    <Table
      label="Instances"
      columns={instanceColumns(several)}
      sorting={sorting}
      rows={sortedInstances(rows, sorting.value)}
      what="instance"
      draw={(row) => <InstanceLine key={`${row.cluster.systemIdentifier} ${row.instance.id}`} row={row} several={several} nowMs={nowMs} />}
    />
  );
}

const slotColumns = (several: boolean): Column<SlotKey>[] => [
  { key: 'name', title: 'Slot' },
  { key: 'instance', title: 'On' },
  ...(several ? [{ key: null, title: 'Cluster', aside: true } as const] : []),
  { key: 'status', title: 'Use', hint: 'What is wrong first' },
  { key: 'retained', title: 'Keeps', number: true, largeFirst: true, hint: 'WAL that is kept for it' },
  { key: 'held', title: 'Oldest WAL', number: true, largeFirst: true, hint: 'The age of the oldest WAL it keeps' },
  { key: null, title: 'Behind', number: true },
  { key: null, title: 'May still be written', number: true, hint: 'Before it is lost' },
  { key: 'lost', title: 'In danger' },
];

/** Who uses it, or when that was; in a word where the one above is about something else. */
function SlotUse({ slot: { usedBy, active, inactiveSince }, mood }: { slot: ReplicationSlot; mood: SlotMood }): JSX.Element | null {
  if (usedBy !== null) return <>by {usedBy}</>;
  if (inactiveSince !== null)
    return (
      <>
        last used <Ago at={inactiveSince} />
      </>
    );
  return active === null || mood === 'idle' || mood === 'active' ? null : <>{active ? 'in use' : 'not in use'}</>;
}

function SlotLine({ row, several, nowMs }: { row: SlotRow; several: boolean; nowMs: number }): JSX.Element {
  const { slot, cluster } = row;
  const { mood, level, danger } = slotWords(slot, bounds.value.diskFull);
  const kind = [slot.type, slot.database].filter((word) => word !== null && word !== '').join(', ');
  return (
    <tr data-slot={slot.name}>
      <th scope="row">
        {slot.name}
        {kind === '' ? null : <span class="r-under">{kind}</span>}
      </th>
      <td>
        <bdi>{slot.instance}</bdi>
      </td>
      {several ? <ClusterCell cluster={cluster} /> : null}
      <td>
        <span class={`r-state slot-${mood}`}>
          <SlotShape mood={mood} />
          {SLOT_WORDS[mood]}
        </span>
        <span class="r-under">
          <SlotUse slot={slot} mood={mood} />
        </span>
      </td>
      <td class="number">{formatBytes(slot.retainedBytes)}</td>
      <td class="number">{formatDuration(slot.heldSeconds)}</td>
      <td class="number">{slot.lag === null ? NOTHING : lagWords(slot.lag, nowMs).value}</td>
      <td class="number">{slot.safeBytes === null ? (mood === 'lost' ? NOTHING : 'no limit') : formatBytes(slot.safeBytes)}</td>
      <td class={danger === null ? 'muted' : level === 'warning' ? 'warn' : 'bad'}>{danger ?? 'no'}</td>
    </tr>
  );
}

export function SlotsTable({ clusters, nowMs }: { clusters: readonly ReplicationCluster[]; nowMs: number }): JSX.Element {
  const sorting = useSignal<Sorting<SlotKey>>({ key: 'status', descending: false });
  const rows = clusters.flatMap((cluster) => cluster.slots.map((slot) => ({ slot, cluster })));
  const several = clusters.length > 1;
  if (rows.length === 0) return <p class="muted">No replication slot is known.</p>;
  return (
    <Table
      label="Replication slots"
      columns={slotColumns(several)}
      sorting={sorting}
      rows={sortedSlots(rows, sorting.value, bounds.value.diskFull)}
      what="slot"
      draw={(row) => <SlotLine key={`${row.slot.instanceId} ${row.slot.name}`} row={row} several={several} nowMs={nowMs} />}
    />
  );
}
