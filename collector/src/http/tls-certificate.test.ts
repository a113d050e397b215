/** The certificates that the collector makes, judged by OpenSSL's strictest reading and by curl's and Node.js's own. */
import { execFileSync } from 'node:child_process';
import { X509Certificate, createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { authorityCertificate, leafCertificate, pinOf, type Issuer } from './tls-certificate.ts';

const YEAR_MS = 31_536_000_000;
const now = Date.now();

function issuer(name = 'Tidemark authority of db-1.example 0a1b2c3d'): Issuer {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { name, key: privateKey, publicKey };
}

function made(names: readonly string[], purpose?: 'server' | 'client') {
  const authority = issuer();
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const period = { notBeforeMs: now - YEAR_MS, serial: randomBytes(16) };
  const ca = authorityCertificate({ ...authority, ...period, notAfterMs: now + 30 * YEAR_MS });
  const leaf = leafCertificate({
    ...period,
    issuer: authority,
    publicKey,
    names,
    notAfterMs: now + YEAR_MS,
    ...(purpose === undefined ? {} : { purpose }),
  });
  return { ca, leaf, publicKey, authority };
}

/** What `openssl verify` says of it. */
function verified(ca: string, leaf: string, ...more: string[]): string {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-certificate-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  writeFileSync(join(directory, 'ca'), ca);
  writeFileSync(join(directory, 'leaf'), leaf);
  try {
    return execFileSync('openssl', ['verify', '-x509_strict', ...more, '-CAfile', join(directory, 'ca'), join(directory, 'leaf')], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  } catch (error) {
    return (error as { stderr: string }).stderr;
  }
}

test('OpenSSL accepts both by the letter of the standard, for their purpose and names alone', () => {
  const { ca, leaf } = made(['monitor.example', '*.site.example', '192.0.2.7', '2001:db8::7']);
  for (const name of ['monitor.example', 'a.site.example'])
    expect(verified(ca, leaf, '-purpose', 'sslserver', '-verify_hostname', name)).toMatch(/: OK\n$/);
  for (const address of ['192.0.2.7', '2001:db8::7']) expect(verified(ca, leaf, '-verify_ip', address)).toMatch(/: OK\n$/);
  expect(verified(ca, leaf, '-verify_hostname', 'other.example')).toContain('hostname mismatch');
  expect(verified(ca, leaf, '-verify_ip', '192.0.2.8')).toContain('IP address mismatch');
  expect(verified(ca, leaf, '-purpose', 'sslclient')).toContain('unsuitable certificate purpose');
  expect(verified(made(['other.example']).ca, leaf)).toContain('unable to get local issuer certificate');
});

test("a client's certificate is for clients", () => {
  const { ca, leaf } = made(['agent-1'], 'client');
  expect(verified(ca, leaf, '-purpose', 'sslclient')).toMatch(/: OK\n$/);
  expect(verified(ca, leaf, '-purpose', 'sslserver')).toContain('unsuitable certificate purpose');
});

test('what it signs is no authority in its turn', () => {
  const { ca, leaf, authority } = made(['monitor.example']);
  expect([new X509Certificate(ca).ca, new X509Certificate(leaf).ca]).toEqual([true, false]);
  const below = authorityCertificate({ ...issuer('below'), notBeforeMs: now, notAfterMs: now + YEAR_MS, serial: randomBytes(16) });
  expect(new X509Certificate(below).checkIssued(new X509Certificate(ca))).toBe(false);
  expect(new X509Certificate(leaf).verify(authority.publicKey)).toBe(true);
});

test('times on both sides of 2050, when their form changes, and to the second', () => {
  const authority = issuer();
  const read = (notBeforeMs: number, notAfterMs: number) => {
    const { validFrom, validTo } = new X509Certificate(
      authorityCertificate({ ...authority, notBeforeMs, notAfterMs, serial: randomBytes(16) }),
    );
    return [Date.parse(validFrom), Date.parse(validTo)];
  };
  const before = Date.UTC(2049, 11, 31, 23, 59, 59);
  expect(read(before, before + 1_000)).toEqual([before, before + 1_000]);
  expect(read(before + 999, before + 1_999)).toEqual([before, before + 1_000]);
});

test('serial numbers are positive and as long as their randomness, whatever it is', () => {
  for (const byte of [0x00, 0x01, 0x7f, 0x80, 0xff]) {
    const { serialNumber } = new X509Certificate(
      authorityCertificate({ ...issuer(), notBeforeMs: now, notAfterMs: now + YEAR_MS, serial: Buffer.alloc(16, byte) }),
    );
    expect(serialNumber).toMatch(/^(0[1-9A-F]|[1-7][0-9A-F])[0-9A-F]{30}$/);
  }
});

test('the pin is what curl takes: SHA-256 of the public key in its envelope', () => {
  const { leaf, publicKey } = made(['monitor.example']);
  const spki = execFileSync('openssl', ['pkey', '-pubin', '-outform', 'DER'], {
    input: execFileSync('openssl', ['x509', '-noout', '-pubkey'], { input: leaf }),
  });
  expect(pinOf(publicKey)).toBe(`sha256//${createHash('sha256').update(spki).digest('base64')}`);
});
