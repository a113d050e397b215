/**
 * The one door to the database: a bounded pool, a state that the rest can ask ("up", since when, why
 * not), and one error for every way in which a database can be away. Only stores speak SQL.
 */
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import pg from 'pg';
import { ProblemError } from '@tidemark/protocol';
import { codeOf, sentenceOf, type Clock, type Log } from '@tidemark/service';

export interface DatabaseState {
  up: boolean;
  /** Wall milliseconds since 1970 at which it became so. */
  since: number;
  /** Why it is away, for people; empty while it is up. */
  detail: string;
}

/** How to reach it: a URL of the user's own, or the embedded server's socket. */
export type DatabaseAddress =
  | { readonly url: string }
  | { readonly host: string; readonly port: number; readonly user: string; readonly password: string; readonly database: string };

export interface DatabaseOptions {
  address: DatabaseAddress;
  connectionsMax?: number;
  /** Bound of one statement in milliseconds; the client gives up a second later. */
  statementTimeoutMs?: number;
  clock: Clock;
  log: Log;
}

const CONNECT_TIMEOUT_MS = 5_000;
const STATEMENT_TIMEOUT_MS = 30_000;
const PROBE_INTERVAL_MS = 1_000;

/** PostgreSQL's own codes for "not now": shutting down, starting, too many connections, the 08 connection class, and the system's errors of sockets and names. */
function meansAway(error: unknown): boolean {
  const code = codeOf(error);
  if (code === undefined) return error instanceof Error && /connection|timeout|client was closed|pool/i.test(error.message);
  return /^(57P0[1-3]|53300|08...|25006)$/.test(code) || /^E(?!RR_)[A-Z_]+$/.test(code);
}

export class Database {
  readonly pool: pg.Pool;
  readonly orm: NodePgDatabase;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #listeners: ((state: DatabaseState) => void)[] = [];
  #state: DatabaseState;
  #probe: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: DatabaseOptions) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#state = { up: true, since: options.clock.wallMs(), detail: '' };
    const statementTimeoutMs = options.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS;
    const { address } = options;
    this.pool = new pg.Pool({
      ...('url' in address ? { connectionString: address.url } : address),
      max: options.connectionsMax ?? 8,
      application_name: 'tidemark-collector',
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      statement_timeout: statementTimeoutMs,
      query_timeout: statementTimeoutMs + 1_000,
      idle_in_transaction_session_timeout: 60_000,
      idleTimeoutMillis: 60_000,
      keepAlive: true,
    });
    // An idle connection that breaks is how a dying database is noticed first.
    this.pool.on('error', (error) => this.#seenAway(error));
    this.orm = drizzle({ client: this.pool });
  }

  get state(): DatabaseState {
    return this.#state;
  }

  /** Called at each change between up and away. */
  onStateChange(listener: (state: DatabaseState) => void): void {
    this.#listeners.push(listener);
  }

  /** Rows of one statement. Throws ProblemError `database_away` when the database cannot be reached. `name` makes it a prepared statement. */
  async query<Row extends pg.QueryResultRow>(text: string, values: readonly unknown[] = [], name?: string): Promise<Row[]> {
    return this.attempt(async () => {
      const result = await this.pool.query<Row>({ text, values: [...values], ...(name === undefined ? {} : { name }) });
      return result.rows;
    });
  }

  /** Runs `work` in one transaction on one connection. */
  async transaction<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    return this.attempt(async () => {
      const client = await this.pool.connect();
      let broken: Error | undefined;
      const onError = (error: Error): void => void (broken = error);
      client.on('error', onError);
      try {
        await client.query('BEGIN');
        const result = await work(client);
        await client.query('COMMIT');
        return result;
      } catch (error) {
        await client.query('ROLLBACK').catch((cause: Error) => (broken = cause));
        throw error;
      } finally {
        client.off('error', onError);
        client.release(broken);
      }
    });
  }

  /** Runs anything that uses the pool or Drizzle, turning "away" into its one error and keeping the state true. */
  async attempt<T>(work: () => Promise<T>): Promise<T> {
    try {
      const result = await work();
      if (!this.#state.up) this.#become(true, '');
      return result;
    } catch (error) {
      const cause = error instanceof Error && error.cause !== undefined && codeOf(error) === undefined ? error.cause : error;
      if (!meansAway(cause)) throw error;
      this.#seenAway(cause);
      throw new ProblemError('database_away', `The database cannot be reached: ${sentenceOf(cause)}.`, { cause, retryAfterSeconds: 5 });
    }
  }

  /** Waits for `work` so long and no longer: a database that hangs is away as well. What was asked of it may still happen afterwards. */
  async within<T>(timeoutMs: number, work: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const hangs = new Error(`it has not answered for ${timeoutMs / 1000} s`);
        this.#seenAway(hangs);
        reject(new ProblemError('database_away', `The database hangs: ${hangs.message}.`, { cause: hangs, retryAfterSeconds: 5 }));
      }, timeoutMs);
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#probe);
    await this.pool.end();
  }

  #seenAway(error: unknown): void {
    if (this.#closed) return;
    if (this.#state.up) this.#become(false, sentenceOf(error) || (codeOf(error) ?? 'unknown reason'));
    this.#probe ??= setTimeout(() => {
      this.#probe = undefined;
      void this.query('SELECT 1').catch(() => {});
    }, PROBE_INTERVAL_MS).unref();
  }

  #become(up: boolean, detail: string): void {
    this.#state = { up, since: this.#clock.wallMs(), detail };
    if (up) this.#log.info('database is back');
    else this.#log.warn({ detail }, 'database is away; reports are judged, agents keep them');
    for (const listener of this.#listeners) listener(this.#state);
  }
}
