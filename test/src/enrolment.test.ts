/**
 * How machines become nodes, with the real programs: by a person's word, by an enrolment string, over a pinned authority, with a
 * secret that is replaced, revoked and unknown, and after their collector has moved.
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { MadeEnrollment, NodeList } from '@tidemark/protocol';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { runToEnd, startCollector, type CollectorOptions, type Outcome, type RunningCollector } from './programs.ts';

const AGENT = fileURLToPath(new URL('../../installers/dist/tidemark-agent.cjs', import.meta.url));
const SECRET = /^tma_[A-Za-z0-9_-]{43}\n$/;

interface RunningAgent {
  readonly log: () => string;
  kill(signal: NodeJS.Signals): Promise<void>;
}

let root: string;
let collector: RunningCollector;
let directory: string;
let config: string;
const agents = new Set<RunningAgent>();
let count = 0;

async function start(name: string, options: Partial<CollectorOptions> = {}): Promise<RunningCollector> {
  return await startCollector({ dataDir: join(root, name), ...options });
}

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'tidemark-enrolment-'));
  collector = await start('collector');
});
afterAll(async () => {
  await collector?.stop();
  rmSync(root, { recursive: true, force: true });
});
beforeEach(async () => {
  count++;
  directory = mkdtempSync(join(root, 'node-'));
  config = join(directory, 'agent.yaml');
  await configure('--server', collector.url, '--hostname', name(), '--interval', '1', '--data-dir', join(directory, 'data'));
});
afterEach(async () => {
  await Promise.all([...agents].map((agent) => agent.kill('SIGKILL')));
});

const name = (): string => `node ${count}`;
const file = (word: string): string => join(directory, word);
const command = (...args: string[]): Promise<Outcome> => runToEnd('agent', [...args, '--config', config]);
async function configure(...args: string[]): Promise<void> {
  const done = await command('configure', ...args);
  expect(done, done.stderr).toMatchObject({ code: 0 });
}

function run(...args: string[]): RunningAgent {
  const child = spawn(process.execPath, [AGENT, 'run', '--config', config, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (log += chunk));
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const agent: RunningAgent = {
    log: () => log,
    kill: async (signal) => {
      child.kill(signal);
      await gone;
      agents.delete(agent);
    },
  };
  agents.add(agent);
  return agent;
}

interface Confirmed {
  state: string;
  name: string;
  phase: string;
  detail: string;
  approveCommand?: string;
  server: string;
}
async function confirm(...args: string[]): Promise<Confirmed & { code: number | string }> {
  const { code, stdout, stderr } = await command('confirm', '--json', '--timeout', '40', ...args);
  expect(stderr).toBe('');
  return { code, ...(JSON.parse(stdout) as Confirmed) };
}
async function stateOf(node: string, at = collector): Promise<string | undefined> {
  return (await at.api<NodeList>('GET', '/api/telemetry/nodes')).nodes.find((one) => one.name === node)?.state;
}
const step = (node: string, what: string, at = collector): Promise<unknown> =>
  at.api('POST', `/api/telemetry/nodes/${encodeURIComponent(node)}/${what}`, {});
async function makeString(at = collector, more: object = {}): Promise<string> {
  const { string } = await at.api<MadeEnrollment>('POST', '/api/telemetry/enrollments', { url: at.url, ...more });
  return string;
}
async function eventually(check: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await check())) await new Promise((resolve) => setTimeout(resolve, 50));
}

describe('without a token', () => {
  test('an agent makes a secret and asks; its backlog arrives once a person has approved it', async () => {
    const agent = run();
    const waits = await confirm();
    expect(waits).toMatchObject({
      code: 0,
      state: 'pending',
      phase: 'node_pending',
      approveCommand: `tidemark-collector nodes approve '${name()}'`,
    });
    expect(await stateOf(name())).toBe('pending');
    const secretFile = join(directory, 'data', 'token');
    const secret = readFileSync(secretFile, 'utf8');
    expect(secret).toMatch(SECRET);
    expect(statSync(secretFile).mode & 0o777).toBe(0o600);
    // Some reports wait, in order.
    await eventually(() => (agent.log().match(/waits to be approved/g) ?? []).length === 1);
    const waiting = async (): Promise<number> => {
      const { stdout } = await command('status', '--json');
      return (JSON.parse(stdout) as { spool: { reports: number } }).spool.reports;
    };
    await eventually(async () => (await waiting()) >= 2);
    await step(name(), 'approve');
    const confirmed = await confirm();
    while ((await confirm()).state !== 'confirmed');
    expect(confirmed.state).toMatch(/pending|confirmed/);
    // The newest may just be on its way whenever the status is written.
    await eventually(async () => (await waiting()) <= 1);
    const [row] = await collector.sql<{ count: string; first: string }>(
      'SELECT count(*), min(r.sequence) AS first FROM reports r JOIN nodes n ON n.id = r.node_id WHERE n.name = $1',
      [name()],
    );
    expect(Number(row!.count)).toBeGreaterThanOrEqual(3);
    expect(Number(row!.first)).toBe(1);
    expect(agent.log()).not.toContain(secret.trim());
    expect(agent.log().match(/waits to be approved/g), 'said once').toHaveLength(1);
  });

  test('enroll, run again, says the same; refused where tokens are needed', async () => {
    const first = await command('enroll', '--secret-file', file('secret'), '--json');
    expect(first).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(first.stdout)).toMatchObject({ state: 'pending', name: name(), reason: 'new' });
    const secret = readFileSync(file('secret'), 'utf8');
    expect(await command('enroll', '--secret-file', file('secret'), '--json')).toEqual(first);
    expect(readFileSync(file('secret'), 'utf8')).toBe(secret);
    const strict = await start('strict', { arguments: ['--enrollment', 'token'] });
    try {
      await configure('--server', strict.url);
      const refused = await command('enroll', '--secret-file', file('secret'));
      expect(refused).toMatchObject({ code: 33, stdout: '' });
      expect(refused.stderr).toContain('tidemark-collector enroll');
      await configure('--server', 'http://no-such-host.invalid:5000');
      expect(await command('enroll', '--secret-file', file('secret'), '--timeout', '0')).toMatchObject({ code: 20 });
    } finally {
      await strict.stop();
    }
    await configure('--server', strict.url);
    expect(await command('enroll', '--secret-file', file('secret'), '--timeout', '1')).toMatchObject({ code: 21 });
    await configure('--server', collector.url.replace('http:', 'https:'));
    expect(await command('enroll', '--secret-file', file('secret'), '--timeout', '1')).toMatchObject({ code: 22 });
    await configure('--server', `${collector.url}/elsewhere`);
    expect(await command('enroll', '--secret-file', file('secret'), '--timeout', '1')).toMatchObject({ code: 23 });
  });
});

describe('with an enrolment string', () => {
  test('a machine is a node at once; the file is deleted, and the string is good for no other', async () => {
    const string = await makeString(collector, { site: 'berlin' });
    writeFileSync(file('string'), `${string}\n`, { mode: 0o600 });
    const done = await command('enroll', '--secret-file', file('secret'), '--token-file', file('string'), '--json');
    expect(JSON.parse(done.stdout)).toMatchObject({ state: 'approved', name: name(), site: 'berlin', approveCommand: '' });
    expect(existsSync(file('string'))).toBe(false);
    writeFileSync(file('string'), string, { mode: 0o600 });
    const other = await command('enroll', '--secret-file', file('other'), '--token-file', file('string'));
    expect(other).toMatchObject({ code: 33 });
    expect(other.stderr).toContain('enrollment_token_used_up');
    expect(existsSync(file('string')), 'it was not used').toBe(true);
    writeFileSync(file('string'), string.slice(0, 40), { mode: 0o600 });
    expect(await command('enroll', '--secret-file', file('other'), '--token-file', file('string'))).toMatchObject({ code: 78 });
  });

  test('the running agent exchanges it by itself, and finds its collector again without it', async () => {
    await configure('--unset', 'server', '--token-file', file('string'));
    writeFileSync(file('string'), await makeString(), { mode: 0o600 });
    const agent = run();
    expect(await confirm()).toMatchObject({ code: 0, state: 'confirmed', name: name() });
    expect(existsSync(file('string'))).toBe(false);
    expect(agent.log()).not.toContain(readFileSync(join(directory, 'data', 'token'), 'utf8').trim());
    await agent.kill('SIGTERM');
    const since = Date.now();
    run();
    expect(await confirm('--since', String(since))).toMatchObject({ code: 0, state: 'confirmed' });
  });
});

describe('the secret', () => {
  const approved = async (): Promise<void> => {
    writeFileSync(file('string'), await makeString(), { mode: 0o600 });
    const done = await command('enroll', '--secret-file', file('secret'), '--token-file', file('string'));
    expect(done, done.stderr).toMatchObject({ code: 0 });
  };

  test('is replaced while the agent runs; the old one ends when the new one was used', async () => {
    await approved();
    run('--token-file', file('secret'));
    expect(await confirm()).toMatchObject({ state: 'confirmed' });
    const old = readFileSync(file('secret'), 'utf8');
    const renamed = `${name()} renamed`;
    await collector.api('POST', `/api/telemetry/nodes/${encodeURIComponent(name())}/rename`, { name: renamed });
    const rotated = await command('rotate', '--secret-file', file('secret'));
    expect(rotated, rotated.stderr).toMatchObject({ code: 0 });
    expect(readFileSync(file('secret'), 'utf8')).toMatch(SECRET);
    expect(readFileSync(file('secret'), 'utf8')).not.toBe(old);
    expect(statSync(file('secret')).mode & 0o777).toBe(0o600);
    expect(readdirSync(directory).filter((word) => word.startsWith('secret'))).toEqual(['secret']);
    // An ordinary request with the old secret.
    const withOld = async (): Promise<number> =>
      (await fetch(`${collector.url}/api/telemetry/v1/reports`, { method: 'POST', headers: { authorization: `Bearer ${old.trim()}` } }))
        .status;
    await eventually(async () => (await withOld()) === 403);
    expect(await confirm()).toMatchObject({ state: 'confirmed' });
    expect(await stateOf(renamed), 'a name that a person gave stays').toBe('approved');
    expect(await stateOf(name())).toBeUndefined();
  });

  test('that the collector does not know, restored without it, makes the machine ask again', async () => {
    writeFileSync(file('secret'), `tma_${'x'.repeat(42)}${count}`, { mode: 0o600 });
    const agent = run('--token-file', file('secret'));
    expect(await confirm()).toMatchObject({ code: 0, state: 'pending' });
    expect(await stateOf(name())).toBe('pending');
    await step(name(), 'approve');
    while ((await confirm()).state !== 'confirmed');
    expect(agent.log().match(/waits to be approved/g)).toHaveLength(1);
  });

  test('that was revoked is told apart from a collector that is away, and an enrolment string makes the machine ask anew', async () => {
    await approved();
    const agent = run('--token-file', file('secret'));
    expect(await confirm()).toMatchObject({ state: 'confirmed' });
    await step(name(), 'revoke');
    await eventually(async () => (await confirm()).phase === 'node_revoked');
    expect(await confirm()).toMatchObject({ code: 33, state: 'rejected', phase: 'node_revoked' });
    expect((await command('status')).stdout).toContain('node revoked since');
    await agent.kill('SIGTERM');
    const refused = await command('enroll', '--secret-file', file('secret'));
    expect(refused).toMatchObject({ code: 33 });
    expect(refused.stderr).toContain('node_revoked');
    // A new secret is made for the string; a node that was revoked comes back by a person's word alone.
    const before = readFileSync(file('secret'), 'utf8');
    writeFileSync(file('string'), await makeString(), { mode: 0o600 });
    const again = await command('enroll', '--secret-file', file('secret'), '--token-file', file('string'), '--json');
    expect(JSON.parse(again.stdout)).toMatchObject({ state: 'pending', name: name() });
    expect(readFileSync(file('secret'), 'utf8')).not.toBe(before);
    await configure('--server', 'http://127.0.0.1:1');
    run('--token-file', file('secret'));
    const away = await command('confirm', '--json', '--timeout', '3');
    expect(away.code).toBe(31);
    expect(JSON.parse(away.stdout)).toMatchObject({ state: 'not-confirmed', phase: 'unreachable' });
  });
});

describe('over TLS with the collector’s own authority', () => {
  let secure: RunningCollector;
  let url: string;
  let ca: string;
  beforeAll(async () => {
    secure = await start('secure', { arguments: ['--tls', 'self-made'] });
    url = secure.url;
    ca = readFileSync(join(root, 'secure', 'tls-authority.pem'), 'utf8');
  });
  afterAll(() => secure?.stop());

  test('the string pins it; another fingerprint is refused before anything is sent', async () => {
    expect(url).toMatch(/^https:/);
    const string = await adminString();
    await configure('--unset', 'server');
    writeFileSync(file('string'), string, { mode: 0o600 });
    const fingerprint = /\.([0-9a-f]{64})@/.exec(string)![1]!;
    writeFileSync(file('forged'), string.replace(fingerprint, fingerprint.replaceAll(/[0-9a-f]/g, '0')), { mode: 0o600 });
    const forged = await command('enroll', '--secret-file', file('secret'), '--token-file', file('forged'));
    expect(forged).toMatchObject({ code: 22, stdout: '' });
    expect(forged.stderr).toContain('not the one that the enrolment string names');
    expect(existsSync(file('ca.pem'))).toBe(false);
    const done = await command('enroll', '--secret-file', file('secret'), '--token-file', file('string'), '--json');
    expect(done, done.stderr).toMatchObject({ code: 0 });
    expect(readFileSync(file('ca.pem'), 'utf8').trim()).toBe(ca.trim());
    expect(readFileSync(config, 'utf8')).toContain(`caFile: ${file('ca.pem')}`);
    expect(readFileSync(config, 'utf8')).toContain(`server: ${url}`);
    expect(await command('check-config')).toMatchObject({ code: 0 });
    run('--token-file', file('secret'));
    expect(await confirm()).toMatchObject({ code: 0, state: 'confirmed' });
  });

  test('the running agent pins it by itself', async () => {
    await configure('--unset', 'server', '--token-file', file('string'));
    writeFileSync(file('string'), await adminString(), { mode: 0o600 });
    const agent = run();
    expect(await confirm()).toMatchObject({ code: 0, state: 'confirmed' });
    expect(readFileSync(join(directory, 'data', 'ca.pem'), 'utf8').trim()).toBe(ca.trim());
    await agent.kill('SIGTERM');
    const since = Date.now();
    run();
    expect(await confirm('--since', String(since))).toMatchObject({ code: 0, state: 'confirmed' });
  });

  test('without the authority nothing is sent', async () => {
    await configure('--server', url);
    const refused = await command('enroll', '--secret-file', file('secret'), '--timeout', '1');
    expect(refused).toMatchObject({ code: 22 });
    expect(refused.stderr).toContain('caFile');
  });

  async function adminString(): Promise<string> {
    const made = await runToEnd('collector', [
      'enroll',
      '--data-dir',
      join(root, 'secure'),
      '--server',
      url,
      '--url',
      url,
      '--ca-file',
      join(root, 'secure', 'tls-authority.pem'),
      '--json',
    ]);
    expect(made, made.stderr).toMatchObject({ code: 0 });
    return /tme1\.[^\s"]+/.exec(made.stdout)![0];
  }
});

describe('with certificates on both sides', () => {
  test('an agent without one is told so; with one it enrols and reports', async () => {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    const openssl = (...args: string[]): void => void execFileSync('openssl', args, { cwd: directory, stdio: 'ignore' });
    openssl('req', '-x509', ...key, '-keyout', 'agents.key', '-out', 'agents.pem', '-subj', '/CN=agents', '-days', '2');
    openssl('req', ...key, '-keyout', 'agent.key', '-out', 'agent.csr', '-subj', '/CN=agent');
    openssl(
      'x509',
      '-req',
      '-in',
      'agent.csr',
      '-out',
      'agent.pem',
      '-CA',
      'agents.pem',
      '-CAkey',
      'agents.key',
      '-CAcreateserial',
      '-days',
      '2',
    );
    const mutual = await start('mutual', {
      arguments: ['--tls', 'self-made', '--tls-client-ca', file('agents.pem'), '--enrollment', 'open'],
    });
    try {
      await configure('--server', mutual.url, '--ca-file', join(root, 'mutual', 'tls-authority.pem'));
      const refused = await command('enroll', '--secret-file', file('secret'));
      expect(refused).toMatchObject({ code: 22, stdout: '' });
      expect(refused.stderr).toContain('certFile and keyFile');
      const agent = run();
      await eventually(() => agent.log().includes('client_certificate_needed'));
      await agent.kill('SIGTERM');
      await configure('--cert-file', file('agent.pem'), '--key-file', file('agent.key'));
      expect(await command('check-config')).toMatchObject({ code: 0 });
      const since = Date.now();
      run();
      expect(await confirm('--since', String(since))).toMatchObject({ code: 0, state: 'confirmed', server: `${mutual.url}/` });
    } finally {
      await mutual.stop();
    }
  });
});

describe('a collector that has moved', () => {
  test('is followed to an address that takes the secret, also after a restart; never before', async () => {
    const next = await start('next', { arguments: ['--enrollment', 'open'] });
    const former = await start('former', { arguments: ['--enrollment', 'open', '--moved-to', next.url] });
    try {
      await configure('--server', former.url);
      const agent = run();
      expect(await confirm()).toMatchObject({ state: 'confirmed', server: `${former.url}/` });
      const status = async (): Promise<{ uplink: { newAddress?: string; moveTrouble?: string; server: string } }> =>
        JSON.parse((await command('status', '--json')).stdout) as never;
      // The new one does not know this secret yet: the reports stay where they are taken.
      await eventually(async () => (await status()).uplink.moveTrouble?.includes('credential_unknown') === true);
      expect(await confirm()).toMatchObject({ state: 'confirmed', server: `${former.url}/` });
      await agent.kill('SIGTERM');
      const known = file('at-next.yaml');
      writeFileSync(known, JSON.stringify({ server: next.url, hostname: name() }));
      const joined = await runToEnd('agent', ['enroll', '--config', known, '--secret-file', join(directory, 'data', 'token')]);
      expect(joined, joined.stderr).toMatchObject({ code: 0 });
      const second = run();
      await eventually(() => existsSync(join(directory, 'data', 'server.json')));
      expect(await confirm()).toMatchObject({ state: 'confirmed', server: `${next.url}/` });
      expect(JSON.parse(readFileSync(join(directory, 'data', 'server.json'), 'utf8'))).toEqual({
        from: `${former.url}/`,
        to: `${next.url}/`,
      });
      await second.kill('SIGTERM');
      await former.stop();
      const since = Date.now();
      run();
      expect(await confirm('--since', String(since))).toMatchObject({ state: 'confirmed', server: `${next.url}/` });
      expect((await command('status')).stdout).toContain(`moved from  ${former.url}/`);
      await configure('--server', next.url);
      expect(existsSync(join(directory, 'data', 'server.json'))).toBe(false);
    } finally {
      await Promise.all([next.stop(), former.stop()]);
    }
  });
});
