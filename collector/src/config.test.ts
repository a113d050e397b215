/** The collector's options: what is taken, what is refused with which sentence, and that no password is shown or taken from a command line. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EXIT, OperationalFailure, loadOptions, printOptions, type LoadedOptions } from '@tidemark/service';
import { describe, expect, onTestFinished, test } from 'vitest';
import { collectorOptions, localUrl, parseListen, type CollectorConfig } from './config.ts';

interface Sources {
  flags?: Record<string, string>;
  environment?: Record<string, string>;
  file?: string;
}

let path = '';
function load({ flags = {}, environment = {}, file }: Sources): LoadedOptions<CollectorConfig> {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-config-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  path = join(directory, 'collector.yaml');
  if (file !== undefined) writeFileSync(path, file);
  return loadOptions('tidemark-collector', collectorOptions, { flags, environment, defaultFile: path });
}

/** The lines of the refusal, or none. */
function mistakes(sources: Sources): string[] {
  try {
    load(sources);
    return [];
  } catch (error) {
    if (!(error instanceof OperationalFailure) || error.exitCode !== EXIT.configuration) throw error;
    const lines = error.message.split('\n').slice(1, -1);
    return lines.map((line) => line.trim().replace(path, 'FILE'));
  }
}

describe('listen', () => {
  test.each([
    ['0.0.0.0:5000', { host: '0.0.0.0', port: 5000 }, 'http://127.0.0.1:5000'],
    [':5055', { host: '0.0.0.0', port: 5055 }, 'http://127.0.0.1:5055'],
    ['5055', { host: '0.0.0.0', port: 5055 }, 'http://127.0.0.1:5055'],
    ['localhost:0', { host: 'localhost', port: 0 }, 'http://localhost:0'],
    ['monitor.example:65535', { host: 'monitor.example', port: 65_535 }, 'http://monitor.example:65535'],
    ['[::]:5000', { host: '::', port: 5000 }, 'http://[::1]:5000'],
    ['[fe80::1]:5000', { host: 'fe80::1', port: 5000 }, 'http://[fe80::1]:5000'],
  ])('%s', (text, address, url) => {
    expect(parseListen(load({ flags: { listen: text } }).values.listen)).toEqual(address);
    expect(localUrl(address, false)).toBe(url);
    expect(localUrl(address, true)).toBe(url.replace('http:', 'https:'));
  });

  test('a port in a file is a number', () => {
    expect(parseListen(load({ file: 'listen: 5055\n' }).values.listen)).toEqual({ host: '0.0.0.0', port: 5055 });
  });

  test.each([
    '',
    'x',
    'localhost',
    '127.0.0.1:',
    '127.0.0.1:65536',
    '::1:5000',
    '[1:2]:80',
    '[127.0.0.1]:80',
    'a b:80',
    'http://x:80',
    '-1',
    '0.0.0.0:5000 ',
  ])('"%s" is none', (listen) => {
    expect(mistakes({ flags: { listen } })).toEqual([
      `--listen: must be host:port, :port or a port, for example 0.0.0.0:5000 (got ${JSON.stringify(listen)})`,
    ]);
  });
});

describe('publicUrl', () => {
  test.each(['http://monitor', 'https://monitor.example:8443/tidemark', 'http://[::1]:5000/'])('%s', (publicUrl) => {
    expect(load({ flags: { publicUrl } }).values.publicUrl).toBe(publicUrl);
  });
  test.each([
    'monitor.example',
    'ftp://monitor',
    'http://',
    'http://user@monitor',
    'http://a:99999',
    'http://[::::]',
    'http://x?y',
    'http://x#y',
    'http://a b',
  ])('"%s" is none', (publicUrl) => {
    expect(mistakes({ flags: { publicUrl } })[0]).toMatch(/^--public-url: must be an http:\/\/ or https:\/\/ address/);
  });
});

describe('databaseUrl', () => {
  test.each([
    'postgresql://u:p@h/d',
    'postgres://u:p%40x@h:5432/d',
    'postgresql://u:p@ss@h/d',
    'postgresql://u:p/w@h/d',
    'postgresql://u:p#w@h/d',
    'postgresql://u@h/d?password=p',
    'postgresql://h/d?user=u&PASSWORD=p',
    'postgresql://u@h/d?sslpassword=p',
  ])('%s is refused as a flag, and not repeated', (databaseUrl) => {
    expect(mistakes({ flags: { databaseUrl } })).toEqual([
      expect.stringMatching(/^--database-url: a password on a command line can be read by every user/),
    ]);
    expect(load({ environment: { DATABASE_URL: databaseUrl } }).values.databaseUrl).toBe(databaseUrl);
  });

  test.each([
    'postgresql://u@h:5432/d',
    'postgresql:///d?host=/run/postgresql',
    'postgresql://h:5432/d?user=u@azure',
    'postgresql://u@h/d?application_name=a:b@c',
  ])('%s has none and may be a flag', (databaseUrl) => {
    expect(load({ flags: { databaseUrl } }).values.databaseUrl).toBe(databaseUrl);
  });

  test('is taken from the first place that names it, and never shown', () => {
    const own = 'postgresql://u:secret@own/d';
    const sources = {
      environment: { TIDEMARK_DATABASE_URL: own, DATABASE_URL: 'postgresql://u:secret@usual/d' },
      file: 'databaseUrl: postgresql://u:secret@file/d\n',
    };
    const loaded = load(sources);
    expect(loaded.values.databaseUrl).toBe(own);
    expect(load({ ...sources, environment: {} }).values.databaseUrl).toBe('postgresql://u:secret@file/d');
    const printed = printOptions(collectorOptions, loaded);
    expect(printed).toMatch(/^databaseUrl +\(secret\) +TIDEMARK_DATABASE_URL$/m);
    expect(printed).not.toContain('secret@');
    expect(mistakes({ environment: { DATABASE_URL: 'mysql://u:secret@h/d' } })).toEqual([
      'DATABASE_URL: databaseUrl: must be a postgresql:// address',
    ]);
  });
});

describe('tls', () => {
  test.each<[string, string[]]>([
    ['tls: files\n', ['FILE:1: tls: files needs a certificate and its key; tlsCert and tlsKey are not set']],
    ['tls: files\ntlsCert: /c\n', ['FILE:1: tls: files needs a certificate and its key; tlsKey is not set']],
    ['tlsCert: /c\n', ['FILE:1: tlsCert: does nothing with tls: off; set tls: files, or leave this out']],
    [
      'tls: self-made\ntlsCert: /c\ntlsKey: /k\n',
      [
        'FILE:2: tlsCert: does nothing with tls: self-made; set tls: files, or leave this out',
        'FILE:3: tlsKey: does nothing with tls: self-made; set tls: files, or leave this out',
      ],
    ],
    ['tlsClientCa: /ca\n', ['FILE:1: tlsClientCa: does nothing with tls: off; set tls: files or tls: self-made, or leave this out']],
    [
      'tls: files\ntlsCert: /c\ntlsKey: /k\ntlsNames: [a.example]\n',
      ['FILE:4: tlsNames: does nothing with tls: files; set tls: self-made, or leave this out'],
    ],
    ['tls: on\n', ['FILE:1: tls: must be off, files or self-made (got "on")']],
    [
      'tls: self-made\ntlsNames: [a.example, "a b"]\n',
      ['FILE:2: tlsNames: item 2 must be a host name or an address, for example monitor.example (got "a b")'],
    ],
  ])('%j is told what is wrong with it', (file, expected) => {
    expect(mistakes({ file })).toEqual(expected);
  });

  test.each([
    'tls: self-made\n',
    'tls: files\ntlsCert: /c\ntlsKey: /k\ntlsClientCa: /ca\n',
    'tls: self-made\ntlsNames: ["*.example", "10.0.0.1", "::1"]\n',
    'tls: off\n',
  ])('%j is right', (file) => {
    expect(load({ file }).values.tls).toMatch(/^(off|files|self-made)$/);
  });
});

test('every mistake at once, with its place', () => {
  expect(
    mistakes({
      flags: { listen: 'x' },
      environment: { TIDEMARK_RAW_DAYS: '0', TIDEMARK_LOG_FORMAT: 'xml' },
      file: 'logLevel: loud\n\nobservationDays: many\nrawdays: 3\n',
    }).toSorted(),
  ).toEqual([
    '--listen: must be host:port, :port or a port, for example 0.0.0.0:5000 (got "x")',
    'FILE:1: logLevel: must be one of trace, debug, info, warn, error, silent (got "loud")',
    'FILE:3: observationDays: must be a whole number of days from 1 to 3650 (got "many")',
    'FILE:4: rawdays: there is no such option; did you mean rawDays?',
    'TIDEMARK_LOG_FORMAT: logFormat: must be auto, json or text (got "xml")',
    'TIDEMARK_RAW_DAYS: rawDays: must be a whole number of days from 1 to 3650 (got 0)',
  ]);
});
