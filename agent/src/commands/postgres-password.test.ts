/** The verifier as RFC 7677 has it, and files that will not do. */
import { createHmac } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { makePassword, readPassword, scramVerifier } from './postgres-password.ts';

const directory = mkdtempSync(join(tmpdir(), 'tidemark-password-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

test("the verifier signs what the RFC's example signs", () => {
  const verifier = scramVerifier('pencil', Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64'));
  expect(verifier).toMatch(/^SCRAM-SHA-256\$4096:W22ZaJ0SNY7soEsUEjb6gQ==\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$/);
  const nonce = 'rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0';
  const authMessage = `n=user,r=rOprNGfwEbeRWgbNEkqO,r=${nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=${nonce}`;
  const serverKey = Buffer.from(verifier.split(':').at(-1)!, 'base64');
  expect(createHmac('sha256', serverKey).update(authMessage).digest('base64')).toBe('6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=');
  expect(scramVerifier('pencil')).not.toBe(scramVerifier('pencil'));
});

test('a password is made once, for its owner alone', () => {
  const file = join(directory, 'new');
  const password = makePassword(file);
  expect(password).toMatch(/^[\w-]{32}$/);
  expect(readFileSync(file, 'utf8')).toBe(`${password}\n`);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readPassword(file, 'linux')).toBe(password);
  expect(() => makePassword(file)).toThrow('EEXIST');
  expect(() => makePassword(join(directory, 'no/such'))).toThrow('ENOENT');
});

test('files that will not do', () => {
  const file = join(directory, 'other');
  const hold = (text: string): string => {
    writeFileSync(file, text, { mode: 0o600 });
    return file;
  };
  expect(readPassword(join(directory, 'absent'), 'linux')).toBeUndefined();
  expect(readPassword(hold('one line\r\nanother'), 'linux')).toBe('one line');
  expect(() => readPassword(hold('\n'), 'linux')).toThrow('is empty');
  expect(() => readPassword(hold('пароль'), 'linux')).toThrow('ASCII');
  hold('secret');
  chmodSync(file, 0o640);
  expect(() => readPassword(file, 'linux')).toThrow('chmod 600');
  expect(readPassword(file, 'win32')).toBe('secret');
});
