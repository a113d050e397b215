/**
 * From the moment a value crosses its bound on a node to the webhook's arrival, and from its return to the resolve:
 * nodes that report each 15 s at moments of their own, crossings at random moments, one rule with no duration, a real
 * collector. The same plan as in the comparison with Prometheus and Alertmanager.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { LOAD_METRIC, addRawAgents, seeded } from '../bad-days/raw-agent.ts';
import { startCollector } from '../programs.ts';
import { WebhookReceiver } from '../telling/webhook-receiver.ts';
import { quantile } from './processes.ts';

export interface TellingPlan {
  nodes: number;
  intervalSeconds: number;
  seed: number;
  progress: (text: string) => void;
}

export interface TellingFigures {
  toFiringMedianSeconds: number;
  toFiringMaxSeconds: number;
  toResolvedMedianSeconds: number;
  toResolvedMaxSeconds: number;
}

const QUIET = 10;
const CROSSED = 99;

export async function benchTelling({ nodes, intervalSeconds, seed, progress }: TellingPlan): Promise<TellingFigures> {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-bench-telling-'));
  const receiver = await new WebhookReceiver().start();
  writeFileSync(join(directory, 'secret'), receiver.secret, { mode: 0o600 });
  const config = {
    rules: [{ name: 'load', kind: 'threshold', title: 'Load', metric: LOAD_METRIC, critical: { above: 90, for: '0s', clearAfter: '0s' } }],
    channels: [{ name: 'hook', kind: 'webhook', url: receiver.url, secretFile: join(directory, 'secret') }],
  };
  writeFileSync(join(directory, 'collector.yaml'), JSON.stringify(config), { mode: 0o600 });
  const collector = await startCollector({
    dataDir: join(directory, 'collector'),
    arguments: ['--config', join(directory, 'collector.yaml')],
  });
  const random = seeded(seed);
  const intervalMs = intervalSeconds * 1_000;
  const now = (): number => performance.timeOrigin + performance.now();
  let stopped = false;
  const isOver = (): boolean => stopped;
  try {
    const names = Array.from({ length: nodes }, (_, i) => `n${i}`);
    const agents = await addRawAgents(collector, names, undefined, intervalSeconds);
    const loads = agents.map(() => QUIET);
    const running = agents.map(async (agent, i) => {
      await pause(intervalMs * random());
      while (!isOver()) {
        agent.take(loads[i]!);
        await agent.send();
        await pause(intervalMs);
      }
    });

    /** Sets each node's load at a moment of its own, and waits until all of it was told. */
    const turn = async (load: number, status: 'firing' | 'resolved'): Promise<number[]> => {
      const turnedAt = new Map<string, number>();
      await Promise.all(
        agents.map(async ({ name }, i) => {
          await pause(3 * intervalMs * random());
          loads[i] = load;
          turnedAt.set(name, now());
        }),
      );
      const delays = (): number[] =>
        names.flatMap((name) => {
          const told = receiver.received.find(({ alerts }) => alerts.some((alert) => alert.node === name && alert.status === status));
          return told === undefined ? [] : [(told.at - turnedAt.get(name)!) / 1_000];
        });
      const deadline = now() + 4 * intervalMs;
      while (delays().length < nodes && now() < deadline) await pause(50);
      if (delays().length < nodes) throw new Error(`${nodes - delays().length} of ${nodes} were never told ${status}`);
      return delays().toSorted((a, b) => a - b);
    };

    progress(`telling: ${nodes} nodes that report each ${intervalSeconds} s cross a bound, and come back`);
    await pause(intervalMs);
    const firing = await turn(CROSSED, 'firing');
    const resolved = await turn(QUIET, 'resolved');
    stopped = true;
    await Promise.all(running);
    return {
      toFiringMedianSeconds: quantile(firing, 0.5),
      toFiringMaxSeconds: firing.at(-1)!,
      toResolvedMedianSeconds: quantile(resolved, 0.5),
      toResolvedMaxSeconds: resolved.at(-1)!,
    };
  } finally {
    stopped = true;
    await collector.stop();
    await receiver.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}
