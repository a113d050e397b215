/**
 * Of a replica's late report: the lag that there was when it was taken, for the record. Said only where what has to hold for
 * that is known to have held then: a replica on the timeline it is on now, under the same primary. Everything else of
 * that time (states, backlogs, slots, events) would need to know the whole cluster as it was, and stays unsaid.
 */
import { parseLsn, type PostgresTrack } from '@tidemark/protocol';
import { figuresOf } from './figures.ts';
import type { ClusterTopology, InstanceId, MemberMemory, MemberFigures, Position, Track, TrackReader } from './model.ts';

export interface LateLook {
  readonly cluster: ClusterTopology;
  readonly memory: Readonly<Record<InstanceId, MemberMemory>>;
  readonly tracks: TrackReader;
}

/** The lag of a replica at `at`, by what its report of then says of where it stood and by all that is known since of where the primary did. */
export function lagThen(
  id: InstanceId,
  track: PostgresTrack,
  at: number,
  { cluster, memory, tracks }: LateLook,
): MemberFigures | undefined {
  const member = cluster.members.find((one) => one.id === id);
  const stood = standingIn(track, at);
  const replayed = tracks.replayed(id);
  if (member?.sighting === undefined || stood === undefined || replayed === undefined) return undefined;
  if (member.role !== 'replica' || member.diverged !== undefined || member.root === undefined) return undefined;
  if (cluster.splitBrain !== undefined || track.systemIdentifier !== cluster.systemIdentifier) return undefined;
  const run = track.runs.at(-1)!;
  if (run.role !== 'replica' || (run.timeline !== null && member.timeline !== undefined && run.timeline !== member.timeline))
    return undefined;
  const primarySince = memory[member.root]?.primarySince;
  if (primarySince === undefined || primarySince > at) return undefined;
  const sighting = { ...member.sighting, reportedAt: at, silent: false };
  if (!sighting.newest.up) return undefined;
  const then = { ...cluster, members: cluster.members.map((one) => (one === member ? { ...member, sighting } : one)) };
  return figuresOf(then, new TracksThen(tracks, id, new TrackUntil(replayed, stood)), at).members.get(id);
}

/** By the report itself: the last of its samples. */
function standingIn({ runs }: PostgresTrack, at: number): Position | undefined {
  // A server is asked while its report is taken: the last answer may come after the report's moment.
  const sample = runs.at(-1)?.samples.at(-1);
  const lsn = parseLsn(sample?.[2]);
  return sample === undefined || lsn === undefined || !Number.isFinite(sample[0]) ? undefined : { at: at - sample[0], lsn };
}

/** A track as it ended then. What came after it still says when it came where. */
class TrackUntil implements Track {
  readonly newest: Position;
  readonly #track: Track;

  constructor(track: Track, newest: Position) {
    this.#track = track;
    this.newest = newest;
  }

  get oldest(): Position | undefined {
    return this.#track.oldest;
  }

  passed(lsn: bigint): ReturnType<Track['passed']> {
    return this.#track.passed(lsn);
  }

  positionAt(at: number): ReturnType<Track['positionAt']> {
    return this.#track.positionAt(at);
  }
}

class TracksThen implements TrackReader {
  readonly #tracks: TrackReader;
  readonly #id: InstanceId;
  readonly #replayed: Track;

  constructor(tracks: TrackReader, id: InstanceId, replayed: Track) {
    this.#tracks = tracks;
    this.#id = id;
    this.#replayed = replayed;
  }

  head(id: InstanceId): Track | undefined {
    return this.#tracks.head(id);
  }
  line(...asked: Parameters<TrackReader['line']>): Track | undefined {
    return this.#tracks.line(...asked);
  }
  replayed(id: InstanceId): Track | undefined {
    return id === this.#id ? this.#replayed : this.#tracks.replayed(id);
  }
  sender(id: InstanceId): ReturnType<TrackReader['sender']> {
    return this.#tracks.sender(id);
  }
  reported(id: InstanceId): Track | undefined {
    return this.#tracks.reported(id);
  }
}
