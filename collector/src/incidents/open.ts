/**
 * Opens the truth at start: the local journal, the database, and what follows from both. Of each thing the later state
 * counts; what only one of them knows is kept. The journal's directory alone is enough, and so is the database alone.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ProblemError } from '@tidemark/protocol';
import { writeFileAtomically, type Clock, type Log } from '@tidemark/service';
import type { Database } from '../db/pool.ts';
import type { ComponentReading } from '../health/components.ts';
import { EMPTY_STATE, IncidentBook, isLater, type BookState, type Mark, type RecordedEntry } from './book.ts';
import type { RandomBytes } from './id.ts';
import { diskFiles, type JournalFiles } from './journal-files.ts';
import { readJournal, type JournalContent } from './journal-reading.ts';
import { Journal, type JournalBounds } from './journal.ts';
import { MirrorStore, deleteExpired, readEvaluator, takeOver, type Claim } from './mirror-store.ts';
import { Mirror } from './mirror.ts';
import { KEEP_CLOSED_MS, KEEP_UNTOLD_MS, Recorder } from './recorder.ts';
import { IncidentStore, type StoredState } from './store.ts';

export interface IncidentsOptions {
  /** The journal is in `journal/` in it. */
  dataDir: string;
  database: Database;
  clock: Clock;
  log: Log;
  /** How long alerts that are over are kept in the database. */
  keepDays?: number;
  random?: RandomBytes;
  files?: JournalFiles;
  bounds?: Partial<JournalBounds>;
}

export interface Incidents {
  readonly recorder: Recorder;
  readonly store: IncidentStore;
  /** What the evaluator wants to find again after a restart, in the database. */
  readonly evaluatorState: EvaluatorState;
  /** How it stands, for the health page. */
  health(): ComponentReading;
  /** Entries that the database does not have yet. */
  waiting(): number;
  /** What took effect and the database may not have, or cannot be asked for: what the journal's segments hold. Nothing while it has all. */
  localEntries(): Promise<readonly RecordedEntry[]>;
  /** Writes what waits, to the disk and, within a few seconds, to the database. */
  stop(): Promise<void>;
}

export interface EvaluatorState {
  /** Undefined: none was saved. Throws `database_away`. */
  load(): Promise<string | undefined>;
  /** False: another collector has taken over. Throws `database_away`. */
  save(state: string): Promise<boolean>;
}

const TIDY_MS = 60_000;
const EXPIRE_EVERY = 60;
const EXPIRE_ROWS = 5_000;
const KEEP_DAYS = 400;
const DAY_MS = 86_400_000;
const STOP_MS = 5_000;

/** Throws OperationalFailure when the directory cannot be used, and `database_away` when neither the journal nor the database tells what is so. */
export async function openIncidents(options: IncidentsOptions): Promise<Incidents> {
  const { dataDir, database, clock, log } = options;
  const random = options.random ?? randomBytes;
  const chance = (): number => random(4).reduce((sum, byte) => sum * 256 + byte, 0) / 2 ** 32;
  const directory = join(dataDir, 'journal');
  const files = options.files ?? diskFiles;
  const content = await readJournal(directory, files, log);
  const store = new IncidentStore(database);
  const state = await whatIsSo(content, store, options);
  const claim = await claimed(directory, content, state.mark, options);
  // Positions go on, under the new epoch.
  const book = IncidentBook.from({ ...state, mark: { epoch: claim.epoch, position: state.mark.position } });

  const recorder: Recorder = new Recorder({
    book,
    epoch: claim.epoch,
    clock,
    random,
    log: { append: (entries) => journal.append(entries) },
  });
  const journal: Journal = new Journal(content, {
    directory,
    files,
    log,
    random: chance,
    state: () => book.state(),
    take: (entries) => {
      recorder.take(entries);
      mirror.push(entries);
    },
    ...(options.bounds === undefined ? {} : { bounds: options.bounds }),
  });
  const mirrorStore = new MirrorStore(database, claim);
  const mirror: Mirror = new Mirror({
    store: mirrorStore,
    book,
    journal,
    databaseState: () => database.state,
    clock,
    log,
    random: chance,
    onSuperseded: (epoch) => {
      recorder.supersede(epoch);
      log.error({ epoch: claim.epoch, by: epoch }, 'another collector has taken over; this one records nothing any more');
    },
  });
  await journal.start();
  database.onStateChange(({ up }) => {
    if (up) mirror.wake();
  });
  mirror.wake();
  const endTidying = keepTidy(recorder, mirror, options);
  return {
    recorder,
    store,
    evaluatorState: {
      load: async () => (await readEvaluator(database))?.state ?? undefined,
      save: (text) => mirrorStore.saveState(text, clock.wallMs()),
    },
    health: () => readingOf(recorder, journal, mirror, database),
    waiting: () => mirror.waiting,
    localEntries: async () => (mirror.waiting === 0 && database.state.up ? [] : localEntries(journal)),
    async stop() {
      endTidying();
      recorder.close();
      await journal.close();
      await mirror.stop(STOP_MS);
    },
  };
}

/** From the journal and the database, whichever there is. */
async function whatIsSo(content: JournalContent, store: IncidentStore, { clock, log }: IncidentsOptions): Promise<BookState> {
  let local: BookState | undefined;
  if (content.state !== undefined) {
    const book = IncidentBook.from(content.state);
    for (const entry of content.entries) book.apply(entry);
    local = book.state();
  }
  const keep = { wallMs: clock.wallMs(), keepClosedMs: KEEP_CLOSED_MS, keepUntoldMs: KEEP_UNTOLD_MS };
  let stored: StoredState;
  try {
    stored = await store.load(local === undefined ? [] : idsIn(local), keep);
  } catch (error) {
    if (!(error instanceof ProblemError) || local === undefined) throw error;
    log.warn('the database is away; what is open is known from the journal');
    return local;
  }
  if (local !== undefined) return mergeStates(local, stored);
  const merged = mergeStates(EMPTY_STATE, stored);
  if (content.entries.length === 0) return merged;
  // The checkpoint was lost, some entries were not: those the database does not have yet are applied to what it has.
  const book = IncidentBook.from(merged);
  for (const entry of content.entries) book.apply(entry);
  return book.state();
}

function idsIn({ incidents, silences, deliveries }: BookState): string[] {
  return [
    ...incidents.map(({ incidentId }) => incidentId),
    ...silences.map(({ silenceId }) => silenceId),
    ...deliveries.map(({ deliveryId }) => deliveryId),
  ];
}

/** Of each thing the later state. What the local side let go of is not brought back by an older state of it. */
export function mergeStates(local: BookState, stored: StoredState): BookState {
  const merged = <T extends Mark>(ours: readonly T[], theirs: readonly T[], id: (one: T) => string): T[] => {
    const byId = new Map(ours.map((one) => [id(one), one]));
    for (const one of theirs) if (isLater(one, byId.get(id(one)) ?? local.mark)) byId.set(id(one), one);
    return [...byId.values()];
  };
  const lasts = <T extends Mark>(theirs: readonly T[], id: (one: T) => string): ((one: T) => boolean) => {
    const ended = new Set(theirs.filter((one) => stored.ended.has(id(one))));
    return (one) => !ended.has(one);
  };
  const silenceId = ({ silenceId: id }: { silenceId: string }): string => id;
  const deliveryId = ({ deliveryId: id }: { deliveryId: string }): string => id;
  return {
    mark: {
      epoch: Math.max(local.mark.epoch, stored.mark.epoch),
      position: Math.max(local.mark.position, stored.mark.position),
    },
    incidents: merged(local.incidents, stored.incidents, ({ incidentId }) => incidentId),
    silences: merged(local.silences, stored.silences, silenceId).filter(lasts(stored.silences, silenceId)),
    deliveries: merged(local.deliveries, stored.deliveries, deliveryId).filter(lasts(stored.deliveries, deliveryId)),
    goneChannels: merged(local.goneChannels, stored.goneChannels, ({ channel }) => channel),
  };
}

/** An epoch that is higher than any before, whether or not the database can be asked. */
async function claimed(directory: string, content: JournalContent, mark: Mark, { database, clock, log }: IncidentsOptions): Promise<Claim> {
  const file = join(directory, 'epoch');
  const newestEntry = content.entries.reduce((epoch, entry) => Math.max(epoch, entry.epoch), 0);
  const localEpoch = Math.max(mark.epoch, newestEntry, readEpoch(file));
  const owner = randomUUID();
  let claim: Claim;
  try {
    claim = await takeOver(database, owner, localEpoch, clock.wallMs());
  } catch (error) {
    if (!(error instanceof ProblemError)) throw error;
    claim = { owner, epoch: localEpoch + 1 };
  }
  try {
    writeFileAtomically(file, `${claim.epoch}\n`);
  } catch (error) {
    log.warn({ err: error }, 'the epoch cannot be kept on the disk; the journal and the database have it too');
  }
  return claim;
}

function readEpoch(file: string): number {
  try {
    const epoch = Number(readFileSync(file, 'utf8'));
    return Number.isSafeInteger(epoch) ? epoch : 0;
  } catch {
    return 0;
  }
}

function keepTidy(recorder: Recorder, mirror: Mirror, { database, clock, log, keepDays = KEEP_DAYS }: IncidentsOptions): () => void {
  let rounds = 0;
  const timer = setInterval(() => {
    recorder.tidy(mirror.mirrored);
    if (++rounds % EXPIRE_EVERY !== 1 || !database.state.up) return;
    deleteExpired(database, clock.wallMs() - keepDays * DAY_MS, EXPIRE_ROWS).then(
      (rows) => rows > 0 && log.info({ rows }, 'retention is over; old alerts deleted'),
      (error: unknown) => log.warn({ err: error }, 'old alerts could not be deleted; in an hour again'),
    );
  }, TIDY_MS).unref();
  return () => clearInterval(timer);
}

async function localEntries(journal: Journal): Promise<RecordedEntry[]> {
  const all: RecordedEntry[] = [];
  for (let last = 0; ; last = all.at(-1)!.position) {
    const some = await journal.readAfter(last);
    if (some.length === 0) return all;
    for (const entry of some) all.push(entry);
  }
}

function readingOf({ supersededBy, epoch }: Recorder, journal: Journal, mirror: Mirror, database: Database): ComponentReading {
  if (supersededBy !== undefined)
    return {
      status: 'unhealthy',
      detail: `another collector has taken over (epoch ${supersededBy}; this one has ${epoch}): nothing is recorded or told here. Stop one of the two`,
    };
  const { trouble } = journal;
  if (trouble !== undefined) {
    const kept = `${trouble.waiting} entries are in memory only${trouble.lost > 0 ? `, ${trouble.lost} lines of history are lost` : ''}`;
    return { status: trouble.lost > 0 ? 'unhealthy' : 'degraded', detail: `the journal cannot be written: ${trouble.detail}; ${kept}` };
  }
  if (mirror.trouble !== undefined)
    return { status: 'degraded', detail: `the journal is kept; the database does not take it: ${mirror.trouble}` };
  if (!database.state.up) return { status: 'degraded', detail: `the journal is kept; ${mirror.waiting} entries wait for the database` };
  return { status: 'healthy', detail: `what happens is recorded; ${mirror.waiting} entries wait for the database` };
}
