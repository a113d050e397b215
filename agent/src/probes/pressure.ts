/** Pressure stall information on Linux: how long tasks waited for CPU, memory and I/O. Kernels without it (or with psi=0) have no data. */
import { join } from 'node:path';
import { KernelFile, type Cursor } from './kernel-file.ts';
import { noData, type Probe } from './probe.ts';
import { metric, type Metric } from './recorder.ts';

const MICROSECONDS = 1e6;

function stall(name: string, help: string): Metric {
  return metric(`node_pressure_${name}_seconds_total`, 'counter', 'seconds', help);
}

/** "some" is when at least one task waited, "full" when all did. For the CPU as a whole "full" is not defined. */
const RESOURCES: readonly { file: string; some?: Metric; full?: Metric }[] = [
  { file: 'cpu', some: stall('cpu_waiting', 'Total time in seconds that processes have waited for CPU time') },
  {
    file: 'io',
    some: stall('io_waiting', 'Total time in seconds that processes have waited due to IO congestion'),
    full: stall('io_stalled', 'Total time in seconds no process could make progress due to IO congestion'),
  },
  {
    file: 'memory',
    some: stall('memory_waiting', 'Total time in seconds that processes have waited for memory'),
    full: stall('memory_stalled', 'Total time in seconds no process could make progress due to memory congestion'),
  },
  { file: 'irq', full: stall('irq_stalled', 'Total time in seconds no process could make progress due to IRQ congestion') },
];

export function pressureProbe(options: { readonly procfs: string }): Probe {
  const resources = RESOURCES.map((resource) => ({
    ...resource,
    kernelFile: new KernelFile(join(options.procfs, 'pressure', resource.file)),
  }));
  return {
    name: 'pressure',
    collect(context) {
      const block = context.block();
      let found = false;
      for (const { kernelFile, some, full } of resources) {
        const cursor = kernelFile.read();
        if (cursor === undefined) continue;
        do {
          const of = cursor.take('some ') ? some : cursor.take('full ') ? full : undefined;
          if (of === undefined) continue;
          block.add(of, totalSeconds(cursor));
          found = true;
        } while (cursor.nextLine());
      }
      return found ? undefined : noData;
    },
    close() {
      for (const { kernelFile } of resources) kernelFile.close();
    },
  };
}

/** From the rest of a line "avg10=0.18 avg60=0.32 avg300=0.51 total=16581247", in microseconds. */
function totalSeconds(cursor: Cursor): number | null {
  while (cursor.more()) {
    if (cursor.take('total=')) return cursor.number() / MICROSECONDS;
    cursor.skip(1);
  }
  return null;
}
