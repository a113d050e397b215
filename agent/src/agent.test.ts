import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Value } from 'typebox/value';
import { ReportRequest, type Observation } from '@tidemark/protocol';
import { createLog, ManualClock, systemClock } from '@tidemark/service';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createAgent, type Agent, type AgentFigures, type AgentOptions } from './agent.ts';
import type { Probe } from './probes/probe.ts';
import { metric } from './probes/recorder.ts';
import { openDiskSpool } from './spool/disk-spool.ts';
import { MemorySpool } from './spool/memory-spool.ts';
import { createConnections } from './uplink/connections.ts';
import { answer, acknowledge, startTestingCollector, type TestingCollector } from './uplink/testing.ts';

const log = createLog('test', 'silent');
const value = metric('test_value', 'gauge', '', 'A value.', ['which']);
const BOUNDS = { sizeBytesMax: 1e9, ageMsMax: 1e9 };

let collector: TestingCollector;
let agents: Agent[] = [];
beforeEach(async () => void (collector = await startTestingCollector()));
afterEach(async () => {
  await Promise.all(agents.map((agent) => agent.stop()));
  agents = [];
  await collector.shut();
});

function probe(collect: Probe['collect'] = (context) => context.block().add(value, 1, 'a'), more: Partial<Probe> = {}): Probe {
  return { name: 'test', collect, ...more };
}
/** Ticks come far apart: tests ask for reports themselves. */
function create(probes: readonly Probe[], changes: Partial<AgentOptions> = {}): Agent {
  const agent = createAgent({
    identity: { version: '1.2.3', platform: 'linux-x64', hostname: 'db-1', site: 'berlin', tags: { role: 'db' }, intervalMs: 3_600_000 },
    server: collector.url,
    token: () => 'tma_x',
    probes: () => probes,
    spool: new MemorySpool(BOUNDS, systemClock),
    clock: systemClock,
    random: Math.random,
    log,
    ...changes,
  });
  agents.push(agent);
  return agent;
}
const idle = async (agent: Agent): Promise<void> => {
  while (agent.state().spool.reports > 0) await new Promise((resolve) => setTimeout(resolve, 2));
};

describe('a report', () => {
  test('is taken at once and has the form that was agreed on', async () => {
    const agent = create([probe()]);
    agent.start();
    await collector.received(1);
    const { body } = collector.requests[0]!;
    expect([...Value.Errors(ReportRequest, body)]).toEqual([]);
    expect(body).toMatchObject({
      agent: {
        version: '1.2.3',
        platform: 'linux-x64',
        hostname: 'db-1',
        site: 'berlin',
        tags: { role: 'db' },
        intervalSeconds: 3600,
        lostReports: 0,
      },
      bootId: agent.bootId,
      reports: [{ bootId: agent.bootId, sequence: 1 }],
    });
    const [report] = body.reports;
    expect(Math.abs(report!.takenAt - Date.now())).toBeLessThan(5_000);
    expect(body.sentMonotonicMs).toBeGreaterThanOrEqual(report!.monotonicMs);
    expect(report).not.toHaveProperty('urgent');
    expect(body.layouts!.map(({ hash }) => hash).toSorted()).toEqual(report!.blocks.map(({ layout }) => layout).toSorted());
    const own = body.layouts!.find(({ probe: name }) => name === 'test')!;
    expect(own.series).toEqual([{ name: 'test_value', labels: [['which', 'a']], unit: '', type: 'gauge', help: 'A value.' }]);
  });

  test('carries the values that JSON has no number for, and what was not measured', async () => {
    const agent = create([
      probe((context) => {
        const block = context.block();
        for (const [i, one] of [
          Number.NaN,
          Number.POSITIVE_INFINITY,
          Number.NEGATIVE_INFINITY,
          null,
          undefined,
          -0,
          5e-324,
          2 ** 60,
        ].entries())
          block.add(value, one, String(i));
      }),
    ]);
    agent.start();
    await collector.received(1);
    expect(collector.requests[0]!.body.reports[0]!.blocks[0]!.values).toEqual(['NaN', '+Inf', '-Inf', null, null, 0, 5e-324, 2 ** 60]);
  });

  test('can be urgent, out of turn', async () => {
    const agent = create([probe()]);
    agent.start();
    await collector.received(1);
    await agent.reportNow({ urgent: true });
    await collector.received(2);
    expect(collector.requests[1]!.body.reports).toMatchObject([{ sequence: 2, urgent: true }]);
  });

  test('asked for many times at once: one after the other, none twice', async () => {
    let running = 0;
    let most = 0;
    const agent = create([
      probe(async (context) => {
        most = Math.max(most, ++running);
        await new Promise((resolve) => setImmediate(resolve));
        running--;
        context.block().add(value, 1, 'a');
      }),
    ]);
    agent.start();
    await Promise.all(Array.from({ length: 10 }, () => agent.reportNow()));
    await idle(agent);
    expect(most).toBe(1);
    expect(new Set(collector.committed).size).toBe(11);
    expect(collector.committed).toHaveLength(11);
  });

  test('comes although a probe throws and another hangs', async () => {
    const agent = create([
      probe(() => Promise.reject(new Error('no such file')), { name: 'throws' }),
      probe(() => new Promise(() => undefined), { name: 'hangs', timeoutMs: 30 }),
      probe(),
    ]);
    agent.start();
    await collector.received(1);
    const { layouts, reports } = collector.requests[0]!.body;
    expect(layouts!.map((layout) => layout.probe).toSorted()).toEqual(['agent', 'test']);
    const own = layouts!.find((layout) => layout.probe === 'agent')!;
    const values = reports[0]!.blocks.find(({ layout }) => layout === own.hash)!.values;
    const success = Object.fromEntries(
      own.series.flatMap(({ name, labels }, i) => (name === 'tidemark_probe_success' ? [[labels[0]![1], values[i]]] : [])),
    );
    expect(success).toEqual({ throws: 0, hangs: 0, test: 1 });
    expect(agent.state().probes.map(({ trouble }) => trouble)).toEqual(['no such file', 'took longer than 30 ms', undefined]);
  });
});

describe('observations', () => {
  test('go when they are new, when they change, hourly, and after a loss', async () => {
    const clock = new ManualClock(Date.now());
    const spool = new MemorySpool({ sizeBytesMax: 1e9, ageMsMax: 100_000_000 }, clock);
    let document = { a: 1 };
    const seen: Observation = { kind: 'test.thing', version: 1, instance: 'x', document };
    const agent = create([probe((context) => context.observe({ ...seen, document }))], { clock, spool });
    const carried = async (): Promise<boolean> => {
      await agent.reportNow();
      return JSON.parse(String((await spool.read([spool.newest()!]))[0])).observations !== undefined;
    };
    expect(await carried()).toBe(true);
    expect(await carried()).toBe(false);
    document = { a: 2 };
    expect(await carried()).toBe(true);
    expect(await carried()).toBe(false);
    clock.advance(3_599_000);
    expect(await carried()).toBe(false);
    clock.advance(2_000);
    expect(await carried()).toBe(true);
    expect(await carried()).toBe(false);
    spool.giveUp([spool.newest()!]);
    expect(await carried()).toBe(true);
  });

  test('of PostgreSQL servers are told in the state', async () => {
    const document = { up: false, role: null, version: null, detail: 'nothing listens', insufficientPrivilege: false };
    const agent = create([probe((context) => context.observe({ kind: 'postgres.replication', version: 1, instance: 'db', document }))]);
    await agent.reportNow();
    expect(agent.state().postgres).toEqual([{ instance: 'db', up: false, role: null, version: null, detail: 'nothing listens' }]);
  });
});

describe('the agent about itself', () => {
  test('its probes know the clock’s offset, what was lost and what waits', async () => {
    let figures: AgentFigures | undefined;
    const spool = new MemorySpool(BOUNDS, systemClock);
    const agent = create([], { spool, probes: (given) => ((figures = given), [probe()]) });
    expect(figures!.clockOffset()).toBeUndefined();
    await agent.reportNow();
    expect(figures!.spoolBytes()).toBeGreaterThan(50);
    agent.start();
    await idle(agent);
    expect(Math.abs(figures!.clockOffset()!)).toBeLessThan(1_000);
    expect(figures!.spoolBytes()).toBe(0);
    expect(figures!.reportsLost()).toBe(0);
  });
});

describe('stopping', () => {
  test('flushes, closes the probes, and takes no more reports', async () => {
    let closed = false;
    const agent = create([probe(undefined, { close: () => void (closed = true) })]);
    agent.start();
    await agent.reportNow();
    await agent.stop();
    expect(collector.committed).toHaveLength(2);
    expect(closed).toBe(true);
    await agent.reportNow();
    expect(agent.state().sequence).toBe(2);
  });

  test('ends in time although a probe hangs and the collector too', async () => {
    collector.always(() => undefined);
    const agent = create([probe(() => new Promise(() => undefined), { timeoutMs: 60_000 })]);
    agent.start();
    const startedMs = performance.now();
    await agent.stop();
    expect(performance.now() - startedMs).toBeLessThan(4_000);
  });
});

test('fifty agents in one process, over shared connections, through an outage: every report arrives once', async () => {
  const connections = createConnections(collector.url);
  let away = true;
  collector.always((request, response) => {
    if (away) return answer(503, '', { 'retry-after': '0' })(request, response);
    for (const { bootId, sequence } of request.body.reports) collector.committed.push(`${bootId} ${sequence}`);
    answer(200, acknowledge(request))(request, response);
  });
  const fleet = Array.from({ length: 50 }, (_, i) =>
    create([probe()], {
      connections,
      identity: { version: '1', platform: 'linux-x64', hostname: `node-${i}`, intervalMs: 3_600_000 },
      backoff: { baseMs: 10, maxMs: 50 },
    }),
  );
  for (const agent of fleet) agent.start();
  for (let round = 0; round < 4; round++) await Promise.all(fleet.map((agent) => agent.reportNow()));
  away = false;
  await Promise.all(fleet.map(idle));
  const wanted = fleet.flatMap(({ bootId }) => [1, 2, 3, 4, 5].map((sequence) => `${bootId} ${sequence}`));
  expect(collector.committed.toSorted()).toEqual(wanted.toSorted());
  connections.destroy();
});

test('a new process sends what the old one left, and then its own', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-agent-'));
  const spool = () => openDiskSpool({ directory: join(directory, 'spool'), bounds: BOUNDS, clock: systemClock, log });
  await collector.shut();
  const first = create([probe()], { spool: spool() });
  for (let i = 0; i < 5; i++) await first.reportNow();
  await first.stop();
  await collector.reopen();
  const second = create([probe()], { spool: spool() });
  second.start();
  await collector.until(() => collector.committed.length >= 6);
  await idle(second);
  expect(collector.committed).toEqual([`${second.bootId} 1`, ...[1, 2, 3, 4, 5].map((sequence) => `${first.bootId} ${sequence}`)]);
  await second.stop();
  rmSync(directory, { recursive: true });
});
