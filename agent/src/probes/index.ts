/**
 * THE LIST of probes: one line each. A new probe is a file beside this one and a line here; nothing finds
 * probes by itself, so what an agent looks at can be read in one place.
 */
import { join } from 'node:path';
import { systemClock, type Clock } from '@tidemark/service';
import { cpuProbe } from './cpu.ts';
import { diskProbe } from './disk.ts';
import { filesystemProbe } from './filesystem.ts';
import { inventoryProbe } from './inventory.ts';
import { memoryProbe } from './memory.ts';
import { networkProbe } from './network.ts';
import { portableCpuProbe, portableFilesystemProbe, portableMemoryProbe, portableSystemProbe, type SystemCalls } from './portable.ts';
import { pressureProbe } from './pressure.ts';
import type { Probe } from './probe.ts';
import { selfProbe } from './self.ts';
import type { Statfs } from './statfs-gate.ts';
import { systemProbe } from './system.ts';
import { windowsDiskProbe } from './windows/disk.ts';
import { listFixedDrives } from './windows/drives.ts';
import { createHostLink, type HostLink } from './windows/host-link.ts';
import { windowsFacts } from './windows/machine.ts';
import { windowsMemoryProbe } from './windows/memory.ts';
import { windowsNetworkProbe } from './windows/network.ts';
import { windowsServicesProbe } from './windows/services.ts';

export interface ProbeOptions {
  readonly platform: NodeJS.Platform;
  /** Where the kernel's file systems are mounted: "/proc", "/sys" and "/sys/fs/cgroup" unless told. */
  readonly procfs?: string | undefined;
  readonly sysfs?: string | undefined;
  readonly cgroupfs?: string | undefined;
  /** The agent's clock less the collector's in milliseconds, as the uplink measured it; undefined while it has not. */
  readonly clockOffset: () => number | undefined;
  readonly reportsLost: () => number;
  readonly spoolBytes: () => number;
  /** Probes that the configuration asks for, such as one for each PostgreSQL server. */
  readonly extra?: readonly Probe[] | undefined;
  /** Threads that dead network mounts may hold, 8 unless told: well below UV_THREADPOOL_SIZE. */
  readonly networkOutstandingMax?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly statfs?: Statfs | undefined;
  /** Plays the operating system on platforms other than Linux. */
  readonly system?: SystemCalls | undefined;
  /** What reads on Windows what Node.js cannot; nothing unless told. */
  readonly host?: HostLink | undefined;
}

/** The probes for a platform. Made, the CPU probe has read its base line: the first collection already has a usage ratio. */
export function createProbes(options: ProbeOptions): Probe[] {
  const { platform, procfs = '/proc', sysfs = '/sys', clock = systemClock } = options;
  const linux = { ...options, procfs, sysfs, cgroupfs: options.cgroupfs ?? join(sysfs, 'fs/cgroup') };
  const host = options.host ?? createHostLink(undefined);
  const portable = { ...options, monotonicMs: () => clock.monotonicMs() };
  const ofPlatform =
    platform === 'linux'
      ? [
          cpuProbe(linux, clock),
          memoryProbe(linux),
          filesystemProbe(linux),
          diskProbe(linux),
          networkProbe(linux),
          pressureProbe(linux),
          systemProbe(linux),
        ]
      : [
          portableCpuProbe(portable),
          portableMemoryProbe(portable),
          portableFilesystemProbe({ ...portable, listDrives: platform === 'win32' ? () => listFixedDrives(host) : undefined }),
          portableSystemProbe(portable),
          ...(platform === 'win32' ? windowsProbes(host) : []),
        ];
  return [
    ...ofPlatform,
    selfProbe(options),
    inventoryProbe({ platform, procfs, sysfs, foreignFacts: platform === 'win32' ? () => windowsFacts(host) : undefined }),
    ...(options.extra ?? []),
  ];
}

/** All by the service host, so that none starts a child process. */
function windowsProbes(host: HostLink): Probe[] {
  return [windowsNetworkProbe(host), windowsDiskProbe(host), windowsServicesProbe(host), windowsMemoryProbe(host)];
}
