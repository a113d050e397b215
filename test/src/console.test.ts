/**
 * The console as people meet it: the built page in a real Chromium, under the collector's policy, over a fake fleet.
 * Every test ends with the same question: was anything asked of another origin, refused by the policy, or said on the console?
 */
/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { AWKWARD_NAMES, mockApi, serveConsole, type ConsoleServer, type MockApi } from '@tidemark/console/dev';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { build } from 'vite';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { PHONE, complaints, picture } from './browsing.ts';

const CONSOLE = fileURLToPath(new URL('../../packages/console', import.meta.url));
const PICTURES = fileURLToPath(new URL('../../test-results/console', import.meta.url));
const TOKEN = 'a-token-of-the-test';
const FLEET = { nodes: 1_000, seed: 7 };
const DESK = { width: 1440, height: 900 };

let dist: string;
let browser: Browser;
let api: MockApi;
let server: ConsoleServer;
const remarks: string[] = [];
const pages: Page[] = [];

beforeAll(async () => {
  dist = mkdtempSync(join(tmpdir(), 'tidemark-console-'));
  mkdirSync(PICTURES, { recursive: true });
  await build({ root: CONSOLE, logLevel: 'warn', build: { outDir: dist, emptyOutDir: true } });
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'].concat([
      '--disable-component-update',
      '--disable-sync',
    ]),
  });
});
afterAll(async () => {
  await browser?.close();
  rmSync(dist, { recursive: true, force: true });
});
beforeEach(async () => {
  remarks.length = 0;
  api = mockApi({ ...FLEET, token: TOKEN, signedIn: true });
  server = await serveConsole(dist, api);
});
afterEach(async () => {
  await Promise.all(pages.splice(0).map((page) => page.context().close()));
  await server.stop();
  if (remarks.length > 0) throw new Error(`The page was not quiet:\n${remarks.join('\n')}`);
});

/** A failed request is what some tests are about; Chromium's own line on it is not the console's doing. */
const EXPECTED = /^Failed to load resource: (?:the server responded with a status of|net::ERR_)/;

async function open(path: string, options: BrowserContextOptions = {}): Promise<Page> {
  const context = await browser.newContext({ viewport: DESK, colorScheme: 'dark', timezoneId: 'Europe/Lisbon', ...options });
  const page = await context.newPage();
  pages.push(page);
  page.on('console', (message) => {
    if (!EXPECTED.test(message.text())) remarks.push(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => remarks.push(`error: ${error.message}`));
  page.on('dialog', (dialog) => {
    remarks.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== server.origin) remarks.push(`request: ${request.url()}`);
  });
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) =>
      // eslint-disable-next-line no-console -- the test listens to it
      console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`),
    );
  });
  await page.goto(server.origin + path);
  return page;
}

const names = (page: Page) => page.locator('.node-link').allTextContents();
const banner = (page: Page) => page.locator('.banner');
const column = (page: Page, title: string) => page.getByRole('columnheader', { name: title, exact: true });

test('the first load is small', () => {
  const assets = readdirSync(join(dist, 'assets'));
  const page = readFileSync(join(dist, 'index.html'), 'utf8');
  const first = assets.filter((name) => page.includes(name));
  const bytes = first.reduce((sum, name) => sum + gzipSync(readFileSync(join(dist, 'assets', name))).length, 0);
  expect(first.length).toBeGreaterThanOrEqual(2);
  expect(bytes).toBeLessThan(80 * 1024);
});

test('signing in: wrong, limited, right, and back where one was', async () => {
  api.endSessions();
  const page = await open('/?q=db&sort=-disk');
  const token = page.getByLabel('Token', { exact: true });
  await token.waitFor();
  expect(await token.evaluate((field) => field === document.activeElement)).toBe(true);
  await picture(page, 'sign-in-dark');
  expect(await complaints(page)).toEqual([]);

  await token.fill('not this');
  await page.keyboard.press('Enter');
  await page.getByText('This token is not known here').waitFor();
  await picture(page, 'sign-in-wrong');
  expect(await complaints(page)).toEqual([]);

  api.setTrouble({ kind: 'problem', status: 429, code: 'rate_limited', detail: 'Slow down.', retryAfterSeconds: 6, only: '/api/session' });
  await page.keyboard.press('Enter');
  await page.getByText(/Too many attempts\. Try again in \d s\./).waitFor();
  api.setTrouble({ kind: 'none' });
  await page.getByText('You can try again now.').waitFor();

  await token.fill(TOKEN);
  await page.keyboard.press('Enter');
  await page.getByRole('table', { name: 'Nodes' }).waitFor();
  expect(new URL(page.url()).search).toBe('?q=db&sort=-disk');
  expect(await page.getByRole('searchbox').inputValue()).toBe('db');
  expect(await column(page, 'Disk').getAttribute('aria-sort')).toBe('descending');
  expect(await page.evaluate(() => JSON.stringify([localStorage, sessionStorage, document.cookie]))).not.toContain(TOKEN);

  await page.goto(`${server.origin}/add-node`);
  await page.getByRole('heading', { name: 'Add a node' }).waitFor();
  api.endSessions();
  await page.getByText('Your session has ended').waitFor();
  await token.fill(TOKEN);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Add a node' }).waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await token.waitFor();
});

test('a thousand nodes: what is wrong first, sorted, filtered, by mouse and by keyboard', async () => {
  const page = await open('/');
  const table = page.getByRole('table', { name: 'Nodes' });
  await table.waitFor();
  const fleet = (await page.request
    .get(`${server.origin}/api/telemetry/overview`)
    .then((r) => r.json())) as import('@tidemark/protocol').Overview;
  const all = fleet.nodes.length;
  const allNodes = `${all.toLocaleString('en-US')} nodes`;
  const down = fleet.nodes.filter((node) => node.state === 'approved' && !node.up && node.lastSeenAt !== null);
  expect(down.length).toBeGreaterThan(0);
  expect(await page.locator('.count-line').innerText()).toMatch(new RegExp(`^${allNodes}\\s*·?\\s*${down.length} down`));
  expect(await table.getAttribute('aria-rowcount')).toBe(String(all + 1));
  expect(await page.locator('.row').count()).toBeLessThan(80);
  expect((await names(page)).slice(0, down.length).toSorted()).toEqual(down.map((node) => node.name).toSorted());
  await picture(page, 'fleet-dark');
  expect(await complaints(page)).toEqual([]);

  const byDisk = fleet.nodes.map((node) => node.disk.usageRatio).filter((ratio) => ratio !== null);
  await column(page, 'Disk').getByRole('button').click();
  expect(await column(page, 'Disk').getAttribute('aria-sort')).toBe('descending');
  expect(await page.locator('.row .c-disk .ratio-number').first().innerText()).toBe(`${Math.round(Math.max(...byDisk) * 100)} %`);
  await column(page, 'Disk').getByRole('button').press('Enter');
  expect(await column(page, 'Disk').getAttribute('aria-sort')).toBe('ascending');
  expect(new URL(page.url()).search).toBe('?sort=disk');

  await page.keyboard.press('/');
  await page.keyboard.type('env=staging db');
  const wanted = fleet.nodes.filter((node) => node.tags['env'] === 'staging' && node.name.includes('db')).length;
  await page.getByText(`${wanted} of ${allNodes}`).waitFor();
  expect(await table.getAttribute('aria-rowcount')).toBe(String(wanted + 1));
  await page.keyboard.press('Escape');
  await page.getByLabel('Site', { exact: true }).selectOption('faro');
  const inFaro = fleet.nodes.filter((node) => node.site === 'faro').length;
  await page.getByText(`${inFaro} of ${allNodes}`).waitFor();
  await page.getByRole('searchbox').fill('no such node');
  await page.getByText('No node matches.').waitFor();
  await picture(page, 'no-match');
  await page.getByRole('button', { name: `Show all ${allNodes}` }).click();

  // The very last row can be reached, and is the last.
  await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
  await page.locator(`.row[aria-rowindex="${all + 1}"]`).waitFor();
  await page.evaluate(() => scrollTo(0, 0));
  await page.locator('.row[aria-rowindex="2"] .node-link').focus();
  for (let row = 0; row < 60; row += 1) await page.keyboard.press('ArrowDown');
  await page.waitForFunction(() => document.activeElement?.closest('.row')?.getAttribute('aria-rowindex') === '62');
});

test('a collector that dies is named within five seconds, its figures are not shown as fresh, and its return is seen', async () => {
  const page = await open('/');
  await page.locator('.link-live').waitFor();
  const died = Date.now();
  await server.stop();
  await banner(page).waitFor();
  expect(Date.now() - died).toBeLessThan(5_500);
  expect(await banner(page).innerText()).toMatch(/^No answer from the collector since \d\d:\d\d:\d\d — figures below are from then\.$/);
  expect(await page.locator('main.stale').count()).toBe(1);
  expect(await page.locator('.row .c-seen').first().innerText()).toMatch(/\d\d:\d\d:\d\d$/);
  await picture(page, 'lost-dark');
  expect(await complaints(page)).toEqual([]);
  await server.start();
  await banner(page).waitFor({ state: 'detached' });
  expect(await page.locator('main.stale').count()).toBe(0);
  expect(await page.locator('.row .c-seen').first().innerText()).toMatch(/ago$/);
});

test('a collector that hangs is named within five seconds too', async () => {
  const page = await open('/', { colorScheme: 'light' });
  await page.locator('.link-live').waitFor();
  const hung = Date.now();
  api.setTrouble({ kind: 'hang' });
  await banner(page).getByText('No answer').waitFor();
  expect(Date.now() - hung).toBeLessThan(5_500);
  await picture(page, 'lost-light');
  expect(await complaints(page)).toEqual([]);
  api.setTrouble({ kind: 'none' });
  await banner(page).waitFor({ state: 'detached' });
});

test('a collector that answers without figures is told from one that does not answer', async () => {
  const page = await open('/');
  await page.locator('.link-live').waitFor();
  api.setTrouble({
    kind: 'problem',
    status: 429,
    code: 'rate_limited',
    detail: 'Too many.',
    retryAfterSeconds: 4,
    only: '/api/telemetry/overview',
  });
  await banner(page).getByText('The collector asks to wait 4 s before the next try.').waitFor();
  expect(await page.locator('main.stale').count()).toBe(1);
  api.setTrouble({ kind: 'none' });
  await banner(page).waitFor({ state: 'detached' });
});

test('no rights, no figures, no collector, no such node: each has its page', async () => {
  api.setTrouble({
    kind: 'problem',
    status: 403,
    code: 'role_insufficient',
    detail: 'This token may only send.',
    only: '/api/telemetry/overview',
  });
  const page = await open('/');
  await page.getByRole('heading', { name: 'You may not see the fleet' }).waitFor();
  await picture(page, 'no-rights');
  api.setTrouble({
    kind: 'problem',
    status: 503,
    code: 'database_away',
    detail: 'The database cannot be reached.',
    only: '/api/telemetry/overview',
  });
  await page.getByText('The database cannot be reached.').waitFor();
  api.setTrouble({ kind: 'none' });
  await page.getByRole('table', { name: 'Nodes' }).waitFor();
  await page.goto(`${server.origin}/nodes/nobody`);
  await page.getByRole('heading', { name: 'There is no node of this name' }).waitFor();
  api.setTrouble({ kind: 'cut' });
  await page.goto(`${server.origin}/`);
  await page.getByRole('heading', { name: 'The collector does not answer' }).waitFor();
  await picture(page, 'no-collector');
  api.setTrouble({ kind: 'none' });
  await page.getByRole('table', { name: 'Nodes' }).waitFor();
  expect(await banner(page).count()).toBe(0);
});

test('an empty fleet shows how to add the first node', async () => {
  api.setFleet({ nodes: 0, seed: 1 });
  const page = await open('/', { colorScheme: 'light' });
  await page.getByRole('heading', { name: 'No nodes yet' }).waitFor();
  await page.getByLabel('Name of the new node').fill("Bob's db");
  const command = page.getByLabel('install on Linux', { exact: true });
  expect((await command.innerText()).split('\n').at(-1)).toBe(
    `sudo ./agent-install-linux.sh --server ${server.origin} --hostname 'Bob'\\''s db' --interval 60`,
  );
  await picture(page, 'empty-light');
  expect(await complaints(page)).toEqual([]);
  api.setFleet(FLEET);
  await page.getByRole('table', { name: 'Nodes' }).waitFor();
});

test('awkward names are text, lead to their node, and bend nothing', async () => {
  api.setFleet({ nodes: 30, seed: 3, awkward: true });
  const page = await open('/?sort=name', { colorScheme: 'light' });
  await page.getByRole('table', { name: 'Nodes' }).waitFor();
  const shown = await names(page);
  for (const name of AWKWARD_NAMES) expect(shown).toContain(name);
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
  const heights = await page.locator('.row').evaluateAll((rows) => [...new Set(rows.map((row) => row.getBoundingClientRect().height))]);
  expect(heights).toEqual([36]);
  await picture(page, 'awkward-light');
  for (const name of AWKWARD_NAMES) {
    await page.getByRole('link', { name, exact: true }).first().click();
    await page.getByRole('heading', { name, exact: true }).waitFor();
    await page.getByRole('heading', { name: 'Latest values' }).waitFor();
    expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
    await page.goBack();
    await page.getByRole('table', { name: 'Nodes' }).waitFor();
  }
});

test('light and dark: as the system says, or as chosen, also after a reload', async () => {
  const page = await open('/', { colorScheme: 'light' });
  await page.getByRole('table', { name: 'Nodes' }).waitFor();
  const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await ground();
  await picture(page, 'fleet-light');
  expect(await complaints(page)).toEqual([]);
  await page.getByRole('button', { name: 'Theme: as the system' }).click();
  const dark = await ground();
  expect(dark).not.toBe(light);
  await page.reload();
  await page.getByRole('table', { name: 'Nodes' }).waitFor();
  expect(await ground()).toBe(dark);
});

test('on a phone all of it can be read without scrolling sideways', async () => {
  const page = await open('/', PHONE);
  await page.getByRole('table', { name: 'Nodes' }).waitFor();
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
  await picture(page, 'phone-dark');
  expect(await complaints(page)).toEqual([]);
  await page.locator('.node-link').first().click();
  await page.locator('.node-title').waitFor();
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
  await picture(page, 'phone-node');
  await page.goBack();
  await server.stop();
  await banner(page).waitFor();
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
  await picture(page, 'phone-lost');
  await server.start();
});

test('a refresh of a thousand nodes scripts for less than 50 ms, and the rest of the time nearly nothing', async () => {
  const page = await open('/');
  await page.getByRole('table', { name: 'Nodes' }).waitFor();
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Performance.enable');
  const seconds = async (): Promise<{ all: number; layout: number }> => {
    const { metrics } = await cdp.send('Performance.getMetrics');
    const read = (name: string): number => metrics.find((metric) => metric.name === name)?.value ?? Number.NaN;
    return { all: read('TaskDuration'), layout: read('LayoutDuration') + read('RecalcStyleDuration') };
  };
  // Rows come each second; a refresh is one such event, with whatever is drawn by it.
  const refreshed = (times: number) => expect.poll(() => api.events.rowEvents - from, { timeout: 30_000 }).toBeGreaterThanOrEqual(times);
  let from = api.events.rowEvents;
  await refreshed(3);
  const before = await seconds();
  from = api.events.rowEvents;
  const refreshes = 8;
  await refreshed(refreshes);
  const after = await seconds();
  // Everything the page's thread did in that time but style and layout: a stream is read in tasks that "ScriptDuration" does not count.
  const layoutMs = ((after.layout - before.layout) * 1_000) / refreshes;
  const scriptMs = ((after.all - before.all) * 1_000) / refreshes - layoutMs;
  process.stdout.write(
    `console: ${scriptMs.toFixed(1)} ms scripting and ${layoutMs.toFixed(1)} ms style and layout a refresh of 1,000 nodes\n`,
  );
  expect(scriptMs).toBeLessThan(50);
});

test('nothing is asked while the page is out of sight', async () => {
  const page = await open('/');
  await page.locator('.link-live').waitFor();
  const setVisible = (state: 'visible' | 'hidden') =>
    page.evaluate((value) => {
      Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => value });
      document.dispatchEvent(new Event('visibilitychange'));
    }, state);
  await setVisible('hidden');
  const asked = api.overviewsServed;
  await expect.poll(() => api.events.pages).toBe(0);
  await expect(page.waitForRequest(() => true, { timeout: 7_000 })).rejects.toThrow(/Timeout/);
  expect(api.overviewsServed).toBe(asked);
  const next = page.waitForRequest((request) => request.url().endsWith('/events'), { timeout: 2_000 });
  await setVisible('visible');
  await next;
});
