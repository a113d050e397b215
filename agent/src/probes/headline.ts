/**
 * The metrics that the collector itself reads (HEADLINE in the protocol), declared once for the probes of
 * every platform, so that a Windows machine and a Linux machine cannot disagree about what they mean.
 */
import { HEADLINE } from '@tidemark/protocol';
import { metric, type BlockRecorder } from './recorder.ts';

const MOUNT_LABELS = ['device', 'fstype', 'mountpoint'];

export const CPU_USAGE_RATIO = metric(
  HEADLINE.cpuUsageRatio,
  'gauge',
  'ratio',
  'Busy share of all CPUs since the collection before; of the limit where a container has one.',
);
export const MEMORY_USAGE_RATIO = metric(
  HEADLINE.memoryUsageRatio,
  'gauge',
  'ratio',
  'Share of the memory that is not available to programs; of the limit where a container has one.',
);
export const MEMORY_TOTAL_BYTES = metric(HEADLINE.memoryTotalBytes, 'gauge', 'bytes', 'Memory information field MemTotal_bytes.');
export const UPTIME_SECONDS = metric(HEADLINE.uptimeSeconds, 'gauge', 'seconds', 'Time since the machine was started.');

const filesystem = {
  sizeBytes: metric(HEADLINE.filesystemSizeBytes, 'gauge', 'bytes', 'Filesystem size in bytes.', MOUNT_LABELS),
  freeBytes: metric('node_filesystem_free_bytes', 'gauge', 'bytes', 'Filesystem free space in bytes.', MOUNT_LABELS),
  availableBytes: metric(
    HEADLINE.filesystemAvailableBytes,
    'gauge',
    'bytes',
    'Filesystem space available to non-root users in bytes.',
    MOUNT_LABELS,
  ),
  files: metric('node_filesystem_files', 'gauge', '', 'Filesystem total file nodes.', MOUNT_LABELS),
  filesFree: metric('node_filesystem_files_free', 'gauge', '', 'Filesystem total free file nodes.', MOUNT_LABELS),
  readOnly: metric(HEADLINE.filesystemReadOnly, 'gauge', '', 'Filesystem read-only status.', MOUNT_LABELS),
  deviceError: metric(
    HEADLINE.filesystemDeviceError,
    'gauge',
    '',
    'Whether an error occurred while getting statistics for the given device.',
    MOUNT_LABELS,
  ),
  usageRatio: metric(
    HEADLINE.filesystemUsageRatio,
    'gauge',
    'ratio',
    'Used share of what non-root users can use, as df(1) tells it.',
    MOUNT_LABELS,
  ),
};

/** What fs.statfs tells. `frsize` is what blocks are counted in where Node tells it (later than 20). */
export interface FilesystemStats {
  readonly bsize: number;
  readonly frsize?: number;
  readonly blocks: number;
  readonly bfree: number;
  readonly bavail: number;
  readonly files: number;
  readonly ffree: number;
}

/** `stats` is "error" when it could not be had, undefined when nobody could ask just now: then nothing is known, not even an error. */
export function recordFilesystem(
  block: BlockRecorder,
  mount: { readonly device: string; readonly fstype: string; readonly mountpoint: string; readonly readOnly: boolean | null },
  stats: FilesystemStats | 'error' | undefined,
): void {
  const { device, fstype, mountpoint } = mount;
  const seen = typeof stats === 'object' ? stats : undefined;
  const unit = seen?.frsize || seen?.bsize || 0;
  const bytes = (blocks: number | undefined): number | null => (blocks === undefined ? null : blocks * unit);
  block.add(filesystem.sizeBytes, bytes(seen?.blocks), device, fstype, mountpoint);
  block.add(filesystem.freeBytes, bytes(seen?.bfree), device, fstype, mountpoint);
  block.add(filesystem.availableBytes, bytes(seen?.bavail), device, fstype, mountpoint);
  block.add(filesystem.files, seen?.files, device, fstype, mountpoint);
  block.add(filesystem.filesFree, seen?.ffree, device, fstype, mountpoint);
  block.add(filesystem.readOnly, mount.readOnly === null ? null : Number(mount.readOnly), device, fstype, mountpoint);
  block.add(filesystem.deviceError, stats === undefined ? null : Number(stats === 'error'), device, fstype, mountpoint);
  block.add(filesystem.usageRatio, seen === undefined ? null : usageRatio(seen), device, fstype, mountpoint);
}

/** Used against used plus available: what root keeps for itself is neither. Null for a file system without blocks. */
function usageRatio({ blocks, bfree, bavail }: FilesystemStats): number | null {
  const used = blocks - bfree;
  return used + bavail > 0 ? used / (used + bavail) : null;
}
