/**
 * The collector's clock is set by an hour, forward and back, while a bound is crossed and while its alert is open
 * (libfaketime): a duration takes as long as it takes, and nobody is called silent.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PostgresCluster, type PostgresInstance } from '../postgres/cluster.ts';
import { AlertingCollector, CROSSED, LOAD_RULE, QUIET, report } from './alerting-collector.ts';
import { fakeTime } from './fake-time.ts';
import type { RawAgent } from './raw-agent.ts';

const FOR_S = 5;
const directory = mkdtempSync(join(tmpdir(), 'tidemark-alert-clock-'));
const shiftFile = join(directory, 'shift');
let cluster: PostgresCluster;
let database: PostgresInstance;
let day: AlertingCollector;
let agent: RawAgent;
let load = QUIET;
let isOver = false;
let reporting: Promise<void>;

beforeAll(async () => {
  writeFileSync(shiftFile, '+0');
  cluster = new PostgresCluster();
  database = await cluster.startPrimary({ version: 18, name: 'store' });
  day = await new AlertingCollector({
    rules: [{ ...LOAD_RULE, critical: { above: 90, clear: 80, for: `${FOR_S}s`, clearAfter: `${FOR_S}s` } }],
    environment: { TIDEMARK_DATABASE_URL: database.url, ...fakeTime(shiftFile) },
  }).start();
  [agent] = (await day.agents(['n1'])) as [RawAgent];
  const run = async (): Promise<void> => {
    const goesOn = (): boolean => !isOver;
    while (goesOn()) {
      await report(agent, load);
      await pause(250);
    }
  };
  reporting = run();
});

afterAll(async () => {
  isOver = true;
  await reporting;
  await day?.stop();
  await cluster?.stopAll();
  rmSync(directory, { recursive: true, force: true });
});

/** Sets the load, and two seconds later the clock. Resolves with the seconds from the load to the telling. */
async function turn(to: number, shift: string, told: number): Promise<number> {
  load = to;
  const from = performance.now();
  await pause(2_000);
  writeFileSync(shiftFile, shift);
  await day.hook.until('of it', () => day.told('n1').length === told);
  return (performance.now() - from) / 1_000;
}

test.each([
  ['forward', '+1h', 'back', '+0'],
  ['back', '-1h', 'forward', '+0'],
])('set an hour %s (%s) while it is crossed, and %s (%s) while it clears', async (_, during, __, after) => {
  const before = day.told('n1').length;
  for (const seconds of [await turn(CROSSED, during, before + 1), await turn(QUIET, after, before + 2)]) {
    // Not sooner than it was true for so long; a moment later, for the samples and the way.
    expect(seconds).toBeGreaterThanOrEqual(FOR_S - 0.5);
    expect(seconds).toBeLessThan(FOR_S + 10);
  }
  expect(day.told('n1').slice(before)).toEqual(['firing critical', 'resolved critical']);
  expect(day.hook.alerts.filter(({ rule }) => rule !== 'load')).toEqual([]);
});
