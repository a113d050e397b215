/** What is known of a cluster, as people and programs are told it: milliseconds become seconds, times ISO 8601, nothing is added. */
import type { ReplicationCluster, ReplicationEvent, ReplicationInstance, ReplicationLag, ReplicationSlot } from '@tidemark/protocol';
import type { ClusterFigures, ClusterTopology, InstanceId, Lag, LagBounds, Member, MemberFigures, Sighting } from './model.ts';
import { twiceText } from './watched-twice.ts';

export interface ClusterLook {
  readonly cluster: ClusterTopology;
  readonly figures: ClusterFigures;
  /** Since when each member is in its state; undefined: longer than anyone remembers. */
  readonly since: ReadonlyMap<string, number | undefined>;
  readonly primarySince: number | undefined;
  /** Who else watches the same server, by the one that stands for it. */
  readonly others: ReadonlyMap<InstanceId, readonly Sighting[]>;
  readonly at: number;
}

const iso = (ms: number): string => new Date(ms).toISOString();
const isoOrNull = (ms: number | undefined): string | null => (ms === undefined ? null : iso(ms));
/** To the millisecond: a figure of a clock shows no more. */
const seconds = (ms: number): number => Math.round(ms) / 1_000;
const secondsOrNull = (ms: number | undefined): number | null => (ms === undefined || !Number.isFinite(ms) ? null : seconds(ms));

export function lagView(lag: Lag | undefined): ReplicationLag | null {
  if (lag === undefined) return null;
  const { value, lower, upper, bytes, source, at, unknownSince } = lag;
  return {
    seconds: seconds(value),
    lowerSeconds: seconds(lower),
    upperSeconds: secondsOrNull(upper),
    bytes: bytes ?? null,
    source,
    at: iso(at),
    unknownSince: isoOrNull(unknownSince),
  };
}

function instanceView(
  member: Member,
  { cluster, figures, since, others }: ClusterLook,
  nameOf: (id: string) => string | null,
): ReplicationInstance {
  const { sighting } = member;
  const known: MemberFigures | undefined = figures.members.get(member.id);
  const replica = replicaRowOf(member, cluster);
  const document = sighting?.document;
  const same = others.get(member.id);
  return {
    id: member.id,
    name: member.name,
    node: sighting?.nodeName ?? null,
    site: sighting?.site ?? '',
    instance: sighting?.instance ?? null,
    watched: sighting !== undefined,
    role: member.role,
    state: known?.state ?? 'unknown',
    since: isoOrNull(since.get(member.id)),
    why: [known?.why ?? '', ...(same === undefined ? [] : [twiceText(same)])].join(' ').trim(),
    version: document?.version ?? null,
    timeline: member.timeline ?? null,
    upstream: member.upstream?.id === undefined ? null : nameOf(member.upstream.id),
    upstreamId: member.upstream?.id ?? null,
    upstreamBy: member.upstream?.by ?? null,
    upstreamAddress: member.upstream?.address ?? null,
    syncState: replica?.syncState ?? null,
    lag: lagView(known?.lag),
    edgeLag: lagView(known?.edgeLag),
    transportBytes: known?.transportBytes ?? null,
    replayBytes: known?.replayBytes ?? null,
    catchupSeconds: secondsOrNull(known?.catchupMs),
    catchup: known?.catchup ?? 'unknown',
    slotLostInSeconds: secondsOrNull(known?.slotLostInMs),
    diskFullInSeconds: secondsOrNull(known?.diskFullInMs),
    delaySeconds: secondsOrNull(known?.delayMs),
    walBytesPerSecond: known?.walBytesPerSecond ?? null,
    lsn:
      document === undefined
        ? (replica?.replayLsn ?? null)
        : (document.flushLsn ?? document.currentLsn ?? document.receiver?.replayLsn ?? null),
    seenAt: isoOrNull(sighting?.reportedAt),
  };
}

/** The row of pg_stat_replication about a member, where its upstream sees it now. */
function replicaRowOf(member: Member, cluster: ClusterTopology) {
  if (member.seenBy === undefined) return undefined;
  const upstream = cluster.members.find(({ id }) => id === member.seenBy!.upstream);
  return upstream?.sighting?.newest.replicas[member.seenBy.replica];
}

function slotViews({ cluster, figures }: ClusterLook, nameOf: (id: string) => string | null): ReplicationSlot[] {
  const lower = (bounds: LagBounds | undefined): number | null => secondsOrNull(bounds?.lower);
  return figures.slots.flatMap((slot): ReplicationSlot[] => {
    const member = cluster.members.find(({ id }) => id === slot.instanceId);
    const seen = member?.sighting?.document?.slots.find(({ name }) => name === slot.name);
    if (member === undefined || seen === undefined) return [];
    return [
      {
        name: slot.name,
        instance: member.name,
        instanceId: member.id,
        type: seen.type,
        database: seen.database ?? null,
        active: seen.active,
        usedBy: slot.usedBy === undefined ? null : nameOf(slot.usedBy),
        walStatus: seen.walStatus,
        invalidationReason: seen.invalidationReason ?? null,
        inactiveSince: seen.inactiveSince ?? null,
        retainedBytes: slot.retainedBytes ?? null,
        heldSeconds: lower(slot.held),
        lag: lagView(slot.lag),
        safeBytes: seen.safeWalBytes === undefined || seen.safeWalBytes === null ? null : Number(seen.safeWalBytes),
        lostInSeconds: secondsOrNull(slot.lostInMs),
        diskFullInSeconds: secondsOrNull(slot.diskFullInMs),
      },
    ];
  });
}

export function clusterView(
  look: ClusterLook,
  events: readonly ReplicationEvent[],
  withoutPrimaryMs: number | undefined,
): ReplicationCluster {
  const { cluster, figures } = look;
  const names = new Map(cluster.members.map(({ id, name }) => [id, name]));
  const nameOf = (id: string): string | null => names.get(id) ?? null;
  const primary = cluster.members.find(({ id }) => id === cluster.primary.id);
  return {
    systemIdentifier: cluster.systemIdentifier,
    name: cluster.name,
    primary: {
      name: primary?.name ?? null,
      id: primary?.id ?? null,
      node: primary?.sighting?.nodeName ?? null,
      instance: primary?.sighting?.instance ?? null,
      certainty: cluster.primary.certainty,
      why: cluster.primary.why,
      since: isoOrNull(look.primarySince),
      timeline: primary?.timeline ?? null,
    },
    splitBrain: cluster.splitBrain !== undefined,
    withoutPrimarySeconds: secondsOrNull(withoutPrimaryMs),
    rpoBytes: figures.rpoBytes ?? null,
    syncStandbysRequired: figures.synchronous?.required ?? null,
    syncStandbysPresent: figures.synchronous?.present ?? null,
    instances: cluster.members.map((member) => instanceView(member, look, nameOf)),
    slots: slotViews(look, nameOf),
    events: [...events],
  };
}
