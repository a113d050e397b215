/**
 * One connection to one PostgreSQL server, kept as long as it holds. One statement is on its way at a time,
 * each in a transaction of its own, so that nothing ever holds back a horizon on the server it watches.
 */
import { Client } from 'pg';
import type { Statement } from './queries.ts';
import type { Target } from './target.ts';

/** Every value as PostgreSQL writes it. */
export type Row = Readonly<Record<string, string | null>>;

/** What a graceful goodbye may take before the socket is cut. */
const GOODBYE_MS = 500;

export class Session {
  readonly #target: Target;
  #client: Client | undefined;

  constructor(target: Target) {
    this.#target = target;
  }

  get connected(): boolean {
    return this.#client !== undefined;
  }

  /** Opens the connection anew. Has no bound of its own: whoever waits calls `drop`, and it rejects. */
  async connect(): Promise<void> {
    this.drop();
    const client = new Client(this.#target.clientConfig());
    // Also after it is given up: an error event that nobody hears would end the process.
    client.on('error', () => this.#forget(client));
    client.on('end', () => this.#forget(client));
    this.#client = client;
    try {
      await client.connect();
    } catch (error) {
      if (this.#client === client) this.drop();
      throw error;
    }
  }

  async query(statement: Statement): Promise<Row[]> {
    if (this.#client === undefined) throw new Error('Connection terminated');
    const { rows } = await this.#client.query<Row>(statement);
    return rows;
  }

  /** Cuts the connection at once, whatever is under way on it. */
  drop(): void {
    const client = this.#client;
    this.#client = undefined;
    client?.connection.stream.destroy();
  }

  /** Says goodbye, so that the server does not log a lost client; cuts the connection when that takes too long. */
  async close(): Promise<void> {
    const client = this.#client;
    if (client === undefined) return;
    this.#client = undefined;
    const cut = setTimeout(() => client.connection.stream.destroy(), GOODBYE_MS);
    try {
      await client.end();
    } finally {
      clearTimeout(cut);
    }
  }

  #forget(client: Client): void {
    if (this.#client !== client) return;
    this.#client = undefined;
    client.connection.stream.destroy();
  }
}
