/**
 * What looking at replication costs by itself: prepared reports of many clusters go through the view, in a process of its
 * own, and the CPU time of that alone is read.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

export interface ReplicationPlan {
  clusters: number;
  instancesPerCluster: number;
  /** Seconds between a node's reports. */
  intervalSeconds: number;
  rounds: number;
  seed: number;
}

export interface ReplicationFigures {
  /** Of one core: every report, its look at the cluster, and the series that come of it. */
  corePercent: number;
  microsecondsPerReport: number;
  /** Replicas found to stream: what was measured has to have worked. */
  streaming: number;
}

/** Runs `replication-main.js`; rejects when it fails, or when the replicas it made were not all found streaming. */
export async function benchReplication(plan: ReplicationPlan): Promise<ReplicationFigures> {
  const main = fileURLToPath(new URL('./replication-main.js', import.meta.url));
  const child = spawn(process.execPath, [main, JSON.stringify(plan)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'exit') as Promise<[number | null]>]);
  if (code !== 0) throw new Error(`the measurement of replication ended with ${String(code)}`);
  const figures = JSON.parse(output) as ReplicationFigures;
  const expected = plan.clusters * (plan.instancesPerCluster - 1);
  if (figures.streaming !== expected) throw new Error(`${figures.streaming} of ${expected} replicas were found streaming`);
  return figures;
}
