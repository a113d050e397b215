/**
 * Disk I/O on Linux, from /proc/diskstats. Whole disks and what is built of them (md, dm) are told;
 * partitions, RAM disks and loop devices are left out, as node_exporter does.
 */
import { join } from 'node:path';
import { KernelFile } from './kernel-file.ts';
import { noData, type Probe } from './probe.ts';
import { metric, type Metric } from './recorder.ts';

/** node_exporter's default exclusion, with disks beyond the 26th (sdaa1) and memory cards (mmcblk0p1) done right. */
const IGNORED = /^(?:(?:ram|loop|fd)\d+|(?:h|s|v|xv)d[a-z]+\d+|(?:nvme\d+n|mmcblk)\d+p\d+)$/;
/** Counters are divided by these: 33061 / 1000 is 33.061, while 33061 * 1e-3 would travel with seventeen digits. */
const SECTORS_PER_BYTE = 1 / 512;
const PER_SECOND = 1000;

interface Column {
  readonly metric: Metric;
  readonly divisor: number;
}

function column(name: string, type: 'counter' | 'gauge', unit: string, divisor: number, help: string): Column {
  return { metric: metric(`node_disk_${name}`, type, unit, help, ['device']), divisor };
}

/** After the device's name, in the file's order. Kernels have the first 11, from 4.18 on 15, from 5.5 on 17 of them. */
const COLUMNS: readonly Column[] = [
  column('reads_completed_total', 'counter', '', 1, 'The total number of reads completed successfully.'),
  column('reads_merged_total', 'counter', '', 1, 'The total number of reads merged.'),
  column('read_bytes_total', 'counter', 'bytes', SECTORS_PER_BYTE, 'The total number of bytes read successfully.'),
  column('read_time_seconds_total', 'counter', 'seconds', PER_SECOND, 'The total number of seconds spent by all reads.'),
  column('writes_completed_total', 'counter', '', 1, 'The total number of writes completed successfully.'),
  column('writes_merged_total', 'counter', '', 1, 'The number of writes merged.'),
  column('written_bytes_total', 'counter', 'bytes', SECTORS_PER_BYTE, 'The total number of bytes written successfully.'),
  column('write_time_seconds_total', 'counter', 'seconds', PER_SECOND, 'This is the total number of seconds spent by all writes.'),
  column('io_now', 'gauge', '', 1, 'The number of I/Os currently in progress.'),
  column('io_time_seconds_total', 'counter', 'seconds', PER_SECOND, 'Total seconds spent doing I/Os.'),
  column('io_time_weighted_seconds_total', 'counter', 'seconds', PER_SECOND, 'The weighted # of seconds spent doing I/Os.'),
  column('discards_completed_total', 'counter', '', 1, 'The total number of discards completed successfully.'),
  column('discards_merged_total', 'counter', '', 1, 'The total number of discards merged.'),
  column('discarded_sectors_total', 'counter', '', 1, 'The total number of sectors discarded successfully.'),
  column('discard_time_seconds_total', 'counter', 'seconds', PER_SECOND, 'This is the total number of seconds spent by all discards.'),
  column('flush_requests_total', 'counter', '', 1, 'The total number of flush requests completed successfully'),
  column(
    'flush_requests_time_seconds_total',
    'counter',
    'seconds',
    PER_SECOND,
    'This is the total number of seconds spent by all flush requests.',
  ),
];

export function diskProbe(options: { readonly procfs: string }): Probe {
  const diskstats = new KernelFile(join(options.procfs, 'diskstats'));
  /** Names by what is thought of them: a device's name is judged once. */
  const watched = new Map<string, boolean>();
  return {
    name: 'disk',
    collect(context) {
      const cursor = diskstats.read();
      if (cursor === undefined) return noData;
      const block = context.block();
      do {
        cursor.skip(2);
        const device = cursor.word();
        if (device === '') continue;
        let watch = watched.get(device);
        if (watch === undefined) watched.set(device, (watch = !IGNORED.test(device)));
        if (!watch) continue;
        for (const { metric: of, divisor } of COLUMNS) {
          if (!cursor.more()) break;
          block.add(of, cursor.number() / divisor, device);
        }
      } while (cursor.nextLine());
      return undefined;
    },
    close: () => diskstats.close(),
  };
}
