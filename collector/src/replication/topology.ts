/**
 * The topology of a cluster out of what its members say of each other, with no configuration: who follows whom, who is
 * primary and how sure that is, split brain, copies, histories that have parted. Pure; what it has to remember comes in and
 * goes out as plain data.
 */
import type { ClusterTopology, InstanceId, Member, TopologyInput, TopologyResult, Upstream } from './model.ts';
import { divergenceOf } from './branches.ts';
import { goneMember, goneOf, rememberUnwatched, unwatchedNames, type Gone } from './edge-unwatched.ts';
import { findEdges, type Edges, type Unwatched } from './edges.ts';
import { remember, type Memories } from './topology-memory.ts';
import { clusterNameOf } from './topology-names.ts';
import { subjectsOf, type Subject } from './topology-subject.ts';
import { subscriberName, watchedSubscriber } from './topology-subscribers.ts';
import { groupsOf, isStreamedTo, splitBrainOf, verdictOf } from './topology-verdict.ts';

const NONE: ReadonlyMap<string, InstanceId> = new Map();

/** One look at one cluster. Times are milliseconds on the collector's clock; the memory is to be given back at the next look. */
export function clusterTopology(input: TopologyInput): TopologyResult {
  const subjects = subjectsOf(input);
  const byId = new Map(subjects.map((subject) => [subject.id, subject]));
  const found = withSubscribers(findEdges(subjects), input);
  const subscribers = subscribersOf(subjects);
  const gone = goneOf(subjects, found, input.now);
  const edges = withGone({ ...found, upstreams: new Map([...found.upstreams, ...subscribers]) }, gone);
  const names = unwatchedNames(subjects, edges.unwatched, gone);
  const memory = remember(input, subjects, edges);
  rememberUnwatched(memory, { subjects, edges, gone, names });
  const { main, clones } = groupsOf(subjects, memory, edges);
  const writers = main.filter(({ id }) => !subscribers.has(id));
  const chains = rootsOf(byId, edges);
  const splitBrain = splitBrainOf(writers, memory, chains, edges);
  const primary = verdictOf({ main, clones, memory, splitBrain, edges, roots: chains, subscribers: new Set(subscribers.keys()) });
  const roots = withLooseEnds(chains, subjects, edges, primary.certainty === 'disputed' ? undefined : primary.id);
  const context: Context = { input, memory, edges, byId, roots, subscribers, primaryId: primary.id };
  const members = [
    ...subjects.map((subject) => memberOf(subject, context)),
    ...edges.unwatched.map((one) => ({ ...unwatchedMember(one, context), name: names.get(one.id)! })),
    ...gone.map((one) => goneMember(one, names.get(one.id)!, roots.get(one.sender.id))),
  ];
  const cluster: ClusterTopology = {
    systemIdentifier: input.systemIdentifier,
    name: clusterNameOf(subjects, { memory, primary: primary.id, clones }),
    members: members.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id < b.id ? -1 : 1)),
    primary,
    splitBrain,
    clones: clones.map(({ id }) => id),
    primaryEvidenceAt: evidenceOf(context, main),
  };
  return { cluster, memory };
}

/** Subscribers that are watched in a cluster of their own are called as they are there. */
function withSubscribers(edges: Edges, { sightings, subscribers = [] }: TopologyInput): Edges {
  if (subscribers.length === 0 || edges.unwatched.every(({ row }) => row.kind !== 'logical')) return edges;
  const unwatched = edges.unwatched.map((one): Unwatched => {
    const same = watchedSubscriber(one.sender, one.row, subscribers);
    return same === undefined ? one : { ...one, name: subscriberName(same, [...sightings, ...subscribers]), sameAs: same.id };
  });
  return { ...edges, unwatched };
}

/** Who is gone keeps its place below its sender, and the slot that waits for it. */
function withGone(edges: Edges, gone: readonly Gone[]): Edges {
  if (gone.length === 0) return edges;
  const upstreams = new Map(edges.upstreams);
  const slotUsers = new Map(edges.slotUsers);
  for (const { id, sender, upstream, known } of gone) {
    upstreams.set(id, upstream);
    const used = slotUsers.get(sender.id);
    if (known.slot === null || used?.has(known.slot) === true) continue;
    if (sender.document?.slots.some(({ name }) => name === known.slot) === true)
      slotUsers.set(sender.id, new Map([...(used ?? []), [known.slot, id]]));
  }
  return { ...edges, upstreams, slotUsers };
}

interface Context {
  readonly input: TopologyInput;
  readonly memory: Memories;
  readonly edges: Edges;
  readonly byId: ReadonlyMap<InstanceId, Subject>;
  readonly roots: ReadonlyMap<InstanceId, InstanceId>;
  readonly subscribers: ReadonlyMap<InstanceId, Upstream>;
  readonly primaryId: InstanceId | undefined;
}

function memberOf(subject: Subject, context: Context): Member {
  const { edges, roots, subscribers } = context;
  const { id } = subject;
  const isSubscriber = subscribers.has(id);
  return {
    id,
    name: subject.name,
    sighting: subject.sighting,
    seenBy: edges.seenBy.get(id),
    role: isSubscriber ? 'subscriber' : subject.role,
    roleIsCurrent: subject.current,
    timeline: subject.timeline,
    upstream: edges.upstreams.get(id),
    root: roots.get(id),
    slotUsers: edges.slotUsers.get(id) ?? NONE,
    diverged: subject.role === 'replica' ? divergedFrom(subject, context) : undefined,
    branches: context.memory[id]?.branches,
  };
}

function unwatchedMember({ id, name, row, sender, upstream, sameAs }: Unwatched, { edges, roots }: Context): Member {
  const isLogical = row.kind === 'logical';
  return {
    id,
    name,
    sighting: undefined,
    seenBy: edges.seenBy.get(id),
    role: isLogical ? 'subscriber' : 'replica',
    roleIsCurrent: sender.current,
    timeline: undefined,
    upstream,
    root: roots.get(id),
    slotUsers: NONE,
    sameAs,
    diverged: undefined,
  };
}

/** One that is fed by a running primary is held against that one; everybody else against the cluster's. */
function divergedFrom(subject: Subject, { input, memory, edges, byId, roots, primaryId }: Context): Member['diverged'] {
  const root = roots.get(subject.id);
  const isFed = root !== undefined && isStreamedTo(subject.id, edges) && byId.get(root)?.current === true;
  const against = isFed ? root : (primaryId ?? root);
  const primary = against === undefined ? undefined : byId.get(against);
  const [own, theirs] = [memory[subject.id], against === undefined ? undefined : memory[against]];
  if (primary === undefined || own === undefined || theirs === undefined || primary.role !== 'primary') return undefined;
  if (own.lineage !== undefined && theirs.lineage !== undefined && own.lineage !== theirs.lineage) return undefined;
  const upstream = edges.upstreams.get(subject.id);
  const sender = upstream?.id === undefined ? undefined : byId.get(upstream.id);
  const isReachable = sender?.current === true && (sender === primary || roots.get(sender.id) === primary.id);
  return divergenceOf({ subject, memory: own }, upstream, { subject: primary, memory: theirs }, isReachable, input.now);
}

/** By member, the primary at the top of its chain; nothing for chains that end in the unknown. */
function rootsOf(byId: ReadonlyMap<InstanceId, Subject>, edges: Edges): Map<InstanceId, InstanceId> {
  const roots = new Map<InstanceId, InstanceId>();
  for (const id of [...byId.keys(), ...edges.unwatched.map((one) => one.id)]) {
    let at: InstanceId | undefined = id;
    for (let steps = 0; at !== undefined && steps <= byId.size + 1; steps += 1) {
      if (byId.get(at)?.role === 'primary') {
        roots.set(id, at);
        break;
      }
      at = edges.upstreams.get(at)?.id;
    }
  }
  return roots;
}

/** A replica that follows nobody (it is fed from the archive) follows the one primary that there is. */
function withLooseEnds(
  chains: ReadonlyMap<InstanceId, InstanceId>,
  subjects: readonly Subject[],
  edges: Edges,
  primary: InstanceId | undefined,
): ReadonlyMap<InstanceId, InstanceId> {
  if (primary === undefined) return chains;
  const roots = new Map(chains);
  for (const { id, role } of subjects) {
    const upstream = edges.upstreams.get(id);
    if (role === 'replica' && !roots.has(id) && upstream?.connected !== true && upstream?.id === undefined) roots.set(id, primary);
  }
  return roots;
}

/** Members that are fed by logical replication from another one of the same identifier: copies that were promoted for it. */
function subscribersOf(subjects: readonly Subject[]): Map<InstanceId, Upstream> {
  const found = new Map<InstanceId, Upstream>();
  for (const one of subjects) {
    if (one.role !== 'primary') continue;
    for (const subscription of one.document?.subscriptions ?? []) {
      if (subscription.enabled === false || subscription.slotName === null) continue;
      const publisher = subjects.find(
        (other) =>
          other !== one &&
          other.document?.slots.some(
            ({ name, type, active }) => name === subscription.slotName && type === 'logical' && active === true,
          ) === true,
      );
      if (publisher === undefined || found.get(publisher.id)?.id === one.id) continue;
      found.set(one.id, {
        id: publisher.id,
        by: 'subscription',
        address: undefined,
        connected: subscription.workerPid !== null && one.current,
      });
      break;
    }
  }
  return found;
}

/** The newest moment at which a primary reported, or a replica that is fed all the way had word from above. */
function evidenceOf({ edges, memory, subscribers, byId, input }: Context, main: readonly Subject[]): number | undefined {
  let newest: number | undefined;
  const saw = (at: number | undefined): void => {
    if (at !== undefined && (newest === undefined || at > newest)) newest = at;
  };
  for (const { id, role, sighting, document, seeks } of main) {
    if (role === 'primary' && !subscribers.has(id)) saw(memory[id]?.lastSeenAt ?? sighting.upAt);
    const ago = document?.receiver?.lastMessageAgoMs ?? undefined;
    if (role !== 'replica' || seeks.streaming !== true || ago === undefined) continue;
    if (edges.strangers.has(id) || isStreamedTo(id, edges)) saw(sighting.upAt! - ago);
  }
  const lineages = new Set(main.map(({ id }) => memory[id]?.lineage));
  for (const [id, known] of Object.entries(memory)) {
    if (!byId.has(id) && known.lastRole === 'primary' && known.lineage !== undefined && lineages.has(known.lineage)) saw(known.lastSeenAt);
  }
  return newest === undefined ? undefined : Math.min(newest, input.now);
}
