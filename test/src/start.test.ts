/** `npm start` as a person runs it: up and on the page, stopped by Ctrl-C, and put right after every kind of kill. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { get as getOverTls } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { Overview } from '@tidemark/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { waitUntil } from './postgres/cluster.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const START_TIMEOUT_MS = 60_000;

let dataDir: string;
const started: Started[] = [];
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'tidemark-start-'));
});
afterEach(async () => {
  for (const one of started) one.signal('SIGTERM');
  for (const one of started.splice(0)) await one.gone();
  rmSync(dataDir, { recursive: true, force: true });
});

interface Started {
  readonly npm: ChildProcess;
  readonly output: () => string;
  /** The console's address, once it was printed. */
  readonly url: Promise<string>;
  readonly exited: Promise<number | string>;
  /** As a terminal does: to npm and all that it runs in its own session. */
  signal(signal: NodeJS.Signals): void;
  /** Resolves when no process that uses this data directory is left. */
  gone(): Promise<void>;
}

function npmStart(more: Record<string, string> = {}): Started {
  const { PATH = '', HOME = '' } = process.env;
  const npm = spawn('npm', ['start', '--silent'], {
    cwd: root,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH, HOME, TIDEMARK_DATA_DIR: dataDir, TIDEMARK_LISTEN: '127.0.0.1:0', TIDEMARK_INTERVAL: '1', ...more },
  });
  let output = '';
  const exited = new Promise<number | string>((resolve) => npm.once('exit', (code, signal) => resolve(signal ?? code ?? 'unknown')));
  const url = new Promise<string>((resolve, reject) => {
    const take = (chunk: Buffer): void => {
      output += chunk.toString();
      const found = /Console\s+(http\S+)/.exec(output)?.[1];
      if (found !== undefined) resolve(found);
    };
    npm.stdout.on('data', take);
    npm.stderr.on('data', take);
    void exited.then((how) => reject(new Error(`npm start left with ${how}:\n${output}`)));
  });
  url.catch(() => {});
  const one: Started = {
    npm,
    output: () => output,
    url,
    exited,
    signal: (signal) => {
      try {
        process.kill(-npm.pid!, signal);
      } catch {
        // All of them have gone.
      }
    },
    gone: async () => {
      await waitUntil(() => processesOf(dataDir).length === 0, { what: 'all processes to be gone', timeoutMs: START_TIMEOUT_MS });
    },
  };
  started.push(one);
  return one;
}

/** Processes that name the data directory in their arguments or environment, or work in it. */
function processesOf(directory: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter(
      (pid) => ['cmdline', 'environ'].some((file) => readOrEmpty(`/proc/${pid}/${file}`).includes(directory)) || worksIn(pid, directory),
    )
    .map(Number);
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function worksIn(pid: string, directory: string): boolean {
  try {
    return statSync(`/proc/${pid}/cwd`).ino === statSync(join(directory, 'postgres')).ino;
  } catch {
    return false;
  }
}

async function overview(url: string): Promise<Overview> {
  const token = readFileSync(join(dataDir, 'admin-token'), 'utf8').trim();
  const headers = { authorization: `Bearer ${token}` };
  const address = new URL('/api/telemetry/overview', url);
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const asked =
      address.protocol === 'https:'
        ? getOverTls(address, { headers, agent: false, ca: readFileSync(join(dataDir, 'tls-authority.pem')) }, resolve)
        : get(address, { headers, agent: false }, resolve);
    asked.once('error', reject);
  });
  const body = await text(answer);
  if (answer.statusCode !== 200) throw new Error(body);
  return JSON.parse(body) as Overview;
}

/** The one node, when it reports itself and the embedded server. */
function nodeOnPage(url: string): Promise<Overview['nodes'][number]> {
  return waitUntil(
    async () => {
      const [node] = (await overview(url)).nodes;
      return node?.cpu !== undefined && node.postgres?.[0]?.up === true ? node : undefined;
    },
    { what: 'this machine on the page', timeoutMs: 20_000 },
  );
}

/** What the line about commands says, run as it stands. */
function commandSaid(output: string): string {
  const said = /^ +npx (tidemark-collector nodes list .*)$/m.exec(output)?.[1];
  if (said === undefined) throw new Error(`no command in: ${output}`);
  const { PATH = '', HOME = '' } = process.env;
  return execFileSync('sh', ['-c', `exec node_modules/.bin/${said}`], { cwd: root, encoding: 'utf8', env: { PATH, HOME } });
}

const postmasterOf = (directory: string): number => Number.parseInt(readFileSync(join(directory, 'postgres/postmaster.pid'), 'utf8'), 10);

describe('npm start', () => {
  test('brings this machine and its PostgreSQL onto the page, stops at Ctrl-C, and starts again as the same node', async () => {
    const first = npmStart();
    const node = await nodeOnPage(await first.url);
    expect(node).toMatchObject({ state: 'approved', postgres: [{ instance: 'tidemark', role: 'primary', up: true }] });
    expect(node.memory?.totalBytes).toBeGreaterThan(0);
    expect(first.output()).toContain(`cat ${join(dataDir, 'admin-token')}`);
    expect(commandSaid(first.output())).toMatch(new RegExp(`^${node.name} +approved `, 'm'));
    const server = postmasterOf(dataDir);
    for (const secret of ['admin-token', 'agent/token', 'agent/agent.yaml', 'agent/postgres-password', 'postgres-password']) {
      expect([secret, statSync(join(dataDir, secret)).mode & 0o777]).toEqual([secret, 0o600]);
    }
    first.signal('SIGINT');
    await first.exited;
    await first.gone();
    expect(existsSync(`/proc/${server}`)).toBe(false);
    expect(existsSync(join(dataDir, 'postgres/postmaster.pid'))).toBe(false);

    const token = readFileSync(join(dataDir, 'agent/token'), 'utf8');
    const begun = performance.now();
    const second = npmStart();
    const url = await second.url;
    expect(performance.now() - begun).toBeLessThan(10_000);
    expect(second.output()).not.toMatch(/Installing|Building/);
    expect((await nodeOnPage(url)).name).toBe(node.name);
    expect(readFileSync(join(dataDir, 'agent/token'), 'utf8')).toBe(token);
    expect((await overview(url)).nodes).toHaveLength(1);
  });

  test('everything stops when npm is killed, and the next start recovers when all is killed', async () => {
    const first = npmStart();
    await nodeOnPage(await first.url);
    first.npm.kill('SIGKILL');
    await first.gone();

    const second = npmStart();
    await second.url;
    const orphan = postmasterOf(dataDir);
    const others = processesOf(dataDir).filter((pid) => !worksIn(String(pid), dataDir));
    expect(others.length).toBeGreaterThanOrEqual(3);
    for (const pid of others) process.kill(pid, 'SIGKILL');
    await second.exited;
    await waitUntil(() => processesOf(dataDir).every((pid) => worksIn(String(pid), dataDir)), { what: 'the killed to be gone' });
    expect(processesOf(dataDir)).toContain(orphan);

    const third = npmStart();
    await nodeOnPage(await third.url);
    expect(postmasterOf(dataDir)).not.toBe(orphan);
    expect(third.output()).toContain('a database server of an earlier run is still there');
  });

  test('a node whose token or database was lost gets a new token', async () => {
    const first = npmStart();
    const { name } = await nodeOnPage(await first.url);
    const token = readFileSync(join(dataDir, 'agent/token'), 'utf8');
    first.signal('SIGTERM');
    await first.gone();
    rmSync(join(dataDir, 'agent/token'));
    const second = npmStart();
    expect((await nodeOnPage(await second.url)).name).toBe(name);
    // The page shows what it showed before the restart: the token is what is waited for.
    const renewed = await waitUntil(() => readFileSync(join(dataDir, 'agent/token'), 'utf8'), { what: 'a new token' });
    expect(renewed).not.toBe(token);
    second.signal('SIGTERM');
    await second.gone();
    rmSync(join(dataDir, 'postgres'), { recursive: true });
    const third = npmStart();
    expect((await nodeOnPage(await third.url)).name).toBe(name);
  });

  test('over HTTPS with a certificate of its own, the agent trusting it', async () => {
    const first = npmStart({ TIDEMARK_TLS: 'self-made' });
    const url = await first.url;
    expect(url).toMatch(/^https:\/\/localhost:\d+$/);
    expect(await nodeOnPage(url)).toMatchObject({ state: 'approved', postgres: [{ instance: 'tidemark', up: true }] });
    expect(readFileSync(join(dataDir, 'agent/agent.yaml'), 'utf8')).toContain(
      `caFile: ${JSON.stringify(join(dataDir, 'tls-authority.pem'))}`,
    );
    expect(commandSaid(first.output())).toContain(' approved ');
  });

  test('a port in use is one sentence and an exit code', async () => {
    const taken = createServer();
    const port = await new Promise<number>((resolve) => {
      taken.listen(0, '127.0.0.1', () => resolve((taken.address() as { port: number }).port));
    });
    try {
      const refused = npmStart({ TIDEMARK_LISTEN: `127.0.0.1:${port}` });
      expect(await refused.exited).toBe(75);
      expect(refused.output()).toMatch(new RegExp(`listens on 127\\.0\\.0\\.1:${port} already\\. .*TIDEMARK_LISTEN=`));
      expect(refused.output()).not.toMatch(/\n\s+at /);
      await refused.gone();
    } finally {
      taken.close();
    }
  });
});
