/**
 * An installation of the agent that is killed by nobody's signal but SIGKILL, as by a power cut, and a first one that fails beside what
 * an earlier one left: run again, the machine is what it was or what it should be. Needs root, for it makes machines.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EXIT } from '@tidemark/service';
import type { Machine } from './machine.ts';
import { Site } from './site.ts';

const isRoot = process.getuid?.() === 0;
const YAML = '/etc/tidemark/agent.yaml';
const TOKEN = '/etc/tidemark/agent.token';
const CURRENT = 'readlink /opt/tidemark-agent/current';
/** Each step of an installation begins with one of these. */
const STEPS = [
  'Reaching',
  'Downloading tidemark-agent',
  'Putting the program',
  'Configuring',
  'Enrolling',
  'Putting the service',
  'Starting the service',
  'Waiting for the collector',
];
let site: Site;
let machine: Machine;

/** Runs the script that was fetched, and kills it as by a power cut once it has said `words`. */
async function killedAt(words: string, args: string): Promise<void> {
  const child = machine.spawn(`exec setsid --wait sh /srv/agent-install-linux.sh ${args}`);
  const exited = new Promise((resolve) => child.once('exit', resolve));
  let said = '';
  await new Promise<void>((resolve, reject) => {
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (said.includes(words)) resolve();
    });
    child.once('exit', () => reject(new Error(`it never said ${words}: ${said}`)));
  });
  // With all that it has started: nothing of it goes on.
  expect(await machine.run('kill -9 "-$(readlink /run/tidemark-agent-install.lock)"')).toMatchObject({ code: 0 });
  await exited;
}

beforeAll(async () => {
  if (!isRoot) return;
  site = await Site.open();
  machine = await site.machine({ release: 'bookworm', hostname: 'cut1' });
});
afterAll(() => site?.close());

describe.skipIf(!isRoot)('cut off', () => {
  test('neither a file from Windows nor what the caller has set for Node.js and Tidemark is in the way', async () => {
    machine.write('/srv/enrolment', `${await site.enrolment()}\r\n`, 0o600);
    const outcome = await site.install(machine, '--token-file /srv/enrolment', {
      environment: { NODE_OPTIONS: '--require=/nowhere', TIDEMARK_SERVER: 'http://127.0.0.1:9', TIDEMARK_TOKEN_FILE: '/nowhere' },
    });
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    expect(outcome.stdout).toContain('the collector has confirmed a report');
    expect(machine.read(YAML)).toContain(`server: ${site.gate.url}\n`);
  });

  test('an upgrade that was killed before it was proven is not what is gone back to', async () => {
    const [before, yaml, token] = [(await machine.run(CURRENT)).stdout, machine.read(YAML), machine.read(TOKEN)];
    site.gate.clear();
    await site.gate.offer(
      '0.9.0',
      (source) => `if(process.argv[2]==='run')setInterval(()=>{},1000);else{${source.replace(/^#!.*\n/, '')}\n}`,
    );
    expect(await site.fetchScript(machine)).toMatchObject({ code: 0 });
    await killedAt('Waiting for the collector', '--site paris');
    expect((await machine.run(CURRENT)).stdout).toBe('versions/0.9.0\n');
    expect(machine.read(YAML)).toContain('site: paris');

    const again = await machine.run('sh /srv/agent-install-linux.sh --site oslo', { TIDEMARK_CONFIRM_SECONDS: '3' });
    site.gate.clear();
    expect(again.stderr).toContain('An earlier run of this was cut off before the collector had confirmed a report.');
    expect(again.code).toBe(EXIT.rolledBack);
    expect((await machine.run(CURRENT)).stdout).toBe(before);
    expect([machine.read(YAML), machine.read(TOKEN)]).toEqual([yaml, token]);
    expect(await machine.run('tidemark-agent confirm --timeout 30')).toMatchObject({ code: 0 });
    expect((await machine.run('ls -A /opt/tidemark-agent')).stdout).not.toContain('.staging');
  });

  test('killed at any of its steps, an upgrade ends well when it is run again', async () => {
    for (const [i, step] of STEPS.entries()) {
      const version = `0.10.${i}`;
      await site.gate.offer(version);
      expect(await site.fetchScript(machine)).toMatchObject({ code: 0 });
      await killedAt(step, `--site s${i}`);
      const again = await machine.run(`sh /srv/agent-install-linux.sh --site s${i}`);
      site.gate.clear();
      expect(again, step).toMatchObject({ code: 0 });
      expect((await machine.run(`${CURRENT}; ls -A /opt/tidemark-agent | grep -c staging`)).stdout, step).toBe(`versions/${version}\n0\n`);
      expect(machine.read(YAML), step).toContain(`site: s${i}\n`);
    }
  });

  test('so does a first installation', async () => {
    // The others change nothing yet, or nothing more.
    for (const step of ['Downloading tidemark-agent', 'Configuring', 'Enrolling', 'Starting the service']) {
      expect(await machine.run('sh /srv/agent-install-linux.sh --uninstall --purge')).toMatchObject({ code: 0 });
      machine.write('/srv/enrolment', await site.enrolment(), 0o600);
      expect(await site.fetchScript(machine)).toMatchObject({ code: 0 });
      await killedAt(step, '--token-file /srv/enrolment');
      const left = (await machine.run('test -e /srv/enrolment')).code === 0;
      const again = await machine.run(`sh /srv/agent-install-linux.sh ${left ? '--token-file /srv/enrolment' : ''}`);
      expect(again, step).toMatchObject({ code: 0 });
      expect(again.stdout, step).toContain('the collector has confirmed a report of this node');
    }
  });

  test('a first installation that fails keeps the passwords of the one before it', async () => {
    const password = '/etc/tidemark/postgres-run-postgresql-s-PGSQL-5432.password';
    machine.write(password, 'secret\n', 0o640);
    expect(await machine.run('sh /srv/agent-install-linux.sh --uninstall')).toMatchObject({ code: 0 });
    machine.write('/srv/enrolment', `tme1.${'A'.repeat(32)}.-@${site.gate.url}\n`, 0o600);
    await machine.run(`rm ${TOKEN}`);
    const outcome = await site.install(machine, '--token-file /srv/enrolment');
    expect(outcome.code).toBe(EXIT.credentialRejected);
    expect((await machine.run('ls /opt/tidemark-agent')).code).not.toBe(0);
    expect(machine.read(password)).toBe('secret\n');
  });
});
