/** The names under which a server on this machine may be reached. */
import type { NetworkInterfaceInfo } from 'node:os';
import { ManualClock } from '@tidemark/service';
import { expect, test } from 'vitest';
import { Machine } from './machine.ts';

const address = (text: string, internal = false): NetworkInterfaceInfo => ({
  address: text,
  internal,
  family: 'IPv4',
  netmask: '',
  mac: '',
  cidr: null,
});

test('addresses that mean something elsewhere, sorted, looked at once a minute', () => {
  const clock = new ManualClock();
  let second = '10.0.0.2';
  const machine = new Machine('db1', clock, () => ({
    lo: [address('127.0.0.1', true), address('::1', true)],
    eth0: [address('fe80::1'), address(second), address('10.0.0.10')],
    eth1: [address(second)],
  }));
  expect(machine.describe()).toEqual({ hostname: 'db1', addresses: ['10.0.0.10', '10.0.0.2'] });
  second = '10.0.0.3';
  expect(machine.describe().addresses).toContain('10.0.0.2');
  clock.advance(60_000);
  expect(machine.describe().addresses).toEqual(['10.0.0.10', '10.0.0.3']);
  for (const here of ['/run/postgresql', 'localhost', '127.0.0.53', '::1', 'db1', '10.0.0.3']) expect(machine.isHere(here)).toBe(true);
  for (const elsewhere of ['db2', '10.0.0.2', '']) expect(machine.isHere(elsewhere)).toBe(false);
});
