/** A whole collector: what it refuses to start on, each with one sentence and an exit code, and what it goes on doing while its database is away. */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { layoutHash, REPORTS_PATH, type Acknowledgement, type Health, type Problem, type TelemetryHealth } from '@tidemark/protocol';
import { EXIT, OperationalFailure, systemClock } from '@tidemark/service';
import { pino } from 'pino';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Database, type DatabaseAddress } from './db/pool.ts';
import { createTestDatabase } from './db/testing.ts';
import { makeUsable } from './db/usable.ts';
import { startTestCollector, temporaryDirectory, urlOf, type TestCollectorOptions } from './testing.ts';

const log = pino({ level: 'silent' });

/** The refusal of a start. */
async function refusal(options: TestCollectorOptions): Promise<OperationalFailure> {
  const error: unknown = await startTestCollector(options).catch((thrown: unknown) => thrown);
  if (!(error instanceof OperationalFailure)) throw error instanceof Error ? error : new Error('it started');
  expect(error.message, 'one sentence, or two, on one line').not.toContain('\n');
  return error;
}

async function freshDatabase(): Promise<DatabaseAddress> {
  const { database, address } = await createTestDatabase();
  await database.close();
  return address;
}

/** A port that is taken until the test is over. */
async function takenPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

describe('refuses to start', () => {
  test('on a port that is taken, before anything is made', async () => {
    const port = await takenPort();
    const dataDir = join(temporaryDirectory(), 'data');
    const { message, exitCode } = await refusal({
      dataDir,
      databaseUrl: 'postgresql://nobody@127.0.0.1:1/none',
      listen: `127.0.0.1:${port}`,
    });
    expect(message).toBe(
      `Another program listens on 127.0.0.1:${port} already. Choose another port: --listen 127.0.0.1:${port + 1}, or TIDEMARK_LISTEN=127.0.0.1:${port + 1} npm start.`,
    );
    expect(exitCode).toBe(EXIT.portInUse);
    expect(existsSync(dataDir)).toBe(false);
  });

  test.each([
    ['an address of another machine', '192.0.2.1:5000', /^This machine has no address 192\.0\.2\.1\. /],
    ['a name of no machine', 'nosuch.invalid:5000', /^This machine has no address nosuch\.invalid\. /],
  ])('on %s', async (_, listen, sentence) => {
    const { message, exitCode } = await refusal({
      dataDir: temporaryDirectory(),
      databaseUrl: 'postgresql://nobody@127.0.0.1:1/none',
      listen,
    });
    expect(message).toMatch(sentence);
    expect(exitCode).toBe(EXIT.configuration);
  });

  test('in a data directory that is a file, or below one', async () => {
    const file = join(temporaryDirectory(), 'file');
    writeFileSync(file, '');
    for (const dataDir of [file, join(file, 'data')]) {
      const { message, exitCode } = await refusal({ dataDir, databaseUrl: 'postgresql://nobody@127.0.0.1:1/none' });
      expect(message).toMatch(/^Cannot use .*file.* for the collector's data: something that is not a directory is in the way\. /);
      expect(exitCode).toBe(EXIT.dataDirectory);
    }
  });

  test.skipIf(process.getuid?.() === 0)('in a data directory that is not writable', async () => {
    const dataDir = join(temporaryDirectory(), 'data');
    mkdirSync(dataDir, { mode: 0o500 });
    const { message, exitCode } = await refusal({ dataDir, databaseUrl: 'postgresql://nobody@127.0.0.1:1/none' });
    expect(message).toMatch(/this user may not write there/);
    expect(exitCode).toBe(EXIT.dataDirectory);
  });

  const UNREACHABLE: readonly [string, (address: DatabaseAddress) => string, RegExp][] = [
    ['nothing listens', () => 'postgresql://nobody@127.0.0.1:1/none', /ECONNREFUSED 127\.0\.0\.1:1/],
    ['there is no such host', () => 'postgresql://nobody@nosuch.invalid/none', /nosuch\.invalid/],
    ['the password is wrong', (address) => urlOf(address, { password: 'guess' }), /password authentication failed for user "\w+"/],
    ['there is no password', (address) => urlOf(address).replace(/:[^:@/]+@/, '@'), /password/],
    ['there is no such database', (address) => urlOf(address, { database: 'none' }), /database "none" does not exist/],
    ['the server speaks no TLS', (address) => `${urlOf(address)}&sslmode=require`, /SSL/],
    ['the URL makes no sense', () => 'postgresql://%zz@[::::]/x', /./],
  ];
  test.each(UNREACHABLE)('on a database where %s', async (_, url, sentence) => {
    const { message, exitCode } = await refusal({ dataDir: temporaryDirectory(), databaseUrl: url(await freshDatabase()) });
    expect(message).toMatch(/^The database cannot be used: .+\. Check TIDEMARK_DATABASE_URL .*\.$/);
    expect(message).toMatch(sentence);
    expect(message).not.toMatch(/guess|:\/\//);
    expect(exitCode).toBe(EXIT.databaseAway);
  });

  test.each([
    ['make nothing', 'GRANT USAGE ON SCHEMA public TO', /^The database cannot be used: permission denied for schema public\. /],
    ['not even look', 'REVOKE ALL ON SCHEMA public FROM', /^The database cannot be used: no schema has been selected to create in\. /],
  ])('on a database where it may %s', async (_, grant, sentence) => {
    const { database, address } = await createTestDatabase();
    const role = `reader_${process.pid}`;
    await database.query('DROP SCHEMA public CASCADE');
    await database.query('CREATE SCHEMA public');
    await database.query(`CREATE ROLE ${role} LOGIN PASSWORD 'reader'`);
    await database.query(`${grant} ${role}`);
    const databaseUrl = urlOf(address, { user: role, password: 'reader' });
    const { message, exitCode } = await refusal({ dataDir: temporaryDirectory(), databaseUrl });
    expect(message).toMatch(sentence);
    expect(exitCode).toBe(EXIT.databaseAway);
    await database.query(`DROP OWNED BY ${role}`);
    await database.query(`DROP ROLE ${role}`);
    await database.close();
  });

  test.each([
    [
      'newer',
      "INSERT INTO migrations (number, name, checksum) VALUES (9999, 'the-future', 'x')",
      /made by a newer Tidemark \(migration 9999, "the-future"; this program knows \d+\)/,
    ],
    ['another one', "UPDATE migrations SET checksum = 'x' WHERE number = 1", /in another form than this program has/],
  ])('on a database that is %s', async (_, statement, sentence) => {
    const { database, address } = await createTestDatabase();
    await database.query(statement);
    await database.close();
    const { message, exitCode } = await refusal({ dataDir: temporaryDirectory(), databaseUrl: urlOf(address) });
    expect(message).toMatch(sentence);
    expect(exitCode).toBe(EXIT.databaseNewer);
  });

  test('on a server that is too old', async () => {
    // No PostgreSQL 14 is at hand: what it would answer stands in for it.
    const old = { query: () => Promise.resolve([{ version: '14.12 (Debian 14.12-1)' }]) } as unknown as Database;
    await expect(makeUsable(old, [], log, false)).rejects.toMatchObject({
      message:
        'The database is PostgreSQL 14.12 (Debian 14.12-1); Tidemark needs 15 or later. Upgrade the server, or store in another one.',
      exitCode: EXIT.databaseAway,
    });
  });

  test('and starts on the same port and directory when the reason is gone', async () => {
    const address = await freshDatabase();
    const dataDir = temporaryDirectory();
    await refusal({ dataDir, databaseUrl: urlOf(address, { password: 'guess' }) });
    const first = await startTestCollector({ dataDir, databaseUrl: urlOf(address) });
    await first.stop();
    const again = await startTestCollector({ dataDir, databaseUrl: urlOf(address), listen: `127.0.0.1:${first.listen.port}` });
    expect((await fetch(`${again.url}/health`)).status).toBe(200);
  });
});

test('two collectors that start at once on an empty database bring it up to date once', async () => {
  const { database, address } = await createTestDatabase();
  await database.query('DROP SCHEMA public CASCADE');
  await database.query('CREATE SCHEMA public');
  const started = await Promise.all(
    [1, 2, 3].map(() => startTestCollector({ dataDir: temporaryDirectory(), databaseUrl: urlOf(address) })),
  );
  const answers = await Promise.all(started.map(({ url }) => fetch(`${url}/api/health`)));
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
  const [row] = await database.query<{ once: boolean }>('SELECT count(*) = count(DISTINCT number) AS once FROM migrations');
  expect(row).toEqual({ once: true });
  await database.close();
});

test('the Host header is in nothing that is answered', async () => {
  const address = await freshDatabase();
  for (const publicUrl of [undefined, 'https://watch.example/tidemark']) {
    const { url, adminTokenFile, stop } = await startTestCollector({
      dataDir: temporaryDirectory(),
      databaseUrl: urlOf(address),
      ...(publicUrl && { publicUrl }),
    });
    const authorization = `Bearer ${readFileSync(adminTokenFile, 'utf8').trim()}`;
    await fetch(`${url}/api/telemetry/nodes`, {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json' },
      body: `{"name":"${randomUUID()}"}`,
    });
    const answer = (path: string): Promise<string> =>
      new Promise((resolve, reject) => {
        const { hostname, port } = new URL(url);
        httpRequest(
          { hostname, port, path, headers: { authorization, host: 'evil.example', 'x-forwarded-host': 'evil.example' } },
          (response) => {
            let text = JSON.stringify(response.headers);
            response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
            response.on('end', () => resolve(text));
          },
        )
          .on('error', reject)
          .end();
      });
    const targets = await answer('/api/telemetry/prometheus/targets');
    expect(targets).toContain(publicUrl === undefined ? new URL(url).host : 'watch.example:443');
    const others = ['/', '/api/docs', '/api/openapi.json', '/metrics', '/api/telemetry/overview', '/nothing'].map((path) => answer(path));
    expect((await Promise.all(others)).join('\n')).not.toContain('evil');
    expect(targets).not.toContain('evil');
    await stop();
  }
});

test('while the database is away: balancers stay, scripts are told, reports are judged and not acknowledged, and all is well after', async () => {
  const { database, address, stopServer, startServer } = await createTestDatabase();
  await database.close();
  const { url, adminTokenFile } = await startTestCollector({ dataDir: temporaryDirectory(), databaseUrl: urlOf(address) });
  const admin = { authorization: `Bearer ${readFileSync(adminTokenFile, 'utf8').trim()}`, 'content-type': 'application/json' };
  const add = (name: string): Promise<Response> =>
    fetch(`${url}/api/telemetry/nodes`, { method: 'POST', headers: admin, body: JSON.stringify({ name }) });
  const { token } = (await (await add('db1')).json()) as { token: string };
  const bootId = randomUUID();
  const layout = {
    probe: 'cpu',
    instance: '',
    series: [{ name: 'tidemark_cpu_usage_ratio', labels: [] as [string, string][], unit: 'ratio', type: 'gauge' as const, help: 'h' }],
  };
  const hash = layoutHash(layout);
  const report = async (sequence: number): Promise<{ status: number; body: Acknowledgement }> => {
    const now = Date.now();
    const answer = await fetch(`${url}${REPORTS_PATH}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        agent: { version: '1', intervalSeconds: 15 },
        bootId,
        sentAt: now,
        sentMonotonicMs: sequence * 100,
        layouts: [{ hash, ...layout }],
        reports: [{ bootId, sequence, takenAt: now, monotonicMs: sequence * 100, blocks: [{ layout: hash, values: [sequence / 10] }] }],
      }),
    });
    return { status: answer.status, body: (await answer.json()) as Acknowledgement };
  };
  const cpu = async (): Promise<number | null> => {
    const overview = (await (await fetch(`${url}/api/telemetry/overview`, { headers: admin })).json()) as {
      nodes: { cpu: { usageRatio: number | null } }[];
    };
    return overview.nodes[0]!.cpu.usageRatio;
  };
  const health = async (): Promise<Health> => (await (await fetch(`${url}/api/health`)).json()) as Health;

  expect(await report(1)).toMatchObject({ status: 200, body: { committed: [{ bootId, sequences: [1] }] } });
  expect(await health()).toMatchObject({ status: 'healthy' });

  await stopServer();
  expect(await report(2)).toMatchObject({ status: 202, body: { committed: [], notStored: { code: 'database_away' } } });
  expect(await cpu(), 'judged all the same').toBe(0.2);
  expect((await fetch(`${url}/health`)).status).toBe(200);
  expect((await fetch(`${url}/api/health`)).status).toBe(503);
  expect((await health()).reasons).toEqual([expect.stringMatching(/^database: /)]);
  const { components } = (await (await fetch(`${url}/api/telemetry/health`, { headers: admin })).json()) as TelemetryHealth;
  expect(components.map(({ name, status }) => `${name} ${status}`)).toEqual([
    'database unhealthy',
    'ingest degraded',
    'evaluation healthy',
    'incidents degraded',
    'notification inactive',
    'replication inactive',
    'agents healthy',
  ]);
  const refused = await add('db2');
  expect(refused.status).toBe(503);
  expect(((await refused.json()) as Problem).code).toBe('database_away');
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(
    (await fetch(`${url}/api/telemetry/nodes`, { headers: { authorization: 'Bearer tma_nobody' } })).status,
    'who is known is known without it',
  ).toBe(401);

  await startServer();
  await expect.poll(async () => (await health()).status, { timeout: 15_000 }).toBe('healthy');
  expect(await report(2)).toMatchObject({ status: 200, body: { committed: [{ bootId, sequences: [2] }] } });
  expect((await add('db2')).status).toBe(201);
});

test('a name that cannot be resolved just now is a database that is away, not a defect', async () => {
  const database = new Database({ address: { url: 'postgresql://nobody@nosuch.invalid/none' }, clock: systemClock, log });
  onTestFinished(() => database.close());
  await expect(database.query('SELECT 1')).rejects.toMatchObject({ code: 'database_away' });
});
