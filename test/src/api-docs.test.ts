/** The page on which the API is read, in a real Chromium under the collector's policy: complete, legible in both themes, and without a request to anywhere else. */
import type { AddressInfo } from 'node:net';
import { assembleApi, type AssembledApi } from '@tidemark/collector';
import axe from 'axe-core';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';

let api: AssembledApi;
let browser: Browser;
let origin: string;

beforeAll(async () => {
  api = await assembleApi('1.2.3');
  await api.app.listen({ host: '127.0.0.1', port: 0 });
  origin = `http://127.0.0.1:${(api.app.server.address() as AddressInfo).port}`;
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking'],
  });
});
afterAll(async () => {
  await browser?.close();
  await api?.close();
});

/** Opens the page signed in, and gathers what it says and asks for. */
async function openPage(colorScheme: 'dark' | 'light', path = '/api/docs'): Promise<{ page: Page; remarks: string[] }> {
  const context = await browser.newContext({ colorScheme, viewport: { width: 1280, height: 900 } });
  expect((await context.request.post(`${origin}/api/session`, { data: { token: api.adminToken } })).status()).toBe(204);
  const page = await context.newPage();
  const remarks: string[] = [];
  // The icon comes from the console, which is not part of what is tested here.
  page.on('console', (message) => {
    if (!message.location().url.endsWith('/favicon.svg')) remarks.push(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => remarks.push(`error: ${error.message}`));
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== origin) remarks.push(`request: ${request.url()}`);
  });
  await page.goto(origin + path);
  await page.locator('section').first().waitFor();
  return { page, remarks };
}

test.each(['dark', 'light'] as const)('every operation is there, and can be read: %s', async (scheme) => {
  const { page, remarks } = await openPage(scheme);
  const description = (await (await page.request.get(`${origin}/api/openapi.json`)).json()) as { paths: Record<string, object> };
  const described = Object.entries(description.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  const shown = await page
    .locator('main .address')
    .evaluateAll((lines) => lines.map((line) => [...line.querySelectorAll('code')].map((code) => code.textContent).join(' ')));
  expect(shown.toSorted()).toEqual(described.toSorted());
  expect(await page.locator('nav a').count()).toBe(described.length);
  expect(await page.locator('h1').innerText()).toBe('Tidemark API 1.2.3');
  expect(await page.locator('[id="get/api/telemetry/overview"] pre').innerText()).toContain('usageRatio: number | null');
  await page.evaluate(axe.source);
  const violations = await page.evaluate(async () =>
    (await (globalThis as unknown as { axe: typeof axe }).axe.run()).violations.map(({ id, impact }) => `${impact} ${id}`),
  );
  expect(violations.filter((violation) => /^(serious|critical) /.test(violation))).toEqual([]);
  expect(remarks).toEqual([]);
  await page.context().close();
});

test('a link leads to its operation', async () => {
  const { page, remarks } = await openPage('dark', '/api/docs#get/api/telemetry/series');
  const operation = page.locator('[id="get/api/telemetry/series"]');
  await page.waitForFunction(() => Math.abs(document.getElementById('get/api/telemetry/series')!.getBoundingClientRect().top) < 100);
  expect(await operation.locator('table').innerText()).toMatch(/metric\s+query/);
  expect(remarks).toEqual([]);
  await page.context().close();
});

test('without a session it says nothing', async () => {
  const context = await browser.newContext();
  const answer = await context.request.get(`${origin}/api/docs`);
  expect([answer.status(), ((await answer.json()) as { code: string }).code]).toEqual([401, 'credential_missing']);
  await context.close();
});
