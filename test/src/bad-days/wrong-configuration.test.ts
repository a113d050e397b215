/** What stands against a start is said by the real programs in clear sentences with an exit code of its own, and never by a stack trace. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EXIT } from '@tidemark/service';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PostgresCluster, type PostgresInstance } from '../postgres/cluster.ts';
import { runToEnd, startAgent, startCollector, type Outcome, type Program, type RunningCollector } from '../programs.ts';

const directory = mkdtempSync(join(tmpdir(), 'tidemark-wrong-'));
const inTheWay = join(directory, 'file');
let cluster: PostgresCluster;
let database: PostgresInstance;
let taken: Server;
let takenPort: number;

beforeAll(async () => {
  writeFileSync(inTheWay, 'not a directory');
  cluster = new PostgresCluster();
  database = await cluster.startPrimary({ version: 18, name: 'store' });
  taken = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => taken.once('listening', resolve));
  takenPort = (taken.address() as AddressInfo).port;
});

afterAll(async () => {
  taken?.close();
  await cluster?.stopAll();
  rmSync(directory, { recursive: true, force: true });
});

function file(name: string, content: string): string {
  const path = join(directory, name);
  writeFileSync(path, content, { mode: 0o600 });
  return path;
}

/** Fails unless the program left with this code, said these things, and said each in plain sentences. */
function expectSaid(outcome: Outcome, code: number, ...said: (RegExp | string)[]): void {
  expect({ code: outcome.code, stderr: outcome.stderr }).toEqual({ code, stderr: expect.any(String) });
  for (const words of said) expect(outcome.stderr).toMatch(words);
  expect(outcome.stderr + outcome.stdout).not.toMatch(/^\s+at .*[:(]/m);
}

const oneSentence = (outcome: Outcome): string[] => outcome.stderr.trimEnd().split('\n');

describe('collector', () => {
  const run = (args: string[], environment: Record<string, string> = {}): Promise<Outcome> =>
    runToEnd('collector', ['run', '--data-dir', join(directory, 'collector'), '--listen', '127.0.0.1:0', ...args], environment);

  test('every mistake of a file at once, with its line', async () => {
    const outcome = await run(['--config', file('collector.yaml', 'listen: 127.0.0.1:0\nrawDays: many\nlisten2: 1\nlogLevel: loud\n')]);
    expectSaid(outcome, EXIT.configuration, /collector\.yaml.*2.*rawDays/, /3.*listen2/, /4.*logLevel/);
  });

  test('a port in use', async () => {
    const outcome = await run(['--listen', `127.0.0.1:${takenPort}`]);
    expectSaid(outcome, EXIT.portInUse, `127.0.0.1:${takenPort} already. Choose another port`);
    expect(oneSentence(outcome)).toHaveLength(1);
  });

  test('a data directory that cannot be', async () => {
    const outcome = await run(['--data-dir', join(inTheWay, 'data')]);
    expectSaid(outcome, EXIT.dataDirectory, /Cannot use .*data for .*not a directory is in the way/);
    expect(oneSentence(outcome)).toHaveLength(1);
  });

  test.skipIf(process.getuid?.() === 0)('a data directory that is not writable', async () => {
    mkdirSync(join(directory, 'sealed'), { mode: 0o500 });
    expectSaid(await run(['--data-dir', join(directory, 'sealed', 'data')]), EXIT.dataDirectory, /this user may not write there/);
  });

  test.each([
    ['nobody listens', () => 'postgresql://tidemark@127.0.0.1:1/tidemark', /cannot be used: .*(ECONNREFUSED|refused)/],
    ['there is no such database', () => database.url.replace(/\/postgres$/, '/nowhere'), /database "nowhere" does not exist/],
    ['there is no such user', () => database.url.replace('postgres@', 'stranger:x@'), /role "stranger" does not exist/],
  ])('a database that refuses: %s', async (_, url, said) => {
    const outcome = await run([], { TIDEMARK_DATABASE_URL: url() });
    expectSaid(outcome, EXIT.databaseAway, said, /Check TIDEMARK_DATABASE_URL/);
    expect(oneSentence(outcome)).toHaveLength(1);
  });

  describe('beside another one', () => {
    let first: RunningCollector;
    beforeAll(async () => {
      first = await startCollector({ dataDir: join(directory, 'busy') });
    });
    afterAll(() => first.stop());

    test('on the same data directory', async () => {
      const outcome = await run(['--data-dir', join(directory, 'busy')]);
      expectSaid(outcome, EXIT.alreadyRunning, /busy/);
      expect((await fetch(`${first.url}/api/health`)).status, 'the first one goes on').toBe(200);
    });
  });
});

describe('agent', () => {
  const good = (): string[] => [
    '--server',
    'http://127.0.0.1:9',
    '--token-file',
    file('token', 'tma_x'),
    '--data-dir',
    join(directory, 'agent'),
  ];
  const run = (args: string[]): Promise<Outcome> => runToEnd('agent', ['run', ...args]);

  test('every mistake at once: flags and file with its lines', async () => {
    const config = file('agent.yaml', 'server: collector\nintervall: 5\nspoolMegabytes: lots\n');
    expectSaid(
      await run(['--config', config, '--interval', '0']),
      EXIT.configuration,
      /agent\.yaml.*1.*server/,
      /2.*intervall.*interval/,
      /3.*spoolMegabytes/,
      /--interval/,
    );
  });

  test('a password on the command line', async () => {
    const outcome = await run([...good(), '--postgres', 'postgres://monitor:hunter2@localhost/postgres']);
    expectSaid(outcome, EXIT.configuration, /passwordFile/);
    expect(outcome.stderr).not.toContain('hunter2');
  });

  test('no token file', async () => {
    const outcome = await run([...good(), '--token-file', join(directory, 'nowhere')]);
    expectSaid(outcome, EXIT.configuration, /The token file .*nowhere cannot be read/);
    expect(oneSentence(outcome)).toHaveLength(1);
  });

  test('a data directory that cannot be', async () => {
    const outcome = await run([...good(), '--data-dir', join(inTheWay, 'data')]);
    expectSaid(outcome, EXIT.dataDirectory, /Cannot use .*not a directory is in the way/);
    expect(oneSentence(outcome)).toHaveLength(1);
  });

  test('another agent on the same data directory', async () => {
    const agentDir = join(directory, 'busy-agent');
    const first: Program = startAgent({
      collectorUrl: 'http://127.0.0.1:9',
      token: 'tma_x',
      hostname: 'x',
      directory: agentDir,
      intervalSeconds: 1,
    });
    try {
      await expect.poll(() => first.output(), { timeout: 20_000 }).toContain('the agent runs');
      const outcome = await run(['--config', join(agentDir, 'agent.yaml')]);
      expectSaid(outcome, EXIT.alreadyRunning, String(first.pid));
    } finally {
      await first.stop();
    }
  });
});
