/** What commits and archives depend on: synchronous standbys that are missing, before commits hang and when they do, and WAL that cannot be archived. */
import type { PostgresReplication } from '@tidemark/protocol';
import { documentNow, type Look } from './changes-look.ts';
import type { SyncNote } from './changes-memory.ts';
import { settingText } from './server-settings.ts';
import { iso, secondsOf, spanText } from './words.ts';

/** Reconnecting takes a moment; so does a failing archive command that the server tries again by itself. */
const SHORT_MS = 5_000;
const WAITING_MS = 5_000;
const ARCHIVER_MS = 10_000;
/** Where files that wait may not be counted, only what failed lately counts. */
const FAILED_LATELY_MS = 5 * 60_000;

export function syncChanges(look: Look): void {
  const primary = look.members.get(look.cluster.primary.id ?? '');
  // A primary that is not heard says nothing about who is missing; that it is not heard is said elsewhere.
  if (!look.isPrimaryNow(primary)) return;
  const { memory } = look;
  const at = primary.sighting.upAt ?? look.now;
  const figures = look.figures.synchronous;
  // Nothing is known of what commits wait for: that is no sign of its end.
  if (figures === undefined && settingText(primary.sighting.settings, 'synchronous_standby_names') === undefined) return;
  if (memory.sync !== null && memory.sync.primary !== primary.id) memory.sync = null;
  if (figures === undefined || figures.present >= figures.required) {
    if (memory.sync?.missingSaid === true) back(look, memory.sync, at, figures === undefined);
    memory.sync = null;
    return;
  }
  memory.sync ??= {
    key: `${primary.id}:${Math.round(at)}`,
    primary: primary.id,
    primaryName: primary.name,
    since: at,
    missingSaid: false,
    waitingAt: null,
    waitingSaid: false,
    waitingMax: 0,
  };
  const note = memory.sync;
  note.waitingMax = Math.max(note.waitingMax, figures.waiting);
  note.waitingAt = figures.waiting > 0 ? (note.waitingAt ?? at) : null;
  if (!note.missingSaid && at - note.since >= SHORT_MS) missing(look, note, figures);
  if (!note.waitingSaid && note.waitingAt !== null && at - note.waitingAt >= WAITING_MS) waiting(look, note, figures);
}

interface Figures {
  readonly required: number;
  readonly present: number;
  readonly waiting: number;
}

function missing(look: Look, note: SyncNote, { required, present, waiting: sessions }: Figures): void {
  note.missingSaid = true;
  look.say({
    kind: 'sync_standby_missing',
    key: `sync_standby_missing:${note.key}`,
    at: note.since,
    id: note.primary,
    name: note.primaryName,
    severity: 'warning',
    text: `${note.primaryName} needs ${required} synchronous ${required === 1 ? 'standby' : 'standbys'} to commit and has ${present}: ${sessions === 0 ? 'the next commit will wait until one is back' : 'commits wait until one is back'}.`,
    details: { required, present, waiting: sessions },
  });
}

function waiting(look: Look, note: SyncNote, { required, present, waiting: sessions }: Figures): void {
  note.waitingSaid = true;
  look.say({
    kind: 'sync_commits_waiting',
    key: `sync_commits_waiting:${note.key}`,
    at: note.waitingAt ?? note.since,
    id: note.primary,
    name: note.primaryName,
    severity: 'critical',
    text: `Commits hang on ${note.primaryName}: ${sessions} ${sessions === 1 ? 'session waits' : 'sessions wait'} for a synchronous standby, and ${present} of the ${required} that it needs ${present === 1 ? 'is' : 'are'} there.`,
    details: { required, present, waiting: sessions },
  });
}

function back(look: Look, note: SyncNote, at: number, isNoneRequired: boolean): void {
  const how = isNoneRequired ? 'no longer waits for synchronous standbys' : 'has its synchronous standbys again';
  look.say({
    kind: 'sync_standby_back',
    key: `sync_standby_back:${note.key}`,
    at,
    id: note.primary,
    name: note.primaryName,
    severity: 'info',
    text: `${note.primaryName} ${how}, after ${spanText(at - note.since)}${note.waitingMax === 0 ? '; no commit was seen to wait' : `; up to ${note.waitingMax} sessions waited`}.`,
    details: { missingSeconds: secondsOf(at - note.since), waitingMax: note.waitingMax },
  });
}

type Archiver = NonNullable<PostgresReplication['archiver']>;

export function archiverChanges(look: Look): void {
  const { archivers } = look.memory;
  for (const member of look.watched) {
    const document = documentNow(member.sighting);
    if (document?.archiver === undefined) continue;
    const at = member.sighting.upAt ?? look.now;
    const note = archivers[member.id];
    const isFailing = document.archiver !== null && fails(document.archiver, document.serverTime);
    if (!isFailing) {
      if (note?.key !== undefined && note.key !== null) recovered(look, member, note.key, { since: note.since, at });
      delete archivers[member.id];
    } else if (note === undefined) archivers[member.id] = { since: at, key: null };
    else if (note.key === null && at - note.since >= ARCHIVER_MS) {
      note.key = `archiver_failing:${member.id}:${Math.round(note.since)}`;
      failing(look, member, note.key, { since: note.since, archiver: document.archiver! });
    }
  }
  for (const id of Object.keys(archivers)) if (!look.members.has(id)) delete archivers[id];
}

/** The last attempt failed and something waits. All times are the server's. */
function fails({ lastArchivedAt, lastFailedAt, waitingFiles }: Archiver, serverTime: string | null): boolean {
  const failed = Date.parse(lastFailedAt ?? '');
  const archived = Date.parse(lastArchivedAt ?? '');
  if (Number.isNaN(failed) || failed <= archived) return false;
  if (waitingFiles !== null) return waitingFiles > 0;
  const now = Date.parse(serverTime ?? '');
  return Number.isNaN(now) || now - failed < FAILED_LATELY_MS;
}

function failing(
  look: Look,
  { id, name }: { id: string; name: string },
  key: string,
  { since, archiver }: { since: number; archiver: Archiver },
): void {
  const { lastFailedWal, failedCount, lastArchivedAt, waitingFiles } = archiver;
  const files =
    waitingFiles === null
      ? ''
      : ` ${waitingFiles} ${waitingFiles === 1 ? 'segment waits' : 'segments wait'}; they stay on the disk until it works.`;
  look.say({
    kind: 'archiver_failing',
    key,
    at: since,
    id,
    name,
    severity: 'warning',
    text: `${name} cannot archive its WAL: the last attempt${lastFailedWal === null ? '' : `, ${lastFailedWal},`} failed, ${lastArchivedAt === null ? 'and none has worked' : `and none has worked since ${lastArchivedAt}`}.${files}`,
    details: { lastFailedWal, failedCount, lastArchivedAt, waitingFiles },
  });
}

function recovered(
  look: Look,
  { id, name }: { id: string; name: string },
  key: string,
  { since, at }: { since: number; at: number },
): void {
  look.say({
    kind: 'archiver_recovered',
    key: key.replace('archiver_failing:', 'archiver_recovered:'),
    at,
    id,
    name,
    severity: 'info',
    text: `${name} archives its WAL again, after ${spanText(at - since)}.`,
    details: { failingSince: iso(since), failingSeconds: secondsOf(at - since) },
  });
}
