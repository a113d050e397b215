/**
 * A simulated machine: its size, its site, and figures that follow from the time and its seed. CPU has a daily
 * shape, memory wanders, disks fill, counters grow by what their rates say and never fall.
 */
import { between, pick, type Random } from './random.ts';

const DAY_MS = 86_400_000;
const GIB = 1024 ** 3;
const BLOCK_BYTES = 4_096;
export const SITES = ['berlin', 'hamburg', 'paris', 'new-york'] as const;
const ROLES = ['web', 'app', 'batch'] as const;

export interface MachineOptions {
  random: Random;
  name: string;
  isDatabase: boolean;
  startedAt: number;
  /** Milliseconds in which its first disk becomes full; undefined: at the pace of its own, which takes months. */
  diskFullInMs?: number | undefined;
}

export interface DiskFigures {
  device: string;
  mountpoint: string;
  blocks: number;
  freeBlocks: number;
}

interface Disk {
  device: string;
  mountpoint: string;
  blocks: number;
  usedAtStart: number;
  /** Share of the whole that is written a day. */
  perDay: number;
}

export class Machine {
  readonly name: string;
  readonly site: string;
  readonly role: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly bootedAt: number;
  readonly #random: Random;
  readonly #startedAt: number;
  readonly #disks: Disk[];
  readonly #load: { base: number; daily: number; peakAt: number; noise: number };
  readonly #memoryBase: number;
  #lastAt: number;
  #busyRatio: number;
  #busySeconds = 0;
  #idleSeconds = 0;
  #trafficBytes = 0;

  constructor(options: MachineOptions) {
    const { random, startedAt } = options;
    this.name = options.name;
    this.#random = random;
    this.#startedAt = startedAt;
    this.site = pick(random, SITES);
    this.role = options.isDatabase ? 'db' : pick(random, ROLES);
    this.cores = pick(random, [2, 2, 4]);
    this.memoryBytes = pick(random, [4, 8, 16, 64, 256]) * GIB;
    this.bootedAt = startedAt - between(random, 0.1, 200) * DAY_MS;
    this.#load = {
      base: between(random, 0.02, 0.4),
      daily: between(random, 0, 0.3),
      peakAt: between(random, 9, 20) / 24,
      noise: between(random, 0.005, 0.08),
    };
    this.#memoryBase = between(random, 0.2, 0.85);
    this.#disks = ['/', '/data'].map((mountpoint, i) => ({
      device: `/dev/vd${'ab'[i]!}1`,
      mountpoint,
      blocks: Math.floor((pick(random, [20, 50, 100, 500]) * GIB) / BLOCK_BYTES),
      usedAtStart: between(random, 0.1, 0.8),
      perDay: between(random, 0, 0.01),
    }));
    const { diskFullInMs } = options;
    if (diskFullInMs !== undefined) this.#disks[1]!.perDay = ((1 - this.#disks[1]!.usedAtStart) * DAY_MS) / diskFullInMs;
    this.#lastAt = startedAt;
    this.#busyRatio = this.#load.base;
  }

  /** Lets time pass until `now`. Figures are those of that moment; time that runs back changes nothing. */
  advance(now: number): void {
    const seconds = Math.max(0, (now - this.#lastAt) / 1000);
    this.#lastAt = Math.max(now, this.#lastAt);
    const { base, daily, peakAt, noise } = this.#load;
    const shape = 0.5 + 0.5 * Math.cos(2 * Math.PI * ((now % DAY_MS) / DAY_MS - peakAt));
    this.#busyRatio = Math.min(1, Math.max(0.001, base + daily * shape + noise * (2 * this.#random() - 1)));
    this.#busySeconds += seconds * this.#busyRatio * this.cores;
    this.#idleSeconds += seconds * (1 - this.#busyRatio) * this.cores;
    this.#trafficBytes += Math.round(seconds * this.#busyRatio * 4e6 * this.#random());
  }

  get busyRatio(): number {
    return this.#busyRatio;
  }

  /** Since the machine was booted, over all CPUs. */
  cpuSeconds(): { busy: number; idle: number } {
    const beforeS = ((this.#startedAt - this.bootedAt) / 1000) * this.cores;
    return { busy: beforeS * this.#load.base + this.#busySeconds, idle: beforeS * (1 - this.#load.base) + this.#idleSeconds };
  }

  /** Bytes over the network and to disk since the boot. */
  get trafficBytes(): number {
    return Math.round(((this.#startedAt - this.bootedAt) / 1000) * 1e5) + this.#trafficBytes;
  }

  availableMemoryBytes(): number {
    const used = Math.min(0.98, this.#memoryBase + 0.1 * (this.#busyRatio - this.#load.base) + 0.01 * this.#random());
    return Math.round((this.memoryBytes * (1 - used)) / BLOCK_BYTES) * BLOCK_BYTES;
  }

  disks(): DiskFigures[] {
    const days = (this.#lastAt - this.#startedAt) / DAY_MS;
    return this.#disks.map(({ device, mountpoint, blocks, usedAtStart, perDay }) => ({
      device,
      mountpoint,
      blocks,
      freeBlocks: Math.floor(blocks * (1 - Math.min(1, usedAtStart + perDay * days))),
    }));
  }

  get blockBytes(): number {
    return BLOCK_BYTES;
  }
}
