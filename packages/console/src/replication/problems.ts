/**
 * What is wrong with a cluster, as sentences, worst first. Nothing is judged anew here: states, bounds and dangers are
 * the collector's; what follows from another problem (a cascade behind a paused replica) is not told a second time. Pure.
 */
import type { ReplicationCluster, ReplicationEvent, ReplicationInstance, ReplicationLag } from '@tidemark/protocol';
import type { Bounds, BoundsInForce } from '../fleet/bounds.ts';
import { formatBytes } from '../format/quantities.ts';
import { catchupText, formatLagSeconds, formatMinute, lagLevel, lagWords, slotWords } from './words.ts';

export interface Problem {
  /** Stable while it lasts. */
  key: string;
  level: 'warning' | 'critical';
  /** What it is, in a word or two. */
  title: string;
  text: string;
}

/** A slot that nobody uses and that keeps less than this is not worth a line. */
const IDLE_SLOT_BYTES = 256 * 2 ** 20;

const listed = (names: readonly string[]): string =>
  names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1) ?? ''}`;
const sentence = (text: string): string => (/[.!?]$/.test(text.trim()) ? text.trim() : `${text.trim()}.`);
const newest = (events: readonly ReplicationEvent[], kinds: readonly string[]): ReplicationEvent | undefined =>
  events.filter(({ kind }) => kinds.includes(kind)).toSorted((a, b) => b.at.localeCompare(a.at))[0];
const sinceText = (since: string | null, nowMs: number): string => (since === null ? '' : ` since ${formatMinute(since, nowMs)}`);

/** Those that write, or did when they were last seen. */
export const primariesOf = (cluster: ReplicationCluster): ReplicationInstance[] =>
  cluster.instances.filter(({ role, state }) => role === 'primary' && state !== 'diverged');

/** A replica of a primary that is gone: told with it, not beside it. */
function isCutOffBy(
  { instances, primary, withoutPrimarySeconds }: ReplicationCluster,
  { state, upstreamId }: ReplicationInstance,
): boolean {
  if (withoutPrimarySeconds === null || state !== 'disconnected' || upstreamId === null) return false;
  return upstreamId === primary.id || instances.some((each) => each.id === upstreamId && each.role === 'primary' && each.state === 'down');
}

/** Whether another problem says it already. */
const isTold = (cluster: ReplicationCluster, instance: ReplicationInstance): boolean =>
  isCutOffBy(cluster, instance) ||
  (cluster.withoutPrimarySeconds !== null && instance.id === cluster.primary.id && instance.state === 'down');

function ofPrimary(cluster: ReplicationCluster, nowMs: number): Problem[] {
  const { primary, withoutPrimarySeconds, rpoBytes } = cluster;
  if (cluster.splitBrain) {
    const writers = primariesOf(cluster).filter(({ state }) => state !== 'down');
    const event = newest(cluster.events, ['split_brain']);
    const since =
      event?.at ??
      writers
        .flatMap((each) => (each.since === null ? [] : [each.since]))
        .toSorted()
        .at(-1) ??
      null;
    const names = listed(writers.map(({ name }) => name));
    const what = `${names} ${writers.length === 2 ? 'both' : 'all'} write${sinceText(since, nowMs)}; what one commits the other never gets. Stop all but one.`;
    return [{ key: 'split-brain', level: 'critical', title: 'Split brain', text: what }];
  }
  if (withoutPrimarySeconds === null) return [];
  const replicas = cluster.instances.filter((instance) => isCutOffBy(cluster, instance)).map(({ name }) => name);
  const cutOff = replicas.length === 0 ? '' : ` ${listed(replicas)} ${replicas.length === 1 ? 'is' : 'are'} cut off.`;
  const loss = rpoBytes === null || rpoBytes === 0 ? '' : ` Without it ${formatBytes(rpoBytes)} of WAL are lost.`;
  return [
    {
      key: 'no-primary',
      level: 'critical',
      title: 'No primary',
      text: `For ${formatLagSeconds(withoutPrimarySeconds, 'down')} nothing has shown that there is one. ${sentence(primary.why)}${cutOff}${loss}`,
    },
  ];
}

function ofSync(
  { syncStandbysRequired: required, syncStandbysPresent: present, events, primary }: ReplicationCluster,
  nowMs: number,
): Problem[] {
  if (required === null || present === null || present >= required) return [];
  const waiting = newest(events, ['sync_commits_waiting', 'sync_standby_back']);
  const there = `${present} of ${required} synchronous standby${required === 1 ? '' : 's'} there`;
  const where = primary.name ?? 'the primary';
  if (waiting?.kind === 'sync_commits_waiting')
    return [
      {
        key: 'sync',
        level: 'critical',
        title: 'Commits hang',
        text: `They wait on ${where} since ${formatMinute(waiting.at, nowMs)}: ${there}.`,
      },
    ];
  return [
    { key: 'sync', level: 'warning', title: 'Synchronous standby missing', text: `${there}: commits on ${where} wait until it is back.` },
  ];
}

/** Figure and reason; the bounds are for whoever looks closer. */
function behindText(lag: ReplicationLag | null, nowMs: number): string {
  const { value, note } = lagWords(lag, nowMs);
  return `${value}${note === null ? '' : ` (${note})`} behind`;
}

function ofLag(instance: ReplicationInstance, bounds: Bounds, nowMs: number): Problem[] {
  const { name, state } = instance;
  // In a cascade what its upstream lacks is told of the upstream.
  const own = instance.edgeLag ?? instance.lag;
  const level = lagLevel(own, instance.delaySeconds, bounds);
  const never = instance.catchup === 'never' && state === 'catching_up';
  if (level === 'normal' && !never) return [];
  const eta = catchupText(instance);
  const text = `${name} is ${behindText(own, nowMs)}${eta === null ? '' : `; ${eta === 'never at this rate' ? 'it never catches up at this rate' : eta}`}.`;
  return [
    { key: `lag ${instance.id}`, level: level === 'critical' ? 'critical' : 'warning', title: never ? 'Falling behind' : 'Behind', text },
  ];
}

const STATE_PROBLEMS: Partial<Record<ReplicationInstance['state'], [Problem['level'], string]>> = {
  diverged: ['critical', 'Diverged'],
  down: ['critical', 'Down'],
  disconnected: ['critical', 'Disconnected'],
  stalled: ['warning', 'Stalled'],
  paused: ['warning', 'Replay paused'],
  archive_recovery: ['warning', 'Not streaming'],
  insufficient_privilege: ['warning', 'Rights missing'],
};

function ofInstance(instance: ReplicationInstance, bounds: Bounds, nowMs: number): Problem[] {
  const { id, name, state, since, why } = instance;
  const known = STATE_PROBLEMS[state];
  if (known === undefined) return instance.role === 'primary' ? [] : ofLag(instance, bounds, nowMs);
  const [least, title] = known;
  const lag = instance.edgeLag ?? instance.lag;
  const level = lagLevel(lag, instance.delaySeconds, bounds) === 'critical' ? 'critical' : least;
  // Of what has left the history of the others a lag says nothing.
  const tellsLag = lag !== null && lag.upperSeconds !== 0 && state !== 'diverged' && instance.role !== 'primary';
  const behind = tellsLag && !/ behind\b/.test(why) ? `, ${behindText(lag, nowMs)}` : '';
  return [{ key: `state ${id}`, level, title, text: sentence(`${name}${sinceText(since, nowMs)}${behind}: ${why}`) }];
}

function ofSlots({ slots }: ReplicationCluster, diskFull: Bounds, nowMs: number): Problem[] {
  return slots.flatMap((slot): Problem[] => {
    const { mood, level, danger } = slotWords(slot, diskFull);
    const key = `slot ${slot.instanceId} ${slot.name}`;
    const named = `${slot.name} on ${slot.instance}`;
    const keeps = slot.retainedBytes === null ? '' : ` It keeps ${formatBytes(slot.retainedBytes)}.`;
    if (mood === 'lost')
      return [{ key, level: 'critical', title: 'Slot lost', text: `${named} is ${danger ?? 'lost'}. What used it has to be built anew.` }];
    if (level !== null && danger !== null) return [{ key, level, title: 'Slot in danger', text: `${named}: ${danger}.${keeps}` }];
    if (mood === 'idle' && (slot.retainedBytes ?? 0) >= IDLE_SLOT_BYTES)
      return [
        { key, level: 'warning', title: 'Slot unused', text: `${named} is used by nobody${sinceText(slot.inactiveSince, nowMs)}.${keeps}` },
      ];
    return [];
  });
}

function ofArchiver({ events }: ReplicationCluster, nowMs: number): Problem[] {
  const last = new Map<string, ReplicationEvent>();
  for (const event of events.toSorted((a, b) => a.at.localeCompare(b.at)))
    if (event.kind === 'archiver_failing' || event.kind === 'archiver_recovered') last.set(event.instanceId ?? '', event);
  return [...last.values()]
    .filter(({ kind }) => kind === 'archiver_failing')
    .map((event) => ({
      key: `archiver ${event.instanceId ?? ''}`,
      level: 'warning',
      title: 'Archiving fails',
      text: `${event.instance ?? 'The primary'}${sinceText(event.at, nowMs)}: ${sentence(event.text)}`,
    }));
}

/** What keys begin with, in the order in which it matters: who writes comes before who lags. */
const KINDS = ['split-brain', 'no-primary', 'sync', 'state', 'lag', 'slot', 'archiver'];
const weightOf = ({ key }: Problem): number => KINDS.indexOf(key.split(' ', 1)[0] ?? '');

/** Critical before warning, and within each what matters most. */
export const worstFirst = (a: Problem, b: Problem): number =>
  Number(b.level === 'critical') - Number(a.level === 'critical') || weightOf(a) - weightOf(b);

/** What is wrong with a cluster now, worst first. */
export function problemsOf(
  cluster: ReplicationCluster,
  { lag, diskFull }: Pick<BoundsInForce, 'lag' | 'diskFull'>,
  nowMs: number,
): Problem[] {
  const found = [
    ...ofPrimary(cluster, nowMs),
    ...ofSync(cluster, nowMs),
    ...cluster.instances.flatMap((instance) => (isTold(cluster, instance) ? [] : ofInstance(instance, lag, nowMs))),
    ...ofSlots(cluster, diskFull, nowMs),
    ...ofArchiver(cluster, nowMs),
  ];
  return found.toSorted(worstFirst);
}
