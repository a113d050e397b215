/**
 * The history of a cluster as far as it was seen: whose WAL parts from whose, and where. A branch is a promotion (timeline,
 * fork, who): two servers that are promoted apart take the same timeline number. What was not seen is not known, and
 * nobody's history is held to have parted from another's because of it.
 */
import { formatLsn, parseLsn } from '@tidemark/protocol';
import type { Branch, InstanceId, MemberMemory, Upstream } from './model.ts';
import { settingOf, type Subject } from './topology-subject.ts';

const BRANCHES_MAX = 20;
const STATIC_MS = 60_000;

/** Where two histories part; undefined: they do not, as far as is known. `lsn` undefined: they do, and nobody saw where. */
export interface Fork {
  readonly lsn: bigint | undefined;
  /** The next promotion of each after the parting; undefined for the one that stayed. */
  readonly one: Branch | undefined;
  readonly other: Branch | undefined;
}

/** The first promotion that only one of two histories has. */
export function forkOf(one: readonly Branch[], other: readonly Branch[]): Fork | undefined {
  let common = 0;
  while (common < one.length && common < other.length && isSame(one[common]!, other[common]!)) common += 1;
  const [a, b] = [one[common], other[common]];
  if (a === undefined && b === undefined) return undefined;
  const forks = [a, b].map((branch) => parseLsn(branch?.forkLsn)).filter((lsn) => lsn !== undefined);
  const isKnown = forks.length === (a === undefined || b === undefined ? 1 : 2);
  if (!isKnown) return { lsn: undefined, one: a, other: b };
  // Of one number, neither can descend from the other. Of two, the later may, by a promotion that nobody saw: the further is sure.
  const isFurther = a !== undefined && b !== undefined && a.timeline !== b.timeline;
  return { lsn: forks.reduce((found, lsn) => (lsn < found === isFurther ? found : lsn)), one: a, other: b };
}

function isSame(one: Branch, other: Branch): boolean {
  return one.timeline === other.timeline && one.by === other.by;
}

/** The history of a primary: what it had as a replica, and its own promotion. */
export function branchesOfPrimary(subject: Subject, memory: MemberMemory | undefined): readonly Branch[] {
  const branches = memory?.branches ?? [];
  const { document, id } = subject;
  const timeline = document?.timeline ?? undefined;
  if (timeline === undefined) return branches;
  const recoveryEnd = document?.recoveryEndLsn ?? undefined;
  const last = branches.at(-1);
  // Also on the same timeline: a standby that is started without its signal file writes on where it stood.
  const wasReplica = memory?.lastRole === 'replica';
  if (!wasReplica && last?.timeline === timeline) {
    // Its fork stands still until the server restarts; what was read once holds.
    if (last.by !== id || last.forkLsn !== undefined || recoveryEnd === undefined) return branches;
    return [...branches.slice(0, -1), { ...last, forkLsn: recoveryEnd }];
  }
  const hasRisen = memory?.timeline !== undefined && timeline > memory.timeline;
  // Of a server that is new here, the first timeline was never begun by a promotion; recovery ends after a crash too.
  const wasPromotedUnseen = memory === undefined && recoveryEnd !== undefined && timeline > 1;
  if (!wasReplica && !hasRisen && !wasPromotedUnseen) return branches;
  return [...branches, { timeline, forkLsn: recoveryEnd, by: id }].slice(-BRANCHES_MAX);
}

/**
 * The history of a replica: its upstream's, once it streams the same timeline from there. When both are on the same number
 * of two branches PostgreSQL itself does not notice, and streams what can never be replayed: then it takes replay to believe it.
 */
export function branchesOfReplica(
  subject: Subject,
  memory: MemberMemory | undefined,
  upstreamId: InstanceId | undefined,
  upstream: MemberMemory | undefined,
): readonly Branch[] {
  const own = memory?.branches ?? [];
  if (upstream === undefined || subject.timeline === undefined || subject.timeline !== upstream.timeline) return own;
  const theirs = upstream.branches ?? [];
  const fork = forkOf(own, theirs);
  if (fork === undefined) return own;
  const isSameNumber = fork.one !== undefined && fork.one.timeline === fork.other?.timeline;
  const had = parseLsn(memory?.lastLsn);
  const hadPassed = fork.lsn === undefined || had === undefined || had > fork.lsn;
  return isSameNumber && hadPassed && !isReplaying(subject, memory, upstreamId) ? own : theirs;
}

/** It has all that its upstream has, or has gone on since it was seen to stream from there. */
function isReplaying(subject: Subject, memory: MemberMemory | undefined, upstreamId: InstanceId | undefined): boolean {
  const receiver = subject.document?.receiver;
  const replayed = parseLsn(receiver?.replayLsn);
  if (replayed === undefined) return false;
  if (replayed === parseLsn(receiver?.latestEndLsn)) return true;
  const before = parseLsn(memory?.replayedLsn);
  const sameRun = memory?.startedAt !== undefined && memory.startedAt === subject.document?.startedAt;
  return sameRun && memory.lastUpstream === upstreamId && before !== undefined && replayed > before;
}

export interface Divergence {
  readonly forkLsn: bigint | undefined;
  readonly why: string;
}

export interface Reference {
  readonly subject: Subject;
  readonly memory: MemberMemory;
}

/** Whether a replica's history has parted from that of the primary that it is to follow. */
export function divergenceOf(
  replica: Reference,
  upstream: Upstream | undefined,
  primary: Reference,
  isReachable: boolean,
  now: number,
): Divergence | undefined {
  const { subject, memory } = replica;
  const fork = forkOf(memory.branches ?? [], primary.memory.branches ?? []);
  const timeline = Math.max(subject.timeline ?? 0, memory.branches?.at(-1)?.timeline ?? 0);
  const primaryName = primary.subject.name;
  const primaryTimeline = primary.subject.timeline;
  if (fork?.lsn !== undefined && subject.lsn !== undefined && subject.lsn > fork.lsn) {
    return isOnItsOwn(fork, subject, primary.subject, timeline, memory)
      ? { forkLsn: fork.lsn, why: partedBecause(fork, subject, timeline, primary.subject) }
      : undefined;
  }
  if (fork?.lsn !== undefined || upstream?.connected === true || !subject.current || !isReachable) return undefined;
  // Where they part is not known. It stands still on an old timeline, though what it is to stream from is there.
  if (timeline === 0 || primaryTimeline === undefined || timeline >= primaryTimeline) return undefined;
  const since = Math.max(memory.movedAt ?? memory.firstSeenAt ?? now, primary.memory.primarySince ?? now, subject.startedAt ?? 0);
  const delayed = Number(settingOf(subject.sighting, 'recovery_min_apply_delay') ?? 0) > 0;
  if (now - since < STATIC_MS || delayed) return undefined;
  return {
    forkLsn: undefined,
    why: `${subject.name} stands still on timeline ${timeline} and cannot stream, while ${primaryName} writes timeline ${primaryTimeline}.`,
  };
}

/** What is not known of either history is no difference between them. */
function isOnItsOwn(fork: Fork, replica: Subject, primary: Subject, timeline: number, memory: MemberMemory): boolean {
  // It stayed where the primary left: then it is on the old timeline still, else it followed and nobody saw it.
  if (fork.one === undefined) return timeline > 0 && timeline < fork.other!.timeline;
  if ((memory.branches?.at(-1)?.timeline ?? 0) < (replica.timeline ?? 0)) return false;
  return fork.other !== undefined || (primary.timeline !== undefined && primary.timeline < fork.one.timeline);
}

function partedBecause(fork: Fork, replica: Subject, timeline: number, primary: Subject): string {
  const bytes = replica.lsn! - fork.lsn!;
  const where =
    fork.one === undefined
      ? `where timeline ${fork.other!.timeline}, which ${primary.name} writes, began`
      : `where its timeline ${fork.one.timeline} parted from the history of ${primary.name}`;
  return `${replica.name} is on timeline ${timeline} and has ${bytes} bytes beyond ${formatLsn(fork.lsn!)}, ${where}.`;
}

/** By id, who was ever linked to whom, as one word for each group; undefined for who never was. */
export function lineagesOf(
  ids: readonly InstanceId[],
  memory: Readonly<Record<InstanceId, MemberMemory>>,
  links: readonly (readonly [InstanceId, InstanceId])[],
  now: number,
): Map<InstanceId, string | undefined> {
  const parents = new Map<string, string>();
  const find = (key: string): string => {
    let root = key;
    for (let up = parents.get(root); up !== undefined; up = parents.get(root)) root = up;
    return root;
  };
  const join = (one: string, other: string): void => {
    const [a, b] = [find(one), find(other)];
    if (a !== b) parents.set(a > b ? a : b, a > b ? b : a);
  };
  const linked = new Set<string>();
  const all = new Set([...ids, ...Object.keys(memory)]);
  for (const id of all) {
    const known = memory[id];
    if (known?.lineage !== undefined) join(`#${known.lineage}`, `=${id}`);
    if (known?.stranger !== undefined) join(`=${id}`, `@${known.stranger}`);
    if (known?.lineage !== undefined || known?.stranger !== undefined) linked.add(id);
  }
  for (const [one, other] of links) {
    join(`=${one}`, other.startsWith('@') ? other : `=${other}`);
    linked.add(one);
    linked.add(other);
  }
  const words = new Map<string, string>();
  for (const id of [...all].sort()) {
    if (!linked.has(id)) continue;
    const root = find(`=${id}`);
    words.set(root, words.get(root) ?? memory[id]?.lineage ?? `${id}@${now}`);
  }
  return new Map([...all].map((id) => [id, linked.has(id) ? words.get(find(`=${id}`)) : undefined]));
}
