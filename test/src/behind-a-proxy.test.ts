/**
 * A collector below a path of a real nginx and a real HAProxy that end TLS, with the configurations of the documents, the path left on
 * and cut off: reports, questions, the console with its stream, downloads and scripts all come through.
 */
/// <reference lib="dom" />
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get, request as httpsRequest, type RequestOptions } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { NodeDetail, Overview } from '@tidemark/protocol';
import { EXIT } from '@tidemark/service';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { waitUntil } from './postgres/cluster.ts';
import { runToEnd, startAgent, startCollector, type RunningCollector } from './programs.ts';
import { PROXIES, documented, freePort, makeCertificate, startProxy, type Certificate, type RunningProxy } from './proxies.ts';

const run = promisify(execFile);
let directory: string;
let port: number;
let base: string;
let certificate: Certificate;
let collector: RunningCollector;
let browser: Browser;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tidemark-proxy-'));
  certificate = makeCertificate(join(directory, 'tls'));
  port = await freePort();
  base = `https://localhost:${port}/tidemark`;
  const file = join(directory, 'collector.yaml');
  writeFileSync(
    file,
    documented('yaml', 'publicUrl').replace('https://ops.example/tidemark', base).replace('127.0.0.1:5000', '127.0.0.1:0'),
    { mode: 0o600 },
  );
  mkdirSync(join(directory, 'data'));
  collector = await startCollector({ dataDir: join(directory, 'data'), arguments: ['--config', file] });
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', `--ignore-certificate-errors-spki-list=${certificate.keySum}`],
  });
}, 240_000);

afterAll(async () => {
  await browser?.close();
  await collector?.stop();
  rmSync(directory, { recursive: true, force: true });
}, 60_000);

interface Answer {
  status: number;
  headers: IncomingMessage['headers'];
  body: string;
}

/** Through the proxy, with the certificate checked. */
function ask(path: string, { body, ...options }: RequestOptions & { body?: string } = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest(
      `https://localhost:${port}${path}`,
      { ca: readFileSync(certificate.caFile), agent: false, ...options },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, body: text }));
      },
    );
    request.on('error', reject).end(body);
  });
}
const authorization = (): { authorization: string } => ({ authorization: `Bearer ${collector.adminToken}` });
/** Chromium gives up what it is doing when an interface comes or goes on the machine, and other tests make some. */
async function visit(page: Page, url: string): Promise<void> {
  for (let left = 5; ; left -= 1) {
    try {
      await page.goto(url);
      return;
    } catch (error) {
      if (left === 0 || !String(error).includes('ERR_NETWORK_CHANGED')) throw error;
    }
  }
}
const json = { 'content-type': 'application/json' };

describe.each(
  PROXIES.flatMap((kind) =>
    [false, true].map((cutsPrefix) => [kind, cutsPrefix ? 'cuts the path off' : 'leaves the path on', cutsPrefix] as const),
  ),
)('%s %s', (kind, _, cutsPrefix) => {
  const node = `${kind}-${cutsPrefix ? 'cut' : 'on'}`;
  let proxy: RunningProxy;
  beforeAll(async () => {
    proxy = await startProxy({ kind, cutsPrefix, port, collectorUrl: collector.url, certificate, directory: join(directory, node) });
  });
  afterAll(() => proxy?.stop());

  test('the API is there, below the path and nowhere else', async () => {
    expect((await ask('/tidemark/health')).status).toBe(200);
    expect((await ask('/tidemark/api/telemetry/overview')).status).toBe(401);
    expect((await ask('/tidemark/api/telemetry/overview', { headers: authorization() })).status).toBe(200);
    for (const path of ['/health', '/tidemarks/health', ...(cutsPrefix ? [] : ['/tidemark/tidemark/health'])])
      expect((await ask(path)).status, path).toBeGreaterThanOrEqual(400);
    const targets = JSON.parse((await ask('/tidemark/api/telemetry/prometheus/targets', { headers: authorization() })).body) as unknown[];
    for (const target of targets)
      expect(target).toMatchObject({
        targets: [`localhost:${port}`],
        labels: { __scheme__: 'https', __metrics_path__: '/tidemark/metrics' },
      });
  });

  test('an agent reports, and a person sees it: the console, its links, its stream', async () => {
    const { token } = await collector.api<{ token: string }>('POST', '/api/telemetry/nodes', { name: node });
    const agent = startAgent({
      collectorUrl: base,
      token,
      hostname: node,
      directory: join(directory, `agent-${node}`),
      intervalSeconds: 1,
      environment: { TIDEMARK_CA_FILE: certificate.caFile },
    });
    try {
      await waitUntil(
        async () => {
          const { nodes } = await collector.api<Overview>('GET', '/api/telemetry/overview');
          return nodes.find(({ name }) => name === node)?.up === true;
        },
        { what: `reports of ${node}: ${agent.output()}` },
      );
      expect((await ask(`/tidemark/metrics?node=${node}`, { headers: authorization() })).body).toMatch(/^tidemark_cpu_usage_ratio\{.*\} /m);
      await lookAround(node);
    } finally {
      await agent.stop();
    }
  });

  test('the command line asks through it', async () => {
    const tokenFile = ['--token-file', collector.ready.adminTokenFile];
    const { code, stdout, stderr } = await runToEnd('collector', ['nodes', 'list', '--server', base, ...tokenFile], {
      NODE_EXTRA_CA_CERTS: certificate.caFile,
    });
    expect(code, stderr).toBe(0);
    expect(stdout).toContain(node);
  });

  test('who asks to join is shown with its own address', async () => {
    const body = JSON.stringify({
      name: `asks-${node}`,
      secretHash: createHash('sha256').update(node).digest('base64url'),
      version: '0.1.0',
    });
    const answer = await ask('/tidemark/api/telemetry/v1/enroll', {
      method: 'POST',
      body,
      localAddress: '127.0.0.3',
      headers: { ...json, 'x-forwarded-for': '198.51.100.1' },
    });
    expect([answer.status, JSON.parse(answer.body)]).toEqual([
      200,
      expect.objectContaining({ state: 'pending', consoleUrl: expect.stringMatching(`^${base}/`) as string }),
    ]);
    const { claim } = await collector.api<NodeDetail>('GET', `/api/telemetry/nodes/asks-${node}`);
    expect(claim?.address).toBe('127.0.0.3');
  });

  test('the stream comes as it is told, and not gathered', async () => {
    const times: number[] = [];
    await new Promise<void>((resolve, reject) => {
      const request = get(
        `${base}/api/events`,
        { ca: readFileSync(certificate.caFile), agent: false, headers: authorization() },
        (response) => {
          expect([response.statusCode, response.headers['content-type']]).toEqual([200, 'text/event-stream; charset=utf-8']);
          response.setEncoding('utf8').on('data', (text: string) => {
            times.push(...(text.match(/^event: life$/gm) ?? []).map(() => performance.now()));
            if (times.length < 3) return;
            response.destroy();
            resolve();
          });
        },
      );
      request.on('error', reject);
    });
    // Gathered they would come together.
    expect(times[2]! - times[0]!).toBeGreaterThan(1_000);
  });

  test('a backlog of megabytes gets to the collector', async () => {
    const { token } = await collector.api<{ token: string }>('POST', '/api/telemetry/nodes', { name: `backlog-${node}` });
    const { status, body } = await ask('/tidemark/api/telemetry/v1/reports', {
      method: 'POST',
      body: ' '.repeat(4_000_000),
      headers: { ...json, authorization: `Bearer ${token}` },
    });
    expect([status, (JSON.parse(body) as { code: string }).code]).toEqual([400, 'body_malformed']);
  });

  test('downloads come whole, a cut one is taken up again, and scripts know the address', async () => {
    const slashless = await ask('/tidemark/documentation/downloads');
    expect([slashless.status, new URL(slashless.headers.location!, `${base}/documentation/downloads`).href]).toEqual([
      308,
      `${base}/documentation/downloads/`,
    ]);
    const page = (await ask('/tidemark/documentation/downloads/')).body;
    expect(page).toContain(`curl -o agent-install-linux.sh ${base}/documentation/downloads/agent-install-linux.sh`);
    const script = await ask('/tidemark/documentation/downloads/check-replication-status.sh');
    expect(script.body).toContain(`TIDEMARK_URL='${base}'`);

    const release = await waitUntil(
      async () => {
        const { status, body } = await ask('/tidemark/documentation/downloads/release.json');
        return status === 200 && (JSON.parse(body) as { files: Record<string, { sha256: string; sizeBytes: number }> });
      },
      { what: 'the bundle', timeoutMs: 170_000 },
    );
    const [name, { sha256, sizeBytes }] = Object.entries(release.files).find(([one]) => one.endsWith('linux-x64.tar.xz'))!;
    const file = join(directory, `${node}-${name}`);
    const url = `${base}/documentation/downloads/${name}`;
    const curl = (...more: string[]) => run('curl', ['-sS', '--noproxy', '*', '--cacert', certificate.caFile, '-o', file, ...more, url]);
    await curl('--range', `0-${Math.floor(sizeBytes / 3)}`);
    const { stdout } = await curl('-C', '-', '-w', '%{http_code}');
    expect(stdout).toBe('206');
    expect(createHash('sha256').update(readFileSync(file)).digest('hex')).toBe(sha256);
    rmSync(file);
  });

  /** The console as a person goes through it: signed in, from the fleet to the node and to the alerts, and back by its link. */
  async function lookAround(name: string): Promise<void> {
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
    const page = await context.newPage();
    const remarks: string[] = [];
    page.on('pageerror', (error) => remarks.push(error.message));
    page.on('console', (message) => {
      // Asked before anybody has signed in; or a test beside this one made a network of its own.
      if (message.type() === 'error' && !/401|ERR_NETWORK_CHANGED/.test(message.text()))
        remarks.push(`${message.text()} ${message.location().url}`);
    });
    page.on('request', (request) => {
      if (!request.url().startsWith(`${base}/`)) remarks.push(`asked for ${request.url()}`);
    });
    page.on('response', (response) => {
      if (response.status() >= 400 && response.status() !== 401) remarks.push(`${response.status()} ${response.url()}`);
    });
    await visit(page, `${base}/`);
    await page.getByLabel('Token', { exact: true }).fill(collector.adminToken);
    await page.keyboard.press('Enter');
    const link = page.getByRole('link', { name }).first();
    await link.waitFor();
    expect((await context.cookies()).map(({ path, secure }) => ({ path, secure }))).toEqual([{ path: '/tidemark', secure: true }]);
    await link.click();
    await page.locator('h1', { hasText: name }).waitFor();
    expect(page.url()).toContain(`${base}/nodes/${name}`);
    await page.reload();
    await page.locator('h1', { hasText: name }).waitFor();
    for (const path of [
      '/alerts',
      '/replication',
      '/settings',
      '/add-node',
      '/api/docs',
      '/grafana/dashboards',
      '/runbooks',
      '/documentation/downloads/',
    ]) {
      await visit(page, base + path);
      await page.locator('h1').first().waitFor();
    }
    expect(remarks).toEqual([]);
    await context.close();
  }
});

test('a path that is an address of the collector’s own is refused at the start', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'tidemark-prefix-'));
  try {
    const outcome = await runToEnd('collector', [
      'run',
      '--data-dir',
      dataDir,
      '--listen',
      '127.0.0.1:0',
      '--public-url',
      'https://ops.example/api',
    ]);
    expect([outcome.code, outcome.stderr]).toEqual([
      EXIT.configuration,
      expect.stringContaining('--public-url must not have the path /api: /api is an address of the collector'),
    ]);
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
});
