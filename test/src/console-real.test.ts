/**
 * The console over a real collector with a real agent and a real PostgreSQL: every chart that a node's page offers
 * has values, so what the console asks for is what agents measure and the collector answers.
 */
/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Overview, Replication } from '@tidemark/protocol';
import { chromium, type Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PostgresCluster, waitUntil, type PostgresInstance } from './postgres/cluster.ts';
import { startAgent, startCollector, type Program, type RunningCollector } from './programs.ts';

const PICTURE = fileURLToPath(new URL('../../test-results/console/node-real-dark.png', import.meta.url));
/** Charts of rates need two bins with reports, and bins are ten seconds where an hour is shown on a screen. */
const REPORTS_SECONDS = 35;

let directory: string;
let cluster: PostgresCluster;
let primary: PostgresInstance;
let standby: PostgresInstance;
let collector: RunningCollector;
let agent: Program;
let browser: Browser;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tidemark-console-real-'));
  mkdirSync(join(directory, 'collector'));
  cluster = new PostgresCluster();
  const version = PostgresCluster.versions().at(-1)!;
  [primary, collector] = await Promise.all([
    cluster.startPrimary({ version, name: 'primary' }),
    startCollector({ dataDir: join(directory, 'collector') }),
  ]);
  standby = await cluster.addStandby(primary, { name: 'standby' });
  const { token } = await collector.api<{ token: string }>('POST', '/api/telemetry/nodes', { name: 'db1', site: 'berlin' });
  const postgres = [{ url: primary.url, name: 'main' }];
  agent = startAgent({
    collectorUrl: collector.url,
    token,
    hostname: 'db1',
    directory: join(directory, 'db1'),
    intervalSeconds: 1,
    postgres,
  });
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run'],
  });
}, 240_000);

afterAll(async () => {
  await browser?.close();
  await agent?.stop();
  await collector?.stop();
  await cluster?.stopAll();
  rmSync(directory, { recursive: true, force: true });
}, 60_000);

test('every chart of a real node has values', async () => {
  const began = Date.now();
  await waitUntil(async () => {
    const { nodes } = await collector.api<Overview>('GET', '/api/telemetry/overview');
    return nodes[0]?.up === true && nodes[0].cpu.usageRatio !== null && nodes[0].postgres[0]?.replicas.length === 1;
  });
  const context = await browser.newContext({ viewport: { width: 1440, height: 3_200 }, colorScheme: 'dark' });
  const page = await context.newPage();
  const remarks: string[] = [];
  page.on('console', (message) => remarks.push(message.text()));
  page.on('pageerror', (error) => remarks.push(error.message));
  await page.goto(`${collector.url}/nodes/db1?range=1h`);
  await page.getByLabel('Token', { exact: true }).fill(collector.adminToken);
  await page.keyboard.press('Enter');
  await page.locator('.chart .legend').first().waitFor();
  await expect
    .poll(() => Date.now() - began, { timeout: REPORTS_SECONDS * 2_000, interval: 1_000 })
    .toBeGreaterThan(REPORTS_SECONDS * 1_000);
  await page.reload();
  await page.locator('.chart .legend').first().waitFor();
  // An idle machine has charts of nothing but zeros; what may not be is a chart without values.
  const without = (): Promise<string[]> =>
    page.evaluate(() =>
      [...document.querySelectorAll('.chart')]
        .filter((chart) => ![...chart.querySelectorAll('.legend-value')].some((value) => value.textContent !== '–'))
        .map((chart) => chart.querySelector('h3')?.textContent ?? ''),
    );
  await expect.poll(without, { timeout: 30_000, interval: 500 }).toEqual([]);
  const titles = await page.locator('.chart h3').allTextContents();
  for (const title of ['CPU by mode', 'Load', 'Memory', 'File systems', 'Network', 'Connections', 'Replicas behind', 'WAL written'])
    expect(titles).toContain(title);
  await page.getByText('Host name').waitFor();
  await page.screenshot({ path: PICTURE });
  expect(remarks.filter((text) => !/status of 401/.test(text))).toEqual([]);
}, 180_000);

test('replication as a real collector tells it: drawn, live, and with an unwatched replica', async () => {
  await waitUntil(async () => {
    const { clusters } = await collector.api<Replication>('GET', '/api/telemetry/replication');
    return clusters[0]?.instances.some(({ watched, lag }) => !watched && lag !== null) === true;
  });
  const context = await browser.newContext({ viewport: { width: 1440, height: 1_000 }, colorScheme: 'dark' });
  const page = await context.newPage();
  const remarks: string[] = [];
  page.on('console', (message) => remarks.push(message.text()));
  page.on('pageerror', (error) => remarks.push(error.message));
  await page.goto(`${collector.url}/replication`);
  await page.getByLabel('Token', { exact: true }).fill(collector.adminToken);
  await page.keyboard.press('Enter');
  const card = page.locator('.r-card');
  await card.waitFor();
  await page.locator('.link-live').waitFor();
  expect(await card.locator('.r-primary-line').innerText()).toMatch(/db1.*\bsure\b/s);
  const replica = card.locator('.r-unwatched');
  expect(await replica.innerText()).toMatch(/streaming[\s\S]*replica · not watched/);
  const lag = card.locator('.r-lag');
  expect(await lag.innerText()).toMatch(/^(0|≤ [\d.]+|[\d.]+) s$/);
  await page.screenshot({ path: PICTURE.replace('node-real', 'replication-real') });

  // The page is told: when the replica is gone, its edge says so without a reload.
  await cluster.stop(standby, { mode: 'immediate' });
  await page.locator('.r-box-primary').waitFor();
  await expect.poll(() => page.locator('.r-box .r-state').allInnerTexts(), { timeout: 60_000 }).not.toContain('streaming');
  await page.screenshot({ path: PICTURE.replace('node-real', 'replication-real-gone') });
  expect(remarks.filter((text) => !/status of 401/.test(text))).toEqual([]);
}, 180_000);
