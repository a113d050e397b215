/**
 * The Linux installer on bad days: what is served is damaged, cut, or not from where it should be; the machine is full, its clock wrong;
 * someone stops it half-way. Each is said in a sentence with a code of its own, and leaves the machine as it was. Needs root.
 */
import { randomBytes } from 'node:crypto';
import { copyFileSync, existsSync } from 'node:fs';
import { EXIT } from '@tidemark/service';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { fakeTime } from '../bad-days/fake-time.ts';
import { Gate } from './gate.ts';
import type { Machine } from './machine.ts';
import { Site, until } from './site.ts';

const isRoot = process.getuid?.() === 0;
const RUNTIME = /tidemark-runtime-[0-9.]+-linux-(x64|arm64)\.tar\.(xz|gz)$/;

let site: Site;
beforeAll(async () => {
  if (isRoot) site = await Site.open(['--enrollment', 'open']);
});
afterEach(() => site?.gate.clear());
afterAll(() => site?.close());

/** The name of the runtime's archive that a machine would fetch. */
async function runtimeOf(ending: string): Promise<string> {
  const { files } = (await (await fetch(`${site.gate.url}/documentation/downloads/release.json`)).json()) as { files: object };
  const name = Object.keys(files).find((one) => RUNTIME.test(one) && one.includes(process.arch) && one.endsWith(ending));
  if (name === undefined) throw new Error(`no runtime in ${ending}`);
  return name;
}

/** What an installation that was refused may not leave. */
async function expectUntouched(machine: Machine): Promise<void> {
  const { stdout } = await machine.run(
    'ls -d /opt/tidemark-agent /etc/tidemark /var/lib/tidemark /usr/local/bin/tidemark-agent /etc/systemd/system/tidemark-agent.service /run/tidemark* 2>/dev/null; getent passwd tidemark-agent',
  );
  expect(stdout).toBe('');
}

function expectSaid(outcome: { code: number | string; stderr: string }, code: number, words: string): void {
  expect({ code: outcome.code, stderr: outcome.stderr }).toEqual({ code, stderr: expect.stringContaining(words) as string });
}

describe.skipIf(!isRoot)('downloads', () => {
  test.each(['bookworm', 'bullseye'] as const)('a wrong sum (%s)', async (release) => {
    const machine = await site.machine({ release });
    site.gate.replace(await runtimeOf(release === 'bookworm' ? 'xz' : 'gz'), randomBytes(200_000));
    const outcome = await site.install(machine, '');
    expectSaid(outcome, EXIT.checksumWrong, 'Nothing was installed');
    expect(outcome.stdout).toContain('trying once more');
    await expectUntouched(machine);
  });

  test('a wrong signature, and sums of somebody else', async () => {
    const machine = await site.machine({ release: 'bookworm' });
    await machine.run('mkdir -p /opt');
    await site.gate.offer('0.1.0', (source) => `${source}\n/* not ours */`);
    site.gate.replace('SHA256SUMS.sig', randomBytes(64));
    expectSaid(await site.install(machine, ''), EXIT.signatureWrong, 'is not signed by the collector that this script came from');
    await expectUntouched(machine);
  });

  test('another key for the same collector, later', async () => {
    const machine = await site.machine({ release: 'bookworm' });
    expect(await site.install(machine, '')).toMatchObject({ code: 0 });
    await machine.run(`sed -i "s|^TIDEMARK_KEY='.*'|TIDEMARK_KEY='${randomBytes(32).toString('base64')}'|" /srv/agent-install-linux.sh`);
    expectSaid(await machine.run('sh /srv/agent-install-linux.sh'), EXIT.signatureWrong, 'another signing key');
    expect(await machine.run('tidemark-agent confirm')).toMatchObject({ code: 0 });
  });

  test.each(['bookworm', 'bullseye'] as const)('a cut one is taken up where it stopped (%s)', async (release) => {
    const machine = await site.machine({ release });
    const name = await runtimeOf(release === 'bookworm' ? 'xz' : 'gz');
    site.gate.cut(name, 6_000_000, 3);
    const outcome = await site.install(machine, '--hostname cut-' + release);
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    expect(outcome.stdout).toContain('Cut off after ');
    const pieces = site.gate.asked.filter(({ path }) => path.endsWith(name));
    expect(pieces).toHaveLength(4);
    const { files } = (await (await fetch(`${site.gate.url}/documentation/downloads/release.json`)).json()) as {
      files: Record<string, { sizeBytes: number }>;
    };
    // Not once more what was there already: a little is under way when the connection ends.
    expect(pieces.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)).toBeLessThan(files[name]!.sizeBytes * 1.3);
  });

  test('a collector that is still preparing is waited for, with its progress', async () => {
    const machine = await site.machine({ release: 'bookworm' });
    expect(await site.fetchScript(machine)).toMatchObject({ code: 0 });
    let asked = 0;
    site.gate.intercept((path, response) => {
      if (!path.endsWith('release.json') || ++asked > 4) return false;
      const body = JSON.stringify({
        status: 503,
        code: 'downloads_preparing',
        detail: `The collector is preparing its downloads: ${asked * 20} %.`,
      });
      response.writeHead(503, { 'retry-after': '1', 'content-type': 'application/problem+json' }).end(body);
      return true;
    });
    const outcome = await machine.run('sh /srv/agent-install-linux.sh --hostname patient');
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    expect(outcome.stdout).toMatch(
      /still preparing the downloads \(The collector is preparing its downloads: \d+ %\.\); trying again in 1 s/,
    );
  });

  test('a collector that goes away half-way', async () => {
    const machine = await site.machine({ release: 'bookworm' });
    const gate = await Gate.open(site.lab.address, site.collector);
    gate.intercept((path, response) => {
      if (!RUNTIME.test(path)) return false;
      response.writeHead(200, { 'content-length': 30_000_000 });
      response.write(randomBytes(100_000), () => {
        response.destroy();
        void gate.close();
      });
      return true;
    });
    const outcome = await site.install(machine, '', { url: gate.url });
    expectSaid(outcome, EXIT.connectionRefused, `TCP: no connection to ${gate.url}`);
    await expectUntouched(machine);
  });

  test('a collector upgraded since the script was fetched', async () => {
    const machine = await site.machine({ release: 'bookworm' });
    expect(await site.fetchScript(machine)).toMatchObject({ code: 0 });
    await site.gate.offer('0.9.0');
    expectSaid(await machine.run('sh /srv/agent-install-linux.sh'), EXIT.downloadFailed, 'Fetch it again from');
    await expectUntouched(machine);
  });
});

describe.skipIf(!isRoot)('the machine', () => {
  test('a disk with too little room, and one that fills up meanwhile', async () => {
    const machine = await site.machine({ release: 'bookworm' });
    await machine.run('mount -t tmpfs -o size=60m full /opt');
    expectSaid(await site.install(machine, ''), EXIT.noRoom, 'Not enough room for /opt/tidemark-agent');
    await expectUntouched(machine);
    machine.write('/usr/local/bin/df', '#!/bin/sh\necho; echo x 9 9 9999999 1% /\n', 0o755);
    const outcome = await site.install(machine, '');
    expect(outcome.code).toBe(EXIT.noRoom);
    expect((await machine.run('ls -A /opt')).stdout).toBe('');
    await machine.run('rm /usr/local/bin/df');
    await expectUntouched(machine);
  });

  test('a file system that runs nothing', async () => {
    const machine = await site.machine({ release: 'bookworm' });
    await machine.run('mount -t tmpfs -o noexec quiet /opt');
    expectSaid(await site.install(machine, ''), EXIT.unsupportedSystem, 'not mounted noexec');
    expect((await machine.run('ls -A /opt')).stdout).toBe('');
  });

  test.each(['-40d', '+400d'])('a clock that is wrong by %s, and a /tmp that runs nothing, do not matter', async (shift) => {
    const machine = await site.machine({ release: 'bookworm', hostname: `clock${shift.slice(1)}` });
    await machine.run('mount -o remount,noexec /tmp');
    const { LD_PRELOAD: library = '', ...settings } = fakeTime('/srv/shift');
    expect(existsSync(library)).toBe(true);
    copyFileSync(library, machine.path('/usr/lib/libfaketime.so.1'));
    machine.write('/srv/shift', shift);
    await machine.run('chmod 755 /srv');
    const environment = { ...settings, LD_PRELOAD: '/usr/lib/libfaketime.so.1' };
    await machine.run('mkdir -p /run/stub-systemd');
    machine.write(
      '/run/stub-systemd/environment',
      Object.entries(environment)
        .map(([name, value]) => `${name}=${value}\n`)
        .join(''),
    );
    machine.write('/srv/enrolment', await site.enrolment(), 0o600);
    const outcome = await site.install(machine, '--token-file /srv/enrolment', { environment });
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    expect(outcome.stdout).toContain('the collector has confirmed a report');
    const node = await site.node(`clock${shift.slice(1)}`);
    expect(Math.abs(node!.clockOffsetSeconds!)).toBeGreaterThan(30 * 86_400);
  });

  test('two installations at once: one is told to wait; a lock left by a dead one holds nobody up', async () => {
    const machine = await site.machine({ release: 'bookworm', hostname: 'twice' });
    await machine.run('ln -s 99999999 /run/tidemark-agent-install.lock');
    await site.fetchScript(machine);
    const outcomes = await Promise.all([1, 2, 3].map(() => machine.run('sh /srv/agent-install-linux.sh')));
    expect(outcomes.map(({ code }) => code).toSorted((a, b) => Number(a) - Number(b))).toEqual([
      0,
      EXIT.installationUnderWay,
      EXIT.installationUnderWay,
    ]);
    expectSaid(
      outcomes.find(({ code }) => code !== 0)!,
      EXIT.installationUnderWay,
      'Another installation',
    );
    expect((await machine.run('ls -d /run/tidemark*')).stdout).toBe('');
  });

  test.each(['TERM', 'INT', 'HUP'])('SIG%s in the middle of the download leaves nothing', async (signal) => {
    const machine = await site.machine({ release: 'bookworm' });
    await site.fetchScript(machine);
    let begun = false;
    site.gate.intercept((path, response) => {
      if (!RUNTIME.test(path)) return false;
      response.writeHead(200, { 'content-length': 30_000_000 });
      response.write(randomBytes(100_000));
      begun = true;
      return true;
    });
    const running = machine.run('echo $$ >/srv/pid; exec sh /srv/agent-install-linux.sh');
    await until('the download has begun', () => Promise.resolve(begun ? true : undefined));
    await machine.run(`kill -${signal} $(cat /srv/pid)`);
    const outcome = await running;
    expectSaid(outcome, { TERM: 143, INT: 130, HUP: 129 }[signal]!, 'Interrupted.');
    await expectUntouched(machine);
  });

  test('a signal between the switch to a new version and the word of the collector puts the old one back', async () => {
    const machine = await site.machine({ release: 'bookworm', hostname: 'undecided' });
    expect(await site.install(machine, '')).toMatchObject({ code: 0 });
    await site.gate.offer(
      '0.6.0',
      (source) => `if(process.argv[2]==='run'){setInterval(()=>{},1000)}else{${source.replace(/^#!.*\n/, '')}\n}`,
    );
    await site.fetchScript(machine);
    const running = machine.run('echo $$ >/srv/pid; exec sh /srv/agent-install-linux.sh --site nowhere');
    await until('the new version is current', async () =>
      (await machine.run('readlink /opt/tidemark-agent/current')).stdout === 'versions/0.6.0\n' ? true : undefined,
    );
    await machine.run('kill -TERM $(cat /srv/pid)');
    expectSaid(await running, EXIT.rolledBack, 'was put back');
    expect((await machine.run('ls /opt/tidemark-agent/versions; cat /etc/tidemark/agent.yaml')).stdout).not.toMatch(/0\.6\.0|nowhere/);
    expect(await machine.run('tidemark-agent confirm --timeout 30')).toMatchObject({ code: 0 });
  });

  test('SELinux: labelled by rule where there is semanage, by hand where not, and the rule goes with the agent', async () => {
    const machine = await site.machine({ release: 'bookworm', hostname: 'labelled' });
    for (const name of ['selinuxenabled', 'semanage', 'restorecon', 'chcon'])
      machine.write(`/usr/local/bin/${name}`, `#!/bin/sh\necho "${name} $*" >>/srv/labels\n`, 0o755);
    expect(await site.install(machine, '')).toMatchObject({ code: 0 });
    expect(machine.read('/srv/labels')).toBe(
      'selinuxenabled \nsemanage fcontext -a -t bin_t /opt/tidemark-agent/(bin|runtimes)(/.*)?\nrestorecon -RF /opt/tidemark-agent\n',
    );
    await machine.run('rm /srv/labels; sh /srv/agent-install-linux.sh --uninstall --purge');
    expect(machine.read('/srv/labels')).toBe('semanage fcontext -d /opt/tidemark-agent/(bin|runtimes)(/.*)?\n');
    await machine.run('rm /usr/local/bin/semanage /srv/labels');
    expect(await site.install(machine, '')).toMatchObject({ code: 0 });
    expect(machine.read('/srv/labels')).toContain('chcon -R -t bin_t /opt/tidemark-agent/bin /opt/tidemark-agent/runtimes\n');
  });
});

describe.skipIf(!isRoot)('the service and the collector', () => {
  test('a service that does not start: the last lines of its log, and what to do', async () => {
    const machine = await site.machine({ release: 'bookworm', hostname: 'falls' });
    await site.gate.offer(
      '0.5.0',
      (source) => `if(process.argv[2]==='run'){console.error('out of cheese');process.exit(3)}\n${source.replace(/^#!.*\n/, '')}`,
    );
    const outcome = await site.install(machine, '');
    expectSaid(outcome, EXIT.serviceNotStarted, 'out of cheese');
    expect(outcome.stderr).toContain('systemctl enable --now tidemark-agent');
    expect(outcome.stdout).not.toContain('Installed');
  });

  test('a string that was used up is refused, and nothing is left', async () => {
    const machine = await site.machine({ release: 'bookworm', hostname: 'late' });
    const string = await site.enrolment();
    const other = await site.machine({ release: 'bookworm', hostname: 'early' });
    other.write('/srv/enrolment', string, 0o600);
    expect(await site.install(other, '--token-file /srv/enrolment')).toMatchObject({ code: 0 });
    machine.write('/srv/enrolment', string, 0o600);
    const outcome = await site.install(machine, '--token-file /srv/enrolment');
    expectSaid(outcome, EXIT.credentialRejected, 'used');
    await expectUntouched(machine);
  });

  test('a report that is not confirmed is no success; the agent goes on, and gets through when the collector is back', async () => {
    const machine = await site.machine({ release: 'bookworm', hostname: 'unheard' });
    let away = true;
    site.gate.intercept((path, response) => {
      if (!away || !path.endsWith('/reports')) return false;
      response.destroy();
      return true;
    });
    const outcome = await site.install(machine, '', { environment: { TIDEMARK_CONFIRM_SECONDS: '3' } });
    expectSaid(outcome, EXIT.notConfirmed, 'has not confirmed a report of this node in time');
    expect(outcome.stdout).not.toContain('Installed');
    away = false;
    expect(await machine.run('tidemark-agent confirm --timeout 60')).toMatchObject({ code: 0 });
  });
});
