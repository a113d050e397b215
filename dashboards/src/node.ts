/** One node: its state, then CPU and memory, disks, network, system and what its agent costs. */
import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { dashboard, jobChoice, nodeChoice, prometheusSource, siteChoice } from './dashboard.ts';
import {
  CPU,
  DISK,
  MEMORY,
  NONE_AT_ALL,
  SERVER_STATES,
  UP_STATES,
  asLimit,
  bars,
  chart,
  colour,
  stat,
  table,
  valueMapping,
} from './panel.ts';
import { NODE, instant, range, rows } from './query.ts';

const rate = (counter: string, labels = ''): string => `rate(${counter}{${NODE}${labels}}[$__rate_interval])`;
const MOUNT = 'by (device, fstype, mountpoint)';

const now = [
  stat({
    title: 'State',
    description: 'Whether the node was heard from within its grace.',
    queries: [instant(`max(tidemark_node_up{${NODE}})`)],
    width: 3,
    mappings: [valueMapping(UP_STATES)],
  }),
  stat({
    title: 'CPU',
    description: 'Busy share of all CPUs; of the limit where a container has one.',
    queries: [range(`max(tidemark_cpu_usage_ratio{${NODE}})`)],
    width: 3,
    unit: 'percentunit',
    decimals: 0,
    bounds: CPU,
    spark: true,
  }),
  stat({
    title: 'Memory',
    description: 'Share of the memory that programs cannot have.',
    queries: [range(`max(tidemark_memory_usage_ratio{${NODE}})`)],
    width: 3,
    unit: 'percentunit',
    decimals: 0,
    bounds: MEMORY,
    spark: true,
  }),
  stat({
    title: 'Fullest disk',
    description: 'The file system with the least room.',
    queries: [range(`max(tidemark_filesystem_usage_ratio{${NODE}})`)],
    width: 3,
    unit: 'percentunit',
    decimals: 0,
    bounds: DISK,
    spark: true,
  }),
  stat({
    title: 'Load per CPU',
    description: 'The 5 minute load average for each CPU. Above 1 something waits.',
    queries: [instant(`max(node_load5{${NODE}}) / count(node_cpu_seconds_total{${NODE},mode="idle"})`)],
    width: 3,
    decimals: 2,
    bounds: { warning: 1, critical: 4 },
  }),
  stat({
    title: 'Up for',
    description: 'Time since the machine was started.',
    queries: [instant(`max(tidemark_uptime_seconds{${NODE}})`)],
    width: 3,
    unit: 'dtdurations',
    decimals: 0,
    plain: true,
  }),
  stat({
    title: 'Clock',
    description: "The node's clock less the collector's.",
    queries: [instant(`max(tidemark_node_clock_offset_seconds{${NODE}})`)],
    width: 3,
    unit: 's',
    decimals: 2,
    plain: true,
  }),
  stat({
    title: 'PostgreSQL down',
    description: 'PostgreSQL servers that the agent watches and that do not answer.',
    queries: [instant(`count(pg_up{${NODE}} == 0) or vector(0)`)],
    width: 3,
    bounds: NONE_AT_ALL,
  }),
];

const cpu = [
  chart({
    title: 'CPU by what it does',
    description: 'Mean over all CPUs; what is missing to 100 % is idle.',
    queries: [range(`avg by (mode) (${rate('node_cpu_seconds_total', ',mode!="idle"')})`, '{{mode}}')],
    width: 12,
    height: 9,
    unit: 'percentunit',
    min: 0,
    max: 1,
    stacked: true,
    overrides: {
      user: colour('blue'),
      system: colour('orange'),
      iowait: colour('purple'),
      steal: colour('red'),
      nice: colour('light-blue'),
      irq: colour('light-orange'),
      softirq: colour('yellow'),
    },
  }),
  chart({
    title: 'CPU usage',
    description: 'The figure that rules judge. The lines are 70 % and 90 %.',
    queries: [range(`max(tidemark_cpu_usage_ratio{${NODE}})`, 'usage')],
    width: 6,
    height: 9,
    unit: 'percentunit',
    min: 0,
    max: 1,
    bounds: CPU,
    overrides: { usage: colour('blue') },
  }),
  chart({
    title: 'Load',
    description: 'Processes that run or wait, against the number of CPUs.',
    queries: [
      range(`max(node_load1{${NODE}})`, '1 min'),
      range(`max(node_load5{${NODE}})`, '5 min'),
      range(`max(node_load15{${NODE}})`, '15 min'),
      range(`count(node_cpu_seconds_total{${NODE},mode="idle"})`, 'CPUs'),
    ],
    width: 6,
    height: 9,
    min: 0,
    overrides: { CPUs: asLimit() },
  }),
  chart({
    title: 'Memory',
    description: 'What the memory holds. Caches are given up when programs need the room.',
    queries: [
      range(`max(node_memory_MemTotal_bytes{${NODE}} - node_memory_MemAvailable_bytes{${NODE}})`, 'programs'),
      range(`max(node_memory_MemAvailable_bytes{${NODE}} - node_memory_MemFree_bytes{${NODE}})`, 'caches'),
      range(`max(node_memory_MemFree_bytes{${NODE}})`, 'free'),
      range(`max(node_memory_MemTotal_bytes{${NODE}})`, 'total'),
    ],
    width: 12,
    height: 9,
    unit: 'bytes',
    min: 0,
    stacked: true,
    overrides: { programs: colour('blue'), caches: colour('light-blue'), free: colour('green'), total: asLimit() },
  }),
  chart({
    title: 'Memory usage',
    description: 'The figure that rules judge. The lines are 75 % and 90 %.',
    queries: [range(`max(tidemark_memory_usage_ratio{${NODE}})`, 'usage')],
    width: 6,
    height: 9,
    unit: 'percentunit',
    min: 0,
    max: 1,
    bounds: MEMORY,
    overrides: { usage: colour('blue') },
  }),
  chart({
    title: 'Swap and paging',
    description: 'Swap space in use, and pages that were fetched from disk in a second (right).',
    queries: [
      range(`max(node_memory_SwapTotal_bytes{${NODE}} - node_memory_SwapFree_bytes{${NODE}})`, 'swap used'),
      range(`max(${rate('node_vmstat_pgmajfault')})`, 'major faults'),
    ],
    width: 6,
    height: 9,
    unit: 'bytes',
    min: 0,
    overrides: {
      'swap used': colour('purple'),
      'major faults': [...colour('orange'), { id: 'unit', value: 'cps' }, { id: 'custom.axisPlacement', value: 'right' }],
    },
  }),
  chart({
    title: 'Pressure',
    description: 'Share of the time in which something waited for CPU, memory or disk. Needs a kernel with PSI.',
    queries: [
      range(`max(${rate('node_pressure_cpu_waiting_seconds_total')})`, 'CPU'),
      range(`max(${rate('node_pressure_memory_waiting_seconds_total')})`, 'memory'),
      range(`max(${rate('node_pressure_io_waiting_seconds_total')})`, 'disk'),
    ],
    width: 24,
    height: 6,
    unit: 'percentunit',
    min: 0,
    noValue: 'This kernel does not tell.',
    overrides: { CPU: colour('blue'), memory: colour('purple'), disk: colour('orange') },
  }),
];

const disks = [
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

const network = [
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

const system = [
  chart({
    title: 'Processes',
    description: 'Those that run or could, and those that wait for a disk.',
    queries: [range(`max(node_procs_running{${NODE}})`, 'running'), range(`max(node_procs_blocked{${NODE}})`, 'blocked')],
    width: 6,
    min: 0,
  }),
  chart({
    title: 'Context switches and interrupts',
    description: 'A second, of the whole machine.',
    queries: [
      range(`max(${rate('node_context_switches_total')})`, 'context switches'),
      range(`max(${rate('node_intr_total')})`, 'interrupts'),
    ],
    width: 6,
    unit: 'cps',
    min: 0,
  }),
  chart({
    title: 'Open files',
    description: 'File handles in use.',
    queries: [range(`max(node_filefd_allocated{${NODE}})`, 'open')],
    width: 6,
    min: 0,
  }),
  chart({
    title: 'Clock offset',
    description: "The node's clock less the collector's.",
    queries: [range(`max(tidemark_node_clock_offset_seconds{${NODE}})`, 'offset')],
    width: 6,
    unit: 's',
    centredOnZero: true,
  }),
];

const agent = [
  chart({
    title: "The agent's CPU",
    description: 'Share of one CPU.',
    queries: [range(`max(${rate('tidemark_agent_cpu_seconds_total')})`, 'CPU')],
    width: 6,
    unit: 'percentunit',
    min: 0,
  }),
  chart({
    title: "The agent's memory",
    description: 'Resident memory.',
    queries: [range(`max(tidemark_agent_resident_memory_bytes{${NODE}})`, 'resident')],
    width: 6,
    unit: 'bytes',
    min: 0,
  }),
  chart({
    title: 'Waiting on the node',
    description: 'Reports that the collector has not confirmed yet, as they lie on the disk of the node.',
    queries: [range(`max(tidemark_agent_spool_bytes{${NODE}})`, 'spool')],
    width: 6,
    unit: 'bytes',
    min: 0,
  }),
  chart({
    title: 'Reports lost',
    description: 'Reports that the agent had to give up. Anything but 0 is a gap in the history.',
    queries: [range(`max(increase(tidemark_agent_reports_lost_total{${NODE}}[$__rate_interval]))`, 'lost')],
    width: 6,
    min: 0,
  }),
];

const postgresql = [
  table({
    title: 'PostgreSQL servers',
    description: 'What the agent of this node watches.',
    queries: [
      rows(`max by (server) (pg_up{${NODE}})`),
      rows(`max by (server) (pg_replication_is_replica{${NODE}})`),
      rows(`max by (server) (tidemark_postgres_connections_used_ratio{${NODE}})`),
      rows(`max by (server) (tidemark_postgres_replicas{${NODE}})`),
    ],
    width: 24,
    height: 5,
    columns: [
      {
        field: 'server',
        title: 'Instance',
        link: {
          title: 'Open the instance',
          url: '/d/tidemark-postgresql?${__url_time_range}&${datasource:queryparam}&${job:queryparam}&${node:queryparam}&var-instance=${__value.text}',
        },
      },
      { field: 'Value #A', title: 'State', states: SERVER_STATES },
      {
        field: 'Value #B',
        title: 'Role',
        states: { '0': { text: 'primary', color: 'text' }, '1': { text: 'replica', color: 'text' } },
      },
      { field: 'Value #C', title: 'Connections', unit: 'percentunit', decimals: 0, bounds: { warning: 0.8, critical: 0.95 }, gauge: true },
      { field: 'Value #D', title: 'Replicas' },
    ],
    noValue: 'The agent of this node watches no PostgreSQL.',
  }),
];

export const node = (): Dashboard =>
  dashboard({
    uid: 'tidemark-node',
    title: 'Tidemark / Node',
    description: 'One node in depth.',
    variables: [prometheusSource(), jobChoice(), siteChoice(), nodeChoice()],
    from: 'now-6h',
    refresh: '30s',
    alertsOf: 'node="$node"',
    rows: [
      { title: '', panels: now },
      { title: 'CPU and memory', panels: cpu },
      { title: 'Disks', panels: disks },
      { title: 'Network', panels: network },
      { title: 'PostgreSQL', panels: postgresql },
      { title: 'System', panels: system },
      { title: 'The agent', panels: agent },
    ],
  });
