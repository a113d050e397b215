/** What identifies and limits a Linux system as a whole: uptime, wall clock, uname, file descriptors, connection tracking. */
import { machine } from 'node:os';
import { join } from 'node:path';
import { UPTIME_SECONDS } from './headline.ts';
import { KernelFile } from './kernel-file.ts';
import type { Probe } from './probe.ts';
import { metric } from './recorder.ts';

const timeSeconds = metric('node_time_seconds', 'gauge', 'seconds', 'System time in seconds since epoch (1970).');
const unameInfo = metric('node_uname_info', 'gauge', '', 'Labeled system information as provided by the uname system call.', [
  'domainname',
  'machine',
  'nodename',
  'release',
  'sysname',
  'version',
]);
const filesAllocated = metric('node_filefd_allocated', 'gauge', '', 'File descriptor statistics: allocated.');
const filesMaximum = metric('node_filefd_maximum', 'gauge', '', 'File descriptor statistics: maximum.');
const tracked = metric('node_nf_conntrack_entries', 'gauge', '', 'Number of currently allocated flow entries for connection tracking.');
const trackedMax = metric('node_nf_conntrack_entries_limit', 'gauge', '', 'Maximum size of connection tracking table.');

export function systemProbe(options: { readonly procfs: string }): Probe {
  const file = (path: string): KernelFile => new KernelFile(join(options.procfs, path));
  const uptime = file('uptime');
  const fileNr = file('sys/fs/file-nr');
  const conntrackCount = file('sys/net/netfilter/nf_conntrack_count');
  const conntrackMax = file('sys/net/netfilter/nf_conntrack_max');
  const uname = ['domainname', 'hostname', 'osrelease', 'ostype', 'version'].map((name) => file(`sys/kernel/${name}`));
  const all = [uptime, fileNr, conntrackCount, conntrackMax, ...uname];
  return {
    name: 'system',
    collect(context) {
      const block = context.block();
      block.add(UPTIME_SECONDS, uptime.mustRead().number());
      block.add(timeSeconds, context.clock.wallMs() / 1000);
      const [domain = '', host = '', release = '', system = '', version = ''] = uname.map((one) => one.read()?.line() ?? '');
      block.add(unameInfo, 1, domain, machine(), host, release, system, version);
      const files = fileNr.read();
      if (files !== undefined) {
        block.add(filesAllocated, files.number());
        files.skip(1);
        block.add(filesMaximum, files.number());
      }
      const entries = conntrackCount.read();
      if (entries === undefined) return;
      block.add(tracked, entries.number());
      block.add(trackedMax, conntrackMax.read()?.number());
    },
    close() {
      for (const one of all) one.close();
    },
  };
}
