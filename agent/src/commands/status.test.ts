import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLog, loadOptions } from '@tidemark/service';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AGENT_OPTIONS, type Surroundings } from '../config.ts';
import { StatusFile, readStatus, type AgentStatus } from '../status.ts';
import { status, STATUS_EXIT, troublesOf } from './status.ts';

const NOW = Date.UTC(2026, 5, 1, 12);
const surroundings: Surroundings = { environment: {}, platform: 'linux', uid: 1000 };
let dataDir: string;
beforeEach(() => (dataDir = mkdtempSync(join(tmpdir(), 'tidemark-status-'))));
afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

function written(changes: Partial<AgentStatus> = {}): AgentStatus {
  return {
    version: '1.2.3',
    pid: process.ppid,
    startedAt: NOW - 3_600_000,
    writtenAt: NOW - 2_000,
    server: 'http://collector:5000/',
    hostname: 'db-1',
    intervalSeconds: 15,
    lastReportAt: NOW - 4_000,
    uplink: {
      phase: 'connected',
      since: NOW - 3_599_000,
      detail: '',
      node: { name: 'db-1', state: 'approved', site: 'berlin' },
      lastAcknowledgedAt: NOW - 4_000,
      newAddress: undefined,
      clockOffsetMs: 12,
    },
    spool: { reports: 0, sizeBytes: 0, oldestTakenAt: undefined, lost: 0, trouble: undefined },
    probes: [{ name: 'cpu', success: true, durationMs: 1, trouble: undefined, lastRunAt: NOW }],
    postgres: [{ instance: 'localhost:5432', up: true, role: 'primary', version: '17.4', detail: null }],
    ...changes,
  };
}
/** As of an agent that runs: this test's own parent plays it. */
function put(one: AgentStatus | undefined, pid: number | null = process.ppid): void {
  if (pid !== null) writeFileSync(join(dataDir, 'agent.pid'), `${pid}\n`);
  if (one !== undefined) writeFileSync(join(dataDir, 'status.json'), JSON.stringify(one));
}
function ask(json = false): { output: string; exitCode: number } {
  const { values } = loadOptions('test', AGENT_OPTIONS, { flags: { dataDir }, environment: {} });
  return status(values, surroundings, NOW, json);
}

describe('status', () => {
  test('PostgreSQL servers that nobody watches are named with what to run, and are no trouble', () => {
    put(
      written({
        discovered: [{ address: '/run/x/.s.PGSQL.5432', how: 'socket', watched: false, command: 'tidemark-agent postgres setup' }],
      }),
    );
    const { output, exitCode } = ask();
    expect(exitCode).toBe(STATUS_EXIT.fine);
    expect(output).toContain(
      'All is well.\n\n1 PostgreSQL server found here and not watched; to watch:\n  - /run/x/.s.PGSQL.5432: tidemark-agent postgres setup\n',
    );
  });

  test('what the collector, or whoever answers in its place, says moves no cursor', () => {
    const evil = '\u001b[2J\u001b]0;x\u0007\u202edb';
    const uplink = { ...written().uplink, phase: 'rejected' as const, detail: evil, node: { name: evil, state: evil, site: evil } };
    put(
      written({
        server: evil,
        hostname: evil,
        uplink: { ...uplink, newAddress: evil, moveTrouble: evil, server: `http://${evil}` },
        probes: [{ name: evil, success: false, durationMs: 1, trouble: evil, lastRunAt: NOW }],
        postgres: [{ instance: evil, up: false, role: evil, version: evil, detail: evil }],
      }),
    );
    expect(ask().output.replaceAll('\n', '')).not.toMatch(/\p{Cc}|\p{Cf}/u);
  });

  test.skipIf(process.platform === 'win32')('asked by root, a link or a pipe in the agent’s directory is not what it says', async () => {
    put(written());
    const elsewhere = join(dataDir, 'elsewhere.json');
    renameSync(join(dataDir, 'status.json'), elsewhere);
    symlinkSync(elsewhere, join(dataDir, 'status.json'));
    expect(readStatus(dataDir)).toBeUndefined();
    rmSync(join(dataDir, 'status.json'));
    for (const name of ['status.json', 'agent.pid']) {
      rmSync(join(dataDir, name), { force: true });
      execFileSync('mkfifo', [join(dataDir, name)]);
    }
    // Whoever reads a pipe to which nobody writes waits for ever; this one comes late.
    const late = spawn('sh', [
      '-c',
      'sleep 8; for one in agent.pid status.json; do timeout 4 sh -c ": >$1/$one" sh "$1"; done',
      'sh',
      dataDir,
    ]);
    const begun = performance.now();
    expect(ask()).toMatchObject({ exitCode: STATUS_EXIT.notRunning });
    expect(performance.now() - begun).toBeLessThan(4_000);
    late.kill();
    await new Promise((resolve) => late.once('exit', resolve));
  });

  test('all is well', () => {
    put(written());
    const { output, exitCode } = ask();
    expect(exitCode).toBe(STATUS_EXIT.fine);
    expect(output).toBe(
      [
        'node        db-1, approved, site berlin',
        `agent       1.2.3, process ${process.ppid}, up 60 min`,
        'collector   http://collector:5000/: connected since 59 min',
        'reports     every 15 s; last taken 4 s ago, last acknowledged 4 s ago',
        'waiting     nothing',
        'lost        nothing',
        "clock       12 ms ahead of the collector's",
        'probes      1 of 1 well',
        'PostgreSQL  localhost:5432: up, primary, 17.4',
        '',
        'All is well.',
        '',
      ].join('\n'),
    );
  });

  test('not running, with and without a last word', () => {
    expect(ask()).toEqual({ exitCode: STATUS_EXIT.notRunning, output: `No agent runs on ${dataDir}.\n` });
    put(written({ spool: { ...written().spool, reports: 1 } }), null);
    expect(ask()).toMatchObject({
      exitCode: STATUS_EXIT.notRunning,
      output: `No agent runs on ${dataDir}. It last said something 2 s ago, and 1 report waited then.\n`,
    });
  });

  test('just started', () => {
    put(undefined);
    expect(ask()).toMatchObject({
      exitCode: STATUS_EXIT.troubled,
      output: `The agent (process ${process.ppid}) has just started and has said nothing yet.\n`,
    });
    put(written({ pid: 1 }));
    expect(ask().exitCode).toBe(STATUS_EXIT.troubled);
  });

  test('a status file that is damaged is none', () => {
    put(written());
    writeFileSync(join(dataDir, 'status.json'), '{"pid":');
    expect(ask().exitCode).toBe(STATUS_EXIT.troubled);
  });

  test('for programs', () => {
    put(written());
    expect(JSON.parse(ask(true).output)).toMatchObject({ running: true, troubles: [], uplink: { phase: 'connected' } });
  });

  test('troubles are listed and counted', () => {
    put(written({ spool: { ...written().spool, reports: 240, sizeBytes: 2_000_000, oldestTakenAt: NOW - 3_600_000, lost: 1 } }));
    const { output, exitCode } = ask();
    expect(exitCode).toBe(STATUS_EXIT.troubled);
    expect(output).toContain('waiting     240 reports, 1.91 MiB, the oldest from 60 min ago');
    expect(output).toContain('1 trouble:\n  - 1 report lost since the start\n');
  });
});

describe('what troubles an agent', () => {
  const { uplink, spool } = written();
  test.each<[string, Partial<AgentStatus>, RegExp]>([
    ['no reports', { lastReportAt: NOW - 61_000 }, /^no report was taken for 61 s$/],
    [
      'unreachable',
      { uplink: { ...uplink, phase: 'unreachable', since: NOW - 600_000, detail: 'no route' } },
      /^unreachable since 10 min: no route$/,
    ],
    ['revoked', { uplink: { ...uplink, phase: 'node_revoked', detail: 'gone' } }, /^node revoked since 59 min: gone$/],
    ['moving', { uplink: { ...uplink, newAddress: 'https://new' } }, /moving to https:\/\/new/],
    ['disk', { spool: { ...spool, trouble: '/x: its file system is full' } }, /not on disk: \/x: its file system is full/],
    ['clock', { uplink: { ...uplink, clockOffsetMs: -3_600_000 } }, /60 min behind the collector's$/],
    [
      'probe',
      { probes: [{ name: 'disk', success: false, durationMs: 1, trouble: 'no such file', lastRunAt: NOW }] },
      /^probe disk: no such file$/,
    ],
    [
      'PostgreSQL',
      { postgres: [{ instance: 'db', up: false, role: null, version: null, detail: 'refused' }] },
      /^PostgreSQL db is down: refused$/,
    ],
  ])('%s', (_name, changes, sentence) => {
    expect(troublesOf(written(changes), NOW)).toEqual([expect.stringMatching(sentence)]);
  });
});

test('the file is written soon when it matters, and seldom when only times change', async () => {
  let writes = 0;
  let lost = 0;
  const file = new StatusFile(
    dataDir,
    () => written({ writtenAt: ++writes, spool: { ...written().spool, lost } }),
    createLog('test', 'silent'),
  );
  const reached = async (count: number): Promise<void> => {
    while (readStatus(dataDir)?.spool.lost !== count) await new Promise((resolve) => setTimeout(resolve, 2));
  };
  for (let i = 0; i < 100; i++) file.changed();
  await reached(0);
  const { writtenAt } = readStatus(dataDir)!;
  for (let i = 0; i < 100; i++) file.changed();
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(readStatus(dataDir)!.writtenAt).toBe(writtenAt);
  lost = 1;
  file.changed();
  await reached(1);
  lost = 2;
  await file.close();
  expect(readStatus(dataDir)!.spool.lost).toBe(2);
});

test('a data directory that is gone is said once and crashes nothing', async () => {
  rmSync(dataDir, { recursive: true });
  const file = new StatusFile(dataDir, () => written(), createLog('test', 'silent'));
  await expect(file.close()).resolves.toBeUndefined();
});
