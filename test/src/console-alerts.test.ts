/**
 * Alerts, silences, nodes and settings of the console as people meet them, in every state: none, one, a storm, in hand,
 * stale, no rights. Pictures are left in test-results/console to be looked at.
 */
/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { makeAlert } from '@tidemark/console/dev';
import type { AlertList, AlertView, RuleList } from '@tidemark/protocol';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { Browsing, PHONE, complaints, picture } from './browsing.ts';

let consoles: Browsing;
beforeAll(async () => {
  consoles = await Browsing.start();
});
afterAll(() => consoles?.stop());
beforeEach(() => consoles.begin({ nodes: 300, seed: 7, alerts: 'fleet' }));
afterEach(() => consoles.end());

/** How far the page is wider than its window. */
const sideways = (page: Page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
const rows = (page: Page) => page.locator('.alert-list > li');
const openOf = (rule: string, level = 'critical'): AlertView => {
  const found = consoles.api.alerts.open.find((alert) => alert.rule === rule && alert.level === level);
  if (found === undefined) throw new Error(`the mock has no open ${rule}`);
  return found;
};
const known = async (page: Page, name: string): Promise<void> => {
  await page.evaluate((value) => localStorage.setItem('tidemark.name', value), name);
  await page.reload();
};
/** The other pages come when there is time. */
const fetchedAhead = (page: Page) =>
  page.waitForFunction(() =>
    ['settings-page-', 'nodes-page-', 'add-page-'].every((name) =>
      performance.getEntriesByType('resource').some((entry) => entry.name.includes(name)),
    ),
  );
/** Looked at, complained of, and as wide as its window. */
async function fine(page: Page, name: string): Promise<void> {
  await picture(page, name);
  expect(await complaints(page)).toEqual([]);
  expect(await sideways(page)).toBeLessThanOrEqual(0);
}

test('the first load is small, and so is all of it', () => {
  const assets = readdirSync(join(consoles.dist, 'assets'));
  const sizes = assets.map((name) => ({ name, bytes: gzipSync(readFileSync(join(consoles.dist, 'assets', name))).length }));
  const first = sizes.filter(({ name }) => name.startsWith('index-')).reduce((sum, { bytes }) => sum + bytes, 0);
  const all = sizes.reduce((sum, { bytes }) => sum + bytes, 0);
  process.stdout.write(`console: first load ${Math.round(first / 1024)} KiB gzip, all pages ${Math.round(all / 1024)} KiB\n`);
  expect(sizes.some(({ name }) => name.startsWith('alerts-page-'))).toBe(true);
  expect(all).toBeLessThan(150 * 1024);
});

test('none open: quiet that can be believed', async () => {
  consoles.api.setAlerts('none');
  const page = await consoles.open('/alerts', { colorScheme: 'light' });
  await page.getByRole('heading', { name: 'All quiet' }).waitFor();
  const judging = await page.evaluate(async () => {
    const { rules } = (await (await fetch('/api/rules')).json()) as RuleList;
    return rules.filter((rule) => rule.enabled && rule.inactiveBecause === null).length;
  });
  expect(judging).toBeGreaterThan(5);
  await page.getByText(new RegExp(String.raw`${judging} rules\s+watch\s+\d+ nodes`)).waitFor();
  await page.getByText('would be told').waitFor();
  expect(await page.title()).toBe('Alerts · Tidemark');
  expect(await page.locator('.head .badge').count()).toBe(0);
  await fine(page, 'alerts-quiet-light');
});

test('not known is never shown as quiet', async () => {
  consoles.api.setTrouble({
    kind: 'problem',
    status: 503,
    code: 'database_away',
    detail: 'The database cannot be reached.',
    only: '/api/alerts',
  });
  const page = await consoles.open('/alerts');
  await page.getByRole('heading', { name: 'The alerts are not known' }).waitFor();
  expect(await page.getByText('All quiet').count()).toBe(0);
  await fine(page, 'alerts-unknown');
  consoles.api.setTrouble({ kind: 'problem', status: 403, code: 'role_insufficient', detail: 'Not for you.', only: '/api/alerts' });
  await page.getByRole('heading', { name: 'You may not see the alerts' }).waitFor();
  consoles.api.setTrouble({ kind: 'none' });
  await rows(page).first().waitFor();
  // What is known stays, and is not passed off as the newest.
  consoles.api.setTrouble({ kind: 'problem', status: 503, code: 'overloaded', detail: 'Too much to do.', only: '/api/alerts' });
  await page.getByText('This list may be behind').waitFor();
  expect(await rows(page).count()).toBeGreaterThan(0);
  consoles.api.setTrouble({ kind: 'none' });
  await page.getByText('This list may be behind').waitFor({ state: 'detached' });
});

test('critical first; the number is in the head and in the title, also of other pages', async () => {
  const page = await consoles.open('/alerts');
  await rows(page).first().waitFor();
  const levels = await rows(page).evaluateAll((items) =>
    items.map((item) => (item.classList.contains('alert-critical') ? 'critical' : 'warning')),
  );
  expect(levels).toEqual(levels.toSorted());
  expect(levels).toContain('critical');
  expect(levels).toContain('warning');
  const open = consoles.api.alerts.open.length;
  await page.waitForFunction((n) => document.title === `(${n}) Alerts · Tidemark`, open);
  await fine(page, 'alerts-dark');
  await page.getByRole('link', { name: 'Fleet', exact: true }).click();
  await page.waitForFunction((n) => document.title === `(${n}) Tidemark`, open);
  expect(await page.locator('.head .badge').innerText()).toContain(String(open));
});

test('one critical, taken on with one button: the name is asked for once', async () => {
  consoles.api.setAlerts('one');
  const [alert] = consoles.api.alerts.open;
  const page = await consoles.open('/alerts');
  await page.getByRole('button', { name: /^Acknowledge/ }).click();
  const dialog = page.getByRole('dialog');
  await fine(page, 'alerts-acknowledge-dialog');
  await dialog.getByLabel('Your name').fill('Ana');
  await page.keyboard.press('Enter');
  await page.getByText('Nothing waits for anybody').waitFor();
  expect(consoles.api.alerts.open[0]?.acknowledged?.by).toBe('Ana');
  await page.locator('.held .chip', { hasText: 'Ana' }).waitFor();
  await fine(page, 'alerts-in-hand');

  // Another one comes by the stream, without a question; this time nothing is asked.
  const another = makeAlert({
    rule: 'node-silent',
    node: 'db-2',
    site: 'porto',
    level: 'critical',
    sinceMs: Date.now() - 90_000,
    value: null,
  });
  consoles.api.alerts.put(another);
  await page.locator(`[data-alert="${another.id}"]`).waitFor();
  await page.waitForFunction(() => document.title.startsWith('(2)'));
  await page
    .locator(`[data-alert="${another.id}"]`)
    .getByRole('button', { name: /^Acknowledge/ })
    .click();
  await page.locator(`.held [data-alert="${another.id}"]`).waitFor();
  // And it is over.
  consoles.api.alerts.put({ ...another, state: 'closed', closedAt: new Date().toISOString(), closeReason: 'recovered' });
  await page.locator(`[data-alert="${another.id}"]`).waitFor({ state: 'detached' });
  expect(consoles.api.alerts.open.map(({ id }) => id)).toEqual([alert?.id]);
});

test('five hundred of one rule are a line for each site, and are taken on together', async () => {
  consoles.api.setAlerts('storm');
  const page = await consoles.open('/alerts');
  await known(page, 'Ana');
  const porto = page.locator('.alert-group', { hasText: 'on 480 nodes at porto' });
  await porto.waitFor();
  expect(await rows(page).count()).toBe(3);
  await fine(page, 'alerts-storm-dark');
  await porto.locator('.group-toggle').click();
  await porto.getByRole('button', { name: /^Show 100 more of 455/ }).waitFor();
  expect(await page.locator('.alert-row').count()).toBeLessThan(60);
  await porto.locator('.group-toggle').press('Enter');
  expect(await porto.locator('.group-toggle').getAttribute('aria-expanded')).toBe('false');
  const faro = page.locator('.alert-group', { hasText: 'on 20 nodes at faro' });
  await faro.getByRole('button', { name: 'Acknowledge 20' }).click();
  await page.locator('.held .alert-group', { hasText: '20 acknowledged' }).waitFor();
  expect(consoles.api.alerts.open.filter((alert) => alert.acknowledged?.by === 'Ana')).toHaveLength(20);
});

test('silenced with one button: prefilled, with an end and a reason, and ended again', async () => {
  consoles.api.setAlerts('storm');
  const page = await consoles.open('/alerts');
  await known(page, 'Ana');
  await page
    .locator('.alert-group', { hasText: 'at porto' })
    .getByRole('button', { name: /^Silence/ })
    .click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('Covers 480 open alerts now').waitFor();
  await dialog.getByLabel('until 8:00').check();
  await fine(page, 'silence-dialog');
  await dialog.getByLabel('site', { exact: true }).uncheck();
  await dialog.getByText('Covers 500 open alerts now').waitFor();
  await dialog.getByLabel('rule', { exact: true }).uncheck();
  await dialog.getByText('everything cannot be silenced').waitFor();
  expect(await dialog.getByRole('button', { name: 'Silence', exact: true }).isDisabled()).toBe(true);
  await dialog.getByLabel('rule', { exact: true }).check();
  await dialog.getByLabel('site', { exact: true }).check();
  await dialog.getByLabel('Reason').fill('The site is being moved');
  await page.keyboard.press('Enter');
  await dialog.waitFor({ state: 'detached' });
  await page.getByText('480 silenced').first().waitFor();
  const [silence] = consoles.api.alerts.silences().silences;
  expect(silence).toMatchObject({ matcher: { rule: 'node-silent', site: 'porto' }, author: 'Ana', alerts: 480 });
  expect(new Date(silence?.endsAt ?? '').getTime()).toBeGreaterThan(Date.now());
  await fine(page, 'alerts-silenced');

  await page.getByRole('link', { name: 'Silences', exact: true }).click();
  await page.getByText('The site is being moved').waitFor();
  await fine(page, 'silences-dark');
  await page.getByRole('button', { name: /^End now/ }).click();
  await page.getByText('Nothing is silenced').waitFor();
  await page.getByText(/^ended/).waitFor();
});

test('a filter is in the address, survives a reload, and says when nothing matches', async () => {
  const page = await consoles.open('/alerts?level=warning');
  await rows(page).first().waitFor();
  expect(await page.locator('.alert-critical').count()).toBe(0);
  await page.getByLabel('Rule', { exact: true }).selectOption({ label: 'CPU usage' });
  expect(new URL(page.url()).search).toBe('?level=warning&rule=cpu-usage');
  await page.reload();
  await page.getByText(/^\d+ of \d+ alerts$/).waitFor();
  await page.getByRole('searchbox').fill('no such thing');
  await page.getByText('No open alert matches.').waitFor();
  await page.getByRole('button', { name: /^Show all/ }).click();
  expect(new URL(page.url()).search).toBe('');
});

test('past alerts a page at a time', async () => {
  const page = await consoles.open('/alerts/past', { colorScheme: 'light' });
  await page
    .getByRole('heading', { name: /^(?:Today|Yesterday)$/ })
    .first()
    .waitFor();
  const first = await page.locator('.past-row').count();
  await fine(page, 'alerts-past-light');
  await page.getByRole('button', { name: 'Older ones' }).click();
  await page.waitForFunction((n) => document.querySelectorAll('.past-row').length > n, first);
  await page.getByLabel('Level').selectOption({ label: 'Warning' });
  await page.waitForFunction(() => document.querySelectorAll('.past-list .level-critical').length === 0);
});

for (const colorScheme of ['dark', 'light'] as const)
  test(`one alert: why, who was told, the chart around it (${colorScheme})`, async () => {
    const alert = openOf('disk-usage');
    const page = await consoles.open(`/alerts/${alert.id}`, { colorScheme });
    await page.getByRole('heading', { name: alert.node }).waitFor();
    await page.getByRole('heading', { name: 'Why it fired' }).waitFor();
    await page.getByText('as it stands for this node').waitFor();
    await page.getByText('Told that it fires.').waitFor();
    await page.locator('.crossing canvas').waitFor();
    await page.locator('.crossing figure[data-loading="false"]').waitFor();
    await fine(page, `alert-${colorScheme}`);
  });

test('one alert: taken on with a note, given back, closed by hand', async () => {
  const alert = openOf('disk-usage');
  const page = await consoles.open(`/alerts/${alert.id}`);
  await page.getByRole('button', { name: /^With a note/ }).click();
  await page.getByLabel('Your name').fill('Rui');
  await page.getByLabel(/^Note/).fill('growing since the deploy');
  await page.keyboard.press('Enter');
  await page.getByText('“growing since the deploy”').waitFor();
  await page.getByText('Rui acknowledged it: growing since the deploy').waitFor();
  await page.getByRole('button', { name: 'Give it back' }).click();
  await page.getByRole('button', { name: /^Acknowledge/ }).waitFor();
  await page.getByRole('button', { name: 'Close…' }).click();
  await page.getByRole('button', { name: 'Close it' }).click();
  await page.getByText('Over: closed by hand').waitFor();
  expect(await page.getByRole('button', { name: /^Acknowledge/ }).count()).toBe(0);
  await fine(page, 'alert-closed');
});

test('an alert that is over says why; one that is not there says so', async () => {
  const past = consoles.api.alerts.list(new URLSearchParams('state=closed&limit=500')) as AlertList;
  const retired = past.alerts.find((alert) => alert.closeReason === 'retired');
  const page = await consoles.open(`/alerts/${retired?.id}`);
  await page.getByText('Over: the node was retired').waitFor();
  await page.goto(`${consoles.server.origin}/alerts/00000000-0000-7000-8000-000000000000`);
  await page.getByRole('heading', { name: 'There is no alert of this id' }).waitFor();
  expect(await complaints(page)).toEqual([]);
});

test('a lost connection: what is shown is not shown as fresh', async () => {
  const page = await consoles.open('/alerts');
  await rows(page).first().waitFor();
  await fetchedAhead(page);
  const died = Date.now();
  await consoles.server.stop();
  await page.locator('.banner', { hasText: 'No answer from the collector since' }).waitFor();
  expect(Date.now() - died).toBeLessThan(5_500);
  expect(await page.locator('main.stale').count()).toBe(1);
  expect(await page.locator('.head .badge-held').count()).toBe(1);
  await fine(page, 'alerts-stale');
  // The pages were fetched ahead: going to another works without the collector.
  await page.getByRole('link', { name: 'Settings' }).click();
  await page.getByRole('heading', { name: 'Settings' }).waitFor();
  await page.goBack();
  await consoles.server.start();
  await page.locator('.banner').waitFor({ state: 'detached' });
});

test('who may only look has no buttons, and is told why', async () => {
  consoles.api.setRole('read');
  const page = await consoles.open('/alerts');
  await rows(page).first().waitFor();
  await page.getByText('You may look, not change').waitFor();
  expect(await page.getByRole('button', { name: /^(?:Acknowledge|Silence)/ }).count()).toBe(0);
  await fine(page, 'alerts-read-only');
  await page.goto(`${consoles.server.origin}/nodes`);
  await page.getByRole('table', { name: 'Nodes' }).waitFor();
  expect(await page.locator('.more-steps').count()).toBe(0);
  await page.goto(`${consoles.server.origin}/settings`);
  await page.getByText('Only an administrator may see these').waitFor();
  await page.getByRole('heading', { name: 'Rules in force' }).waitFor();
  expect(await page.getByRole('button', { name: /^Send a test/ }).count()).toBe(0);
});

test('at night on a phone: the button is by the thumb, and nothing is cut off', async () => {
  const page = await consoles.open('/alerts', PHONE);
  await rows(page).first().waitFor();
  await fine(page, 'phone-alerts');
  const alert = openOf('disk-usage');
  await page.goto(`${consoles.server.origin}/alerts/${alert.id}`);
  const button = page.getByRole('button', { name: /^Acknowledge/ });
  await button.waitFor();
  const box = await button.boundingBox();
  expect(box?.height).toBeGreaterThanOrEqual(48);
  expect(box?.y).toBeGreaterThan(844 * 0.8);
  await page.locator('.crossing canvas').waitFor();
  await fine(page, 'phone-alert');
  await button.tap();
  await page.getByLabel('Your name').fill('Ana');
  await picture(page, 'phone-acknowledge');
  await page.getByRole('dialog').getByRole('button', { name: 'Acknowledge' }).tap();
  await page.getByRole('button', { name: 'Give it back' }).waitFor();
  for (const [path, name] of [
    ['/alerts/past', 'phone-past'],
    ['/nodes', 'phone-nodes'],
    ['/settings', 'phone-settings'],
    ['/add-node', 'phone-add-node'],
  ] as const) {
    await page.goto(consoles.server.origin + path);
    await page.locator('main h1').first().waitFor();
    await page.waitForFunction(() => document.querySelector('main .busy') === null);
    await fine(page, name);
  }
});

test('nodes: approved, renamed, a new token once, retired after saying what happens', async () => {
  const page = await consoles.open('/nodes', { colorScheme: 'light' });
  const table = page.getByRole('table', { name: 'Nodes' });
  await table.waitFor();
  await fine(page, 'nodes-light');
  const node = openOf('disk-usage').node;
  await page.getByRole('searchbox').fill(node);
  await page.getByRole('button', { name: `More to do with ${node}` }).click();
  await page.getByRole('button', { name: `New token: ${node}` }).click();
  await page.getByRole('button', { name: 'Make a new token' }).click();
  const token = await page.getByLabel('the token', { exact: true }).innerText();
  expect(token).toMatch(/^tmk_agent_/);
  await fine(page, 'nodes-token');
  await page.getByRole('button', { name: 'I have it' }).click();
  expect(await page.content()).not.toContain(token);

  await page.getByRole('button', { name: `Retire: ${node}` }).click();
  await page.getByText(/\d+ open alerts? of it closes? as “retired”/).waitFor();
  await fine(page, 'nodes-retire');
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('button', { name: `Rename: ${node}` }).click();
  await page.getByLabel('New name').fill('another-name');
  await page.keyboard.press('Enter');
  await page.getByRole('searchbox').fill('another-name');
  await page.getByRole('button', { name: 'More to do with another-name' }).waitFor();
});

test('a node is added here: the string is shown once, inside finished commands for both systems', async () => {
  const page = await consoles.open('/add-node');
  await page.getByLabel('Name', { exact: true }).fill('db new');
  await page.getByLabel('Site').fill('porto');
  await page.getByLabel('Tags').fill('not a tag');
  await page.getByText('Tags are written as name=value').waitFor();
  await page.getByLabel('Tags').fill('role=db');
  await fine(page, 'add-node');
  await page.getByRole('button', { name: 'Show the commands' }).click();
  const string = await page.getByLabel('the enrolment string', { exact: true }).innerText();
  expect(string).toMatch(/^tme1\.[\w-]+\.-@http:\/\/127\.0\.0\.1:\d+$/);
  const linux = await page.getByLabel('install on Linux', { exact: true }).first().innerText();
  expect(linux).toContain(`sudo ./agent-install-linux.sh --server ${string.split('@')[1]!} --hostname 'db new'`);
  expect(linux, 'no secret in a command').not.toContain(string);
  await page.getByText('Waiting for the first report of db new').waitFor();
  await fine(page, 'add-node-commands');
  await page.getByRole('button', { name: 'Windows' }).first().click();
  expect(await page.getByLabel('install on Windows', { exact: true }).first().innerText()).toContain("-HostName 'db new'");
  await fine(page, 'add-node-windows');
  await page.getByRole('button', { name: 'Add another' }).click();
  expect(await page.content()).not.toContain(string);
  await page.getByLabel('Machines').fill('40');
  await page.getByRole('button', { name: 'Show the commands' }).click();
  await page.getByText(/can add up to 40 nodes\s+until/).waitFor();
});

test('machines that ask are decided about one by one: a new one, and one under the name of another', async () => {
  const page = await consoles.open('/nodes', { colorScheme: 'light' });
  await page.getByRole('table', { name: 'Nodes' }).waitFor();
  const doubled = page.locator('.claim', { hasText: 'a clone of it, or its replacement?' });
  await doubled.getByText('9C04-5B71').waitFor();
  await fine(page, 'nodes-claims-light');
  await doubled.getByRole('button', { name: /^Replace: / }).click();
  await page.getByText('A clone wants a name of its own instead').waitFor();
  await fine(page, 'nodes-claim-replace');
  await page.getByRole('button', { name: 'Cancel' }).click();
  await doubled.getByRole('button', { name: /^Deny: / }).click();
  await page.getByRole('button', { name: 'Deny', exact: true }).click();
  await doubled.waitFor({ state: 'detached' });
  const fresh = page.locator('.claim', { hasText: 'asks to join under this name' });
  const before = await fresh.count();
  expect(before).toBeGreaterThan(0);
  await fresh
    .first()
    .getByRole('button', { name: /^Approve: / })
    .click();
  await page.getByRole('button', { name: 'Approve', exact: true }).click();
  await expect.poll(() => fresh.count()).toBe(before - 1);
});

test('settings: rules with their layers, also for one node; a channel is tested; the storage says what it comes to', async () => {
  const page = await consoles.open('/settings');
  await page.getByRole('heading', { name: 'Storage', exact: true }).waitFor();
  await fine(page, 'settings-dark');
  await page.locator('#rule-disk-usage summary').click();
  await page.locator('#rule-disk-usage').getByText('/etc/tidemark/collector.yaml:35').waitFor();
  const lisbon = consoles.api.alerts.open.find((alert) => alert.site === 'lisbon');
  await page.getByLabel('As they stand for').fill(lisbon?.node ?? '');
  await page.locator('#rule-disk-usage summary', { hasText: 'above 80 %' }).waitFor();
  await page.getByLabel('As they stand for').fill('nobody');
  await page.getByText('No node has this name').waitFor();
  await page.getByRole('button', { name: 'Send a test message to team-mail' }).click();
  await page.getByText('451 4.7.1 Greylisting in action, please come back later').last().waitFor();
  await page.getByText('Not delivered').waitFor();
  await page.getByText('The disk is full in about 9 days').waitFor();
  await page.locator('#storage').scrollIntoViewIfNeeded();
  await fine(page, 'settings-storage');
  await page.goto(`${consoles.server.origin}/settings#rule-cpu-usage`);
  await page.locator('#rule-cpu-usage[open]').waitFor();
});

test('where streams are kept back the console asks, and says nothing wrong', async () => {
  consoles.api.setStream('held');
  const page = await consoles.open('/alerts');
  await rows(page).first().waitFor();
  await page.locator('.link-live').waitFor();
  expect(await page.locator('.banner').count()).toBe(0);
  const another = makeAlert({
    rule: 'node-silent',
    node: 'db-2',
    site: 'porto',
    level: 'critical',
    sinceMs: Date.now() - 90_000,
    value: null,
  });
  consoles.api.alerts.put(another);
  await page.locator(`[data-alert="${another.id}"]`).waitFor();
  // A stream that delivers again takes over.
  consoles.api.setStream('absent');
  await page.locator('.link-live').waitFor();
});

test('while a stream delivers nothing is asked for again and again', async () => {
  const page = await consoles.open('/alerts');
  await page.locator('.link-live').waitFor();
  await fetchedAhead(page);
  const asked: string[] = [];
  page.on('request', (request) => asked.push(new URL(request.url()).pathname));
  const events = consoles.api.events.rowsSent;
  await expect.poll(() => consoles.api.events.rowsSent - events, { timeout: 20_000 }).toBeGreaterThan(100);
  expect(asked).toEqual([]);
});
