/** For tests: runs one probe once and gives what it recorded as a map from "name{label="value"}" to the value. */
import { fileURLToPath } from 'node:url';
import type { Observation, WireValue } from '@tidemark/protocol';
import { systemClock, type Clock } from '@tidemark/service';
import type { noData, Probe } from './probe.ts';
import { BlockRecorder } from './recorder.ts';

export function fixture(machine: string, path = ''): string {
  return fileURLToPath(new URL(`fixtures/${machine}/${path}`, import.meta.url));
}

/** Where a fixture's kernel file systems are, in the form that the probes take. */
export function roots(machine: string): { procfs: string; sysfs: string; cgroupfs: string; rootfs: string } {
  return {
    procfs: fixture(machine, 'proc'),
    sysfs: fixture(machine, 'sys'),
    cgroupfs: fixture(machine, 'sys/fs/cgroup'),
    rootfs: fixture(machine),
  };
}

export interface Recorded {
  readonly outcome: typeof noData | void;
  readonly values: Map<string, WireValue>;
  readonly hash: string | undefined;
  readonly observations: Observation[];
}

/** The names of what was recorded are unique: two values for one series would be a defect of the probe, and throw. */
export async function record(probe: Probe, recorder = new BlockRecorder(probe.name, ''), clock: Clock = systemClock): Promise<Recorded> {
  const observations: Observation[] = [];
  const outcome = await probe.collect({
    block: () => recorder,
    observe: (observation) => void observations.push(observation),
    clock,
    takenMs: clock.monotonicMs(),
    signal: new AbortController().signal,
  });
  const block = recorder.take();
  const values = new Map<string, WireValue>();
  for (const [i, { name, labels }] of (block?.layout.series ?? []).entries()) {
    const key = labels.length === 0 ? name : `${name}{${labels.map(([label, value]) => `${label}="${value}"`).join(',')}}`;
    if (values.has(key)) throw new Error(`recorded twice: ${key}`);
    values.set(key, block!.values[i]!);
  }
  return { outcome, values, hash: block?.layout.hash, observations };
}
