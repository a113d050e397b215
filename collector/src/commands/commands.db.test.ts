/** The commands against a running collector: what they do to the fleet, what they print, and what they say and return when it does not work. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { NodeList } from '@tidemark/protocol';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createTestDatabase } from '../db/testing.ts';
import { commandLine, startTestCollector, temporaryDirectory, urlOf, type CommandResult, type TestCollector } from '../testing.ts';

interface World extends TestCollector {
  dataDir: string;
  /** A command with this collector's address and data directory. */
  run: (...argv: string[]) => Promise<CommandResult>;
  /** The status of a request with a token. */
  status: (path: string, token: string, method?: string) => Promise<number>;
}

async function world(): Promise<World> {
  const { address, database } = await createTestDatabase();
  await database.close();
  const dataDir = temporaryDirectory();
  const collector = await startTestCollector({ dataDir, databaseUrl: urlOf(address) });
  return {
    ...collector,
    dataDir,
    run: (...argv) => commandLine([...argv, '--server', collector.url, '--data-dir', dataDir]),
    status: async (path, token, method = 'GET') => {
      const answer = await fetch(`${collector.url}${path}`, { method, headers: { authorization: `Bearer ${token}` } });
      // An answer that nobody takes holds its connection.
      await answer.arrayBuffer();
      return answer.status;
    },
  };
}

const list = async (run: World['run']): Promise<NodeList['nodes']> =>
  (JSON.parse((await run('nodes', 'list', '--json')).out) as NodeList).nodes;

describe('nodes', () => {
  test('a life: added, listed, renamed, revoked, approved, given a new token, retired, added again', async () => {
    const { run, url } = await world();
    const added = await run('nodes', 'add', 'db1', '--site', 'hamburg', '--tag', 'role=db', '--tag', 'note=a=b');
    expect(added).toMatchObject({ code: 0, out: expect.stringMatching(/^tma_[\w-]{43}\n$/) as string });
    expect(added.err).toContain(
      `tidemark-agent run --server ${url.replace('127.0.0.1', 'collector.example')} --hostname db1 --token-file ./token`,
    );
    expect(added.err, 'the token goes where it was asked for, and nowhere else').not.toContain(added.out.trim());
    expect(await list(run)).toMatchObject([
      { name: 'db1', site: 'hamburg', tags: { role: 'db', note: 'a=b' }, state: 'approved', lastSeenAt: null },
    ]);
    const table = (await run('nodes', 'list')).out.split('\n');
    expect(table[0]).toMatch(/^NAME +STATE +SITE +LAST SEEN +AGENT +TAGS$/);
    expect(table[1]).toMatch(/^db1 +approved +hamburg +never +- +(note=a=b role=db|role=db note=a=b)$/);

    expect(await run('nodes', 'rename', 'db1', 'db2')).toEqual({ code: 0, out: '', err: 'db1 is now db2.\n' });
    expect((await run('nodes', 'revoke', 'db2')).code).toBe(0);
    expect(await list(run)).toMatchObject([{ id: 1, name: 'db2', state: 'revoked' }]);
    expect((await run('nodes', 'approve', 'db2')).code).toBe(0);
    const renewed = await run('nodes', 'token', 'db2');
    expect(renewed.out).toMatch(/^tma_/);
    expect(renewed.out).not.toBe(added.out);
    expect((await run('nodes', 'retire', 'db2')).code).toBe(0);
    expect((await run('nodes', 'add', 'db2')).code).toBe(0);
    expect((await list(run)).map(({ name, state }) => `${name} ${state}`)).toEqual(['db2 retired', 'db2 approved']);
  });

  test.each([
    ['emoji', '🦫 lodge'],
    ['quotes', `a"b'c`],
    ['what a shell would run', '$(reboot) `reboot`'],
    ['what an address would take apart', 'a%2Fb?c#d&e'],
    ['markup', '<script>alert(1)<b>'],
    ['__proto__', '__proto__'],
    ['253 characters', '🦫'.repeat(253)],
  ])('a name with %s is a name in every command, and safe to paste', async (_, name) => {
    const { run } = await world();
    const added = await run('nodes', 'add', name);
    expect(added.code).toBe(0);
    // A shell reads the printed word back as the name.
    expect(
      / --hostname (?<word>.*) --token-file /s
        .exec(added.err)
        ?.groups?.['word']?.replace(/^'|'$/g, '')
        .replaceAll(String.raw`'\''`, "'"),
    ).toBe(name);
    expect((await run('nodes', 'rename', name, 'plain')).code).toBe(0);
    expect((await run('nodes', 'rename', 'plain', name)).code).toBe(0);
    for (const step of ['revoke', 'approve', 'token']) expect((await run('nodes', step, name)).code).toBe(0);
    expect((await list(run)).map((node) => node.name)).toEqual([name]);
    expect((await run('nodes', 'retire', name)).code).toBe(0);
  });

  test.each([
    ['a line break', 'a\nb'],
    ['an escape', 'a\u001b[2Jb'],
    ['a slash', 'a/b'],
    ['nothing in it', ''],
    ['254 characters', 'x'.repeat(254)],
    ['two dots', '..'],
    ['a space at its end', 'a '],
  ])('a name with %s is refused', async (_, name) => {
    const { run } = await world();
    const { code, out, err } = await run('nodes', 'add', name);
    expect([code, out]).toEqual([1, '']);
    expect(err).toMatch(/body\.name .*\[body_invalid\]\n$/);
    expect(await list(run)).toEqual([]);
  });

  test('what does not work is one sentence', async () => {
    const { run } = await world();
    await run('nodes', 'add', 'a');
    expect(await run('nodes', 'add', 'a')).toEqual({ code: 1, out: '', err: 'The name "a" is taken. [name_taken]\n' });
    expect(await run('nodes', 'retire', 'b\u001b[2J')).toEqual({
      code: 1,
      out: '',
      err: expect.stringMatching(/^There is no node .*\[node_unknown\]\n$/) as string,
    });
    expect((await run('nodes', 'add', 'c', '--tag', 'no-value')).code).toBe(2);
    expect((await run('nodes', 'add', 'c', '--tag', '1=x')).code).toBe(1);
    expect((await list(run)).map(({ name }) => name)).toEqual(['a']);
  });

  test('the address that is told to agents is the public one', async () => {
    const { url, dataDir } = await world();
    const { err } = await commandLine(['nodes', 'add', 'a', '--server', url, '--data-dir', dataDir], {
      TIDEMARK_PUBLIC_URL: 'https://watch.example/tidemark',
    });
    expect(err).toContain('tidemark-agent run --server https://watch.example/tidemark --hostname a ');
  });
});

describe('tokens', () => {
  test('made for a role, listed without themselves, ended', async () => {
    const { run, status } = await world();
    expect(await run('tokens', 'list')).toEqual({ code: 0, out: '', err: expect.any(String) as string });
    const reader = (await run('tokens', 'add', 'prometheus')).out.trim();
    const admin = (await run('tokens', 'add', 'script', '--role', 'admin')).out.trim();
    expect([await status('/metrics', reader), await status('/api/tokens', reader), await status('/api/tokens', admin)]).toEqual([
      200, 403, 200,
    ]);
    const { out } = await run('tokens', 'list');
    expect(out).toMatch(/prometheus +read/);
    expect(out).toMatch(/script +admin/);
    expect(out).not.toContain(reader.slice(4));
    expect(await run('tokens', 'add', 'script')).toMatchObject({ code: 1, err: expect.stringContaining('[name_taken]') as string });
    expect((await run('tokens', 'remove', 'script')).code).toBe(0);
    expect(await status('/api/tokens', admin)).toBe(401);
    expect(await run('tokens', 'remove', 'script')).toMatchObject({ code: 1, err: expect.stringContaining('[token_unknown]') as string });
    expect((await run('tokens', 'add', 'x', '--role', 'owner')).code).toBe(2);
  });
});

test('token reset: a running collector takes it up; the old token and every session end', async () => {
  const { url, dataDir, run, status } = await world();
  const file = join(dataDir, 'admin-token');
  const old = readFileSync(file, 'utf8').trim();
  const signIn = await fetch(`${url}/api/session`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ token: old }),
  });
  expect(signIn.status, await signIn.clone().text()).toBe(204);
  const cookie = signIn.headers.get('set-cookie')!.split(';')[0]!;
  const withCookie = async (): Promise<number> => (await fetch(`${url}/api/session`, { headers: { cookie } })).status;
  expect([await withCookie(), await status('/api/tokens', old)]).toEqual([200, 200]);

  const reset = await commandLine(['token', 'reset', '--data-dir', dataDir]);
  expect(reset).toMatchObject({ code: 0, out: '' });
  const fresh = readFileSync(file, 'utf8').trim();
  expect(fresh).not.toBe(old);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  await expect.poll(() => status('/api/tokens', old), { timeout: 5_000 }).toBe(401);
  expect([await withCookie(), await status('/api/tokens', fresh)]).toEqual([401, 200]);
  expect((await run('nodes', 'list')).code).toBe(0);
  expect((await commandLine(['token', 'reset', '--show', '--data-dir', dataDir])).out).toBe(readFileSync(file, 'utf8'));
});

describe('no collector to speak to', () => {
  test.each([
    ['nothing listens', 'http://127.0.0.1:1', /^No collector answers at http:\/\/127\.0\.0\.1:1: nothing listens there\. /, 1],
    ['no such host', 'http://nosuch.invalid:5000', /there is no such host|EAI_AGAIN/, 1],
    ['no address', 'collector:5000', /^--server "collector:5000" is not an address/, 2],
    ['no address at all', 'over there', /is not an address/, 2],
  ])('%s', async (_, server, sentence, code) => {
    const dataDir = temporaryDirectory();
    writeFileSync(join(dataDir, 'admin-token'), 'tmadm_x\n');
    const result = await commandLine(['nodes', 'list', '--server', server, '--data-dir', dataDir]);
    expect(result).toMatchObject({ code, out: '' });
    expect(result.err).toMatch(sentence);
    expect(result.err.trim().split('\n')).toHaveLength(1);
  });

  test('a credential that is not there, is not one, or is not right', async () => {
    const { url } = await world();
    const dataDir = temporaryDirectory();
    const run = (): Promise<CommandResult> => commandLine(['nodes', 'list', '--server', url, '--data-dir', dataDir]);
    expect((await run()).err).toMatch(/^The credential .*admin-token cannot be read: there is no such file\. Name /);
    writeFileSync(join(dataDir, 'admin-token'), 'one\ntwo\n');
    expect((await run()).err).toMatch(/does not hold a token/);
    writeFileSync(join(dataDir, 'admin-token'), '');
    expect((await run()).err).toMatch(/does not hold a token/);
    writeFileSync(join(dataDir, 'admin-token'), 'tmadm_of_another\n');
    const wrong = await run();
    expect(wrong).toMatchObject({ code: 1, out: '' });
    expect(wrong.err).toMatch(/^No node, program or person has this token here.*admin-token\) \[credential_unknown\]\n$/);
  });

  test.each([
    ['a page', 200, '<h1>It works!</h1>'],
    ['an error of its own', 404, '{"error":"no"}'],
    ['a redirection', 302, ''],
  ])('something else answers with %s', async (_, status, body) => {
    const server = createServer((_request, response) => response.writeHead(status, { location: 'http://127.0.0.1:1/' }).end(body));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void server.close());
    const dataDir = temporaryDirectory();
    writeFileSync(join(dataDir, 'admin-token'), 'tmadm_x\n');
    const { port } = server.address() as AddressInfo;
    const result = await commandLine(['nodes', 'list', '--server', `http://127.0.0.1:${port}`, '--data-dir', dataDir]);
    expect(result).toMatchObject({ code: 1, out: '' });
    expect(result.err).toMatch(/not a collector|not as a collector does/);
  });

  test('an address with a path of its own is kept', async () => {
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url!);
      response.end('{"nodes":[]}');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void server.close());
    const dataDir = temporaryDirectory();
    writeFileSync(join(dataDir, 'admin-token'), 'tmadm_x\n');
    const { port } = server.address() as AddressInfo;
    await commandLine(['nodes', 'list', '--server', `http://127.0.0.1:${port}/tidemark/`, '--data-dir', dataDir]);
    expect(asked).toEqual(['/tidemark/api/telemetry/nodes']);
  });
});

describe('migrate', () => {
  test('brings a database up to date, once', async () => {
    const { address, database } = await createTestDatabase();
    await database.query('DROP SCHEMA public CASCADE');
    await database.query('CREATE SCHEMA public');
    await database.close();
    const environment = { DATABASE_URL: urlOf(address) };
    expect(await commandLine(['migrate'], environment)).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^Applied: fleet-and-reports/) as string,
    });
    expect(await commandLine(['migrate'], environment)).toEqual({ code: 0, out: 'The database is up to date.\n', err: '' });
  });

  test('without a database there is nothing to do', async () => {
    expect(await commandLine(['migrate'])).toMatchObject({ code: 0, err: expect.stringContaining('No database is configured') as string });
  });
});

describe('the command line itself', () => {
  test.each([
    ['no command', []],
    ['an unknown command', ['start']],
    ['an unknown step', ['nodes', 'delete', 'x']],
    ['an unknown option', ['run', '--port', '5000']],
    ['an argument too many', ['run', 'now']],
    ['a name missing', ['nodes', 'add']],
    ['a value missing', ['run', '--listen']],
  ])('%s is answered with what there is, and 2', async (_, argv) => {
    const { code, out, err } = await commandLine(argv);
    expect([code, out]).toEqual([2, '']);
    expect(err).toMatch(/^error: .*\n[\s\S]*--help|^Usage: /);
  });

  test.each([
    [['--help']],
    [['run', '--help']],
    [['nodes', '--help']],
    [['nodes', 'add', '--help']],
    [['tokens', 'add', '--help']],
    [['help', 'migrate']],
  ])('%s', async (argv) => {
    const { code, out, err } = await commandLine(argv);
    expect([code, err]).toEqual([0, '']);
    expect(out).toMatch(/^Usage: tidemark-collector/);
  });

  test.each([
    ['run'],
    ['migrate'],
    ['config', 'check'],
    ['token', 'reset'],
    ['enroll'],
    ['enroll', 'list'],
    ['nodes', 'approve'],
    ['nodes', 'add'],
    ['nodes', 'list'],
    ['tokens', 'add'],
  ])('the help of %s %s ends with an example', async (...command) => {
    const { out } = await commandLine([...command, '--help']);
    expect(out).toMatch(/\nExamples?:\n( {2}.*tidemark-collector .*\n)+\n?$/);
    expect(out).toContain(`tidemark-collector ${command.join(' ')}`);
  });

  test('--version', async () => {
    expect(await commandLine(['--version'])).toEqual({ code: 0, out: '0.0.0\n', err: '' });
  });
});
