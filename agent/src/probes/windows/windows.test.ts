/** The Windows probes over recorded answers of the service host, and the link over a real pipe that answers, lies, hangs, breaks and comes back. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HEADLINE } from '@tidemark/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createProbes } from '../index.ts';
import { portableFilesystemProbe } from '../portable.ts';
import { fixture, record } from '../recorded.ts';
import { windowsDiskProbe } from './disk.ts';
import { listFixedDrives } from './drives.ts';
import { createHostLink, type HostLink, type HostQuestion } from './host-link.ts';
import { windowsFacts } from './machine.ts';
import { windowsMemoryProbe } from './memory.ts';
import { windowsNetworkProbe } from './network.ts';
import { windowsServicesProbe } from './services.ts';

const answers = JSON.parse(readFileSync(fixture('windows-server', 'answers.json'), 'utf8')) as Record<string, unknown>;
const host: HostLink = { ask: (question) => Promise.resolve(answers[question]), close: () => {} };
const hostSaying = (answer: unknown): HostLink => ({ ask: () => Promise.resolve(answer), close: () => {} });

describe('probes', () => {
  test('network: the series of Linux; what was not told is no zero, and a link that is down has no speed', async () => {
    const { values } = await record(windowsNetworkProbe(host));
    expect(Object.fromEntries([...values].filter(([key]) => key.includes('"Ethernet"')))).toEqual({
      'node_network_receive_bytes_total{device="Ethernet"}': 734523984512,
      'node_network_receive_packets_total{device="Ethernet"}': 612345678,
      'node_network_receive_errs_total{device="Ethernet"}': 0,
      'node_network_receive_drop_total{device="Ethernet"}': 12,
      'node_network_transmit_bytes_total{device="Ethernet"}': 98234987234,
      'node_network_transmit_packets_total{device="Ethernet"}': 312345678,
      'node_network_transmit_errs_total{device="Ethernet"}': 0,
      'node_network_transmit_drop_total{device="Ethernet"}': 0,
      'node_network_up{device="Ethernet"}': 1,
      'node_network_speed_bytes{device="Ethernet"}': 125_000_000,
    });
    expect(values.get('node_network_up{device="Ethernet 2"}')).toBe(0);
    expect(values.has('node_network_speed_bytes{device="Ethernet 2"}')).toBe(false);
    expect(values.get('node_network_transmit_bytes_total{device="vEthernet (Schlüssel)"}')).toBeNull();
  });

  test('disk: the series of Linux, times in seconds, and how many wait', async () => {
    const { values } = await record(windowsDiskProbe(host));
    expect(Object.fromEntries([...values].slice(0, 8))).toEqual({
      'node_disk_reads_completed_total{device="PhysicalDrive0"}': 1234567,
      'node_disk_read_bytes_total{device="PhysicalDrive0"}': 45678901234,
      'node_disk_read_time_seconds_total{device="PhysicalDrive0"}': 123.45,
      'node_disk_writes_completed_total{device="PhysicalDrive0"}': 7654321,
      'node_disk_written_bytes_total{device="PhysicalDrive0"}': 98765432109,
      'node_disk_write_time_seconds_total{device="PhysicalDrive0"}': 654.321,
      'node_disk_io_now{device="PhysicalDrive0"}': 3,
      'node_disk_io_time_seconds_total{device="PhysicalDrive0"}': 2.5,
    });
    expect(values.size).toBe(16);
  });

  test('services: those that should run; not what waits for a trigger, ends by itself, or was disabled', async () => {
    const { values } = await record(windowsServicesProbe(host));
    expect(Object.fromEntries(values)).toEqual({
      'windows_service_state{name="EventLog",state="running"}': 1,
      'windows_service_state{name="Half",state="running"}': null,
      'windows_service_state{name="Spooler",state="running"}': 0,
      'windows_service_state{name="postgresql-x64-16",state="running"}': 1,
      'windows_service_state{name="postgresql-x64-17",state="running"}': 0,
      tidemark_windows_services_not_running: 2,
    });
  });

  test('services: the order of the host does not change the layout', async () => {
    const { services } = answers['services'] as { services: unknown[] };
    const one = await record(windowsServicesProbe(host));
    const other = await record(windowsServicesProbe(hostSaying({ services: services.toReversed() })));
    expect(other.hash).toBe(one.hash);
  });

  test('memory: what Windows has promised', async () => {
    const { values } = await record(windowsMemoryProbe(host));
    expect(values.get('windows_memory_committed_bytes')).toBe(6442450944);
    expect(values.get('windows_memory_commit_limit')).toBe(10737418240);
    expect(values.get('windows_system_processes')).toBe(123);
    const sparse = (await record(windowsMemoryProbe(hostSaying({ processes: 'many' })))).values;
    expect(new Set(sparse.values())).toEqual(new Set([null]));
  });

  test.each([[null], [[]], ['text'], [{}], [{ interfaces: {} }]])('an answer of another form is said: %j', async (answer) => {
    await expect(record(windowsNetworkProbe(hostSaying(answer)))).rejects.toThrow('in another form');
  });

  test('drives: the fixed ones are asked, and nothing else is touched', async () => {
    const asked: string[] = [];
    const probe = portableFilesystemProbe({
      platform: 'win32',
      listDrives: () => listFixedDrives(host),
      statfs: async (path) => {
        asked.push(path);
        return { bsize: 4096, blocks: 1000, bfree: 250, bavail: 250, files: 0, ffree: 0 };
      },
      monotonicMs: () => 0,
    });
    const { values } = await record(probe);
    expect(asked).toEqual(['C:\\', 'E:\\']);
    expect(values.get(`${HEADLINE.filesystemUsageRatio}{device="E:",fstype="ReFS",mountpoint="E:"}`)).toBe(0.75);
  });

  test('machine: what the registry says, with the name that Windows 11 does not give itself', async () => {
    expect(await windowsFacts(host)).toEqual({
      osName: 'Windows Server 2022 Standard 21H2 (Server Core)',
      osId: 'windows',
      osVersion: '10.0.20348',
      cpuModel: 'Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz',
      hardware: { vendor: 'VMware, Inc.', product: 'VMware7,1' },
      virtualisation: { kind: 'vm', technology: 'vmware' },
    });
    const eleven = hostSaying({ product: 'Windows 10 Pro', displayVersion: '23H2', build: '22631', installationType: 'Client' });
    expect(await windowsFacts(eleven)).toMatchObject({ osName: 'Windows 11 Pro 23H2', virtualisation: { kind: 'unknown' } });
    const metal = hostSaying({ vendor: 'Dell Inc.', model: 'PowerEdge R640' });
    expect(await windowsFacts(metal)).toMatchObject({ osName: null, virtualisation: { kind: 'none', technology: null } });
  });

  test('no probe starts a process', () => {
    const probes = fileURLToPath(new URL('..', import.meta.url));
    const sources = readdirSync(probes, { recursive: true, encoding: 'utf8' }).filter((file) => /(?<!\.test)\.ts$/.test(file));
    expect(sources.length).toBeGreaterThan(30);
    expect(sources.filter((file) => /child_process|process\.binding/.test(readFileSync(join(probes, file), 'utf8')))).toEqual([]);
    // The one library that does is for a system without a host, once a day.
    expect(sources.filter((file) => readFileSync(join(probes, file), 'utf8').includes("import('systeminformation')"))).toEqual([
      'inventory.ts',
    ]);
  });

  test('without a host: the four probes fail with the reason and record nothing; drives are still found by their letters', async () => {
    const without = createHostLink(undefined);
    const probes = createProbes({ platform: 'win32', clockOffset: () => 0, reportsLost: () => 0, spoolBytes: () => 0, host: without });
    const failed: string[] = [];
    for (const probe of probes.filter(({ name }) => ['network', 'disk', 'services', 'windows-memory'].includes(name))) {
      await expect(record(probe)).rejects.toThrow('the Windows service host is not there');
      failed.push(probe.name);
    }
    expect(failed).toHaveLength(4);
    expect(await listFixedDrives(without)).toBeUndefined();
  });
});

describe('the link', () => {
  let directory: string;
  let path: string;
  let server: Server;
  let connections: Socket[];
  /** What the other end does with a question. */
  let behave: (question: string, socket: Socket) => void;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'tidemark-pipe-'));
    path = join(directory, 'pipe');
    connections = [];
    behave = (question, socket) => void socket.write(`${JSON.stringify({ question })}\n`);
    await listen();
  });
  afterEach(async () => {
    await silence();
    rmSync(directory, { recursive: true, force: true });
  });

  async function listen(): Promise<void> {
    server = createServer((socket) => {
      connections.push(socket);
      socket.setEncoding('utf8').on('error', () => {});
      socket.on('data', (text: string) => {
        for (const question of text.split('\n').filter(Boolean)) behave(question, socket);
      });
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
  }
  async function silence(): Promise<void> {
    for (const socket of connections) socket.destroy();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  }
  const ask = (link: HostLink, question: HostQuestion): Promise<unknown> => link.ask(question);

  test('one connection, questions in order, answers to whom they belong', async () => {
    const link = createHostLink(path);
    const questions = ['network', 'disks', 'services', 'memory'] as const;
    expect(await Promise.all(questions.map((question) => ask(link, question)))).toEqual(questions.map((question) => ({ question })));
    expect(await ask(link, 'drives')).toEqual({ question: 'drives' });
    expect(connections).toHaveLength(1);
    link.close();
  });

  test('an answer in many pieces is one answer', async () => {
    const answer = JSON.stringify({ text: 'ü'.repeat(100_000) });
    behave = (_question, socket) => {
      const bytes = Buffer.from(`${answer}\n`);
      // In the middle of a character too.
      for (let at = 0; at < bytes.length; at += 9_999) socket.write(bytes.subarray(at, at + 9_999));
    };
    const link = createHostLink(path);
    expect(await ask(link, 'machine')).toEqual(JSON.parse(answer));
    link.close();
  });

  test('what the host cannot tell is said in its words, and the next question is answered', async () => {
    const link = createHostLink(path);
    behave = (_question, socket) => void socket.write('{"error":"Access is denied"}\n');
    await expect(ask(link, 'disks')).rejects.toThrow('the Windows service host cannot tell: Access is denied');
    behave = (_question, socket) => void socket.write('{}\n');
    expect(await ask(link, 'disks')).toEqual({});
    link.close();
  });

  test.each([
    ['no JSON', 'none\n', 'no JSON'],
    ['more than was asked', '{}\n{}\n', 'what it was not asked'],
    ['no end', 'x'.repeat(600_000), 'without an end'],
  ])('%s is an error of that question, and a new connection answers the next', async (_what, text, sentence) => {
    const link = createHostLink(path);
    const good = behave;
    behave = (_question, socket) => void socket.write(text);
    await expect(ask(link, 'network')).rejects.toThrow(sentence);
    behave = good;
    expect(await ask(link, 'network')).toEqual({ question: 'network' });
    link.close();
  });

  test('a host that hangs costs its time once: all who wait hear it, and a late answer goes nowhere', async () => {
    const link = createHostLink(path, 100);
    const good = behave;
    behave = () => {};
    const failures = await Promise.allSettled([ask(link, 'network'), ask(link, 'disks')]);
    expect(failures.map((one) => one.status === 'rejected' && (one.reason as Error).message)).toEqual([
      'the Windows service host did not answer within 100 ms',
      'the Windows service host did not answer within 100 ms',
    ]);
    behave = good;
    expect(await ask(link, 'memory')).toEqual({ question: 'memory' });
    expect(connections).toHaveLength(2);
    link.close();
  });

  test('a host that went is said, and found again when it is back', async () => {
    const link = createHostLink(path);
    await ask(link, 'network');
    behave = (_question, socket) => void socket.destroy();
    await expect(ask(link, 'network')).rejects.toThrow('closed its pipe');
    await silence();
    await expect(ask(link, 'network')).rejects.toThrow(/failed \((ENOENT|ECONNREFUSED)\)/);
    behave = (question, socket) => void socket.write(`${JSON.stringify({ question })}\n`);
    await listen();
    expect(await ask(link, 'network')).toEqual({ question: 'network' });
    link.close();
  });

  test('closed, it lets nobody wait', async () => {
    const link = createHostLink(path);
    behave = () => {};
    const asked = ask(link, 'network');
    link.close();
    await expect(asked).rejects.toThrow('the agent stops');
  });
});
