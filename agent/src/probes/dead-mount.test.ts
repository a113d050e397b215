/**
 * A real mount whose server never answers: a FUSE file system that nobody serves. To whoever asks it is the same
 * as an NFS server that has died. Needs root and /dev/fuse, and is skipped elsewhere.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { filesystemProbe } from './filesystem.ts';
import { BlockRecorder } from './recorder.ts';
import { record } from './recorded.ts';

const mayMount = process.platform === 'linux' && process.getuid?.() === 0 && existsSync('/dev/fuse');

/** Mounts it; the returned function lets the stuck questions go and unmounts. Undefined where the kernel will not have it (containers). */
function mountDead(directory: string): (() => void) | undefined {
  const fuse = openSync('/dev/fuse', 'r+');
  try {
    execFileSync('mount', ['-i', '-t', 'fuse', '-o', 'fd=3,rootmode=40000,user_id=0,group_id=0', 'nobody', directory], {
      stdio: ['ignore', 'pipe', 'pipe', fuse],
      timeout: 5_000,
    });
  } catch {
    closeSync(fuse);
    return undefined;
  }
  return () => {
    closeSync(fuse);
    execFileSync('umount', ['--lazy', directory]);
  };
}

test.runIf(mayMount)('a dead mount is a device error, once waited for, and the local disk is seen all the same', async (context) => {
  const directory = mkdtempSync(join(os.tmpdir(), 'dead-mount-'));
  const mountpoint = join(directory, 'mnt');
  mkdirSync(mountpoint);
  const unmount = mountDead(mountpoint);
  if (unmount === undefined) {
    rmSync(directory, { recursive: true });
    return context.skip('this kernel does not let us mount FUSE');
  }
  let mounted = true;
  const cleanUp = (): void => {
    if (mounted) unmount();
    mounted = false;
  };
  onTestFinished(() => {
    cleanUp();
    rmSync(directory, { recursive: true });
  });
  mkdirSync(join(directory, 'proc/self'), { recursive: true });
  writeFileSync(
    join(directory, 'proc/self/mountinfo'),
    `27 1 254:1 / / rw - ext4 /dev/root rw\n99 27 0:99 / ${mountpoint} rw - fuse.nobody nobody rw\n`,
  );
  const probe = filesystemProbe({ procfs: join(directory, 'proc') });
  const recorder = new BlockRecorder('filesystem', '');
  const dead = `node_filesystem_device_error{device="nobody",fstype="fuse.nobody",mountpoint="${mountpoint}"}`;
  const root = 'node_filesystem_device_error{device="/dev/root",fstype="ext4",mountpoint="/"}';

  const started = performance.now();
  const first = (await record(probe, recorder)).values;
  const took = performance.now() - started;
  expect([first.get(dead), first.get(root)]).toEqual([1, 0]);
  expect(took).toBeGreaterThan(1_000);
  expect(took).toBeLessThan(4_000);

  const again = performance.now();
  const second = (await record(probe, recorder)).values;
  expect([second.get(dead), second.get(root)]).toEqual([1, 0]);
  expect(performance.now() - again).toBeLessThan(1_000);
  cleanUp();
});
