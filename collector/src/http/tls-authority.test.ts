/** The collector's own authority over the years: made once, never replaced by itself; its certificate renewed in time, for every name, by the same key. */
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, chmodSync, writeFileSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EXIT, ManualClock, OperationalFailure } from '@tidemark/service';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { SelfMadeCertificate, asciiName, certificateNames } from './tls-authority.ts';
import { TestAuthority } from './tls-testing.ts';

const DAY_MS = 86_400_000;
let clock: ManualClock;
let dataDir: string;
let names: string[];
let warned: string[];
let counter: number;
beforeEach(() => {
  clock = new ManualClock();
  dataDir = mkdtempSync(join(tmpdir(), 'tidemark-authority-'));
  names = ['monitor.example', 'db-1', 'localhost', '127.0.0.1', '::1'];
  warned = [];
  counter = 0;
  onTestFinished(() => rmSync(dataDir, { recursive: true, force: true }));
});

const open = (): SelfMadeCertificate =>
  new SelfMadeCertificate({
    dataDir,
    clock,
    random: (bytes) => Buffer.alloc(bytes, ++counter),
    names: () => names,
    hostname: 'db-1',
    log: { info: () => {}, warn: (_: unknown, text?: string) => void warned.push(String(text)) } as never,
  });
const pathOf = (name: string): string => join(dataDir, name);
const textOf = (name: string): string => readFileSync(pathOf(name), 'utf8');
const periodOf = ({ value }: SelfMadeCertificate): [number, number] => [
  (value.notBeforeMs - clock.wallMs()) / DAY_MS,
  (value.notAfterMs - clock.wallMs()) / DAY_MS,
];

function failureOf(action: () => unknown): OperationalFailure {
  try {
    action();
  } catch (error) {
    if (error instanceof OperationalFailure) return error;
    throw error;
  }
  throw new Error('it did not fail');
}

describe('at the first start', () => {
  test('everything is made: keys for nobody else, what is public for all', () => {
    const made = open();
    const modes = Object.fromEntries(readdirSync(dataDir).map((file) => [file, statSync(pathOf(file)).mode & 0o777]));
    expect(modes).toEqual({
      'tls-authority.pem': 0o644,
      'tls-authority-key.pem': 0o600,
      'tls-certificate.pem': 0o644,
      'tls-key.pem': 0o600,
    });
    expect(made.caPem).toBe(textOf('tls-authority.pem'));
    expect(made.fingerprint).toBe(new X509Certificate(made.caPem).fingerprint256.replaceAll(':', '').toLowerCase());
    expect(periodOf(made)).toEqual([-2, 90]);
    expect(Date.parse(new X509Certificate(made.caPem).validTo) - clock.wallMs()).toBe(3_650 * DAY_MS);
    for (const name of ['monitor.example', 'db-1', 'localhost']) expect(made.value.leaf.checkHost(name)).toBe(name);
    for (const address of ['127.0.0.1', '::1']) expect(made.value.leaf.checkIP(address)).toBe(address);
  });

  test('the authority goes along with the certificate, for those who know its fingerprint alone', () => {
    const { value, fingerprint } = open();
    const shown = value.cert.match(/-----BEGIN[^]*?-----END CERTIFICATE-----/g)!.map((pem) => new X509Certificate(pem));
    expect(shown).toHaveLength(2);
    expect(shown[0]!.checkIssued(shown[1]!)).toBe(true);
    expect(shown[1]!.fingerprint256.replaceAll(':', '').toLowerCase()).toBe(fingerprint);
  });

  test('a start that was cut off after the key goes on with that key', () => {
    open();
    const key = textOf('tls-authority-key.pem');
    for (const file of ['tls-authority.pem', 'tls-certificate.pem', 'tls-key.pem']) rmSync(pathOf(file));
    open();
    expect(textOf('tls-authority-key.pem')).toBe(key);
  });

  test('with a clock that cannot be right nothing is made that would have ended when it is', () => {
    clock.setWall(Date.UTC(2000, 0, 1));
    expect(failureOf(open).message).toContain("This machine's clock says 2000-01-01");
    expect(readdirSync(dataDir)).toEqual([]);
  });
});

describe('at the next start', () => {
  test('all is as it was', () => {
    const { fingerprint, value, pinnedKey } = open();
    clock.advance(DAY_MS);
    const again = open();
    expect([again.fingerprint, again.pinnedKey, again.value.cert]).toEqual([fingerprint, pinnedKey, value.cert]);
  });

  test('a collector that was off for a year shows a good certificate of the same key', () => {
    const { fingerprint, pinnedKey } = open();
    clock.advance(365 * DAY_MS);
    const again = open();
    expect(periodOf(again)).toEqual([-2, 90]);
    expect([again.fingerprint, again.pinnedKey]).toEqual([fingerprint, pinnedKey]);
  });

  test('a certificate that was damaged is made anew; so is a key, which is said', () => {
    const { pinnedKey } = open();
    writeFileSync(pathOf('tls-certificate.pem'), 'half a certif');
    expect(open().pinnedKey).toBe(pinnedKey);
    expect(warned).toEqual([]);
    writeFileSync(pathOf('tls-key.pem'), '');
    const other = open();
    expect(other.pinnedKey).not.toBe(pinnedKey);
    expect(other.value.leaf.checkPrivateKey(createPrivateKey(other.value.key))).toBe(true);
    expect(warned.join()).toContain('who has pinned it has to be told');
  });

  test('a certificate of another authority in its place is not shown', () => {
    const { value } = open();
    const key = textOf('tls-key.pem');
    writeFileSync(pathOf('tls-certificate.pem'), new TestAuthority().issue(names).cert);
    const again = open();
    expect(textOf('tls-key.pem')).toBe(key);
    expect(again.value.leaf.issuer).toBe(value.leaf.issuer);
  });

  test('keys that everybody may read after a restore are private again', () => {
    open();
    for (const file of ['tls-authority-key.pem', 'tls-key.pem']) chmodSync(pathOf(file), 0o644);
    open();
    for (const file of ['tls-authority-key.pem', 'tls-key.pem']) expect(statSync(pathOf(file)).mode & 0o777).toBe(0o600);
  });
});

describe('an authority that cannot be used is never replaced by itself', () => {
  test.each<[string, () => void, RegExp]>([
    ['its key is gone', () => rmSync(pathOf('tls-authority-key.pem')), /ENOENT/],
    ['its key is damaged', () => writeFileSync(pathOf('tls-authority-key.pem'), 'nothing'), /cannot be used/],
    ['its key is of another', () => writeFileSync(pathOf('tls-authority-key.pem'), new TestAuthority().caKeyPem), /is not its key/],
    ['it is damaged', () => writeFileSync(pathOf('tls-authority.pem'), 'nothing'), /cannot be used/],
  ])('%s', (_, harm, sentence) => {
    open();
    harm();
    const before = readdirSync(dataDir).map((file) => [file, textOf(file)]);
    const failure = failureOf(open);
    expect(failure.message).toMatch(sentence);
    expect(failure.message).toContain('Put both files back from a backup');
    expect(failure.exitCode).toBe(EXIT.dataDirectory);
    expect(readdirSync(dataDir).map((file) => [file, textOf(file)])).toEqual(before);
  });

  test('it has ended', () => {
    open();
    clock.advance(3_651 * DAY_MS);
    expect(failureOf(open).message).toMatch(/has ended on .* enrol every agent anew/);
  });

  test('moved away as the sentence says, another takes its place', () => {
    const { fingerprint } = open();
    for (const file of readdirSync(dataDir)) renameSync(pathOf(file), pathOf(`old-${file}`));
    expect(open().fingerprint).not.toBe(fingerprint);
  });
});

describe('while it runs', () => {
  test('it is renewed when a third of its time is left, for the same key, and kept', () => {
    const made = open();
    const { pinnedKey } = made;
    clock.advance(60 * DAY_MS - 1_000);
    expect(made.look()).toBe(false);
    const { serialNumber } = made.value.leaf;
    clock.advance(1_000);
    expect(made.look()).toBe(true);
    expect(periodOf(made)).toEqual([-2, 90]);
    expect(made.value.leaf.serialNumber).not.toBe(serialNumber);
    expect(made.pinnedKey).toBe(pinnedKey);
    expect(made.look()).toBe(false);
    expect(open().value.leaf.serialNumber).toBe(made.value.leaf.serialNumber);
  });

  test('for ten years there is always one that is good, and none outlives its authority', () => {
    const made = open();
    const authorityEndsMs = Date.parse(new X509Certificate(made.caPem).validTo);
    let renewals = 0;
    for (let day = 0; day < 3_649; day++) {
      clock.advance(DAY_MS);
      if (made.look()) renewals++;
      expect(made.value.notAfterMs).toBeGreaterThan(clock.wallMs());
      expect(made.value.notBeforeMs).toBeLessThan(clock.wallMs());
      expect(made.value.notAfterMs).toBeLessThanOrEqual(authorityEndsMs);
    }
    expect(renewals).toBe(60);
  });

  test('a clock that was set back or far ahead leaves no certificate that is not good', () => {
    const made = open();
    clock.setWall(clock.wallMs() - 30 * DAY_MS);
    expect(made.look()).toBe(true);
    expect(periodOf(made)).toEqual([-2, 90]);
    clock.setWall(clock.wallMs() + 1_000 * DAY_MS);
    expect(made.look()).toBe(true);
    clock.setWall(clock.wallMs() - 970 * DAY_MS);
    expect(made.look()).toBe(true);
    expect(periodOf(made)).toEqual([-2, 90]);
  });

  test('an address that this machine gets is taken in; one that it loses changes nothing, nor one that comes back', () => {
    const made = open();
    names = [...names, '192.0.2.9', '2001:DB8:0::9'];
    expect(made.look()).toBe(true);
    expect(made.value.leaf.checkIP('2001:db8::9')).toBe('2001:db8::9');
    expect(made.look()).toBe(false);
    names = names.slice(0, 3);
    expect(made.look()).toBe(false);
    names = [...names, '192.0.2.9'];
    expect(made.look()).toBe(false);
  });

  test('a data directory that cannot be written to does not keep it from being renewed', () => {
    const made = open();
    rmSync(dataDir, { recursive: true });
    clock.advance(61 * DAY_MS);
    expect(made.look()).toBe(true);
    expect(periodOf(made)).toEqual([-2, 90]);
    expect(warned.join()).toContain('cannot be kept');
  });
});

describe('names', () => {
  test.each<[string, string | undefined]>([
    ['Monitor.Example', 'monitor.example'],
    ['monitor.example.', 'monitor.example'],
    ['überwachung.example', 'xn--berwachung-8db.example'],
    ['*.example', '*.example'],
    ['a_b', 'a_b'],
    ['192.0.2.1', '192.0.2.1'],
    ['[2001:db8::1]', '2001:db8::1'],
    ['fe80::1%eth0', undefined],
    ['999.1.1.1', undefined],
    ['a b', undefined],
    ['-a.example', undefined],
    ['a..example', undefined],
    ['https://monitor.example', undefined],
    ['', undefined],
    ['a'.repeat(64), undefined],
    [`${'a.'.repeat(126)}aa`, undefined],
  ])('%s', (name, expected) => {
    expect(asciiName(name)).toBe(expected);
  });

  test('each once, whatever its spelling, and what can be none left out', () => {
    expect(certificateNames(['A.example', 'a.example', '::1', '0:0::1', 'my server', '10.0.0.1'])).toEqual([
      'a.example',
      '0:0::1',
      '10.0.0.1',
    ]);
  });

  test('a machine with thousands of addresses gets a certificate that a handshake can carry', () => {
    names = ['monitor.example', ...Array.from({ length: 5_000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`)];
    const made = open();
    expect(made.value.cert.length).toBeLessThan(8_000);
    expect(made.look(), 'those that found no place are not asked for again and again').toBe(false);
  });
});
