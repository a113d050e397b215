/**
 * The headline metrics on Windows and macOS, by what Node itself can ask the system: CPU, memory, uptime and
 * how full drives and volumes are. No child process: a PowerShell a tick costs more than all the rest.
 */
import { readdir } from 'node:fs/promises';
import os from 'node:os';
import {
  CPU_USAGE_RATIO,
  MEMORY_TOTAL_BYTES,
  MEMORY_USAGE_RATIO,
  recordFilesystem,
  UPTIME_SECONDS,
  type FilesystemStats,
} from './headline.ts';
import type { Probe } from './probe.ts';
import { metric, type BlockRecorder } from './recorder.ts';
import { StatfsGate, type Statfs } from './statfs-gate.ts';

const STRETCH_MS = 150;
/** Drives that nobody has looked at are looked for every so many collections: 26 questions each time would be a waste. */
const DISCOVER_EVERY_COLLECTIONS = 20;
const STATFS_TIMEOUT_MS = 1_500;
/** Below Node's own pool of four threads too: mapped drives hang when their server is gone. */
const OUTSTANDING_MAX = 3;

const timeSeconds = metric('node_time_seconds', 'gauge', 'seconds', 'System time in seconds since epoch (1970).');
const load1 = metric('node_load1', 'gauge', '', '1m load average.');
const load5 = metric('node_load5', 'gauge', '', '5m load average.');
const load15 = metric('node_load15', 'gauge', '', '15m load average.');

/** The part of `node:os` that is used, so that it can be played elsewhere. */
export interface SystemCalls {
  cpus(): { times: { user: number; nice: number; sys: number; idle: number } }[];
  totalmem(): number;
  freemem(): number;
  uptime(): number;
  loadavg(): number[];
}

export interface PortableOptions {
  readonly platform: NodeJS.Platform;
  readonly system?: SystemCalls | undefined;
  readonly statfs?: Statfs | undefined;
  /** Names of directories in a directory, without asking what they are on (links are left out). */
  readonly listDirectories?: ((path: string) => Promise<string[]>) | undefined;
  /** The drives of a Windows machine as something other than Node.js knows them; undefined when it does not, and then every letter is tried. */
  readonly listDrives?: (() => Promise<readonly Drive[] | undefined>) | undefined;
  readonly sleep?: ((ms: number) => Promise<void>) | undefined;
  readonly monotonicMs: () => number;
}

/** `name`: "C:". Drives of other machines, and such as are put in and taken out, are not to be among them. */
export interface Drive {
  readonly name: string;
  /** "NTFS"; empty when nobody knows. */
  readonly fstype: string;
}

export function portableCpuProbe(options: PortableOptions): Probe {
  const system = options.system ?? os;
  const sleep = options.sleep ?? ((ms) => new Promise((resolve) => setTimeout(resolve, ms)));
  const read = () => ({ atMs: options.monotonicMs(), ...sumOf(system.cpus()) });
  let before = read();

  function record(block: BlockRecorder): void {
    const now = read();
    const total = now.total - before.total;
    block.add(CPU_USAGE_RATIO, total > 0 ? Math.min(1, Math.max(0, (now.busy - before.busy) / total)) : null);
    before = now;
    // Windows has no load average, and Node's answer there is a zero that means nothing.
    if (options.platform === 'win32') return;
    const [one, five, fifteen] = system.loadavg();
    block.add(load1, one);
    block.add(load5, five);
    block.add(load15, fifteen);
  }

  return {
    name: 'cpu',
    collect(context) {
      const block = context.block();
      const waitMs = before.atMs + STRETCH_MS - options.monotonicMs();
      return waitMs > 0 ? sleep(waitMs).then(() => record(block)) : record(block);
    },
  };
}

export function portableMemoryProbe(options: PortableOptions): Probe {
  const system = options.system ?? os;
  return {
    name: 'memory',
    collect(context) {
      const block = context.block();
      const total = system.totalmem();
      block.add(MEMORY_USAGE_RATIO, total > 0 ? (total - system.freemem()) / total : null);
      block.add(MEMORY_TOTAL_BYTES, total);
    },
  };
}

export function portableSystemProbe(options: PortableOptions): Probe {
  const system = options.system ?? os;
  return {
    name: 'system',
    collect(context) {
      const block = context.block();
      block.add(UPTIME_SECONDS, system.uptime());
      block.add(timeSeconds, context.clock.wallMs() / 1000);
    },
  };
}

/** Drives on Windows, volumes on macOS. One that has answered once and fails later is a device error; one that is gone is forgotten. */
export function portableFilesystemProbe(options: PortableOptions): Probe {
  const gate = new StatfsGate({
    outstandingMax: OUTSTANDING_MAX,
    timeoutMs: STATFS_TIMEOUT_MS,
    ...(options.statfs === undefined ? {} : { statfs: options.statfs }),
  });
  const listDirectories = options.listDirectories ?? directoriesIn;
  const places = async (): Promise<Place[]> =>
    options.platform === 'win32' ? drives((await options.listDrives?.()) ?? EVERY_LETTER) : volumes(listDirectories);
  let known: Place[] = [];
  let collection = 0;
  return {
    name: 'filesystem',
    async collect(context) {
      const asked = collection++ % DISCOVER_EVERY_COLLECTIONS === 0 ? await places() : known;
      const answers = await gate.ask(asked.map((place) => place.path));
      const seen: { place: Place; stats: FilesystemStats | 'error' | undefined }[] = [];
      for (const place of asked) {
        const stats = answers.get(place.path);
        // An empty card reader, or a letter that is no drive: nothing until it first answers.
        const wasKnown = known.some(({ path }) => path === place.path);
        if (stats === 'absent' || (typeof stats !== 'object' && !wasKnown)) continue;
        seen.push({ place, stats });
      }
      known = seen.map(({ place }) => place);
      const block = context.block();
      for (const { place, stats } of seen) {
        recordFilesystem(block, { device: place.device, fstype: place.fstype, mountpoint: place.mountpoint, readOnly: null }, stats);
      }
    },
  };
}

interface Place {
  readonly path: string;
  readonly device: string;
  readonly fstype: string;
  readonly mountpoint: string;
}

const EVERY_LETTER: readonly Drive[] = Array.from('ABCDEFGHIJKLMNOPQRSTUVWXYZ', (letter) => ({ name: `${letter}:`, fstype: '' }));

function drives(known: readonly Drive[]): Place[] {
  return known.map(({ name, fstype }) => ({ path: `${name}\\`, device: name, fstype, mountpoint: name }));
}

/** The start volume appears in /Volumes as a link to "/" and so is not told twice. */
async function volumes(listDirectories: (path: string) => Promise<string[]>): Promise<Place[]> {
  const names = await listDirectories('/Volumes');
  const paths = ['/', ...names.map((name) => `/Volumes/${name}`)];
  return paths.map((path) => ({ path, device: path, fstype: '', mountpoint: path }));
}

async function directoriesIn(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}

function sumOf(cpus: ReturnType<SystemCalls['cpus']>): { busy: number; total: number } {
  let busy = 0;
  let idle = 0;
  for (const { times } of cpus) {
    // Interrupts are left out: Windows counts them among the system's time already, macOS not at all.
    busy += times.user + times.nice + times.sys;
    idle += times.idle;
  }
  return { busy, total: busy + idle };
}
