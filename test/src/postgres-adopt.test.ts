/**
 * Adopting a real PostgreSQL server as root: the role is made as the server's own system user, whoever the agent is it can log in after
 * that, and what cannot be done is said with the command that can. Only servers of this test are ever looked at.
 */
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { postgresAdopt } from '@tidemark/agent';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { PostgresCluster, waitUntil, type PostgresInstance } from './postgres/cluster.ts';

type Discover = NonNullable<Parameters<typeof postgresAdopt>[2]['discover']>;
type Values = Parameters<typeof postgresAdopt>[0];

/** A user of every Linux machine that is not root, in the place of tidemark-agent. */
const AGENT_USER = 'nobody';
const SURROUNDINGS = { environment: {}, platform: process.platform, uid: 0 } as const;
const isRoot = process.getuid?.() === 0;

let cluster: PostgresCluster;
let primary: PostgresInstance;
let standby: PostgresInstance;
let directory: string;
let file: string;

beforeAll(async () => {
  cluster = new PostgresCluster();
  primary = await cluster.startPrimary({ version: 17, name: 'one' });
  standby = await cluster.addStandby(primary, { name: 'two' });
});
afterAll(() => cluster.stopAll());
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tidemark-adopt-'));
  file = join(directory, 'agent.yaml');
  writeFileSync(file, '# ours\nserver: http://collector:5000\n', { mode: 0o640 });
  return () => rmSync(directory, { recursive: true, force: true });
});

const only =
  (instance: PostgresInstance): Discover =>
  () =>
    Promise.resolve([
      {
        address: `${instance.socketDir}/.s.PGSQL.${instance.port}`,
        how: 'socket',
        endpoints: [
          { host: instance.socketDir, port: instance.port },
          { host: instance.host, port: instance.port },
        ],
      },
    ]);

function valuesWith(postgres: Values['postgres']): Values {
  return {
    interval: 15,
    tag: {},
    postgres,
    http: [],
    spoolMegabytes: 1,
    spoolHours: 1,
    logLevel: 'info',
    logFormat: 'auto',
  } as unknown as Values;
}

test('where there is no server, none is said to be watched', async () => {
  const context = { surroundings: SURROUNDINGS, file, discover: () => Promise.resolve([]) };
  expect(await postgresAdopt(valuesWith([]), { yes: true }, context)).toMatch(/^No PostgreSQL server was found on this machine/);
});

async function adopt(
  instance: PostgresInstance,
  flags: { yes?: boolean; owner?: string } = { yes: true, owner: AGENT_USER },
  postgres: Values['postgres'] = [],
): Promise<{ state: string; detail: string; command: string }[]> {
  const output = await postgresAdopt(
    valuesWith(postgres),
    { ...flags, json: true },
    { surroundings: SURROUNDINGS, file, discover: only(instance) },
  );
  return (JSON.parse(output) as { servers: { state: string; detail: string; command: string }[] }).servers;
}

/** Replaces pg_hba.conf; the server's own system user stays a superuser by peer. */
async function letIn(lines: readonly string[]): Promise<void> {
  const { uid } = statSync(join(primary.dataDirectory, 'postgresql.conf'));
  const owner = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((line) => line.split(':')[2] === String(uid))!
    .split(':')[0]!;
  writeFileSync(join(primary.dataDirectory, 'pg_ident.conf'), `server ${owner} postgres\n`);
  writeFileSync(join(primary.dataDirectory, 'pg_hba.conf'), `local all postgres peer map=server\n${lines.join('\n')}\n`);
  // By a signal: no role of ours may log in meanwhile. Once it says so, no connection is judged by the old lines any more.
  const reloads = (): number => primary.log.filter((line) => line.includes('reloading configuration files')).length;
  const before = reloads();
  process.kill(primary.pid!, 'SIGHUP');
  await waitUntil(() => reloads() > before, { what: 'the server to read pg_hba.conf again' });
}

test.runIf(isRoot)('where the socket lets in users by their names, no password is made', async () => {
  await letIn(['local all all peer']);
  const before = await adopt(primary, { owner: AGENT_USER });
  expect(before).toMatchObject([{ state: 'would-adopt', command: 'tidemark-agent postgres adopt --yes' }]);
  expect(readFileSync(file, 'utf8')).toBe('# ours\nserver: http://collector:5000\n');
  expect(await adopt(primary)).toMatchObject([{ state: 'adopted', command: '' }]);
  const url = `postgresql://${AGENT_USER}@/postgres?host=${primary.socketDir}&port=${primary.port}`;
  expect(readFileSync(file, 'utf8')).toBe(`# ours\nserver: http://collector:5000\npostgres:\n  - url: ${url}\n`);
  expect(statSync(file).mode & 0o777).toBe(0o640);
  expect(userInfo().uid).toBe(0);
  expect(await adopt(primary, undefined, [{ url }])).toEqual([]);
  expect(await adopt(primary), 'done again, it changes nothing').toMatchObject([{ state: 'adopted' }]);
  expect(readFileSync(file, 'utf8').match(/url:/g)).toHaveLength(1);
});

test.runIf(isRoot)('where it asks for a password, one is made for root and the agent', async () => {
  await letIn(['local all all scram-sha-256']);
  expect(await adopt(primary)).toMatchObject([{ state: 'adopted', detail: expect.stringContaining('mode 0640') as string }]);
  const text = readFileSync(file, 'utf8');
  const passwordFile = /passwordFile: (.*)/.exec(text)![1]!;
  const { mode, uid } = statSync(passwordFile);
  expect(mode & 0o777).toBe(0o640);
  expect(uid).toBe(0);
  const password = readFileSync(passwordFile, 'utf8').trim();
  expect(text).not.toContain(password);
  expect(primary.log.join('\n')).not.toContain(password);
  // The password that is there is used again.
  expect(await adopt(primary)).toMatchObject([{ state: 'adopted' }]);
  expect(readFileSync(passwordFile, 'utf8').trim()).toBe(password);
});

test.runIf(isRoot)('where nothing lets the role in, pg_hba.conf is said, and no password is left behind', async () => {
  await letIn([]);
  const [outcome] = await adopt(primary);
  expect(outcome).toMatchObject({ state: 'not-possible' });
  expect(outcome!.detail).toMatch(/pg_hba\.conf must let it in.* local {2}postgres {2}nobody {2}scram-sha-256/);
  expect(readFileSync(file, 'utf8')).not.toContain('postgres:');
  expect(readdirSync(directory)).toEqual(['agent.yaml']);
});

test.runIf(isRoot)('a replica has the role from its primary, which is to be adopted first', async () => {
  const owner = 'daemon';
  await letIn(['local all all peer']);
  expect(await adopt(standby, { yes: true, owner })).toMatchObject([
    { state: 'not-possible', detail: expect.stringMatching(/it is a replica \(it follows .*Adopt the primary first/) as string },
  ]);
  expect(await adopt(primary, { yes: true, owner })).toMatchObject([{ state: 'adopted' }]);
  const arrived = async (): Promise<boolean> => (await cluster.sql(standby, `SELECT FROM pg_roles WHERE rolname = '${owner}'`)).length > 0;
  await waitUntil(arrived, { what: 'the role to come over' });
  expect(await adopt(standby, { yes: true, owner })).toMatchObject([
    { state: 'adopted', detail: `role "${owner}" came over from the primary; it needs no password` },
  ]);
  expect(readFileSync(file, 'utf8').match(/url:/g)).toHaveLength(2);
});

test('who is not root is told so, with the command', async () => {
  const output = await postgresAdopt(
    { postgres: [], interval: 15, tag: {}, http: [], spoolMegabytes: 1, spoolHours: 1 } as unknown as Values,
    { yes: true },
    { surroundings: { ...SURROUNDINGS, uid: 1000 }, file, discover: only(primary) },
  );
  expect(output).toContain('sudo tidemark-agent postgres adopt --yes');
});
