/**
 * Clusters and tracks to hold figures against: members as topology describes them, tracks that are filled sample by sample.
 * Everything that a test does not set is as on a healthy server.
 */
import { formatLsn, type PostgresReplication, type PostgresSettings, type ReplicaView } from '@tidemark/protocol';
import type { ClusterTopology, InstanceId, Member, Sighting, TrackReader } from './model.ts';
import { PositionTrack } from './track.ts';

export const T0 = Date.parse('2026-11-21T12:00:00Z');
export const MIB = 1024 * 1024;
export const lsn = (megabytes: number): bigint => 0x1_0000_0000n + BigInt(Math.round(megabytes * MIB));
export const lsnText = (megabytes: number): string => formatLsn(lsn(megabytes));

const DAY_MS = 86_400_000;
type What = 'head' | 'replayed' | 'sender' | 'reported';

/** Everybody's tracks, as the collector keeps them. */
export class TestTracks implements TrackReader {
  readonly #tracks = new Map<string, PositionTrack>();

  add(what: What, id: InstanceId, at: number, position: bigint, errorMs = 0): void {
    const key = `${what} ${id}`;
    let track = this.#tracks.get(key);
    if (track === undefined) {
      const kind = what === 'head' || what === 'replayed' ? 'exact' : 'floor';
      this.#tracks.set(key, (track = new PositionTrack({ kind, keepMs: DAY_MS })));
    }
    track.add(at, position, errorMs);
  }

  /** A sample each two seconds, from..to in seconds after T0; `position` in MiB at such a second. */
  fill(what: What, id: InstanceId, from: number, to: number, position: (second: number) => number): void {
    for (let second = from; second <= to; second += 2) this.add(what, id, T0 + second * 1_000, lsn(position(second)));
  }

  /** What a replica has received and replayed is the same. */
  follow(id: InstanceId, from: number, to: number, position: (second: number) => number): void {
    this.fill('head', id, from, to, position);
    this.fill('replayed', id, from, to, position);
  }

  head = (id: InstanceId): PositionTrack | undefined => this.#tracks.get(`head ${id}`);
  /** Of one that was always primary. */
  line = (id: InstanceId): PositionTrack | undefined => this.head(id);
  replayed = (id: InstanceId): PositionTrack | undefined => this.#tracks.get(`replayed ${id}`);
  sender = (id: InstanceId): PositionTrack | undefined => this.#tracks.get(`sender ${id}`);
  reported = (id: InstanceId): PositionTrack | undefined => this.#tracks.get(`reported ${id}`);
}

const NOTHING: PostgresReplication = {
  up: false,
  reason: 'refused',
  detail: 'No PostgreSQL listens on db:5432',
  role: null,
  version: null,
  versionNumber: null,
  systemIdentifier: null,
  timeline: null,
  serverTime: null,
  startedAt: null,
  currentLsn: null,
  insufficientPrivilege: false,
  replicas: [],
  receiver: null,
  slots: [],
};

export const down = (reason: string, detail: string | null): PostgresReplication => ({ ...NOTHING, reason, detail });

export const primaryDocument = (more: Partial<PostgresReplication> = {}): PostgresReplication => ({
  ...NOTHING,
  up: true,
  reason: null,
  detail: null,
  role: 'primary',
  timeline: 1,
  ...more,
});

type Receiver = NonNullable<PostgresReplication['receiver']>;

export const replicaDocument = (receiver: Partial<Receiver> | null = {}, more: Partial<PostgresReplication> = {}): PostgresReplication => ({
  ...NOTHING,
  up: true,
  reason: null,
  detail: null,
  role: 'replica',
  timeline: 1,
  receiver:
    receiver === null
      ? null
      : {
          receiveLsn: null,
          replayLsn: null,
          lastReplayedTransactionAt: null,
          pauseState: 'not paused',
          status: 'streaming',
          senderHost: '10.0.0.1',
          senderPort: 5432,
          slotName: null,
          receivedTimeline: 1,
          latestEndLsn: null,
          latestEndTime: null,
          lastMessageAgoMs: 100,
          ...receiver,
        },
  ...more,
});

export const row = (more: Partial<ReplicaView> = {}): ReplicaView => ({
  pid: 42,
  applicationName: 'b',
  clientAddr: '10.0.0.2',
  state: 'streaming',
  syncState: 'async',
  sentLsn: null,
  writeLsn: null,
  flushLsn: null,
  replayLsn: null,
  bytesBehind: null,
  slotName: null,
  backendStart: null,
  ...more,
});

/** Settings with their unit, "name=value unit"; the address of primary_conninfo. */
export const settings = (
  entries: readonly string[],
  primary: PostgresSettings['primary'] = { host: '10.0.0.1', port: '5432' },
): PostgresSettings => ({
  insufficientPrivilege: false,
  settings: entries.map((entry) => {
    const [, name, value, unit] = /^([a-z_]+)=(.*?)(?: (ms|s|min))?$/.exec(entry)!;
    return { name: name!, value: value!, unit: unit ?? null, source: null, pendingRestart: false };
  }),
  primary,
});

export const sighting = (id: InstanceId, newest: PostgresReplication, at: number, more: Partial<Sighting> = {}): Sighting => ({
  id,
  nodeId: 1,
  nodeName: id,
  site: '',
  instance: 'main',
  reportedAt: at,
  intervalMs: 10_000,
  silent: false,
  newest,
  document: newest.up ? newest : undefined,
  upAt: newest.up ? at : undefined,
  settings: undefined,
  ...more,
});

export const primary = (id: InstanceId, at: number, document = primaryDocument(), more: Partial<Sighting> = {}): Member => ({
  id,
  name: id,
  sighting: sighting(id, document, at, more),
  seenBy: undefined,
  role: 'primary',
  roleIsCurrent: true,
  timeline: 1,
  upstream: undefined,
  root: id,
  slotUsers: new Map(),
  diverged: undefined,
});

export const replica = (
  id: InstanceId,
  upstream: InstanceId | undefined,
  root: InstanceId | undefined,
  seen: Sighting | undefined,
  more: Partial<Member> = {},
): Member => ({
  id,
  name: id,
  sighting: seen,
  seenBy: undefined,
  role: 'replica',
  roleIsCurrent: true,
  timeline: 1,
  upstream: { id: upstream, by: 'address', address: '10.0.0.1:5432', connected: true },
  root,
  slotUsers: new Map(),
  diverged: undefined,
  ...more,
});

export const cluster = (members: readonly Member[], more: Partial<ClusterTopology> = {}): ClusterTopology => {
  const first = members.find(({ role }) => role === 'primary');
  return {
    systemIdentifier: '7',
    name: 'test',
    members,
    primary: { id: first?.id, certainty: first === undefined ? 'unknown' : 'sure', why: '' },
    splitBrain: undefined,
    clones: [],
    primaryEvidenceAt: undefined,
    ...more,
  };
};
