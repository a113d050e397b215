/** The probes of a simulated machine: the metrics of the real ones, with its figures. About sixty values a report. */
import {
  CPU_USAGE_RATIO,
  MEMORY_TOTAL_BYTES,
  MEMORY_USAGE_RATIO,
  metric,
  recordFilesystem,
  recordUp,
  ReplicaNames,
  UPTIME_SECONDS,
  type AgentFigures,
  type Probe,
  type Reading,
} from '@tidemark/agent';
import { POSTGRES_REPLICATION, POSTGRES_TRACK, type PostgresTrack } from '@tidemark/protocol';
import type { Machine } from './machine.ts';
import { IDENTITY } from './postgres-pair.ts';

const SERVER = 'main';
const MODES = { user: 0.65, system: 0.25, iowait: 0.06, softirq: 0.03, steal: 0.01 } as const;
const cpuSeconds = metric('node_cpu_seconds_total', 'counter', 'seconds', 'Seconds the CPUs spent in each mode.', ['cpu', 'mode']);
const load = [1, 5, 15].map((minutes) => metric(`node_load${minutes}`, 'gauge', '', `${minutes}m load average.`));
const memory = ['MemFree', 'MemAvailable', 'Buffers', 'Cached', 'SwapTotal', 'SwapFree'].map((field) =>
  metric(`node_memory_${field}_bytes`, 'gauge', 'bytes', `Memory information field ${field}_bytes.`),
);
const diskCounters = ['read_bytes_total', 'written_bytes_total', 'reads_completed_total', 'writes_completed_total'].map((name) =>
  metric(`node_disk_${name}`, 'counter', name.includes('bytes') ? 'bytes' : '', `Disk statistic ${name}.`, ['device']),
);
const networkCounters = ['receive_bytes', 'transmit_bytes', 'receive_packets', 'transmit_packets'].map((what) =>
  metric(`node_network_${what}_total`, 'counter', what.endsWith('bytes') ? 'bytes' : '', `Network device statistic ${what}.`, ['device']),
);
const bootTime = metric('node_boot_time_seconds', 'gauge', 'seconds', 'Node boot time, in unixtime.');
const clockOffset = metric(
  'tidemark_clock_offset_seconds',
  'gauge',
  'seconds',
  "The node's clock less the collector's, as measured when reporting; no value before the first answer.",
);
const reportsLost = metric('tidemark_agent_reports_lost_total', 'counter', '', 'Reports that the agent had to give up since its start.');

export interface SimulatedProbesOptions {
  machine: Machine;
  figures: AgentFigures;
  /** What its PostgreSQL server looks like at a moment, where it has one. */
  postgres?: SimulatedPostgres | undefined;
}

export interface SimulatedPostgres {
  reading: (now: number) => Reading;
  track: (from: number, now: number) => PostgresTrack;
}

export function simulatedProbes({ machine, figures, postgres }: SimulatedProbesOptions): Probe[] {
  const probes = [cpuProbe(machine), memoryProbe(machine), filesystemProbe(machine), trafficProbe(machine), systemProbe(machine, figures)];
  return postgres === undefined ? probes : [...probes, postgresProbe(postgres)];
}

function cpuProbe(machine: Machine): Probe {
  return {
    name: 'cpu',
    collect(context) {
      machine.advance(context.clock.wallMs());
      const block = context.block();
      const { busy, idle } = machine.cpuSeconds();
      const rounded = (seconds: number): number => Math.round(seconds * 100) / 100;
      for (let cpu = 0; cpu < machine.cores; cpu++) {
        for (const [mode, share] of Object.entries(MODES))
          block.add(cpuSeconds, rounded((busy * share) / machine.cores), String(cpu), mode);
        block.add(cpuSeconds, rounded(idle / machine.cores), String(cpu), 'idle');
      }
      for (const average of load) block.add(average, rounded(machine.busyRatio * machine.cores));
      block.add(CPU_USAGE_RATIO, machine.busyRatio);
    },
  };
}

function memoryProbe(machine: Machine): Probe {
  return {
    name: 'memory',
    collect(context) {
      const block = context.block();
      const available = machine.availableMemoryBytes();
      const [free, availableOf, buffers, cached, swapTotal, swapFree] = memory;
      block.add(MEMORY_TOTAL_BYTES, machine.memoryBytes);
      block.add(free!, Math.round(available * 0.3));
      block.add(availableOf!, available);
      block.add(buffers!, Math.round(available * 0.05));
      block.add(cached!, Math.round(available * 0.6));
      block.add(swapTotal!, 0);
      block.add(swapFree!, 0);
      block.add(MEMORY_USAGE_RATIO, 1 - available / machine.memoryBytes);
    },
  };
}

function filesystemProbe(machine: Machine): Probe {
  return {
    name: 'filesystem',
    collect(context) {
      const block = context.block();
      for (const { device, mountpoint, blocks, freeBlocks } of machine.disks()) {
        const stats = {
          bsize: machine.blockBytes,
          blocks,
          bfree: freeBlocks,
          bavail: freeBlocks,
          files: blocks >> 2,
          ffree: freeBlocks >> 2,
        };
        recordFilesystem(block, { device, fstype: 'ext4', mountpoint, readOnly: false }, stats);
      }
    },
  };
}

function trafficProbe(machine: Machine): Probe {
  return {
    name: 'traffic',
    collect(context) {
      const block = context.block();
      const bytes = machine.trafficBytes;
      for (const counter of diskCounters) block.add(counter, counter.unit === 'bytes' ? bytes : Math.floor(bytes / 16_384), 'vda');
      for (const counter of networkCounters) block.add(counter, counter.unit === 'bytes' ? bytes : Math.floor(bytes / 1_400), 'eth0');
    },
  };
}

function systemProbe(machine: Machine, figures: AgentFigures): Probe {
  return {
    name: 'system',
    collect(context) {
      const block = context.block();
      block.add(UPTIME_SECONDS, Math.round((context.clock.wallMs() - machine.bootedAt) / 10) / 100);
      block.add(bootTime, Math.round(machine.bootedAt / 1000));
      const offsetMs = figures.clockOffset();
      block.add(clockOffset, offsetMs === undefined ? null : offsetMs / 1000);
      block.add(reportsLost, figures.reportsLost());
    },
  };
}

function postgresProbe({ reading, track }: SimulatedPostgres): Probe {
  let tracked = 0;
  const replicaNames = new ReplicaNames();
  return {
    name: 'postgres',
    collect(context) {
      const now = context.clock.wallMs();
      const seen = reading(now);
      recordUp(context.block(SERVER), { server: SERVER, reading: seen, identity: IDENTITY, replicaNames, databaseSizes: new Map() });
      context.observe({ kind: POSTGRES_TRACK, version: 1, instance: SERVER, document: track(tracked, now) });
      tracked = now;
      context.observe({ kind: POSTGRES_REPLICATION, version: 1, instance: SERVER, document: seen.document });
    },
  };
}
