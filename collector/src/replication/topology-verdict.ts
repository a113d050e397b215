/**
 * Who is primary, and whether there are two. Two that both write are only held to be so when each was seen as a primary at
 * a moment when the other certainly was one, and when they were linked before: a switchover is none, and neither is a copy.
 */
import { formatLsn } from '@tidemark/protocol';
import type { InstanceId, PrimaryVerdict, SplitBrain, Upstream } from './model.ts';
import { forkOf } from './branches.ts';
import type { Edges } from './edges.ts';
import type { Memories } from './topology-memory.ts';
import type { Subject } from './topology-subject.ts';

/** By how much the placing of two nodes' reports on one clock may be wrong. */
const CLOCK_SLACK_MS = 1_000;

export interface Groups {
  /** Of the lineage that is the cluster. */
  readonly main: readonly Subject[];
  readonly clones: readonly Subject[];
}

/** Parts the copies from the cluster: the lineage with the most servers is the cluster, or the one that was there first. */
export function groupsOf(subjects: readonly Subject[], memory: Memories, edges: Edges): Groups {
  const lineages = new Map<string, Subject[]>();
  for (const subject of subjects) {
    const lineage = memory[subject.id]?.lineage ?? `alone ${subject.id}`;
    lineages.set(lineage, [...(lineages.get(lineage) ?? []), subject]);
  }
  // Replicas that stream from a stranger may well stream from the primary that stands alone here.
  const isWhole = (group: readonly Subject[]): boolean => group.length > 1 && !group.some(({ id }) => edges.strangers.has(id));
  const hasPrimary = (group: readonly Subject[]): boolean => group.some(({ role }) => role === 'primary');
  const ranked = [...lineages.values()]
    .filter((group) => hasPrimary(group) || isWhole(group))
    .map((group) => ({
      group,
      size: group.length + edges.unwatched.filter(({ sender, row }) => row.kind === 'physical' && group.includes(sender)).length,
      seenAt: Math.min(...group.map(({ id }) => memory[id]?.firstSeenAt ?? Infinity)),
      startedAt: Math.min(...group.map(({ startedAt }) => startedAt ?? Infinity)),
    }))
    .sort(
      (a, b) =>
        b.size - a.size || compare(a.seenAt, b.seenAt) || compare(a.startedAt, b.startedAt) || (a.group[0]!.id < b.group[0]!.id ? -1 : 1),
    );
  const apart = new Set(
    ranked
      .slice(1)
      .filter(({ group }) => hasPrimary(group))
      .flatMap(({ group }) => group),
  );
  return { main: subjects.filter((one) => !apart.has(one)), clones: [...apart].filter(({ role }) => role === 'primary') };
}

/** Infinity less Infinity is no number. */
const compare = (one: number, other: number): number => (one === other ? 0 : one < other ? -1 : 1);

/** Those primaries of one lineage that each were seen to be one at the same time as another. */
export function splitBrainOf(
  main: readonly Subject[],
  memory: Memories,
  roots: ReadonlyMap<InstanceId, InstanceId>,
  edges: Edges,
): SplitBrain | undefined {
  const writers = main.filter(({ id, role, fresh }) => role === 'primary' && fresh && memory[id]?.lineage !== undefined);
  if (writers.length < 2) return undefined;
  const both = writers.filter((one) => writers.some((other) => other !== one && areBothPrimaries(one, other, memory)));
  if (both.length < 2) return undefined;
  const rightful = rightfulOf(both, memory, roots, edges);
  const since = (one: Subject): number => memory[one.id]?.writingSince ?? 0;
  const intruders = both.filter((one) => one !== rightful && areBothPrimaries(one, rightful, memory)).sort((a, b) => since(b) - since(a));
  const others = both.filter((one) => one !== rightful && !intruders.includes(one));
  const ordered = [...intruders, ...others, rightful];
  const first = ordered[0]!;
  const forkLsn = forkOf(memory[first.id]?.branches ?? [], memory[rightful.id]?.branches ?? [])?.lsn;
  return { primaries: ordered.map(({ id }) => id), forkLsn, why: splitWhy(ordered, rightful, forkLsn, memory) };
}

function splitWhy(ordered: readonly Subject[], rightful: Subject, forkLsn: bigint | undefined, memory: Memories): string {
  const names = ordered.map(({ name }) => name);
  const listed = `${names.slice(0, -1).join(', ')} and ${names.at(-1)!}`;
  const from = Math.max(...ordered.map(({ id }) => memory[id]?.primarySince ?? 0));
  const writing = ordered.filter(({ id }) => (memory[id]?.movedAt ?? 0) > from).map(({ name }) => name);
  const written =
    writing.length === ordered.length
      ? `${ordered.length === 2 ? 'both' : 'all'} have written since`
      : writing.length === 0
        ? 'none has been seen to write since'
        : `${writing.join(', ')} has been seen to write since`;
  const tail = forkLsn === undefined ? written : `their histories part at ${formatLsn(forkLsn)}, and ${written}`;
  return `${listed} are primaries of one history at the same time: ${cameBetween(ordered[0]!, rightful, memory)}; ${tail}.`;
}

function cameBetween(intruder: Subject, rightful: Subject, memory: Memories): string {
  const [one, other] = [memory[intruder.id], memory[rightful.id]];
  const [since, before] = [one?.writingSince ?? 0, other?.writingSince ?? 0];
  if (since > before && one?.promotedAt === since) return `${intruder.name} was promoted while ${rightful.name} was one`;
  if (since > before && other?.promotedAt !== undefined) return `${intruder.name} came back after ${rightful.name} had been promoted`;
  if (since < before) return `${rightful.name} was promoted while ${intruder.name} was one, and the replicas follow ${rightful.name}`;
  return `${rightful.name} is the one that replicas follow, or is on the later timeline`;
}

/** Each was a primary at a moment that lies within the time for which the other is known to have been one without a break. */
function areBothPrimaries(one: Subject, other: Subject, memory: Memories): boolean {
  const [a, b] = [memory[one.id], memory[other.id]];
  if (a?.primarySince === undefined || b?.primarySince === undefined || a.lineage !== b.lineage) return false;
  return Math.max(a.primarySince, b.primarySince) + CLOCK_SLACK_MS <= Math.min(a.lastSeenAt, b.lastSeenAt);
}

/** Whom people meant: whoever was there all along, unless everybody has moved on to another one. */
function rightfulOf(writers: readonly Subject[], memory: Memories, roots: ReadonlyMap<InstanceId, InstanceId>, edges: Edges): Subject {
  const since = (one: Subject): number => memory[one.id]?.writingSince ?? Infinity;
  const followers = new Map<InstanceId, { all: number; moved: number }>(writers.map(({ id }) => [id, { all: 0, moved: 0 }]));
  for (const [id, root] of roots) {
    const count = followers.get(root);
    if (count === undefined || id === root || edges.upstreams.get(id)?.connected !== true) continue;
    count.all += 1;
    if ((memory[id]?.upstreamSince ?? 0) > (memory[root]?.primarySince ?? Infinity)) count.moved += 1;
  }
  const countOf = (one: Subject): { all: number; moved: number } => followers.get(one.id)!;
  const bySince = [...writers].sort(
    (a, b) => since(a) - since(b) || countOf(b).all - countOf(a).all || (b.timeline ?? 0) - (a.timeline ?? 0) || (a.id < b.id ? -1 : 1),
  );
  const [earliest] = bySince;
  if (countOf(earliest!).all > 0) return earliest!;
  const chosen = bySince.filter((one) => countOf(one).moved > 0).sort((a, b) => countOf(b).moved - countOf(a).moved);
  return chosen[0] ?? earliest!;
}

export interface VerdictInput {
  readonly main: readonly Subject[];
  readonly clones: readonly Subject[];
  readonly memory: Memories;
  readonly splitBrain: SplitBrain | undefined;
  readonly edges: Edges;
  readonly roots: ReadonlyMap<InstanceId, InstanceId>;
  readonly subscribers: ReadonlySet<InstanceId>;
}

/** Sure is only who reports as primary now, alone and on time. */
export function verdictOf(input: VerdictInput): PrimaryVerdict {
  const { main, splitBrain, memory, edges, roots, subscribers } = input;
  if (splitBrain !== undefined) return { id: splitBrain.primaries.at(-1), certainty: 'disputed', why: `Split brain: ${splitBrain.why}` };
  const all = main.filter(({ id, role }) => role === 'primary' && !subscribers.has(id));
  const latestFirst = (a: Subject, b: Subject): number =>
    (memory[b.id]?.promotedAt ?? 0) - (memory[a.id]?.promotedAt ?? 0) ||
    (b.sighting.upAt ?? 0) - (a.sighting.upAt ?? 0) ||
    (a.id < b.id ? -1 : 1);
  const current = all.filter((one) => one.current).sort(latestFirst);
  const followersOf = (one: Subject): Subject[] =>
    main.filter(({ id, role }) => role === 'replica' && roots.get(id) === one.id && isStreamedTo(id, edges));
  if (current.length > 0) {
    const [first, ...others] = current;
    const name = first!.name;
    if (others.length > 0) {
      return {
        id: first!.id,
        certainty: 'likely',
        why: `${name} reports as primary; ${others[0]!.name} did when it last reported, before that.`,
      };
    }
    const strangers = main.filter(({ id }) => edges.strangers.has(id));
    if (strangers.length > 0 && memory[first!.id]?.lineage === undefined) {
      return {
        id: first!.id,
        certainty: 'likely',
        why: `${name} reports as primary, but ${strangers[0]!.name} streams from somebody else.`,
      };
    }
    if (!first!.fresh) return { id: first!.id, certainty: 'likely', why: `${name} reported as primary, and its next report is overdue.` };
    const unheard = all.filter((one) => !one.current && one.sighting.silent);
    const besides = unheard.length === 0 ? 'nobody else does' : `${unheard[0]!.name}, which was one before, is not heard`;
    return { id: first!.id, certainty: 'sure', why: `${name} reports as primary, and ${besides}.` };
  }
  return verdictWithoutReport(all.sort(latestFirst), main, edges, followersOf);
}

function verdictWithoutReport(
  known: readonly Subject[],
  main: readonly Subject[],
  edges: Edges,
  followersOf: (one: Subject) => Subject[],
): PrimaryVerdict {
  for (const one of known) {
    const followers = followersOf(one);
    if (followers.length > 0) {
      const who = followers.length === 1 ? `${followers[0]!.name} streams` : `${followers.length} replicas stream`;
      return { id: one.id, certainty: 'likely', why: `${one.name} was primary when last seen, and ${who} from it.` };
    }
  }
  const last = known[0];
  if (last !== undefined && last.sighting.silent) {
    return { id: last.id, certainty: 'likely', why: `${last.name} was primary when it last reported, and is not heard any more.` };
  }
  if (last !== undefined) {
    const reason = last.sighting.newest.up
      ? 'it does not report as one now'
      : `its server is down (${last.sighting.newest.reason ?? 'no answer'})`;
    return { id: undefined, certainty: 'unknown', why: `${last.name} was the last primary, and ${reason}.` };
  }
  const stranger = main.find(({ id }) => edges.strangers.has(id));
  const address = stranger === undefined ? undefined : edges.upstreams.get(stranger.id)?.address;
  if (stranger !== undefined && address !== undefined) {
    return { id: undefined, certainty: 'unknown', why: `${stranger.name} streams from ${address}, which no agent watches.` };
  }
  return { id: undefined, certainty: 'unknown', why: 'Nobody has reported as primary.' };
}

/** WAL flows on every step from the primary. */
export function isStreamedTo(id: InstanceId, edges: Edges): boolean {
  let upstream: Upstream | undefined = edges.upstreams.get(id);
  if (upstream === undefined) return false;
  for (; upstream !== undefined; upstream = upstream.id === undefined ? undefined : edges.upstreams.get(upstream.id)) {
    if (!upstream.connected) return false;
  }
  return true;
}
