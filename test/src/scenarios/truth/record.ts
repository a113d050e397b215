/**
 * What really happens, measured beside everything that is judged: on each server that is written to a heartbeat, its commit
 * between two readings of one steady clock, and on each server, every 50 ms, which heartbeats can be seen and how far it is.
 * Every reading is an interval that the truth lies in, never a guess.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { Client } from 'pg';
import { parseLsn } from '@tidemark/protocol';
import type { PostgresInstance } from '../../postgres/cluster.ts';

const BEAT_EVERY_MS = 80;
const LOOK_EVERY_MS = 50;
const AGAIN_AFTER_MS = 150;
const QUERY_TIMEOUT_MS = 3_000;

/** One heartbeat: it was committed after `before` and, when its commit came back, before `after`. Steady milliseconds. */
export interface Beat {
  readonly id: number;
  readonly before: number;
  /** Infinity: whether it was committed is not known. */
  readonly after: number;
}

/** What one server showed at some moment between `sent` and `received`. */
export interface Sight {
  readonly sent: number;
  readonly received: number;
  /** Replayed by a replica, flushed by a primary. */
  readonly lsn: bigint | undefined;
  /** The newest heartbeat of each writer; 0 for none. */
  readonly newest: ReadonlyMap<string, number>;
}

const CREATE = 'CREATE TABLE heartbeat (writer text, id bigint, PRIMARY KEY (writer, id)) WITH (autovacuum_enabled = off)';
const LOOK = `SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END)::text AS lsn,
  array(SELECT coalesce((SELECT max(id) FROM heartbeat WHERE writer = w), 0)::int FROM unnest($1::text[]) w) AS newest`;

export class TruthRecorder {
  readonly beats = new Map<string, Beat[]>();
  readonly sights = new Map<string, Sight[]>();
  readonly #random: () => number;
  readonly #loops: Promise<void>[] = [];
  readonly #beating = new Map<string, { stop: boolean; done: Promise<void> }>();
  #stopping = false;

  constructor(random: () => number) {
    this.#random = random;
  }

  /** Makes the table on the first primary, before it has standbys. */
  static async prepare(primary: PostgresInstance): Promise<void> {
    const client = await connect(primary);
    try {
      await client.query(CREATE);
    } finally {
      await client.end();
    }
  }

  /** Looks at a server from now on, through restarts and failures. */
  watch(server: string, instance: PostgresInstance): void {
    this.sights.set(server, []);
    this.#loops.push(this.#look(instance, this.sights.get(server)!));
  }

  /** Heartbeats on this server from now on. */
  beat(server: string, instance: PostgresInstance): void {
    if (this.#beating.has(server)) return;
    const state = { stop: false, done: Promise.resolve() };
    const beats = this.beats.get(server) ?? [];
    this.beats.set(server, beats);
    state.done = this.#beat(server, instance, beats, state);
    this.#beating.set(server, state);
  }

  /** Resolves when the last heartbeat is in. */
  async rest(server: string): Promise<void> {
    const state = this.#beating.get(server);
    if (state === undefined) return;
    state.stop = true;
    this.#beating.delete(server);
    await state.done;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all([...[...this.#beating.keys()].map((server) => this.rest(server)), ...this.#loops]);
  }

  async #beat(server: string, instance: PostgresInstance, beats: Beat[], state: { stop: boolean }): Promise<void> {
    await this.#persist(
      instance,
      () => state.stop,
      async (client) => {
        await client.query('SET synchronous_commit = local');
        while (!state.stop && !this.#stopping) {
          const id = (beats.at(-1)?.id ?? 0) + 1;
          const before = performance.now();
          const beat = { id, before, after: Number.POSITIVE_INFINITY };
          beats.push(beat);
          await client.query({ name: 'beat', text: 'INSERT INTO heartbeat VALUES ($1, $2)', values: [server, id] });
          beat.after = performance.now();
          // Never in step with anybody who looks.
          await pause(BEAT_EVERY_MS * (0.5 + this.#random()));
        }
      },
    );
  }

  async #look(instance: PostgresInstance, sights: Sight[]): Promise<void> {
    await this.#persist(
      instance,
      () => false,
      async (client) => {
        while (!this.#stopping) {
          const writers = [...this.beats.keys()];
          const sent = performance.now();
          const { rows } = await client.query<{ lsn: string | null; newest: number[] }>({ name: 'look', text: LOOK, values: [writers] });
          const received = performance.now();
          const [row] = rows;
          sights.push({
            sent,
            received,
            lsn: parseLsn(row?.lsn),
            newest: new Map(writers.map((writer, index) => [writer, row?.newest[index] ?? 0])),
          });
          await pause(Math.max(5, sent + LOOK_EVERY_MS - performance.now()));
        }
      },
    );
  }

  /** Does it on a connection, and again on a new one when that breaks. */
  async #persist(instance: PostgresInstance, isOver: () => boolean, work: (client: Client) => Promise<void>): Promise<void> {
    while (!this.#stopping && !isOver()) {
      let client: Client | undefined;
      try {
        client = await connect(instance);
        await work(client);
      } catch {
        // It is down, starting, in conflict with recovery or frozen: there is nothing to see meanwhile.
        await pause(AGAIN_AFTER_MS);
      } finally {
        await client?.end().catch(() => {});
      }
    }
  }
}

async function connect(instance: PostgresInstance): Promise<Client> {
  const client = new Client({
    host: instance.socketDir,
    port: instance.port,
    user: 'postgres',
    database: 'postgres',
    connectionTimeoutMillis: QUERY_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    application_name: 'truth',
  });
  client.on('error', () => {});
  try {
    await client.connect();
  } catch (error) {
    void client.end().catch(() => {});
    throw error;
  }
  return client;
}
