/**
 * One watched PostgreSQL server. A collection of it always ends within its deadline and always with an answer:
 * what was seen, or down and why. What is slow or refused never takes away what was seen before it.
 */
import { POSTGRES_REPLICATION, POSTGRES_SETTINGS } from '@tidemark/protocol';
import { backoffMs, type Clock, type Log } from '@tidemark/service';
import type { ProbeContext } from '../probe.ts';
import { failureOf, isConnectionLoss, isNotUnderstood, isWorthRetrying, Refusal, type Failure, type FailureReason } from './failure.ts';
import { CONTROL, DATABASE_SIZES, HOT, IDENTITY, MINIMAL, SETTINGS, type Statement } from './queries.ts';
import {
  controlFrom,
  downDocument,
  FIRST_UNKNOWN,
  identityFrom,
  OLDEST_SUPPORTED,
  readingFrom,
  UNKNOWN_CONTROL,
  type Control,
  type Identity,
  type Reading,
} from './reading.ts';
import { recordDown, recordUp, ReplicaNames } from './series.ts';
import { Session, type Row } from './session.ts';
import { settingsFrom } from './settings.ts';
import type { Target } from './target.ts';

const SETTINGS_EVERY_MS = 300_000;
const SIZES_EVERY_MS = 900_000;
/** Attempts that fail for these reasons cost nothing and leave no trace at the server: one each collection. */
const CHEAP: ReadonlySet<FailureReason> = new Set<FailureReason>(['refused', 'starting', 'stopping', 'disconnected']);
const BACKOFF = { baseMs: 1_000, maxMs: 30_000 };

export interface InstanceOptions {
  /** The end of a collection of this server, in milliseconds. */
  readonly deadlineMs: number;
  readonly log?: Log | undefined;
  /** Returns [0, 1). */
  readonly random: () => number;
}

/** One collection: what it got from the server, as far as it came, and whether its time is up. */
interface Attempt {
  hot?: Row;
  settings?: Row;
  over: boolean;
}

/** What there is to record of a server. */
export interface Look {
  record(context: ProbeContext): void;
}

export class Instance {
  readonly name: string;
  readonly #target: Target;
  readonly #options: InstanceOptions;
  readonly #session: Session;
  readonly #replicaNames = new ReplicaNames();
  #identity: Identity = identityFrom({});
  #control: Control = UNKNOWN_CONTROL;
  #databaseSizes: ReadonlyMap<string, number> = new Map();
  #settingsDueMs = 0;
  #sizesDueMs = 0;
  #lastInRecovery: string | null | undefined;
  /** Set once the server did not understand the wide statement: for some minutes only the minimal one is asked. */
  #hindrance: Failure | undefined;
  #failure: Failure | undefined;
  #failures = 0;
  #nextAttemptMs = 0;

  constructor(target: Target, options: InstanceOptions) {
    this.name = target.name;
    this.#target = target;
    this.#options = options;
    this.#session = new Session(target);
  }

  /** Looks at the server. Never rejects for anything that the server does or does not do. */
  async look(clock: Clock): Promise<Look> {
    const attempt: Attempt = { over: false };
    if (this.#failure === undefined || clock.monotonicMs() >= this.#nextAttemptMs) {
      this.#remember(await this.#attempt(clock, attempt), clock);
    }
    const { hot, settings } = attempt;
    const failure = this.#failure;
    if (hot === undefined) {
      return { record: (context) => this.#recordDown(context, failure ?? { reason: 'error', detail: 'The server gave no answer.' }) };
    }
    const reading = readingFrom(hot, this.#identity, this.#control, this.#hindrance ?? this.#unsupported());
    return { record: (context) => this.#recordUp(context, reading, settings) };
  }

  close(): Promise<void> {
    return this.#session.close();
  }

  #recordDown(context: ProbeContext, failure: Failure): void {
    recordDown(context.block(this.name), this.name);
    context.observe({ kind: POSTGRES_REPLICATION, version: 1, instance: this.name, document: downDocument(failure) });
  }

  #recordUp(context: ProbeContext, reading: Reading, settings: Row | undefined): void {
    recordUp(context.block(this.name), {
      server: this.name,
      reading,
      identity: this.#identity,
      replicaNames: this.#replicaNames,
      databaseSizes: this.#databaseSizes,
    });
    context.observe({ kind: POSTGRES_REPLICATION, version: 1, instance: this.name, document: reading.document });
    if (settings !== undefined) {
      context.observe({ kind: POSTGRES_SETTINGS, version: 1, instance: this.name, document: settingsFrom(settings) });
    }
  }

  /** Reads within the deadline into `attempt`. Whatever goes wrong once the main thing was read does not count. */
  async #attempt(clock: Clock, attempt: Attempt): Promise<Failure | undefined> {
    let timer: NodeJS.Timeout | undefined;
    const { deadlineMs } = this.#options;
    const timeUp = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(new Refusal('timeout', `no answer within ${deadlineMs} ms`));
        attempt.over = true;
        this.#session.drop();
      }, deadlineMs);
    });
    try {
      await Promise.race([this.#read(clock, attempt), timeUp]);
    } catch (error) {
      if (isConnectionLoss(error)) this.#session.drop();
      if (attempt.hot === undefined) return failureOf(error, this.#target.reached);
    } finally {
      clearTimeout(timer);
    }
    return undefined;
  }

  async #read(clock: Clock, attempt: Attempt): Promise<void> {
    if (clock.monotonicMs() >= this.#settingsDueMs) this.#hindrance = undefined;
    const row = await this.#readRow(attempt);
    if (row['in_recovery'] !== this.#lastInRecovery) {
      this.#lastInRecovery = row['in_recovery'];
      this.#settingsDueMs = 0;
    }
    attempt.hot = row;
    const now = clock.monotonicMs();
    if (now >= this.#settingsDueMs) {
      this.#settingsDueMs = now + SETTINGS_EVERY_MS;
      this.#control = await this.#unlessRefused(async () => controlFrom(await this.#one(CONTROL)), UNKNOWN_CONTROL);
      const settings = await this.#unlessRefused(() => this.#one(SETTINGS), undefined);
      if (settings !== undefined) attempt.settings = settings;
    }
    if (now >= this.#sizesDueMs) {
      this.#sizesDueMs = now + SIZES_EVERY_MS;
      this.#databaseSizes = await this.#unlessRefused(() => this.#readSizes(), new Map());
    }
  }

  /** The one row of every collection: over the connection there is, over a new one when it has gone, once more after a clash. */
  async #readRow(attempt: Attempt): Promise<Row> {
    const reused = this.#session.connected;
    if (!reused) await this.#connect();
    try {
      return await this.#hot();
    } catch (error) {
      if (isConnectionLoss(error)) {
        if (!reused || attempt.over) throw error;
        await this.#connect();
      } else if (!isWorthRetrying(error)) throw error;
      return await this.#hot();
    }
  }

  async #hot(): Promise<Row> {
    if (this.#hindrance === undefined) {
      try {
        return await this.#one(HOT);
      } catch (error) {
        if (!isNotUnderstood(error)) throw error;
        this.#hindrance = failureOf(error, this.#target.reached);
      }
    }
    return await this.#one(MINIMAL);
  }

  async #connect(): Promise<void> {
    await this.#session.connect();
    this.#hindrance = undefined;
    this.#control = UNKNOWN_CONTROL;
    this.#settingsDueMs = 0;
    this.#identity = identityFrom(await this.#one(IDENTITY));
  }

  #unsupported(): Failure | undefined {
    const { versionNumber, shortVersion } = this.#identity;
    if (versionNumber === null || (versionNumber >= OLDEST_SUPPORTED && versionNumber < FIRST_UNKNOWN)) return undefined;
    const what = versionNumber < OLDEST_SUPPORTED ? 'older' : 'newer';
    return {
      reason: 'unsupported_version',
      detail: `PostgreSQL ${shortVersion ?? versionNumber} is ${what} than what this agent knows (15 to 18): what it can read is reported.`,
    };
  }

  async #readSizes(): Promise<Map<string, number>> {
    const rows = await this.#session.query(DATABASE_SIZES);
    return new Map(rows.filter((row) => row['bytes'] !== null).map((row) => [row['datname'] ?? '', Number(row['bytes'])]));
  }

  /** For what is nice to know: a statement that the server refuses or gives up leaves it unknown. */
  async #unlessRefused<T>(read: () => Promise<T>, otherwise: T): Promise<T> {
    try {
      return await read();
    } catch (error) {
      if (isConnectionLoss(error)) throw error;
      return otherwise;
    }
  }

  async #one(statement: Statement): Promise<Row> {
    const [row] = await this.#session.query(statement);
    return row ?? {};
  }

  #remember(failure: Failure | undefined, clock: Clock): void {
    const { log, random } = this.#options;
    if (failure?.reason !== this.#failure?.reason) {
      if (failure === undefined) log?.info({ instance: this.name }, 'PostgreSQL server answers again');
      else log?.warn({ instance: this.name, reason: failure.reason, detail: failure.detail }, 'PostgreSQL server cannot be looked at');
    }
    this.#failure = failure;
    this.#failures = failure === undefined ? 0 : this.#failures + 1;
    const waitMs = failure === undefined || CHEAP.has(failure.reason) ? 0 : backoffMs(this.#failures, BACKOFF, random);
    this.#nextAttemptMs = clock.monotonicMs() + waitMs;
  }
}
