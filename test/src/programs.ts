/** The real programs as tests and the bench run them: started by their command lines on ports the system gives, stopped by their own pid. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';

const root = fileURLToPath(new URL('../../', import.meta.url));
const COLLECTOR = join(root, 'collector/dist/main.js');
const AGENT = join(root, 'installers/dist/tidemark-agent.cjs');
const AGENT_FLAGS = join(root, 'installers/dist/tidemark-agent.flags.json');
const START_TIMEOUT_MS = 60_000;

/** What the collector tells the process that started it, once it listens. */
export interface ReadyMessage {
  kind: 'ready';
  url: string;
  dataDir: string;
  adminTokenFile: string;
  agentPostgres?: { url: string; passwordFile: string };
}

export interface Program {
  readonly pid: number;
  /** Everything it wrote to standard error so far. */
  readonly output: () => string;
  /** Resolves with the exit code, or the signal's name. */
  readonly exited: Promise<number | string>;
  kill(signal: NodeJS.Signals): void;
  /** SIGTERM, and waits. */
  stop(): Promise<void>;
}

function follow(child: ChildProcess): Program {
  let output = '';
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (output = (output + chunk).slice(-200_000)));
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => (output = (output + chunk).slice(-200_000)));
  const exited = new Promise<number | string>((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal ?? 'unknown')));
  return {
    pid: child.pid!,
    output: () => output,
    exited,
    kill: (signal) => void child.kill(signal),
    stop: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
      await exited;
    },
  };
}

export interface RunningCollector extends Program {
  readonly url: string;
  readonly ready: ReadyMessage;
  readonly adminToken: string;
  /** JSON of an API request with the admin token; throws with the problem document when it is refused. */
  api<T>(method: string, path: string, body?: unknown): Promise<T>;
  text(path: string): Promise<string>;
  /** A statement in the embedded database, as its owner. */
  sql<Row extends pg.QueryResultRow>(statement: string, values?: unknown[]): Promise<Row[]>;
}

export interface CollectorOptions {
  dataDir: string;
  listen?: string;
  arguments?: readonly string[];
  environment?: Record<string, string>;
}

/** Starts a collector and waits until it says that it is ready; fails with what it printed when it does not. */
export async function startCollector(options: CollectorOptions): Promise<RunningCollector> {
  const child = spawn(
    process.execPath,
    [COLLECTOR, 'run', '--data-dir', options.dataDir, '--listen', options.listen ?? '127.0.0.1:0', ...(options.arguments ?? [])],
    { stdio: ['ignore', 'pipe', 'pipe', 'ipc'], env: { ...process.env, ...options.environment } },
  );
  const program = follow(child);
  const ready = await new Promise<ReadyMessage>((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`the collector was not ready in time:\n${program.output()}`));
    }, START_TIMEOUT_MS);
    child.on('message', (message) => {
      clearTimeout(timer);
      resolve(message as ReadyMessage);
    });
    void program.exited.then((code) => {
      clearTimeout(timer);
      reject(new Error(`the collector left with ${code}:\n${program.output()}`));
    });
  });
  const adminToken = readFileSync(ready.adminTokenFile, 'utf8').trim();
  const ask = async (method: string, path: string, body?: unknown): Promise<Response> => {
    const response = await fetch(`${ready.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${adminToken}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return response;
  };
  return {
    ...program,
    url: ready.url,
    ready,
    adminToken,
    api: async (method, path, body) => {
      const response = await ask(method, path, body);
      return (response.status === 204 ? undefined : await response.json()) as never;
    },
    text: async (path) => (await ask('GET', path)).text(),
    sql: async (statement, values = []) => {
      const client = new pg.Client(ownerConnection(ready));
      await client.connect();
      try {
        return (await client.query(statement, values)).rows as never;
      } finally {
        await client.end();
      }
    },
  };
}

function ownerConnection(ready: ReadyMessage): pg.ClientConfig {
  if (ready.agentPostgres === undefined) throw new Error('this collector has no embedded database');
  const { hostname, port } = new URL(ready.agentPostgres.url);
  return {
    host: decodeURIComponent(hostname),
    port: Number(port || 5432),
    user: 'tidemark',
    database: 'tidemark',
    password: readFileSync(join(ready.dataDir, 'postgres-password'), 'utf8').trim(),
  };
}

export interface AgentOptions {
  collectorUrl: string;
  token: string;
  hostname: string;
  /** Holds configuration, token and spool. */
  directory: string;
  intervalSeconds: number;
  postgres?: readonly { url: string; name?: string; passwordFile?: string }[];
  http?: readonly { url: string; name?: string }[];
  site?: string;
  /** Further lines of its configuration file. */
  more?: Record<string, unknown>;
  environment?: Record<string, string>;
}

/** Starts an agent: the bundle, with the flags it ships with. */
export function startAgent(options: AgentOptions): Program {
  mkdirSync(options.directory, { recursive: true });
  const tokenFile = join(options.directory, 'token');
  writeFileSync(tokenFile, options.token, { mode: 0o600 });
  const config = {
    server: options.collectorUrl,
    hostname: options.hostname,
    interval: options.intervalSeconds,
    tokenFile,
    dataDir: join(options.directory, 'data'),
    postgres: options.postgres ?? [],
    ...(options.http === undefined ? {} : { http: options.http }),
    ...(options.site === undefined ? {} : { site: options.site }),
    ...options.more,
  };
  const file = join(options.directory, 'agent.yaml');
  // YAML is a superset of JSON.
  writeFileSync(file, JSON.stringify(config, undefined, 1), { mode: 0o600 });
  const flags = JSON.parse(readFileSync(AGENT_FLAGS, 'utf8')) as string[];
  return follow(
    spawn(process.execPath, [...flags, AGENT, 'run', '--config', file], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, UV_THREADPOOL_SIZE: '16', ...options.environment },
    }),
  );
}

/** How a command that ends by itself ended. */
export interface Outcome {
  code: number | string;
  stdout: string;
  stderr: string;
}

/** Runs a command of the collector or of the agent to its end; one that does not end within the time is killed. */
export async function runToEnd(
  program: 'collector' | 'agent',
  args: readonly string[],
  environment: Record<string, string> = {},
): Promise<Outcome> {
  const child = spawn(process.execPath, [program === 'collector' ? COLLECTOR : AGENT, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...environment },
  });
  const outcome: Outcome = { code: 'unknown', stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (outcome.stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (outcome.stderr += chunk));
  const timer = setTimeout(() => child.kill('SIGKILL'), START_TIMEOUT_MS);
  outcome.code = await new Promise((resolve) => child.once('close', (code, signal) => resolve(code ?? signal ?? 'unknown')));
  clearTimeout(timer);
  return outcome;
}
