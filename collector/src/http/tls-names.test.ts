/** Who can connect to this machine by which name, and whether that goes in the clear. */
import type { networkInterfaces } from 'node:os';
import { expect, test } from 'vitest';
import { machineNames, plainHttpWarning } from './tls-names.ts';

const address = (of: string, internal = false) =>
  ({ address: of, internal }) as NonNullable<ReturnType<typeof networkInterfaces>[string]>[number];

test('a machine is known by its name, by its addresses that others can use, and to itself', () => {
  const interfaces = () => ({
    lo: [address('127.0.0.1', true), address('::1', true)],
    eth0: [address('192.0.2.7'), address('2001:db8::7'), address('fe80::7')],
    none: undefined,
  });
  expect(machineNames('db-1', interfaces)).toEqual(['db-1', 'localhost', '127.0.0.1', '::1', '192.0.2.7', '2001:db8::7']);
});

test('one that may not ask for its addresses is known by the rest', () => {
  const forbidden = (): never => {
    throw new Error('A system error occurred: uv_interface_addresses returned Unknown system error 97');
  };
  expect(machineNames('db-1', forbidden)).toEqual(['db-1', 'localhost', '127.0.0.1', '::1']);
});

test.each<[string, 'off' | 'self-made', string, string | undefined, boolean]>([
  ['for everybody', 'off', '0.0.0.0', undefined, true],
  ['for everybody, by IPv6', 'off', '::', undefined, true],
  ['on an address of its network', 'off', '192.0.2.7', 'http://monitor.example', true],
  ['for this machine alone', 'off', '127.0.0.1', undefined, false],
  ['for this machine alone, by name', 'off', 'localhost', undefined, false],
  ['for this machine alone, by IPv6', 'off', '::1', undefined, false],
  ['behind a proxy that speaks https', 'off', '0.0.0.0', 'https://monitor.example', false],
  ['with TLS', 'self-made', '0.0.0.0', undefined, false],
])('plain HTTP %s is worth a word: %s on %s, called %s', (_, tls, host, publicUrl, said) => {
  const warning = plainHttpWarning({ tls, host, publicUrl: publicUrl === undefined ? undefined : new URL(publicUrl) });
  if (said) expect(warning).toMatch(/^plain HTTP: .* --tls self-made/);
  else expect(warning).toBe(undefined);
});
