/**
 * The Windows service host: compiled from the very files that a Windows machine compiles, with the language it has there, and run by Mono
 * with real processes for children. What only Windows has (its service manager, job objects, named pipes, its counters) is not reached
 * here: the service's OnStart and OnStop are called by a driver, and the pipe's protocol runs over standard input and output.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createHostLink } from '@tidemark/agent';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { waitUntil } from '../postgres/cluster.ts';
import { windowsFiles, type WindowsFiles } from './files.ts';

const run = promisify(execFile);
const DRIVER = fileURLToPath(new URL('HostDriver.cs', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'tidemark-host-'));
const hostExe = join(directory, 'TidemarkAgentHost.exe');
const driverExe = join(directory, 'HostDriver.exe');
let files: WindowsFiles;
const running: ChildProcess[] = [];

beforeAll(async () => {
  files = await windowsFiles(directory, { runtime: false });
  symlinkSync(process.execPath, join(files.runtime, 'node'));
  const sources = readdirSync(join(files.agent, 'host')).map((name) => join(files.agent, 'host', name));
  if (sources.length === 0) throw new Error('the agent’s zip has no source of the host');
  const compile = (out: string, more: readonly string[]): Promise<unknown> =>
    run('mcs', [
      '-langversion:5',
      '-warn:4',
      '-warnaserror',
      '-target:exe',
      `-out:${out}`,
      '-r:System.Core.dll',
      '-r:System.ServiceProcess.dll',
      ...more,
    ]);
  await compile(hostExe, sources);
  await compile(driverExe, ['-main:HostDriver', ...sources, DRIVER]);
});
afterEach(async () => {
  for (const child of running.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('exit', resolve));
  }
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** An installation of its own whose agent is a script of the test's. */
class Place {
  readonly programs: string;
  readonly data: string;
  readonly notes: string;

  constructor(script: string) {
    const home = mkdtempSync(join(directory, 'place '));
    this.programs = join(home, 'Program Files');
    this.data = join(home, 'Program Data');
    this.notes = join(home, 'notes');
    mkdirSync(join(this.programs, 'runtimes/9.9.9'), { recursive: true });
    symlinkSync(process.execPath, join(this.programs, 'runtimes/9.9.9/node'));
    mkdirSync(this.data, { recursive: true });
    this.put('1.0.0', script);
    this.switchTo('1.0.0');
  }

  put(version: string, script: string): void {
    const target = join(this.programs, 'versions', version);
    mkdirSync(target, { recursive: true });
    writeFileSync(join(target, 'NODE'), '9.9.9\r\n');
    writeFileSync(join(target, 'flags'), '--max-old-space-size=96\n--no-opt\n');
    const note = `const note = (what) => require('node:fs').appendFileSync(${JSON.stringify(this.notes)}, JSON.stringify({ ...what, pid: process.pid, at: Date.now() }) + '\\n');`;
    writeFileSync(join(target, 'tidemark-agent.cjs'), `${note}\n${script}`);
  }

  switchTo(version: string): void {
    writeFileSync(join(this.programs, 'current'), `${version}\r\n`);
  }

  read<T>(): (T & { pid: number; at: number })[] {
    try {
      return readFileSync(this.notes, 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as T & { pid: number; at: number });
    } catch {
      return [];
    }
  }

  log(): string {
    return readFileSync(join(this.data, 'logs/agent.log'), 'utf8');
  }
}

interface Times {
  firstPause: number;
  longestPause: number;
  steady: number;
  grace: number;
}

class Service {
  readonly child: ChildProcess;
  readonly exited: Promise<void>;
  said = '';

  constructor(place: Pick<Place, 'programs' | 'data'>, times: Partial<Times> = {}, environment: NodeJS.ProcessEnv = {}) {
    const { firstPause = 50, longestPause = 60_000, steady = 60_000, grace = 5_000 } = times;
    const numbers = [firstPause, longestPause, steady, grace].map(String);
    this.child = spawn('mono', [driverExe, 'service', place.programs, place.data, ...numbers], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, ...environment },
    });
    running.push(this.child);
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => (this.said += text));
    this.exited = new Promise((resolve) => this.child.once('exit', () => resolve()));
  }

  /** Milliseconds that a call took, once it has returned. */
  took(name: 'OnStart' | 'OnStop'): Promise<number> {
    return waitUntil(
      () => {
        const found = new RegExp(`^${name} (\\d+)$`, 'm').exec(this.said);
        return found === null ? undefined : { milliseconds: Number(found[1]) };
      },
      { what: name, timeoutMs: 20_000 },
    ).then(({ milliseconds }) => milliseconds);
  }

  async stop(): Promise<number> {
    this.child.stdin!.write('stop\n');
    const milliseconds = await this.took('OnStop');
    await this.exited;
    return milliseconds;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const POLITE = "note({ started: 1 }); process.stdin.on('end', () => { note({ ended: 1 }); process.exit(0); }).resume();";

test('compiled, it says that it can run, and refuses what it does not know', async () => {
  expect((await run('mono', [hostExe, '--check'])).stdout.trim()).toBe('ok');
  await expect(run('mono', [hostExe, '--nonsense'])).rejects.toMatchObject({ code: 2 });
});

describe('the service', () => {
  test('it runs before anything is collected; the agent gets its arguments, and an environment of its own', async () => {
    const place = new Place(`
      note({ argv: process.argv.slice(2), execArgv: process.execArgv, names: Object.keys(process.env), pipe: process.env.TIDEMARK_HOST_PIPE });
      process.stdin.on('end', () => process.exit(0)).resume();`);
    writeFileSync(join(place.data, 'agent.token'), 'secret');
    const service = new Service(place, {}, { NODE_OPTIONS: '--no-warnings', TIDEMARK_INTERVAL: '1', SECRET: 'x', TEMP: '/tmp' });
    expect(await service.took('OnStart')).toBeLessThan(1_000);
    const [first] = await waitUntil(() => {
      const notes = place.read<{ argv: string[]; execArgv: string[]; names: string[]; pipe: string }>();
      return notes.length > 0 && notes;
    });
    expect(first!.argv).toEqual([
      'run',
      '--config',
      join(place.data, 'agent.yaml'),
      '--data-dir',
      join(place.data, 'agent'),
      '--token-file',
      join(place.data, 'agent.token'),
    ]);
    expect(first!.execArgv).toEqual(['--max-old-space-size=96', '--no-opt']);
    expect(first!.names).toEqual(expect.arrayContaining(['TIDEMARK_HOST_PIPE', 'TEMP']));
    expect(first!.names.filter((name) => ['NODE_OPTIONS', 'TIDEMARK_INTERVAL', 'SECRET'].includes(name))).toEqual([]);
    await service.stop();
  });

  test('a stop asks first: the agent ends by itself, and nothing is started again', async () => {
    const place = new Place(POLITE);
    const service = new Service(place);
    const [started] = await waitUntil(() => place.read().length > 0 && place.read());
    expect(await service.stop()).toBeLessThan(3_000);
    expect(place.read().map(({ pid: _pid, at: _at, ...what }) => what)).toEqual([{ started: 1 }, { ended: 1 }]);
    expect(isAlive(started!.pid)).toBe(false);
    expect(place.log()).toMatch(/host: the service has stopped\n$/);
  });

  test('an agent that does not listen is ended by force after its grace', async () => {
    const place = new Place('note({ started: 1 }); setInterval(() => {}, 1000);');
    const service = new Service(place, { grace: 400 });
    const [started] = await waitUntil(() => place.read().length > 0 && place.read());
    const tookMs = await service.stop();
    expect(tookMs).toBeGreaterThanOrEqual(390);
    expect(tookMs).toBeLessThan(5_000);
    expect(isAlive(started!.pid)).toBe(false);
    expect(place.log()).toContain('did not end within 0.4 s and was ended by force');
  });

  test('what it grants is less than the ten seconds that a stop may take', () => {
    const grace = /public int Grace = (\d+);/.exec(readFileSync(join(files.agent, 'host/ChildKeeper.cs'), 'utf8'))?.[1];
    // And more than the six that the agent grants itself for sending what is left (STOP_TIMEOUT_MS in run.ts).
    expect(Number(grace)).toBeGreaterThan(6_000);
    expect(Number(grace)).toBeLessThan(10_000);
  });

  test.each([
    ['a crash', 'process.exit(3)', 'ended with code 3'],
    ['an end that is none of a crash', 'process.exit(0)', 'ended with code 0'],
  ])('%s: started again, after pauses that double up to a bound; the log says each', async (_what, end, words) => {
    const place = new Place(`note({ started: 1 }); ${end}`);
    const service = new Service(place, { firstPause: 200, longestPause: 800 });
    const starts = await waitUntil(() => place.read().length >= 6 && place.read(), { timeoutMs: 20_000 });
    const gaps = starts.slice(1, 6).map(({ at }, i) => at - starts[i]!.at);
    const least = [200, 400, 800, 800, 800];
    gaps.forEach((gap, i) => expect(gap).toBeGreaterThanOrEqual(least[i]! - 20));
    expect(gaps[4]).toBeLessThan(1_600);
    await service.stop();
    expect(place.log().match(new RegExp(`The agent ${words}. It is started again in 0.8 s`, 'g'))!.length).toBeGreaterThanOrEqual(3);
    expect(new Set(starts.map(({ pid }) => pid)).size).toBe(starts.length);
  });

  test('one that ran for long is started again after the first pause', async () => {
    const place = new Place('note({ started: 1 }); setTimeout(() => process.exit(1), 700);');
    const service = new Service(place, { firstPause: 100, longestPause: 60_000, steady: 500 });
    await waitUntil(() => place.read().length >= 4, { timeoutMs: 20_000 });
    await service.stop();
    expect(place.log().match(/started again in 0.1 s/g)!.length).toBeGreaterThanOrEqual(3);
    expect(place.log()).not.toContain('started again in 0.2 s');
  });

  test('a stop in the middle of a long pause waits for nothing', async () => {
    const place = new Place('note({ started: 1 }); process.exit(1);');
    const service = new Service(place, { firstPause: 60_000 });
    await waitUntil(() => place.log().includes('started again in 60 s'));
    expect(await service.stop()).toBeLessThan(1_000);
    expect(place.read()).toHaveLength(1);
  });

  test('the next start is of the version that `current` names by then', async () => {
    const place = new Place(`note({ version: 'old' }); ${POLITE} require('node:fs').watch(${JSON.stringify(directory)}); setInterval(() => {
      if (require('node:fs').existsSync(__filename + '.end')) process.exit(0); }, 20);`);
    const service = new Service(place);
    await waitUntil(() => place.read().length > 0);
    place.put('1.1.0', `note({ version: 'new' }); ${POLITE}`);
    place.switchTo('1.1.0');
    writeFileSync(join(place.programs, 'versions/1.0.0/tidemark-agent.cjs.end'), '');
    await waitUntil(() => place.read<{ version?: string }>().some(({ version }) => version === 'new'));
    await service.stop();
  });

  test('an installation that is not whole is said, tried again, and well once it is repaired', async () => {
    const place = new Place(POLITE);
    place.switchTo('../../evil');
    const service = new Service(place, { firstPause: 100, longestPause: 100 });
    await waitUntil(() => place.log().includes('does not name a version: run the installer again'));
    place.switchTo('7.7.7');
    await waitUntil(() => /could not be started \(.*7\.7\.7/.test(place.log()));
    place.switchTo('1.0.0');
    await waitUntil(() => place.read().length > 0);
    await service.stop();
  });

  test('whatever the agent writes, the log stays within its bound', async () => {
    const place = new Place(`
      const chunk = Buffer.alloc(1 << 20, 'no end of line ');
      for (let i = 0; i < 24; i++) require('node:fs').writeSync(i % 2 ? 1 : 2, chunk);
      note({ written: 1 });
      process.stdin.on('end', () => process.exit(0)).resume();`);
    const service = new Service(place);
    await waitUntil(() => place.read().length > 0, { timeoutMs: 30_000 });
    await service.stop();
    const logs = readdirSync(join(place.data, 'logs')).toSorted();
    expect(logs).toEqual(['agent.log', 'agent.log.1', 'agent.log.2']);
    for (const name of logs) expect(statSync(join(place.data, 'logs', name)).size).toBeLessThanOrEqual(5 * 1024 * 1024);
    expect(statSync(join(place.data, 'logs/agent.log.1')).size).toBeGreaterThan(4 * 1024 * 1024);
  });

  test('the real agent: killed from outside it is back; a host that is killed takes it along; a stop leaves nothing', async () => {
    const home = mkdtempSync(join(directory, 'real '));
    const place = { programs: files.programs, data: home };
    writeFileSync(join(home, 'agent.yaml'), JSON.stringify({ server: 'http://127.0.0.1:9', interval: 1, hostname: 'host-test' }));
    const status = (): { pid: number } => JSON.parse(readFileSync(join(home, 'agent/status.json'), 'utf8')) as { pid: number };
    const next = (before: number): Promise<number> =>
      waitUntil(() => status().pid !== before && isAlive(status().pid) && status().pid, { what: 'the agent', timeoutMs: 30_000 });

    const first = new Service(place);
    const one = await next(0);
    process.kill(one, 'SIGKILL');
    const two = await next(one);
    first.child.kill('SIGKILL');
    await first.exited;
    await waitUntil(() => !isAlive(two), { what: 'the agent to follow its host', timeoutMs: 10_000 });
    const second = new Service(place);
    const three = await next(two);
    expect(await second.stop()).toBeLessThan(8_000);
    expect(isAlive(three)).toBe(false);
    const log = readFileSync(join(home, 'logs/agent.log'), 'utf8');
    expect(log).toContain('"reason":"the service host asks"');
    expect(log).not.toContain('ended by force');
  });
});

test.each([
  // On 64-bit Windows, by its own headers: JOBOBJECT_EXTENDED_LIMIT_INFORMATION, PERFORMANCE_INFORMATION, DISK_PERFORMANCE.
  ['Tidemark.Agent.WindowsJob+ExtendedLimits', 144, { ReadOperations: 64, PeakJobMemory: 136 }],
  ['Tidemark.Agent.WindowsJob+BasicLimits', 64, { LimitFlags: 16, Affinity: 48, SchedulingClass: 60 }],
  ['Tidemark.Agent.WindowsReadings+PerformanceInformation', 104, { CommitTotal: 8, PageSize: 80, HandleCount: 88, ThreadCount: 96 }],
  ['Tidemark.Agent.DiskReadings+DiskPerformance', 88, { IdleTime: 32, ReadCount: 40, QueueDepth: 48, QueryTime: 56 }],
])('%s lies in memory as Windows has it', async (type, size, offsets) => {
  const { stdout } = await run('mono', [driverExe, 'layout', type, ...Object.keys(offsets)]);
  expect(stdout.trim().split('\n').map(Number)).toEqual([size, ...Object.values(offsets)]);
});

test('arguments are quoted by the rules of Windows', async () => {
  const paths = ['C:\\Program Files\\Tidemark', 'C:\\data\\', 'C:\\data\\\\'];
  const { stdout } = await run('mono', [driverExe, 'quote', ...paths]);
  expect(stdout.trim().split('\n')).toEqual(['"C:\\Program Files\\Tidemark"', '"C:\\data\\\\"', '"C:\\data\\\\\\\\"']);
});

describe('the protocol of the pipe', () => {
  /** The host's end behind a socket, and what it answered to each line. */
  async function ask(text: string): Promise<{ answers: unknown[]; ended: boolean }> {
    const host = spawn('mono', [driverExe, 'serve'], { stdio: ['pipe', 'pipe', 'inherit'] });
    running.push(host);
    let said = '';
    host.stdout.setEncoding('utf8').on('data', (part: string) => (said += part));
    host.stdin.on('error', () => {});
    host.stdin.end(text);
    const code = await new Promise((resolve) => host.once('close', resolve));
    return {
      answers: said
        .split('\n')
        .filter(Boolean)
        .map((line): unknown => JSON.parse(line)),
      ended: code === 0,
    };
  }

  test('a line of JSON for each question, in any language, in plain ASCII', async () => {
    const { answers, ended } = await ask('network\nmemory\ndisks\nmachine\n');
    expect(answers).toEqual([
      {
        interfaces: [
          { name: 'Připojení "1"\\\t😀', up: true, speedBits: 1e9, receiveBytes: Number.MAX_SAFE_INTEGER },
          { name: 'Ethernet 2', up: false, speedBits: -1 },
        ],
      },
      { processes: 42 },
      { disks: [] },
      { product: null },
    ]);
    expect(ended).toBe(true);
  });

  test('what cannot be read has its reason, what is unknown is said, and too long an answer is none', async () => {
    const { answers } = await ask('services\nfuture\ndrives\nmemory\n');
    expect(answers).toEqual([
      { error: 'Access is "denied"' },
      { error: expect.stringContaining('there is no question "future"') },
      { error: 'the answer is too long' },
      { processes: 42 },
    ]);
  });

  test.each([
    ['other than letters', 'net work\nmemory\n'],
    ['too long a question', `${'x'.repeat(65)}\nmemory\n`],
    ['bytes', '\u0000\u00ff\nmemory\n'],
  ])('%s end the connection', async (_what, text) => {
    expect(await ask(text)).toEqual({ answers: [], ended: true });
  });

  test('the agent’s own end understands it', async () => {
    const path = join(directory, 'pipe');
    const server = createServer((socket) => {
      const host = spawn('mono', [driverExe, 'serve'], { stdio: ['pipe', 'pipe', 'inherit'] });
      running.push(host);
      host.stdin.on('error', () => {});
      socket.on('error', () => {}).pipe(host.stdin);
      host.stdout.pipe(socket);
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const link = createHostLink(path);
    try {
      expect(await link.ask('memory')).toEqual({ processes: 42 });
      await expect(link.ask('services')).rejects.toThrow('the Windows service host cannot tell: Access is "denied"');
      const [network, disks] = await Promise.all([link.ask('network'), link.ask('disks')]);
      expect((network as { interfaces: { name: string }[] }).interfaces[0]?.name).toBe('Připojení "1"\\\t😀');
      expect(disks).toEqual({ disks: [] });
    } finally {
      link.close();
      await new Promise((resolve) => server.close(resolve));
    }
  });
});
