/**
 * The Windows agent for real: node.exe and the bundle as a Windows machine downloads them, run by Wine against a real collector. Its
 * figures are those of this machine; killed while the collector is away it loses nothing; under a service host it asks the pipe and ends
 * when its input ends.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import os, { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { waitUntil } from '../postgres/cluster.ts';
import { startCollector, type RunningCollector } from '../programs.ts';
import { flagsOf, windowsFiles, type WindowsFiles } from './files.ts';
import { noWine, Wine, windowsPath, type WineProcess } from './wine.ts';

const missing = noWine();
const ANSWERS = fileURLToPath(new URL('../../../agent/src/probes/fixtures/windows-server/answers.json', import.meta.url));
const INSTALLER = fileURLToPath(new URL('../../../installers/windows/agent-install-windows.ps1', import.meta.url));
const PLAYER = fileURLToPath(new URL('host-player.cjs', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'tidemark windows '));
let wine: Wine;
let files: WindowsFiles;
let collector: RunningCollector;
let listen = '127.0.0.1:0';
const started: WineProcess[] = [];

const collect = (): Promise<RunningCollector> => startCollector({ dataDir: join(directory, 'collector'), listen });

beforeAll(async () => {
  if (missing !== undefined) return;
  [wine, files, collector] = await Promise.all([Wine.open(), windowsFiles(directory, { runtime: true }), collect()]);
  listen = new URL(collector.url).host;
});
afterAll(async () => {
  for (const one of started) one.kill('SIGKILL');
  await Promise.all(started.map(({ exited }) => exited));
  await collector?.stop();
  await wine?.close();
  rmSync(directory, { recursive: true, force: true });
});

const nodeExe = (): string => join(files.runtime, 'node.exe');

/** The arguments of node.exe for an agent with a configuration, a token and a data directory of its own. */
async function argumentsOf(name: string): Promise<string[]> {
  const home = join(directory, name);
  mkdirSync(home, { recursive: true });
  const { token } = await collector.api<{ token: string }>('POST', '/api/telemetry/nodes', { name });
  writeFileSync(join(home, 'token'), token);
  const config = {
    server: `http://${listen}`,
    hostname: name,
    interval: 1,
    tokenFile: windowsPath(join(home, 'token')),
    dataDir: windowsPath(join(home, 'data')),
  };
  writeFileSync(join(home, 'agent.yaml'), JSON.stringify(config));
  const script = windowsPath(join(files.agent, 'tidemark-agent.cjs'));
  return [...flagsOf(files), script, 'run', '--config', windowsPath(join(home, 'agent.yaml'))];
}

function launch(name: string, args: readonly string[]): WineProcess {
  const agent = wine.start(nodeExe(), args, join(directory, name, 'log'));
  started.push(agent);
  return agent;
}

/** What /metrics says of a node, by name and the labels beside "node". */
async function metricsOf(node: string): Promise<Map<string, number>> {
  const values = new Map<string, number>();
  for (const line of (await collector.text('/metrics')).split('\n')) {
    const [, name, labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)/.exec(line) ?? [];
    if (name === undefined || !labels.includes(`node="${node}"`)) continue;
    const rest = labels
      .split(/,(?=\w+=")/)
      .filter((label) => !/^(node|site)=/.test(label))
      .toSorted();
    values.set(rest.length === 0 ? name : `${name}{${rest.join(',')}}`, Number(value));
  }
  return values;
}

/** Runs of an agent as the collector has stored them, the oldest first: how many reports, and whether any is missing between them. */
async function runsOf(node: string): Promise<{ last: number; gaps: number }[]> {
  return collector.sql(
    `SELECT upper(sequences) - 1 AS last, (SELECT count(*)::int - 1 FROM unnest(sequences)) + lower(sequences) - 1 AS gaps
     FROM boots JOIN nodes ON nodes.id = node_id WHERE name = $1 ORDER BY first_report_at`,
    [node],
  );
}

interface Status {
  pid: number;
  spool: { reports: number };
  probes: { name: string; success: boolean; trouble?: string }[];
}
/** Throws while there is none yet. */
const statusOf = (name: string): Status => JSON.parse(readFileSync(join(directory, name, 'data/status.json'), 'utf8')) as Status;

if (missing !== undefined) process.stderr.write(`The tests of the Windows agent are skipped: ${missing}.\n`);
describe.skipIf(missing !== undefined)('node.exe', () => {
  test('what it reports is what this machine is; what only the service host could read is missing and said', async () => {
    const agent = launch('win1', await argumentsOf('win1'));
    const metrics = await waitUntil(
      async () => {
        const found = await metricsOf('win1');
        return [...found.keys()].some((key) => key.startsWith('tidemark_filesystem_usage_ratio')) && found;
      },
      { what: 'a report of the Windows agent', timeoutMs: 60_000 },
    );
    expect(metrics.get('tidemark_cpu_usage_ratio')).toBeGreaterThanOrEqual(0);
    expect(metrics.get('tidemark_cpu_usage_ratio')).toBeLessThanOrEqual(1);
    expect(metrics.get('node_memory_MemTotal_bytes')! / os.totalmem()).toBeCloseTo(1, 2);
    expect(Math.abs(metrics.get('tidemark_memory_usage_ratio')! - (1 - os.freemem() / os.totalmem()))).toBeLessThan(0.2);
    expect(Math.abs(metrics.get('tidemark_uptime_seconds')! - os.uptime())).toBeLessThan(120);
    expect(Math.abs(metrics.get('node_time_seconds')! - Date.now() / 1000)).toBeLessThan(60);
    const drive = statfsSync(wine.prefix);
    const c = [...metrics].find(([key]) => /^node_filesystem_size_bytes\{.*"C:"/.test(key));
    expect(c?.[1]).toBe(drive.blocks * drive.bsize);
    // No load average on Windows; and nothing of what the host reads, zeros least of all.
    expect([...metrics.keys()].filter((key) => /^(node_load|node_network|node_disk|windows_)/.test(key))).toEqual([]);
    const failing = [...metrics].filter(([key, value]) => key.startsWith('tidemark_probe_success') && value === 0);
    expect(failing.map(([key]) => key).toSorted()).toEqual(
      ['disk', 'network', 'services', 'windows-memory'].map((probe) => `tidemark_probe_success{probe="${probe}"}`),
    );
    const { probes } = await waitUntil(() => statusOf('win1'), { what: 'its status' });
    expect(probes.find(({ name }) => name === 'network')?.trouble).toMatch(/service host is not there/);
    expect(agent.output().match(/"probe":"network".*"probe failed"/g)).toHaveLength(1);
    expect(agent.output()).toContain('"the agent runs"');
  });

  test('killed while the collector is away it loses nothing: the backlog arrives whole, each report once', async () => {
    const args = await argumentsOf('win2');
    const first = launch('win2', args);
    await waitUntil(async () => ((await runsOf('win2'))[0]?.last ?? 0) >= 2, { what: 'two reports', timeoutMs: 60_000 });
    collector.kill('SIGKILL');
    await collector.exited;
    await waitUntil(() => statusOf('win2').spool.reports >= 4, { what: 'four reports that wait', timeoutMs: 30_000 });
    first.kill('SIGKILL');
    expect(await first.exited).toBe('SIGKILL');
    const waiting = statusOf('win2').spool.reports;
    const second = launch('win2', args);
    await waitUntil(() => statusOf('win2').spool.reports > waiting, { what: 'the second run to report', timeoutMs: 60_000 });
    collector = await collect();
    const runs = await waitUntil(
      async () => {
        const found = await runsOf('win2');
        return found.length === 2 && (found[0]?.last ?? 0) >= waiting + 2 && statusOf('win2').spool.reports <= 1 && found;
      },
      { what: 'the backlog', timeoutMs: 60_000 },
    );
    expect(runs.map(({ gaps }) => gaps)).toEqual([0, 0]);
    second.kill('SIGKILL');
    await second.exited;
  });

  test('two agents on one directory: the second says so; a process id left by an earlier start of the machine is no agent', async () => {
    const args = await argumentsOf('win3');
    const data = join(directory, 'win3', 'data');
    mkdirSync(data, { recursive: true });
    // The number is another program's by now: here it is that of an agent with a directory of its own.
    writeFileSync(join(data, 'agent.pid'), `${statusOf('win1').pid} \n`);
    const first = launch('win3', args);
    await waitUntil(async () => (await runsOf('win3')).length === 1, { what: 'a report', timeoutMs: 60_000 });
    const second = wine.start(nodeExe(), args, join(directory, 'win3', 'second'));
    started.push(second);
    expect(await second.exited).toBe(76);
    expect(second.output()).toMatch(/Another agent \(process \d+\) already runs on /);
    first.kill('SIGKILL');
    await first.exited;
  });

  test('under a service host it asks the pipe for the rest, and ends by itself when its input ends', async () => {
    const home = join(directory, 'win4');
    const task = {
      answers: windowsPath(ANSWERS),
      pipe: `\\\\.\\pipe\\tidemark-agent-test-${process.pid}`,
      runtime: windowsPath(nodeExe()),
      arguments: await argumentsOf('win4'),
      events: windowsPath(join(home, 'events')),
      log: windowsPath(join(home, 'log')),
      stopWhenExists: windowsPath(join(home, 'stop')),
    };
    writeFileSync(join(home, 'task.json'), JSON.stringify(task));
    const host = wine.start(nodeExe(), [windowsPath(PLAYER), windowsPath(join(home, 'task.json'))], join(home, 'host-log'));
    started.push(host);
    const metrics = await waitUntil(
      async () => {
        const found = await metricsOf('win4');
        return found.has('windows_memory_committed_bytes') && found;
      },
      { what: 'what the host reads', timeoutMs: 60_000 },
    );
    expect(metrics.get('windows_service_state{name="Spooler",state="running"}')).toBe(0);
    expect(metrics.get('windows_service_state{name="postgresql-x64-16",state="running"}')).toBe(1);
    expect(metrics.get('node_network_receive_bytes_total{device="Ethernet"}')).toBe(734523984512);
    expect(metrics.get('node_disk_io_now{device="PhysicalDrive0"}')).toBe(3);
    // The host named C: and E: as fixed; E: is not there, and Z: was not to be touched.
    const drives = [...metrics.keys()].filter((key) => key.startsWith('node_filesystem_size_bytes'));
    expect(drives).toEqual(['node_filesystem_size_bytes{device="C:",fstype="NTFS",mountpoint="C:"}']);
    const { probes } = await waitUntil(() => statusOf('win4'), { what: 'its status' });
    expect(probes.filter(({ success }) => !success)).toEqual([]);

    writeFileSync(join(home, 'stop'), '');
    expect(await host.exited).toBe(0);
    const events = readFileSync(join(home, 'events'), 'utf8').trim().split('\n');
    const end = JSON.parse(events.at(-1)!) as { exited: number; milliseconds: number };
    expect(end.exited).toBe(0);
    expect(end.milliseconds).toBeLessThan(8_000);
    expect(events.filter((event) => event.includes('connected'))).toHaveLength(1);
    // It left in order: no process id stays behind.
    expect(existsSync(join(home, 'data', 'agent.pid'))).toBe(false);
  });

  test('what the installer calls, in its order: configured, enrolled, started, pending; approved, all of it arrives and is confirmed', async () => {
    const home = join(directory, 'win5');
    mkdirSync(home, { recursive: true });
    const [config, secret, data] = ['agent.yaml', 'agent.token', 'data'].map((name) => windowsPath(join(home, name))) as [
      string,
      string,
      string,
    ];
    const script = windowsPath(join(files.agent, 'tidemark-agent.cjs'));
    const call = async (...args: string[]): Promise<{ code: number | string; said: string }> => {
      const log = join(home, 'call');
      rmSync(log, { force: true });
      const done = wine.start(nodeExe(), [...flagsOf(files), script, ...args], log);
      started.push(done);
      return { code: await done.exited, said: done.output() };
    };
    const given = ['--server', `http://${listen}`, '--hostname', 'win 5', '--interval', '1', '--site', 'berlin', '--tag', 'role=db'];
    expect(await call('configure', '--config', config, '--data-dir', data, ...given)).toMatchObject({ code: 0 });
    expect(await call('check-config', '--config', config)).toMatchObject({ code: 0 });
    const enrolled = await call('enroll', '--config', config, '--secret-file', secret, '--json');
    expect(enrolled.code, enrolled.said).toBe(0);
    const answer = JSON.parse(enrolled.said) as { state: string; name: string; machineCode: string };
    // The code is of the id in the registry, which even this Windows has.
    expect(answer).toMatchObject({ state: 'pending', name: 'win 5', machineCode: expect.stringMatching(/^[0-9A-F]{4}-[0-9A-F]{4}$/) });
    expect(readFileSync(join(home, 'agent.token'), 'utf8').trim().length).toBeGreaterThan(30);

    const since = String(Date.now());
    const agent = wine.start(nodeExe(), [...flagsOf(files), script, 'run', '--config', config, '--token-file', secret], join(home, 'log'));
    started.push(agent);
    const pending = await call('confirm', '--config', config, '--since', since, '--timeout', '60');
    expect(pending.code, pending.said).toBe(0);
    expect(pending.said).toContain('waits to be approved');
    expect(pending.said).toContain(answer.machineCode);
    await collector.api('POST', '/api/telemetry/nodes/win%205/approve', {});
    // What is new goes first; then what waited, until none is missing.
    await waitUntil(
      async () => {
        const [found] = await runsOf('win 5');
        return found !== undefined && found.last >= 3 && found.gaps === 0;
      },
      { what: 'what waited', timeoutMs: 60_000 },
    );
    const confirmed = await call('confirm', '--config', config, '--since', since, '--timeout', '60');
    expect(confirmed.code, confirmed.said).toBe(0);
    expect(confirmed.said).toContain('has confirmed a report of this node');
    agent.kill('SIGKILL');
    await agent.exited;
  });

  test('the command that the installer puts into the search path: its runtime, its flags, its arguments, its exit code', async () => {
    const installer = readFileSync(INSTALLER, 'utf8');
    const wrapper = /\$Wrapper = @'\n([\s\S]*?)\n'@/.exec(installer)![1]!.replaceAll('\n', '\r\n');
    mkdirSync(join(files.programs, 'bin'), { recursive: true });
    writeFileSync(join(files.programs, 'bin/tidemark-agent.cmd'), wrapper.replace('@ACCOUNT@', 'S-1-5-19'));
    const program = windowsPath(join(files.programs, 'bin/tidemark-agent.cmd'));
    const log = join(directory, 'command.log');
    const command = async (...args: string[]): Promise<{ code: number | string; said: string }> => {
      rmSync(log, { force: true });
      const done = wine.start('cmd', ['/c', ...args], log);
      started.push(done);
      return { code: await done.exited, said: done.output() };
    };
    expect(await command(program, '--version')).toEqual({ code: 0, said: expect.stringContaining(files.version) });
    expect(await command(program, 'run', '--config', 'C:\\none.yaml')).toEqual({
      code: 78,
      said: expect.stringContaining('C:\\none.yaml: cannot be read'),
    });
    // Quotation marks go through a file: a shell of Wine's takes those of its own command line apart. Its `call` also loses exit codes.
    const file = join(directory, 'command.cmd');
    writeFileSync(file, `@echo off\r\ncall "${program}" collect --json --hostname "a b & c"\r\n`);
    expect((await command(windowsPath(file))).said).toContain('"hostname": "a b & c"');
  });
});
