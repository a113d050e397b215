/**
 * A simulated PostgreSQL primary with one standby, watched from two machines that agree: everything is a function
 * of the time, so that the standby's position is one the primary has really had.
 */
import type { Identity, Reading } from '@tidemark/agent';
import type { PostgresReplication, PostgresTrack, ReplicaView } from '@tidemark/protocol';
import { between, type Random } from './random.ts';

const VERSION = '17.6';
const MINUTE_MS = 60_000;
const HOT_MS = 2_000;
const SENDER_PID = 4_711;

export interface PostgresPairOptions {
  random: Random;
  standby: string;
  startedAt: number;
  /** From this moment on the standby replays nothing. */
  replayStopsAt?: number | undefined;
}

export const IDENTITY: Identity = {
  version: `PostgreSQL ${VERSION} (simulated)`,
  shortVersion: VERSION,
  versionNumber: 170_006,
  maxConnections: 200,
  superuserReservedConnections: 3,
  reservedConnections: 0,
  maxWalSenders: 10,
  maxReplicationSlots: 10,
  clusterName: null,
  port: 5432,
  database: 'postgres',
  backendPid: null,
  startedAt: null,
};

/** Two 32-bit halves in hexadecimal, as PostgreSQL writes it. */
function lsn(bytes: bigint): string {
  return `${(bytes >> 32n).toString(16).toUpperCase()}/${(bytes & 0xff_ff_ff_ffn).toString(16).toUpperCase()}`;
}

export class PostgresPair {
  readonly #options: PostgresPairOptions;
  readonly #base: bigint;
  readonly #bytesPerMs: number;
  readonly #lagMs: number;
  readonly #wavePhase: number;
  readonly #systemIdentifier: string;
  readonly #address: string;
  readonly #connections: number;

  constructor(options: PostgresPairOptions) {
    const { random } = options;
    this.#options = options;
    this.#base = BigInt(Math.floor(between(random, 1, 400) * 2 ** 32));
    this.#bytesPerMs = between(random, 0.1, 2_000);
    this.#lagMs = between(random, 1, 400);
    this.#wavePhase = random() * 2 * Math.PI;
    this.#systemIdentifier = String(7_300_000_000_000_000_000n + BigInt(Math.floor(random() * 1e15)));
    this.#address = `10.${Math.floor(between(random, 0, 255))}.${Math.floor(between(random, 0, 255))}.${Math.floor(between(random, 1, 255))}`;
    this.#connections = Math.floor(between(random, 5, 150));
  }

  primary(now: number): Reading {
    const current = this.#position(now);
    const replayed = this.#replayed(now);
    const replica: ReplicaView = {
      pid: SENDER_PID,
      applicationName: this.#options.standby,
      clientAddr: this.#address,
      state: 'streaming',
      syncState: 'async',
      sentLsn: lsn(current),
      writeLsn: lsn(current),
      flushLsn: lsn(current),
      replayLsn: lsn(replayed),
      bytesBehind: String(current - replayed),
      slotName: 'standby',
      backendStart: new Date(this.#options.startedAt).toISOString(),
    };
    const slots = [
      {
        name: 'standby',
        type: 'physical',
        active: true,
        activePid: SENDER_PID,
        restartLsn: lsn(current),
        confirmedFlushLsn: null,
        walStatus: 'reserved',
      },
    ];
    const position = { currentLsn: lsn(current), flushLsn: lsn(current) };
    return this.#reading({ ...this.#document(now), role: 'primary', ...position, replicas: [replica], slots }, now);
  }

  standby(now: number): Reading {
    const replayed = this.#replayed(now);
    const receiver = {
      receiveLsn: lsn(this.#position(now)),
      replayLsn: lsn(replayed),
      lastReplayedTransactionAt: new Date(Math.min(now, this.#options.replayStopsAt ?? now)).toISOString(),
      pauseState: this.#isStopped(now) ? 'paused' : 'not paused',
      status: 'streaming',
      senderHost: this.#address,
      senderPort: 5432,
      slotName: 'standby',
      receivedTimeline: 1,
      latestEndLsn: lsn(this.#position(now)),
      latestEndTime: new Date(now).toISOString(),
      flushedLsn: lsn(this.#position(now)),
      lastMessageAgoMs: 100,
    };
    return this.#reading({ ...this.#document(now), role: 'replica', receiver }, now);
  }

  /** Where either stood every two seconds since `from`, as its agent would have looked. */
  track(role: 'primary' | 'replica', from: number, now: number): PostgresTrack {
    const first = Math.ceil(Math.max(from, now - 300_000) / HOT_MS) * HOT_MS;
    const samples: PostgresTrack['runs'][number]['samples'] = [];
    for (let at = first; at <= now; at += HOT_MS) {
      const head = lsn(this.#position(at));
      samples.push(
        role === 'primary' ? [now - at, head, null, null, null] : [now - at, head, lsn(this.#replayed(at)), head, now - at + 100],
      );
    }
    return { systemIdentifier: this.#systemIdentifier, errorMs: 3, runs: [{ role, timeline: 1, samples }] };
  }

  #document(now: number): PostgresReplication {
    return {
      up: true,
      reason: null,
      detail: null,
      role: null,
      version: VERSION,
      versionNumber: IDENTITY.versionNumber,
      systemIdentifier: this.#systemIdentifier,
      timeline: 1,
      serverTime: new Date(now).toISOString(),
      startedAt: new Date(this.#options.startedAt - 30 * 86_400_000).toISOString(),
      currentLsn: null,
      insufficientPrivilege: false,
      replicas: [],
      receiver: null,
      slots: [],
    };
  }

  #reading(document: PostgresReplication, now: number): Reading {
    const busy = Math.round(this.#connections * (0.3 + 0.2 * Math.sin(now / MINUTE_MS + this.#wavePhase)));
    const connections = new Map([
      ['active', busy],
      ['idle', this.#connections - busy],
    ]);
    return { document, connections, temporarySlots: new Set() };
  }

  #isStopped(now: number): boolean {
    return now >= (this.#options.replayStopsAt ?? Number.POSITIVE_INFINITY);
  }

  /** WAL written until then; never less than before, for the wave's slope stays below the rate. */
  #position(now: number): bigint {
    const elapsedMs = now - this.#options.startedAt;
    const wave = 0.5 * (MINUTE_MS / (2 * Math.PI)) * Math.sin((2 * Math.PI * now) / MINUTE_MS + this.#wavePhase);
    return this.#base + BigInt(Math.floor(this.#bytesPerMs * (elapsedMs + wave + MINUTE_MS)));
  }

  #replayed(now: number): bigint {
    return this.#position(Math.min(now, this.#options.replayStopsAt ?? now) - this.#lagMs);
  }
}
