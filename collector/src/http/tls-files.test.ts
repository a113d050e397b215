/** An operator's certificates: each mistake is one sentence that names the file; a renewal is taken up when it is whole, and never before. */
import { createPrivateKey } from 'node:crypto';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync, chmodSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EXIT, OperationalFailure } from '@tidemark/service';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { WatchedFiles, isReadableByAll, readClientAuthorities, readServerCertificate } from './tls-files.ts';
import { TestAuthority } from './tls-testing.ts';

const DAY_MS = 86_400_000;
const authority = new TestAuthority('Company CA');
const good = authority.issue(['monitor.example']);
const other = authority.issue(['other.example']);
const now = Date.now();

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tidemark-tls-files-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
});

const pathOf = (name: string): string => join(directory, name);
function write(name: string, text: string): string {
  writeFileSync(pathOf(name), text);
  return pathOf(name);
}
/** As certificate managers do it: a new file takes the old one's name. */
function replace(name: string, text: string): void {
  renameSync(write(`${name}.new`, text), pathOf(name));
}

function sentenceOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (!(error instanceof OperationalFailure)) throw error;
    expect(error.exitCode).toBe(EXIT.configuration);
    expect(error.message).not.toMatch(/\n|PRIVATE KEY-----\nM/);
    return error.message;
  }
  throw new Error('it was accepted');
}

describe("a server's certificate", () => {
  const read = (cert: string, key: string, nowMs = now) =>
    readServerCertificate({ cert: write('cert.pem', cert), key: write('key.pem', key) }, nowMs);

  test('a chain, with words between its parts, in the line ends of any system', () => {
    const chain = `Bag Attributes\n${good.cert}\nissuer=Company\n${authority.caPem}`;
    expect(read(chain, good.key).leaf.subjectAltName).toBe('DNS:monitor.example');
    expect(read(chain.replaceAll('\n', '\r\n'), good.key.replaceAll('\n', '\r\n')).leaf.subjectAltName).toBe('DNS:monitor.example');
  });

  test('certificate and key in one file', () => {
    const file = write('both.pem', `${good.key}${good.cert}`);
    expect(readServerCertificate({ cert: file, key: file }, now).leaf.subjectAltName).toBe('DNS:monitor.example');
  });

  const encrypted = createPrivateKey(good.key).export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' }).toString();
  test.each<[string, string, string, RegExp, number?]>([
    [
      'a key of another certificate',
      good.cert,
      other.key,
      /^tlsKey: the key in .*key\.pem does not belong to the certificate in .*cert\.pem \(.*monitor\.example\)\.$/,
    ],
    [
      'the chain upside down',
      authority.caPem + good.cert,
      good.key,
      /^tlsCert: in .*cert\.pem the server's own certificate has to come first/,
    ],
    [
      'expired',
      good.cert,
      good.key,
      /^tlsCert: .* \(.*monitor\.example\) has expired on .* UTC: put a renewed one there\.$/,
      now + 2 * DAY_MS,
    ],
    ['not good yet', good.cert, good.key, /is good only from .* is this machine's clock right\?$/, now - 2 * DAY_MS],
    ['an encrypted key', good.cert, encrypted, /^tlsKey: the key in .*key\.pem is encrypted, .*openssl pkey -in /],
    ['no certificate', 'hello', good.key, /^tlsCert: .*cert\.pem holds no certificate as PEM/],
    ['an empty file', '', good.key, /^tlsCert: .*cert\.pem holds no certificate as PEM/],
    ['files the wrong way round', good.key, good.cert, /^tlsCert: .*cert\.pem holds no certificate as PEM/],
    ['no key', good.cert, good.cert, /^tlsKey: .*key\.pem holds no private key as PEM/],
    ['half a certificate', good.cert.slice(0, 300), good.key, /^tlsCert: .*cert\.pem holds no certificate as PEM/],
    ['a damaged certificate', good.cert.replace(/\n.{64}\n/, '\n'), good.key, /^tlsCert: a certificate in .*cert\.pem is damaged: /],
    ['a damaged key', good.cert, good.key.replace(/\n.{30}/, '\n'), /^tlsKey: the key in .*key\.pem is damaged: /],
  ])('%s', (_, cert, key, sentence, nowMs = now) => {
    const said = sentenceOf(() => read(cert, key, nowMs));
    expect(said).toMatch(sentence);
    for (const line of good.key.split('\n').slice(1, -2)) expect(said).not.toContain(line);
  });

  test('files that cannot be read', () => {
    mkdirSync(pathOf('directory'));
    const cert = write('cert.pem', good.cert);
    expect(sentenceOf(() => readServerCertificate({ cert: pathOf('none'), key: cert }, now))).toMatch(
      /^tlsCert: .*none cannot be read: there is no such file\.$/,
    );
    expect(sentenceOf(() => readServerCertificate({ cert, key: pathOf('none') }, now))).toMatch(
      /^tlsKey: .*none cannot be read: there is no such file\.$/,
    );
    expect(sentenceOf(() => readServerCertificate({ cert: pathOf('directory'), key: cert }, now))).toMatch(/it is a directory\.$/);
  });

  test.skipIf(process.platform === 'win32')('a key that everybody may read is noticed', () => {
    const key = write('key.pem', good.key);
    chmodSync(key, 0o644);
    expect(isReadableByAll(key)).toBe(true);
    chmodSync(key, 0o640);
    expect(isReadableByAll(key)).toBe(false);
    expect(isReadableByAll(pathOf('none'))).toBe(false);
  });
});

describe('authorities for clients', () => {
  test('several in a file; one that has expired among others is no harm', () => {
    const old = new TestAuthority('Old CA', { notBeforeMs: now - 9 * DAY_MS, notAfterMs: now - DAY_MS });
    const both = write('ca.pem', authority.caPem + old.caPem);
    expect(readClientAuthorities(both, now)).toContain(old.caPem);
    expect(sentenceOf(() => readClientAuthorities(write('ca.pem', old.caPem), now))).toMatch(
      /every authority .* has expired; no agent could report\.$/,
    );
  });

  test('what is none is said', () => {
    expect(sentenceOf(() => readClientAuthorities(write('ca.pem', good.cert), now))).toMatch(
      /monitor\.example.* is not the certificate of an authority/,
    );
    expect(sentenceOf(() => readClientAuthorities(write('ca.pem', 'hello'), now))).toMatch(/^tlsClientCa: .* holds no certificate as PEM/);
    expect(sentenceOf(() => readClientAuthorities(pathOf('none'), now))).toMatch(/^tlsClientCa: .* there is no such file/);
  });
});

describe('files that are watched', () => {
  function watched(): WatchedFiles<string> {
    const files = { cert: pathOf('cert.pem'), key: pathOf('key.pem') };
    return new WatchedFiles([files.cert, files.key], () => readServerCertificate(files, now).leaf.subjectAltName!);
  }
  /** Looks until nothing moves any more; how often something was taken up. */
  const settle = (files: WatchedFiles<string>): number => [files.look(), files.look(), files.look()].filter(Boolean).length;
  beforeEach(() => {
    write('cert.pem', good.cert);
    write('key.pem', good.key);
  });

  test('while nothing changes nothing is read', () => {
    let read = 0;
    const files = new WatchedFiles([pathOf('cert.pem')], () => ++read);
    expect(settle(files as never)).toBe(0);
    expect(read).toBe(1);
  });

  test('a renewal by renames is taken up once, when both are there', () => {
    const files = watched();
    replace('cert.pem', other.cert);
    expect([files.look(), files.value]).toEqual([false, 'DNS:monitor.example']);
    replace('key.pem', other.key);
    expect(settle(files)).toBe(1);
    expect([files.value, files.trouble]).toEqual(['DNS:other.example', undefined]);
    expect(settle(files)).toBe(0);
  });

  test('one that comes slowly is waited for: what does not fit is never shown, and is said meanwhile', () => {
    const files = watched();
    replace('cert.pem', other.cert);
    expect(settle(files)).toBe(0);
    expect(files.value).toBe('DNS:monitor.example');
    expect(files.trouble).toMatch(/does not belong to the certificate/);
    replace('key.pem', other.key);
    expect(settle(files)).toBe(1);
    expect([files.value, files.trouble]).toEqual(['DNS:other.example', undefined]);
  });

  test('a file that is still being written is not read', () => {
    const files = watched();
    for (let cut = 100; cut < other.cert.length; cut += 200) {
      write('cert.pem', other.cert.slice(0, cut));
      expect(files.look()).toBe(false);
      expect(files.trouble).toBe(undefined);
    }
    write('cert.pem', other.cert);
    write('key.pem', other.key);
    expect(settle(files)).toBe(1);
  });

  test('links that are turned to a new directory, as certificate managers and clusters do', () => {
    for (const [name, { cert, key }] of Object.entries({ one: good, two: other })) {
      mkdirSync(pathOf(name));
      write(join(name, 'cert.pem'), cert);
      write(join(name, 'key.pem'), key);
      // The same size and times: only the inode tells them apart.
      for (const file of ['cert.pem', 'key.pem']) utimesSync(pathOf(join(name, file)), 1_000, 1_000);
    }
    symlinkSync('one', pathOf('now'));
    const paths = { cert: pathOf('now/cert.pem'), key: pathOf('now/key.pem') };
    const files = new WatchedFiles([paths.cert, paths.key], () => readServerCertificate(paths, now).leaf.subjectAltName!);
    symlinkSync('two', pathOf('next'));
    renameSync(pathOf('next'), pathOf('now'));
    expect(settle(files)).toBe(1);
    expect(files.value).toBe('DNS:other.example');
  });

  test('files that vanish change nothing but what is said; put back, nothing is said', () => {
    const files = watched();
    renameSync(pathOf('key.pem'), pathOf('away'));
    expect(settle(files)).toBe(0);
    expect([files.value, files.trouble]).toEqual(['DNS:monitor.example', expect.stringContaining('there is no such file')]);
    renameSync(pathOf('away'), pathOf('key.pem'));
    settle(files);
    expect(files.trouble).toBe(undefined);
  });

  test('what could not be read is tried again at each look, though nothing changes', () => {
    let refuses = false;
    const files = new WatchedFiles([pathOf('cert.pem')], () => {
      if (refuses) throw new OperationalFailure('may not be read');
      return 'read';
    });
    refuses = true;
    replace('cert.pem', other.cert);
    expect([settle(files), files.trouble]).toEqual([0, 'may not be read']);
    refuses = false;
    expect([settle(files), files.trouble]).toEqual([1, undefined]);
  });
});
