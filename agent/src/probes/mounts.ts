/**
 * Reads /proc/…/mountinfo: what is mounted where, which of it is worth watching, and which of it may hang
 * because its data are on another machine or in another process.
 */

export interface Mount {
  readonly device: string;
  readonly mountpoint: string;
  readonly fstype: string;
  readonly readOnly: boolean;
  /** The directory of the file system that is mounted; not "/" for bind mounts and subvolumes. */
  readonly root: string;
  readonly superOptions: string;
}

/** node_exporter's default exclusions, and three read-only image formats that are full by nature. */
const IGNORED_TYPES = new Set(
  (
    'autofs binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts devtmpfs fusectl hugetlbfs iso9660 mqueue nsfs overlay proc procfs pstore ' +
    'rpc_pipefs securityfs selinuxfs squashfs sysfs tracefs cramfs efivarfs erofs ramfs romfs fuse.lxcfs fuse.gvfsd-fuse fuse.portal'
  ).split(' '),
);
/** node_exporter's default exclusions, and the three files that every container has mounted from the host's disk. */
const IGNORED_PLACES =
  /^\/(?:dev|proc|sys|run\/credentials\/.+|var\/lib\/docker\/.+|var\/lib\/containers\/storage\/.+|etc\/(?:hosts|hostname|resolv\.conf))(?:$|\/)/;
const NETWORK_TYPES = new Set(
  '9p acfs afs beegfs ceph cifs coda davfs fhgfs gfs gfs2 glusterfs gpfs lustre ncpfs ocfs2 orangefs pvfs2 smb2 smb3 smbfs vboxsf virtiofs vmhgfs'.split(
    ' ',
  ),
);

/** Every mount of a mountinfo file, in its order. Lines that have not its form are skipped. */
export function parseMounts(text: string): Mount[] {
  const mounts: Mount[] = [];
  for (const line of text.split('\n')) {
    // 36 35 98:0 /root /mountpoint options [optional fields…] - fstype device super-options
    const separator = line.indexOf(' - ');
    if (separator === -1) continue;
    const before = line.slice(0, separator).split(' ');
    const after = line.slice(separator + 3).split(' ');
    const [root, mountpoint, options] = [before[3], before[4], before[5]];
    const [fstype, device, superOptions = ''] = after;
    if (root === undefined || mountpoint === undefined || options === undefined || fstype === undefined || device === undefined) continue;
    mounts.push({
      device: unescapeOctal(device),
      mountpoint: unescapeOctal(mountpoint),
      fstype: unescapeOctal(fstype),
      readOnly: hasOption(options, 'ro') || hasOption(superOptions, 'ro'),
      root: unescapeOctal(root),
      superOptions,
    });
  }
  return mounts;
}

/** The mounts worth watching. Where several are stacked on one place only the topmost counts: it is the one that statfs sees. */
export function watchedMounts(mounts: readonly Mount[]): Mount[] {
  const byPlace = new Map<string, Mount>();
  for (const mount of mounts) {
    // An automounter's own mount lies below the real one, and says nothing when it lies alone.
    if (mount.fstype === 'autofs' && byPlace.has(mount.mountpoint)) continue;
    byPlace.delete(mount.mountpoint);
    byPlace.set(mount.mountpoint, mount);
  }
  return [...byPlace.values()].filter(isWatched);
}

/** True for what depends on another machine or on a process that may have stopped: it may never answer. */
export function mayHang(fstype: string): boolean {
  return fstype.startsWith('nfs') || fstype === 'fuse' || fstype.startsWith('fuse.') || NETWORK_TYPES.has(fstype);
}

function isWatched({ fstype, mountpoint }: Mount): boolean {
  // A container's root is an overlay, and how full the disk below it is matters as much as anywhere.
  if (fstype === 'overlay' && mountpoint === '/') return true;
  return !IGNORED_TYPES.has(fstype) && !IGNORED_PLACES.test(mountpoint);
}

function hasOption(options: string, option: string): boolean {
  return options === option || options.startsWith(`${option},`) || options.endsWith(`,${option}`) || options.includes(`,${option},`);
}

/** The kernel writes blank, tab, newline, backslash and # as \ and three octal digits. */
function unescapeOctal(text: string): string {
  return text.includes('\\')
    ? text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCodePoint(Number.parseInt(octal, 8)))
    : text;
}
