/** HTTPS with the real programs: an agent that trusts nothing but the collector's authority, renewals under its feet, and certificates of agents. */
import { X509Certificate, createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { connect as connectTls } from 'node:tls';
import { TestAuthority, type IssuedCertificate } from '@tidemark/collector';
import type { Overview, TelemetryHealth } from '@tidemark/protocol';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { waitUntil } from './postgres/cluster.ts';
import { runToEnd, startAgent, startCollector, type Program, type RunningCollector } from './programs.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tidemark-https-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
});

const pathOf = (name: string): string => join(directory, name);
/** As certificate managers do it: a new file takes the old one's name. */
function write(name: string, content: string): string {
  writeFileSync(pathOf(`${name}.new`), content, { mode: 0o600 });
  renameSync(pathOf(`${name}.new`), pathOf(name));
  return pathOf(name);
}
const files = ({ cert, key }: IssuedCertificate, name = 'server'): { cert: string; key: string } => ({
  cert: write(`${name}.pem`, cert),
  key: write(`${name}-key.pem`, key),
});

interface World {
  collector: RunningCollector;
  ca: string;
  ask: <T>(path: string, method?: string, body?: unknown) => Promise<T>;
  node: (name: string) => Promise<Overview['nodes'][number] | undefined>;
}

async function world(ca: string | undefined, ...options: string[]): Promise<World> {
  const collector = await startCollector({ dataDir: pathOf('data'), arguments: options });
  onTestFinished(() => collector.stop());
  const trusted = ca ?? readFileSync(join(pathOf('data'), 'tls-authority.pem'), 'utf8');
  const ask = <T>(path: string, method = 'GET', body?: unknown): Promise<T> =>
    new Promise((resolve, reject) => {
      const headers = {
        authorization: `Bearer ${collector.adminToken}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      };
      const outgoing = request(
        new URL(path, collector.url),
        { method, headers, ca: trusted, agent: false, timeout: 10_000 },
        (response) => {
          text(response).then((answer) => {
            if (response.statusCode! >= 300) reject(new Error(answer));
            else resolve((answer === '' ? undefined : JSON.parse(answer)) as T);
          }, reject);
        },
      );
      outgoing.on('error', reject).on('timeout', () => outgoing.destroy(new Error('no answer')));
      outgoing.end(body === undefined ? undefined : JSON.stringify(body));
    });
  const node = async (name: string): Promise<Overview['nodes'][number] | undefined> =>
    (await ask<Overview>('/api/telemetry/overview')).nodes.find((one) => one.name === name);
  return { collector, ca: trusted, ask, node };
}

async function agent({ collector, ask }: World, name: string, more: Record<string, unknown>): Promise<Program> {
  const { token } = await ask<{ token: string }>('/api/telemetry/nodes', 'POST', { name });
  return again({ collector, token, name, more });
}

function again({
  collector,
  token,
  name,
  more,
}: {
  collector: RunningCollector;
  token: string;
  name: string;
  more: Record<string, unknown>;
}): Program {
  const started = startAgent({ collectorUrl: collector.url, token, hostname: name, directory: pathOf(name), intervalSeconds: 1, more });
  onTestFinished(() => started.stop());
  return started;
}

/** The certificate that new connections are shown: its serial number, and its key. */
function shown(url: string, ca: string): Promise<{ serial: string; key: string }> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connectTls({ host: hostname, port: Number(port), ca }, () => {
      const { serialNumber, pubkey } = socket.getPeerCertificate();
      resolve({ serial: serialNumber, key: pubkey!.toString('hex') });
      socket.end();
    });
    socket.once('error', reject);
  });
}

describe('an authority of its own', () => {
  test('an agent that trusts it reports; one that trusts the public ones does not, and says why', async () => {
    const here = await world(undefined, '--tls', 'self-made');
    expect(here.collector.url).toMatch(/^https:/);
    await agent(here, 'trusting', { caFile: join(pathOf('data'), 'tls-authority.pem') });
    const wary = await agent(here, 'wary', {});
    await waitUntil(async () => (await here.node('trusting'))?.up === true, { what: 'a report over HTTPS' });
    await waitUntil(() => wary.output().includes('not signed by an authority that is trusted here'), { what: 'the word of the other' });
    expect((await here.node('wary'))?.up).not.toBe(true);
    for (const key of ['tls-authority-key.pem', 'tls-key.pem']) expect(statSync(join(pathOf('data'), key)).mode & 0o777).toBe(0o600);
    const health = await runToEnd('collector', ['health', '--server', here.collector.url, '--data-dir', pathOf('data')]);
    expect([health.code, health.stdout]).toEqual([0, 'healthy\n']);
  });

  test('an enrolment string is all that an agent needs; one with another fingerprint lets nobody be believed', async () => {
    const here = await world(undefined, '--tls', 'self-made');
    const { string } = await here.ask<{ string: string }>('/api/telemetry/enrollments', 'POST', { uses: 2, url: here.collector.url });
    expect(string).toContain(`.${createHash('sha256').update(new X509Certificate(here.ca).raw).digest('hex')}@${here.collector.url}`);
    const other = string.replace(/\.[0-9a-f]{64}@/, `.${'0'.repeat(64)}@`);
    const wary = again({ collector: here.collector, token: other, name: 'wary', more: {} });
    await waitUntil(() => wary.output().includes('is not the one that the enrolment string names'), { what: 'the word of the wary one' });
    again({ collector: here.collector, token: string, name: 'db1', more: {} });
    await waitUntil(async () => (await here.node('db1'))?.up === true, { what: 'a report of an enrolled agent' });
    expect(await here.node('wary')).toBe(undefined);
  });

  test('it is the same after a restart, so that whoever has pinned it goes on', async () => {
    const first = await world(undefined, '--tls', 'self-made');
    const { key } = await shown(first.collector.url, first.ca);
    await first.collector.stop();
    const second = await world(first.ca, '--tls', 'self-made');
    // Another certificate only where this machine has got an address meanwhile.
    expect((await shown(second.collector.url, first.ca)).key).toBe(key);
  });
});

test('files that are renewed under a reporting agent: shown within seconds, and no report is lost', async () => {
  const authority = new TestAuthority();
  const { cert, key } = files(authority.issue(['127.0.0.1']));
  const here = await world(authority.caPem, '--tls', 'files', '--tls-cert', cert, '--tls-key', key);
  await agent(here, 'db1', { caFile: write('ca.pem', authority.caPem) });
  await waitUntil(async () => (await here.node('db1'))?.up === true, { what: 'the first report' });
  const { serial: before } = await shown(here.collector.url, here.ca);
  // The certificate first, its key some seconds later: what lies between is never shown.
  const renewed = authority.issue(['127.0.0.1']);
  write('server.pem', renewed.cert);
  await waitUntil(
    async () =>
      (await here.ask<TelemetryHealth>('/api/telemetry/health')).components.some(
        ({ name, status }) => name === 'tls' && status === 'degraded',
      ),
    { what: 'health to tell of half a renewal', timeoutMs: 20_000 },
  );
  expect((await shown(here.collector.url, here.ca)).serial).toBe(before);
  write('server-key.pem', renewed.key);
  await waitUntil(async () => (await shown(here.collector.url, here.ca)).serial !== before, {
    what: 'the renewed certificate',
    timeoutMs: 20_000,
  });
  const stored = async (): Promise<{ stored: number; oldest: number; newest: number }> => {
    const [row] = await here.collector.sql<{ stored: number; oldest: number; newest: number }>(
      'SELECT count(*)::int AS stored, min(sequence)::int AS oldest, max(sequence)::int AS newest FROM reports',
    );
    return row!;
  };
  const { newest } = await stored();
  const later = await waitUntil(
    async () => {
      const now = await stored();
      return now.newest >= newest + 3 && now;
    },
    { what: 'further reports' },
  );
  expect(later.stored, 'every report from the first to the last').toBe(later.newest - later.oldest + 1);
});

test('agents that have to show a certificate: told so without one, let in with one, and nothing was lost meanwhile', async () => {
  const clients = new TestAuthority('Agents CA');
  const here = await world(undefined, '--tls', 'self-made', '--tls-client-ca', write('clients.pem', clients.caPem));
  const caFile = join(pathOf('data'), 'tls-authority.pem');
  const { token } = await here.ask<{ token: string }>('/api/telemetry/nodes', 'POST', { name: 'db1' });
  const without = again({ collector: here.collector, token, name: 'db1', more: { caFile } });
  await waitUntil(() => without.output().includes('client_certificate_needed'), { what: 'the agent to be told' });
  expect((await here.node('db1'))?.up).not.toBe(true);
  await without.stop();
  const issued = files(clients.issue(['db1'], { purpose: 'client' }), 'client');
  again({ collector: here.collector, token, name: 'db1', more: { caFile, certFile: issued.cert, keyFile: issued.key } });
  await waitUntil(async () => (await here.node('db1'))?.up === true, { what: 'a report with a certificate' });
  const stored = await waitUntil(
    async () => {
      const [row] = await here.collector.sql<{ runs: number }>('SELECT count(DISTINCT boot)::int AS runs FROM reports');
      return row!.runs === 2 && row!.runs;
    },
    { what: 'what the refused run had gathered' },
  );
  expect(stored).toBe(2);
});
