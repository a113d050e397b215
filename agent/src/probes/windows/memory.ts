/**
 * What Windows has promised of its memory, as the service host reads it: programs fail when the commit limit is reached, which can be
 * long before physical memory is used up. Under windows_exporter's names.
 */
import type { Probe } from '../probe.ts';
import { metric } from '../recorder.ts';
import { rowOf } from './answers.ts';
import type { HostLink } from './host-link.ts';

const COLUMNS = [
  [metric('windows_memory_committed_bytes', 'gauge', 'bytes', 'Amount of committed virtual memory, in bytes'), 'committedBytes'],
  [
    metric(
      'windows_memory_commit_limit',
      'gauge',
      'bytes',
      'Amount of virtual memory, in bytes, that can be committed without having to extend the paging file(s)',
    ),
    'commitLimitBytes',
  ],
  [
    metric(
      'windows_memory_available_bytes',
      'gauge',
      'bytes',
      'The amount of physical memory immediately available for allocation to a process or for system use.',
    ),
    'availableBytes',
  ],
  [metric('windows_memory_cache_bytes', 'gauge', 'bytes', 'Number of bytes currently being used by the file system cache'), 'cacheBytes'],
  [metric('windows_memory_pool_paged_bytes', 'gauge', 'bytes', 'Number of bytes in the paged pool'), 'pagedPoolBytes'],
  [metric('windows_memory_pool_nonpaged_bytes', 'gauge', 'bytes', 'Number of bytes in the non-paged pool'), 'nonpagedPoolBytes'],
  [metric('windows_system_processes', 'gauge', '', 'Number of processes'), 'processes'],
  [metric('windows_system_threads', 'gauge', '', 'Number of threads'), 'threads'],
  [metric('tidemark_windows_handles', 'gauge', '', 'Handles that all processes have open.'), 'handles'],
] as const;

export function windowsMemoryProbe(host: HostLink): Probe {
  return {
    name: 'windows-memory',
    async collect(context) {
      const row = rowOf(await host.ask('memory'));
      const block = context.block();
      for (const [of, key] of COLUMNS) block.add(of, row.number(key));
    },
  };
}
