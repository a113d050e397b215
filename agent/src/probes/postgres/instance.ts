/**
 * One watched PostgreSQL server. A collection of it always ends within its deadline and always with an answer:
 * what was seen, or down and why. What is slow or refused never takes away what was seen before it.
 */
import { POSTGRES_REPLICATION, POSTGRES_SETTINGS, POSTGRES_TRACK, type PostgresReplication } from '@tidemark/protocol';
import type { Clock, Log } from '@tidemark/service';
import type { ProbeContext } from '../probe.ts';
import { failureOf, isConnectionLoss, isNotUnderstood, isPooler, Refusal, type Failure } from './failure.ts';
import { wideFromHot } from './hot.ts';
import { InstanceStatistics } from './instance-statistics.ts';
import type { Machine } from './machine.ts';
import { DATABASE_SIZES, MINIMAL, rowOf, SETTINGS, WIDE, type Row } from './queries.ts';
import { downDocument, FIRST_UNKNOWN, OLDEST_SUPPORTED, readingFrom, type Reading } from './reading.ts';
import { recordDown, recordUp, ReplicaNames } from './series.ts';
import { settingsFrom } from './settings.ts';
import { statisticsGroups } from './statistics/index.ts';
import type { Target } from './target.ts';
import { Watcher } from './watcher.ts';

const CONTROL_EVERY_MS = 30_000;
const SETTINGS_EVERY_MS = 300_000;
const SIZES_EVERY_MS = 900_000;
/** For so long what the wide statement said stands in for what it does not say: a passing lock must not make replicas vanish. */
const WIDE_STANDS_MS = 60_000;
/** Timers may fire a little early; what is due within this is due now. */
const EARLY_MS = 250;
const RIGHTS_MAX = 20;

export interface InstanceOptions {
  readonly clock: Clock;
  /** The end of a collection of this server, in milliseconds. */
  readonly deadlineMs: number;
  readonly hotEveryMs: number;
  readonly machine: Machine;
  readonly log?: Log | undefined;
  /** Returns [0, 1). */
  readonly random: () => number;
  readonly onChange?: (() => void) | undefined;
}

/** One collection: what it got from the server, as far as it came. */
interface Attempt {
  wide?: Row;
  /** Why the row is less than it should be. */
  hindrance?: Failure | undefined;
  settings?: Row;
  failure?: Failure;
}

/** What there is to record of a server. */
export interface Look {
  /** The same for two looks at the same run of the same server; undefined when that cannot be told. */
  readonly serverRun: string | undefined;
  /** `sameAs`: the name of the one that is watched already and is this very server. */
  record(context: ProbeContext, sameAs?: string): void;
}

export class Instance {
  readonly name: string;
  readonly #target: Target;
  readonly #options: InstanceOptions;
  readonly #watcher: Watcher;
  readonly #statistics: InstanceStatistics;
  readonly #replicaNames = new ReplicaNames();
  #databaseSizes: ReadonlyMap<string, number> = new Map();
  #controlDueMs = 0;
  #settingsDueMs = 0;
  #configLoadedAt: Row[string] | undefined;
  #sizesDueMs = 0;
  #roleChanges = 0;
  #settingsHidden = false;
  #lastWide: { readonly row: Row; readonly atMs: number } | undefined;
  /** Set once the server did not understand the wide statement: for some minutes only the minimal one is asked. */
  #hindrance: Failure | undefined;

  constructor(target: Target, options: InstanceOptions) {
    const { clock, log } = options;
    this.name = target.name;
    this.#target = target;
    this.#options = options;
    this.#watcher = new Watcher(target, options);
    this.#statistics = new InstanceStatistics(statisticsGroups(), { clock, log, instance: target.name });
  }

  /** Looks at the server. Never rejects for anything that the server does or does not do. The first one starts the hot loop. */
  async look(): Promise<Look> {
    this.#watcher.start();
    const attempt: Attempt = {};
    await this.#withinDeadline(this.#read(attempt));
    const { wide, settings } = attempt;
    if (wide === undefined) {
      const failure = attempt.failure ?? this.#watcher.failure ?? { reason: 'error', detail: 'The server gave no answer.' };
      return { serverRun: undefined, record: (context) => this.#recordDown(context, failure) };
    }
    const { identity, control, promoted, timelineFloor } = this.#watcher;
    const around = {
      hindrance: this.#unsupported() ?? attempt.hindrance ?? this.#watcher.hindrance,
      promoted,
      timelineFloor,
      reachedAt: this.#target.reachedAt,
      machine: this.#options.machine.describe(),
    };
    const reading = readingFrom(wide, identity, control, around);
    const { systemIdentifier, startedAt } = reading.document;
    return {
      serverRun: systemIdentifier === null || startedAt === null ? undefined : `${systemIdentifier} ${startedAt}`,
      record: (context, sameAs) => this.#recordUp(context, reading, settings, sameAs),
    };
  }

  close(): Promise<void> {
    return this.#watcher.close();
  }

  #recordDown(context: ProbeContext, failure: Failure): void {
    recordDown(context.block(this.name), this.name);
    this.#observe(context, downDocument(failure));
    this.#recordTrack(context);
  }

  #recordUp(context: ProbeContext, reading: Reading, settings: Row | undefined, sameAs: string | undefined): void {
    const block = context.block(this.name);
    recordUp(block, {
      server: this.name,
      reading,
      identity: this.#watcher.identity,
      replicaNames: this.#replicaNames,
      databaseSizes: this.#databaseSizes,
    });
    this.#statistics.record(block);
    const missing = [
      ...(reading.document.insufficientPrivilege || this.#settingsHidden ? ['pg_monitor'] : []),
      ...this.#statistics.missingRights(),
    ];
    const document = { ...reading.document, ...this.#statistics.document(), missingRights: [...new Set(missing)].slice(0, RIGHTS_MAX) };
    this.#observe(context, sameAs === undefined ? document : this.#duplicate(document, sameAs));
    if (settings !== undefined) {
      context.observe({ kind: POSTGRES_SETTINGS, version: 1, instance: this.name, document: settingsFrom(settings) });
    }
    for (const observation of this.#statistics.takeObservations()) context.observe({ ...observation, instance: this.name });
    this.#recordTrack(context, sameAs !== undefined);
  }

  #observe(context: ProbeContext, document: PostgresReplication): void {
    context.observe({ kind: POSTGRES_REPLICATION, version: 1, instance: this.name, document });
  }

  /** A report that is thrown away takes no track along: what it would have said comes with the next one. */
  #recordTrack(context: ProbeContext, nameless = false): void {
    if (context.signal.aborted) return;
    const document = this.#watcher.track.take(context.takenMs, nameless ? null : this.#watcher.control.systemIdentifier);
    if (document !== undefined) context.observe({ kind: POSTGRES_TRACK, version: 1, instance: this.name, document });
  }

  /** Without its identifier nobody takes it for a second server of the cluster. */
  #duplicate(document: PostgresReplication, sameAs: string): PostgresReplication {
    const detail = `"${this.name}" is the same server as "${sameAs}": take one of them out of the agent's configuration.`;
    return { ...document, systemIdentifier: null, reason: 'duplicate', detail };
  }

  /** Waits for the work, and cuts the connection when the time is up: all that waits for it then rejects. */
  async #withinDeadline(work: Promise<void>): Promise<void> {
    const { deadlineMs } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    const timeUp = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        this.#watcher.session.drop(new Refusal('timeout', `no answer within ${deadlineMs} ms`));
        // After those that wait for the connection: they know better what was under way.
        setImmediate(resolve);
      }, deadlineMs);
    });
    await Promise.race([work, timeUp]);
    clearTimeout(timer);
  }

  /** Reads into `attempt`. Whatever goes wrong once the main thing was read does not count. */
  async #read(attempt: Attempt): Promise<void> {
    const failure = await this.#watcher.lookNow();
    if (failure !== undefined) {
      attempt.failure = failure;
      return;
    }
    try {
      this.#noticeChanges();
      attempt.wide = await this.#readWide(attempt);
      await this.#readSeldom(attempt);
      await this.#statistics.readDue(this.#watcher.session, this.#facts(attempt.wide));
    } catch (error) {
      if (attempt.wide === undefined) attempt.failure = this.#watcher.failed(error);
      else if (isConnectionLoss(error) || isPooler(error)) this.#watcher.session.drop();
    }
  }

  /** After a change of role or of the connection, what is read seldom is read anew. */
  #noticeChanges(): void {
    if (this.#roleChanges === this.#watcher.roleChanges) return;
    this.#roleChanges = this.#watcher.roleChanges;
    this.#controlDueMs = 0;
    this.#settingsDueMs = 0;
    this.#hindrance = undefined;
    this.#lastWide = undefined;
    this.#statistics.forget();
  }

  async #readWide(attempt: Attempt): Promise<Row> {
    this.#hindrance ??= this.#watcher.hindrance?.reason === 'pooler' ? undefined : this.#watcher.hindrance;
    attempt.hindrance = this.#hindrance;
    const now = this.#options.clock.monotonicMs();
    if (attempt.hindrance === undefined) {
      try {
        const row = await this.#watcher.one(WIDE);
        this.#lastWide = { row, atMs: now };
        this.#noticeReload(row);
        return row;
      } catch (error) {
        if (isConnectionLoss(error) || isPooler(error)) throw error;
        attempt.hindrance = failureOf(error, this.#target.reached);
        if (isNotUnderstood(error)) this.#hindrance = attempt.hindrance;
      }
    }
    const before = this.#lastWide !== undefined && now - this.#lastWide.atMs <= WIDE_STANDS_MS ? this.#lastWide.row : {};
    const { hot } = this.#watcher;
    return { ...before, ...(hot !== undefined && wideFromHot(hot)), ...(await this.#watcher.one(MINIMAL)) };
  }

  /** Settings are read anew as soon as the server has: who it follows and how late may be others from then on. */
  #noticeReload({ config_loaded_at: loadedAt }: Row): void {
    if (loadedAt !== this.#configLoadedAt) this.#settingsDueMs = 0;
    this.#configLoadedAt = loadedAt;
  }

  async #readSeldom(attempt: Attempt): Promise<void> {
    const now = this.#options.clock.monotonicMs() + EARLY_MS;
    if (now >= this.#controlDueMs) {
      this.#controlDueMs = now + CONTROL_EVERY_MS;
      await this.#watcher.readControl();
    }
    if (now >= this.#settingsDueMs) {
      this.#settingsDueMs = now + SETTINGS_EVERY_MS;
      this.#hindrance = undefined;
      this.#watcher.forgetHindrance();
      const settings = await this.#watcher.unlessRefused(() => this.#watcher.one(SETTINGS), undefined);
      if (settings !== undefined) attempt.settings = settings;
      this.#settingsHidden = settings?.['sees_all'] !== 't';
    }
    if (now >= this.#sizesDueMs) {
      this.#sizesDueMs = now + SIZES_EVERY_MS;
      this.#databaseSizes = await this.#watcher.unlessRefused(() => this.#readSizes(), new Map());
    }
  }

  #facts(wide: Row): Parameters<InstanceStatistics['readDue']>[1] {
    const { versionNumber, database } = this.#watcher.identity;
    return {
      server: this.name,
      versionNumber: versionNumber ?? 0,
      role: wide['in_recovery'] === 't' ? 'replica' : 'primary',
      seesAll: wide['sees_all'] === 't',
      database: database ?? this.#target.reached.database,
      local: this.#options.machine.isHere(this.#target.reachedAt.host),
    };
  }

  #unsupported(): Failure | undefined {
    const { versionNumber, shortVersion } = this.#watcher.identity;
    if (versionNumber === null || (versionNumber >= OLDEST_SUPPORTED && versionNumber < FIRST_UNKNOWN)) return undefined;
    const what = versionNumber < OLDEST_SUPPORTED ? 'older' : 'newer';
    return {
      reason: 'unsupported_version',
      detail: `PostgreSQL ${shortVersion ?? versionNumber} is ${what} than what this agent knows (15 to 18): what it can read is reported.`,
    };
  }

  async #readSizes(): Promise<Map<string, number>> {
    const { rows } = await this.#watcher.session.ask(DATABASE_SIZES.text);
    const named = rows.map((values) => rowOf(DATABASE_SIZES, values)).filter((row) => row['bytes'] !== null);
    return new Map(named.map((row) => [row['datname'] ?? '', Number(row['bytes'])]));
  }
}
