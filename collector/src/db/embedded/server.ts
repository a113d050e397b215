/**
 * The collector's own PostgreSQL, from nothing to a server that is up: one collector a data directory, the
 * server started anew when it dies by itself, and never left behind by a stop. To the rest of the
 * collector it is a database like any other: when it is away, it is away.
 */
import { join, resolve } from 'node:path';
import { Client } from 'pg';
import { OperationalFailure, EXIT, backoffMs, codeOf, ensureDirectory, sentenceOf, type Log } from '@tidemark/service';
import { chooseAccount, thisMachine, type Account, type Machine } from './account.ts';
import { embeddedBinaries, materialiseBinaries, sharedCopies, type PackagedBinaries } from './binaries.ts';
import { clearFormerServer, giveTo, initialiseDataDirectory, inspectDataDirectory, setPasswordOffline } from './data-directory.ts';
import { lockDataDirectory } from './lock.ts';
import { describeExit, launchPostgres, type PostgresExit, type PostgresProcess } from './postgres-process.ts';
import { AGENT_ROLE, DATABASE_NAME, OWNER_ROLE, ensureRoles, passwordIn } from './roles.ts';
import { embeddedSettings } from './settings.ts';
import { SOCKET_PORT, prepareSocketDirectory, removeSocketDirectory } from './socket-directory.ts';

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
export async function startEmbeddedPostgres(given: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  // The server is started in its own directory, where a relative path would mean another place.
  const options = { ...given, dataDir: resolve(given.dataDir) };
  ensureDirectory(options.dataDir, "the collector's data");
  const undo = [lockDataDirectory(options.dataDir)];
  const giveBack = (): void => {
    for (const step of undo.splice(0).toReversed()) step();
  };
  try {
    const place = await preparePlace(options);
    undo.push(() => removeSocketDirectory(place.socketDir));
    const server = await startServer(options, place);
    return describe(server, place, async () => {
      await server.halt();
      giveBack();
    });
  } catch (error) {
    giveBack();
    throw error;
  }
}

/** All that has to be there before a server can run. */
interface Place {
  account: Account | undefined;
  binariesDir: string;
  dataDirectory: string;
  socketDir: string;
  ownerPassword: string;
  agentPassword: string;
  agentPasswordFile: string;
}

async function preparePlace(options: EmbeddedPostgresOptions): Promise<Place> {
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
  const owner = passwordIn(join(dataDir, 'postgres-password'));
  const place: Place = {
    account,
    binariesDir,
    dataDirectory,
    socketDir,
    ownerPassword: owner.password,
    agentPassword: passwordIn(agentPasswordFile).password,
    agentPasswordFile,
  };
  if (!exists) {
    log.info({ dataDirectory, account: account?.name }, 'making the database');
    const { major } = packaged;
    await initialiseDataDirectory(dataDirectory, {
      binariesDir,
      account,
      superuser: OWNER_ROLE,
      password: owner.password,
      passDir: socketDir,
      major,
    });
  } else if (owner.made) {
    log.warn('the file with the database password was missing; setting a new one');
    await setOwnerPassword(place);
  }
  return place;
}

function setOwnerPassword({ dataDirectory, binariesDir, account, ownerPassword }: Place): Promise<void> {
  return setPasswordOffline(dataDirectory, { binariesDir, account, role: OWNER_ROLE, password: ownerPassword });
}

/** Starts the server, makes sure of its roles, and leaves it supervised. */
async function startServer(options: EmbeddedPostgresOptions, place: Place): Promise<EmbeddedServer> {
  const { log } = options;
  const server = new EmbeddedServer({
    binariesDir: place.binariesDir,
    dataDirectory: place.dataDirectory,
    account: place.account,
    settings: { ...embeddedSettings(place.socketDir), ...options.settings },
    log,
    random: options.random ?? Math.random,
  });
  await server.start();
  try {
    try {
      await prepareDatabase(place);
    } catch (error) {
      if (codeOf(error) !== '28P01') throw error;
      log.warn('the database does not accept the password in its file; setting it anew');
      await server.halt();
      await setOwnerPassword(place);
      await server.start();
      await prepareDatabase(place);
    }
  } catch (error) {
    await server.halt();
    if (error instanceof OperationalFailure) throw error;
    throw new OperationalFailure(`The embedded PostgreSQL cannot be used: ${sentenceOf(error)}`, EXIT.databaseAway, { cause: error });
  }
  server.supervise();
  return server;
}

function connectionOf({ socketDir, ownerPassword }: Place): EmbeddedPostgres['connection'] {
  return { host: socketDir, port: SOCKET_PORT, user: OWNER_ROLE, database: DATABASE_NAME, password: ownerPassword };
}

function describe(server: EmbeddedServer, place: Place, stop: () => Promise<void>): EmbeddedPostgres {
  return {
    connection: connectionOf(place),
    agentAccess: {
      url: `postgresql://${AGENT_ROLE}@${encodeURIComponent(place.socketDir)}:${SOCKET_PORT}/${DATABASE_NAME}`,
      passwordFile: place.agentPasswordFile,
    },
    binariesDir: place.binariesDir,
    dataDirectory: place.dataDirectory,
    get pid() {
      return server.pid;
    },
    onExit: (listener) => void server.listeners.push(listener),
    stop,
  };
}

async function prepareDatabase(place: Place): Promise<void> {
  const client = new Client({
    ...connectionOf(place),
    database: 'postgres',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    application_name: 'tidemark-collector',
  });
  // A connection that breaks says so in its queries; the event alone must not end the process.
  client.on('error', () => {});
  await client.connect();
  try {
    await ensureRoles(client, place.agentPassword);
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
    return new Promise((wake) => {
      const timer = setTimeout(wake, ms);
      this.#wake = () => {
        clearTimeout(timer);
        wake();
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
