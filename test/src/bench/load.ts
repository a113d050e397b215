/**
 * A load of reports from many nodes, one report of 60 values a request over one connection a node, as a
 * fleet of agents sends them. It runs in a process of its own, so that its cost is not counted:
 * `node load.js '{"url":…,"tokens":[…],…}'`; it prints one JSON document when it is done.
 */
import { randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import { REPORTS_PATH, layoutHash, type Acknowledgement, type Layout, type ReportRequest } from '@tidemark/protocol';
import { quantile } from './processes.ts';

export interface LoadPlan {
  url: string;
  tokens: string[];
  intervalSeconds: number;
  /** Reports that each node sends in all; the first carries the layouts. */
  rounds: number;
  /** The first rounds come quickly and are not timed: a collector that has run for days is warm. */
  warmUpRounds: number;
  warmUpIntervalSeconds: number;
  seed: number;
}

export interface LoadResult {
  reports: number;
  samples: number;
  failed: number;
  ackP50Ms: number;
  ackP99Ms: number;
}

/** mulberry32: small, seeded, good enough to make numbers that look measured. */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const PROBES: [string, number][] = [
  ['cpu', 18],
  ['memory', 12],
  ['filesystem', 10],
  ['disk', 8],
  ['network', 8],
  ['uptime', 4],
];
export const VALUES_PER_REPORT = PROBES.reduce((sum, [, count]) => sum + count, 0);

function layouts(): Layout[] {
  return PROBES.map(([probe, count]) => {
    const layout = {
      probe,
      instance: '',
      series: Array.from({ length: count }, (_, i) => ({
        name: `node_${probe}_measure_${i % 6}`,
        labels: [['device', `dev${Math.floor(i / 6)}`]] as [string, string][],
        unit: 'bytes',
        type: i % 2 === 0 ? ('gauge' as const) : ('counter' as const),
        help: `Measure ${i % 6} of ${probe}.`,
      })),
    };
    return { hash: layoutHash(layout), ...layout };
  });
}

class SimulatedNode {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #bootId = randomUUID();
  readonly #values: number[];
  readonly #random: () => number;
  readonly #plan: LoadPlan;
  readonly #token: string;
  #sequence = 0;

  constructor(plan: LoadPlan, token: string, index: number) {
    this.#plan = plan;
    this.#token = token;
    this.#random = seeded(plan.seed * 100_003 + index);
    this.#values = Array.from({ length: VALUES_PER_REPORT }, () => Math.round(this.#random() * 1e10));
  }

  /** Sends one report; resolves with the milliseconds until its acknowledgement, or undefined when it was not committed. */
  async send(withLayouts: Layout[] | undefined, blocks: readonly Layout[]): Promise<number | undefined> {
    this.#sequence++;
    const now = Date.now();
    this.#move();
    let at = 0;
    const body: ReportRequest = {
      agent: { version: 'bench', intervalSeconds: this.#plan.intervalSeconds },
      bootId: this.#bootId,
      sentAt: now,
      sentMonotonicMs: performance.now(),
      ...(withLayouts === undefined ? {} : { layouts: withLayouts }),
      reports: [
        {
          bootId: this.#bootId,
          sequence: this.#sequence,
          takenAt: now,
          monotonicMs: performance.now(),
          blocks: blocks.map((block) => ({ layout: block.hash, values: this.#values.slice(at, (at += block.series.length)) })),
        },
      ],
    };
    const started = performance.now();
    const answer = await this.#post(JSON.stringify(body));
    return answer?.committed.length === 1 ? performance.now() - started : undefined;
  }

  close(): void {
    this.#agent.destroy();
  }

  /** An eighth stays constant, some are ratios, the rest grow or wander: about what a machine's figures do. */
  #move(): void {
    for (let i = 0; i < this.#values.length; i++) {
      if (i % 8 === 0) continue;
      if (i % 8 === 1) this.#values[i] = Math.round(this.#random() * 1e4) / 1e4;
      else if (i % 2 === 1) this.#values[i]! += Math.round(this.#random() * 4_096_000) / 100;
      else this.#values[i] = Math.round(this.#random() * 2e6) * 4_096;
    }
  }

  #post(body: string): Promise<Acknowledgement | undefined> {
    return new Promise((resolve) => {
      const outgoing = request(
        `${this.#plan.url}${REPORTS_PATH}`,
        {
          method: 'POST',
          agent: this.#agent,
          headers: {
            authorization: `Bearer ${this.#token}`,
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(body),
          },
        },
        (response) => {
          let text = '';
          response.setEncoding('utf8');
          response.on('data', (chunk: string) => (text += chunk));
          response.on('end', () => resolve(response.statusCode === 200 ? (JSON.parse(text) as Acknowledgement) : undefined));
        },
      );
      outgoing.on('error', () => resolve(undefined));
      outgoing.end(body);
    });
  }
}

/** Lets each node act once an interval, at a moment of its own within it, as agents do. */
async function inPhase(
  nodes: readonly SimulatedNode[],
  intervalMs: number,
  from: number,
  to: number,
  act: (node: SimulatedNode, round: number) => Promise<void>,
): Promise<void> {
  const startedAt = performance.now();
  await Promise.all(
    nodes.map(async (node, i) => {
      for (let round = from; round < to; round++) {
        const dueMs = startedAt + intervalMs * (round - from + i / nodes.length);
        await new Promise((resolve) => setTimeout(resolve, Math.max(0, dueMs - performance.now())));
        await act(node, round);
      }
    }),
  );
}

/** Runs the whole load; `onWarm` is called when the measured rounds begin. */
export async function runLoad(plan: LoadPlan, onWarm: () => void): Promise<LoadResult> {
  const blocks = layouts();
  const nodes = plan.tokens.map((token, i) => new SimulatedNode(plan, token, i));
  const latencies: number[] = [];
  let failed = 0;
  const phase = (intervalSeconds: number, from: number, to: number): Promise<void> =>
    inPhase(nodes, intervalSeconds * 1_000, from, to, async (node, round) => {
      const latency = await node.send(round === 0 ? blocks : undefined, blocks);
      if (latency === undefined) failed++;
      else if (round >= plan.warmUpRounds) latencies.push(latency);
    });
  await phase(plan.warmUpIntervalSeconds, 0, plan.warmUpRounds);
  onWarm();
  await phase(plan.intervalSeconds, plan.warmUpRounds, plan.rounds);
  for (const node of nodes) node.close();
  return {
    reports: latencies.length,
    samples: latencies.length * VALUES_PER_REPORT,
    failed,
    ackP50Ms: quantile(latencies, 0.5),
    ackP99Ms: quantile(latencies, 0.99),
  };
}
