/**
 * What is remembered of every member between two looks: its role and since when, how far it came, its branches, and whom it
 * was ever linked to. Bounded, plain data; a document that is older than what is remembered changes nothing.
 */
import { formatLsn, parseLsn } from '@tidemark/protocol';
import type { InstanceId, MemberMemory, TopologyInput } from './model.ts';
import { branchesOfPrimary, branchesOfReplica, lineagesOf } from './branches.ts';
import type { Edges } from './edges.ts';
import { addressText, isLoopback, isSocket } from './topology-places.ts';
import type { Subject } from './topology-subject.ts';

const FORGET_AFTER_MS = 7 * 86_400_000;
const MEMBERS_MAX = 100;
const GAP_INTERVALS = 3;

export type Memories = Readonly<Record<InstanceId, MemberMemory>>;

/** The memory after this look. Upstreams come before those that follow them, so that a history goes down a whole chain at once. */
export function remember(input: TopologyInput, subjects: readonly Subject[], edges: Edges): Record<InstanceId, MemberMemory> {
  const next: Record<InstanceId, MemberMemory> = {};
  for (const subject of downstreamLast(subjects, edges)) {
    const seen = memoryOf(subject, subjects, edges, next);
    if (seen !== undefined) next[subject.id] = seen;
  }
  const absent = Object.entries(input.memory)
    .filter(([id, { lastSeenAt }]) => next[id] === undefined && input.now - lastSeenAt <= FORGET_AFTER_MS)
    .sort(([, a], [, b]) => b.lastSeenAt - a.lastSeenAt)
    .slice(0, Math.max(0, MEMBERS_MAX - Object.keys(next).length));
  for (const [id, memory] of absent) next[id] = memory;
  const lineages = lineagesOf(
    subjects.map(({ id }) => id),
    next,
    linksOf(subjects, edges),
    input.now,
  );
  for (const [id, memory] of Object.entries(next)) {
    const lineage = lineages.get(id);
    if (lineage !== memory.lineage || memory.linked !== (lineage !== undefined))
      next[id] = { ...memory, lineage, linked: lineage !== undefined };
  }
  return next;
}

function memoryOf(subject: Subject, subjects: readonly Subject[], edges: Edges, next: Memories): MemberMemory | undefined {
  const { memory, document, sighting, name } = subject;
  const upAt = sighting.upAt;
  const upstream = edges.upstreams.get(subject.id);
  const isNew = document !== undefined && upAt !== undefined && (memory === undefined || upAt > memory.lastSeenAt);
  const seen = isNew ? withDocument(subject, subjects, edges, next) : memory;
  if (seen === undefined) return undefined;
  const streams = subject.role === 'replica' && upstream?.connected === true;
  const isMoved = streams && upstream.id !== undefined && upstream.id !== seen.lastUpstream;
  return {
    ...seen,
    name,
    ...(streams && upstream.id !== undefined && { lastUpstream: upstream.id, lastUpstreamBy: upstream.by }),
    ...(isMoved && { upstreamSince: upAt }),
    ...(streams && { stranger: edges.strangers.has(subject.id) ? strangerOf(subject) : undefined }),
  };
}

function withDocument(subject: Subject, subjects: readonly Subject[], edges: Edges, next: Memories): MemberMemory {
  const { id, memory, sighting, role, name, lsn, timeline } = subject;
  const document = subject.document!;
  const upAt = sighting.upAt!;
  const startedAt = document.startedAt ?? undefined;
  const sameRun = memory !== undefined && startedAt !== undefined && startedAt === memory.startedAt;
  const before = parseLsn(memory?.lastLsn);
  const hasMoved = lsn !== undefined && (before === undefined || lsn > before);
  const upstreamId = edges.upstreams.get(id)?.connected === true ? edges.upstreams.get(id)!.id : undefined;
  const branches =
    role === 'primary'
      ? branchesOfPrimary(subject, memory)
      : branchesOfReplica(subject, memory, upstreamId, upstreamId === undefined ? undefined : next[upstreamId]);
  const own = branches.at(-1);
  const isPromoted = role === 'primary' && own !== undefined && own.by === id && own.timeline === timeline;
  const wasPrimary = memory?.lastRole === 'primary';
  const furthest = sameRun && !hasMoved ? memory.lastLsn : lsn === undefined ? memory?.lastLsn : formatLsn(lsn);
  return {
    name,
    linked: memory?.linked ?? false,
    lineage: memory?.lineage,
    stranger: memory?.stranger,
    lastUpstream: memory?.lastUpstream,
    lastUpstreamBy: memory?.lastUpstreamBy,
    upstreamSince: memory?.upstreamSince,
    lastRole: role,
    lastSeenAt: upAt,
    firstSeenAt: memory?.firstSeenAt ?? upAt,
    startedAt,
    promotedAt: role !== 'primary' ? undefined : memory?.lastRole === 'replica' ? upAt : wasPrimary ? memory.promotedAt : undefined,
    forkLsn: isPromoted ? own.forkLsn : undefined,
    timeline,
    lastLsn: furthest,
    replayedLsn: document.receiver?.replayLsn ?? undefined,
    movedAt: hasMoved && memory !== undefined ? upAt : memory?.movedAt,
    primarySince: role !== 'primary' ? undefined : wasPrimary && sameRun ? (memory.primarySince ?? upAt) : upAt,
    writingSince: role !== 'primary' ? undefined : writingSince(subject, sameRun, isPromoted, subjects),
    branches,
    ...(memory?.namesCluster === true && { namesCluster: true }),
  };
}

/** Since when it is a primary under our eyes, as well as can be told; who began last is the one that should not be. */
function writingSince(subject: Subject, sameRun: boolean, isPromoted: boolean, subjects: readonly Subject[]): number {
  const { memory, startedAt, document } = subject;
  const upAt = subject.sighting.upAt!;
  if (memory?.lastRole === 'primary' && sameRun) {
    const gapMs = GAP_INTERVALS * subject.sighting.intervalMs;
    const wasAway = upAt - memory.lastSeenAt > gapMs;
    // When nobody was heard it was us who were away.
    const wasAlone = wasAway && subjects.some((other) => (other.memory?.lastSeenAt ?? 0) > memory.lastSeenAt + gapMs);
    return wasAlone ? upAt : (memory.writingSince ?? upAt);
  }
  if (memory?.lastRole === 'replica') return upAt;
  const wasPromotedInThisRun = isPromoted && (document?.recoveryEndLsn ?? null) !== null;
  return wasPromotedInThisRun || startedAt === undefined ? upAt : Math.min(startedAt, upAt);
}

/** Who streams from whom now, strangers included. */
function linksOf(subjects: readonly Subject[], edges: Edges): [InstanceId, InstanceId][] {
  const links: [InstanceId, InstanceId][] = [];
  for (const { id, role } of subjects) {
    const upstream = edges.upstreams.get(id);
    if (role === 'replica' && upstream?.connected === true && upstream.id !== undefined) links.push([id, upstream.id]);
  }
  for (const { id, upstream, row } of edges.unwatched) {
    if (row.kind === 'physical' && upstream.connected && upstream.id !== undefined) links.push([id, upstream.id]);
  }
  return links;
}

/** A word for whom it streams from, when that is nobody known: the same for everybody who streams from there. */
function strangerOf({ seeks, place }: Subject): string | undefined {
  const [address] = seeks.addresses;
  if (address === undefined || !seeks.isConnected) return undefined;
  const isHere = isSocket(address.host) || isLoopback(address.host);
  return isHere ? `${place.machine.host} ${addressText(address)}` : addressText(address);
}

function downstreamLast(subjects: readonly Subject[], edges: Edges): Subject[] {
  const depth = (id: InstanceId): number => {
    let steps = 0;
    for (let at = edges.upstreams.get(id)?.id; at !== undefined; at = edges.upstreams.get(at)?.id) steps += 1;
    return steps;
  };
  return subjects
    .map((subject) => ({ subject, steps: depth(subject.id) }))
    .sort((a, b) => a.steps - b.steps)
    .map(({ subject }) => subject);
}
