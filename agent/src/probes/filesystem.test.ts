/** File systems: which mounts are watched, and that one which never answers holds up nothing. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { filesystemProbe } from './filesystem.ts';
import type { FilesystemStats } from './headline.ts';
import { textOf } from './kernel-file.ts';
import { mayHang, parseMounts, watchedMounts } from './mounts.ts';
import { BlockRecorder } from './recorder.ts';
import { fixture, record, roots } from './recorded.ts';
import { type Statfs, StatfsGate } from './statfs-gate.ts';

const STATS: FilesystemStats = { bsize: 4096, blocks: 1000, bfree: 400, bavail: 200, files: 50, ffree: 40 };
const never = (): Promise<FilesystemStats> => new Promise(() => {});

describe('mounts', () => {
  const watched = watchedMounts(parseMounts(textOf(fixture('odd-mounts', 'proc/1/mountinfo')) ?? ''));

  test('are unescaped, stacked ones are told once by their top, pseudo file systems and images are left out', () => {
    expect(watched.map(({ device, fstype, mountpoint }) => `${device} ${fstype} ${mountpoint}`)).toEqual([
      '/dev/vda1 ext4 /',
      '/dev/sd b1 vfat /mnt/My Disk\ttab\\back',
      'filer:/export/data nfs4 /srv/data',
      'user@host:/home fuse.sshfs /home/user/remote',
      '//server/share cifs /auto',
      '/dev/new xfs /data',
      '/dev/vda1 ext4 /readonly',
      '/dev/sdc btrfs /production',
    ]);
  });

  test('are read-only by the mount or by the file system; an option that only begins so is none', () => {
    expect(watched.filter((mount) => mount.readOnly).map((mount) => mount.mountpoint)).toEqual(['/readonly', '/production']);
  });

  test('a container’s root counts although it is an overlay', () => {
    const text = textOf(fixture('container-v2', 'proc/1/mountinfo')) ?? '';
    expect(watchedMounts(parseMounts(text)).map((mount) => mount.mountpoint)).toEqual(['/']);
  });

  test.each(['nfs', 'nfs4', 'cifs', 'smb3', 'fuse.sshfs', 'fuse.glusterfs', 'fuse', '9p', 'ceph', 'lustre', 'afs'])(
    '%s may hang',
    (fstype) => {
      expect(mayHang(fstype)).toBe(true);
    },
  );

  test.each(['ext4', 'xfs', 'btrfs', 'zfs', 'tmpfs', 'fuseblk', 'overlay'])('%s is local', (fstype) => {
    expect(mayHang(fstype)).toBe(false);
  });
});

describe('with time at hand', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  test('a mount that never answers is a sample, once waited for; the others are seen', async () => {
    const asked: string[] = [];
    const statfs = (path: string): Promise<FilesystemStats> => {
      asked.push(path);
      return path === '/srv/data' ? never() : Promise.resolve(STATS);
    };
    const probe = filesystemProbe({ procfs: roots('odd-mounts').procfs, statfs });
    const recorder = new BlockRecorder('filesystem', '');
    const collecting = record(probe, recorder);
    await vi.advanceTimersByTimeAsync(1_500);
    const first = await collecting;
    const nfs = '{device="filer:/export/data",fstype="nfs4",mountpoint="/srv/data"}';
    const root = '{device="/dev/vda1",fstype="ext4",mountpoint="/"}';
    expect(first.values.get(`node_filesystem_device_error${nfs}`)).toBe(1);
    expect(first.values.get(`node_filesystem_size_bytes${nfs}`)).toBeNull();
    expect(first.values.get(`tidemark_filesystem_usage_ratio${nfs}`)).toBeNull();
    expect(first.values.get(`node_filesystem_readonly${nfs}`)).toBe(0);
    expect(first.values.get(`node_filesystem_device_error${root}`)).toBe(0);
    expect(first.values.get(`node_filesystem_size_bytes${root}`)).toBe(4_096_000);
    expect(first.values.get(`node_filesystem_free_bytes${root}`)).toBe(1_638_400);
    expect(first.values.get(`node_filesystem_avail_bytes${root}`)).toBe(819_200);
    expect(first.values.get(`node_filesystem_files_free${root}`)).toBe(40);
    // 600 used of the 800 that there are for others than root.
    expect(first.values.get(`tidemark_filesystem_usage_ratio${root}`)).toBe(0.75);

    // No clock moves from here on: it is known to be stuck, and is neither asked nor waited for.
    const second = await record(probe, recorder);
    expect(second.values).toEqual(first.values);
    expect(second.hash).toBe(first.hash);
    expect(asked.filter((path) => path === '/srv/data')).toHaveLength(1);
    expect(asked.filter((path) => path === '/')).toHaveLength(2);
  });

  test('a mount that answers late is well the next time', async () => {
    let answer: (stats: FilesystemStats) => void = () => {};
    const statfs = vi.fn<Statfs>(() => new Promise<FilesystemStats>((resolve) => (answer = resolve)));
    const gate = new StatfsGate({ outstandingMax: 2, timeoutMs: 1_000, statfs });
    const first = gate.ask(['/nfs']);
    await vi.advanceTimersByTimeAsync(1_000);
    expect((await first).get('/nfs')).toBe('error');
    expect((await gate.ask(['/nfs'])).get('/nfs')).toBe('error');
    expect(gate.outstanding).toBe(1);
    answer(STATS);
    await vi.advanceTimersByTimeAsync(0);
    expect(gate.outstanding).toBe(0);
    const again = gate.ask(['/nfs']);
    answer(STATS);
    expect((await again).get('/nfs')).toBe(STATS);
    expect(statfs).toHaveBeenCalledTimes(2);
  });

  test('however many hang, no more threads are held than may be, and all ends in one timeout', async () => {
    const statfs = vi.fn<Statfs>(never);
    const gate = new StatfsGate({ outstandingMax: 8, timeoutMs: 1_000, statfs });
    const paths = Array.from({ length: 50 }, (_, i) => `/nfs/${i}`);
    const asking = gate.ask(paths);
    await vi.advanceTimersByTimeAsync(1_000);
    const answers = await asking;
    expect(statfs).toHaveBeenCalledTimes(8);
    expect(paths.map((path) => answers.get(path)).filter((answer) => answer === 'error')).toHaveLength(8);
    // The rest could not be asked: that is not an error of theirs.
    expect(answers.size).toBe(50);
    expect(paths.slice(8).every((path) => answers.get(path) === undefined)).toBe(true);
    const again = await gate.ask(paths);
    expect(again.size).toBe(50);
    expect(statfs).toHaveBeenCalledTimes(8);
  });

  test('slow ones that answer in time do not make the collection as long as their sum', async () => {
    const statfs = vi.fn<Statfs>(() => new Promise<FilesystemStats>((resolve) => setTimeout(resolve, 900, STATS)));
    const gate = new StatfsGate({ outstandingMax: 2, timeoutMs: 1_000, statfs });
    let done = false;
    const asking = gate.ask(Array.from({ length: 20 }, (_, i) => `/slow/${i}`)).finally(() => (done = true));
    await vi.advanceTimersByTimeAsync(1_999);
    expect(done).toBe(true);
    expect([...(await asking).values()].filter((answer) => answer === STATS)).toHaveLength(4);
  });
});

test('what fails at once is an error, what is not there is absent', async () => {
  const gate = new StatfsGate({
    outstandingMax: 2,
    timeoutMs: 1_000,
    statfs: (path) => Promise.reject(Object.assign(new Error(path), { code: path === '/gone' ? 'ENOENT' : 'ESTALE' })),
  });
  const answers = await gate.ask(['/gone', '/stale']);
  expect(Object.fromEntries(answers)).toEqual({ '/gone': 'absent', '/stale': 'error' });
});

test('a file system without blocks has no usage rather than a division by nothing', async () => {
  const empty = { ...STATS, blocks: 0, bfree: 0, bavail: 0 };
  const { values } = await record(filesystemProbe({ procfs: roots('container-v2').procfs, statfs: async () => empty }));
  expect(values.get('tidemark_filesystem_usage_ratio{device="overlay",fstype="overlay",mountpoint="/"}')).toBeNull();
});

test('without mountinfo of process 1 the agent’s own is read; without any it is a failure', async () => {
  const statfs = async (): Promise<FilesystemStats> => STATS;
  const { values } = await record(filesystemProbe({ procfs: roots('old-kernel').procfs, statfs }));
  expect(values.get('node_filesystem_files{device="/dev/sda1",fstype="ext3",mountpoint="/"}')).toBe(50);
  await expect(record(filesystemProbe({ procfs: fixture('nowhere'), statfs }))).rejects.toThrow(/cannot read .*self\/mountinfo/);
});
