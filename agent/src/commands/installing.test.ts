/** What installers call: the configuration file is changed and judged, and a running agent's own words are turned into a verdict. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadOptions, OperationalFailure } from '@tidemark/service';
import { beforeEach, describe, expect, test } from 'vitest';
import { AGENT_OPTIONS, type AgentOptionValues } from '../config.ts';
import { keepMove, readMove } from '../enrolment/moved.ts';
import type { AgentStatus } from '../status.ts';
import { checkConfig } from './check-config.ts';
import { configure, type ConfigureFlags } from './configure.ts';
import { confirm, type ConfirmFlags } from './confirm.ts';
import { enroll } from './enroll.ts';

const SURROUNDINGS = { environment: {}, platform: process.platform, uid: 0 } as const;
let directory: string;
let file: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tidemark-installing-'));
  file = join(directory, 'agent.yaml');
  return () => rmSync(directory, { recursive: true, force: true });
});

const text = (): string => readFileSync(file, 'utf8');
const change = (flags: ConfigureFlags): string => configure({ config: file, ...flags }, SURROUNDINGS);
/** The failure's exit code and sentence. */
function failureOf(act: () => unknown): [number, string] {
  try {
    act();
  } catch (error) {
    if (error instanceof OperationalFailure) return [error.exitCode, error.message];
    throw error;
  }
  throw new Error('it did not fail');
}

describe('configure', () => {
  test('makes a file that only root and the agent’s group read', () => {
    expect(change({ server: 'http://c:5000', tag: ['role=db'], postgres: ['postgres://a@h/db'] })).toContain('server: http://c:5000');
    expect(text().replace(/^#.*\n\n?/, '')).toBe('server: http://c:5000\ntag:\n  role: db\npostgres:\n  - postgres://a@h/db\n');
    expect(statSync(file).mode & 0o777).toBe(0o640);
    expect(readdirSync(directory)).toEqual(['agent.yaml']);
  });

  test('changes what is given; comments, order, mode and the rest stay', () => {
    const before =
      '# ours\ninterval: 60 # slow\n\n# who\nhostname: "db 1"\ntag: {role: db}\npostgres:\n  - url: postgres://a@h/db # main\n    passwordFile: /etc/p\nserver: http://old:5000\n';
    writeFileSync(file, before);
    chmodSync(file, 0o600);
    change({ server: 'http://new:5000', tag: ['rack=2'], postgres: ['postgres://a@h/db', 'postgres://b@h/db'] });
    expect(text()).toBe(
      '# ours\ninterval: 60 # slow\n\n# who\nhostname: "db 1"\ntag: { role: db, rack: "2" }\npostgres:\n  - url: postgres://a@h/db # main\n    passwordFile: /etc/p\n  - postgres://b@h/db\nserver: http://new:5000\n',
    );
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const after = text();
    expect(change({ server: 'http://new:5000' })).toBe(`${file} says all that already.\n`);
    expect(text()).toBe(after);
  });

  test('takes options out, and says all of it to programs', () => {
    writeFileSync(file, 'server: http://c:5000\nproxy: http://p:3128 # away\nsite: berlin\n');
    const said = JSON.parse(change({ unset: ['proxy', 'caFile'], interval: '30', json: true })) as unknown;
    expect(said).toEqual({
      file,
      changed: [
        { option: 'proxy', before: 'http://p:3128', after: null },
        { option: 'interval', before: null, after: 30 },
      ],
    });
    expect(text()).toBe('server: http://c:5000\nsite: berlin\ninterval: 30\n');
  });

  test.each<[string, ConfigureFlags, number, RegExp]>([
    ['an interval that is none', { interval: 'soon' }, 78, /--interval: must be a number of seconds/],
    ['a password on the command line', { postgres: ['postgres://a:secret@h/db'] }, 78, /can be read by every user/],
    ['a certificate without its key', { certFile: '/c.pem' }, 78, /needs keyFile beside it/],
    ['an option that there is not', { unset: ['intervall'] }, 2, /there is no such option/],
  ])('%s: nothing is written', (_, flags, code, said) => {
    writeFileSync(file, 'site: berlin\n');
    const [exitCode, message] = failureOf(() => change(flags));
    expect(exitCode).toBe(code);
    expect(message).toMatch(said);
    expect(text()).toBe('site: berlin\n');
    expect(readdirSync(directory)).toEqual(['agent.yaml']);
  });

  test('what is no YAML is left as it is', () => {
    writeFileSync(file, 'site: [berlin\n');
    expect(failureOf(() => change({ interval: '30' }))[0]).toBe(78);
    expect(text()).toBe('site: [berlin\n');
  });

  test('a directory that is not there is said', () => {
    expect(failureOf(() => configure({ config: join(directory, 'no', 'agent.yaml'), site: 'x' }, SURROUNDINGS))).toEqual([
      13,
      `${join(directory, 'no', 'agent.yaml')} cannot be written: its directory is not there.`,
    ]);
  });

  test('a link stays one, and an address given anew ends a move', () => {
    const real = join(directory, 'real.yaml');
    writeFileSync(real, `server: http://old:5000\ndataDir: ${directory}\n`);
    symlinkSync(real, file);
    keepMove(directory, { from: 'http://old:5000/', to: 'http://moved:5000/' });
    change({ site: 'berlin' });
    expect(readMove(directory, new URL('http://old:5000'))).toBeDefined();
    change({ server: 'http://old:5000' });
    expect(readMove(directory, new URL('http://old:5000'))).toBeUndefined();
    expect(lstatSync(file).isSymbolicLink()).toBe(true);
    expect(readFileSync(real, 'utf8')).toContain('site: berlin');
    expect(readdirSync(directory).toSorted()).toEqual(['agent.yaml', 'real.yaml']);
  });
});

describe('check-config', () => {
  const check = (): string =>
    checkConfig(loadOptions('tidemark-agent', AGENT_OPTIONS, { flags: { config: file }, environment: {} }), SURROUNDINGS);

  test('says what is in force, and every mistake with its line, the files included', () => {
    writeFileSync(file, 'server: http://c:5000\npostgres:\n  - postgres://a:secret@h/db\n');
    expect(check()).toMatch(/server +"http:\/\/c:5000" +.*agent\.yaml:1/);
    expect(check()).not.toContain('secret');
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    for (const name of ['a', 'b'])
      execFileSync('openssl', ['req', '-x509', ...key, '-keyout', `${name}.key`, '-out', `${name}.pem`, '-subj', '/CN=x'], {
        cwd: directory,
        stdio: 'ignore',
      });
    writeFileSync(join(directory, 'token'), 'tma_x', { mode: 0o644 });
    const lines = [
      'server: https://c:5000',
      `tokenFile: ${directory}/token`,
      `caFile: ${directory}/nowhere.pem`,
      `certFile: ${directory}/a.pem`,
      `keyFile: ${directory}/b.key`,
      'postgres:',
      `  - {url: "postgres://a@h/db", passwordFile: ${directory}/no-password}`,
    ];
    writeFileSync(file, `${lines.join('\n')}\n`);
    const [code, message] = failureOf(check);
    expect(code).toBe(78);
    expect(message.split('\n').map((line) => line.trim().replaceAll(directory, ''))).toEqual([
      '4 mistakes in the configuration:',
      '/agent.yaml:2: every user of this machine can read /token: chmod 600 it',
      '/agent.yaml:3: caFile: /nowhere.pem cannot be read (ENOENT)',
      '/agent.yaml:4: /a.pem and /b.key do not belong together',
      '/agent.yaml:7: /no-password cannot be read (ENOENT)',
    ]);
    chmodSync(join(directory, 'token'), 0o600);
    writeFileSync(
      file,
      `server: https://c:5000\ntokenFile: ${directory}/token\ncaFile: ${directory}/b.pem\ncertFile: ${directory}/a.pem\nkeyFile: ${directory}/a.key\n`,
    );
    expect(check()).toContain('No mistakes');
  });
});

describe('confirm', () => {
  const NOW = Date.now();
  const VALUES = (): AgentOptionValues =>
    loadOptions('tidemark-agent', AGENT_OPTIONS, { flags: { dataDir: directory, site: 'berlin', http: ['http://h/'] }, environment: {} })
      .values;
  const UPLINK: AgentStatus['uplink'] = {
    phase: 'connected',
    since: NOW,
    detail: '',
    node: { name: 'db', state: 'approved', site: 'berlin' },
    lastAcknowledgedAt: NOW,
    newAddress: undefined,
    server: 'https://c.example/base/',
    clockOffsetMs: 0,
  };
  const probe = (name: string, success = true): AgentStatus['probes'][number] => ({
    name,
    success,
    durationMs: 1,
    trouble: success ? undefined : 'no rights',
    lastRunAt: NOW,
  });

  /** What an agent says that runs as our parent, a process that is alive for as long as we are. */
  function running(more: Partial<AgentStatus>): void {
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, 'agent.pid'), `${process.ppid}\n`);
    const status: AgentStatus = {
      version: '1',
      pid: process.ppid,
      startedAt: NOW,
      writtenAt: NOW,
      server: 'https://c.example/base/',
      hostname: 'db',
      intervalSeconds: 60,
      lastReportAt: NOW,
      uplink: UPLINK,
      spool: { reports: 3, sizeBytes: 1, oldestTakenAt: NOW, lost: 0, trouble: undefined },
      probes: [probe('cpu'), probe('memory'), probe('filesystem'), probe('disk', false), probe('network')],
      postgres: [
        { instance: 'localhost:5432', up: true, role: 'primary', version: '17.2', detail: null },
        { instance: 'localhost:5433', up: false, role: null, version: null, detail: 'nothing accepts connections' },
      ],
      discovered: [{ address: '/run/x/.s.PGSQL.5434', how: 'socket', watched: false, command: "tidemark-agent postgres setup --url 'x'" }],
      fileSystems: 2,
      ...more,
    };
    writeFileSync(join(directory, 'status.json'), JSON.stringify(status));
  }
  const said = (flags: ConfirmFlags = {}): Promise<{ output: string; errors: string; exitCode: number }> =>
    confirm(VALUES(), { timeout: '0', ...flags }, SURROUNDINGS);

  test('a report that was confirmed: what is watched, what is not and how, and where to see it', async () => {
    running({});
    const { output, errors, exitCode } = await said({ since: String(NOW) });
    expect({ errors, exitCode }).toEqual({ errors: '', exitCode: 0 });
    expect(output).toBe(`The collector at https://c.example/base/ has confirmed a report of this node.

node        db
site        berlin
watched     CPU, memory, 2 file systems, network
PostgreSQL  localhost:5432: primary, 17.2
PostgreSQL  localhost:5433: down: nothing accepts connections
HTTP        1 endpoint
failing     disk: no rights
every       60 s
to see      https://c.example/base/nodes/db

Found here and not watched:
  /run/x/.s.PGSQL.5434
    tidemark-agent postgres setup --url 'x'
or all at once, as root: tidemark-agent postgres adopt
`);
    expect(JSON.parse((await said({ json: true })).output)).toMatchObject({
      state: 'confirmed',
      name: 'db',
      site: 'berlin',
      consoleUrl: 'https://c.example/base/nodes/db',
      watched: { machine: ['cpu', 'memory', 'filesystem', 'network'], fileSystems: 2, httpEndpoints: 1 },
      failing: [{ probe: 'disk', trouble: 'no rights' }],
      found: [{ address: '/run/x/.s.PGSQL.5434' }],
    });
  });

  test('one that waits for a person is no failure, and says how it is approved', async () => {
    const claim = {
      reason: 'clone-or-replacement',
      machineCode: 'ABCD-0123',
      approveCommand: "tidemark-collector nodes approve 'db' --machine ABCD-0123",
      consoleUrl: 'https://c/nodes/db',
    } as const;
    running({ uplink: { ...UPLINK, phase: 'node_pending', detail: 'waits', claim } });
    const { output, exitCode } = await said({ since: String(NOW) });
    expect(exitCode).toBe(0);
    expect(output).toContain(`"db" waits to be approved.
  Another machine is the node of this name. Does this one replace it, or is it a copy that needs a name of its own?
  This machine: ABCD-0123 (the collector must show the same)
  On the collector: tidemark-collector nodes approve 'db' --machine ABCD-0123
  In the console: https://c/nodes/db
  Until then its reports wait on this machine (3 reports so far); nothing is lost.
`);
    expect(JSON.parse((await said({ json: true })).output)).toMatchObject({ state: 'pending', ...claim });
  });

  test.each(['credential_missing', 'credential_unknown', 'node_revoked', 'node_retired', 'rejected'] as const)(
    '%s: 33, and at once',
    async (phase) => {
      running({ uplink: { ...UPLINK, phase, detail: `because of ${phase}` } });
      expect(await said({ timeout: '60' })).toEqual({
        output: '',
        errors: `The collector at https://c.example/base/ does not take this node: because of ${phase}.\n`,
        exitCode: 33,
      });
    },
  );

  test.each<[string, Partial<AgentStatus>, ConfirmFlags, RegExp]>([
    [
      'a collector that is away',
      { uplink: { ...UPLINK, phase: 'unreachable', detail: 'nothing accepts connections at c' } },
      {},
      /nothing accepts connections at c/,
    ],
    ['a store that is away', { uplink: { ...UPLINK, phase: 'not_stored', detail: 'no database' } }, {}, /no database/],
    ['a start', { uplink: { ...UPLINK, phase: 'starting' } }, {}, /has not answered yet/],
    ['an answer that confirms nothing', { uplink: { ...UPLINK, lastAcknowledgedAt: undefined } }, {}, /has not confirmed a report yet/],
    ['an earlier confirmation', {}, { since: String(NOW + 1) }, /was not started again/],
    ['words of another process', { pid: 1 }, {}, /has just started/],
  ])('%s: 31 when the time is up', async (_, status, flags, why) => {
    running(status);
    const { output, errors, exitCode } = await said(flags);
    expect(exitCode).toBe(31);
    expect(output).toBe('');
    expect(errors).toMatch(why);
    expect(JSON.parse((await said({ ...flags, json: true })).output)).toMatchObject({
      state: 'not-confirmed',
      detail: expect.stringMatching(why) as string,
    });
  });

  test('nobody there: 31, and where to look; a slip on the command line: 2', async () => {
    expect(await said()).toMatchObject({ exitCode: 31, errors: expect.stringMatching(/no agent runs on .*journalctl/) as string });
    await expect(said({ since: 'yesterday' })).rejects.toMatchObject({ exitCode: 2 });
    await expect(said({ timeout: '-1' })).rejects.toMatchObject({ exitCode: 2 });
  });

  test('it waits for the confirmation', async () => {
    running({ uplink: { ...UPLINK, phase: 'starting' } });
    const waiting = said({ timeout: '20' });
    running({});
    expect(await waiting).toMatchObject({ exitCode: 0 });
  });

  test('names from outside cannot move the cursor', async () => {
    const evil = '\u001b[2J\u001b]0;x\u0007\u202edb\nroot';
    running({
      uplink: { ...UPLINK, node: { name: evil, state: 'approved', site: evil }, server: evil },
      postgres: [{ instance: evil, up: true, role: evil, version: null, detail: evil }],
      discovered: [{ address: evil, how: 'socket', watched: false, command: evil }],
    });
    expect((await said()).output.replaceAll('\n', '')).not.toMatch(/\p{Cc}|\p{Cf}/u);
    const json = (await said({ json: true })).output;
    expect(json.trimEnd()).not.toMatch(/\p{Cc}/u);
    expect(JSON.parse(json)).toMatchObject({ name: evil, site: evil });
    running({
      uplink: {
        ...UPLINK,
        phase: 'node_pending',
        detail: evil,
        claim: { reason: null, machineCode: evil, approveCommand: evil, consoleUrl: evil },
      },
    });
    expect((await said()).output.replaceAll('\n', '')).not.toMatch(/\p{Cc}|\p{Cf}/u);
  });
});

describe('enroll', () => {
  test('a credential that the collector does not know takes the place of no other', async () => {
    const secretFile = join(directory, 'agent.token');
    const tokenFile = join(directory, 'given');
    writeFileSync(secretFile, 'tma_the-one-that-works\n');
    writeFileSync(tokenFile, 'tma_mistyped\n');
    const problem = { type: 'urn:tidemark:problem:node_revoked', code: 'node_revoked', title: 'x', detail: 'No.' };
    const collector = createServer((request, response) => {
      request.resume();
      response.writeHead(request.headers.authorization === 'Bearer tma_known' ? 200 : 403, { 'content-type': 'application/json' });
      const node = { state: 'approved', node: { name: 'db', site: '' }, machineCode: '', reason: null, approveCommand: '', consoleUrl: '' };
      response.end(JSON.stringify(request.headers.authorization === 'Bearer tma_known' ? node : problem));
    });
    await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
    const { port } = collector.address() as AddressInfo;
    const { values } = loadOptions('test', AGENT_OPTIONS, {
      flags: { dataDir: directory, server: `http://127.0.0.1:${port}` },
      environment: {},
    });
    const asked = (): Promise<string> =>
      enroll(values, { secretFile, tokenFile }, { version: '1', surroundings: SURROUNDINGS, file: undefined, random: () => 0 });
    try {
      await expect(asked()).rejects.toThrow(OperationalFailure);
      expect(readFileSync(secretFile, 'utf8')).toBe('tma_the-one-that-works\n');
      expect(readFileSync(tokenFile, 'utf8')).toBe('tma_mistyped\n');
      writeFileSync(tokenFile, 'tma_known\n');
      expect(await asked()).toContain('"db" is a node');
      expect(readFileSync(secretFile, 'utf8')).toBe('tma_known\n');
      expect(readdirSync(directory)).toEqual(['agent.token']);
    } finally {
      collector.closeAllConnections();
      await new Promise((resolve) => collector.close(resolve));
    }
  });
});
