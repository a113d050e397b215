/** What docs/how-to/webhooks.md tells people to run, run; and what it shows, checked against the schema. */
import { execFile, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Value } from 'typebox/value';
import { expect, onTestFinished, test } from 'vitest';
import { NOW, messageOf } from './channels/message-testing.ts';
import { WebhookPayload } from './channels/webhook-payload.ts';
import { webhook } from './channels/webhook.ts';

const page = readFileSync(fileURLToPath(new URL('../../../docs/how-to/webhooks.md', import.meta.url)), 'utf8');

function snippet(language: string): string {
  const found = page.split(`\`\`\`${language}\n`)[1]?.split('\n```')[0];
  expect(found, `a ${language} snippet`).toBeDefined();
  return `${found!}\n`;
}

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'tidemark-page-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A real webhook as a real receiver got it, and its two secrets, the second being on its way out. */
async function oneThatArrived(at: string): Promise<{ headers: IncomingHttpHeaders; body: string; secrets: string[] }> {
  const secrets = [0, 1].map(() => `whsec_${randomBytes(32).toString('base64')}`);
  const secretFile = join(at, 'secret');
  writeFileSync(secretFile, secrets.join('\n'));
  const arrived: { headers: IncomingHttpHeaders; body: string }[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
    request.on('end', () => {
      arrived.push({ headers: request.headers, body });
      response.writeHead(204).end();
    });
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const channel = webhook.make({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, secretFile });
  await channel.send(messageOf({ items: [] }), { now: NOW, signal: AbortSignal.timeout(5_000) });
  await channel.close?.();
  expect(arrived.length).toBe(1);
  return { ...arrived[0]!, secrets };
}

/** Cases as [name, headers, body, secrets, now, whether it holds]. */
function casesOf({
  headers,
  body,
  secrets,
}: Awaited<ReturnType<typeof oneThatArrived>>): [string, IncomingHttpHeaders, string, string[], number, boolean][] {
  const now = NOW / 1_000;
  return [
    ['as it came', headers, body, secrets, now, true],
    ['with the new secret alone', headers, body, [secrets[0]!], now, true],
    ['with the old secret alone', headers, body, [secrets[1]!], now + 299, true],
    ['with another secret', headers, body, [`whsec_${randomBytes(32).toString('base64')}`], now, false],
    ['another body', headers, `${body} `, secrets, now, false],
    ['another id', { ...headers, 'webhook-id': 'other' }, body, secrets, now, false],
    ['played back later', headers, body, secrets, now + 301, false],
    ['without a signature', { ...headers, 'webhook-signature': '' }, body, secrets, now, false],
  ];
}

test('the JavaScript on the page tells a true message from a forged one', async () => {
  const at = directory();
  const cases = casesOf(await oneThatArrived(at));
  writeFileSync(join(at, 'verify.mjs'), snippet('js'));
  writeFileSync(
    join(at, 'run.mjs'),
    `import { verify } from './verify.mjs';\nconst cases = ${JSON.stringify(cases)};\nconsole.log(JSON.stringify(cases.map(([, h, b, s, now]) => verify(h, b, s, now))));\n`,
  );
  const { stdout } = await promisify(execFile)(process.execPath, [join(at, 'run.mjs')]);
  expect(JSON.parse(stdout)).toEqual(cases.map(([, , , , , holds]) => holds));
});

test.skipIf(spawnSync('python3', ['--version']).status !== 0)('and so does the Python', async () => {
  const at = directory();
  const cases = casesOf(await oneThatArrived(at));
  writeFileSync(join(at, 'cases.json'), JSON.stringify(cases));
  writeFileSync(
    join(at, 'run.py'),
    `${snippet('python')}\nimport json, sys\nprint(json.dumps([verify(h, b.encode(), s, now) for _, h, b, s, now, _ in json.load(open(sys.argv[1]))]))\n`,
  );
  const { stdout } = await promisify(execFile)('python3', [join(at, 'run.py'), join(at, 'cases.json')]);
  expect(JSON.parse(stdout)).toEqual(cases.map(([, , , , , holds]) => holds));
});

test('the document on the page has the form that is sent', () => {
  const shown: unknown = JSON.parse(snippet('json'));
  expect([...Value.Errors(WebhookPayload, shown)]).toEqual([]);
  const { alerts } = (shown as WebhookPayload).data;
  const { properties } = WebhookPayload.properties.data.properties.alerts.items;
  expect(Object.keys(alerts[0]!).toSorted()).toEqual(Object.keys(properties).toSorted());
});
