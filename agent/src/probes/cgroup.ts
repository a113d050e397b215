/**
 * What the control groups (version 1 and 2) allow the container that the agent runs in. Only a container's
 * limits count: the agent's own service unit has a memory limit too, and that one says nothing about the
 * machine. So the walk starts at the cgroup of process 1 where its path is a container's, else at the
 * root of what is mounted (a container with a cgroup namespace sees its own group there), and goes up.
 */
import { join } from 'node:path';
import { exists, KernelFile, textOf } from './kernel-file.ts';
import { parseMounts } from './mounts.ts';

export interface CpuAllowance {
  /** CPUs' worth of time per time; below the number of the machine's CPUs. */
  readonly limitCores: number;
  /** CPU time used so far by the group that the limit is on. */
  readonly usageSeconds: number;
}

export interface MemoryAllowance {
  readonly limitBytes: number;
  /** In use by the group that the limit is on, without what the kernel would drop first (inactive file cache). */
  readonly usedBytes: number;
}

interface CpuLevel {
  limitCores(): number | undefined;
  usageSeconds(): number | undefined;
}

interface MemoryLevel {
  limitBytes(): number | undefined;
  usedBytes(): number | undefined;
}

/** Words in the path of a cgroup that only container runtimes put there. */
const CONTAINER_WORDS = [
  'kubepods',
  'docker',
  'libpod',
  'podman',
  'crio',
  'containerd',
  'lxc',
  'machine.slice',
  'nspawn',
  'nomad',
  'ecs',
  'garden',
];
/** Runtimes name a container's group by its id: 32 to 64 hex digits. */
export const CONTAINER_ID = /^[0-9a-f]{32,64}$/;

export class Cgroup {
  readonly #cpuLevels: CpuLevel[] = [];
  readonly #memoryLevels: MemoryLevel[] = [];

  /** `procfs` and `cgroupfs` are where they are mounted ("/proc", "/sys/fs/cgroup"). Looks once which groups there are; their limits are read each time. */
  constructor(procfs: string, cgroupfs: string) {
    const mountsText = textOf(join(procfs, '1/mountinfo')) ?? textOf(join(procfs, 'self/mountinfo'));
    const groupsText = textOf(join(procfs, '1/cgroup')) ?? textOf(join(procfs, 'self/cgroup'));
    if (mountsText === undefined || groupsText === undefined) return;
    const groups = parseGroups(groupsText);
    for (const mount of parseMounts(mountsText)) {
      if (mount.fstype !== 'cgroup' && mount.fstype !== 'cgroup2') continue;
      const mountpoint = mount.mountpoint.startsWith('/sys/fs/cgroup') ? join(cgroupfs, mount.mountpoint.slice(14)) : mount.mountpoint;
      if (mount.fstype === 'cgroup2') {
        for (const at of levels(mountpoint, mount.root, groups.get('') ?? '/')) this.#addVersion2(at);
        continue;
      }
      const controllers = mount.superOptions.split(',');
      if (controllers.includes('cpu'))
        for (const at of levels(mountpoint, mount.root, groups.get('cpu') ?? '/')) this.#addVersion1Cpu(at, mountpoint);
      if (controllers.includes('memory'))
        for (const at of levels(mountpoint, mount.root, groups.get('memory') ?? '/')) this.#addVersion1Memory(at);
    }
  }

  /** The smallest CPU limit in force on a machine with `cores` CPUs, or undefined when there is none. */
  cpu(cores: number): CpuAllowance | undefined {
    let best: CpuLevel | undefined;
    let limitCores = cores;
    for (const level of this.#cpuLevels) {
      const limit = level.limitCores();
      // An outer group with the same limit counts: what runs beside this one uses it too.
      if (limit !== undefined && limit > 0 && (limit < limitCores || (limit === limitCores && best !== undefined))) {
        best = level;
        limitCores = limit;
      }
    }
    const usageSeconds = best?.usageSeconds();
    return usageSeconds === undefined ? undefined : { limitCores, usageSeconds };
  }

  /** The smallest memory limit in force on a machine with `totalBytes` of it, or undefined when there is none. */
  memory(totalBytes: number): MemoryAllowance | undefined {
    let best: MemoryLevel | undefined;
    let limitBytes = totalBytes;
    for (const level of this.#memoryLevels) {
      const limit = level.limitBytes();
      if (limit !== undefined && limit > 0 && (limit < limitBytes || (limit === limitBytes && best !== undefined))) {
        best = level;
        limitBytes = limit;
      }
    }
    const usedBytes = best?.usedBytes();
    return usedBytes === undefined ? undefined : { limitBytes, usedBytes };
  }

  #addVersion2(at: string): void {
    if (exists(join(at, 'cpu.max'))) {
      const max = new KernelFile(join(at, 'cpu.max'));
      const stat = new KernelFile(join(at, 'cpu.stat'));
      this.#cpuLevels.push({
        limitCores() {
          const cursor = max.read();
          if (cursor === undefined) return undefined;
          // "max 100000" when unlimited, and then the first number is none.
          return numeric(cursor.number() / cursor.number());
        },
        usageSeconds: () => scaled(fieldOf(stat, 'usage_usec'), 1e-6),
      });
    }
    if (exists(join(at, 'memory.max'))) {
      const max = new KernelFile(join(at, 'memory.max'));
      const current = new KernelFile(join(at, 'memory.current'));
      const stat = new KernelFile(join(at, 'memory.stat'));
      this.#memoryLevels.push({
        limitBytes: () => numberIn(max),
        usedBytes: () => less(numberIn(current), fieldOf(stat, 'inactive_file')),
      });
    }
  }

  #addVersion1Cpu(at: string, mountpoint: string): void {
    if (!exists(join(at, 'cpu.cfs_quota_us'))) return;
    const quota = new KernelFile(join(at, 'cpu.cfs_quota_us'));
    const period = new KernelFile(join(at, 'cpu.cfs_period_us'));
    // Mostly the two controllers are mounted as one ("cpu,cpuacct"), sometimes each apart.
    const apart = join(mountpoint, '../cpuacct', at.slice(mountpoint.length), 'cpuacct.usage');
    const together = join(at, 'cpuacct.usage');
    const usage = new KernelFile(exists(together) ? together : apart);
    this.#cpuLevels.push({
      limitCores() {
        const quotaUs = numberIn(quota);
        const periodUs = numberIn(period);
        return quotaUs === undefined || periodUs === undefined || quotaUs <= 0 ? undefined : quotaUs / periodUs;
      },
      usageSeconds: () => scaled(numberIn(usage), 1e-9),
    });
  }

  #addVersion1Memory(at: string): void {
    if (!exists(join(at, 'memory.limit_in_bytes'))) return;
    const limit = new KernelFile(join(at, 'memory.limit_in_bytes'));
    const usage = new KernelFile(join(at, 'memory.usage_in_bytes'));
    const stat = new KernelFile(join(at, 'memory.stat'));
    this.#memoryLevels.push({
      limitBytes: () => numberIn(limit),
      usedBytes: () => less(numberIn(usage), fieldOf(stat, 'total_inactive_file')),
    });
  }
}

/** Controller to path; version 2's one hierarchy has the empty name. */
function parseGroups(text: string): Map<string, string> {
  const groups = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, controllers, ...path] = line.split(':');
    if (controllers === undefined) continue;
    for (const controller of controllers.split(',')) groups.set(controller, path.join(':'));
  }
  return groups;
}

/** The directories whose limits hold, the innermost first, the mount's own last. */
function levels(mountpoint: string, root: string, group: string): string[] {
  const parts = (insideOf(root, group) ?? '').split('/').filter((part) => part !== '');
  // A group beside or above the namespace's own is written with "..": nothing of it can be seen from here.
  const inner = parts.includes('..') ? -1 : parts.findLastIndex(ofContainer);
  const directories = [mountpoint];
  for (const part of parts.slice(0, inner + 1)) directories.unshift(join(directories[0]!, part));
  return directories.filter((directory) => exists(directory));
}

/** A container that shares the machine's cgroup names mounts its own group alone, and names it by the machine's path. */
function insideOf(root: string, group: string): string | undefined {
  if (root === '/') return group;
  return group === root || group.startsWith(`${root}/`) ? group.slice(root.length) : undefined;
}

function ofContainer(part: string): boolean {
  return CONTAINER_ID.test(part) || containerWordIn(part) !== undefined;
}

/** The word that gives away whose container a cgroup's path belongs to. */
export function containerWordIn(path: string): string | undefined {
  return CONTAINER_WORDS.find((word) => path.includes(word));
}

function numberIn(file: KernelFile): number | undefined {
  return numeric(file.read()?.number());
}

/** The number after `name` in a file of "name number" lines. */
function fieldOf(file: KernelFile, name: string): number | undefined {
  const cursor = file.read();
  if (cursor === undefined) return undefined;
  do {
    if (cursor.take(name) && cursor.more()) {
      const value = numeric(cursor.number());
      if (value !== undefined) return value;
    }
  } while (cursor.nextLine());
  return undefined;
}

function numeric(value: number | undefined): number | undefined {
  return value === undefined || Number.isNaN(value) ? undefined : value;
}

function scaled(value: number | undefined, factor: number): number | undefined {
  return value === undefined ? undefined : value * factor;
}

function less(usage: number | undefined, reclaimable: number | undefined): number | undefined {
  return usage === undefined ? undefined : Math.max(0, usage - (reclaimable ?? 0));
}
