/**
 * The figures of a cluster at one look: lag, state, backlogs and ETA of each member, its slots, what would be lost, who is
 * missing. Pure: it reads topology and tracks and no clock; where nobody knows it says nothing rather than 0.
 */
import { bytesBetween, parseLsn, type ReplicaView } from '@tidemark/protocol';
import { averageAt, catchupOf, ratesSince, WINDOW_MS, WINDOW_MS_COARSE, type Catchup } from './catchup.ts';
import { dangerOf, dangerText } from './dangers.ts';
import { rpoBytesOf, synchronousOf } from './durability.ts';
import {
  excessOf,
  lagOf,
  lsnAt,
  lsnAtMost,
  standingByAgent,
  standingBySender,
  standingWhileDown,
  type HeadClock,
  type Standing,
} from './lag.ts';
import type {
  ClusterFigures,
  ClusterTopology,
  InstanceId,
  Lag,
  Member,
  MemberFigures,
  Sighting,
  SlotFigures,
  Track,
  TrackReader,
} from './model.ts';
import { receiverTimeoutMs, settingMs } from './server-settings.ts';
import { SEGMENT_BYTES, slotsOf } from './slots.ts';
import { isStopped, stateOf } from './state.ts';

/** Reports that may be missing before a server counts as not heard, and what a report may take. */
const REPORTS_MISSED = 2.5;
const GRACE_MS = 5_000;
/** wal_receiver_status_interval where it is not known, and what a view of it may take to be seen. */
const STATUS_MS = 10_000;
const SEEN_MS = 2_000;
/** How old what a document says of pg_wal may be. */
const WAL_LOOKED_UP_MS = 75_000;
/** Behind by less than this is what is under way. */
const CAUGHT_UP_MS = 2_000;

/** All figures of a cluster, at `now` on the collector's clock. */
export function figuresOf(cluster: ClusterTopology, tracks: TrackReader, now: number): ClusterFigures {
  const look = new Look(cluster, tracks, now);
  const members = new Map(cluster.members.map((member) => [member.id, look.memberFigures(member)]));
  const slots = cluster.members.flatMap(({ id }) => look.slotsOf(id));
  const primary = cluster.primary.certainty === 'disputed' ? undefined : (look.byId(cluster.primary.id) ?? lastPrimary(cluster));
  return { members, slots, rpoBytes: rpoBytesOf(cluster, tracks, primary), synchronous: synchronousOf(look.byId(cluster.primary.id)) };
}

/** While nobody is primary, the one that was it last: what it wrote is what would be lost. */
function lastPrimary({ members, clones }: ClusterTopology): Member | undefined {
  let last: Member | undefined;
  for (const member of members) {
    if (member.role !== 'primary' || clones.includes(member.id)) continue;
    if (last === undefined || (member.sighting?.upAt ?? -Infinity) > (last.sighting?.upAt ?? -Infinity)) last = member;
  }
  return last;
}

/** One look at one cluster: what several members need is worked out once. */
class Look {
  readonly #cluster: ClusterTopology;
  readonly #tracks: TrackReader;
  readonly #now: number;
  readonly #members: ReadonlyMap<InstanceId, Member>;
  readonly #rootClocks = new Map<InstanceId | undefined, HeadClock>();
  readonly #slots = new Map<InstanceId, readonly SlotFigures[]>();

  constructor(cluster: ClusterTopology, tracks: TrackReader, now: number) {
    this.#cluster = cluster;
    this.#tracks = tracks;
    this.#now = now;
    this.#members = new Map(cluster.members.map((member) => [member.id, member]));
  }

  byId(id: InstanceId | undefined): Member | undefined {
    return id === undefined ? undefined : this.#members.get(id);
  }

  /** Of the primary at the top of a member's chain. */
  #rootClock(root: InstanceId | undefined): HeadClock {
    let clock = this.#rootClocks.get(root);
    if (clock === undefined) {
      const mates = this.#cluster.members.filter((one) => one.root === root && one.id !== root && one.diverged === undefined);
      const direct = mates.filter(({ upstream }) => upstream?.id === undefined || upstream.id === root || !this.#isWatched(upstream.id));
      clock = this.#clockOf(this.byId(root), direct, mates);
      this.#rootClocks.set(root, clock);
    }
    return clock;
  }

  /**
   * Of what a member is to be at the end of. One that is on a later timeline than the primary above it follows somebody who has
   * taken over and has not reported yet: then only what it was told itself is of its history.
   */
  #clockAbove(member: Member): HeadClock {
    const [own, its] = [member.timeline, this.byId(member.root)?.timeline];
    const isPast = own !== undefined && its !== undefined && own > its;
    return isPast ? this.#clockOf(undefined, [member], [member]) : this.#rootClock(member.root);
  }

  /** Of the server that a member of a cascade receives from. */
  #edgeClock(member: Member): HeadClock | undefined {
    const upstream = member.upstream?.id;
    if (upstream === member.root || member.diverged !== undefined) return undefined;
    return upstream === undefined && member.root === undefined ? undefined : this.#clockOf(this.byId(upstream), [member], [member]);
  }

  /** Of a watched member. What it keeps is measured by its own positions; as a replica, by those of its primary where that is known. */
  slotsOf(id: InstanceId | undefined): readonly SlotFigures[] {
    const member = this.byId(id);
    if (member?.sighting === undefined) return [];
    let slots = this.#slots.get(member.id);
    if (slots === undefined) {
      const clock = this.#rootClock(member.role === 'replica' ? (member.root ?? member.id) : member.id);
      this.#slots.set(member.id, (slots = slotsOf(member, this.#tracks, clock)));
    }
    return slots;
  }

  #clockOf(server: Member | undefined, told: readonly Member[], beyond: readonly Member[]): HeadClock {
    const head = this.#headOf(server);
    return {
      head,
      isHeard: head !== undefined && this.#isHeard(server!.sighting, head),
      told: told.flatMap(({ id }) => this.#tracks.sender(id) ?? []),
      toldFreshMs: Math.max(...told.map(({ sighting }) => receiverTimeoutMs(sighting?.settings)), receiverTimeoutMs(undefined)),
      beyond: this.#heads(beyond),
    };
  }

  #headOf(server: Member | undefined): Track | undefined {
    if (server?.role !== 'primary') return server === undefined ? undefined : this.#tracks.head(server.id);
    const { members, clones } = this.#cluster;
    const others = members.flatMap(({ id }) => (id === server.id || clones.includes(id) ? [] : [id]));
    return this.#tracks.line(server.id, server.branches ?? [], others);
  }

  #heads(members: readonly Member[]): Track[] {
    return members.flatMap(({ id }) => this.#tracks.head(id) ?? []);
  }

  #isWatched(id: InstanceId | undefined): boolean {
    return this.byId(id)?.sighting !== undefined;
  }

  #isHeard(sighting: Sighting | undefined, head: Track): boolean {
    if (sighting === undefined || sighting.silent || !sighting.newest.up || head.newest === undefined) return false;
    return this.#now - head.newest.at <= REPORTS_MISSED * sighting.intervalMs + GRACE_MS;
  }

  #rowOf(member: Member): ReplicaView | undefined {
    const upstream = this.byId(member.seenBy?.upstream)?.sighting;
    return upstream === undefined || upstream.silent ? undefined : upstream.newest.replicas[member.seenBy!.replica];
  }

  /** The best of what is known of where a replica stands. */
  #standing(member: Member, clock: HeadClock): Standing | undefined {
    const { sighting } = member;
    const replayed = this.#tracks.replayed(member.id);
    const reported = this.#tracks.reported(member.id);
    const isTold = sighting !== undefined && !sighting.silent && sighting.newest.up;
    if (isTold && replayed?.newest !== undefined) return standingByAgent(replayed, clock);
    const statusMs = settingMs(sighting?.settings, 'wal_receiver_status_interval') ?? STATUS_MS;
    const bySender = standingBySender(reported, clock, statusMs === 0 ? undefined : statusMs + SEEN_MS);
    const byAgent =
      sighting !== undefined && !sighting.silent && isStopped(sighting.newest)
        ? standingWhileDown(replayed, clock, sighting.reportedAt)
        : standingByAgent(replayed, clock);
    if (bySender === undefined || byAgent === undefined) return bySender ?? byAgent;
    if (byAgent.at >= bySender.at) return byAgent;
    const floor = lsnAt(replayed, bySender.at);
    const isHigher = floor !== undefined && (bySender.low === undefined || floor > bySender.low);
    return isHigher
      ? { ...bySender, low: floor, high: bySender.high === undefined || bySender.high > floor ? bySender.high : floor }
      : bySender;
  }

  /** Behind its publisher by what its slots have not confirmed: the one that is furthest behind. */
  #lagOfSubscriber(member: Member): Lag | undefined {
    const lags = this.slotsOf(member.upstream?.id).flatMap(({ usedBy, lag }) => (usedBy === member.id && lag !== undefined ? [lag] : []));
    return lags.toSorted((a, b) => b.value - a.value)[0];
  }

  memberFigures(member: Member): MemberFigures {
    const { sighting } = member;
    const isReplica = member.role === 'replica' && member.diverged === undefined;
    const rootClock = this.#clockAbove(member);
    const edgeClock = isReplica ? this.#edgeClock(member) : undefined;
    const standing = isReplica ? this.#standing(member, rootClock) : undefined;
    const lag = member.role === 'subscriber' ? this.#lagOfSubscriber(member) : lagOf(standing, rootClock);
    const edgeLag = edgeClock === undefined ? lag : lagOf(this.#standing(member, edgeClock), edgeClock);
    const delayMs = settingMs(sighting?.settings, 'recovery_min_apply_delay') || undefined;
    const backlog = isReplica ? this.#backlogOf(member, edgeClock ?? rootClock) : NO_BACKLOG;
    const replayed = this.#tracks.replayed(member.id);
    const flatSince = replayed?.newest === undefined ? undefined : finite(replayed.passed(replayed.newest.lsn - 1n).notAfter);
    const upstreamName = this.byId(member.seenBy?.upstream ?? member.upstream?.id)?.name;
    const verdict = stateOf({
      member,
      upstreamName,
      row: this.#rowOf(member),
      lag,
      own: excessOf(edgeLag ?? lag, delayMs),
      ownBytes: (edgeLag ?? lag)?.bytes,
      ...backlog,
      delayMs,
      flatSince,
      replayedAt: replayed?.newest?.at,
      heardAt: this.#tracks.sender(member.id)?.newest?.at,
      removed: isReplica ? this.#removedFor(member) : undefined,
      now: this.#now,
    });
    const isFromArchive = verdict.state === 'archive_recovery';
    const catchup = isReplica
      ? this.#catchupOf(member, { lag, delayMs, clock: rootClock, transportBytes: backlog.transportBytes, isFromArchive })
      : NO_CATCHUP;
    const danger = dangerOf(member, upstreamName, this.slotsOf(member.upstream?.id), { tracks: this.#tracks, ...backlog });
    return {
      id: member.id,
      state: verdict.state,
      why: verdict.why + dangerText(danger, catchup, verdict.state),
      lag,
      edgeLag,
      excess: excessOf(lag, delayMs),
      ...backlog,
      catchup: member.role === 'primary' ? 'caught_up' : catchup.catchup,
      catchupMs: catchup.ms,
      slotLostInMs: danger.slotLostInMs,
      diskFullInMs: danger.diskFullInMs,
      delayMs,
      walBytesPerSecond: this.#walRate(member, isFromArchive),
    };
  }

  #walRate(member: Member, isFromArchive: boolean): number | undefined {
    if (member.role === 'subscriber') return undefined;
    const track =
      member.role === 'primary' ? this.#tracks.head(member.id) : (this.#tracks.replayed(member.id) ?? this.#tracks.reported(member.id));
    return averageAt(track, track?.newest?.at ?? 0, isFromArchive ? WINDOW_MS_COARSE : WINDOW_MS);
  }

  /** WAL that has left the upstream's pg_wal before this one had it. What is kept there was looked up some time ago: as much may be gone since. */
  #removedFor(member: Member): { readonly missingBytes: number; readonly keptBytes: number } | undefined {
    const { document, upAt } = this.byId(member.upstream?.id)?.sighting ?? {};
    const keptBytes = Number(document?.wal?.directoryBytes ?? Number.NaN);
    const head = member.upstream?.id === undefined ? undefined : this.#tracks.head(member.upstream.id);
    const had = this.#tracks.head(member.id)?.newest?.lsn;
    const then = upAt === undefined ? undefined : lsnAt(head, upAt - WAL_LOOKED_UP_MS);
    if (had === undefined || then === undefined || !(bytesBetween(had, then) > keptBytes)) return undefined;
    return { missingBytes: bytesBetween(had, lsnAt(head, upAt!) ?? then), keptBytes };
  }

  /** What has not come, and what has come and is not replayed; at one moment of which both sides are known. */
  #backlogOf(member: Member, clock: HeadClock): Backlogs {
    const received = this.#tracks.head(member.id);
    const replayed = this.#tracks.replayed(member.id);
    if (received?.newest !== undefined && replayed?.newest !== undefined) {
      const at = Math.min(received.newest.at, replayed.newest.at);
      const headAt = clock.isHeard ? Math.min(at, clock.head!.newest!.at) : at;
      // What is written between two samples is not missing: the least that it can be.
      const has = lsnAtMost(received, headAt);
      const upstream = clock.isHeard ? lsnAt(clock.head, headAt) : furthestOf([clock.head, ...clock.told], headAt);
      return {
        transportBytes: has === undefined || upstream === undefined ? undefined : bytesBetween(has, upstream),
        replayBytes: bytesOf(lsnAt(replayed, at), lsnAt(received, at)),
      };
    }
    const row = this.#rowOf(member);
    const upAt = this.byId(member.seenBy?.upstream)?.sighting?.upAt;
    if (row === undefined || upAt === undefined) return NO_BACKLOG;
    const flushed = parseLsn(row.flushLsn);
    return { transportBytes: bytesOf(flushed, lsnAt(clock.head, upAt)), replayBytes: bytesOf(parseLsn(row.replayLsn), flushed) };
  }

  #catchupOf(
    member: Member,
    known: {
      readonly lag: Lag | undefined;
      readonly delayMs: number | undefined;
      readonly clock: HeadClock;
      readonly transportBytes: number | undefined;
      readonly isFromArchive: boolean;
    },
  ): Catchup {
    const { lag, delayMs, clock, transportBytes } = known;
    if (lag === undefined) return NO_CATCHUP;
    const { lower, value } = lag;
    const isCaughtUp = lower - (delayMs ?? 0) <= 0 && value - (delayMs ?? 0) <= CAUGHT_UP_MS;
    const follower = this.#tracks.replayed(member.id) ?? this.#tracks.reported(member.id);
    if (isCaughtUp || follower?.newest === undefined) return catchupOf(isCaughtUp, undefined, undefined);
    const windowMs = known.isFromArchive ? WINDOW_MS_COARSE : WINDOW_MS;
    const head = clock.head ?? clock.told[0];
    const rates = ratesSince(follower, head, lag.at, windowMs);
    // With a delay that is wanted the goal is where the primary was so long ago.
    const goal = lsnAt(head, lag.at - (delayMs ?? 0));
    const missing = delayMs === undefined ? lag.bytes : bytesOf(lsnAt(follower, lag.at), goal);
    if (missing === undefined) return NO_CATCHUP;
    const received = this.#tracks.head(member.id);
    const isOnItsWay = transportBytes === undefined || transportBytes <= SEGMENT_BYTES || received === undefined;
    const transport = isOnItsWay ? undefined : { bytes: transportBytes, ...ratesSince(received, head, lag.at, windowMs) };
    return catchupOf(false, { bytes: missing, ...rates }, transport);
  }
}

interface Backlogs {
  readonly transportBytes: number | undefined;
  readonly replayBytes: number | undefined;
}

const NO_BACKLOG: Backlogs = { transportBytes: undefined, replayBytes: undefined };
const NO_CATCHUP: Catchup = { catchup: 'unknown', ms: undefined };

const finite = (value: number): number | undefined => (Number.isFinite(value) ? value : undefined);

const bytesOf = (behind: bigint | undefined, ahead: bigint | undefined): number | undefined =>
  behind === undefined || ahead === undefined ? undefined : bytesBetween(behind, ahead);

function furthestOf(tracks: readonly (Track | undefined)[], at: number): bigint | undefined {
  let furthest: bigint | undefined;
  for (const track of tracks) {
    const low = lsnAt(track, at);
    if (low !== undefined && (furthest === undefined || low > furthest)) furthest = low;
  }
  return furthest;
}
