/** What writes to a server besides the heartbeats: WAL at a rate or all at once, without tables that grow. */
import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { Client } from 'pg';
import type { PostgresInstance } from '../../postgres/cluster.ts';

const PIECES_A_SECOND = 10;
const BURST_PIECE_BYTES = 1024 * 1024;

export class Load {
  readonly #writing = new Map<string, { stop: boolean; done: Promise<void> }>();

  /** Writes so many bytes of WAL a second until it is stopped; what fails because the server went away is tried again. */
  start(name: string, instance: PostgresInstance, bytesPerSecond: number): void {
    const state = { stop: false, done: Promise.resolve() };
    this.#writing.set(name, state);
    state.done = this.#write(instance, Math.round(bytesPerSecond / PIECES_A_SECOND), state);
  }

  async stop(name: string): Promise<void> {
    const state = this.#writing.get(name);
    if (state === undefined) return;
    state.stop = true;
    this.#writing.delete(name);
    await state.done;
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.#writing.keys()].map((name) => this.stop(name)));
  }

  /** Writes so many bytes of WAL as fast as it goes. */
  async burst(instance: PostgresInstance, bytes: number): Promise<void> {
    const client = clientOf(instance);
    await client.connect();
    try {
      for (let left = bytes; left > 0; left -= BURST_PIECE_BYTES) await emit(client, Math.min(left, BURST_PIECE_BYTES));
    } finally {
      await client.end();
    }
  }

  async #write(instance: PostgresInstance, pieceBytes: number, state: { stop: boolean }): Promise<void> {
    while (!state.stop) {
      const client = clientOf(instance);
      try {
        await client.connect();
        while (!state.stop) {
          const from = performance.now();
          await emit(client, pieceBytes);
          await pause(Math.max(5, from + 1000 / PIECES_A_SECOND - performance.now()));
        }
      } catch {
        // The server went away, or is not there yet.
        await pause(200);
      } finally {
        await client.end().catch(() => {});
      }
    }
  }
}

/** One committed transaction with so much WAL; what is random does not get smaller by compression on the way. */
async function emit(client: Client, bytes: number): Promise<void> {
  const text = randomBytes(Math.max(1, Math.ceil(bytes / 2))).toString('hex');
  await client.query({ name: 'emit', text: "SELECT pg_logical_emit_message(true, 'load', $1)", values: [text] });
}

function clientOf(instance: PostgresInstance): Client {
  const client = new Client({
    host: instance.socketDir,
    port: instance.port,
    user: 'postgres',
    database: 'postgres',
    connectionTimeoutMillis: 20_000,
    query_timeout: 30_000,
    application_name: 'load',
    // The load must not hang on a synchronous standby that is missing: the scenario has writers of its own for that.
    options: '-c synchronous_commit=local',
  });
  client.on('error', () => {});
  return client;
}
