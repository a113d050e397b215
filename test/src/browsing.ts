/**
 * The built console in a real Chromium under the collector's policy, for tests of its pages. Whatever a page says on
 * its console, asks of another origin or has refused by the policy is a remark, and remarks fail the test.
 */
/// <reference lib="dom" />
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
export const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

/** A failed request is what some tests are about; Chromium's own line on it is not the console's doing. */
const EXPECTED = /^Failed to load resource: (?:the server responded with a status of|net::ERR_)/;

/** The console as built, and a browser. One per test file. */
export class Browsing {
  readonly dist: string;
  readonly #browser: Browser;
  readonly #pages: Page[] = [];
  readonly #remarks: string[] = [];
  api!: MockApi;
  server!: ConsoleServer;

  private constructor(dist: string, browser: Browser) {
    this.dist = dist;
    this.#browser = browser;
  }

  static async start(): Promise<Browsing> {
    const dist = mkdtempSync(join(tmpdir(), 'tidemark-console-'));
    mkdirSync(PICTURES, { recursive: true });
    await build({ root: CONSOLE, logLevel: 'warn', build: { outDir: dist, emptyOutDir: true } });
    const quiet = ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update'];
    const browser = await chromium.launch({
      executablePath: '/usr/bin/chromium',
      args: ['--headless', '--no-sandbox', '--disable-sync', ...quiet],
    });
    return new Browsing(dist, browser);
  }

  /** A new server over a new fleet, before each test. */
  async begin(options: Omit<MockApiOptions, 'token'>): Promise<void> {
    this.#remarks.length = 0;
    this.api = mockApi({ token: 'a-token-of-the-test', signedIn: true, ...options });
    this.server = await serveConsole(this.dist, this.api);
  }

  /** Closes what the test opened. Throws when a page was not quiet. */
  async end(): Promise<void> {
    await Promise.all(this.#pages.splice(0).map((page) => page.context().close()));
    await this.server.stop();
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
    const remark = (text: string): void => void this.#remarks.push(text);
    page.on('console', (message) => {
      if (!EXPECTED.test(message.text())) remark(`console: ${message.text()}`);
    });
    page.on('pageerror', (error) => remark(`error: ${error.stack ?? error.message}`));
    page.on('dialog', (dialog) => {
      remark(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on('request', (request) => {
      if (new URL(request.url()).origin !== this.server.origin) remark(`request: ${request.url()}`);
    });
    await page.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) =>
        // eslint-disable-next-line no-console -- the test listens to it
        console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`),
      );
    });
    await page.goto(this.server.origin + path);
    return page;
  }
}

export const picture = (page: Page, name: string, fullPage = false) => page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage });

/** What axe holds for serious or critical. Its script comes in through the debugger, past the page's policy. */
export async function complaints(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const found = await page.evaluate(async () => {
    const { axe: inPage } = globalThis as unknown as {
      axe: { run: (options: import('axe-core').RunOptions) => Promise<{ violations: import('axe-core').Result[] }> };
    };
    // Its preloading asks for style sheets, which a collector that is away cannot give.
    return (await inPage.run({ preload: false })).violations;
  });
  return found
    .filter((each) => each.impact === 'serious' || each.impact === 'critical')
    .map((each) => `${each.id}: ${each.nodes.map((node) => node.html.slice(0, 160)).join(' | ')}`);
}
