/**
 * The console in a real Chromium over its mock, for tests: built once, under the collector's policy. Whatever a page says on
 * its console, asks of another origin or has refused by the policy fails the test it happened in.
 */
/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mockApi, serveConsole, type ConsoleServer, type MockApi, type MockApiOptions } from '@tidemark/console/dev';
import axe from 'axe-core';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { build } from 'vite';

const CONSOLE = fileURLToPath(new URL('../../packages/console', import.meta.url));
const PICTURES = fileURLToPath(new URL('../../test-results/console', import.meta.url));
export const DESK = { width: 1440, height: 900 };
export const PHONE: BrowserContextOptions = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
/** A failed request is what some tests are about; Chromium's own line on it is not the console's doing. */
const EXPECTED = /^Failed to load resource: (?:the server responded with a status of|net::ERR_)/;
const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'];

/** One built console and one browser for a file of tests. */
export class ConsoleBrowser {
  readonly dist: string;
  readonly #browser: Browser;
  readonly #remarks: string[] = [];
  readonly #pages: Page[] = [];
  #server: ConsoleServer | undefined;
  #api: MockApi | undefined;

  private constructor(dist: string, browser: Browser) {
    this.dist = dist;
    this.#browser = browser;
  }

  static async start(): Promise<ConsoleBrowser> {
    const dist = mkdtempSync(join(tmpdir(), 'tidemark-console-'));
    mkdirSync(PICTURES, { recursive: true });
    await build({ root: CONSOLE, logLevel: 'warn', build: { outDir: dist, emptyOutDir: true } });
    const browser = await chromium.launch({
      executablePath: '/usr/bin/chromium',
      args: [...FLAGS, '--disable-component-update', '--disable-sync'],
    });
    return new ConsoleBrowser(dist, browser);
  }

  get server(): ConsoleServer {
    return this.#server!;
  }
  get api(): MockApi {
    return this.#api!;
  }

  /** A mock of its own for each test. */
  async begin(options: MockApiOptions): Promise<void> {
    this.#remarks.length = 0;
    this.#api = mockApi(options);
    this.#server = await serveConsole(this.dist, this.#api);
  }

  /** Ends what a test began; fails when a page was not quiet. */
  async end(): Promise<void> {
    await Promise.all(this.#pages.splice(0).map((page) => page.context().close()));
    await this.server.stop();
    this.api.events.stop();
    if (this.#remarks.length > 0) throw new Error(`The page was not quiet:\n${this.#remarks.join('\n')}`);
  }

  async stop(): Promise<void> {
    await this.#browser.close();
    rmSync(this.dist, { recursive: true, force: true });
  }

  async open(path: string, options: BrowserContextOptions = {}): Promise<Page> {
    const context = await this.#browser.newContext({ viewport: DESK, colorScheme: 'dark', timezoneId: 'Europe/Lisbon', ...options });
    const page = await context.newPage();
    this.#pages.push(page);
    const { origin } = this.server;
    page.on('console', (message) => {
      if (!EXPECTED.test(message.text())) this.#remarks.push(`console: ${message.text()}`);
    });
    page.on('pageerror', (error) => this.#remarks.push(`error: ${error.message}`));
    page.on('request', (request) => {
      if (new URL(request.url()).origin !== origin) this.#remarks.push(`request: ${request.url()}`);
    });
    await page.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) =>
        // eslint-disable-next-line no-console -- the test listens to it
        console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`),
      );
    });
    await page.goto(origin + path);
    return page;
  }
}

export const picture = (page: Page, name: string) => page.screenshot({ path: join(PICTURES, `${name}.png`) });

/** How far the page is wider than its window. */
export const sideways = (page: Page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

/** What axe holds for serious or critical. Its script comes in through the debugger, past the page's policy. */
export async function complaints(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const found = await page.evaluate(async () => {
    const { axe: inPage } = globalThis as unknown as { axe: { run: () => Promise<{ violations: import('axe-core').Result[] }> } };
    return (await inPage.run()).violations;
  });
  return found
    .filter((each) => each.impact === 'serious' || each.impact === 'critical')
    .map((each) => `${each.id}: ${each.nodes.map((node) => node.html.slice(0, 160)).join(' | ')}`);
}
