/**
 * Who receives from whom: every standby is laid beside every server that might send to it, and the best evidence decides
 * first. No row of a sender is given to two standbys, what fits two equally well is not believed, and edges never close a
 * circle. What a sender sees and nobody watches becomes a member of its own.
 */
import type { EdgeBasis, InstanceId, Upstream } from './model.ts';
import { unwatchedIds } from './edge-unwatched.ts';
import { crowdOf, fitOfAddress, fitOfRow, type Crowd } from './edge-evidence.ts';
import { addressText, isLoopback, onOneMachine } from './topology-places.ts';
import { rowAddress, type SenderRow, type Subject } from './topology-subject.ts';

export interface Unwatched {
  readonly id: InstanceId;
  readonly name: string;
  readonly sender: Subject;
  readonly row: SenderRow;
  readonly upstream: Upstream;
  /** A watched member of another cluster. */
  readonly sameAs?: InstanceId;
}

export interface Edges {
  readonly upstreams: ReadonlyMap<InstanceId, Upstream>;
  readonly seenBy: ReadonlyMap<InstanceId, { readonly upstream: InstanceId; readonly replica: number }>;
  readonly unwatched: readonly Unwatched[];
  /** Who streams from somebody that nobody here is. */
  readonly strangers: ReadonlySet<InstanceId>;
  readonly slotUsers: ReadonlyMap<InstanceId, ReadonlyMap<string, InstanceId>>;
}

interface Candidate {
  readonly standby: Subject;
  readonly sender: Subject;
  readonly row: SenderRow | undefined;
  readonly points: number;
  readonly by: EdgeBasis;
}

/** Of the row itself, and altogether: below it nothing is believed. */
const ROW_POINTS_MIN = 4;
const ROW_POINTS_SURE = 16;
const POINTS_MIN = 8;
/** A sender that was looked at later and sees nobody of the kind. */
const UNSEEN_LATER = 15;
const UNSEEN = 6;
/** How well two servers' clocks can be compared. */
const NEWER_MS = 2_500;
/** wal_sender_timeout, as it mostly is. */
const LEFT_BEHIND_MS = 60_000;

/** Every edge among the members of one cluster, and those that only a sender knows. */
export function findEdges(subjects: readonly Subject[]): Edges {
  const crowd = crowdOf(subjects);
  const search = new Search(subjects, crowd);
  search.decide();
  search.claimLeftOverRows();
  search.addUnwatched();
  search.addUndecided();
  return search.edges();
}

class Search {
  readonly #subjects: readonly Subject[];
  readonly #crowd: Crowd;
  readonly #decided = new Map<Subject, Candidate>();
  readonly #taken = new Map<SenderRow, Subject | undefined>();
  readonly #upstreams = new Map<InstanceId, Upstream>();
  readonly #unwatched: Unwatched[] = [];
  readonly #circling = new Set<Subject>();
  readonly #strangers = new Set<InstanceId>();

  constructor(subjects: readonly Subject[], crowd: Crowd) {
    this.#subjects = subjects;
    this.#crowd = crowd;
  }

  /** Level by level from the best; within a level only what is the one possibility of its standby and of its row. */
  decide(): void {
    const candidates = this.#candidates();
    for (let from = 0, to = 0; from < candidates.length; from = to) {
      while (to < candidates.length && candidates[to]!.points === candidates[from]!.points) to += 1;
      const isOpen = ({ standby, row }: Candidate): boolean => !this.#decided.has(standby) && (row === undefined || !this.#taken.has(row));
      let level = candidates.slice(from, to).filter(isOpen);
      for (let before = Infinity; level.length > 0 && level.length < before;) {
        before = level.length;
        const claims = new Map<Subject | SenderRow, number>();
        for (const { standby, row } of level) {
          claims.set(standby, (claims.get(standby) ?? 0) + 1);
          if (row !== undefined) claims.set(row, (claims.get(row) ?? 0) + 1);
        }
        for (const one of level) {
          if (claims.get(one.standby) === 1 && (one.row === undefined || claims.get(one.row) === 1)) this.#take(one, one.row);
        }
        level = level.filter(isOpen);
      }
      this.#settleEqual(level);
    }
  }

  /** Several rows of one sender fit equally: from whom it receives is known, and by which row is not. */
  #settleEqual(level: readonly Candidate[]): void {
    const senders = new Map<Subject, Set<Subject>>();
    for (const { standby, sender } of level) senders.set(standby, (senders.get(standby) ?? new Set()).add(sender));
    for (const one of level) {
      if (this.#decided.has(one.standby) || senders.get(one.standby)!.size > 1) continue;
      this.#take(one, undefined);
    }
  }

  #take(candidate: Candidate, row: SenderRow | undefined): void {
    const { standby, sender, by } = candidate;
    if (standby.role === 'replica') {
      if (this.#leads(sender.id, standby.id)) {
        // Streaming in a circle (nobody forbids it), or of two reports one is older: its row is its own all the same.
        if (row !== undefined) this.#taken.set(row, undefined);
        this.#circling.add(standby);
        return;
      }
      const seesFlow = sender.current && (row?.view.state === 'streaming' || row?.view.state === 'catchup');
      const isNewer = row?.startedAt !== undefined && row.startedAt > (standby.sighting.upAt ?? Infinity);
      const { streaming } = standby.seeks;
      this.#upstreams.set(standby.id, {
        id: sender.id,
        by,
        address: addressSought(standby),
        connected: streaming === undefined || (!streaming && isNewer) ? seesFlow : streaming,
      });
    }
    this.#decided.set(standby, { ...candidate, row });
    if (row !== undefined) this.#taken.set(row, standby);
  }

  /** Whether the chain of upstreams from one comes to the other. */
  #leads(from: InstanceId, to: InstanceId): boolean {
    for (let at: InstanceId | undefined = from; at !== undefined; at = this.#upstreams.get(at)?.id) if (at === to) return true;
    return false;
  }

  #candidates(): Candidate[] {
    const candidates: Candidate[] = [];
    for (const standby of this.#subjects) {
      const isReplica = standby.role === 'replica';
      const own: Candidate[] = [];
      for (const sender of this.#subjects) {
        // One that has just been promoted may still have a row where it streamed from; nothing else of a primary is anybody's replica.
        if (sender === standby || (!isReplica && (standby.role !== 'primary' || standby.memory?.lastUpstream !== sender.id))) continue;
        const address = fitOfAddress(standby, sender, this.#crowd);
        for (const row of sender.rows) {
          if (row.kind !== 'physical') continue;
          const fit = fitOfRow(standby, sender, row, this.#crowd);
          const points = fit.points + address.points - (sender.current ? 0 : 4);
          if (fit.points < ROW_POINTS_MIN || points < POINTS_MIN) continue;
          const isByRow = fit.by === 'slot' || fit.by === 'process' || address.points < 8;
          own.push({ standby, sender, row, points, by: isByRow ? fit.by : 'address' });
        }
        if (isReplica && address.points >= 8) {
          const points = address.points - unseenPoints(standby, sender);
          if (points > 0) own.push({ standby, sender, row: undefined, points, by: address.by });
        }
      }
      candidates.push(...withNewestPreferred(own));
    }
    return candidates.sort((a, b) => b.points - a.points);
  }

  /** A row that could be that of a standby whose row is not known is not somebody else besides. */
  claimLeftOverRows(): void {
    for (const sender of this.#subjects) {
      const rows = sender.rows.filter((row) => row.kind === 'physical' && !this.#taken.has(row));
      if (rows.length === 0) continue;
      for (const { standby, row: known } of this.#decided.values()) {
        if (known !== undefined || this.#upstreams.get(standby.id)?.id !== sender.id) continue;
        const fitting = rows
          .filter((row) => !this.#taken.has(row))
          .map((row) => ({ row, points: fitOfRow(standby, sender, row, this.#crowd).points }))
          .filter(({ points }) => points >= 0)
          .sort((a, b) => b.points - a.points);
        if (fitting[0] !== undefined) this.#taken.set(fitting[0].row, undefined);
      }
    }
  }

  addUnwatched(): void {
    for (const sender of this.#subjects) {
      const rows = sender.rows.filter((row) => !this.#taken.has(row) && !this.#isElsewhere(sender, row, row.view.applicationName ?? ''));
      for (const [row, id] of unwatchedIds(sender, rows)) {
        const application = row.view.applicationName ?? '';
        const by = row.kind === 'logical' ? 'subscription' : row.view.slotName === null ? 'process' : 'slot';
        const connected = sender.current && (row.view.state === 'streaming' || row.view.state === 'catchup');
        const isNamed = application !== '' && application !== 'walreceiver';
        const upstream: Upstream = { id: sender.id, by, address: undefined, connected };
        this.#upstreams.set(id, upstream);
        this.#unwatched.push({
          id,
          name: isNamed ? application : rowAddress(row) === 'socket' ? `a replica of ${sender.name} over a socket` : rowAddress(row),
          sender,
          row,
          upstream,
        });
      }
    }
  }

  /** A row that was left behind: by a watched one that has moved on, or in the last report of a server that is down. */
  #isElsewhere(sender: Subject, row: SenderRow, application: string): boolean {
    if (row.kind === 'physical' && this.#subjects.some((other) => other !== sender && this.#hasLeft(other, sender, row))) return true;
    const isSame = (one: SenderRow): boolean =>
      one.kind === row.kind && one.address === row.address && one.view.applicationName === application;
    return !sender.current && this.#subjects.some((other) => other !== sender && other.current && other.rows.some(isSame));
  }

  #hasLeft(standby: Subject, sender: Subject, row: SenderRow): boolean {
    const { points } = fitOfRow(standby, sender, row, this.#crowd);
    if (points >= (sender.current ? ROW_POINTS_SURE : ROW_POINTS_MIN)) return true;
    // A sender that was looked at long after the move would have noticed: then it is somebody else's.
    const movedAt = this.#decided.get(standby)?.row?.startedAt;
    const isEarlier = movedAt !== undefined && row.startedAt !== undefined && movedAt - row.startedAt > NEWER_MS;
    return points >= ROW_POINTS_MIN && isEarlier && sender.sighting.upAt! < movedAt + LEFT_BEHIND_MS;
  }

  /** Of the rest: an unwatched one that it connects to, whom it followed last, or somebody unknown at an address. */
  addUndecided(): void {
    for (const standby of this.#subjects) {
      if (standby.role !== 'replica' || this.#upstreams.has(standby.id)) continue;
      const { seeks, memory } = standby;
      const address = addressSought(standby);
      // What goes round in a circle comes from nobody.
      const isCircling = this.#circling.has(standby);
      const connected = seeks.streaming === true && !isCircling;
      const relay = this.#unwatchedAt(standby);
      if (relay !== undefined && !this.#leads(relay.sender.id, standby.id)) {
        this.#upstreams.set(standby.id, { id: relay.id, by: seeks.isConnected ? 'address' : 'conninfo', address, connected });
        continue;
      }
      const last = connected || isCircling ? undefined : memory?.lastUpstream;
      const known = last !== undefined && this.#subjects.some(({ id }) => id === last) && !this.#leads(last, standby.id) ? last : undefined;
      if (known === undefined && address === undefined) continue;
      const by = known === undefined ? (seeks.isConnected ? 'address' : 'conninfo') : (memory?.lastUpstreamBy ?? 'conninfo');
      this.#upstreams.set(standby.id, { id: known, by, address, connected });
      if (connected) this.#strangers.add(standby.id);
    }
  }

  #unwatchedAt(standby: Subject): Unwatched | undefined {
    const [address] = standby.seeks.addresses;
    if (address === undefined || standby.seeks.addresses.length > 1) return undefined;
    const found = this.#unwatched.filter(({ row, sender }) => {
      if (row.kind !== 'physical' || row.address === undefined) return false;
      if (isLoopback(address.host)) return isLoopback(row.address) && onOneMachine(standby.place, sender.place);
      return row.address === address.host || row.view.clientHostname?.toLowerCase() === address.host;
    });
    return found.length === 1 ? found[0] : undefined;
  }

  edges(): Edges {
    const seenBy = new Map<InstanceId, { upstream: InstanceId; replica: number }>();
    const slotUsers = new Map<InstanceId, Map<string, InstanceId>>();
    const use = (sender: Subject, slot: string | null | undefined, id: InstanceId): void => {
      if (slot === null || slot === undefined || slotUsers.get(sender.id)?.has(slot) === true) return;
      slotUsers.set(sender.id, (slotUsers.get(sender.id) ?? new Map<string, InstanceId>()).set(slot, id));
    };
    for (const { standby, sender, row } of this.#decided.values()) {
      if (standby.role !== 'replica' || row === undefined) continue;
      seenBy.set(standby.id, { upstream: sender.id, replica: row.index });
      use(sender, row.view.slotName, standby.id);
    }
    for (const { id, sender, row } of this.#unwatched) {
      seenBy.set(id, { upstream: sender.id, replica: row.index });
      use(sender, row.view.slotName, id);
    }
    // What nobody streams from at the moment belongs to the one that is set up for it.
    for (const standby of this.#subjects) {
      const upstream = this.#upstreams.get(standby.id)?.id;
      const sender = this.#subjects.find(({ id }) => id === upstream);
      if (sender?.document?.slots.some(({ name }) => name === standby.seeks.slot) === true) use(sender, standby.seeks.slot, standby.id);
    }
    return { upstreams: this.#upstreams, seenBy, unwatched: this.#unwatched, strangers: this.#strangers, slotUsers };
  }
}

/** Of rows at two senders, one was left behind when the standby moved (a virtual address did): the one that began first. */
function withNewestPreferred(candidates: readonly Candidate[]): readonly Candidate[] {
  let newest: Candidate | undefined;
  for (const one of candidates) {
    const startedAt = one.row?.startedAt;
    if (startedAt !== undefined && startedAt > (newest?.row?.startedAt ?? -Infinity)) newest = one;
  }
  if (newest === undefined || candidates.every(({ sender, row }) => row === undefined || sender === newest.sender)) return candidates;
  const isClear = candidates.every(
    ({ sender, row }) => sender === newest.sender || row?.startedAt === undefined || newest.row!.startedAt! - row.startedAt > NEWER_MS,
  );
  return isClear
    ? candidates.map((one) => (one.sender === newest.sender && one.row !== undefined ? { ...one, points: one.points + 3 } : one))
    : candidates;
}

function unseenPoints(standby: Subject, sender: Subject): number {
  if (!sender.current || sender.document?.insufficientPrivilege === true || standby.seeks.streaming !== true) return 0;
  return sender.sighting.upAt! > standby.sighting.upAt! ? UNSEEN_LATER : UNSEEN;
}

function addressSought({ seeks }: Subject): string | undefined {
  return seeks.addresses.length === 0 ? undefined : seeks.addresses.map(addressText).join(',');
}
