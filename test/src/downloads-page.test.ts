/** The page of the downloads in a real Chromium under the collector's policy: legible in both themes, no wider than a phone, without a script or a request to anywhere else. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { DOWNLOADS_STYLE, downloadsPage, type DownloadsPage } from '@tidemark/collector';
import axe from 'axe-core';
import { chromium, type Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';

const sum = (seed: number): string => Array.from({ length: 64 }, (_, i) => ((i * 7 + seed * 13) % 16).toString(16)).join('');
const names = [
  'tidemark-agent-0.1.0.tar.gz',
  'tidemark-agent-0.1.0.zip',
  ...['linux-arm64.tar.gz', 'linux-arm64.tar.xz', 'linux-x64.tar.gz', 'linux-x64.tar.xz', 'win-x64.zip'].map(
    (end) => `tidemark-runtime-22.23.3-${end}`,
  ),
];
const files = new Map(
  names.map((name, i) => [
    name,
    {
      name,
      path: '',
      sha256: sum(i),
      sizeBytes: 412_345 + i * 7_000_000,
      stamp: '',
      fault: i === 6 ? 'is not what SHA256SUMS says' : undefined,
    },
  ]),
);
const PAGE: DownloadsPage = {
  address: 'https://monitoring.some-long-name.example/tidemark',
  state: { kind: 'ready', bundle: { version: '0.1.0', node: '22.23.3', files, sums: Buffer.alloc(0), release: Buffer.alloc(0) } },
  scripts: [
    { name: 'agent-install-linux.sh', what: 'installs or upgrades the agent on Linux' },
    { name: 'agent-install-windows.ps1', what: 'installs or upgrades the agent on Windows' },
    { name: 'check-replication-status.sh', what: 'how replication stands, asked of a server itself' },
  ],
  publicPem: '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAO9gP2cA4oDDxDqcwW1y8zF3vXG9mP0hHk9wZrJb0m1I=\n-----END PUBLIC KEY-----\n',
  authority: { fingerprint: sum(99) },
  policy: 'approve',
};
const PAGES: Record<string, DownloadsPage> = {
  ready: PAGE,
  preparing: {
    ...PAGE,
    policy: 'token',
    authority: undefined,
    state: { kind: 'preparing', progress: { percent: 42, what: 'packing linux-x64' } },
  },
  unavailable: {
    ...PAGE,
    authority: undefined,
    state: { kind: 'unavailable', sentence: 'There is no room left on /srv.', retryAfterSeconds: 60 },
  },
};

let browser: Browser;
let server: Server;
let origin: string;

beforeAll(async () => {
  server = createServer((request, response) => {
    const [, kind, file] = /^\/documentation\/(\w+)\/(.*)$/.exec(request.url!) ?? [];
    response.setHeader('content-security-policy', "default-src 'none';style-src 'self';img-src 'self'");
    if (file === 'page.css') response.setHeader('content-type', 'text/css').end(DOWNLOADS_STYLE);
    else if (kind !== undefined) response.setHeader('content-type', 'text/html; charset=utf-8').end(downloadsPage(PAGES[kind]!));
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking'],
  });
});
afterAll(async () => {
  await browser?.close();
  await new Promise((resolve) => server?.close(resolve));
});

const LOOKS = (['dark', 'light'] as const).flatMap((scheme) =>
  [1280, 360].flatMap((width) => Object.keys(PAGES).map((kind) => [kind, scheme, width] as const)),
);

test.each(LOOKS)('%s, %s, %i pixels wide', async (kind, colorScheme, width) => {
  const context = await browser.newContext({ colorScheme, viewport: { width, height: 800 } });
  const page = await context.newPage();
  const remarks: string[] = [];
  page.on('console', (message) => {
    if (!message.location().url.endsWith('/favicon.svg')) remarks.push(message.text());
  });
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== origin) remarks.push(request.url());
  });
  await page.goto(`${origin}/documentation/${kind}/`);
  expect(await page.locator('h1').innerText()).toBe('Watch another server');
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 'no wider than the screen').toBeLessThanOrEqual(0);
  expect(await page.evaluate(() => document.scripts.length)).toBe(0);
  await page.evaluate(axe.source);
  const violations = await page.evaluate(async () =>
    (await (globalThis as unknown as { axe: typeof axe }).axe.run()).violations.map(({ id, impact }) => `${impact} ${id}`),
  );
  expect(violations).toEqual([]);
  expect(remarks).toEqual([]);
  await context.close();
});
