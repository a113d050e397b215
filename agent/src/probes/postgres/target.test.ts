/** From a configured URL to a name, an address and a login; and where passwords come from. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OperationalFailure } from '@tidemark/service';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { passwordIn, targetsOf, type PostgresConfig } from './target.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tidemark-target-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const target = (config: PostgresConfig, passFile = '/nonexistent') => targetsOf([config], passFile)[0]!;
const passwordOf = async (config: PostgresConfig, passFile?: string): Promise<string> => {
  const { password } = target(config, passFile).clientConfig();
  return typeof password === 'function' ? await password() : String(password);
};
function file(name: string, content: string, mode = 0o600): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

test('names, and where they come from', () => {
  expect(target({ url: 'postgres://monitor@db1:5433/app' })).toMatchObject({
    name: 'db1:5433',
    reached: { address: 'db1:5433', user: 'monitor', database: 'app' },
  });
  expect(target({ url: 'postgres://monitor@[::1]/app' }).name).toBe('[::1]:5432');
  expect(target({ url: 'postgres://monitor@db1/app', name: 'main "db" 😀' }).name).toBe('main "db" 😀');
  expect(target({ url: 'postgres://monitor@/app?host=/run/postgresql&port=5433' })).toMatchObject({
    name: 'localhost:5433',
    reached: { address: '/run/postgresql/.s.PGSQL.5433', user: 'monitor', database: 'app' },
  });
});

test('two servers of one name, and URLs that nobody can mean, are refused with a sentence that holds no password', () => {
  expect(() => targetsOf([{ url: 'postgres://a@db1/x' }, { url: 'postgres://b@db1:5432/y' }])).toThrow(
    /Two PostgreSQL servers are called "db1:5432"/,
  );
  for (const url of [
    'db1',
    'http://u:hunter2@db1/',
    'postgres://u:hunter2@db1:99999/x',
    '',
    'postgres://u:hunter2@db1/x?sslrootcert=/nonexistent',
  ]) {
    let thrown: unknown;
    try {
      target({ url });
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(OperationalFailure);
    expect(String(thrown)).not.toContain('hunter2');
  }
  expect(() => target({ url: 'postgres://db1/x', name: '' })).toThrow(OperationalFailure);
});

test('the session is bounded and only reads', () => {
  const { options, application_name, keepAlive } = target({ url: 'postgres://monitor@db1/app' }).clientConfig();
  expect(application_name).toBe('tidemark-agent');
  expect(keepAlive).toBe(true);
  for (const setting of [
    'statement_timeout=3s',
    'lock_timeout=250ms',
    'default_transaction_read_only=on',
    'search_path=pg_catalog',
    'jit=off',
  ])
    expect(options).toContain(`-c ${setting}`);
});

test('TLS as the URL says', () => {
  expect(target({ url: 'postgres://db1/x' }).clientConfig().ssl).toBe(false);
  expect(target({ url: 'postgres://db1/x?sslmode=no-verify' }).clientConfig().ssl).toEqual({ rejectUnauthorized: false });
  expect(target({ url: 'postgres://db1/x?sslmode=verify-full' }).clientConfig().ssl).toEqual({});
});

test('the password: of its file, of the URL, of the password file of PostgreSQL', async () => {
  const url = 'postgres://monitor:of%20url@db1:5433/app';
  const bare = 'postgres://monitor@db1:5433/app';
  const passFile = file('pgpass', '# comment\nother:*:*:*:wrong\ndb1:5433:*:monitor:of\\:list\n');
  expect(await passwordOf({ url }, passFile)).toBe('of url');
  expect(await passwordOf({ url, passwordFile: file('secret', 'of file\n') }, passFile)).toBe('of file');
  expect(await passwordOf({ url: bare }, passFile)).toBe('of:list');
  await expect(passwordOf({ url: bare }, file('pgpass-open', 'db1:*:*:*:x\n', 0o644))).rejects.toThrow(/chmod 600/);
  await expect(passwordOf({ url: bare })).rejects.toThrow(/asks for the password of role "monitor" and none is configured/);
  await expect(passwordOf({ url: bare, passwordFile: join(directory, 'missing') })).rejects.toThrow(/Cannot read the password .*ENOENT/);
  await expect(passwordOf({ url: bare, passwordFile: file('empty', '\n') })).rejects.toThrow(/is empty/);
});

test('lines of a password file', () => {
  const wanted = { hosts: ['/run/postgresql', 'localhost'], port: 5432, database: 'app', user: 'monitor' };
  expect(passwordIn('localhost:5432:app:monitor:yes', wanted)).toBe('yes');
  expect(passwordIn('/run/postgresql:*:*:*:yes', wanted)).toBe('yes');
  expect(passwordIn('*:*:*:*:back\\\\slash', wanted)).toBe('back\\slash');
  expect(passwordIn('*:5433:*:*:no\n*:*:other:*:no\n*:*:*:other:no\nshort:1\n', wanted)).toBeUndefined();
});
