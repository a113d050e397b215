/**
 * The replication page of the console in a real Chromium: clusters that are well and in every kind of trouble, drawn and
 * in tables, dark and light, on a phone, by keyboard. Pictures are left in test-results/console to be looked at.
 */
/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Replication, ReplicationCluster } from '@tidemark/protocol';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { Browsing, PHONE, complaints, picture } from './browsing.ts';

let browsing: Browsing;
beforeAll(async () => {
  browsing = await Browsing.start();
});
afterAll(() => browsing?.stop());
beforeEach(() => browsing.begin({ nodes: 200, seed: 7, replication: 'mixed' }));
afterEach(() => browsing.end());

const sideways = (page: Page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
const card = (page: Page, name: string) => page.locator('.r-card').filter({ has: page.getByRole('heading', { name, exact: true }) });
async function told(): Promise<Replication> {
  const answer = await fetch(`${browsing.server.origin}/api/telemetry/replication`);
  return (await answer.json()) as Replication;
}
async function cluster(name: string): Promise<ReplicationCluster> {
  const found = (await told()).clusters.find((each) => each.name === name);
  if (found === undefined) throw new Error(`the mock has no cluster ${name}`);
  return found;
}
/** Looked at, complained of, and as wide as its window. */
async function fine(page: Page, name: string, fullPage = false): Promise<void> {
  await picture(page, name, fullPage);
  expect(await complaints(page)).toEqual([]);
  expect(await sideways(page)).toBeLessThanOrEqual(0);
}

const column = (page: Page, title: string) => page.getByRole('columnheader', { name: title, exact: true });
const lines = (page: Page) => page.locator('.r-problem');
const tip = (page: Page) => page.getByRole('tooltip');
const label = (page: Page, of: string) => page.getByRole('button', { name: new RegExp(`^${of} is behind`) });

test('the page is a small piece of its own, and the first load has nothing of it', () => {
  const assets = readdirSync(join(browsing.dist, 'assets'));
  const read = (name: string): Buffer => readFileSync(join(browsing.dist, 'assets', name));
  const own = assets.filter((name) => /^(?:replication-page|server-standing|use-replication)-/.test(name));
  expect(own.length).toBeGreaterThanOrEqual(3);
  const bytes = own.reduce((sum, name) => sum + gzipSync(read(name)).length, 0);
  process.stdout.write(`console: the replication page is ${(bytes / 1024).toFixed(1)} KiB gzip\n`);
  expect(bytes).toBeLessThan(24 * 1024);
  const index = readFileSync(join(browsing.dist, 'index.html'), 'utf8');
  for (const name of assets.filter((each) => index.includes(each))) expect(read(name).includes('r-edge-label')).toBe(false);
});

test('every kind of trouble, dark: in words, drawn and in tables', async () => {
  const page = await browsing.open('/replication');
  await page.getByRole('heading', { name: 'Replication', exact: true }).waitFor();
  expect(await page.locator('.count-line').innerText()).toMatch(/^8 clusters\s*·?\s*27 instances\s*·?\s*6 with problems$/);
  expect(await lines(page).first().innerText()).toMatch(/Split brain:\s*accounts-1 and accounts-2 both write since \d\d:\d\d/);
  expect(await lines(page).nth(1).innerText()).toMatch(
    /No primary:\s*For 40 h 12 min .*ledger-1 was one when it was last seen.* ledger-2 is cut off/,
  );
  await fine(page, 'replication-dark', true);

  // What is wrong stands before what is well; two that write are drawn apart.
  const names = await page.locator('.r-card h3').allTextContents();
  expect(names.slice(-2).toSorted()).toEqual(['search', 'shop']);
  expect(await card(page, 'accounts').locator('.r-caption').allTextContents()).toEqual([
    expect.stringMatching(/^Writes on its own, timeline 3/),
    expect.stringMatching(/^Writes on its own, timeline 4/),
    expect.stringMatching(/^Diverged, timeline 3/),
  ]);
  // Nothing unknown reads as nothing.
  expect(await label(page, 'ledger-2').innerText()).toMatch(/at least 40 h 12 min\s+unknown since \d+ \w+/);
  expect(await label(page, 'payments-3').innerText()).toContain('not known');
  expect(await card(page, 'ledger').locator('.r-facts').innerText()).toContain('1.2 GiB unless it comes back');
  expect(await card(page, 'payments').locator('.r-facts').innerText()).toMatch(/Synchronous standbys\s+0 of 1/);
  // Unwatched ones are dashed, and the word says so.
  const unwatched = card(page, 'search').locator('.r-unwatched');
  expect(await unwatched.innerText()).toMatch(/10\.20\.7\.13\s+streaming\s+replica · not watched/);
  expect(await unwatched.evaluate((box) => getComputedStyle(box).borderTopStyle)).toBe('dashed');
  // Every state is a shape and a word.
  for (const state of await page.locator('.r-state').all()) {
    expect(await state.locator('svg').count()).toBe(1);
    expect((await state.innerText()).trim()).not.toBe('');
  }
  expect(await card(page, 'events').locator('.r-slots').innerText()).toMatch(
    /ghost\s+.*lost: wal removed\s+events_2\s+.*36\.0 GiB\s+disk full in ~3 h 12 min\s+old_reports\s+.*41\.0 GiB/s,
  );
});

test('light', async () => {
  const page = await browsing.open('/replication', { colorScheme: 'light' });
  await card(page, 'shop').waitFor();
  await fine(page, 'replication-light', true);
});

test('boxes and the words of edges lie over nothing, and lines end at their boxes', async () => {
  const page = await browsing.open('/replication');
  await card(page, 'shop').waitFor();
  const overlaps = await page.locator('.r-drawing').evaluateAll((drawings) =>
    drawings.flatMap((drawing) => {
      const parts = [...drawing.querySelectorAll<HTMLElement>('.r-box, .r-lag, .r-below, .r-caption')].map((element) => {
        const range = document.createRange();
        range.selectNodeContents(element);
        const box = element.matches('.r-box') ? element.getBoundingClientRect() : range.getBoundingClientRect();
        return { text: element.textContent ?? '', box };
      });
      return parts.flatMap((one, place) =>
        parts
          .slice(place + 1)
          .filter(
            ({ box }) =>
              box.left < one.box.right - 1 && box.right > one.box.left + 1 && box.top < one.box.bottom - 3 && box.bottom > one.box.top + 3,
          )
          .map(({ text }) => `${one.text} / ${text}`),
      );
    }),
  );
  expect(overlaps).toEqual([]);
  const cut = await page
    .locator('.r-box')
    .evaluateAll((boxes) => boxes.filter((box) => box.scrollHeight > box.clientHeight + 1).map((box) => box.textContent));
  expect(cut).toEqual([]);
});

test('what an edge rests on is told on hover, on focus, and goes with Escape', async () => {
  const page = await browsing.open('/replication');
  const edge = label(page, 'billing-4');
  await edge.hover();
  await tip(page).waitFor();
  const text = await tip(page).innerText();
  for (const part of [
    'replays faster than is written',
    '3 min 14 s',
    "the primary's own positions",
    '410 MiB',
    '70.0 MiB',
    'caught up in ~3 min',
    'its replication slot',
  ])
    expect(text).toContain(part);
  await fine(page, 'replication-tip-dark');
  await page.mouse.move(2, 400);
  await tip(page).waitFor({ state: 'detached' });
  await label(page, 'billing-2').focus();
  await tip(page).waitFor();
  expect(await label(page, 'billing-2').getAttribute('aria-describedby')).toBe(await tip(page).getAttribute('id'));
  await page.keyboard.press('Tab');
  expect(await page.evaluate(() => document.activeElement?.getAttribute('href'))).toBe('/nodes/billing-2');
  await page.keyboard.press('Escape');
  await tip(page).waitFor({ state: 'detached' });
});

test('live: what changed is there at once, and is asked for once a second at most', async () => {
  browsing.api.setReplication('calm');
  const page = await browsing.open('/replication');
  await card(page, 'shop').waitFor();
  expect(await page.locator('.count-line').innerText()).toMatch(/all well$/);
  await page.locator('.link-live').waitFor();
  await expect.poll(() => browsing.api.events.pages).toBe(1);
  const asked: number[] = [];
  page.on('request', (request) => {
    if (request.url().endsWith('/api/telemetry/replication')) asked.push(Date.now());
  });
  const changedAt = Date.now();
  browsing.api.setReplication('mixed');
  await card(page, 'accounts').waitFor();
  expect(Date.now() - changedAt).toBeLessThan(2_500);
  const from = asked.length;
  for (let n = 0; n < 40; n += 1) browsing.api.events.tell('changed', { what: 'replication' });
  await expect.poll(() => asked.length).toBeGreaterThan(from);
  browsing.api.setReplication('none');
  await page.getByRole('heading', { name: 'No PostgreSQL cluster is watched yet' }).waitFor();
  expect(asked.length).toBeLessThanOrEqual(4);
  for (const [place, at] of asked.entries()) if (place > 0) expect(at - asked[place - 1]!).toBeGreaterThan(900);
});

test('without a stream it is asked for again by itself', async () => {
  browsing.api.setStream('absent');
  browsing.api.setReplication('calm');
  const page = await browsing.open('/replication');
  await card(page, 'shop').waitFor();
  browsing.api.setReplication('mixed');
  await card(page, 'accounts').waitFor({ timeout: 8_000 });
});

test('the tables sort by every column, what is not known last, by mouse and by keyboard', async () => {
  const page = await browsing.open('/replication');
  const table = page.getByRole('table', { name: 'Instances' });
  await table.waitFor();
  const shown = () => table.locator('tbody tr').evaluateAll((rows) => rows.map((row) => row.getAttribute('data-instance')));
  const lag = column(page, 'Behind the primary');
  await lag.getByRole('button').click();
  expect(await lag.getAttribute('aria-sort')).toBe('descending');
  const clusters = (await told()).clusters;
  const known = clusters.flatMap(({ instances }) => instances.filter((each) => each.lag !== null));
  const most = known.toSorted((a, b) => b.lag!.seconds - a.lag!.seconds).map(({ name }) => name);
  expect((await shown()).slice(0, 3)).toEqual(most.slice(0, 3));
  await lag.getByRole('button').press('Enter');
  expect(await lag.getAttribute('aria-sort')).toBe('ascending');
  const all = await shown();
  const withoutLag = new Set(clusters.flatMap(({ instances }) => instances.flatMap((each) => (each.lag === null ? [each.name] : []))));
  expect(all.slice(-withoutLag.size).every((name) => withoutLag.has(name ?? ''))).toBe(true);
  const slots = page.getByRole('table', { name: 'Replication slots' });
  expect(await slots.locator('tbody tr').first().innerText()).toContain('ghost');
  await slots.getByRole('columnheader', { name: 'Keeps' }).getByRole('button').click();
  expect(await slots.locator('tbody tr').first().innerText()).toContain('old_reports');
});

test('events are newest first, one kind at a time if wished, and the address remembers it', async () => {
  const page = await browsing.open('/replication');
  const events = page.locator('.r-event');
  await events.first().waitFor();
  const times = await events.locator('time').evaluateAll((found) => found.map((each) => each.getAttribute('datetime')));
  expect(times).toEqual(times.toSorted((a, b) => (b ?? '').localeCompare(a ?? '')));
  await page.getByLabel('Kind of event').selectOption('slot_lost');
  expect(await events.count()).toBe(1);
  expect(await events.innerText()).toMatch(/Slot lost\s+Slot ghost on events-1 is lost/);
  expect(new URL(page.url()).search).toBe('?kind=slot_lost');
  await page.reload();
  await events.first().waitFor();
  expect(await events.count()).toBe(1);
});

test('older events are asked for when they are gone to, until there are no more', async () => {
  const { systemIdentifier } = await cluster('shop');
  const page = await browsing.open(`/replication?cluster=${systemIdentifier}`);
  const events = page.locator('.r-event');
  await expect.poll(() => events.count()).toBe(2);
  const older = page.getByRole('button', { name: 'Older ones' });
  await older.click();
  await expect.poll(() => events.count()).toBe(102);
  await older.click();
  await page.getByText('That is all that is kept.').waitFor();
  expect(await events.count()).toBe(152);
  const times = await events.evaluateAll((rows) => rows.map((row) => row.querySelector('time')?.getAttribute('datetime') ?? ''));
  expect(times).toEqual(times.toSorted((a, b) => b.localeCompare(a)));
  expect(new Set(await events.allInnerTexts()).size).toBe(152);
});

test('one cluster alone, found by a word, left by the back button; its boxes lead to their nodes', async () => {
  const page = await browsing.open('/replication');
  await page.getByRole('searchbox').waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('madeira catching');
  await expect.poll(() => page.locator('.r-card').count()).toBe(1);
  await page.getByRole('searchbox').fill('no such thing');
  await page.getByText('No cluster matches.').waitFor();
  await page.getByRole('button', { name: 'Show all 8' }).click();
  await page.getByRole('heading', { name: 'shop', exact: true }).getByRole('link').click();
  await expect.poll(() => page.locator('.r-card').count()).toBe(1);
  expect(await page.getByRole('table', { name: 'Instances' }).locator('tbody tr').count()).toBe(4);
  await fine(page, 'replication-one-dark');
  const { primary } = await cluster('shop');
  await page.locator('.r-box-primary').click();
  await page.getByRole('heading', { name: primary.name!, exact: true }).waitFor();
  await page.goBack();
  await page.goBack();
  await expect.poll(() => page.locator('.r-card').count()).toBe(8);
  await lines(page).filter({ hasText: 'Commits hang' }).getByRole('link').click();
  await expect.poll(() => page.evaluate(() => document.activeElement?.querySelector('h3')?.textContent)).toBe('payments');
});

test('on a phone the tree is an indented list', async () => {
  const page = await browsing.open('/replication', PHONE);
  await card(page, 'shop').waitFor();
  expect(await page.locator('.r-drawing').count()).toBe(0);
  const left = async (of: string) => (await card(page, 'billing').locator('.r-box', { hasText: of }).boundingBox())!.x;
  expect(await left('billing-2')).toBeGreaterThan(await left('billing-1'));
  expect(await left('billing-3')).toBeGreaterThan(await left('billing-2'));
  expect(await left('billing-4')).toBe(await left('billing-2'));
  await fine(page, 'replication-phone', true);
});

test('none yet, and how to begin', async () => {
  browsing.api.setReplication('none');
  const page = await browsing.open('/replication', { colorScheme: 'light' });
  await page.getByRole('heading', { name: 'No PostgreSQL cluster is watched yet' }).waitFor();
  expect(await page.getByLabel('watch a PostgreSQL server', { exact: true }).innerText()).toMatch(
    /^tidemark-agent run --server http\S+ \\\n {2}--postgres 'postgresql:/,
  );
  await fine(page, 'replication-empty-light');
});

test('servers that nobody watches are named, and the way leads to the commands', async () => {
  browsing.api.setReplication('none');
  browsing.api.setFleet({ nodes: 200, seed: 7, unwatched: 9 });
  const page = await browsing.open('/replication');
  const line = page.locator('.r-found');
  expect(await line.innerText()).toMatch(
    /^13 PostgreSQL servers were found that nobody watches: .+ \(2\).+ and 4 more nodes\. How to watch them stands on the nodes' pages\.$/,
  );
  expect(await line.getByRole('link').count()).toBe(5);
  await fine(page, 'replication-found-dark');
  browsing.api.setReplication('mixed');
  await card(page, 'shop').waitFor();
  expect(await line.innerText()).toMatch(/^13 PostgreSQL servers/);
  await page.getByRole('heading', { name: 'shop', exact: true }).getByRole('link').click();
  await line.waitFor({ state: 'detached' });
  await page.goBack();
  await line.getByRole('link').first().click();
  await page.getByRole('heading', { name: 'PostgreSQL found on this machine and not watched' }).waitFor();
});

test("a node's page says where its server stands, and charts its lag within its bounds", async () => {
  browsing.api.setReplication('calm');
  const replica = (await cluster('shop')).instances[2]!;
  const page = await browsing.open(`/nodes/${replica.node!}?range=6h`);
  const standing = page.locator('.r-standing');
  await standing.waitFor();
  expect(await standing.innerText()).toMatch(
    /streaming\s*·?\s*3\.4 s \(2\.1–4\.3 s\) behind the primary, 3\.1 s \(1\.9–4 s\) behind its upstream/,
  );
  const lag = page.getByRole('figure', { name: 'Replication lag' });
  await lag.scrollIntoViewIfNeeded();
  await lag.locator('canvas').waitFor();
  expect(await lag.locator('.legend-value').first().innerText()).toMatch(/^[\d.]+ m?s \(.+ – .+\)$/);
  await fine(page, 'replication-node-dark');
  await standing.getByRole('link').click();
  await expect.poll(() => page.locator('.r-card').count()).toBe(1);
  const { primary } = await cluster('shop');
  await page.goto(`${browsing.server.origin}/nodes/${primary.node!}`);
  await standing.waitFor();
  expect(await standing.innerText()).toMatch(/running\s*·?\s*primary \(sure\) of 3 replicas\s*·?\s*lost if it were lost now: nothing/);
});

test('not known is never shown as well', async () => {
  browsing.api.setTrouble({
    kind: 'problem',
    status: 503,
    code: 'database_away',
    detail: 'The database cannot be reached.',
    only: '/api/telemetry/replication',
  });
  const page = await browsing.open('/replication');
  await page.getByRole('heading', { name: 'How replication stands is not known' }).waitFor();
  await page.getByText('The database cannot be reached.').waitFor();
  browsing.api.setTrouble({ kind: 'none' });
  await card(page, 'shop').waitFor();
  await browsing.server.stop();
  await page.locator('.banner').getByText('No answer').waitFor();
  expect(await page.locator('main.stale').count()).toBe(1);
  await fine(page, 'replication-lost-dark');
  await browsing.server.start();
  await page.locator('.banner').waitFor({ state: 'detached' });
});

test('sixty clusters: those in trouble are drawn, the rest wait to be opened', async () => {
  browsing.api.setReplication('many');
  const page = await browsing.open('/replication');
  await expect.poll(() => page.locator('.r-card').count()).toBe(60);
  expect(await page.locator('.r-drawing').count()).toBe(6);
  await fine(page, 'replication-many-dark', true);
  const closed = card(page, 'tenant-07');
  expect(await closed.innerText()).toMatch(/tenant-07\s+well\s+2 replicas, ≤ 1\.9 s behind/);
  await closed.getByRole('button', { name: 'Open tenant-07' }).press('Enter');
  await closed.locator('.r-drawing').waitFor();
  expect(await closed.getByRole('button').first().getAttribute('aria-expanded')).toBe('true');
  const rows = page.getByRole('table', { name: 'Instances' }).locator('tbody tr');
  expect(await rows.count()).toBe(60);
  await page.getByRole('button', { name: 'Show more' }).first().click();
  expect(await rows.count()).toBeGreaterThan(150);
  expect(await page.evaluate(() => document.getAnimations().length)).toBe(0);
});
