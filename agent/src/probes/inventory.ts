/**
 * What this machine is, observed at the start and once a day. On Linux it reads os-release, DMI and /proc itself:
 * systeminformation would start a dozen child processes and leave megabytes of its code behind, for nothing that
 * these files do not say. On macOS, and on Windows without its service host, it is loaded when first needed.
 */
import { readlinkSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { INVENTORY, type Inventory } from '@tidemark/protocol';
import { CONTAINER_ID, containerWordIn } from './cgroup.ts';
import { exists, textOf } from './kernel-file.ts';
import { isVirtualCable } from './network.ts';
import type { Probe } from './probe.ts';

const DAY_MS = 24 * 3_600_000;
const TIMEOUT_MS = 20_000;
const ADDRESSES_MAX = 200;

type Virtualisation = Inventory['virtualisation'];
/** What only the platform can tell; the rest Node knows everywhere. */
export interface PlatformFacts {
  readonly osName: string | null;
  readonly osId: string | null;
  readonly osVersion: string | null;
  readonly cpuModel: string | null;
  readonly hardware: Inventory['hardware'];
  readonly virtualisation: Virtualisation;
}

export interface InventoryProbeOptions {
  readonly platform: NodeJS.Platform;
  readonly procfs: string;
  readonly sysfs: string;
  /** Where /etc, /run and /usr/lib are; "/" but in tests. */
  readonly rootfs?: string | undefined;
  /** What answers on Windows and macOS; systeminformation unless told. */
  readonly foreignFacts?: (() => Promise<PlatformFacts>) | undefined;
}

export function inventoryProbe(options: InventoryProbeOptions): Probe {
  return {
    name: 'inventory',
    everyMs: DAY_MS,
    timeoutMs: TIMEOUT_MS,
    async collect(context) {
      const facts = options.platform === 'linux' ? linuxFacts(options) : await (options.foreignFacts ?? askSysteminformation)();
      const document: Inventory = {
        hostname: os.hostname(),
        os: {
          platform: options.platform,
          name: facts.osName ?? `${os.type()} ${os.release()}`,
          id: facts.osId,
          version: facts.osVersion,
          kernel: os.release(),
          architecture: os.machine(),
        },
        cpu: { model: facts.cpuModel ?? os.cpus()[0]?.model.trim() ?? null, cores: os.cpus().length },
        memoryTotalBytes: os.totalmem(),
        hardware: facts.hardware,
        virtualisation: facts.virtualisation,
        addresses: addressesOf(os.networkInterfaces()),
        runtime: { name: 'node', version: process.versions.node },
        timezone: timezoneOf(options),
      };
      context.observe({ kind: INVENTORY, version: 1, instance: '', document });
    },
  };
}

/** Sorted, so that the same addresses are the same document; without those that say nothing to anyone else. */
export function addressesOf(interfaces: ReturnType<typeof os.networkInterfaces>): Inventory['addresses'] {
  return Object.entries(interfaces)
    .filter(([name]) => !isVirtualCable(name))
    .flatMap(([name, addresses = []]) =>
      addresses
        .filter(({ internal, address }) => !internal && !address.startsWith('fe80:') && !address.startsWith('169.254.'))
        .map(({ family, address }) => ({ interface: name, family, address })),
    )
    .toSorted((a, b) => compare(a.interface, b.interface) || compare(a.family, b.family) || compare(a.address, b.address))
    .slice(0, ADDRESSES_MAX);
}

/**
 * The machine's time zone by its IANA name. On Linux /etc/localtime says it: to ask `Intl` loads ICU's tables,
 * 9 MB that never go again.
 */
export function timezoneOf({ platform, rootfs = '/' }: Pick<InventoryProbeOptions, 'platform' | 'rootfs'>): string {
  if (platform === 'linux') {
    const name = linkedZone(join(rootfs, 'etc/localtime')) ?? textOf(join(rootfs, 'etc/timezone'))?.trim();
    if (name) return name;
    if (!exists(join(rootfs, 'etc/localtime'))) return 'UTC';
  }
  return Intl.DateTimeFormat().resolvedOptions().timeZone;
}

function linkedZone(path: string): string | undefined {
  try {
    return /zoneinfo\/(?:posix\/)?(.+)$/.exec(readlinkSync(path))?.[1];
  } catch {
    return undefined;
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function linuxFacts(options: Pick<InventoryProbeOptions, 'procfs' | 'sysfs' | 'rootfs'>): PlatformFacts {
  const rootfs = options.rootfs ?? '/';
  const release = parseOsRelease(textOf(join(rootfs, 'etc/os-release')) ?? textOf(join(rootfs, 'usr/lib/os-release')) ?? '');
  const dmi = (name: string): string | null => textOf(join(options.sysfs, 'class/dmi/id', name))?.trim() || null;
  const hardware = { vendor: dmi('sys_vendor'), product: dmi('product_name') };
  const cpuinfo = textOf(join(options.procfs, 'cpuinfo')) ?? '';
  return {
    osName: release.get('PRETTY_NAME') ?? release.get('NAME') ?? null,
    osId: release.get('ID') ?? null,
    osVersion: release.get('VERSION_ID') ?? null,
    cpuModel: /^(?:model name|Model|Hardware)\s*:\s*(.+)$/m.exec(cpuinfo)?.[1]?.trim() ?? null,
    hardware,
    virtualisation: containerOf(options.procfs, rootfs) ?? machineOf(options.sysfs, hardware, cpuinfo),
  };
}

/** Values may be in quotes, with backslashes before what the shell would take for something else. */
export function parseOsRelease(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split('\n')) {
    const match = /^([A-Z0-9_]+)=(?:"(.*)"|'(.*)'|(.*))$/.exec(line.trim());
    if (match) fields.set(match[1]!, (match[2] ?? match[3] ?? match[4] ?? '').replaceAll(/\\(["$`\\])/g, '$1'));
  }
  return fields;
}

function containerOf(procfs: string, rootfs: string): Virtualisation | undefined {
  const container = (technology: string | null): Virtualisation => ({ kind: 'container', technology });
  const told = textOf(join(rootfs, 'run/systemd/container'))?.trim();
  if (told) return container(told);
  if (exists(join(rootfs, '.dockerenv'))) return container('docker');
  if (exists(join(rootfs, 'run/.containerenv'))) return container('podman');
  // Only root may read the environment of process 1.
  const environment = textOf(join(procfs, '1/environ'))?.split('\0') ?? [];
  const variable = environment.find((one) => one.startsWith('container='));
  if (variable !== undefined) return container(variable.slice('container='.length) || null);
  for (const line of (textOf(join(procfs, '1/cgroup')) ?? '').split('\n')) {
    const path = line.split(':').slice(2).join(':');
    const word = containerWordIn(path);
    if (word !== undefined) return container(word);
    if (path.split('/').some((part) => CONTAINER_ID.test(part))) return container(null);
  }
  return undefined;
}

/** Words in the vendor's and product's names, by whom they betray. */
const HYPERVISORS: readonly [word: string, technology: string][] = [
  ['kvm', 'kvm'],
  ['qemu', 'qemu'],
  ['vmware', 'vmware'],
  ['virtualbox', 'virtualbox'],
  ['innotek', 'virtualbox'],
  ['xen', 'xen'],
  ['bochs', 'bochs'],
  ['parallels', 'parallels'],
  ['bhyve', 'bhyve'],
  ['amazon ec2', 'amazon'],
  ['google compute engine', 'google'],
  ['openstack', 'openstack'],
  ['hetzner', 'kvm'],
  ['digitalocean', 'kvm'],
  ['virtual machine', 'microsoft'],
];

/** The technology that the vendor's and product's names betray, if any. */
export function hypervisorIn({ vendor, product }: Inventory['hardware']): string | undefined {
  const names = `${vendor ?? ''} ${product ?? ''}`.toLowerCase();
  return HYPERVISORS.find(([word]) => names.includes(word))?.[1];
}

function machineOf(sysfs: string, { vendor, product }: Inventory['hardware'], cpuinfo: string): Virtualisation {
  const xen = textOf(join(sysfs, 'hypervisor/type'))?.trim();
  if (xen) return { kind: 'vm', technology: xen };
  const virtual = /^flags\s*:.*\bhypervisor\b/m.test(cpuinfo);
  const known = hypervisorIn({ vendor, product });
  // Cloud providers put their name on whole machines too ("i3.metal"): there the CPU does not tell of a hypervisor.
  if (known !== undefined && (virtual || !/^flags\s*:/m.test(cpuinfo))) return { kind: 'vm', technology: known };
  if (virtual) return { kind: 'vm', technology: null };
  return { kind: vendor === null && !/^flags\s*:/m.test(cpuinfo) ? 'unknown' : 'none', technology: null };
}

/** May start child processes: it runs once a day, and never on Linux. Each question may fail alone. */
export async function askSysteminformation(): Promise<PlatformFacts> {
  const { default: si } = await import('systeminformation');
  const [system, osInfo, cpu] = await Promise.all([
    si.system().catch(() => undefined),
    si.osInfo().catch(() => undefined),
    si.cpu().catch(() => undefined),
  ]);
  const virtual = system?.virtual === true;
  return {
    osName: [osInfo?.distro, osInfo?.release].filter(Boolean).join(' ') || null,
    osId: osInfo?.platform.toLowerCase() || null,
    osVersion: osInfo?.release || null,
    cpuModel: [cpu?.manufacturer, cpu?.brand].filter(Boolean).join(' ') || null,
    hardware: { vendor: system?.manufacturer || null, product: system?.model || null },
    virtualisation: {
      kind: system === undefined ? 'unknown' : virtual ? 'vm' : 'none',
      technology: virtual ? system.virtualHost?.toLowerCase() || null : null,
    },
  };
}
