/** Sessions that a scenario keeps open on its servers: a long read, a lock, somebody who waits for one, all connections taken. */
import { Client } from 'pg';
import { waitUntil, type PostgresInstance } from '../../postgres/cluster.ts';

export class Sessions {
  readonly #open = new Map<string, { client: Client; pending: Promise<unknown> }>();
  readonly #crowd = new Map<string, Client[]>();

  async open(name: string, instance: PostgresInstance, user = 'postgres'): Promise<void> {
    if (this.#open.has(name)) throw new Error(`There is a session ${name} already`);
    const client = clientOf(instance, name, user);
    await client.connect();
    this.#open.set(name, { client, pending: Promise.resolve() });
  }

  /** Waits for the answer. */
  async run(name: string, sql: string): Promise<void> {
    await this.#session(name).client.query(sql);
  }

  /** Does not wait: it may hang on a lock or on a standby, and that is the point. */
  send(name: string, sql: string): void {
    const session = this.#session(name);
    session.pending = session.client.query(sql).catch(() => {});
  }

  async close(name: string): Promise<void> {
    const { client } = this.#session(name);
    this.#open.delete(name);
    await endOf(client);
  }

  /** Takes every connection that a role without privileges can have. */
  async crowd(server: string, instance: PostgresInstance): Promise<void> {
    const clients: Client[] = [];
    this.#crowd.set(server, clients);
    const admin = clientOf(instance, 'crowd', 'postgres');
    await admin.connect();
    await admin.query('DO $$ BEGIN CREATE ROLE crowd LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$');
    await admin.end();
    await waitUntil(
      async () => {
        const client = clientOf(instance, 'crowd', 'crowd');
        try {
          await client.connect();
        } catch (error) {
          if (/remaining connection slots|too many clients/.test(String(error))) return true;
          throw error;
        }
        clients.push(client);
        return false;
      },
      { what: `all connections of ${server} to be taken` },
    );
  }

  async disperse(server: string): Promise<void> {
    await Promise.all((this.#crowd.get(server) ?? []).map(endOf));
    this.#crowd.delete(server);
  }

  async closeAll(): Promise<void> {
    await Promise.all([
      ...[...this.#open.keys()].map((name) => this.close(name)),
      ...[...this.#crowd.keys()].map((server) => this.disperse(server)),
    ]);
  }

  #session(name: string): { client: Client; pending: Promise<unknown> } {
    const session = this.#open.get(name);
    if (session === undefined) throw new Error(`There is no session ${name}: "open session ${name} on …" comes first`);
    return session;
  }
}

/** A statement of it may hang: the connection is cut then, and the server ends it. */
async function endOf(client: Client): Promise<void> {
  const socket = (client as unknown as { connection?: { stream?: { destroy(): void } } }).connection?.stream;
  const timer = setTimeout(() => socket?.destroy(), 500);
  await client.end().catch(() => {});
  clearTimeout(timer);
}

function clientOf(instance: PostgresInstance, name: string, user: string): Client {
  const client = new Client({
    host: instance.socketDir,
    port: instance.port,
    user,
    database: 'postgres',
    connectionTimeoutMillis: 20_000,
    application_name: name,
  });
  client.on('error', () => {});
  return client;
}
