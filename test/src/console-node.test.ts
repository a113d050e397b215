/**
 * A node's page in a real Chromium: charts that load a day in under a second, share one cursor and one range with the
 * address, and can be used without a mouse and without eyes.
 */
/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
import type { Overview, OverviewNode } from '@tidemark/protocol';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { Browsing, PHONE, complaints, picture } from './browsing.ts';

/** A noon at which the day before has its backup, its gap and its office hours. */
const FLEET = { nodes: 200, seed: 7 };
let browsing: Browsing;

beforeAll(async () => {
  browsing = await Browsing.start();
});
afterAll(() => browsing?.stop());
beforeEach(() => browsing.begin(FLEET));
afterEach(() => browsing.end());

async function pick(fits: (node: OverviewNode) => boolean): Promise<OverviewNode> {
  const answer = await fetch(`${browsing.server.origin}/api/telemetry/overview`);
  const node = ((await answer.json()) as Overview).nodes.find(fits);
  if (node === undefined) throw new Error('no such node in the fake fleet');
  return node;
}
const isDatabase = (node: OverviewNode): boolean =>
  node.up && node.postgres.some(({ role, up, replicas }) => role === 'primary' && up === true && replicas.length > 1);
const isSilent = (node: OverviewNode): boolean => node.state === 'approved' && !node.up && node.lastSeenAt !== null;
const path = (node: OverviewNode): string => `/nodes/${encodeURIComponent(node.name)}`;
const chart = (page: Page, title: string) => page.getByRole('slider', { name: title, exact: true });

const legends = (page: Page, title: string) => page.getByRole('figure', { name: title }).locator('.legend-value').allTextContents();
const search = (page: Page): string => new URL(page.url()).search;
const moment = (page: Page) => page.locator('.range-moment');

/** Until every chart in sight has drawn what it asked for; resolves with how long that took since the page was asked for. */
async function drawn(page: Page): Promise<number> {
  await page.locator('.chart canvas').first().waitFor();
  return page.evaluate(
    () =>
      new Promise<number>((resolve) => {
        const look = (): void => {
          const inSight = [...document.querySelectorAll<HTMLElement>('.chart')].filter(
            (each) => each.getBoundingClientRect().top < innerHeight,
          );
          const ready = inSight.every((each) => each.dataset['loading'] === 'false' && each.querySelector('canvas') !== null);
          // Drawn when the frame after the data has been painted.
          if (inSight.length > 0 && ready) requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now())));
          else requestAnimationFrame(look);
        };
        look();
      }),
  );
}

/** The middle of a chart's plot, and a share of its width beside it. */
async function pointIn(page: Page, title: string, share: number): Promise<{ x: number; y: number }> {
  const box = await chart(page, title).locator('.u-over').boundingBox();
  if (box === null) throw new Error(`${title} is not to be seen`);
  return { x: box.x + box.width * share, y: box.y + box.height / 2 };
}

/** Whether something other than the ground is drawn in a vertical strip of a chart. */
const inkAt = (page: Page, title: string, share: number) =>
  chart(page, title)
    .locator('canvas')
    .evaluate((canvas: HTMLCanvasElement, at) => {
      const { width, height } = canvas;
      const copy = document.createElement('canvas');
      copy.width = 3;
      copy.height = Math.round(height * 0.7);
      const context = copy.getContext('2d', { willReadFrequently: true })!;
      context.drawImage(canvas, -Math.round(width * at), -Math.round(height * 0.1));
      const { data } = context.getImageData(0, 0, copy.width, copy.height);
      let coloured = 0;
      for (let place = 0; place < data.length; place += 4) {
        const [red = 0, green = 0, blue = 0, opacity = 0] = data.slice(place, place + 4);
        if (opacity > 90 && Math.max(red, green, blue) - Math.min(red, green, blue) > 40) coloured += 1;
      }
      return coloured;
    }, share);

test('a database node, dark: every chart, nothing to complain of', async () => {
  const page = await browsing.open(`${path(await pick(isDatabase))}?range=24h`);
  await drawn(page);
  await picture(page, 'node-charts-dark');
  expect(await complaints(page)).toEqual([]);
  await page.setViewportSize({ width: 1440, height: 3_200 });
  await drawn(page);
  const titles = await page.locator('.chart h3').allTextContents();
  for (const title of [
    'CPU by mode',
    'Load',
    'Memory',
    'File systems',
    'Network',
    'Disk throughput',
    'Disk latency',
    'Pressure',
    'Connections',
  ])
    expect(titles).toContain(title);
  expect(await page.locator('.chart-instead').allTextContents()).toEqual([]);
  await page.getByText(/full in about \d+ (hours|days|weeks|months?)/).waitFor();
  await page.getByText('no steady growth').waitFor();
  await picture(page, 'node-charts-dark-whole');
});

test('light: nothing to complain of either', async () => {
  const page = await browsing.open(`${path(await pick(isDatabase))}?range=6h`, { colorScheme: 'light' });
  await drawn(page);
  await picture(page, 'node-charts-light');
  expect(await complaints(page)).toEqual([]);
  await page.setViewportSize({ width: 1440, height: 3_200 });
  await drawn(page);
  await picture(page, 'node-charts-light-whole');
});

test('a day is there in less than a second, from a cold start and by a click', async () => {
  const node = await pick(isDatabase);
  // The machine does other things as well: the best of three is what the page needs.
  let coldMs = Infinity;
  for (let n = 0; n < 3; n += 1) {
    const cold = await browsing.open(`${path(node)}?range=24h`);
    coldMs = Math.min(coldMs, await drawn(cold));
    await cold.context().close();
  }
  const page = await browsing.open(`${path(node)}?range=24h`);
  await drawn(page);
  await page.getByRole('button', { name: '1 h', exact: true }).click();
  await drawn(page);
  const questions: string[] = [];
  page.on('request', (request) => {
    if (request.url().includes('/series?')) questions.push(request.url());
  });
  // Another step than before, so that nothing of it is at hand.
  const before = await page.evaluate(() => performance.now());
  await page.getByRole('button', { name: '24 h', exact: true }).evaluate((button: HTMLButtonElement) => button.click());
  const clickMs = (await drawn(page)) - before;
  await page.getByRole('button', { name: '7 d', exact: true }).evaluate((button: HTMLButtonElement) => button.click());
  await drawn(page);
  process.stdout.write(
    `console: a day of charts drawn ${coldMs.toFixed(0)} ms after the page was asked for, ${clickMs.toFixed(0)} ms after a click\n`,
  );
  expect(coldMs).toBeLessThan(1_000);
  expect(clickMs).toBeLessThan(1_000);
  // One question a chart, each for one node and with a step that fits the pixels.
  expect(questions.length).toBeGreaterThan(0);
  expect(new Set(questions).size).toBe(questions.length);
  for (const url of questions) {
    const query = new URL(url).searchParams;
    expect(query.get('node')).toBe(node.name);
    expect((Number(query.get('to')) - Number(query.get('from'))) / 1_000 / Number(query.get('step'))).toBeLessThan(1_200);
  }
});

test('one cursor for all charts, which tells the moment in the zone of the viewer and in UTC', async () => {
  const page = await browsing.open(`${path(await pick(isDatabase))}?range=6h`);
  await drawn(page);
  const [cpu, memory] = [await legends(page, 'CPU by mode'), await legends(page, 'Memory')];
  const { x, y } = await pointIn(page, 'Load', 0.3);
  await page.mouse.move(x, y);
  await page.locator('.range-moment.at-cursor').waitFor();
  expect(await moment(page).innerText()).toMatch(/^(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d · \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/);
  expect(await legends(page, 'CPU by mode')).not.toEqual(cpu);
  expect(await legends(page, 'Memory')).not.toEqual(memory);
  // The chart of file systems leaves room for what is to come; in all others a moment lies at the same place.
  const lines = await page.locator('.chart').evaluateAll((charts) =>
    charts
      .filter((each) => each.getBoundingClientRect().top < innerHeight && each.querySelector('h3')?.textContent !== 'File systems')
      .flatMap((each) => [...each.querySelectorAll('.u-cursor-x:not(.u-off)')])
      .map((line) => Math.round(new DOMMatrix(getComputedStyle(line).transform).e)),
  );
  expect(lines.length).toBeGreaterThanOrEqual(4);
  expect(Math.max(...lines) - Math.min(...lines)).toBeLessThanOrEqual(1);
  await picture(page, 'node-cursor-dark');
  await page.mouse.move(5, 400);
  await page.locator('.range-moment:not(.at-cursor)').waitFor();
  expect(await legends(page, 'CPU by mode')).toEqual(cpu);
});

test('dragging zooms all charts, shift and drag pans, the address tells, and back undoes', async () => {
  const page = await browsing.open(path(await pick(isDatabase)));
  await drawn(page);
  expect(search(page)).toBe('');
  const [from, to] = [await pointIn(page, 'Memory', 0.25), await pointIn(page, 'Memory', 0.5)];
  await page.mouse.move(from.x, from.y);
  await page.mouse.down();
  await page.mouse.move((from.x + to.x) / 2, from.y);
  await page.mouse.move(to.x, to.y);
  await page.mouse.up();
  await page.waitForURL(/\?from=.*&to=/);
  const zoomed = new URL(page.url()).searchParams;
  const length = (query: URLSearchParams): number => (Date.parse(query.get('to')!) - Date.parse(query.get('from')!)) / 60_000;
  expect(length(zoomed)).toBeGreaterThan(84);
  expect(length(zoomed)).toBeLessThan(96);
  await drawn(page);
  expect(await page.getByRole('button', { name: '6 h', exact: true }).getAttribute('aria-pressed')).toBe('false');

  const [start, end] = [await pointIn(page, 'Load', 0.5), await pointIn(page, 'Load', 0.75)];
  await page.keyboard.down('Shift');
  await page.mouse.move(start.x, start.y);
  await page.mouse.down();
  await page.mouse.move(end.x, end.y, { steps: 3 });
  await page.mouse.up();
  await page.keyboard.up('Shift');
  const panned = new URL(page.url()).searchParams;
  expect(length(panned)).toBeCloseTo(length(zoomed), 0);
  const shift = (Date.parse(zoomed.get('from')!) - Date.parse(panned.get('from')!)) / 60_000;
  expect(shift).toBeGreaterThan(length(zoomed) * 0.23);
  expect(shift).toBeLessThan(length(zoomed) * 0.27);

  // A link to it shows the same.
  await page.mouse.move(5, 400);
  const link = page.url();
  const other = await browsing.open(link.slice(browsing.server.origin.length));
  await drawn(other);
  expect(await moment(other).innerText()).toBe(await moment(page).innerText());

  await page.goBack();
  await page.waitForURL((url) => url.search === '');
  await page.locator('button[aria-pressed=true]', { hasText: '6 h' }).waitFor();
  await page.getByRole('button', { name: 'Earlier' }).click();
  expect(search(page)).toMatch(/^\?from=/);
  await page.getByRole('button', { name: 'Now' }).click();
  expect(search(page)).toBe('');
  await page.getByRole('button', { name: '30 d' }).click();
  expect(search(page)).toBe('?range=30d');
  await drawn(page);
  await page.reload();
  await drawn(page);
  expect(await page.getByRole('button', { name: '30 d' }).getAttribute('aria-pressed')).toBe('true');
});

test('by keyboard: the arrows move the cursor and say the values, + and − zoom, and a chart can be read as a table', async () => {
  const page = await browsing.open(`${path(await pick(isDatabase))}?range=24h`);
  await drawn(page);
  const cpu = chart(page, 'CPU by mode');
  await cpu.focus();
  await page.keyboard.press('ArrowLeft');
  await page.keyboard.press('ArrowLeft');
  const spoken = await cpu.getAttribute('aria-valuetext');
  expect(spoken).toMatch(/^[\d: -]+: user \d+(\.\d)? %, system /);
  await page.keyboard.press('ArrowLeft');
  await expect.poll(() => cpu.getAttribute('aria-valuetext')).not.toBe(spoken);
  await page.keyboard.press('Home');
  await page.keyboard.press('+');
  await page.waitForURL(/\?from=/);
  await page.keyboard.press('Escape');
  expect(await moment(page).getAttribute('class')).not.toContain('at-cursor');
  const figure = page.getByRole('figure', { name: 'CPU by mode' });
  await figure.getByRole('button', { name: 'Table of CPU by mode' }).click();
  await figure.getByRole('columnheader', { name: 'I/O wait' }).waitFor();
  expect(await figure.getByRole('row').count()).toBeGreaterThan(20);
  await picture(page, 'node-table-dark');
  expect(await complaints(page)).toEqual([]);
  await figure.getByRole('button', { name: 'Chart of CPU by mode' }).click();
  await figure.getByRole('button', { name: /^system/ }).click();
  expect(await figure.getByRole('button', { name: /^system/ }).getAttribute('aria-pressed')).toBe('false');
});

test('a gap is drawn as a gap', async () => {
  // The fake fleet says nothing from 5:24 to 6:06 each day (UTC); asked for a stretch with that in its middle third.
  const day = new Date(Date.now() - 86_400_000).toISOString().slice(0, 10);
  const page = await browsing.open(`${path(await pick(isDatabase))}?from=${day}T05:00:00Z&to=${day}T06:30:00Z`);
  await drawn(page);
  const at = (minute: number): number => {
    // Left of the plot stands the axis, 58 px of it.
    const width = 1;
    return width * (0.1 + 0.89 * (minute / 90));
  };
  expect(await inkAt(page, 'Load', at(10))).toBeGreaterThan(0);
  expect(await inkAt(page, 'Load', at(80))).toBeGreaterThan(0);
  for (const minute of [30, 45, 60]) expect(await inkAt(page, 'Load', at(minute))).toBe(0);
  await picture(page, 'node-gap-dark');
});

test('alerts: open ones at the head, all of them as marks in the charts they are about', async () => {
  browsing.api.setAlerts('fleet');
  const open = browsing.api.alerts.open.find(({ rule, level }) => rule === 'disk-usage' && level === 'critical');
  if (open === undefined) throw new Error('no such alert in the scene');
  const page = await browsing.open(`/nodes/${encodeURIComponent(open.node)}?range=6h`);
  await drawn(page);
  const head = page.getByRole('list', { name: 'Open alerts' });
  await head.getByText(open.why).waitFor();
  await picture(page, 'node-alerts-dark');
  expect(await complaints(page)).toEqual([]);
  const marks = page.getByRole('figure', { name: 'File systems' }).locator('.chart-mark-critical');
  await expect.poll(() => marks.count()).toBeGreaterThan(0);
  expect(await marks.first().getAttribute('title')).toBe(`${open.title}: ${open.why}`);
  expect(await page.getByRole('figure', { name: 'Load' }).locator('.chart-mark').count()).toBe(0);
  await marks.first().click();
  await page.waitForURL(`**/alerts/${open.id}`);
});

test('a silent node: said at the head, drawn without colour, and its charts end where it fell silent', async () => {
  const node = await pick(isSilent);
  const page = await browsing.open(`${path(node)}?range=6h`);
  await drawn(page);
  await page.getByText('This node is silent.').waitFor();
  await picture(page, 'node-silent-dark');
  expect(await complaints(page)).toEqual([]);
});

test('a node that never reported has a page that says so', async () => {
  await browsing.end();
  await browsing.begin({ nodes: 1_000, seed: 7 });
  const node = await pick(({ state, lastSeenAt }) => state === 'approved' && lastSeenAt === null);
  const page = await browsing.open(path(node));
  await page.getByText('No report has come from it yet.').waitFor();
  expect(await page.locator('.chart').count()).toBe(0);
  await picture(page, 'node-never-dark');
});

test('a time before anything was measured says so; a refusal says why, and takes nothing away that is there', async () => {
  const node = await pick(isDatabase);
  const page = await browsing.open(path(node));
  await drawn(page);
  browsing.api.setTrouble({
    kind: 'problem',
    status: 503,
    code: 'database_away',
    detail: 'The database cannot be reached.',
    only: '/api/telemetry/series',
  });
  await page.getByRole('button', { name: '24 h', exact: true }).click();
  await page.getByText('not renewed: The database cannot be reached.').first().waitFor();
  expect(await page.getByRole('figure', { name: 'Memory', exact: true }).locator('canvas').count()).toBe(1);
  await picture(page, 'node-not-renewed-dark');
  const cold = await browsing.open(path(node), { colorScheme: 'light' });
  await cold.getByRole('button', { name: 'Try again' }).first().waitFor();
  await picture(cold, 'node-refused-light');
  expect(await complaints(cold)).toEqual([]);
  browsing.api.setTrouble({ kind: 'none' });
  await cold.getByRole('button', { name: 'Try again' }).first().click();
  await cold.locator('.chart .legend').first().waitFor();
});

test('figures that are not fresh lose their colour, in charts too', async () => {
  const page = await browsing.open(path(await pick(isDatabase)));
  await drawn(page);
  expect(await inkAt(page, 'CPU by mode', 0.5)).toBeGreaterThan(0);
  await browsing.server.stop();
  await page.locator('.banner').waitFor();
  await expect.poll(() => inkAt(page, 'CPU by mode', 0.5)).toBe(0);
  await picture(page, 'node-stale-dark');
  await browsing.server.start();
  await page.locator('.banner').waitFor({ state: 'detached' });
  await expect.poll(() => inkAt(page, 'CPU by mode', 0.5)).toBeGreaterThan(0);
});

test('on a phone: no scrolling sideways, and a finger moves the cursor', async () => {
  const page = await browsing.open(`${path(await pick(isDatabase))}?range=24h`, PHONE);
  await drawn(page);
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
  await picture(page, 'node-phone-dark');
  await chart(page, 'CPU by mode').scrollIntoViewIfNeeded();
  const { x, y } = await pointIn(page, 'CPU by mode', 0.5);
  await page.touchscreen.tap(x, y);
  await page.locator('.range-moment.at-cursor').waitFor();
  await picture(page, 'node-phone-cursor-dark');
  expect(await complaints(page)).toEqual([]);
});

test('PostgreSQL servers that nobody watches: where, how found, and the command as the agent says it', async () => {
  browsing.api.setFleet({ ...FLEET, unwatched: 2 });
  const node = await pick(({ postgresFound, postgres }) => postgresFound === 2 && postgres.length === 0);
  const found = (page: Page) => page.getByRole('region', { name: 'PostgreSQL found on this machine and not watched' });
  const page = await browsing.open(path(node));
  await found(page).scrollIntoViewIfNeeded();
  const items = found(page).getByRole('listitem');
  expect(await items.allInnerTexts()).toEqual([
    expect.stringMatching(/^127\.0\.0\.1:5432\s+found by the port it listens on/),
    expect.stringMatching(/^127\.0\.0\.1:15432\s+found by a port published for a container/),
  ]);
  expect(await found(page).locator('pre').allInnerTexts()).toEqual(
    [5432, 15432].map((port) => `tidemark-agent postgres setup --url 'postgresql://postgres@127.0.0.1:${port}/postgres'`),
  );
  await picture(page, 'node-found-dark');
  expect(await complaints(page)).toEqual([]);
  const beside = await pick(({ postgresFound }) => postgresFound === 1);
  const narrow = await browsing.open(path(beside), { ...PHONE, colorScheme: 'light' });
  await found(narrow).scrollIntoViewIfNeeded();
  const copy = (await found(narrow).getByRole('button', { name: /^Copy/ }).boundingBox())!;
  expect(copy.x + copy.width).toBeLessThanOrEqual(PHONE.viewport.width);
  await picture(narrow, 'node-found-phone-light');
  // Once it is watched there is nothing to say any more.
  browsing.api.setFleet(FLEET);
  await found(narrow).waitFor({ state: 'detached' });
});

test('reduced motion and a changed theme are followed', async () => {
  const page = await browsing.open(path(await pick(isDatabase)), { reducedMotion: 'reduce' });
  await drawn(page);
  const axis = () =>
    chart(page, 'Load')
      .locator('canvas')
      .evaluate((canvas: HTMLCanvasElement) => {
        const copy = document.createElement('canvas');
        copy.width = 50;
        copy.height = canvas.height;
        const context = copy.getContext('2d', { willReadFrequently: true })!;
        context.drawImage(canvas, 0, 0);
        const { data } = context.getImageData(0, 0, copy.width, copy.height);
        let brightest = 0;
        for (let place = 0; place < data.length; place += 4) if (data[place + 3]! > 200) brightest = Math.max(brightest, data[place]!);
        return brightest;
      });
  const dark = await axis();
  await page.emulateMedia({ colorScheme: 'light' });
  await expect.poll(axis).toBeLessThan(dark - 30);
});
