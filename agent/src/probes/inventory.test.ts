/** The inventory: what Linux's files say of a machine, the same document for the same machine, and who may be asked elsewhere. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { dirname, join } from 'node:path';
import { INVENTORY, Inventory } from '@tidemark/protocol';
import { Value } from 'typebox/value';
import { expect, onTestFinished, test } from 'vitest';
import { addressesOf, inventoryProbe, linuxFacts, parseOsRelease, timezoneOf } from './inventory.ts';
import { record, roots } from './recorded.ts';

function machine(files: Record<string, string>): { procfs: string; sysfs: string; rootfs: string } {
  const rootfs = mkdtempSync(join(os.tmpdir(), 'inventory-'));
  onTestFinished(() => rmSync(rootfs, { recursive: true }));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(rootfs, path)), { recursive: true });
    writeFileSync(join(rootfs, path), text);
  }
  return { procfs: join(rootfs, 'proc'), sysfs: join(rootfs, 'sys'), rootfs };
}

test('a small VM, from its files', () => {
  expect(linuxFacts(roots('small-vm'))).toEqual({
    osName: 'Debian GNU/Linux 12 (bookworm)',
    osId: 'debian',
    osVersion: '12',
    cpuModel: 'AMD EPYC Processor',
    hardware: { vendor: 'QEMU', product: 'Standard PC (Q35 + ICH9, 2009)' },
    virtualisation: { kind: 'vm', technology: 'qemu' },
  });
});

test.each([
  ['bare metal', { 'proc/cpuinfo': 'flags : fpu vme\n', 'sys/class/dmi/id/sys_vendor': 'Dell Inc.' }, 'none', null],
  ['a cloud’s whole machine', { 'proc/cpuinfo': 'flags : fpu vme\n', 'sys/class/dmi/id/sys_vendor': 'Amazon EC2' }, 'none', null],
  ['an unnamed hypervisor', { 'proc/cpuinfo': 'flags : fpu hypervisor\n' }, 'vm', null],
  ['Xen', { 'sys/hypervisor/type': 'xen\n' }, 'vm', 'xen'],
  ['ARM without DMI', { 'proc/cpuinfo': 'Features : fp asimd\n' }, 'unknown', null],
  ['Docker', { '.dockerenv': '' }, 'container', 'docker'],
  ['Podman', { 'run/.containerenv': '' }, 'container', 'podman'],
  ['LXC', { 'proc/1/environ': 'A=b\0container=lxc\0' }, 'container', 'lxc'],
  ['Kubernetes', { 'proc/1/cgroup': '0::/kubepods.slice/cri-containerd-abc.scope\n' }, 'container', 'kubepods'],
  ['nspawn', { 'run/systemd/container': 'systemd-nspawn\n' }, 'container', 'systemd-nspawn'],
])('%s', (_, files, kind, technology) => {
  expect(linuxFacts(machine(files as unknown as Record<string, string>)).virtualisation).toEqual({ kind, technology });
});

test('the time zone: where the link leads, else what the file says, else what Intl knows', () => {
  const linked = machine({ 'etc/timezone': 'Asia/Tokyo\n' });
  symlinkSync('/usr/share/zoneinfo/Europe/Berlin', join(linked.rootfs, 'etc/localtime'));
  expect(timezoneOf({ platform: 'linux', rootfs: linked.rootfs })).toBe('Europe/Berlin');
  expect(timezoneOf({ platform: 'linux', rootfs: machine({ 'etc/timezone': 'Asia/Tokyo\n' }).rootfs })).toBe('Asia/Tokyo');
  expect(timezoneOf({ platform: 'linux', rootfs: machine({}).rootfs })).toBe('UTC');
  const known = Intl.DateTimeFormat().resolvedOptions().timeZone;
  expect(timezoneOf({ platform: 'linux', rootfs: machine({ 'etc/localtime': 'TZif' }).rootfs })).toBe(known);
  expect(timezoneOf({ platform: 'win32' })).toBe(known);
});

test('os-release in its several quotings', () => {
  const fields = parseOsRelease('# comment\nNAME="A \\"B\\" \\$5"\nID=alpine\nVERSION_ID=\'3.20\'\nbroken\n');
  expect(Object.fromEntries(fields)).toEqual({ NAME: 'A "B" $5', ID: 'alpine', VERSION_ID: '3.20' });
});

test('addresses are sorted, without loopback, link-local ones and containers’ cables', () => {
  const address = (value: string, internal = false) =>
    ({
      address: value,
      family: value.includes(':') ? 'IPv6' : 'IPv4',
      internal,
      netmask: '',
      mac: '',
      cidr: null,
      scopeid: 0,
    }) as os.NetworkInterfaceInfo;
  expect(
    addressesOf({
      lo: [address('127.0.0.1', true)],
      eth1: [address('10.0.0.2')],
      eth0: [address('fe80::1'), address('2001:db8::1'), address('192.0.2.9'), address('192.0.2.10'), address('169.254.3.4')],
      veth1234: [address('10.1.1.1')],
    }).map((one) => `${one.interface} ${one.address}`),
  ).toEqual(['eth0 192.0.2.10', 'eth0 192.0.2.9', 'eth0 2001:db8::1', 'eth1 10.0.0.2']);
});

test('the observation has its documented form, is the same twice, and has no values', async () => {
  const probe = inventoryProbe({ platform: 'linux', ...roots('small-vm') });
  const first = await record(probe);
  expect(first.values.size).toBe(0);
  expect(first.observations).toHaveLength(1);
  const observation = first.observations[0]!;
  expect(observation).toMatchObject({ kind: INVENTORY, version: 1, instance: '' });
  expect([...Value.Errors(Inventory, observation.document)]).toEqual([]);
  expect(observation.document).toMatchObject({ hostname: os.hostname(), memoryTotalBytes: os.totalmem(), os: { kernel: os.release() } });
  expect((await record(probe)).observations).toEqual(first.observations);
});

test('elsewhere it asks who knows, and what nobody knows Node fills in', async () => {
  const unknown = { osName: null, osId: null, osVersion: null, cpuModel: null, hardware: { vendor: null, product: null } };
  const probe = inventoryProbe({
    platform: 'win32',
    procfs: '/nowhere',
    sysfs: '/nowhere',
    foreignFacts: async () => ({ ...unknown, virtualisation: { kind: 'unknown', technology: null } }),
  });
  const { document } = (await record(probe)).observations[0]!;
  expect([...Value.Errors(Inventory, document)]).toEqual([]);
  expect(document).toMatchObject({ os: { platform: 'win32', name: `${os.type()} ${os.release()}` }, virtualisation: { kind: 'unknown' } });
});

test('systeminformation itself answers in the form that is expected of it', { timeout: 30_000 }, async () => {
  const probe = inventoryProbe({ platform: 'darwin', procfs: '/nowhere', sysfs: '/nowhere' });
  const { document } = (await record(probe)).observations[0]!;
  expect([...Value.Errors(Inventory, document)]).toEqual([]);
  expect((document as Inventory).os.id).toBe(process.platform === 'win32' ? 'windows' : process.platform);
});
