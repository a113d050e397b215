import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { Type } from 'typebox';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { EXIT, OperationalFailure } from './failure.ts';
import { addOptions, declareOptions, environmentOf, flagOf, loadOptions, printOptions, type OptionSources } from './options.ts';

const OPTIONS = declareOptions({
  server: { schema: Type.String({ pattern: '^https?://' }), description: 'address', value: 'url' },
  interval: { schema: Type.Number({ minimum: 1, maximum: 3600 }), description: 'seconds', value: 'seconds', default: 15 },
  tag: { schema: Type.Record(Type.String(), Type.String()), description: 'tags', value: 'key=value', pairs: true, default: {} },
  postgres: {
    schema: Type.Array(
      Type.Union([
        Type.String({ pattern: '^postgres://' }),
        Type.Object({ url: Type.String(), passwordFile: Type.Optional(Type.String()) }, { additionalProperties: false }),
      ]),
    ),
    description: 'servers',
    value: 'url',
    list: true,
    default: [],
    refuseAsFlag: (url) => (url.includes(':secret@') ? 'put the password into a file' : undefined),
  },
  verbose: { schema: Type.Boolean(), description: 'says more', default: false },
  databaseUrl: { schema: Type.String({ pattern: '^postgres://' }), description: 'database', flag: false, environment: ['DATABASE_URL'] },
  key: { schema: Type.String({ minLength: 20 }), description: 'a secret', value: 'key', secret: true },
  bounds: {
    schema: Type.Object({ low: Type.Number(), high: Type.Number() }, { additionalProperties: false }),
    description: 'two numbers',
    flag: false,
  },
});

let directory: string;
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'tidemark-options-'))));
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function fileOf(text: string): string {
  const path = join(directory, 'agent.yaml');
  writeFileSync(path, text);
  return path;
}

/** As a program does it: through commander. */
function load(sources: { argv?: string[]; environment?: OptionSources['environment']; file?: string; defaultFile?: string }) {
  const command = addOptions(new Command().exitOverride(), OPTIONS);
  const config = sources.file === undefined ? [] : ['--config', fileOf(sources.file)];
  command.parse([...(sources.argv ?? []), ...config], { from: 'user' });
  return loadOptions('tidemark-test', OPTIONS, {
    flags: command.opts(),
    environment: sources.environment ?? {},
    ...(sources.defaultFile === undefined ? {} : { defaultFile: sources.defaultFile }),
  });
}

function failureOf(action: () => unknown): string {
  let thrown: unknown;
  try {
    action();
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(OperationalFailure);
  const failure = thrown as OperationalFailure;
  expect(failure.exitCode).toBe(EXIT.configuration);
  return failure.message;
}

describe('names', () => {
  test('flag and variable follow from the key', () => {
    expect(flagOf('tokenFile')).toBe('--token-file');
    expect(environmentOf('tokenFile')).toBe('TIDEMARK_TOKEN_FILE');
  });
});

describe('precedence', () => {
  const file = 'interval: 30\nserver: http://file\n';
  const environment = { TIDEMARK_INTERVAL: '40', TIDEMARK_SERVER: 'http://environment' };

  test('the default when nobody says anything', () => {
    const { values, sources } = load({});
    expect(values.interval).toBe(15);
    expect(values.server).toBeUndefined();
    expect(sources['interval']).toBe('default');
  });
  test('the file over the default', () => {
    const { values, sources } = load({ file });
    expect(values.interval).toBe(30);
    expect(sources['interval']).toMatch(/agent\.yaml:1$/);
    expect(sources['server']).toMatch(/agent\.yaml:2$/);
  });
  test('the environment over the file', () => {
    const { values, sources } = load({ file, environment });
    expect(values).toMatchObject({ interval: 40, server: 'http://environment' });
    expect(sources['interval']).toBe('TIDEMARK_INTERVAL');
  });
  test('the flag over all', () => {
    const { values, sources } = load({ argv: ['--interval', '50'], file, environment });
    expect(values).toMatchObject({ interval: 50, server: 'http://environment' });
    expect(sources['interval']).toBe('--interval');
  });
  test('an empty variable is as good as none, a further name comes after the own one', () => {
    expect(load({ environment: { TIDEMARK_INTERVAL: '' } }).values.interval).toBe(15);
    expect(load({ environment: { DATABASE_URL: 'postgres://b' } }).values.databaseUrl).toBe('postgres://b');
    expect(load({ environment: { DATABASE_URL: 'postgres://b', TIDEMARK_DATABASE_URL: 'postgres://a' } }).values.databaseUrl).toBe(
      'postgres://a',
    );
  });
});

describe('forms', () => {
  test('lists: repeated flags, blanks or commas in the environment, one or many in the file', () => {
    expect(load({ argv: ['--postgres', 'postgres://a', '--postgres', 'postgres://b'] }).values.postgres).toEqual([
      'postgres://a',
      'postgres://b',
    ]);
    expect(load({ environment: { TIDEMARK_POSTGRES: 'postgres://a, postgres://b' } }).values.postgres).toEqual([
      'postgres://a',
      'postgres://b',
    ]);
    expect(load({ file: 'postgres: postgres://a\n' }).values.postgres).toEqual(['postgres://a']);
    expect(load({ file: 'postgres:\n  - url: postgres://a\n    passwordFile: /p\n  - postgres://b\n' }).values.postgres).toEqual([
      { url: 'postgres://a', passwordFile: '/p' },
      'postgres://b',
    ]);
  });
  test('pairs: flags, environment, a map in the file whose numbers are text', () => {
    expect(load({ argv: ['--tag', 'role=db', '--tag', 'note=a=b'] }).values.tag).toEqual({ role: 'db', note: 'a=b' });
    expect(load({ environment: { TIDEMARK_TAG: 'role=db rack=12' } }).values.tag).toEqual({ role: 'db', rack: '12' });
    expect(load({ file: 'tag: {role: db, rack: 12, spare: true}\n' }).values.tag).toEqual({ role: 'db', rack: '12', spare: 'true' });
    const odd = load({ argv: ['--tag', '__proto__=x'] }).values.tag;
    expect(Object.keys(odd)).toEqual(['__proto__']);
    expect(failureOf(() => load({ argv: ['--tag', 'role'] }))).toContain('--tag: ');
  });
  test('switches', () => {
    expect(load({ argv: ['--verbose'] }).values.verbose).toBe(true);
    expect(load({ environment: { TIDEMARK_VERBOSE: 'yes' } }).values.verbose).toBe(true);
    expect(load({ environment: { TIDEMARK_VERBOSE: 'off' } }).values.verbose).toBe(false);
    expect(failureOf(() => load({ environment: { TIDEMARK_VERBOSE: 'perhaps' } }))).toContain(
      'TIDEMARK_VERBOSE: verbose: must be boolean (got "perhaps")',
    );
  });
  test('a number must be one', () => {
    expect(failureOf(() => load({ argv: ['--interval', 'soon'] }))).toContain('--interval: must be number (got "soon")');
    expect(failureOf(() => load({ argv: ['--interval', ''] }))).toContain('--interval: must be number');
  });
});

describe('the file', () => {
  test('named but missing is a mistake, the usual one may be missing', () => {
    expect(load({ defaultFile: join(directory, 'none.yaml') }).file).toBeUndefined();
    const named = () => loadOptions('tidemark-test', OPTIONS, { flags: { config: join(directory, 'none.yaml') }, environment: {} });
    expect(failureOf(named)).toContain('none.yaml: cannot be read (ENOENT)');
    const byVariable = () =>
      loadOptions('tidemark-test', OPTIONS, { flags: {}, environment: { TIDEMARK_CONFIG: join(directory, 'none.yaml') } });
    expect(failureOf(byVariable)).toContain('none.yaml: cannot be read (ENOENT)');
  });
  test('the usual one is read', () => {
    expect(load({ defaultFile: fileOf('interval: 20\n') }).values.interval).toBe(20);
  });
  test('empty, or only comments, is fine; an option left empty is as good as left out', () => {
    expect(load({ file: '' }).values.interval).toBe(15);
    expect(load({ file: '# nothing\n' }).values.interval).toBe(15);
    expect(load({ file: 'interval:\nserver: http://x\n' }).values).toMatchObject({ interval: 15, server: 'http://x' });
  });
  test('what is no YAML is said with its line', () => {
    expect(failureOf(() => load({ file: 'interval: 15\nserver: "http://x\n' }))).toMatch(/agent\.yaml:[23]: /);
    expect(failureOf(() => load({ file: 'interval: 15\ninterval: 16\n' }))).toMatch(/agent\.yaml:2: /);
    expect(failureOf(() => load({ file: '- interval\n' }))).toContain('agent.yaml:1: the file must hold "option: value" lines');
  });
  test('an option that is not offered as a flag works in the file', () => {
    expect(load({ file: 'databaseUrl: postgres://x\n' }).values.databaseUrl).toBe('postgres://x');
  });
  test.each([
    ['intervall', 'interval'],
    ['database-url', 'databaseUrl'],
    ['DATABASE_URL', 'databaseUrl'],
    ['sever', 'server'],
  ])('%s is unknown: did you mean %s?', (written, meant) => {
    expect(failureOf(() => load({ file: `verbose: true\n${written}: 3\n` }))).toContain(
      `agent.yaml:2: ${written}: there is no such option; did you mean ${meant}?`,
    );
  });
  test('nothing is suggested for what resembles nothing', () => {
    expect(failureOf(() => load({ file: 'colour: red\n' }))).toMatch(/colour: there is no such option$/m);
    expect(failureOf(() => load({ file: '__proto__: {interval: 3}\n' }))).toContain('__proto__: there is no such option');
  });
});

describe('mistakes', () => {
  test('every one at once, each with where it stands', () => {
    const file = [
      'server: ftp://x',
      'interval: 0',
      'colour: red',
      'postgres:',
      '  - postgres://fine',
      '  - mysql://wrong',
      'bounds:',
      '  low: x',
      '  hihg: 3',
    ].join('\n');
    const text = failureOf(() => load({ file, argv: ['--key', 'short'], environment: { TIDEMARK_VERBOSE: 'maybe' } }));
    const at = join(directory, 'agent.yaml');
    expect(text).toMatch(/^\d+ mistakes in the configuration:\n/);
    expect(text).toContain(`${at}:1: server: must match pattern`);
    expect(text).toContain(`${at}:2: interval: must be >= 1 (got 0)`);
    expect(text).toContain(`${at}:3: colour: there is no such option`);
    expect(text).toContain(`${at}:6: postgres: item 2 `);
    expect(text).toContain('(got "mysql://wrong")');
    expect(text).toContain(`${at}:8: bounds: low: must be number`);
    expect(text).toContain('--key: ');
    expect(text).toContain('TIDEMARK_VERBOSE: verbose: ');
    expect(text).toContain('See tidemark-test --help.');
    expect(text.split('\n').filter((line) => line.startsWith('  ')).length).toBe(Number(/^\d+/.exec(text)![0]));
  });
  test('one mistake is called one', () => {
    expect(failureOf(() => load({ argv: ['--interval', '4000'] }))).toBe(
      'one mistake in the configuration:\n  --interval: must be <= 3600 (got 4000)\nSee tidemark-test --help.',
    );
  });
  test('a value that may not stand on a command line is refused there and nowhere else', () => {
    const url = 'postgres://user:secret@host/db';
    const text = failureOf(() => load({ argv: ['--postgres', url] }));
    expect(text).toContain('--postgres: put the password into a file');
    expect(text).not.toContain('secret');
    expect(load({ file: `postgres: [${url}]\n` }).values.postgres).toEqual([url]);
    expect(load({ environment: { TIDEMARK_POSTGRES: url } }).values.postgres).toEqual([url]);
  });
  test('secrets and passwords are not repeated', () => {
    expect(failureOf(() => load({ argv: ['--key', 'hunter2'] }))).not.toContain('hunter2');
    expect(failureOf(() => load({ file: 'postgres: ["mysql://user:hunter2@host/db?password=hunter2"]\n' }))).not.toContain('hunter2');
  });
});

test('the configuration in force is printed without secrets', () => {
  const loaded = load({ argv: ['--key', 'x'.repeat(30)], file: 'interval: 30\npostgres: ["postgres://u:hunter2@h/d"]\n' });
  const printed = printOptions(OPTIONS, loaded);
  expect(printed).toMatch(/^interval +30 +.*agent\.yaml:1$/m);
  expect(printed).toMatch(/^server +\(not set\) +default$/m);
  expect(printed).toMatch(/^key +\(secret\) +--key$/m);
  expect(printed).toContain('postgres://u:***@h/d');
  expect(printed).not.toContain('hunter2');
});

test('the help names every flag, its value and its default', () => {
  const help = addOptions(new Command(), OPTIONS).helpInformation();
  expect(help).toContain('--interval <seconds>');
  expect(help).toMatch(/seconds \(default 15\)/);
  expect(help).toContain('--verbose ');
  expect(help).toContain('--config <file>');
  expect(help).not.toContain('--database-url');
});
