/**
 * What `check replication` makes of what it saw: OK, WARNING, CRITICAL or UNKNOWN, as monitoring plugins have them, with a
 * sentence for each trouble. Lag is judged by its lower bound; that nobody knows is never OK.
 */
import { bytesBetween, parseLsn, type PostgresReplication, type PostgresSettings } from '@tidemark/protocol';
import { replicaStateOf, type ReplicaState } from './check-lag.ts';
import type { Look, Looks } from './check-look.ts';
import { bytes, duration, plural, printable } from './wording.ts';

export const LEVELS = ['OK', 'WARNING', 'CRITICAL', 'UNKNOWN'] as const;
/** The exit code is its place in the list. */
export type Level = (typeof LEVELS)[number];
/** Of several, the first of these that there is. */
const WORST_FIRST: readonly Level[] = ['CRITICAL', 'WARNING', 'UNKNOWN', 'OK'];
export const exitCodeOf = (level: Level): number => LEVELS.indexOf(level);
export const worstOf = (levels: readonly Level[]): Level => WORST_FIRST.find((level) => levels.includes(level)) ?? 'OK';

export interface Limits {
  readonly warningSeconds: number;
  readonly criticalSeconds: number;
  readonly warningBytes: number;
  /** Undefined: however many bytes, they are a warning. */
  readonly criticalBytes: number | undefined;
  /** A primary with fewer replicas is a warning. */
  readonly replicas: number;
}

export interface Trouble {
  readonly level: Level;
  readonly text: string;
}

export type Role = 'primary' | 'replica';

/** One server, judged. */
export interface Judged {
  readonly name: string;
  readonly address: string;
  readonly level: Level;
  readonly troubles: readonly Trouble[];
  /** One sentence on how it is, for the first line. */
  readonly summary: string;
  readonly document: PostgresReplication | undefined;
  /** Of a replica that could be seen. */
  readonly replica: ReplicaState | undefined;
  readonly settings: PostgresSettings | undefined;
  readonly failure: Looks['failure'];
}

/** Reasons for which it is not the server that is in trouble but the check that cannot look. */
const CANNOT_LOOK: ReadonlySet<string> = new Set([
  'authentication',
  'tls',
  'privilege',
  'pooler',
  'database_missing',
  'too_many_connections',
  'unsupported_version',
  'duplicate',
  'starting',
  'error',
]);
/** A replica may take this long to get a receiver again; a sender's row that is not streaming, to stream. */
const TRANSIENT_LOOKS = 3;

/** Whether what was seen so far needs no second look. */
export function tellsEnough(looks: readonly Look[]): boolean {
  const { document } = looks.at(-1)!;
  if (document.insufficientPrivilege) return true;
  if (document.role === 'primary') return document.replicas.every(({ state }) => state === 'streaming' || state === 'backup');
  const { hearing, caughtUp } = replicaStateOf(looks);
  return hearing === 'hidden' || (caughtUp && hearing === 'fresh');
}

/** `wanted`: the role that somebody says it has. */
export function judge(seen: Looks, limits: Limits, wanted?: Role): Judged {
  const last = seen.looks.at(-1)?.document;
  const around = { name: seen.name, address: seen.address, settings: seen.settings, failure: seen.failure };
  if (last === undefined) {
    const { reason, detail } = seen.failure ?? { reason: 'error', detail: 'It gave no answer.' };
    const level = CANNOT_LOOK.has(reason) ? 'UNKNOWN' : 'CRITICAL';
    return { ...around, level, troubles: [{ level, text: detail }], summary: detail, document: undefined, replica: undefined };
  }
  const isReplica = last.role === 'replica';
  const replica = isReplica ? replicaStateOf(seen.looks, timeoutOf(seen.settings)) : undefined;
  const troubles: Trouble[] = [
    ...roleTroubles(last, wanted),
    ...(last.reason === null ? [] : [{ level: 'UNKNOWN' as const, text: last.detail ?? last.reason }]),
    ...(last.insufficientPrivilege && last.reason !== 'privilege' ? [PRIVILEGE] : []),
    ...(replica === undefined ? [] : replicaTroubles(last, replica, seen, limits)),
    ...(last.insufficientPrivilege ? [] : senderTroubles(seen.looks, seen.settings, limits)),
  ];
  const level = worstOf(troubles.map((trouble) => trouble.level));
  return { ...around, level, troubles, summary: summaryOf(last, replica), document: last, replica };
}

const PRIVILEGE: Trouble = {
  level: 'UNKNOWN',
  text: 'the role of this check lacks pg_monitor and sees next to nothing of replication: GRANT pg_monitor TO it (tidemark-agent postgres setup)',
};

function roleTroubles({ role }: PostgresReplication, wanted: Role | undefined): Trouble[] {
  if (wanted === undefined || role === wanted) return [];
  const text =
    wanted === 'replica'
      ? 'it shows as master: it is no replica (standby.signal is missing, or it was promoted), and whatever is written to it goes its own way'
      : 'it shows as replica: it is no master, and takes no writes';
  return [{ level: 'CRITICAL', text }];
}

/** In milliseconds; undefined when it could not be read. */
function timeoutOf(settings: PostgresSettings | undefined): number | undefined {
  const setting = settings?.settings.find(({ name }) => name === 'wal_receiver_timeout');
  const value = Number(setting?.value ?? Number.NaN);
  return Number.isNaN(value) ? undefined : value;
}

function settingOf(settings: PostgresSettings | undefined, wanted: string): string {
  return settings?.settings.find(({ name }) => name === wanted)?.value ?? '';
}

function replicaTroubles(document: PostgresReplication, state: ReplicaState, { settings, looks }: Looks, limits: Limits): Trouble[] {
  const { lag, hearing, silenceMs } = state;
  if (document.insufficientPrivilege) return [];
  const troubles: Trouble[] = [];
  const silence = silenceMs === null ? 'a while' : duration(silenceMs);
  if (hearing === 'none') troubles.push(withoutReceiver(state, settings));
  if (hearing === 'stale')
    troubles.push({
      level: 'CRITICAL',
      text: `its WAL receiver has heard nothing for ${silence}, longer than wal_receiver_timeout: the link is dead`,
    });
  if (hearing === 'quiet')
    troubles.push({
      level: 'WARNING',
      text: `its WAL receiver has heard nothing for ${silence}, although it asks for an answer after half of wal_receiver_timeout`,
    });
  const pause = document.receiver?.pauseState;
  if (pause !== null && pause !== undefined && pause !== 'not paused')
    troubles.push({ level: 'WARNING', text: 'replay is paused: SELECT pg_wal_replay_resume() lets it go on' });
  const delayMs = Number(settingOf(settings, 'recovery_min_apply_delay') || 0);
  troubles.push(...lagTroubles(lag, delayMs, limits));
  const standsStill = looks.length >= TRANSIENT_LOOKS && lag.bytes !== null && lag.bytes > 0 && !state.replaying && delayMs === 0;
  const mayBeLate = lag.upperSeconds === null || lag.upperSeconds >= limits.warningSeconds;
  if (standsStill && mayBeLate && pause === 'not paused')
    troubles.push({
      level: 'WARNING',
      text: `replay stands still with ${bytes(lag.bytes)} to replay: does a query on it hold it up (pg_stat_activity)?`,
    });
  return troubles;
}

/** `recovery_min_apply_delay` is wanted: only what is beyond it counts. */
function lagTroubles({ lowerSeconds, wasAtLeastSeconds, bytes: waiting }: ReplicaState['lag'], delayMs: number, limits: Limits): Trouble[] {
  const troubles: Trouble[] = [];
  const catchesUp = (wasAtLeastSeconds ?? 0) > (lowerSeconds ?? 0);
  const seconds = Math.max(lowerSeconds ?? 0, wasAtLeastSeconds ?? 0) - delayMs / 1000;
  const beyond = delayMs > 0 ? ` beyond its recovery_min_apply_delay of ${duration(delayMs)}` : '';
  if (seconds >= limits.warningSeconds) {
    const critical = seconds >= limits.criticalSeconds;
    troubles.push({
      level: critical ? 'CRITICAL' : 'WARNING',
      text: `at least ${duration(seconds * 1000)} behind${beyond}${catchesUp ? ' a moment ago, and catching up' : ''} (${critical ? 'critical' : 'warning'} from ${duration((critical ? limits.criticalSeconds : limits.warningSeconds) * 1000)})`,
    });
  }
  if (delayMs === 0 && waiting !== null) troubles.push(...bytesTroubles('it', waiting, limits));
  return troubles;
}

function bytesTroubles(who: string, waiting: number, limits: Limits): Trouble[] {
  if (waiting < limits.warningBytes) return [];
  const level = limits.criticalBytes !== undefined && waiting >= limits.criticalBytes ? 'CRITICAL' : 'WARNING';
  return [{ level, text: `${who} is ${bytes(waiting)} behind` }];
}

/** It has no receiver, and none came while we looked. */
function withoutReceiver({ replaying }: ReplicaState, settings: PostgresSettings | undefined): Trouble {
  const canSee = settings !== undefined && !settings.insufficientPrivilege;
  const fromArchive = settingOf(settings, 'restore_command') !== '';
  if (canSee && settings.primary === null && fromArchive)
    return {
      level: replaying ? 'OK' : 'UNKNOWN',
      text: 'it restores from an archive and streams from nobody: how far it is behind it cannot know by itself, the collector can',
    };
  if (replaying) return { level: 'WARNING', text: 'no WAL receiver streams; it replays what it has, or gets from an archive' };
  const upstream = settings?.primary === undefined || settings.primary === null ? '' : ` (primary_conninfo: ${placeOf(settings.primary)})`;
  return {
    level: 'CRITICAL',
    text: `no WAL receiver streams${upstream}: it gets nothing new, and how far it is behind it cannot know. Its log says why`,
  };
}

/** Host and port for people. */
export function placeOf({ host, port }: { host: string | null; port: string | number | null }): string {
  const text = host === null ? '?' : host.includes(':') ? `[${host}]` : host;
  return printable(port === null ? text : `${text}:${port}`);
}

/** What it sends to others, be it a primary or a cascading replica. */
function senderTroubles(looks: readonly Look[], settings: PostgresSettings | undefined, limits: Limits): Trouble[] {
  const document = looks.at(-1)!.document;
  const { replicas, slots, role } = document;
  const physical = replicas.filter(({ state }) => state !== 'backup');
  const troubles: Trouble[] = [];
  if (role === 'primary' && physical.length < limits.replicas)
    troubles.push({
      level: 'WARNING',
      text:
        physical.length === 0
          ? 'no replica is connected (--replicas 0 if there is to be none)'
          : `only ${plural(physical.length, 'replica')} of ${limits.replicas} ${physical.length === 1 ? 'is' : 'are'} connected`,
    });
  for (const replica of physical) {
    const who = printable(replica.applicationName ?? replica.clientAddr ?? 'a replica');
    if (replica.state !== null && replica.state !== 'streaming')
      troubles.push({ level: 'WARNING', text: `${who} does not stream yet: ${printable(replica.state)}` });
    const behind = bytesBehindOf(document, replica);
    if (behind !== null) troubles.push(...bytesTroubles(who, behind, limits));
  }
  for (const slot of slots) troubles.push(...slotTroubles(slot));
  const waiting = document.waitingForSync ?? 0;
  if (role === 'primary' && settingOf(settings, 'synchronous_standby_names') !== '') {
    if (!physical.some(({ syncState }) => syncState === 'sync' || syncState === 'quorum'))
      troubles.push({
        level: 'CRITICAL',
        text: `no synchronous standby is connected: commits wait${waiting === 0 ? '' : `, ${waiting} at this moment`}`,
      });
  }
  return troubles;
}

function slotTroubles(slot: PostgresReplication['slots'][number]): Trouble[] {
  const name = `slot ${printable(slot.name)}`;
  const reason = slot.invalidationReason ? ` (${printable(slot.invalidationReason)})` : '';
  if (slot.walStatus === 'lost') return [{ level: 'CRITICAL', text: `${name} is lost${reason}: what follows by it must be built anew` }];
  if (slot.walStatus === 'unreserved')
    return [{ level: 'CRITICAL', text: `${name} is about to be lost (unreserved): the WAL that it needs goes at the next checkpoint` }];
  if (slot.active !== false || slot.temporary === true || slot.synced === true) return [];
  return [
    {
      level: 'WARNING',
      text: `${name} is inactive: it holds back WAL and nobody takes it. If nobody will: SELECT pg_drop_replication_slot(…)`,
    },
  ];
}

/** From what the server has flushed, or of a cascading one replayed or received, to what the replica has replayed. */
export function bytesBehindOf(document: PostgresReplication, replica: PostgresReplication['replicas'][number]): number | null {
  const own = document.role === 'replica' ? furthest(document.receiver) : parseLsn(document.flushLsn ?? document.currentLsn);
  const replayed = parseLsn(replica.replayLsn);
  return own === undefined || replayed === undefined ? null : bytesBetween(replayed, own);
}

function furthest(receiver: PostgresReplication['receiver']): bigint | undefined {
  const [a, b] = [parseLsn(receiver?.receiveLsn), parseLsn(receiver?.replayLsn)];
  if (a === undefined || b === undefined) return a ?? b;
  return a > b ? a : b;
}

function summaryOf(document: PostgresReplication, replica: ReplicaState | undefined): string {
  if (replica !== undefined) {
    const upstream =
      document.receiver?.senderHost === null || document.receiver === null
        ? ''
        : ` of ${placeOf({ host: document.receiver.senderHost, port: document.receiver.senderPort })}`;
    return `replica${upstream}, ${lagWords(replica.lag)}`;
  }
  const physical = document.replicas.filter(({ state }) => state !== 'backup');
  const behind = physical.map((one) => bytesBehindOf(document, one)).filter((one) => one !== null);
  const furthestBehind = behind.length === 0 ? '' : `, the furthest ${bytes(Math.max(...behind))} behind`;
  return `primary, ${physical.length === 0 ? 'no replica' : plural(physical.length, 'replica')} connected${furthestBehind}`;
}

/** "lag 0", "lag between 2 s and 3 h", "lag unknown". */
export function lagWords({ seconds, lowerSeconds, upperSeconds }: ReplicaState['lag']): string {
  const words = (value: number): string => duration(value * 1000);
  if (seconds === null || lowerSeconds === null) return 'lag unknown';
  // Between two messages of its sender nobody can know more.
  if (seconds === 0) return upperSeconds === null || upperSeconds < 1 ? 'lag 0' : `lag 0 as of ${words(upperSeconds)} ago`;
  if (upperSeconds === null) return `lag at least ${words(lowerSeconds)}`;
  return words(lowerSeconds) === words(upperSeconds)
    ? `lag ${words(upperSeconds)}`
    : `lag between ${words(lowerSeconds)} and ${words(upperSeconds)}`;
}
