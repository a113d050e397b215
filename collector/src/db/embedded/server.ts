/**
 * The collector's own PostgreSQL, from nothing to a server that is up: one collector a data directory, the
 * server started anew when it dies by itself, and never left behind by a stop. To the rest of the
 * collector it is a database like any other: when it is away, it is away.
 */
import { join } from 'node:path';
import { Client } from 'pg';
import { OperationalFailure, EXIT, backoffMs, codeOf, ensureDirectory, sentenceOf, type Log } from '@tidemark/service';
import { chooseAccount, thisMachine, type Account, type Machine } from './account.ts';
import { embeddedBinaries, materialiseBinaries, sharedCopies, type PackagedBinaries } from './binaries.ts';
import { clearFormerServer, giveTo, initialiseDataDirectory, inspectDataDirectory, setPasswordOffline } from './data-directory.ts';
import { lockDataDirectory } from './lock.ts';
import { describeExit, launchPostgres, type PostgresExit, type PostgresProcess } from './postgres-process.ts';
import { AGENT_ROLE, DATABASE_NAME, OWNER_ROLE, ensureRoles, passwordIn } from './roles.ts';
import { embeddedSettings } from './settings.ts';
import { SOCKET_PORT, prepareSocketDirectory } from './socket-directory.ts';

/** Recovery after a crash reads up to max_wal_size; a slow disk may take minutes. */
const READY_TIMEOUT_MS = 300_000;
const RESTART = { baseMs: 250, maxMs: 30_000 };
/** A server that was up this long has not failed at starting. */
const STEADY_MS = 60_000;
/** Processes of a killed server hold its memory for a moment; PostgreSQL refuses to start until they are gone. */
const LINGERING = /pre-existing shared memory block|lock file ".*" already exists|is the server already running/i;
const LINGERING_ATTEMPTS = 20;
const CONNECT_TIMEOUT_MS = 10_000;

export interface EmbeddedPostgresOptions {
  dataDir: string;
  log: Log;
  /** Server settings on top of the embedded ones. */
  settings?: Readonly<Record<string, string>>;
  /** $XDG_RUNTIME_DIR: a place for the socket when the data directory's path is too long. */
  runtimeDir?: string;
  machine?: Machine;
  /** Where binaries are copied to when this process is root; a place all can reach. */
  sharedCopies?: readonly string[];
  binaries?: PackagedBinaries;
  random?: () => number;
}

export interface EmbeddedPostgres {
  readonly connection: {
    readonly host: string;
    readonly port: number;
    readonly user: string;
    readonly database: string;
    readonly password: string;
  };
  /** For an agent on this machine: a role with pg_monitor and nothing else. */
  readonly agentAccess: { readonly url: string; readonly passwordFile: string };
  readonly binariesDir: string;
  readonly dataDirectory: string;
  /** The server's pid; undefined while it is being started anew. */
  readonly pid: number | undefined;
  /** Called when the server died by itself; it is being started anew. */
  onExit(listener: (exit: PostgresExit) => void): void;
  /** Stops the server and gives the data directory back. Takes at most 30 s. */
  stop(): Promise<void>;
}

/** Starts it. Throws an OperationalFailure with one sentence when it cannot be had here, and leaves nothing running then. */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  ensureDirectory(options.dataDir, "the collector's data");
  const unlock = lockDataDirectory(options.dataDir);
  try {
    return await startLocked(options, unlock);
  } catch (error) {
    unlock();
    throw error;
  }
}

async function startLocked(options: EmbeddedPostgresOptions, unlock: () => void): Promise<EmbeddedPostgres> {
  const { dataDir, log } = options;
  const machine = options.machine ?? thisMachine();
  const dataDirectory = join(dataDir, 'postgres');
  const packaged = options.binaries ?? embeddedBinaries(machine);
  const account = chooseAccount(machine, dataDirectory);
  const exists = inspectDataDirectory(dataDirectory, packaged.major);
  const binariesDir = await materialiseBinaries(packaged, {
    account,
    inPlace: account === undefined,
    copies:
      account === undefined
        ? [join(dataDir, `postgres-binaries-${packaged.version}`)]
        : (options.sharedCopies ?? sharedCopies(packaged.version)),
  });
  if (exists) {
    giveTo(account, dataDirectory);
    await clearFormerServer(dataDirectory, log);
  }
  const socketDir = await prepareSocketDirectory({ dataDir, machine, account, runtimeDir: options.runtimeDir });

  const agentDir = join(dataDir, 'agent');
  ensureDirectory(agentDir, "the agent's data");
  const agentPasswordFile = join(agentDir, 'postgres-password');
  const agentPassword = passwordIn(agentPasswordFile).password;
  const owner = passwordIn(join(dataDir, 'postgres-password'));
  const setOwnerPassword = (): Promise<void> =>
    setPasswordOffline(dataDirectory, { binariesDir, account, role: OWNER_ROLE, password: owner.password });
  if (!exists) {
    log.info({ dataDirectory, account: account?.name }, 'making the database');
    await initialiseDataDirectory(dataDirectory, {
      binariesDir,
      account,
      superuser: OWNER_ROLE,
      password: owner.password,
      passDir: socketDir,
      major: packaged.major,
    });
  } else if (owner.made) await setOwnerPassword();

  const server = new EmbeddedServer({
    binariesDir,
    dataDirectory,
    account,
    settings: { ...embeddedSettings(socketDir), ...options.settings },
    log,
    random: options.random ?? Math.random,
  });
  const connection = { host: socketDir, port: SOCKET_PORT, user: OWNER_ROLE, database: DATABASE_NAME, password: owner.password };
  await server.start();
  try {
    try {
      await prepareDatabase(connection, agentPassword);
    } catch (error) {
      if (codeOf(error) !== '28P01') throw error;
      log.warn('the database does not accept the password in its file; setting it anew');
      await server.halt();
      await setOwnerPassword();
      await server.start();
      await prepareDatabase(connection, agentPassword);
    }
  } catch (error) {
    await server.halt();
    throw error instanceof OperationalFailure
      ? error
      : new OperationalFailure(`The embedded PostgreSQL cannot be used: ${sentenceOf(error)}`, EXIT.databaseAway, { cause: error });
  }
  server.supervise();
  return {
    connection,
    agentAccess: {
      url: `postgresql://${AGENT_ROLE}@${encodeURIComponent(socketDir)}:${SOCKET_PORT}/${DATABASE_NAME}`,
      passwordFile: agentPasswordFile,
    },
    binariesDir,
    dataDirectory,
    get pid() {
      return server.pid;
    },
    onExit: (listener) => void server.listeners.push(listener),
    stop: async () => {
      await server.halt();
      unlock();
    },
  };
}

async function prepareDatabase(connection: EmbeddedPostgres['connection'], agentPassword: string): Promise<void> {
  const client = new Client({
    ...connection,
    database: 'postgres',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    application_name: 'tidemark-collector',
  });
  // A connection that breaks says so in its queries; the event alone must not end the process.
  client.on('error', () => {});
  await client.connect();
  try {
    await ensureRoles(client, agentPassword);
  } finally {
    await client.end().catch(() => {});
  }
}

interface EmbeddedServerOptions {
  binariesDir: string;
  dataDirectory: string;
  account: Account | undefined;
  settings: Readonly<Record<string, string>>;
  log: Log;
  random: () => number;
}

/** The server over its several runs. */
class EmbeddedServer {
  readonly listeners: ((exit: PostgresExit) => void)[] = [];
  readonly #options: EmbeddedServerOptions;
  #process: PostgresProcess | undefined;
  #halting = false;
  /** Gives up a start that is under way. */
  #abort = new AbortController();
  /** Ends the pause before the next try. */
  #wake: () => void = () => {};
  #supervision: Promise<void> = Promise.resolve();

  constructor(options: EmbeddedServerOptions) {
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Starts it and waits until it accepts connections. */
  async start(): Promise<void> {
    this.#halting = false;
    this.#abort = new AbortController();
    for (let attempt = 1; ; attempt++) {
      try {
        this.#process = await this.#launch();
        return;
      } catch (error) {
        if (!LINGERING.test(sentenceOf(error)) || attempt >= LINGERING_ATTEMPTS) {
          throw new OperationalFailure(`The embedded database does not start. ${sentenceOf(error)}`, EXIT.databaseAway, { cause: error });
        }
        await this.#pause(RESTART.baseMs);
      }
    }
  }

  /** From now on it is started anew whenever it dies by itself. */
  supervise(): void {
    this.#supervision = this.#watch();
  }

  /** Stops it; nothing of it runs when this resolves. */
  async halt(): Promise<void> {
    this.#halting = true;
    this.#abort.abort();
    this.#wake();
    await this.#process?.stop('fast');
    await this.#supervision;
    this.#process = undefined;
  }

  async #watch(): Promise<void> {
    const { log, random, dataDirectory } = this.#options;
    let failures = 0;
    while (this.#process !== undefined) {
      const startedMs = performance.now();
      const exit = await this.#process.exited;
      this.#process = undefined;
      if (this.#halting) return;
      log.error({ exit: describeExit(exit), detail: exit.detail }, 'the database server died; starting it anew');
      for (const listener of this.listeners) listener(exit);
      if (performance.now() - startedMs > STEADY_MS) failures = 0;
      while (this.#process === undefined) {
        await this.#pause(backoffMs(++failures, RESTART, random));
        if (this.#halting) return;
        try {
          await clearFormerServer(dataDirectory, log);
          this.#process = await this.#launch();
          log.info({ pid: this.#process.pid }, 'the database server is up again');
        } catch (error) {
          if (this.#halting) return;
          log.error({ detail: sentenceOf(error) }, 'the database server does not start; trying again');
        }
      }
      if (this.#halting) await this.#process.stop('fast');
    }
  }

  #launch(): Promise<PostgresProcess> {
    const { binariesDir, dataDirectory, account, settings, log } = this.#options;
    return launchPostgres({
      binariesDir,
      dataDirectory,
      account,
      settings,
      readyTimeoutMs: READY_TIMEOUT_MS,
      abort: this.#abort.signal,
      onLine: (line) => logLine(log, line),
    });
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** What the server writes, at our levels: what it does by itself is detail, what it complains of is a warning. */
function logLine(log: Log, line: string): void {
  if (
    /^(?:LOG|FATAL:\s+terminating connection due to administrator command|DEBUG\d?|INFO|NOTICE|HINT|DETAIL|CONTEXT|STATEMENT|\s)/.test(line)
  )
    log.debug({ line }, 'postgres');
  else log.warn({ line }, 'postgres');
}
