/**
 * The Linux installer on real root file systems, from a real collector, over a network: installed, approved, changed, upgraded, rolled
 * back, removed. What it leaves is compared file by file with what was there before. Needs root, for it makes machines.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EXIT } from '@tidemark/service';
import { openrc } from './debian-root.ts';
import type { Machine } from './machine.ts';
import { Site, until } from './site.ts';

const isRoot = process.getuid?.() === 0;
if (!isRoot) process.stderr.write('The installer is not tried on whole machines: that needs root.\n');

const YAML = '/etc/tidemark/agent.yaml';
const TOKEN = '/etc/tidemark/agent.token';
/** What the tools that make and remove users leave, and what belongs to nobody. */
const LEFT_BY_SYSTEM = /^\/etc\/(passwd|group|shadow|gshadow|subuid|subgid)-$|^\/etc\/\.pwd\.lock$|^\/var\/log\/(lastlog|faillog)$/;

/** How many agents run. */
const RUNNING = 'cat /proc/[0-9]*/cmdline | tr "\\0" "\\n" | grep -c tidemark-agent.cj[s]';

let site: Site;
let rc: string;
beforeAll(async () => {
  if (!isRoot) return;
  site = await Site.open();
  rc = await openrc();
});
afterAll(() => site?.close());

/** Paths whose listing differs, but for the installer script itself. */
function changes(before: Map<string, string>, after: Map<string, string>): string[] {
  return [...new Set([...before.keys(), ...after.keys()])]
    .filter((path) => before.get(path) !== after.get(path) && !path.startsWith('/srv/') && !LEFT_BY_SYSTEM.test(path))
    .toSorted();
}

async function sizeOf(machine: Machine, path: string): Promise<number> {
  return Number((await machine.run(`du -sb ${path} | cut -f1`)).stdout);
}

describe.skipIf(!isRoot)('Debian 11: wget, gzip, no enrolment string', () => {
  let machine: Machine;
  let before: Map<string, string>;
  let token: string;

  beforeAll(async () => {
    machine = await site.machine({ release: 'bullseye', hostname: 'web1' });
    before = await machine.listing();
  });

  test('the node waits to be approved, and that is said; its first report arrives when it is', async () => {
    const outcome = await site.install(
      machine,
      '--server ' + site.gate.url + ' --hostname "shop db 1" --interval 60 --tag role=db --site berlin',
    );
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    expect(outcome.stdout).toContain('tidemark-collector nodes approve');
    expect(outcome.stdout).toContain('it waits to be approved');
    expect(await site.node('shop db 1')).toMatchObject({ state: 'pending' });
    await site.approve('shop db 1');
    const node = await until('the node is up', async () => {
      const found = await site.node('shop db 1');
      return found?.up === true ? found : undefined;
    });
    expect(node).toMatchObject({ site: 'berlin', tags: { role: 'db' } });
    expect(await machine.run('tidemark-agent confirm --timeout 30')).toMatchObject({ code: 0 });
  });

  test('everything has the right owner and mode, and no secret is where others can read', async () => {
    const { stdout } = await machine.run(
      `stat -c '%n %a %U:%G' /opt/tidemark-agent /opt/tidemark-agent/current/tidemark-agent.cjs /opt/tidemark-agent/runtimes/*/node ${YAML} ${TOKEN} /var/lib/tidemark/agent /etc/systemd/system/tidemark-agent.service; getent passwd tidemark-agent`,
    );
    const lines = stdout.trim().split('\n');
    expect(lines.slice(0, -1)).toEqual([
      '/opt/tidemark-agent 755 root:root',
      '/opt/tidemark-agent/current/tidemark-agent.cjs 644 root:root',
      expect.stringMatching(/^\/opt\/tidemark-agent\/runtimes\/[0-9.]+\/node 755 root:root$/),
      `${YAML} 640 root:tidemark-agent`,
      `${TOKEN} 600 root:root`,
      '/var/lib/tidemark/agent 700 tidemark-agent:tidemark-agent',
      '/etc/systemd/system/tidemark-agent.service 644 root:root',
    ]);
    expect(lines.at(-1)).toMatch(/^tidemark-agent:x:\d+:\d+::\/nonexistent:\/usr\/sbin\/nologin$/);
    token = machine.read(TOKEN).trim();
    expect(token.length).toBeGreaterThan(30);
    // Looked for by the file that it is in, so that who looks does not show it.
    const seen = await machine.run(
      `grep -rlF -f ${TOKEN} /etc /opt /usr/local /var /run --exclude-dir=credentials 2>/dev/null; cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n' | grep -cF -f ${TOKEN}`,
    );
    expect(seen.stdout).toBe(`${TOKEN}\n0\n`);
    const service = await machine.run(`stat -c %U /proc/$(tr ',' '\\n' </var/lib/tidemark/agent/status.json | sed -n 's/.*"pid"://p')`);
    expect(service).toMatchObject({ code: 0, stdout: 'tidemark-agent\n' });
    expect((await machine.run(RUNNING)).stdout).toBe('1\n');
  });

  test('the size on disk is what was promised', async () => {
    expect(await sizeOf(machine, '/opt/tidemark-agent')).toBeLessThan(130 * 1024 * 1024);
  });

  test('run again it changes only what was given, and downloads nothing that is here', async () => {
    machine.write(YAML, `${machine.read(YAML)}# a note of ours\nlogLevel: debug\n`);
    const secret = machine.read(TOKEN);
    site.gate.asked.length = 0;
    const outcome = await site.install(machine, '--interval 15');
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    expect(outcome.stdout).toContain('the collector has confirmed a report');
    const yaml = machine.read(YAML);
    expect(yaml).toContain('interval: 15\n');
    expect(yaml).toContain('hostname: shop db 1\n');
    expect(yaml).toContain('# a note of ours\nlogLevel: debug\n');
    expect(machine.read(TOKEN)).toBe(secret);
    expect(site.gate.downloadedBytes()).toBeLessThan(200_000);
    expect((await site.node('shop db 1'))?.up).toBe(true);
  });

  test('an upgrade keeps the runtime, moves less than a megabyte, and one version before stays', async () => {
    const secret = machine.read(TOKEN);
    for (const version of ['0.2.0', '0.3.0']) {
      site.gate.clear();
      await site.gate.offer(version);
      const outcome = await site.install(machine, '--update');
      expect(outcome).toMatchObject({ code: 0, stderr: '' });
      expect(outcome.stdout).toContain(`Installed version ${version}`);
      expect(site.gate.downloadedBytes()).toBeLessThan(1024 * 1024);
    }
    expect(
      (await machine.run('readlink /opt/tidemark-agent/current; ls /opt/tidemark-agent/versions; ls /opt/tidemark-agent/runtimes | wc -l'))
        .stdout,
    ).toBe('versions/0.3.0\n0.2.0\n0.3.0\n1\n');
    expect(machine.read(TOKEN)).toBe(secret);
    await until('the collector knows the new version', async () =>
      (await site.node('shop db 1'))?.agentVersion === '0.3.0' ? true : undefined,
    );
  });

  test.each([
    ['falls', `process.stderr.write('this version is broken\\n');process.exit(7)`, {}],
    ['runs and reports nothing', 'setInterval(()=>{},1000);return', { TIDEMARK_CONFIRM_SECONDS: '3' }],
  ])('a version that %s is taken back, with its configuration', async (_, body, environment) => {
    const yaml = machine.read(YAML);
    const unit = machine.read('/etc/systemd/system/tidemark-agent.service');
    site.gate.clear();
    await site.gate.offer('0.4.0', (source) => `if(process.argv[2]==='run'){(()=>{${body}})()}else{${source.replace(/^#!.*\n/, '')}\n}`);
    const outcome = await site.install(machine, '--site paris', { environment });
    site.gate.clear();
    expect(outcome.code).toBe(EXIT.rolledBack);
    expect(outcome.stderr).toContain('Version 0.4.0 did not report, so version 0.3.0 with its configuration was put back');
    if (body.includes('broken')) expect(outcome.stderr).toContain('this version is broken');
    expect(machine.read(YAML)).toBe(yaml);
    expect(machine.read('/etc/systemd/system/tidemark-agent.service')).toBe(unit);
    expect((await machine.run('readlink /opt/tidemark-agent/current; ls -A /opt/tidemark-agent/versions')).stdout).toBe(
      'versions/0.3.0\n0.2.0\n0.3.0\n',
    );
    expect(await machine.run('tidemark-agent confirm --timeout 30')).toMatchObject({ code: 0 });
  });

  test('its secret is replaced while it reports', async () => {
    const old = machine.read(TOKEN);
    const rotated = await machine.run(`tidemark-agent rotate --config ${YAML} --secret-file ${TOKEN} && systemctl restart tidemark-agent`);
    expect(rotated).toMatchObject({ code: 0 });
    expect(machine.read(TOKEN)).not.toBe(old);
    const since = Number((await machine.run('date +%s')).stdout) * 1000;
    expect(await machine.run(`tidemark-agent confirm --timeout 30 --since ${since - 2000}`)).toMatchObject({ code: 0 });
    expect((await machine.run(`stat -c '%a %U:%G' ${TOKEN}`)).stdout).toBe('600 root:root\n');
  });

  test('removed, it leaves configuration, secret and spool; installed again it is the same node', async () => {
    const secret = machine.read(TOKEN);
    const outcome = await machine.run('sh /srv/agent-install-linux.sh --uninstall');
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    const left = changes(before, await machine.listing());
    expect(left.filter((path) => !path.startsWith('/var/lib/tidemark/agent/'))).toEqual([
      '/etc/group',
      '/etc/gshadow',
      '/etc/passwd',
      '/etc/shadow',
      '/etc/tidemark',
      TOKEN,
      YAML,
      '/var/lib/tidemark',
      '/var/lib/tidemark/agent',
    ]);
    expect((await machine.run(RUNNING)).stdout).toBe('0\n');
    const again = await site.install(machine, '');
    expect(again).toMatchObject({ code: 0, stderr: '' });
    expect(again.stdout).toContain('the collector has confirmed a report');
    expect(machine.read(TOKEN)).toBe(secret);
  });

  test('purged, the file system is what it was', async () => {
    const fetched = await machine.run(`wget -q -O /srv/uninstall.sh ${site.gate.url}/documentation/downloads/agent-uninstall-linux.sh`);
    expect(fetched.code).toBe(0);
    const dry = await machine.run('sh /srv/uninstall.sh --purge --dry-run');
    expect(dry.stdout).toContain('rm -rf /opt/tidemark-agent');
    expect(await machine.run('test -x /opt/tidemark-agent/bin/tidemark-agent')).toMatchObject({ code: 0 });
    expect(await machine.run('sh /srv/uninstall.sh --purge')).toMatchObject({ code: 0, stderr: '' });
    expect(changes(before, await machine.listing())).toEqual([]);
    // Again is no failure.
    expect(await machine.run('sh /srv/uninstall.sh --purge')).toMatchObject({ code: 0, stderr: '' });
  });
});

describe.skipIf(!isRoot)('Debian 12: curl, xz, an enrolment string', () => {
  let machine: Machine;
  beforeAll(async () => {
    machine = await site.machine({ release: 'bookworm', hostname: 'db2' });
  });

  test('one command through a pipe, to the confirmed report, within 20 s', async () => {
    machine.write('/srv/enrolment', `${await site.enrolment({ site: 'oslo', tags: { tier: 'gold' } })}\n`, 0o600);
    site.gate.clear();
    const begun = performance.now();
    const outcome = await machine.run(
      `curl -fsS ${site.gate.url}/documentation/downloads/agent-install-linux.sh | sh -s -- --token-file /srv/enrolment --interval 60`,
    );
    const seconds = (performance.now() - begun) / 1000;
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    expect(outcome.stdout).toContain('the collector has confirmed a report of this node.');
    expect(outcome.stdout).toMatch(/node +db2\nsite +oslo\n/);
    const megabytes = site.gate.downloadedBytes() / 1024 / 1024;
    process.stdout.write(
      `From the command to the confirmed first report: ${seconds.toFixed(1)} s, ${megabytes.toFixed(1)} MB downloaded.\n`,
    );
    expect(seconds).toBeLessThan(20);
    expect(megabytes).toBeLessThan(32);
    expect(await machine.run('test -e /srv/enrolment')).toMatchObject({ code: 1 });
    expect(await site.node('db2')).toMatchObject({ site: 'oslo', tags: { tier: 'gold' }, up: true });
  });

  test('a machine that was installed anew is taken in again by a new string, under its old name', async () => {
    await machine.run(
      'sh -c "curl -fsS ' + site.gate.url + '/documentation/downloads/agent-install-linux.sh | sh -s -- --uninstall --purge"',
    );
    machine.write('/srv/enrolment', await site.enrolment({ site: 'oslo' }), 0o600);
    const outcome = await site.install(machine, '--token-file /srv/enrolment');
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    expect(outcome.stdout).toContain('the collector has confirmed a report');
  });

  test('an older systemd, which hands nothing over, has the secret readable for the agent and nobody else', async () => {
    await machine.run('echo 245 > /run/stub-systemd/version');
    const outcome = await site.install(machine, '--update');
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    const { stdout } = await machine.run(`stat -c '%a %U:%G' ${TOKEN}; grep -c LoadCredential= /etc/systemd/system/tidemark-agent.service`);
    expect(stdout).toBe('640 root:tidemark-agent\n0\n');
    await machine.run('rm /run/stub-systemd/version');
    expect(await site.install(machine, '--update')).toMatchObject({ code: 0 });
    expect((await machine.run(`stat -c '%a %U:%G' ${TOKEN}`)).stdout).toBe('600 root:root\n');
  });

  test('--no-start starts nothing', async () => {
    const other = await site.machine({ release: 'bookworm', hostname: 'db3' });
    const outcome = await site.install(other, '--no-start');
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    expect(outcome.stdout).toContain('nothing is reported yet. To start it: systemctl enable --now tidemark-agent');
    expect(other.read('/run/stub-systemd/calls')).not.toMatch(/start|enable/);
  });
});

describe.skipIf(!isRoot)('OpenRC', () => {
  test('supervised by the real one: started again, enabled, and gone without a trace', async () => {
    const machine = await site.machine({ release: 'bookworm', hostname: 'rc1', systemd: false });
    execFileSync('cp', [
      '-a',
      '--no-preserve=ownership',
      ...['etc', 'usr', 'lib', 'sbin'].map((name) => join(rc, name)),
      machine.path('/srv'),
    ]);
    // Into the links that Debian's root has in place of /lib and /sbin.
    expect(
      await machine.run('cp -a /srv/etc/. /etc; cp -a /srv/usr/. /usr; cp -a /srv/lib/. /lib/; cp -a /srv/sbin/. /sbin/; ldconfig'),
    ).toMatchObject({ code: 0 });
    machine.write('/etc/insserv.conf', '');
    machine.write('/etc/init.d/localmount', '#!/sbin/openrc-run\nstart() { :; }\n', 0o755);
    await machine.run('mkdir -p /run/openrc && touch /run/openrc/softlevel && rc-update -u');
    const before = await machine.listing();
    machine.write('/srv/enrolment', await site.enrolment(), 0o600);
    const outcome = await site.install(machine, '--token-file /srv/enrolment');
    expect(outcome).toMatchObject({ code: 0 });
    expect(outcome.stdout).toContain('the collector has confirmed a report');
    expect((await machine.run('rc-service tidemark-agent status; ls /etc/runlevels/default')).stdout).toMatch(
      /started[\s\S]*tidemark-agent/,
    );
    const first = await machine.run(`tr ',' '\\n' </var/lib/tidemark/agent/status.json | sed -n 's/.*"pid"://p'`);
    const since = Date.now();
    await machine.run(`kill -9 ${first.stdout.trim()}`);
    expect(await machine.run(`tidemark-agent confirm --since ${since} --timeout 30`)).toMatchObject({ code: 0 });
    expect(await machine.run('sh /srv/agent-install-linux.sh --uninstall --purge')).toMatchObject({ code: 0, stderr: '' });
    expect(changes(before, await machine.listing())).toEqual([]);
    expect((await machine.run(RUNNING)).stdout).toBe('0\n');
  });
});

describe.skipIf(!isRoot)('System V init', () => {
  test('the service is started again for ever, stops at once, and goes without a trace', async () => {
    const machine = await site.machine({ release: 'bullseye', hostname: 'old1', systemd: false });
    const before = await machine.listing();
    machine.write('/srv/enrolment', await site.enrolment(), 0o600);
    const outcome = await site.install(machine, '--token-file /srv/enrolment');
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    expect(outcome.stdout).toContain('/etc/init.d/tidemark-agent');
    expect((await machine.run(`stat -c '%a %U:%G' ${TOKEN}; ls /etc/rc2.d | grep tidemark`)).stdout).toMatch(
      /^640 root:tidemark-agent\nS\d\dtidemark-agent\n$/,
    );
    const first = await machine.run(`cat /var/lib/tidemark/agent/status.json | tr ',' '\\n' | sed -n 's/"pid"://p'`);
    await machine.run(`kill -9 ${first.stdout.trim()}`);
    const since = Date.now();
    expect(await machine.run(`tidemark-agent confirm --since ${since} --timeout 30`)).toMatchObject({ code: 0 });
    expect(await machine.run('/etc/init.d/tidemark-agent status')).toMatchObject({ code: 0 });
    expect(await machine.run('sh /srv/agent-install-linux.sh --uninstall --purge')).toMatchObject({ code: 0, stderr: '' });
    expect(changes(before, await machine.listing())).toEqual([]);
    expect((await machine.run(RUNNING)).stdout).toBe('0\n');
  });
});
