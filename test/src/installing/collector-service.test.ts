/**
 * The collector as a service, on a Debian 12 of its own: installed from a release, upgraded, put back when a version is broken,
 * restored, removed, with a real agent reporting and everything that it stored still there.
 */
import type { ChildProcess } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EXIT } from '@tidemark/service';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DATA, V1, startCollectorMachine, type CollectorMachine } from './collector-machine.ts';
import type { Machine } from './machine.ts';

const here = dirname(fileURLToPath(import.meta.url));
const CONSOLE = 'http://127.0.0.1:5000';
/** Who runs what of ours; the machine has no ps. */
const PROCESSES = `for p in /proc/[0-9]*; do case $(readlink $p/exe) in */node | */postgres) echo "$(stat -c %U $p) $(readlink $p/exe)" ;; esac; done`;
const AGENT = join(here, '../../../installers/dist/tidemark-agent.cjs');

let world: CollectorMachine;
let machine: Machine;
const install: CollectorMachine['install'] = (from, ...args) => world.install(from, ...args);
const makeVersion: CollectorMachine['makeVersion'] = (version, change) => world.makeVersion(version, change);

beforeAll(async () => {
  world = await startCollectorMachine();
  machine = world.machine;
});
afterAll(() => world?.close());

/** A statement in the embedded database, through its socket. */
async function sql<Row extends pg.QueryResultRow>(statement: string): Promise<Row[]> {
  const client = new pg.Client({
    host: machine.path(`${DATA}/run`),
    user: 'tidemark',
    database: 'tidemark',
    password: machine.read(`${DATA}/postgres-password`).trim(),
  });
  await client.connect();
  try {
    return (await client.query<Row>(statement)).rows;
  } finally {
    await client.end();
  }
}

const reportCount = async (): Promise<number> => Number((await sql<{ count: string }>('SELECT count(*) FROM reports'))[0]!.count);
const versionInUse = async (): Promise<string> => (await machine.run('readlink /opt/tidemark-collector/current')).stdout.trim();
const backups = async (): Promise<string[]> =>
  (await machine.run('ls /var/backups/tidemark')).stdout.split('\n').filter((name) => name !== '');
const isUp = async (): Promise<boolean> => (await machine.run('tidemark-collector wait --timeout 20')).code === 0;

/** Waits until a program says something. */
function saying(child: ChildProcess, words: string): Promise<void> {
  return new Promise((resolve) => {
    let out = '';
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      out += text;
      if (out.includes(words)) resolve();
    });
  });
}

/** Waits for more stored reports than there were. */
async function moreReportsThan(count: number): Promise<void> {
  await expect.poll(reportCount, { timeout: 30_000, interval: 200 }).toBeGreaterThan(count);
}

describe.sequential('a life', () => {
  let before: Map<string, string>;
  let agent: ChildProcess;

  test('installed by one command that says where it is, how to get in and how a node is added', async () => {
    before = await machine.listing();
    const started = performance.now();
    const { code, stdout, stderr } = await install(V1, '--public-url', `http://${machine.address}:5000`);
    process.stdout.write(`from the command to a healthy collector: ${((performance.now() - started) / 1_000).toFixed(1)} s\n`);
    // On a busy machine it says that it waits.
    expect({ code, stderr: stderr.replace(/^ {2}waiting for the collector .*\n/gm, '') }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('The collector runs and is healthy.');
    expect(stdout).toContain(`sudo cat ${DATA}/admin-token`);
    expect(stdout).toContain(
      `curl -fsSLo agent-install-linux.sh http://${machine.address}:5000/documentation/downloads/agent-install-linux.sh`,
    );
    expect(stdout).toContain('Listens on   0.0.0.0:5000');
    expect(stdout, 'no secret on a screen').not.toContain(machine.read(`${DATA}/admin-token`).trim());
    expect(await versionInUse()).toBe('versions/0.1.0');
  });

  test('what is whose: root the program, the service its data, nobody else the secrets', async () => {
    const { stdout } = await machine.run(
      `stat -c '%n %A %U:%G' /etc/tidemark /etc/tidemark/collector.yaml /var/lib/tidemark ${DATA} ${DATA}/admin-token ${DATA}/postgres /opt/tidemark-collector/current/runtime/node /etc/systemd/system/tidemark-collector.service
       ${PROCESSES} | cut -d' ' -f1 | sort -u
       getent passwd tidemark | cut -d: -f6,7
       find /opt/tidemark-collector ! -user root -o -perm /022 ! -type l | head`,
    );
    expect(stdout.trim().split('\n')).toEqual([
      '/etc/tidemark drwxr-xr-x root:root',
      '/etc/tidemark/collector.yaml -rw-r----- root:tidemark',
      '/var/lib/tidemark drwxr-xr-x root:root',
      `${DATA} drwx------ tidemark:tidemark`,
      `${DATA}/admin-token -rw------- tidemark:tidemark`,
      `${DATA}/postgres drwx------ tidemark:tidemark`,
      '/opt/tidemark-collector/current/runtime/node -rwxr-xr-x root:root',
      '/etc/systemd/system/tidemark-collector.service -rw-r--r-- root:root',
      'tidemark',
      '/var/lib/tidemark:/usr/sbin/nologin',
    ]);
  });

  test('its console answers on the network, and an agent reports', async () => {
    const page = await fetch(`http://${machine.address}:5000/`);
    expect(page.status).toBe(200);
    expect(page.headers.get('content-type')).toContain('text/html');
    const added = await machine.run('umask 077; tidemark-collector nodes add web1 >/srv/web1.token');
    expect(added.code).toBe(0);
    machine.install(AGENT, '/srv/agent.cjs');
    agent = machine.spawn(
      `echo $$ >/srv/agent.pid; exec ${V1}/runtime/node /srv/agent.cjs run --server ${CONSOLE} --hostname web1 --interval 1 --token-file /srv/web1.token --data-dir /srv/agent`,
    );
    await moreReportsThan(2);
  });

  test('run again, it changes what is given and nothing else', async () => {
    const same = await install(V1);
    expect(same).toMatchObject({ code: 0, stdout: 'Version 0.1.0 is installed already and runs; nothing was changed.\n' });
    await machine.run("echo '# ours' >>/etc/tidemark/collector.yaml");
    const changed = await install('/opt/tidemark-collector/current', '--raw-days', '60');
    expect(changed.code, changed.stderr).toBe(0);
    expect(changed.stdout).toContain('rawDays: 60 (was not set)');
    const file = machine.read('/etc/tidemark/collector.yaml');
    expect(file).toContain('# ours');
    expect(file).toContain(`publicUrl: http://${machine.address}:5000`);
    expect((await machine.run("stat -c '%A %U:%G' /etc/tidemark/collector.yaml")).stdout).toBe('-rw-r----- root:tidemark\n');
    const wrong = await install('/opt/tidemark-collector/current', '--raw-days', 'many');
    expect(wrong.code).toBe(EXIT.configuration);
    expect(wrong.stderr).toContain('--raw-days: must be a whole number of days');
    expect(await isUp()).toBe(true);
  });

  test('a dry run says each step and changes nothing', async () => {
    const next = await makeVersion('0.2.0');
    const listed = async (): Promise<string> =>
      (await machine.run('find /opt /etc /var/backups -type f -o -type l | sort; cat /run/stub-systemd/calls | grep -vc show')).stdout;
    const there = await listed();
    const { code, stdout } = await install(next, '--dry-run', '--listen', '0.0.0.0:5055');
    expect(code).toBe(0);
    expect(stdout).toMatch(/Would install version 0\.2\.0 over 0\.1\.0/);
    expect(stdout).toMatch(/back up its data to \/var\/backups\/tidemark \(\d+ MB\)/);
    expect(stdout).toContain('listen: "0.0.0.0:5055" (was not set)');
    expect((await listed()).replace(/\d+\n$/, '')).toBe(there.replace(/\d+\n$/, ''));
  });

  test('upgraded in place: backed up, everything still there, and the agent loses nothing', async () => {
    const count = await reportCount();
    const { code, stdout, stderr } = await install('/srv/tidemark-0.2.0');
    expect(code, stderr).toBe(0);
    expect(stdout).toContain('Upgraded from 0.1.0 to 0.2.0; the collector is healthy.');
    expect(await versionInUse()).toBe('versions/0.2.0');
    expect(await backups()).toEqual([expect.stringMatching(/^\d{8}T\d{6}Z-0\.1\.0$/)]);
    expect((await machine.run("stat -c '%a %U' /var/backups/tidemark /var/backups/tidemark/*")).stdout).toBe('700 root\n700 root\n');
    await moreReportsThan(count);
    // The agent numbers its reports: a gap would be a loss.
    await expect
      .poll(
        async () =>
          (
            await sql(
              'SELECT 1 FROM (SELECT sequence - lag(sequence) OVER (PARTITION BY boot ORDER BY sequence) AS step FROM reports) s WHERE step <> 1',
            )
          ).length,
      )
      .toBe(0);
  });

  test('a version that does not come up is taken back within seconds, and its backup is where the data was', async () => {
    const broken = await makeVersion(
      '0.3.0',
      `mv collector/dist/main.js collector/dist/real.js && echo "if (process.argv[2] === 'run') process.exit(1); await import('./real.js');" >collector/dist/main.js`,
    );
    const count = await reportCount();
    const config = machine.read('/etc/tidemark/collector.yaml');
    const { code, stderr } = await install(broken, '--raw-days', '90');
    expect(code).toBe(EXIT.rolledBack);
    expect(stderr).toContain('Version 0.3.0 did not become healthy');
    expect(stderr).toMatch(/Version 0\.2\.0 is back, with the data of \/var\/backups\/tidemark\/\S+-0\.2\.0, and healthy\./);
    expect(await versionInUse()).toBe('versions/0.2.0');
    expect(machine.read('/etc/tidemark/collector.yaml')).toBe(config);
    expect((await machine.run('ls -A /opt/tidemark-collector /opt/tidemark-collector/versions')).stdout).not.toMatch(
      /0\.3\.0|way-back|\.new/,
    );
    expect(await isUp()).toBe(true);
    expect(await reportCount()).toBeGreaterThanOrEqual(count);
    await moreReportsThan(count);
  });

  test('a migration that fails half-way: the old version would refuse what it left, so the data goes back too', async () => {
    const migrated = `echo 'CREATE TABLE half_way (a integer)' >collector/migrations/9001-first-half.sql; echo 'SELECT 1 / 0' >collector/migrations/9002-second-half.sql`;
    const broken = await makeVersion('0.4.0', migrated);
    const count = await reportCount();
    const { code, stderr } = await install(broken);
    expect(code).toBe(EXIT.rolledBack);
    expect(stderr).toMatch(/The collector says: .*division by zero/);
    expect(await isUp()).toBe(true);
    expect(await sql("SELECT 1 FROM pg_class WHERE relname = 'half_way'")).toEqual([]);
    expect(await reportCount()).toBeGreaterThanOrEqual(count);
    await moreReportsThan(count);
  });

  test('interrupted while it waits for the new version, it goes back as well', async () => {
    const slow = await makeVersion(
      '0.5.0',
      `mv collector/dist/main.js collector/dist/real.js && echo "if (process.argv[2] === 'run') await new Promise((r) => setTimeout(r, 600000)); await import('./real.js');" >collector/dist/main.js`,
    );
    const child = machine.spawn(`exec ${slow}/collector-install-linux.sh`);
    let said = '';
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (said += text));
    await saying(child, 'Starting the collector');
    const second = await install(slow);
    expect(second.code).toBe(EXIT.installationUnderWay);
    expect(second.stderr).toMatch(/Another installation is under way \(process \d+\)/);
    await machine.run('kill -TERM "$(cat /run/tidemark-collector-install.lock/pid)"');
    expect(await exited).toBe(EXIT.rolledBack);
    expect(said).toContain('Interrupted.');
    expect(await versionInUse()).toBe('versions/0.2.0');
    expect(await isUp()).toBe(true);
  });

  test('killed in the middle, as by a power cut: what came of it is healthy, and is kept', async () => {
    const next = await makeVersion('0.5.5');
    const child = machine.spawn(`exec ${next}/collector-install-linux.sh`);
    const exited = new Promise((resolve) => child.once('exit', resolve));
    await saying(child, 'Starting the collector');
    await machine.run('kill -KILL "$(cat /run/tidemark-collector-install.lock/pid)"');
    await exited;
    expect(await isUp()).toBe(true);
    const { code, stdout, stderr } = await install(next);
    expect(code, stderr).toBe(0);
    expect(stderr).toContain('An earlier installation was cut off.');
    expect(stderr).toContain('What it installed (0.5.5) is healthy and stays.');
    expect(stdout).toContain('Version 0.5.5 is installed already and runs');
  });

  test('the newest two backups stay, and any of them can be gone back to, with the version that made it', async () => {
    expect((await install(await makeVersion('0.6.0'))).code).toBe(0);
    const kept = await backups();
    expect(kept.map((name) => name.replace(/^.*Z-/, ''))).toEqual(['0.2.0', '0.5.5']);
    await machine.run('tidemark-collector nodes add made-after-the-backup >/dev/null');
    const restore = `/opt/tidemark-collector/current/collector-install-linux.sh --restore /var/backups/tidemark/${kept[0]!}`;
    const { code, stdout, stderr } = await machine.run(restore);
    expect(code, stderr).toBe(0);
    expect(stdout).toContain('under version 0.2.0; the collector is healthy');
    expect(await versionInUse()).toBe('versions/0.2.0');
    const { nodes } = JSON.parse((await machine.run('tidemark-collector nodes list --json')).stdout) as { nodes: { name: string }[] };
    expect(nodes.map(({ name }) => name)).toEqual(['web1']);
    expect(await backups(), 'what was there is kept').toHaveLength(3);
  });

  test('no room for the backup: said before anything is stopped', async () => {
    await machine.run('mkdir /mnt/small && mount -t tmpfs -o size=1m small /mnt/small');
    const pid = (await machine.run('systemctl show -p MainPID --value tidemark-collector.service')).stdout;
    const { code, stderr } = await install('/srv/tidemark-0.6.0', '--backup-dir', '/mnt/small/backups');
    await machine.run('umount /mnt/small && rmdir /mnt/small');
    expect(code).toBe(EXIT.noRoom);
    expect(stderr).toMatch(/no room for the backup: \/mnt\/small\/backups has \d+ MB free, and \d+ MB are needed/);
    expect(stderr).toContain('Nothing was changed.');
    expect((await machine.run('systemctl show -p MainPID --value tidemark-collector.service')).stdout, 'it was not even stopped').toBe(pid);
  });

  test('uninstalled, its data stays and is found again; purged, the machine is what it was', async () => {
    const gone = new Promise((resolve) => agent.once('exit', resolve));
    await machine.run('kill "$(cat /srv/agent.pid)"');
    await gone;
    const count = await reportCount();
    const removed = await machine.run('/opt/tidemark-collector/current/collector-install-linux.sh --uninstall');
    expect(removed.code, removed.stderr).toBe(0);
    expect(
      (
        await machine.run(
          `ls -d ${DATA}/postgres /etc/tidemark/collector.yaml; ls -d /opt/tidemark-collector /usr/local/bin/tidemark-collector`,
        )
      ).stdout,
    ).toBe(`/etc/tidemark/collector.yaml\n${DATA}/postgres\n`);
    expect((await install('/srv/tidemark-0.6.0')).code).toBe(0);
    expect(await reportCount()).toBeGreaterThanOrEqual(count);
    const purged = await install('/srv/tidemark-0.6.0', '--uninstall', '--purge');
    expect(purged.code, purged.stderr).toBe(0);
    expect((await machine.run(PROCESSES)).stdout).toBe('');
    await machine.run('rm -rf /srv/tidemark-0.[2-9].* /srv/agent /srv/agent.cjs /srv/agent.pid /srv/web1.token');
    expect(changes(before, await machine.listing())).toEqual(DOCUMENTED);
  });
});

/** The copies that useradd and userdel keep of what was before their last change. */
const DOCUMENTED = ['/etc/group-', '/etc/gshadow-', '/etc/passwd-', '/etc/shadow-'];

function changes(before: Map<string, string>, after: Map<string, string>): string[] {
  const paths = new Set([...before.keys(), ...after.keys()]);
  return [...paths].filter((path) => before.get(path) !== after.get(path)).toSorted();
}
