/** The program as users run it: a process of its own, its exit codes and sentences, and what survives kill -9. */
import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { acknowledge, answer, refuse, startTestingCollector, type TestingCollector } from './uplink/testing.ts';

let programDirectory: string;
let program: string;
let directory: string;
let collector: TestingCollector;
const children = new Set<ChildProcess>();

beforeAll(async () => {
  programDirectory = mkdtempSync(join(tmpdir(), 'tidemark-program-'));
  program = join(programDirectory, 'tidemark-agent.cjs');
  await build({
    entryPoints: [fileURLToPath(new URL('main.ts', import.meta.url))],
    outfile: program,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    conditions: ['source'],
    external: ['pg-native'],
    define: { TIDEMARK_VERSION: '"7.8.9"', 'import.meta.url': '""' },
    logLevel: 'error',
  });
});
afterAll(() => rmSync(programDirectory, { recursive: true, force: true }));
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tidemark-main-'));
  collector = await startTestingCollector();
  writeFileSync(join(directory, 'token'), 'tma_secret\n', { mode: 0o600 });
});
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  await Promise.all([...children].map(exited));
  await collector.shut().catch(() => undefined);
  rmSync(directory, { recursive: true, force: true });
});

interface Outcome {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}
const outcomes = new WeakMap<ChildProcess, Promise<Outcome>>();
const exited = (child: ChildProcess): Promise<Outcome> => outcomes.get(child)!;

function start(args: readonly string[], environment: Record<string, string> = {}): ChildProcess {
  const child = spawn(process.execPath, [program, ...args], {
    env: { PATH: process.env['PATH'], HOME: directory, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.add(child);
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
  const outcome = new Promise<Outcome>((resolve) =>
    child.once('close', (code, signal) => {
      children.delete(child);
      resolve({ code, signal, stdout, stderr });
    }),
  );
  outcomes.set(child, outcome);
  return child;
}
const run = (args: readonly string[], environment?: Record<string, string>): Promise<Outcome> => exited(start(args, environment));

const dataDir = (): string => join(directory, 'data');
/** An agent that reports each second. */
function startAgent(...more: string[]): ChildProcess {
  const { href } = collector.url;
  return start([
    'run',
    '--server',
    href,
    '--hostname',
    'db-1',
    '--interval',
    '1',
    '--token-file',
    join(directory, 'token'),
    '--data-dir',
    dataDir(),
    ...more,
  ]);
}
/** "bootId sequence" of every report in the spool's files, acknowledged or not. */
function spooled(): string[] {
  const files = readdirSync(join(dataDir(), 'spool')).filter((name) => name.endsWith('.spool'));
  return files.flatMap((name) =>
    [...readFileSync(join(dataDir(), 'spool', name), 'latin1').matchAll(/^.{8} report (\S+) (\d+) .*\n/gm)].map(
      (match) => `${match[1]!} ${match[2]!}`,
    ),
  );
}
async function eventually<T>(check: () => T | undefined | false): Promise<T> {
  for (;;) {
    try {
      const value = check();
      if (value !== undefined && value !== false) return value;
    } catch {
      // Not there yet.
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe('run', () => {
  test('reports with the token, and SIGTERM ends it cleanly with nothing left behind', async () => {
    const agent = startAgent('--site', 'berlin', '--tag', 'role=db', '--tag', 'rack=12');
    await collector.received(2);
    expect(collector.requests[0]!.headers.authorization).toBe('Bearer tma_secret');
    expect(collector.requests[0]!.body.agent).toMatchObject({
      version: '7.8.9',
      hostname: 'db-1',
      site: 'berlin',
      tags: { role: 'db', rack: '12' },
      intervalSeconds: 1,
    });
    expect(collector.requests[0]!.body.layouts!.length).toBeGreaterThan(5);
    agent.kill('SIGTERM');
    expect(await exited(agent)).toMatchObject({ code: 0, signal: null });
    expect(readdirSync(join(dataDir(), 'spool')).filter((name) => name.endsWith('.spool'))).toEqual([]);
    expect(readdirSync(dataDir())).not.toContain('agent.pid');
  });

  test('kill -9 while nothing is acknowledged: everything taken arrives once it can be, once', async () => {
    collector.always((request, response) =>
      answer(202, acknowledge(request, { committed: [], notStored: { code: 'database_away', detail: 'gone' }, retryAfterSeconds: 60 }))(
        request,
        response,
      ),
    );
    const first = startAgent();
    await collector.received(3);
    first.kill('SIGKILL');
    expect((await exited(first)).signal).toBe('SIGKILL');

    // And again while the collector is not even there.
    await collector.shut();
    const second = startAgent();
    const before = spooled().length;
    await eventually(() => spooled().length >= before + 2);
    second.kill('SIGKILL');
    await exited(second);

    const taken = spooled();
    expect(new Set(taken).size).toBe(taken.length);
    expect(new Set(taken.map((name) => name.split(' ')[0])).size).toBe(2);
    collector.always((request, response) => {
      for (const { bootId, sequence } of request.body.reports) collector.committed.push(`${bootId} ${sequence}`);
      answer(200, acknowledge(request))(request, response);
    });
    await collector.reopen();
    const third = startAgent();
    await collector.until(() => taken.every((name) => collector.committed.includes(name)));
    third.kill('SIGTERM');
    expect((await exited(third)).code).toBe(0);
    expect(new Set(collector.committed).size).toBe(collector.committed.length);
    expect(collector.requests.at(-1)!.body.agent.lostReports).toBe(0);
  });

  test('kill -9 and a spool file cut meanwhile: the rest arrives, the loss is reported', async () => {
    await collector.shut();
    const first = startAgent();
    await eventually(() => spooled().length >= 3);
    first.kill('SIGKILL');
    await exited(first);
    const [file] = readdirSync(join(dataDir(), 'spool')).filter((name) => name.endsWith('.spool'));
    const path = join(dataDir(), 'spool', file!);
    const whole = spooled();
    truncateSync(path, readFileSync(path).length - 500);
    await collector.reopen();
    const second = startAgent();
    await collector.until(() => whole.slice(0, -1).every((name) => collector.committed.includes(name)));
    expect(collector.committed).not.toContain(whole.at(-1));
    expect(collector.requests.at(-1)!.body.agent.lostReports).toBe(1);
    second.kill('SIGTERM');
    await exited(second);
  });

  test('a second one on the same directory is refused with one sentence', async () => {
    const agent = startAgent();
    await collector.received(1);
    const { code, stderr } = await exited(startAgent());
    expect(code).toBe(76);
    expect(stderr.split('\n').filter((line) => !line.startsWith('{'))).toEqual([
      `tidemark-agent: Another agent (process ${agent.pid}) already runs on ${dataDir()}. Stop it first, or give this one a --data-dir of its own.`,
      '',
    ]);
  });

  test('after kill -9 the directory is free', async () => {
    const agent = startAgent();
    await collector.received(1);
    agent.kill('SIGKILL');
    await exited(agent);
    const count = collector.requests.length;
    const next = startAgent();
    await collector.received(count + 1);
    expect(next.exitCode).toBeNull();
  });

  test('the token never shows in the log', async () => {
    collector.next(refuse('credential_unknown'));
    const agent = startAgent('--log-level', 'trace');
    await collector.received(1);
    await eventually(() => readFileSync(join(dataDir(), 'status.json'), 'utf8').includes('credential_unknown'));
    agent.kill('SIGTERM');
    const { stderr } = await exited(agent);
    expect(stderr).toContain('credential_unknown');
    expect(stderr).not.toContain('tma_secret');
  });
});

describe('status', () => {
  test('of a running agent, of one in trouble, of none', async () => {
    const ask = (...more: string[]): Promise<Outcome> => run(['status', '--data-dir', dataDir(), ...more]);
    expect(await ask()).toMatchObject({ code: 3, stdout: `No agent runs on ${dataDir()}.\n` });
    const agent = startAgent();
    await eventually(() => readFileSync(join(dataDir(), 'status.json'), 'utf8').includes('"connected"'));
    const fine = await ask();
    expect(fine.stdout).toContain('All is well.');
    expect(fine.code).toBe(0);
    collector.always(refuse('node_revoked'));
    await eventually(() => readFileSync(join(dataDir(), 'status.json'), 'utf8').includes('"node_revoked"'));
    const troubled = await ask('--json');
    expect(troubled.code).toBe(1);
    expect(JSON.parse(troubled.stdout)).toMatchObject({
      running: true,
      uplink: { phase: 'node_revoked' },
      troubles: [expect.stringContaining('because of node_revoked')],
    });
    agent.kill('SIGTERM');
    await exited(agent);
    expect((await ask()).stdout).toMatch(/^No agent runs on .* It last said something .* ago, and \d+ reports? waited then\.\n$/);
  });
});

describe('collect', () => {
  test('for people', async () => {
    const { code, stdout, stderr } = await run(['collect', '--hostname', 'db-1', '--postgres', 'postgres://nobody@127.0.0.1:1/postgres']);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^db-1 {3}/);
    expect(stdout).toMatch(/^CPU +\d/m);
    expect(stdout).toMatch(/^Memory +\d+(\.\d)? % +of [\d.]+ [GM]iB/m);
    expect(stdout).toMatch(/^PostgreSQL 127\.0\.0\.1:1 {3}down \(refused\): /m);
    expect(readdirSync(directory)).toEqual(['token']);
  });

  test('for programs', async () => {
    const { code, stdout } = await run(['collect', '--json']);
    expect(code).toBe(0);
    const { series, probes } = JSON.parse(stdout) as {
      series: { metric: string; value: unknown; ratePerSecond?: number }[];
      probes: { success: boolean }[];
    };
    expect(probes.every(({ success }) => success)).toBe(true);
    // A fifth of a second of an idle machine can be less than the kernel counts: 0 is a measured value, too.
    const usage = series.find(({ metric }) => metric === 'tidemark_cpu_usage_ratio')!.value;
    expect(usage).toBeGreaterThanOrEqual(0);
    expect(usage).toBeLessThanOrEqual(1);
    expect(series.find(({ metric }) => metric === 'node_cpu_seconds_total')!.ratePerSecond).toBeDefined();
  });
});

describe('mistakes', () => {
  test.each<[string, string[], number, RegExp]>([
    ['no server', ['run'], 2, /^tidemark-agent: Which collector\? Name it with --server .*\n$/],
    [
      'several at once',
      ['run', '--server', 'ftp://x', '--interval', '0', '--tag', '9=x'],
      78,
      /^tidemark-agent: 3 mistakes in the configuration:\n {2}--server: .*\n {2}--interval: .*\n {2}--tag: .*\n/,
    ],
    [
      'a password in a URL',
      ['run', '--server', 'http://x', '--postgres', 'postgres://u:hunter2@h/d'],
      78,
      /--postgres: a password on the command line can be read by every user/,
    ],
    [
      'a password in a parameter',
      ['run', '--server', 'http://x', '--postgres', 'postgres://h/d?user=u&password=hunter2'],
      78,
      /passwordFile/,
    ],
    [
      'no such token file',
      ['run', '--server', 'http://x', '--token-file', '/nowhere/token'],
      78,
      /^tidemark-agent: The token file \/nowhere\/token cannot be read \(ENOENT\)\.\n$/,
    ],
    ['unknown option', ['run', '--sever', 'http://x'], 2, /unknown option '--sever'\n.*--server/],
    ['unknown command', ['report'], 2, /unknown command 'report'/],
    [
      'a data directory that is a file',
      ['run', '--server', 'http://x', '--data-dir', '/dev/null/x'],
      73,
      /^.*tidemark-agent: Cannot use \/dev\/null\/x for the reports that wait to be sent: .*\n$/s,
    ],
  ])('%s', async (_name, args, code, sentence) => {
    const outcome = await run(args);
    expect(outcome.stderr).toMatch(sentence);
    expect(outcome.stderr).not.toContain('hunter2');
    expect(outcome.stderr).not.toMatch(/^ {4}at /m);
    expect(outcome).toMatchObject({ code, stdout: '' });
  });

  test('in the file, with lines', async () => {
    const file = join(directory, 'agent.yaml');
    writeFileSync(file, 'server: http://x\nintervall: 5\npostgres:\n  - {url: postgres://h, pasword: x}\n');
    const { code, stderr } = await run(['run', '--config', file]);
    expect(code).toBe(78);
    expect(stderr).toContain(`${file}:2: intervall: there is no such option; did you mean interval?`);
    expect(stderr).toContain(
      `${file}:4: postgres: item 1 must be postgres://user@host:port/database, or in the file {url, name, passwordFile}`,
    );
  });

  test('a token file that is empty, or everyone’s', async () => {
    writeFileSync(join(directory, 'token'), '\n');
    expect((await exited(startAgent())).stderr).toMatch(/is empty: put the token of this node into it\.\n$/);
    writeFileSync(join(directory, 'token'), 'tma_x');
    chmodSync(join(directory, 'token'), 0o644);
    const agent = startAgent();
    await collector.received(1);
    agent.kill('SIGTERM');
    expect((await exited(agent)).stderr).toContain('every user of this machine can read the token file');
  });
});

describe('options from elsewhere', () => {
  test('environment, file and systemd’s credentials', async () => {
    const file = join(directory, 'agent.yaml');
    writeFileSync(file, `server: ${collector.url.href}\ntag: {role: db}\n`);
    start(['run'], {
      TIDEMARK_CONFIG: file,
      TIDEMARK_HOSTNAME: 'from-env',
      TIDEMARK_DATA_DIR: dataDir(),
      CREDENTIALS_DIRECTORY: directory,
    });
    await collector.received(1);
    expect(collector.requests[0]!.body.agent).toMatchObject({ hostname: 'from-env', tags: { role: 'db' }, intervalSeconds: 15 });
    expect(collector.requests[0]!.headers.authorization).toBe('Bearer tma_secret');
  });

  test('the version and the help', async () => {
    expect(await run(['--version'])).toMatchObject({ code: 0, stdout: '7.8.9\n' });
    const { code, stdout } = await run(['run', '--help']);
    expect(code).toBe(0);
    for (const flag of ['--server', '--hostname', '--interval', '--site', '--tag', '--token-file', '--postgres', '--data-dir', '--config'])
      expect(stdout).toContain(`  ${flag} <`);
    expect(stdout).toContain('Examples:');
    for (const command of ['collect', 'status']) expect((await run([command, '--help'])).stdout).toContain('Examples:');
  });
});
