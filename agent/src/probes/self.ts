/** The agent about itself: what it costs, what it holds back, what it had to give up, and how wrong its clock is. */
import type { Probe } from './probe.ts';
import { metric } from './recorder.ts';

const clockOffset = metric(
  'tidemark_clock_offset_seconds',
  'gauge',
  'seconds',
  "The node's clock less the collector's, as measured when reporting; no value before the first answer.",
);
const cpuSeconds = metric('tidemark_agent_cpu_seconds_total', 'counter', 'seconds', 'CPU time that the agent has used since its start.');
const residentBytes = metric('tidemark_agent_resident_memory_bytes', 'gauge', 'bytes', 'Memory of the agent that is resident.');
const lost = metric('tidemark_agent_reports_lost_total', 'counter', '', 'Reports that the agent had to give up since its start.');
const spoolBytes = metric(
  'tidemark_agent_spool_bytes',
  'gauge',
  'bytes',
  'Size of the reports on disk that the collector has not acknowledged.',
);

export interface SelfProbeOptions {
  /** Milliseconds, or undefined while nothing is known. */
  readonly clockOffset: () => number | undefined;
  readonly reportsLost: () => number;
  readonly spoolBytes: () => number;
}

export function selfProbe(options: SelfProbeOptions): Probe {
  return {
    name: 'self',
    collect(context) {
      const block = context.block();
      const offsetMs = options.clockOffset();
      block.add(clockOffset, offsetMs === undefined ? null : offsetMs / 1000);
      const { user, system } = process.cpuUsage();
      block.add(cpuSeconds, (user + system) / 1e6);
      block.add(residentBytes, process.memoryUsage.rss());
      block.add(lost, options.reportsLost());
      block.add(spoolBytes, options.spoolBytes());
    },
  };
}
