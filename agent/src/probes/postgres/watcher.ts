/**
 * Keeps an eye on one server between collections: the narrow statement every two seconds over the one connection that
 * there is, whatever the report's interval. Says at once when something has changed that cannot wait, and never has more
 * than one look under way.
 */
import { backoffMs, type Clock, type Log } from '@tidemark/service';
import {
  failureOf,
  isConnectionLoss,
  isNotUnderstood,
  isPooler,
  isWorthRetrying,
  Refusal,
  type Failure,
  type FailureReason,
} from './failure.ts';
import { HOT, hotFrom, type Hot } from './hot.ts';
import { CONTROL, IDENTITY, MINIMAL, rowOf, type Row, type Statement } from './queries.ts';
import { controlFrom, identityFrom, UNKNOWN_CONTROL, type Control, type Identity } from './reading.ts';
import { Session, type Answer } from './session.ts';
import type { Target } from './target.ts';
import { Track } from './track.ts';

/** Attempts that fail for these reasons cost next to nothing; a collection always makes one. */
const CHEAP: ReadonlySet<FailureReason> = new Set<FailureReason>(['refused', 'starting', 'stopping', 'disconnected']);
const CHEAP_BACKOFF = { baseMs: 1_000, maxMs: 5_000 };
const BACKOFF = { baseMs: 1_000, maxMs: 30_000 };

export interface WatcherOptions {
  readonly clock: Clock;
  /** Between two looks of the hot loop. */
  readonly hotEveryMs: number;
  /** What no answer may take longer than, in milliseconds. */
  readonly deadlineMs: number;
  readonly log?: Log | undefined;
  /** Returns [0, 1). */
  readonly random: () => number;
  /** Up or down, role, timeline, receiver or pause are others than before, as seen between two collections. */
  readonly onChange?: (() => void) | undefined;
}

export class Watcher {
  readonly session: Session;
  readonly track = new Track();
  readonly #target: Target;
  readonly #options: WatcherOptions;
  #identity: Identity = identityFrom({});
  #control: Control = UNKNOWN_CONTROL;
  /** Something of this connection is not as it should be, and it can be read nevertheless. */
  #hindrance: Failure | undefined;
  #pooled: Failure | undefined;
  #hot: Hot | undefined;
  #timelineFloor = 0;
  #promoted = false;
  #roleChanges = 0;
  #failure: Failure | undefined;
  #failures = 0;
  #nextAttemptMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #look: { readonly done: Promise<Failure | undefined>; readonly sinceMs: number } | undefined;
  #noticed: string | undefined;
  #closed = false;

  constructor(target: Target, options: WatcherOptions) {
    this.#target = target;
    this.#options = options;
    this.session = new Session(target, options.clock);
  }

  get identity(): Identity {
    return this.#identity;
  }

  get control(): Control {
    return this.#control;
  }

  /** What the last look saw; undefined where the server did not understand it. */
  get hot(): Hot | undefined {
    return this.#hot;
  }

  get failure(): Failure | undefined {
    return this.#failure;
  }

  /** Why the server cannot be seen whole although it answers. */
  get hindrance(): Failure | undefined {
    return this.#hindrance ?? this.#pooled;
  }

  /** It was seen as a replica earlier in this run of the server, and is a primary now. */
  get promoted(): boolean {
    return this.#promoted;
  }

  /** The furthest timeline that it was seen on as a replica, in this run of the server. */
  get timelineFloor(): number {
    return this.#timelineFloor;
  }

  /** Goes up with every change of role and every connection: what is read seldom is read anew then. */
  get roleChanges(): number {
    return this.#roleChanges;
  }

  /** Starts the loop. Its timer keeps no process alive. */
  start(): void {
    if (this.#timer !== undefined || this.#closed) return;
    this.#timer = setInterval(() => this.#tick(), this.#options.hotEveryMs);
    this.#timer.unref();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.session.close();
  }

  /** A look for a collection: now, or together with the one that is under way. Never rejects; tells why there was nothing to see. */
  async lookNow(): Promise<Failure | undefined> {
    const { clock } = this.#options;
    if (this.#look !== undefined) return await this.#look.done;
    const waits = !this.session.ready && clock.monotonicMs() < this.#nextAttemptMs;
    if (waits && this.#failure !== undefined && !CHEAP.has(this.#failure.reason)) return this.#failure;
    this.#timer?.refresh();
    return await this.#start(false);
  }

  /** Whatever a collection found wrong beyond the look. */
  failed(error: unknown): Failure {
    const failure = failureOf(error, this.#target.reached);
    if (isConnectionLoss(error) || isPooler(error)) this.session.drop();
    this.#remember(failure);
    this.#notice(false);
    return failure;
  }

  /** What is refused or given up leaves what was known: within one connection the server is the same. */
  async readControl(): Promise<void> {
    this.#control = await this.unlessRefused(async () => controlFrom(await this.one(CONTROL)), this.#control);
  }

  /** One row by the names of its columns; asked once more when it fell between two roles or recovery needed what it read. */
  async one(statement: Statement): Promise<Row> {
    return rowOf(statement, (await this.#askTwice(statement.text)).rows[0]);
  }

  /** For what is nice to know: a statement that the server refuses or gives up leaves it unknown. */
  async unlessRefused<T>(read: () => Promise<T>, otherwise: T): Promise<T> {
    try {
      return await read();
    } catch (error) {
      if (isConnectionLoss(error) || isPooler(error)) throw error;
      return otherwise;
    }
  }

  /** What the server did not understand or allow may be understood from now on. */
  forgetHindrance(): void {
    this.#hindrance = undefined;
  }

  #tick(): void {
    const { clock, deadlineMs } = this.#options;
    const now = clock.monotonicMs();
    if (this.#look !== undefined) {
      if (now - this.#look.sinceMs > deadlineMs) this.session.drop(new Refusal('timeout', `no answer within ${deadlineMs} ms`));
      return;
    }
    if (!this.session.ready && now < this.#nextAttemptMs) return;
    void this.#start(true);
  }

  #start(tells: boolean): Promise<Failure | undefined> {
    const done = this.#lookOnce(tells).finally(() => (this.#look = undefined));
    this.#look = { done, sinceMs: this.#options.clock.monotonicMs() };
    return done;
  }

  async #lookOnce(tells: boolean): Promise<Failure | undefined> {
    let failure: Failure | undefined;
    try {
      await this.#read();
    } catch (error) {
      if (isConnectionLoss(error) || isPooler(error)) this.session.drop();
      failure = failureOf(error, this.#target.reached);
    }
    if (this.#closed) return failure;
    this.#remember(failure);
    this.#notice(tells);
    return failure;
  }

  /** Over the connection there is; over a new one, at once, when that has gone. */
  async #read(): Promise<void> {
    const reused = this.session.ready;
    if (!reused) await this.#connect();
    try {
      await this.#readHot();
    } catch (error) {
      if (!reused || !isConnectionLoss(error) || error instanceof Refusal) throw error;
      await this.#connect();
      await this.#readHot();
    }
  }

  async #readHot(): Promise<void> {
    if (this.#hindrance === undefined) {
      try {
        const answer = await this.#askTwice(HOT);
        const [row] = answer.rows;
        if (row !== undefined) this.#note(hotFrom(row), answer);
        return;
      } catch (error) {
        if (!isNotUnderstood(error)) throw error;
        this.#hindrance = failureOf(error, this.#target.reached);
        this.#hot = undefined;
      }
    }
    await this.one(MINIMAL);
  }

  #note(hot: Hot, { sentMs, tookMs }: Answer): void {
    if (hot.backendPid !== this.#identity.backendPid)
      throw new Refusal(
        'pooler',
        `${this.#target.reached.address} is answered by one server process after another: there is a connection pooler in between. Connect to PostgreSQL itself, usually port 5432.`,
      );
    const before = this.#hot?.role;
    if (before !== undefined && before !== hot.role) {
      this.#promoted = hot.role === 'primary';
      this.#roleChanges++;
    }
    this.#hot = hot;
    const timeline = this.#timelineOf(hot);
    const { head, replayed, sender, senderAgoMs, role } = hot;
    this.track.add({ sentMs, tookMs, role, timeline, start: this.#identity.startedAt, head, replayed, sender, senderAgoMs });
  }

  #timelineOf({ role, timeline }: Hot): number | null {
    if (role === 'primary') return timeline;
    const furthest = Math.max(timeline ?? 0, this.#control.timeline ?? 0, this.#timelineFloor);
    this.#timelineFloor = furthest;
    return furthest === 0 ? null : furthest;
  }

  /** A connection of which not all is known that has to be is none. */
  async #connect(): Promise<void> {
    await this.session.connect();
    try {
      await this.#recognise();
    } catch (error) {
      this.session.drop();
      throw error;
    }
  }

  async #recognise(): Promise<void> {
    const row = await this.one(IDENTITY);
    const identity = identityFrom(row);
    if (row['read_only'] !== 'on' || row['statement_timeout'] !== '3s') {
      throw new Refusal(
        'pooler',
        `What this agent asks for when it connects to ${this.#target.reached.address} (time limits, nothing but reading) is kept from the server: there is a connection pooler in between. Connect to PostgreSQL itself, usually port 5432.`,
      );
    }
    this.#pooled =
      identity.backendPid === this.session.processId
        ? undefined
        : {
            reason: 'pooler',
            detail: `Something between this agent and PostgreSQL at ${this.#target.reached.address} answers for it, such as a connection pooler, and may connect it to another server at any time: connect to PostgreSQL itself, usually port 5432.`,
          };
    this.#hindrance = undefined;
    if (identity.startedAt !== this.#identity.startedAt) {
      this.#promoted = false;
      this.#timelineFloor = 0;
      this.#hot = undefined;
    }
    this.#identity = identity;
    const before = this.#control.systemIdentifier;
    this.#control = UNKNOWN_CONTROL;
    await this.readControl();
    const { systemIdentifier } = this.#control;
    if (before !== null && systemIdentifier !== null && before !== systemIdentifier) this.track.clear();
    this.#roleChanges++;
  }

  async #askTwice(text: string): Promise<Answer> {
    try {
      return await this.session.ask(text);
    } catch (error) {
      if (!isWorthRetrying(error)) throw error;
      return await this.session.ask(text);
    }
  }

  #remember(failure: Failure | undefined): void {
    const { log, random, clock } = this.#options;
    const instance = this.#target.name;
    if (failure?.reason !== this.#failure?.reason) {
      if (failure === undefined) log?.info({ instance }, 'PostgreSQL server answers again');
      else log?.warn({ instance, reason: failure.reason, detail: failure.detail }, 'PostgreSQL server cannot be looked at');
    }
    this.#failure = failure;
    this.#failures = failure === undefined ? 0 : this.#failures + 1;
    if (failure === undefined) return;
    this.#nextAttemptMs = clock.monotonicMs() + backoffMs(this.#failures, CHEAP.has(failure.reason) ? CHEAP_BACKOFF : BACKOFF, random);
  }

  /** Compares with what was seen before; what a collection saw is on its way already. */
  #notice(tells: boolean): void {
    const hot = this.#hot;
    const seen =
      this.#failure !== undefined
        ? 'down'
        : hot === undefined
          ? 'up'
          : `${hot.role} ${hot.role === 'primary' ? hot.timeline : this.#timelineFloor} ${hot.receiving} ${hot.pauseState}`;
    const changed = this.#noticed !== undefined && this.#noticed !== seen;
    this.#noticed = seen;
    if (changed && tells) this.#options.onChange?.();
  }
}
