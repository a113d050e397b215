/** The key is made once, whoever comes first; what is not a key is said and never replaced. */
import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { EXIT, OperationalFailure } from '@tidemark/service';
import { build } from 'esbuild';
import { expect, test } from 'vitest';
import { openSigningKey, signingKeyFile } from './signing-key.ts';
import { temporary } from './testing.ts';

const refusal = (dataDir: string): OperationalFailure => {
  try {
    openSigningKey(dataDir);
  } catch (error) {
    if (error instanceof OperationalFailure) return error;
    throw error;
  }
  throw new Error('it was opened');
};

test('the same key each time, for its owner alone, and nothing beside it', () => {
  const dataDir = temporary();
  const first = openSigningKey(dataDir);
  expect(statSync(signingKeyFile(dataDir)).mode & 0o777).toBe(0o600);
  expect(readdirSync(dataDir)).toEqual(['downloads-key.pem']);
  expect(openSigningKey(dataDir).publicKey).toBe(first.publicKey);
  expect(openSigningKey(temporary()).publicKey).not.toBe(first.publicKey);
  // Copied back by somebody in a hurry.
  chmodSync(signingKeyFile(dataDir), 0o644);
  expect(openSigningKey(dataDir).publicKey).toBe(first.publicKey);
  expect(statSync(signingKeyFile(dataDir)).mode & 0o777).toBe(0o600);
});

test('processes that start at once agree', async () => {
  const dataDir = temporary();
  const module = fileURLToPath(new URL('signing-key.ts', import.meta.url));
  const outfile = join(temporary(), 'key.cjs');
  await build({ entryPoints: [module], outfile, bundle: true, platform: 'node', format: 'cjs', conditions: ['source'], logLevel: 'error' });
  const source = `process.stdout.write(require(${JSON.stringify(outfile)}).openSigningKey(${JSON.stringify(dataDir)}).publicKey)`;
  const keys = await Promise.all(
    Array.from({ length: 6 }, async () => (await promisify(execFile)(process.execPath, ['-e', source])).stdout),
  );
  expect(keys[0]).toMatch(/^[A-Za-z0-9+/]{43}=$/);
  expect(new Set(keys).size).toBe(1);
  expect(readdirSync(dataDir)).toEqual(['downloads-key.pem']);
});

test.each([
  ['nothing', ''],
  ['half of one', '-----BEGIN PRIVATE KEY-----\nMC4CAQAw'],
  [
    'a key of another kind',
    generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  ],
])('a file that holds %s is left as it is', (_, content) => {
  const dataDir = temporary();
  writeFileSync(signingKeyFile(dataDir), content);
  const { message, exitCode } = refusal(dataDir);
  expect(message).toMatch(/downloads-key\.pem is not the Ed25519 key that downloads are signed with\. Put it back from a backup\. /);
  expect(exitCode).toBe(EXIT.dataDirectory);
  expect(readFileSync(signingKeyFile(dataDir), 'utf8')).toBe(content);
});

test('a directory that is not there is said', () => {
  expect(refusal(join(temporary(), 'none')).message).toMatch(/cannot be read or made in .*downloads-key\.pem: ENOENT/);
});
