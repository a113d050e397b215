/**
 * What the widely used dashboards for node_exporter ask, by the panels of "Node Exporter Full" (grafana.com 1860, revision
 * 37 and later) that people look at first. `$node` is the label `instance`, `$job` the scrape job.
 */
const N = 'instance="$node",job="$job"';
const CPUS = `scalar(count(count(node_cpu_seconds_total{${N}}) by (cpu)))`;
const mode = (selection: string): string => `sum(irate(node_cpu_seconds_total{${N},${selection}}[$__rate_interval])) / ${CPUS}`;
const DISK_DEVICES = String.raw`device=~"[a-z]+|nvme[0-9]+n[0-9]+|mmcblk[0-9]+"`;

/** Panel to queries. */
export const NODE_EXPORTER_QUERIES: Readonly<Record<string, readonly string[]>> = {
  'CPU busy': [`100 * (1 - avg(rate(node_cpu_seconds_total{mode="idle", ${N}}[$__rate_interval])))`],
  'Sys load': [`scalar(node_load1{${N}}) * 100 / count(count(node_cpu_seconds_total{${N}}) by (cpu))`],
  'RAM used': [
    `((node_memory_MemTotal_bytes{${N}} - node_memory_MemFree_bytes{${N}}) / node_memory_MemTotal_bytes{${N}}) * 100`,
    `(1 - (node_memory_MemAvailable_bytes{${N}} / node_memory_MemTotal_bytes{${N}})) * 100`,
  ],
  'SWAP used': [`((node_memory_SwapTotal_bytes{${N}} - node_memory_SwapFree_bytes{${N}}) / (node_memory_SwapTotal_bytes{${N}})) * 100`],
  'Root FS used': [
    `100 - ((node_filesystem_avail_bytes{${N},mountpoint="/",fstype!="rootfs"} * 100) / node_filesystem_size_bytes{${N},mountpoint="/",fstype!="rootfs"})`,
  ],
  'CPU cores': [`count(count(node_cpu_seconds_total{${N}}) by (cpu))`],
  Uptime: [`node_time_seconds{${N}} - node_boot_time_seconds{${N}}`],
  'RootFS total': [`node_filesystem_size_bytes{${N},mountpoint="/",fstype!="rootfs"}`],
  'RAM total': [`node_memory_MemTotal_bytes{${N}}`],
  'SWAP total': [`node_memory_SwapTotal_bytes{${N}}`],
  Pressure: [
    `irate(node_pressure_cpu_waiting_seconds_total{${N}}[$__rate_interval])`,
    `irate(node_pressure_memory_waiting_seconds_total{${N}}[$__rate_interval])`,
    `irate(node_pressure_io_waiting_seconds_total{${N}}[$__rate_interval])`,
  ],
  'CPU basic': [
    mode('mode="system"'),
    mode('mode="user"'),
    mode('mode="iowait"'),
    mode('mode=~".*irq"'),
    mode("mode!='idle',mode!='user',mode!='system',mode!='iowait',mode!='irq',mode!='softirq'"),
    mode('mode="idle"'),
  ],
  'Memory basic': [
    `node_memory_MemTotal_bytes{${N}}`,
    `node_memory_MemTotal_bytes{${N}} - node_memory_MemFree_bytes{${N}} - (node_memory_Cached_bytes{${N}} + node_memory_Buffers_bytes{${N}} + node_memory_SReclaimable_bytes{${N}})`,
    `node_memory_Cached_bytes{${N}} + node_memory_Buffers_bytes{${N}} + node_memory_SReclaimable_bytes{${N}}`,
    `node_memory_MemFree_bytes{${N}}`,
    `(node_memory_SwapTotal_bytes{${N}} - node_memory_SwapFree_bytes{${N}})`,
  ],
  'Network traffic basic': [
    `irate(node_network_receive_bytes_total{${N}}[$__rate_interval])*8`,
    `irate(node_network_transmit_bytes_total{${N}}[$__rate_interval])*8`,
  ],
  'Disk space used basic': [
    `100 - ((node_filesystem_avail_bytes{${N},device!~'rootfs'} * 100) / node_filesystem_size_bytes{${N},device!~'rootfs'})`,
  ],
  'Memory stack': [
    `node_memory_PageTables_bytes{${N}}`,
    `node_memory_SwapCached_bytes{${N}}`,
    `node_memory_Slab_bytes{${N}}`,
    `node_memory_Mapped_bytes{${N}}`,
    `node_memory_Active_bytes{${N}}`,
    `node_memory_Inactive_bytes{${N}}`,
    `node_memory_Dirty_bytes{${N}}`,
    `node_memory_Committed_AS_bytes{${N}}`,
  ],
  'Disk IOps': [
    `irate(node_disk_reads_completed_total{${N},${DISK_DEVICES}}[$__rate_interval])`,
    `irate(node_disk_writes_completed_total{${N},${DISK_DEVICES}}[$__rate_interval])`,
  ],
  'I/O usage read and write': [
    `irate(node_disk_read_bytes_total{${N},${DISK_DEVICES}}[$__rate_interval])`,
    `irate(node_disk_written_bytes_total{${N},${DISK_DEVICES}}[$__rate_interval])`,
  ],
  'I/O utilization': [`irate(node_disk_io_time_seconds_total{${N},${DISK_DEVICES}}[$__rate_interval])`],
  'Disk average wait time': [
    `irate(node_disk_read_time_seconds_total{${N}}[$__rate_interval]) / irate(node_disk_reads_completed_total{${N}}[$__rate_interval])`,
    `irate(node_disk_write_time_seconds_total{${N}}[$__rate_interval]) / irate(node_disk_writes_completed_total{${N}}[$__rate_interval])`,
  ],
  'Average queue size': [`irate(node_disk_io_time_weighted_seconds_total{${N}}[$__rate_interval])`],
  'File nodes free': [`node_filesystem_files_free{${N},device!~'rootfs'}`],
  'Filesystem in read-only or error': [
    `node_filesystem_readonly{${N},device!~'rootfs'}`,
    `node_filesystem_device_error{${N},device!~'rootfs',fstype!~'tmpfs'}`,
  ],
  'System load': [`node_load1{${N}}`, `node_load5{${N}}`, `node_load15{${N}}`],
  'Context switches and interrupts': [
    `irate(node_context_switches_total{${N}}[$__rate_interval])`,
    `irate(node_intr_total{${N}}[$__rate_interval])`,
  ],
  'Processes status': [`node_procs_blocked{${N}}`, `node_procs_running{${N}}`, `irate(node_forks_total{${N}}[$__rate_interval])`],
  'Memory pages in and out': [
    `irate(node_vmstat_pgpgin{${N}}[$__rate_interval])`,
    `irate(node_vmstat_pgpgout{${N}}[$__rate_interval])`,
    `irate(node_vmstat_pswpin{${N}}[$__rate_interval])`,
    `irate(node_vmstat_pgfault{${N}}[$__rate_interval])  - irate(node_vmstat_pgmajfault{${N}}[$__rate_interval])`,
    `irate(node_vmstat_oom_kill{${N}}[$__rate_interval])`,
  ],
  'Network packets, errors and drops': [
    `irate(node_network_receive_packets_total{${N}}[$__rate_interval])`,
    `irate(node_network_transmit_packets_total{${N}}[$__rate_interval])`,
    `irate(node_network_receive_errs_total{${N}}[$__rate_interval])`,
    `irate(node_network_transmit_drop_total{${N}}[$__rate_interval])`,
  ],
  'Network operational status': [`node_network_up{${N}}`],
  'Sockstat TCP': [`node_sockstat_TCP_inuse{${N}}`, `node_sockstat_TCP_tw{${N}}`, `node_sockstat_TCP_alloc{${N}}`],
  'Sockstat UDP': [`node_sockstat_UDP_inuse{${N}}`],
  'File descriptors': [`node_filefd_maximum{${N}}`, `node_filefd_allocated{${N}}`],
};

/** How the dashboard finds job, host and node. */
export const NODE_EXPORTER_VARIABLES = {
  job: 'node_uname_info',
  nodename: 'node_uname_info{job="$job"}',
  instance: 'node_uname_info{job="$job", nodename="$nodename"}',
} as const;

/** These are the kernel's to tell: what has to be there for them to be. */
export const KERNEL_FILES: Readonly<Record<string, string>> = {
  node_pressure_: '/proc/pressure/cpu',
  node_vmstat_oom_kill: '/proc/vmstat',
};
