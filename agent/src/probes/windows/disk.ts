/** Disk I/O on Windows, as the service host reads it of each physical disk; the same series as on Linux where they mean the same. */
import type { Probe } from '../probe.ts';
import { metric } from '../recorder.ts';
import { rowsOf } from './answers.ts';
import type { HostLink } from './host-link.ts';

/** Windows counts in 100 ns. */
const TICKS_PER_SECOND = 1e7;

function column(name: string, type: 'counter' | 'gauge', unit: string, help: string) {
  return metric(`node_disk_${name}`, type, unit, help, ['device']);
}

const COLUMNS = [
  [column('reads_completed_total', 'counter', '', 'The total number of reads completed successfully.'), 'reads', 1],
  [column('read_bytes_total', 'counter', 'bytes', 'The total number of bytes read successfully.'), 'readBytes', 1],
  [
    column('read_time_seconds_total', 'counter', 'seconds', 'The total number of seconds spent by all reads.'),
    'readTicks',
    TICKS_PER_SECOND,
  ],
  [column('writes_completed_total', 'counter', '', 'The total number of writes completed successfully.'), 'writes', 1],
  [column('written_bytes_total', 'counter', 'bytes', 'The total number of bytes written successfully.'), 'writtenBytes', 1],
  [
    column('write_time_seconds_total', 'counter', 'seconds', 'This is the total number of seconds spent by all writes.'),
    'writeTicks',
    TICKS_PER_SECOND,
  ],
  [column('io_now', 'gauge', '', 'The number of I/Os currently in progress.'), 'queue', 1],
  [column('io_time_seconds_total', 'counter', 'seconds', 'Total seconds spent doing I/Os.'), 'busyTicks', TICKS_PER_SECOND],
] as const;

export function windowsDiskProbe(host: HostLink): Probe {
  return {
    name: 'disk',
    async collect(context) {
      const disks = rowsOf(await host.ask('disks'), 'disks');
      const block = context.block();
      for (const { name, row } of disks) {
        for (const [of, key, divisor] of COLUMNS) {
          const value = row.number(key);
          block.add(of, value === undefined ? null : value / divisor, name);
        }
      }
    },
  };
}
