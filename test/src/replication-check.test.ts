/** `check replication`, `postgres setup` and discovery as they are installed, against real servers: nothing that nobody knows is OK, or 0. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chownSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { answersAsPostgres, sizePretty } from '@tidemark/agent';
import { afterAll, describe, expect, test } from 'vitest';
import { PostgresCluster, waitUntil, type PostgresInstance, type PostgresVersion } from './postgres/cluster.ts';
import { runToEnd, type Outcome } from './programs.ts';

const VERSIONS = PostgresCluster.versions().filter((version) => version === 15 || version === 18);
const directory = mkdtempSync(join(tmpdir(), 'tidemark-check-'));
const clusters: PostgresCluster[] = [];
afterAll(async () => {
  for (const cluster of clusters) await cluster.stopAll();
  rmSync(directory, { recursive: true, force: true });
});
/** No configuration and no passwords of the machine it runs on. */
const ALONE = { TIDEMARK_CONFIG: join(directory, 'agent.yaml'), PGPASSFILE: join(directory, 'none') };
writeFileSync(ALONE.TIDEMARK_CONFIG, '{}\n');

const check = (instance: { url: string }, ...more: string[]): Promise<Outcome> =>
  runToEnd('agent', ['check', 'replication', '--url', instance.url, ...more], ALONE);

const AGENT_FILE = fileURLToPath(new URL('../../installers/dist/tidemark-agent.cjs', import.meta.url));
const SCRIPT = fileURLToPath(new URL('../../installers/linux/check-replication-status.sh', import.meta.url));
writeFileSync(join(directory, 'tidemark-agent'), `#!/bin/sh\nexec '${process.execPath}' '${AGENT_FILE}' "$@"\n`, { mode: 0o755 });

/** check-replication-status.sh, the agent being on the PATH. */
function script(...args: string[]): { code: number | null; stdout: string } {
  const { status, stdout } = spawnSync('sh', [SCRIPT, ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...ALONE, PATH: `${directory}:${process.env['PATH']}` },
  });
  return { code: status, stdout };
}

interface Server {
  status: string;
  role: string;
  isReplica: boolean;
  upstream: { host: string; port: number } | null;
  troubles: { level: string; text: string }[];
  lag: { seconds: number | null; lowerSeconds: number | null; upperSeconds: number | null; bytes: number | null } | null;
  replicas: { applicationName: string; state: string; bytesBehind: number; bytesBehindPretty: string }[];
  slots: { name: string; active: boolean }[];
  error: { reason: string } | null;
}
async function checkJson(instance: { url: string }, ...more: string[]): Promise<Server & { code: Outcome['code'] }> {
  const { code, stdout } = await check(instance, '--format', 'json', ...more);
  const said = JSON.parse(stdout) as { status: string; exitCode: number; servers: Server[] };
  expect(said.exitCode).toBe(code);
  return { ...said.servers[0]!, code };
}

function as(role: string, instance: PostgresInstance): { url: string } {
  return { url: instance.url.replace('postgres@', `${role}@`) };
}

describe.each(VERSIONS)('PostgreSQL %i', { timeout: 120_000 }, (version: PostgresVersion) => {
  const cluster = new PostgresCluster();
  clusters.push(cluster);
  let a: PostgresInstance;
  let b: PostgresInstance;
  let c: PostgresInstance;
  const write = (rows = 1_000): Promise<unknown> =>
    cluster.sql(a, `INSERT INTO t SELECT repeat('x', 100) FROM generate_series(1, ${rows})`);
  let marks = 0;
  let all = '';
  /** The primary's log up to now: a mark is written into it and waited for. It keeps no more than its last lines. */
  const logged = async (): Promise<string> => {
    const mark = `mark ${++marks} of the log`;
    await cluster.sql(a, `SELECT '${mark}'`);
    await waitUntil(() => a.log.some((line) => line.includes(mark)), { what: 'the log to have it' });
    const text = a.log.join('\n');
    const last = all.slice(all.lastIndexOf('\n') + 1);
    all += all === '' ? text : text.slice(text.lastIndexOf(last) + last.length);
    return all;
  };
  /** Every byte that there is has been replayed everywhere. */
  const settled = (instance: PostgresInstance): Promise<unknown> =>
    waitUntil(
      async () => {
        const [{ at } = { at: '' }] = await cluster.sql<{ at: string }>(a, 'SELECT pg_current_wal_flush_lsn()::text AS at');
        const [row] = await cluster.sql<{ there: boolean }>(instance, 'SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn AS there', [at]);
        return row?.there;
      },
      { what: `${instance.name} to replay everything` },
    );

  test('a primary, a replica and one behind it, all well', async () => {
    a = await cluster.startPrimary({ version, name: 'a', settings: { log_statement: 'all' } });
    await cluster.sql(a, 'CREATE TABLE t (x text)');
    b = await cluster.addStandby(a, { name: 'b', slot: 'b' });
    c = await cluster.addStandby(a, { name: 'c', from: b });
    await write();
    await settled(c);

    const primary = await check(a);
    expect(primary.stdout.split('\n')[0]).toMatch(
      /^REPLICATION OK - 127\.0\.0\.1:\d+: primary, 1 replica connected, the furthest \d+ (B|KiB) behind \| 'replicas'=1;1:;;0 'bytes_behind'=\d+B;104857600;;0$/,
    );
    expect(primary).toMatchObject({ code: 0, stderr: '' });
    const seen = await checkJson(a);
    expect(seen).toMatchObject({ code: 0, role: 'primary', isReplica: false, lag: null, slots: [{ name: 'b', active: true }] });
    expect(seen.replicas).toMatchObject([{ applicationName: 'b', state: 'streaming' }]);
    const sizes = [
      seen.replicas[0]!.bytesBehind,
      ...Array.from({ length: 53 }, (_, i) => [2 ** i - 1, 2 ** i, Math.floor(2 ** i * 1.37)]).flat(),
    ];
    const [pretty] = await cluster.sql<{ texts: string[] }>(
      a,
      'SELECT array_agg(pg_size_pretty(size) ORDER BY place) AS texts FROM unnest($1::bigint[]) WITH ORDINALITY AS sizes (size, place)',
      [sizes],
    );
    expect([seen.replicas[0]!.bytesBehindPretty, ...sizes.slice(1).map(sizePretty)]).toEqual(pretty!.texts);

    const middle = await checkJson(b);
    expect(middle).toMatchObject({ code: 0, isReplica: true, upstream: { host: '127.0.0.1', port: a.port } });
    expect(middle.lag).toMatchObject({ seconds: 0, lowerSeconds: 0, bytes: 0 });
    expect(middle.replicas).toMatchObject([{ applicationName: 'c', state: 'streaming' }]);
    const last = await checkJson(c);
    expect(last).toMatchObject({ code: 0, upstream: { host: '127.0.0.1', port: b.port }, lag: { seconds: 0 } });
  });

  test("the status form is the script's", async () => {
    const { stdout, code } = await check(a, '--format', 'status');
    const [row] = await cluster.sql<{ r: string[] }>(
      a,
      `SELECT array[host(client_addr), state, sync_state, sent_lsn::text, write_lsn::text, flush_lsn::text, replay_lsn::text] AS r FROM pg_stat_replication`,
    );
    const [header, dashes, line, end] = stdout.split('\n');
    expect(header).toMatch(/^client_addr  \| state     \| sync_state \| sent_lsn +\| write_lsn +\| flush_lsn +\| replay_lsn$/);
    expect(dashes).toMatch(/^-{13}\+-{11}\+-{12}(\+-+){4}$/);
    expect(line!.split('|').map((cell) => cell.trim())).toEqual(row!.r);
    expect({ end, code }).toEqual({ end: '', code: 0 });
    expect(await check(b, '--format', 'status')).toMatchObject({
      code: 0,
      stdout: 'is_replica: YES - This is a replica\nlag_seconds: 0.000\n',
    });
    expect(await check(b, 'replica', '--format', 'status')).toMatchObject({ code: 0 });
    expect(await check(a, 'master', '--format', 'status')).toMatchObject({ code: 0, stdout });
    // The script that is downloaded says the same.
    expect(script('master', '--url', a.url)).toEqual({ code: 0, stdout });
    expect(script('replica', '--url', a.url)).toEqual({ code: 2, stdout: 'is_replica: NO - This is a master!\n' });
    expect(script('replica', '--url', b.url).stdout).toMatch(/^is_replica: YES - This is a replica\nlag_seconds: \d+\.\d+\n$/);
    const wrong = await check(a, 'replica', '--format', 'status');
    expect(wrong).toMatchObject({ code: 2, stdout: 'is_replica: NO - This is a master!\n' });
    expect(wrong.stderr).toContain('it shows as master');
    expect(await check(b, 'primary', '--format', 'status')).toMatchObject({ code: 2, stdout: 'is_replica: YES - This is a replica\n' });
  });

  test('replay that is paused: behind, by how long at least and at most', async () => {
    await cluster.pauseReplay(b);
    expect(await checkJson(b)).toMatchObject({ code: 1, lag: { seconds: 0, bytes: 0 } });
    await write();
    const seen = await checkJson(b);
    expect(seen).toMatchObject({ code: 1, status: 'WARNING' });
    expect(seen.troubles.map(({ text }) => text).join()).toContain('replay is paused');
    expect(seen.lag!.lowerSeconds).toBeGreaterThanOrEqual(1.9);
    expect(seen.lag!.upperSeconds).toBeGreaterThanOrEqual(seen.lag!.lowerSeconds!);
    expect(seen.lag!.bytes).toBeGreaterThan(100_000);
    // The primary sees it by bytes, and so does who is told to care.
    expect(await checkJson(a, '--warning-bytes', '100kB', '--critical-bytes', '150kB')).toMatchObject({
      code: seen.lag!.bytes! >= 150_000 ? 2 : 1,
    });
    expect(await checkJson(b, '--warning-seconds', '1', '--critical-seconds', '1.5s')).toMatchObject({ code: 2, status: 'CRITICAL' });
    await cluster.resumeReplay(b);
    await settled(c);
    expect(await checkJson(b)).toMatchObject({ code: 0, lag: { seconds: 0 } });
  });

  test('after a restart that nothing was replayed since, 0 is by position', async () => {
    await cluster.restart(c);
    await cluster.untilStreaming(b, 'c');
    await settled(c);
    expect(await checkJson(c)).toMatchObject({ code: 0, lag: { seconds: 0, bytes: 0 } });
  });

  test('a dead receiver while the primary writes: not OK, and never 0', async () => {
    await cluster.configure(b, { primary_conninfo: 'host=127.0.0.1 port=1' });
    await waitUntil(async () => (await cluster.sql(b, 'SELECT FROM pg_stat_wal_receiver')).length === 0, { what: 'the receiver to end' });
    await write();
    const seen = await checkJson(b);
    expect(seen).toMatchObject({
      code: 2,
      status: 'CRITICAL',
      lag: { seconds: null, lowerSeconds: null },
      upstream: { host: '127.0.0.1', port: '1' },
    });
    expect(await check(b, '--format', 'status')).toMatchObject({
      code: 2,
      stdout: 'is_replica: YES - This is a replica\nlag_seconds: unknown\n',
    });
    expect((await check(b)).stdout).toMatch(
      /^REPLICATION CRITICAL - .*no WAL receiver streams \(primary_conninfo: 127\.0\.0\.1:1\).*'lag_seconds'=U;/,
    );
    // Restarted, it says NULL where others make 0 of it.
    await cluster.restart(b);
    expect(await checkJson(b)).toMatchObject({ code: 2, lag: { seconds: null } });
    // And the primary knows that somebody is missing.
    const primary = await checkJson(a);
    expect(primary).toMatchObject({ code: 1, replicas: [], slots: [{ name: 'b', active: false }] });
    expect(primary.troubles.map(({ text }) => text).join()).toMatch(/no replica is connected.*slot b is inactive/);
    await cluster.configure(b, { primary_conninfo: cluster.conninfo(a, 'b') });
    await cluster.untilStreaming(a, 'b');
    await settled(b);
    expect(await checkJson(b)).toMatchObject({ code: 0, lag: { seconds: 0 } });
  });

  test('a receiver that stands still is heard of no more', async () => {
    await cluster.configure(b, { wal_receiver_timeout: '4s' });
    await settled(b);
    cluster.freezeProcess(b, 'walreceiver');
    try {
      await write();
      await waitUntil(
        async () => {
          const { code, lag } = await checkJson(b);
          return code === 2 && lag?.seconds === null;
        },
        { what: 'the silence to count', timeoutMs: 30_000 },
      );
    } finally {
      cluster.thaw();
    }
    await cluster.configure(b, { wal_receiver_timeout: '60s' });
    await cluster.untilStreaming(a, 'b');
  });

  test('a role without rights sees nothing, and says so', async () => {
    await cluster.sql(a, 'CREATE ROLE nobody LOGIN');
    await settled(b);
    for (const instance of [a, b]) {
      const seen = await checkJson(as('nobody', instance));
      expect(seen).toMatchObject({ code: 3, status: 'UNKNOWN' });
      expect(seen.troubles.map(({ text }) => text).join()).toContain('GRANT pg_monitor');
    }
    expect(await check(as('nobody', b), '--format', 'status')).toMatchObject({
      code: 3,
      stdout: 'is_replica: YES - This is a replica\nlag_seconds: unknown\n',
    });
  });

  test('the role is set up, with a password that no log has, and again', async () => {
    const hba = join(a.dataDirectory, 'pg_hba.conf');
    writeFileSync(hba, `host all watcher,printed 127.0.0.1/32 scram-sha-256\n${readFileSync(hba, 'utf8')}`);
    await cluster.sql(a, 'SELECT pg_reload_conf()');
    const file = join(directory, `password-${version}`);
    const setUp = (...more: string[]): Promise<Outcome> =>
      runToEnd('agent', ['postgres', 'setup', '--url', a.url, '--role', 'watcher', '--apply', ...more], ALONE);

    const without = await setUp();
    expect(without).toMatchObject({ code: 0 });
    expect(without.stdout).toMatch(/Role "watcher" is made; .*But it cannot log in yet: .* asks for the password/s);
    const first = await setUp('--password-file', file);
    expect(first).toMatchObject({ code: 0, stderr: '' });
    expect(first.stdout).toMatch(/was there .*Its password is new.*It can log in/s);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const password = readFileSync(file, 'utf8').trim();
    expect(password).toHaveLength(32);
    const [row] = await cluster.sql<{ rolconnlimit: number; member: boolean; reserved: boolean; rolpassword: string }>(
      a,
      `SELECT rolconnlimit, pg_has_role('watcher', 'pg_monitor', 'USAGE') AS member, rolpassword,
        EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid WHERE r.rolname = 'pg_use_reserved_connections' AND m.member = a.oid) AS reserved
       FROM pg_authid a WHERE rolname = 'watcher'`,
    );
    expect(row).toMatchObject({ rolconnlimit: 3, member: true, reserved: version >= 16 });
    expect(row!.rolpassword).toMatch(/^SCRAM-SHA-256\$4096:/);
    const log = await logged();
    expect(log).toContain('CREATE ROLE "watcher"');
    expect(log).not.toContain('SCRAM-SHA-256$');
    expect(`${log}${first.stdout}`).not.toContain(password);

    // Both as the check does it and as PostgreSQL understands it.
    expect(await checkJson(as('watcher', a), '--password-file', file)).toMatchObject({ code: 0 });
    const again = await setUp('--password-file', file);
    expect(again.stdout).toMatch(/was there and may log in.*Its password is the one in.*It can log in/s);
    expect(readFileSync(file, 'utf8').trim()).toBe(password);

    const other = join(directory, `other-${version}`);
    writeFileSync(other, 'something else\n', { mode: 0o600 });
    const wrong = await checkJson(as('watcher', a), '--password-file', other);
    expect(wrong).toMatchObject({ code: 3, status: 'UNKNOWN', error: { reason: 'authentication' } });
    writeFileSync(join(directory, 'open'), 'something else\n', { mode: 0o644 });
    expect(await setUp('--password-file', join(directory, 'open'))).toMatchObject({ code: 78 });
  });

  test('what it prints is a script that does the same', async () => {
    const { stdout, code } = await runToEnd('agent', ['postgres', 'setup', '--url', a.url, '--role', 'printed'], ALONE);
    expect(code).toBe(0);
    for (let time = 0; time < 2; time++) await cluster.sql(a, stdout);
    const [row] = await cluster.sql(a, "SELECT rolconnlimit, rolcanlogin, rolsuper FROM pg_roles WHERE rolname = 'printed'");
    expect(row).toEqual({ rolconnlimit: 3, rolcanlogin: true, rolsuper: false });
    const onReplica = await runToEnd('agent', ['postgres', 'setup', '--url', b.url, '--apply'], ALONE);
    expect(onReplica).toMatchObject({ code: 1 });
    expect(onReplica.stderr).toMatch(new RegExp(`is a replica \\(it follows 127\\.0\\.0\\.1:${a.port}\\): run this on the primary`));
    const refused = await runToEnd(
      'agent',
      ['postgres', 'setup', '--url', as('nobody', a).url, '--apply', '--password-file', join(directory, 'never')],
      ALONE,
    );
    expect(refused).toMatchObject({ code: 1 });
    expect(refused.stderr).toContain('log in as a superuser');
    expect(() => statSync(join(directory, 'never'))).toThrow('ENOENT');
  });

  test('servers are found by themselves, and those that are watched are not told of', async () => {
    interface Collected {
      observations: { kind: string; document: { servers: { address: string; how: string; watched: boolean; command: string }[] } }[];
    }
    const found = async (...more: string[]): Promise<Collected['observations'][0]['document']['servers']> => {
      const { stdout } = await runToEnd('agent', ['collect', '--json', ...more], ALONE);
      return (JSON.parse(stdout) as Collected).observations.find(({ kind }) => kind === 'postgres.discovered')!.document.servers;
    };
    const addressOf = (instance: PostgresInstance): string => join(instance.socketDir, `.s.PGSQL.${instance.port}`);
    const servers = await found('--postgres', b.url, '--postgres', c.socketUrl);
    expect(servers.filter(({ address }) => address.startsWith(a.socketDir))).toEqual([
      {
        address: addressOf(a),
        how: 'socket',
        watched: false,
        command: `tidemark-agent postgres setup --url 'postgresql://postgres@/postgres?host=${a.socketDir}&port=${a.port}'`,
      },
    ]);
    // What is told to be run, runs.
    const url = /'(.*)'/.exec(servers.find(({ address }) => address === addressOf(a))!.command)![1]!;
    expect(await check({ url })).toMatchObject({ code: 0 });
    expect((await runToEnd('agent', ['collect'], ALONE)).stdout).toContain(`PostgreSQL found and not watched`);
  });

  test('to be found leaves nothing in a log, with TLS or without', async () => {
    const { uid, gid } = statSync(a.dataDirectory);
    const asked = async (): Promise<string> => {
      const before = await logged();
      expect(await answersAsPostgres(a.host, a.port)).toBe(true);
      return (await logged()).slice(before.length);
    };
    expect(await asked()).not.toMatch(/SSL|startup|EOF|could not/);
    const request = [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-subj',
      '/CN=a',
      '-days',
      '2',
      '-keyout',
      'server.key',
      '-out',
      'server.crt',
    ];
    execFileSync('openssl', request, { cwd: a.dataDirectory, stdio: 'ignore' });
    for (const name of ['server.key', 'server.crt']) chownSync(join(a.dataDirectory, name), uid, gid);
    await cluster.configure(a, { ssl: 'on' });
    await waitUntil(async () => (await cluster.sql<{ ssl: string }>(a, 'SHOW ssl'))[0]!.ssl === 'on', { what: 'TLS' });
    expect(await asked()).not.toMatch(/SSL|startup|EOF|could not/);
    await cluster.configure(a, { ssl: 'off' });
  });

  test('a server that is gone', async () => {
    await cluster.stop(c);
    const seen = await checkJson(c);
    expect(seen).toMatchObject({ code: 2, status: 'CRITICAL', error: { reason: 'refused' } });
    expect(await check(c, '--format', 'status')).toMatchObject({ code: 2, stdout: '' });
  });

  test('a promoted replica is a master, and alone', async () => {
    await cluster.promote(b);
    expect(await check(b, 'replica', '--format', 'status')).toMatchObject({ code: 2, stdout: 'is_replica: NO - This is a master!\n' });
    expect(await checkJson(b, '--replicas', '0')).toMatchObject({ code: 0, role: 'primary' });
    expect(await checkJson(b)).toMatchObject({ code: 1 });
  });
});

test('what it cannot understand is unknown, not critical', async () => {
  const run = (...args: string[]): Promise<Outcome> => runToEnd('agent', ['check', 'replication', ...args], ALONE);
  expect(await run('--fomat', 'json')).toMatchObject({ code: 3 });
  expect(await run('leader', '--url', 'postgresql://127.0.0.1:1/x')).toMatchObject({
    code: 3,
    stdout: expect.stringContaining('REPLICATION UNKNOWN - The role must be') as string,
  });
  expect(await run('--warning-seconds', 'soon', '--url', 'postgresql://127.0.0.1:1/x')).toMatchObject({ code: 3 });
  const secret = await run('--url', 'postgresql://me:geheim@127.0.0.1:1/x');
  expect(secret).toMatchObject({ code: 3, stdout: expect.stringContaining('can be read by every user') as string });
  expect(`${secret.stdout}${secret.stderr}`).not.toContain('geheim');
  expect(await run('--name', 'nothing')).toMatchObject({ code: 3, stdout: expect.stringContaining('is called "nothing"') as string });
});

test('servers of the configuration file, by name or all of them: the worst counts', async () => {
  const file = join(directory, 'two.yaml');
  writeFileSync(
    file,
    JSON.stringify({
      postgres: [
        { url: 'postgresql://127.0.0.1:1/x', name: 'one' },
        { url: 'postgresql://127.0.0.1:2/x', name: 'two' },
      ],
    }),
  );
  const all = await runToEnd('agent', ['check', 'replication', '--config', file], ALONE);
  expect(all).toMatchObject({ code: 2 });
  expect(all.stdout).toMatch(/^REPLICATION CRITICAL - 2 of 2 servers in trouble, first one: /);
  const one = await runToEnd('agent', ['check', 'replication', '--config', file, '--name', 'two', '--format', 'json'], ALONE);
  expect((JSON.parse(one.stdout) as { servers: { name: string }[] }).servers.map(({ name }) => name)).toEqual(['two']);
});
