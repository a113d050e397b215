/**
 * What state a member is in, with one sentence that says what is seen. The gravest that is certain comes first; nothing is
 * called well because nobody knows, and nothing unwell because nothing is written.
 */
import { parseLsn, type PostgresReplication, type ReplicaView, type ReplicationState } from '@tidemark/protocol';
import type { Lag, LagBounds, Member } from './model.ts';
import { receiverTimeoutMs, settingText } from './server-settings.ts';
import { asSentence, bytesText, momentText, spanText } from './words.ts';

/** A replica that is at least this far behind is catching up: less is under way. */
const CATCHING_UP_MS = 10_000;
const STALLED_MS = 30_000;
/** Segments from an archive come one by one. */
const ARCHIVE_MOVES_MS = 120_000;

export interface Verdict {
  readonly state: ReplicationState;
  readonly why: string;
}

/** All that a state is judged by. Times are on the collector's clock. */
export interface Evidence {
  readonly member: Member;
  /** Name and row of pg_stat_replication of the upstream that sees it now. */
  readonly upstreamName: string | undefined;
  readonly row: ReplicaView | undefined;
  readonly lag: Lag | undefined;
  /** What it is judged by: behind its own upstream in a cascade, less the delay. */
  readonly own: LagBounds | undefined;
  readonly ownBytes: number | undefined;
  readonly transportBytes: number | undefined;
  readonly replayBytes: number | undefined;
  readonly delayMs: number | undefined;
  /** Since when its replayed position has not moved, at the latest; undefined when that is not known. */
  readonly flatSince: number | undefined;
  /** The newest sample of its replayed position. */
  readonly replayedAt: number | undefined;
  /** The last message of its upstream that is known of. */
  readonly heardAt: number | undefined;
  /** What it needs next is certainly not in its upstream's pg_wal any more: what it lacks, and what is kept there. */
  readonly removed: { readonly missingBytes: number; readonly keptBytes: number } | undefined;
  readonly now: number;
}

/** These say that a server answers; it is only this agent that may not look. */
const ANSWERS: ReadonlySet<string> = new Set(['authentication', 'tls', 'too_many_connections', 'database_missing']);

/** Nothing is replayed: its server is down, or not there yet. What its agent merely may not see goes on. */
export const isStopped = ({ up, reason }: PostgresReplication): boolean =>
  !up && reason !== 'privilege' && (reason === null || !ANSWERS.has(reason));

export function stateOf(evidence: Evidence): Verdict {
  const { member } = evidence;
  const { sighting } = member;
  if (sighting === undefined) return unwatchedState(evidence);
  const seen = momentText(sighting.reportedAt, evidence.now);
  if (sighting.silent) {
    const upstreamSees = evidence.row?.state === 'streaming' ? ` ${evidence.upstreamName ?? 'Its upstream'} still sees it streaming.` : '';
    return { state: 'unknown', why: `Its agent on ${sighting.nodeName} has not been heard since ${seen}.${upstreamSees}` };
  }
  const { newest } = sighting;
  if (!newest.up) return downState(newest, evidence);
  if (member.role === 'subscriber') return subscriberState(evidence, newest);
  if (newest.role === 'primary') return primaryState(newest, member);
  if (member.diverged !== undefined) return { state: 'diverged', why: asSentence(member.diverged.why) };
  return replicaState(evidence, newest);
}

function downState({ reason, detail }: PostgresReplication, { member, row, upstreamName, now }: Evidence): Verdict {
  const told = asSentence(detail ?? `The server cannot be looked at (${reason ?? 'no reason known'})`);
  const { upAt } = member.sighting!;
  const last = upAt === undefined ? '' : ` It was last seen up at ${momentText(upAt, now)}.`;
  if (reason === 'starting') return { state: 'starting', why: told };
  if (reason === 'privilege') return { state: 'insufficient_privilege', why: told };
  if (ANSWERS.has(reason ?? '')) return { state: 'unknown', why: `The server answers, but its agent cannot look at it: ${told}${last}` };
  if (row?.state === 'streaming')
    return { state: 'unknown', why: `Its agent cannot reach it, but ${upstreamName ?? 'its upstream'} sees it streaming: ${told}` };
  return { state: 'down', why: `${told}${last}` };
}

function primaryState(document: PostgresReplication, member: Member): Verdict {
  if (document.insufficientPrivilege) return { state: 'insufficient_privilege', why: privilegeSentence(document) };
  const timeline = member.timeline === undefined ? '' : ` on timeline ${member.timeline}`;
  const parted = member.diverged === undefined ? '' : ` Its history has parted from the primary's: ${asSentence(member.diverged.why)}`;
  const count = document.replicas.length;
  return {
    state: 'running',
    why: `It takes writes${timeline}; ${count === 0 ? 'nobody streams' : count === 1 ? '1 replica streams' : `${count} replicas stream`} from it.${parted}`,
  };
}

function privilegeSentence({ missingRights, detail }: PostgresReplication): string {
  if (missingRights !== undefined && missingRights.length > 0)
    return `The agent's role may not see all: it lacks ${missingRights.join(', ')}. What is missing here is unknown, not absent.`;
  return detail === null
    ? "The agent's role lacks pg_monitor (GRANT pg_monitor TO it): what is missing here is unknown, not absent."
    : asSentence(detail);
}

function replicaState(evidence: Evidence, document: PostgresReplication): Verdict {
  const { receiver } = document;
  // What needs no privilege comes first: a pause is seen by everybody.
  const isPaused = receiver?.pauseState === 'paused';
  if (document.insufficientPrivilege || receiver === null) {
    if (isPaused) return pausedState(evidence);
    return { state: 'insufficient_privilege', why: privilegeSentence(document) };
  }
  const cut = receiver.status === 'streaming' ? silentReceiver(evidence, receiver) : withoutReceiver(evidence, receiver);
  if (cut?.state === 'disconnected') return isPaused ? { ...cut, why: `${cut.why} Replay is paused, too.` } : cut;
  if (isPaused) return pausedState(evidence);
  return cut ?? followingState(evidence, receiver);
}

type Receiver = NonNullable<PostgresReplication['receiver']>;

/** Connected by name only: nothing came for longer than it waits by its own setting. An idle primary sends something every half of that. */
function silentReceiver({ member, now }: Evidence, receiver: Receiver): Verdict | undefined {
  const { settings, reportedAt } = member.sighting!;
  const timeoutMs = receiverTimeoutMs(settings);
  const ageMs = receiver.lastMessageAgoMs ?? 0;
  if (timeoutMs === 0 || ageMs <= timeoutMs) return undefined;
  return {
    state: 'disconnected',
    why: `Its receiver has had no message from ${addressOf(member, receiver)} since ${momentText(reportedAt - ageMs, now)} (${spanText(ageMs)}; wal_receiver_timeout is ${spanText(timeoutMs)}).`,
  };
}

function withoutReceiver(evidence: Evidence, receiver: Receiver): Verdict {
  const { member, flatSince, replayedAt, now, heardAt } = evidence;
  const { settings } = member.sighting!;
  const address = addressOf(member, receiver);
  if (receiver.status !== null)
    return {
      state: 'disconnected',
      why: `Its receiver is "${receiver.status}", not streaming, from ${address}${heard(heardAt, now)}.${removedText(evidence)}`,
    };
  const restore = settingText(settings, 'restore_command');
  const isMoving = flatSince !== undefined && replayedAt !== undefined && replayedAt - flatSince < ARCHIVE_MOVES_MS;
  const isConfigured = settings === undefined || settings.insufficientPrivilege ? undefined : settings.primary !== null;
  const isBeyondReceived = isBeyond(receiver.replayLsn, receiver.receiveLsn);
  if (isConfigured === false || (isConfigured === undefined && member.upstream === undefined && receiver.receiveLsn === null))
    return {
      state: 'archive_recovery',
      why:
        flatSince === undefined || isMoving
          ? 'It has no primary_conninfo and replays what its archive gives it.'
          : `It has no primary_conninfo and replays from its archive; nothing new has come since ${momentText(flatSince, now)}.`,
    };
  if (restore !== '' && isMoving && isBeyondReceived)
    return { state: 'archive_recovery', why: `It replays from its archive; no receiver runs, though it should stream from ${address}.` };
  return {
    state: 'disconnected',
    why: `No receiver runs: it should stream from ${address}${heard(heardAt, now)}.${removedText(evidence)}`,
  };
}

function removedText({ removed }: Evidence): string {
  if (removed === undefined) return '';
  const { missingBytes, keptBytes } = removed;
  return ` WAL that it needs has been removed there (it lacks ${bytesText(missingBytes)}, ${bytesText(keptBytes)} are kept): unless an archive has it, it must be built anew.`;
}

/** Replayed beyond what was received: it came from somewhere else. Nothing received since the start says the same. */
function isBeyond(replayedText: string | null, receivedText: string | null): boolean {
  const [replayed, received] = [parseLsn(replayedText), parseLsn(receivedText)];
  return replayed !== undefined && (received === undefined || replayed > received);
}

function pausedState({ lag, flatSince, replayBytes, now }: Evidence): Verdict {
  const waiting = replayBytes === undefined || replayBytes === 0 ? '' : `; ${bytesText(replayBytes)} received wait to be replayed`;
  const from = flatSince === undefined ? '' : `, and nothing was replayed since ${momentText(flatSince, now)}`;
  const behind = lag === undefined || lag.lower === 0 ? '' : `; it is ${spanText(lag.lower)} behind at least`;
  return { state: 'paused', why: `Replay is paused (pg_wal_replay_pause)${from}${waiting}${behind}.` };
}

/** Connected, or as good as that. */
function followingState(evidence: Evidence, receiver: Receiver): Verdict {
  const { own, lag, delayMs, member, row } = evidence;
  const from = addressOf(member, receiver);
  if (own === undefined) return { state: 'streaming', why: `It streams from ${from}; how far it is behind nobody knows yet.` };
  const flat = stalledState(evidence);
  if (flat !== undefined) return flat;
  if (own.lower > CATCHING_UP_MS || row?.state === 'catchup') return catchingUp(evidence, from);
  const isBehind = (evidence.ownBytes ?? 0) > 0;
  if (delayMs !== undefined && delayMs > 0 && isBehind)
    return { state: 'delayed', why: `It replays ${spanText(delayMs)} after the primary's commits, as recovery_min_apply_delay says.` };
  const rest =
    lag !== undefined && lag.lower > CATCHING_UP_MS
      ? ` All that is there: what is missing (${spanText(lag.lower)}) is missing upstream.`
      : '';
  return { state: 'streaming', why: `It streams from ${from}, ${behindText(evidence)}.${rest}` };
}

function stalledState({ own, flatSince, replayedAt, transportBytes, replayBytes, member, now }: Evidence): Verdict | undefined {
  if (own === undefined || flatSince === undefined || replayedAt === undefined) return undefined;
  if (Math.min(own.lower, replayedAt - flatSince) < STALLED_MS) return undefined;
  const receiver = member.sighting?.document?.receiver;
  const cause =
    (replayBytes ?? 0) > 0
      ? `${bytesText(replayBytes!)} are received and not replayed: a query or a lock on the replica may hold it up`
      : (transportBytes ?? 0) > 0
        ? `${bytesText(transportBytes!)} have not come from ${addressOf(member, receiver ?? undefined)}`
        : 'WAL beyond that position exists';
  return { state: 'stalled', why: `It is connected, but nothing was replayed since ${momentText(flatSince, now)}, though ${cause}.` };
}

function catchingUp({ own, lag, transportBytes, replayBytes }: Evidence, from: string): Verdict {
  const parts = [
    ...((transportBytes ?? 0) > 0 ? [`${bytesText(transportBytes!)} to be received`] : []),
    ...((replayBytes ?? 0) > 0 ? [`${bytesText(replayBytes!)} to be replayed`] : []),
  ];
  const behind =
    own !== undefined && own.lower > 0
      ? `is ${spanText(lag === undefined ? own.lower : Math.max(own.lower, lag.lower))} behind at least`
      : 'sends what is missing';
  const subject = behind.startsWith('is') ? 'It' : 'Its upstream';
  return { state: 'catching_up', why: `${subject} ${behind}, streaming from ${from}${parts.length === 0 ? '' : `: ${parts.join(', ')}`}.` };
}

function unwatchedState(evidence: Evidence): Verdict {
  const { member, row, upstreamName, lag, own } = evidence;
  if (member.diverged !== undefined) return { state: 'diverged', why: asSentence(member.diverged.why) };
  const by = upstreamName ?? 'its upstream';
  const who = member.sameAs === undefined ? 'No agent watches it' : 'Its own agent tells of it in another cluster';
  if (row === undefined && member.goneSince !== undefined)
    return {
      state: 'disconnected',
      why: `${who}, and ${by} has not listed it since ${momentText(member.goneSince, evidence.now)}.`,
    };
  if (row === undefined) return { state: 'unknown', why: `${who}, and ${by} does not see it now.` };
  if (row.state === null)
    return {
      state: 'insufficient_privilege',
      why: `${who}, and the agent of ${by} may not see more than that it is connected: GRANT pg_monitor to its role.`,
    };
  if (row.state !== 'streaming' && row.state !== 'catchup') return { state: 'unknown', why: `${who}; ${by} says "${row.state}".` };
  if (row.state === 'catchup' || (own !== undefined && own.lower > CATCHING_UP_MS)) {
    const behind = lag === undefined || lag.lower === 0 ? '' : `, ${spanText(lag.lower)} behind at least`;
    return { state: 'catching_up', why: `${who}; ${by} says "${row.state}"${behind}.` };
  }
  return { state: 'streaming', why: `${who}; ${by} sees it streaming, ${behindText(evidence)}.` };
}

/** A logical subscriber, in the cluster of its publisher. */
function subscriberState({ member, lag }: Evidence, document: PostgresReplication): Verdict {
  const subscriptions = document.subscriptions ?? [];
  const off = subscriptions.filter(({ enabled }) => enabled === false);
  if (off.length > 0 && off.length === subscriptions.length) return { state: 'paused', why: `Its subscription ${list(off)} is disabled.` };
  const idle = subscriptions.filter(({ enabled, workerPid }) => enabled !== false && workerPid === null);
  if (idle.length > 0)
    return {
      state: 'disconnected',
      why: `No worker runs for its subscription ${list(idle)}${member.upstream?.address === undefined ? '' : ` to ${member.upstream.address}`}.`,
    };
  if (lag !== undefined && lag.lower > CATCHING_UP_MS)
    return { state: 'catching_up', why: `It has not confirmed what is ${spanText(lag.lower)} old at least.` };
  return { state: 'streaming', why: `Its subscription ${list(subscriptions)} receives changes.` };
}

const list = (subscriptions: readonly { readonly name: string }[]): string => subscriptions.map(({ name }) => `"${name}"`).join(', ');

function behindText({ ownBytes, lag }: Evidence): string {
  if (lag === undefined) return 'how far behind nobody knows yet';
  if (ownBytes === undefined || ownBytes === 0) return 'nothing behind';
  return `${bytesText(ownBytes)} behind`;
}

/** host:port as the receiver has it, or as it is configured. */
function addressOf(member: Member, receiver: Receiver | undefined): string {
  if (receiver?.status === 'streaming' && receiver.senderHost !== null)
    return receiver.senderHost.startsWith('/') || receiver.senderPort === null
      ? receiver.senderHost
      : `${receiver.senderHost}:${receiver.senderPort}`;
  const primary = member.sighting?.settings?.primary;
  if (primary !== null && primary !== undefined)
    return [primary.host ?? 'its socket', ...(primary.port === null ? [] : [primary.port])].join(':');
  return member.upstream?.address ?? 'a server that nobody can name';
}

const heard = (at: number | undefined, now: number): string =>
  at === undefined ? '' : `, and had its last message from there at ${momentText(at, now)}`;
