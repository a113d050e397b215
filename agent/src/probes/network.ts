/**
 * Network interfaces and sockets on Linux, from /proc/net and /sys/class/net. The host's ends of containers'
 * virtual cables are left out: each container's start would make series that nobody ever looks at again.
 */
import { join } from 'node:path';
import { KernelFile, type Cursor } from './kernel-file.ts';
import type { Probe } from './probe.ts';
import { metric, type BlockRecorder, type Metric } from './recorder.ts';

const IGNORED = /^(?:veth|cali|lxc[0-9a-f_]|cilium_lxc|azv|eni[0-9a-f]{8,})/;
const MEGABIT_BYTES = 125_000;
/** The link's speed is asked of the driver under a lock of the whole network stack: rarely, then. */
const SPEED_EVERY_COLLECTIONS = 40;

function traffic(direction: 'receive' | 'transmit', what: string): Metric {
  const name = `node_network_${direction}_${what}_total`;
  return metric(name, 'counter', what === 'bytes' ? 'bytes' : '', `Network device statistic ${direction}_${what}.`, ['device']);
}

/** Columns of /proc/net/dev after the name, and how many to skip behind each. */
const COLUMNS = [
  { metric: traffic('receive', 'bytes'), skip: 0 },
  { metric: traffic('receive', 'packets'), skip: 0 },
  { metric: traffic('receive', 'errs'), skip: 0 },
  { metric: traffic('receive', 'drop'), skip: 4 },
  { metric: traffic('transmit', 'bytes'), skip: 0 },
  { metric: traffic('transmit', 'packets'), skip: 0 },
  { metric: traffic('transmit', 'errs'), skip: 0 },
  { metric: traffic('transmit', 'drop'), skip: 0 },
];
const up = metric('node_network_up', 'gauge', '', "Value is 1 if operstate is 'up', 0 otherwise.", ['device']);
const speedBytes = metric('node_network_speed_bytes', 'gauge', 'bytes', 'Network device property: speed_bytes.', ['device']);

interface Interface {
  readonly operstate: KernelFile;
  readonly speed: KernelFile;
  isUp: boolean | undefined;
  speedBytes: number | undefined;
  collections: number;
  seenAt: number;
}

export interface NetworkProbeOptions {
  readonly procfs: string;
  readonly sysfs: string;
}

export function networkProbe(options: NetworkProbeOptions): Probe {
  const dev = new KernelFile(join(options.procfs, 'net/dev'));
  const sockstat = new KernelFile(join(options.procfs, 'net/sockstat'));
  const interfaces = new Map<string, Interface>();
  const sockets = new Map<string, Metric>();
  let collection = 0;

  function interfaceOf(device: string): Interface {
    let known = interfaces.get(device);
    if (known === undefined) {
      const directory = join(options.sysfs, 'class/net', device);
      known = {
        operstate: new KernelFile(join(directory, 'operstate')),
        speed: new KernelFile(join(directory, 'speed')),
        isUp: undefined,
        speedBytes: undefined,
        collections: 0,
        seenAt: 0,
      };
      interfaces.set(device, known);
    }
    known.seenAt = collection;
    return known;
  }

  return {
    name: 'network',
    collect(context) {
      const block = context.block();
      collection++;
      const cursor = dev.mustRead();
      // Two lines of headings.
      cursor.nextLine();
      while (cursor.nextLine()) {
        const device = cursor.word(':');
        if (device === '' || isVirtualCable(device)) continue;
        for (const { metric: of, skip } of COLUMNS) {
          block.add(of, cursor.number(), device);
          cursor.skip(skip);
        }
        recordLink(block, device, interfaceOf(device));
      }
      for (const [device, one] of interfaces) {
        if (one.seenAt === collection) continue;
        one.operstate.close();
        interfaces.delete(device);
      }
      const counts = sockstat.read();
      if (counts !== undefined) recordSockets(block, counts, sockets);
    },
    close() {
      dev.close();
      sockstat.close();
      for (const one of interfaces.values()) one.operstate.close();
    },
  };
}

const judged = new Map<string, boolean>();

/** True for the host's end of a container's network. A name is judged once; should containers come and go by the thousand, the memory of them is dropped. */
export function isVirtualCable(device: string): boolean {
  let ignored = judged.get(device);
  if (ignored === undefined) {
    if (judged.size > 1_000) judged.clear();
    judged.set(device, (ignored = IGNORED.test(device)));
  }
  return ignored;
}

function recordLink(block: BlockRecorder, device: string, link: Interface): void {
  const state = link.operstate.read();
  const isUp = state?.take('up') ?? false;
  if (isUp !== link.isUp || link.collections % SPEED_EVERY_COLLECTIONS === 0) {
    link.isUp = isUp;
    // Without a cable, and for virtual devices, the driver says -1 or refuses.
    const megabits = link.speed.read()?.number() ?? Number.NaN;
    link.speedBytes = megabits >= 0 ? megabits * MEGABIT_BYTES : undefined;
    link.speed.close();
  }
  link.collections++;
  block.add(up, state === undefined ? null : Number(isUp), device);
  if (link.speedBytes !== undefined) block.add(speedBytes, link.speedBytes, device);
}

/** Lines such as "TCP: inuse 1 orphan 0 tw 2 alloc 1 mem 50". */
function recordSockets(block: BlockRecorder, cursor: Cursor, known: Map<string, Metric>): void {
  do {
    const family = cursor.word(':');
    for (let field = cursor.word(); field !== ''; field = cursor.word()) {
      const key = `${family}_${field}`;
      let of = known.get(key);
      if (of === undefined)
        known.set(key, (of = metric(`node_sockstat_${key}`, 'gauge', '', `Number of ${family} sockets in state ${field}.`)));
      block.add(of, cursor.number());
    }
  } while (cursor.nextLine());
}
