/**
 * File systems on Linux, by mountinfo and statfs. Local ones and those that hang on a network or on another
 * process are asked apart, so that a dead server never keeps the local disks from being seen; a mount that
 * does not answer is a sample (device error 1), not a failure.
 */
import { join } from 'node:path';
import { recordFilesystem } from './headline.ts';
import { KernelFile } from './kernel-file.ts';
import { mayHang, parseMounts, watchedMounts, type Mount } from './mounts.ts';
import type { Probe } from './probe.ts';
import { StatfsGate, type Statfs } from './statfs-gate.ts';

/** A healthy local disk answers in microseconds, a healthy server in milliseconds. */
const LOCAL_TIMEOUT_MS = 2_000;
const NETWORK_TIMEOUT_MS = 1_500;
/** Threads that hung mounts may hold: below the launcher's pool of 16 with room for everything else. */
const LOCAL_OUTSTANDING_MAX = 4;
export const NETWORK_OUTSTANDING_MAX = 8;

export interface FilesystemProbeOptions {
  readonly procfs: string;
  readonly statfs?: Statfs | undefined;
  /** Threads that mounts on a network may hold when they hang; less than the thread pool has. */
  readonly networkOutstandingMax?: number | undefined;
}

export function filesystemProbe(options: FilesystemProbeOptions): Probe {
  const injected = options.statfs === undefined ? {} : { statfs: options.statfs };
  const local = new StatfsGate({ outstandingMax: LOCAL_OUTSTANDING_MAX, timeoutMs: LOCAL_TIMEOUT_MS, ...injected });
  const network = new StatfsGate({
    outstandingMax: options.networkOutstandingMax ?? NETWORK_OUTSTANDING_MAX,
    timeoutMs: NETWORK_TIMEOUT_MS,
    ...injected,
  });
  // Process 1 sees the machine's mounts as they are; the agent's own view is altered by its service's hardening.
  const ofMachine = new KernelFile(join(options.procfs, '1/mountinfo'), true);
  const ofAgent = new KernelFile(join(options.procfs, 'self/mountinfo'), true);
  let text = '';
  let mounts: Mount[] = [];

  function readMounts(): void {
    const now = (ofMachine.read() ?? ofAgent.mustRead()).rest();
    // It hardly ever changes, and reading it apart is most of this probe's work.
    if (now !== text) mounts = watchedMounts(parseMounts(now));
    text = now;
  }

  return {
    name: 'filesystem',
    async collect(context) {
      readMounts();
      const seen = mounts;
      const placesOf = (hanging: boolean): string[] => seen.filter((m) => mayHang(m.fstype) === hanging).map((m) => m.mountpoint);
      const [localAnswers, networkAnswers] = await Promise.all([local.ask(placesOf(false)), network.ask(placesOf(true))]);
      const block = context.block();
      for (const mount of seen) {
        const answers = mayHang(mount.fstype) ? networkAnswers : localAnswers;
        const answer = answers.get(mount.mountpoint);
        recordFilesystem(block, mount, answer === 'absent' ? 'error' : answer);
      }
    },
    close() {
      ofMachine.close();
      ofAgent.close();
    },
  };
}
