/** A node's disks and network, for its dashboard. */
import { DISK, bars, chart, table } from './panel.ts';
import { NODE, instant, range, rate, rows } from './query.ts';

const MOUNT = 'by (device, fstype, mountpoint)';

export const disks = [
  table({
    title: 'File systems',
    description:
      'Room as df(1) tells it. "In a week" is what would be left if the pace of the last six hours went on; 0 means full before then.',
    queries: [
      rows(`max ${MOUNT} (tidemark_filesystem_usage_ratio{${NODE}})`),
      rows(`max ${MOUNT} (node_filesystem_size_bytes{${NODE}})`),
      rows(`max ${MOUNT} (node_filesystem_avail_bytes{${NODE}})`),
      rows(`max ${MOUNT} (clamp_min(predict_linear(node_filesystem_avail_bytes{${NODE}}[6h], 7 * 86400), 0))`),
      rows(`max ${MOUNT} (1 - node_filesystem_files_free{${NODE}} / (node_filesystem_files{${NODE}} > 0))`),
      rows(`max ${MOUNT} (node_filesystem_readonly{${NODE}})`),
    ],
    width: 16,
    height: 9,
    columns: [
      { field: 'mountpoint', title: 'Mounted on' },
      { field: 'device', title: 'Device' },
      { field: 'fstype', title: 'Type', width: 80 },
      { field: 'Value #A', title: 'Used', unit: 'percentunit', decimals: 0, bounds: DISK, gauge: true },
      { field: 'Value #B', title: 'Size', unit: 'bytes', width: 100 },
      { field: 'Value #C', title: 'Available', unit: 'bytes', width: 100 },
      { field: 'Value #D', title: 'In a week', unit: 'bytes', width: 100 },
      { field: 'Value #E', title: 'Inodes', unit: 'percentunit', decimals: 0, bounds: DISK, width: 80 },
      {
        field: 'Value #F',
        title: 'Writable',
        states: { '0': { text: 'yes', color: 'green' }, '1': { text: 'read-only', color: 'orange' } },
        width: 90,
      },
    ],
    sortBy: { title: 'Used', descending: true },
    noValue: '–',
  }),
  bars({
    title: 'Used',
    description: 'Used share of each file system.',
    queries: [instant(`sort_desc(max by (mountpoint) (tidemark_filesystem_usage_ratio{${NODE}}))`, '{{mountpoint}}')],
    width: 8,
    height: 9,
    unit: 'percentunit',
    min: 0,
    max: 1,
    bounds: DISK,
  }),
  chart({
    title: 'Used over time',
    description: 'Used share of each file system. The lines are 70 % and 85 %.',
    queries: [range(`max by (mountpoint) (tidemark_filesystem_usage_ratio{${NODE}})`, '{{mountpoint}}')],
    width: 12,
    unit: 'percentunit',
    min: 0,
    max: 1,
    bounds: DISK,
  }),
  chart({
    title: 'Read and written',
    description: 'Bytes a second by disk; written is drawn downwards.',
    queries: [
      range(`sum by (device) (${rate('node_disk_read_bytes_total')})`, '{{device}} read'),
      range(`- sum by (device) (${rate('node_disk_written_bytes_total')})`, '{{device}} written'),
    ],
    width: 12,
    unit: 'Bps',
    centredOnZero: true,
  }),
  chart({
    title: 'Operations',
    description: 'Finished reads and writes a second; writes are drawn downwards.',
    queries: [
      range(`sum by (device) (${rate('node_disk_reads_completed_total')})`, '{{device}} reads'),
      range(`- sum by (device) (${rate('node_disk_writes_completed_total')})`, '{{device}} writes'),
    ],
    width: 8,
    unit: 'iops',
    centredOnZero: true,
  }),
  chart({
    title: 'Time an operation takes',
    description: 'Mean of the reads and of the writes that finished, waiting included.',
    queries: [
      range(
        `sum by (device) (${rate('node_disk_read_time_seconds_total')}) / sum by (device) (${rate('node_disk_reads_completed_total')})`,
        '{{device}} read',
      ),
      range(
        `sum by (device) (${rate('node_disk_write_time_seconds_total')}) / sum by (device) (${rate('node_disk_writes_completed_total')})`,
        '{{device}} write',
      ),
    ],
    width: 8,
    unit: 's',
    min: 0,
  }),
  chart({
    title: 'Busy',
    description:
      'Share of the time in which the disk had something to do. A disk that works on several things at once is not full at 100 %.',
    queries: [range(`max by (device) (${rate('node_disk_io_time_seconds_total')})`, '{{device}}')],
    width: 8,
    unit: 'percentunit',
    min: 0,
    max: 1,
  }),
];

export const network = [
  chart({
    title: 'Traffic',
    description: 'Bits a second by device; sent is drawn downwards.',
    queries: [
      range(`sum by (device) (${rate('node_network_receive_bytes_total', ',device!="lo"')}) * 8`, '{{device}} received'),
      range(`- sum by (device) (${rate('node_network_transmit_bytes_total', ',device!="lo"')}) * 8`, '{{device}} sent'),
    ],
    width: 12,
    unit: 'bps',
    centredOnZero: true,
  }),
  chart({
    title: 'Errors and drops',
    description: 'Packets a second that were damaged or thrown away, in either direction.',
    queries: [
      range(
        `sum by (device) (${rate('node_network_receive_errs_total', ',device!="lo"')} + ${rate('node_network_transmit_errs_total', ',device!="lo"')})`,
        '{{device}} errors',
      ),
      range(
        `sum by (device) (${rate('node_network_receive_drop_total', ',device!="lo"')} + ${rate('node_network_transmit_drop_total', ',device!="lo"')})`,
        '{{device}} drops',
      ),
    ],
    width: 6,
    unit: 'pps',
    min: 0,
  }),
  chart({
    title: 'TCP connections',
    description: 'Sockets in use, and those that only wait to be forgotten.',
    queries: [range(`max(node_sockstat_TCP_inuse{${NODE}})`, 'in use'), range(`max(node_sockstat_TCP_tw{${NODE}})`, 'time wait')],
    width: 6,
    min: 0,
    noValue: 'This system does not tell.',
  }),
];
