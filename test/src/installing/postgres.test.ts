/**
 * `--postgres auto` on a whole machine: a real PostgreSQL server runs there under its own user, and one command later the collector
 * has its figures, from a role that may look and nothing else. Needs root.
 */
import { cpSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Machine } from './machine.ts';
import { Site, until } from './site.ts';

const isRoot = process.getuid?.() === 0;
const native = fileURLToPath(new URL('../../../node_modules/postgres-17/native', import.meta.url));
const PASSWORDS = '/etc/tidemark/postgres-*.password';
let site: Site;
let machine: Machine;

beforeAll(async () => {
  if (!isRoot) return;
  site = await Site.open(['--enrollment', 'open']);
  machine = await site.machine({ release: 'bookworm', hostname: 'pg1' });
  cpSync(native, machine.path('/opt/postgres'), { recursive: true, verbatimSymlinks: true });
  const begun = await machine.run(`
    chmod -R u=rwX,go=rX /opt/postgres && chmod 755 /opt/postgres/bin/*
    useradd --system --no-create-home --home-dir /var/lib/postgresql postgres
    install -d -o postgres -g postgres /var/lib/postgresql /run/postgresql
    as='setpriv --reuid=postgres --regid=postgres --init-groups env -C /var/lib/postgresql'
    $as /opt/postgres/bin/initdb -D /var/lib/postgresql/data -A peer -U postgres --no-sync >/srv/initdb.log 2>&1 || exit 1
    echo "unix_socket_directories = '/run/postgresql'" >>/var/lib/postgresql/data/postgresql.conf
    echo 'host all all 127.0.0.1/32 scram-sha-256' >>/var/lib/postgresql/data/pg_hba.conf
    $as /opt/postgres/bin/pg_ctl -D /var/lib/postgresql/data -w -l /var/lib/postgresql/log start >/dev/null 2>&1 </dev/null`);
  if (begun.code !== 0) throw new Error(`${begun.stderr}\n${(await machine.run('cat /srv/initdb.log /var/lib/postgresql/log')).stdout}`);
});
afterAll(() => site?.close());

test.skipIf(!isRoot)('--postgres auto: made, watched, reported; without it, found and said', async () => {
  const without = await site.install(machine, '');
  expect(without).toMatchObject({ code: 0, stderr: '' });
  expect(without.stdout).toContain('tidemark-agent postgres');
  const outcome = await site.install(machine, '--postgres auto');
  expect(outcome).toMatchObject({ code: 0, stderr: '' });
  const node = await until('the server is reported', async () => {
    const found = await site.node('pg1');
    return found?.latest.some(({ metric, value }) => metric === 'pg_up' && value === 1) === true ? found : undefined;
  });
  expect(node.up).toBe(true);
  expect(machine.read('/etc/tidemark/agent.yaml')).toMatch(/postgres:\n +- .*postgres(ql)?:\/\/tidemark/);
  // Whatever secret was made, only root and the agent can read.
  expect((await machine.run(`for f in ${PASSWORDS}; do [ ! -e $f ] || stat -c '%a %U:%G' $f; done`)).stdout).toMatch(
    /^(640 root:tidemark-agent\n)?$/,
  );
  expect(await machine.run('sh /srv/agent-install-linux.sh --uninstall --purge')).toMatchObject({ code: 0, stderr: '' });
  expect((await machine.run('ls -d /etc/tidemark /opt/tidemark-agent /var/lib/tidemark 2>/dev/null')).stdout).toBe('');
});
