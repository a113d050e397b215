/**
 * What judging costs by itself: prepared reports of a whole fleet go through the evaluator, in a process of its own, and
 * the CPU time of that alone is read. No network, no decoding, no journal, no database: those are measured elsewhere.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

export interface EvaluatorPlan {
  nodes: number;
  /** Seconds between a node's reports. */
  intervalSeconds: number;
  rounds: number;
  seed: number;
}

export interface EvaluatorFigures {
  /** Of one core, reports and the tick of each second together. */
  corePercent: number;
  microsecondsPerReport: number;
  /** What is kept of a node on which nothing is going on. */
  bytesPerCalmNode: number;
  rulesPerNode: number;
  /** Alerts that opened or ended meanwhile: something has to go on. */
  happenings: number;
  remembered: number;
}

/** Runs `evaluator-main.js`; rejects when it fails. */
export async function benchEvaluator(plan: EvaluatorPlan): Promise<EvaluatorFigures> {
  const main = fileURLToPath(new URL('./evaluator-main.js', import.meta.url));
  const child = spawn(process.execPath, ['--expose-gc', main, JSON.stringify(plan)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'exit') as Promise<[number | null]>]);
  if (code !== 0) throw new Error(`the evaluator's measurement ended with ${String(code)}`);
  return JSON.parse(output) as EvaluatorFigures;
}
