/**
 * How far a replica is behind, told from that replica alone: by positions that its sender named and moments on one clock each.
 * The truth lies between the bounds; where nothing bounds it, it is unknown, and never 0 because nobody knows.
 */
import { bytesBetween, parseLsn, type PostgresReplication } from '@tidemark/protocol';
import type { Look } from './check-look.ts';

/** A receiver that hears nothing asks its sender after half of wal_receiver_timeout; that long silence is no sign of anything. */
const DEFAULT_TIMEOUT_MS = 60_000;
const ANSWER_MS = 5_000;

export interface Lag {
  /** What a person is told: 0 when caught up, else the upper bound, else the lower; null when it is unknown. */
  readonly seconds: number | null;
  /** At least; what alarms are judged by. */
  readonly lowerSeconds: number | null;
  readonly upperSeconds: number | null;
  /** At least this at the look before the last: of one that catches up, what it is known to have caught up from. */
  readonly wasAtLeastSeconds: number | null;
  /** What it has not replayed of what is known to exist; null when nothing is known. */
  readonly bytes: number | null;
  /** What the figure is made of, for people. */
  readonly basis: string;
}

/** What a replica's receiver does. */
export type Hearing = 'fresh' | 'quiet' | 'stale' | 'none' | 'hidden';

export interface ReplicaState {
  readonly lag: Lag;
  readonly hearing: Hearing;
  /** Since the last message of the sender; null when there is no receiver. */
  readonly silenceMs: number | null;
  readonly caughtUp: boolean;
  /** Replay moved between the first look and the last. */
  readonly replaying: boolean;
}

/** One look in numbers. Moments of other clocks than ours are only ever subtracted from others of the same clock. */
interface Position {
  readonly atMs: number;
  readonly replayed: bigint | undefined;
  readonly received: bigint | undefined;
  readonly sender: bigint | undefined;
  readonly silenceMs: number | null;
  /** The sender's clock when it first stood at `sender`. */
  readonly senderAtMs: number | undefined;
  /** The primary's clock when what was replayed last was committed. */
  readonly committedMs: number | undefined;
  readonly serverMs: number | undefined;
}

const secondsOf = (ms: number): number => Math.max(0, Math.round(ms) / 1000);

/** `timeoutMs`: the server's wal_receiver_timeout; 0 means that it never gives up. */
export function replicaStateOf(looks: readonly Look[], timeoutMs: number = DEFAULT_TIMEOUT_MS): ReplicaState {
  const last = looks.at(-1)!.document;
  const positions = looks.map(positionOf);
  const now = positions.at(-1)!;
  const hearing = hearingOf(last, now.silenceMs, timeoutMs);
  const known = furthestKnown(positions);
  const caughtUp = known !== undefined && now.replayed !== undefined && now.replayed >= known;
  const first = positions[0]!;
  const replaying = first.replayed !== undefined && now.replayed !== undefined && now.replayed > first.replayed;
  return { lag: lagOf(positions, hearing, known, caughtUp), hearing, silenceMs: now.silenceMs, caughtUp, replaying };
}

function positionOf({ atMs, document: { receiver, serverTime } }: Look): Position {
  return {
    atMs,
    replayed: parseLsn(receiver?.replayLsn),
    received: parseLsn(receiver?.receiveLsn),
    sender: parseLsn(receiver?.latestEndLsn),
    silenceMs: receiver?.lastMessageAgoMs ?? null,
    senderAtMs: momentOf(receiver?.latestEndTime),
    committedMs: momentOf(receiver?.lastReplayedTransactionAt),
    serverMs: momentOf(serverTime),
  };
}

function momentOf(time: string | null | undefined): number | undefined {
  const ms = Date.parse(time ?? '');
  return Number.isNaN(ms) ? undefined : ms;
}

function hearingOf({ receiver, insufficientPrivilege }: PostgresReplication, silenceMs: number | null, timeoutMs: number): Hearing {
  if (receiver?.status === null || receiver?.status === undefined) {
    // Without pg_monitor a receiver that runs shows its pid and nothing else.
    return insufficientPrivilege && typeof receiver?.pid === 'number' ? 'hidden' : 'none';
  }
  const limitMs = timeoutMs === 0 ? DEFAULT_TIMEOUT_MS : timeoutMs;
  if (receiver.status !== 'streaming' || silenceMs === null) return 'none';
  if (silenceMs > limitMs + ANSWER_MS) return 'stale';
  return silenceMs > limitMs / 2 + ANSWER_MS ? 'quiet' : 'fresh';
}

/** The furthest position that is known to exist. */
function furthestKnown(positions: readonly Position[]): bigint | undefined {
  const all = positions.flatMap(({ sender, received }) => [sender, received]).filter((lsn) => lsn !== undefined);
  return all.length === 0 ? undefined : all.reduce((a, b) => (a > b ? a : b));
}

function lagOf(positions: readonly Position[], hearing: Hearing, known: bigint | undefined, caughtUp: boolean): Lag {
  const now = positions.at(-1)!;
  const bytes = known === undefined || now.replayed === undefined ? null : bytesBetween(now.replayed, known);
  const silence = now.silenceMs === null ? '' : `nothing was heard from it for ${secondsOf(now.silenceMs)} s`;
  if (now.replayed === undefined) return unknown(null, 'where replay stands cannot be seen');
  if (hearing === 'hidden') return unknown(null, 'the role of this check may not see the WAL receiver');
  if (known !== undefined && !caughtUp) return behind(positions, now.replayed, bytes);
  if (hearing === 'fresh')
    return {
      seconds: 0,
      lowerSeconds: 0,
      upperSeconds: secondsOf(now.silenceMs ?? 0),
      wasAtLeastSeconds: null,
      bytes,
      basis: 'this replica alone: it has replayed everything up to where its sender said that it stood, with its last message',
    };
  if (hearing === 'none')
    return unknown(null, 'no WAL receiver streams: that all of what was received is replayed says nothing of what was not');
  return unknown(null, `it had replayed everything that its sender told of, but ${silence}`);
}

function unknown(bytes: number | null, basis: string): Lag {
  return { seconds: null, lowerSeconds: null, upperSeconds: null, wasAtLeastSeconds: null, bytes, basis };
}

/** Some WAL that exists is not replayed. */
function behind(positions: readonly Position[], replayed: bigint, bytes: number | null): Lag {
  const now = positions.at(-1)!;
  const lowerMs = waitingMs(positions, now, replayed);
  const wasMs = waitedMs(positions);
  const seen = overtakenMs(positions, now, replayed);
  const committed = committedUpperMs(positions, now);
  const upper = [seen, committed].filter((ms) => ms !== undefined);
  const upperMs = upper.length === 0 ? undefined : Math.max(lowerMs, Math.min(...upper));
  const basis = [
    'this replica alone: at least since WAL was seen that it has not replayed',
    upperMs === undefined
      ? 'at most unknown, for it has replayed no transaction since it started'
      : seen !== undefined && upperMs === Math.max(lowerMs, seen)
        ? 'at most since its sender stood where it has come to'
        : 'at most since the commit of the transaction that it replayed last',
  ].join('; ');
  const lowerSeconds = secondsOf(lowerMs);
  const upperSeconds = upperMs === undefined ? null : secondsOf(upperMs);
  const wasAtLeastSeconds = wasMs === undefined ? null : secondsOf(wasMs);
  return { seconds: upperSeconds ?? lowerSeconds, lowerSeconds, upperSeconds, wasAtLeastSeconds, bytes, basis };
}

/** For how long WAL beyond `replayed` has been known to exist, on our own clock. */
function waitingMs(positions: readonly Position[], now: Position, replayed: bigint): number {
  const since = positions.flatMap(({ atMs, sender, received, silenceMs }) => [
    ...(sender !== undefined && sender > replayed ? [atMs - (silenceMs ?? 0)] : []),
    ...(received !== undefined && received > replayed ? [atMs] : []),
  ]);
  return since.length === 0 ? 0 : now.atMs - Math.min(...since);
}

/**
 * What it replayed between two looks waited at the earlier one: the age of its commit at that moment. Both are of the
 * sender's clock: it stood somewhere new at `senderAtMs`, and its last message is `silenceMs` old, so it was at least their sum.
 */
function waitedMs(positions: readonly Position[]): number | undefined {
  const [before, now] = positions.slice(-2);
  if (before === undefined || now === undefined || before.senderAtMs === undefined || now.committedMs === undefined) return undefined;
  if (now.committedMs === before.committedMs) return undefined;
  return before.senderAtMs + (before.silenceMs ?? 0) - now.committedMs;
}

/** Since the sender said that it stood where replay has come to by now: everything later was written later. */
function overtakenMs(positions: readonly Position[], now: Position, replayed: bigint): number | undefined {
  const overtaken = positions.filter(({ sender, silenceMs }) => sender !== undefined && silenceMs !== null && replayed >= sender);
  return overtaken.length === 0 ? undefined : now.atMs - Math.max(...overtaken.map(({ atMs, silenceMs }) => atMs - silenceMs!));
}

/** All that is not replayed was written after the commit that was replayed last, save for what was under way then. */
function committedUpperMs(positions: readonly Position[], now: Position): number | undefined {
  if (now.committedMs === undefined) return undefined;
  const before = positions.at(-2);
  const moved = before?.sender !== undefined && now.sender !== undefined && now.sender > before.sender && now.senderAtMs !== undefined;
  // On the sender's clock where its moments are fresh; else on the replica's.
  const nowMs = moved ? now.senderAtMs + (now.atMs - before.atMs) : now.serverMs;
  return nowMs === undefined ? undefined : nowMs - now.committedMs;
}
