/**
 * What it takes to remember for a day where everyone's servers stood, every two seconds: prepared reports of servers with
 * different habits go into the tracks, in a process of its own, and what it then holds is read. No network, no database.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

export interface HistoryPlan {
  clusters: number;
  hours: number;
  intervalSeconds: number;
  seed: number;
}

export interface HistoryFigures {
  /** Of all primaries' tracks, heap and buffers. */
  primariesMB: number;
  /** Of one replica each: what it had received for a day, what it had replayed and what it was told for two hours. */
  replicasMB: number;
  /** The one of which least could be left out. */
  largestTrackBytes: number;
  /** To take in one report, by the wall clock. */
  microsecondsPerReport: number;
  microsecondsPerReportOfReplica: number;
}

/** Runs `replication-history-main.js`; rejects when it fails. */
export async function benchReplicationHistory(plan: HistoryPlan): Promise<HistoryFigures> {
  const main = fileURLToPath(new URL('./replication-history-main.js', import.meta.url));
  const child = spawn(process.execPath, ['--expose-gc', main, JSON.stringify(plan)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'exit') as Promise<[number | null]>]);
  if (code !== 0) throw new Error(`the measurement of the tracks ended with ${String(code)}`);
  return JSON.parse(output) as HistoryFigures;
}
