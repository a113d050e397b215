/**
 * An agent reduced to what travels: it keeps every report that was not acknowledged and sends it again, and it
 * remembers what was acknowledged, so that a test can compare that with the store. Two values a report: a load
 * that varies, and the report's own sequence.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { REPORTS_PATH, layoutHash, type Acknowledgement, type Layout, type Report, type ReportRequest } from '@tidemark/protocol';
import type { RunningCollector } from '../programs.ts';

export interface RawAnswer {
  status: number;
  headers: Headers;
  acknowledgement: Acknowledgement | undefined;
  text: string;
}

const REQUEST_TIMEOUT_MS = 60_000;
const REPORTS_PER_REQUEST = 200;

export function layoutOf(probe: string, series: Layout['series'], instance = ''): Layout {
  const layout = { probe, instance, series };
  return { hash: layoutHash(layout), ...layout };
}

export const LOAD_METRIC = 'tidemark_test_load';
const LOAD = layoutOf('load', [
  { name: LOAD_METRIC, labels: [], unit: '', type: 'gauge', help: 'What the test says.' },
  { name: 'tidemark_test_sequence', labels: [], unit: '', type: 'counter', help: 'The sequence of the report.' },
]);

/** mulberry32: the same seed, the same bad day. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export class RawAgent {
  readonly name: string;
  readonly bootId: string = randomUUID();
  /** What the two values of its reports mean. */
  readonly layout = LOAD;
  readonly acknowledged = new Set<number>();
  readonly refused: { sequence: number; code: string }[] = [];
  readonly #token: string;
  readonly #url: () => string;
  readonly #pending = new Map<number, Report>();
  readonly #intervalSeconds: number;
  #sequence = 0;

  constructor(options: { name: string; token: string; url: () => string; intervalSeconds?: number }) {
    this.#intervalSeconds = options.intervalSeconds ?? 1;
    this.name = options.name;
    this.#token = options.token;
    this.#url = options.url;
  }

  /** How many reports it took so far. */
  get taken(): number {
    return this.#sequence;
  }

  get waiting(): number {
    return this.#pending.size;
  }

  take(load: number): void {
    const sequence = ++this.#sequence;
    const blocks = [{ layout: LOAD.hash, values: [load, sequence] }];
    this.#pending.set(sequence, { bootId: this.bootId, sequence, takenAt: Date.now(), monotonicMs: performance.now(), blocks });
  }

  /** Sends what waits. Resolves with the answer, or undefined when there was none. */
  async send(): Promise<RawAnswer | undefined> {
    const answer = await this.post({ layouts: [LOAD], reports: [...this.#pending.values()].slice(0, REPORTS_PER_REQUEST) });
    for (const { bootId, sequences } of answer?.acknowledgement?.committed ?? [])
      for (const sequence of bootId === this.bootId ? sequences : []) {
        this.acknowledged.add(sequence);
        this.#pending.delete(sequence);
      }
    for (const { sequence, code } of answer?.acknowledgement?.refused ?? []) {
      this.refused.push({ sequence, code });
      this.#pending.delete(sequence);
    }
    return answer;
  }

  /** Sends a request of the test's own making. */
  async post(body: Partial<ReportRequest>): Promise<RawAnswer | undefined> {
    const request = {
      agent: { version: 'raw', intervalSeconds: this.#intervalSeconds },
      bootId: this.bootId,
      sentAt: Date.now(),
      sentMonotonicMs: performance.now(),
      reports: [],
      ...body,
    };
    try {
      const response = await fetch(`${this.#url()}${REPORTS_PATH}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json' },
        body: JSON.stringify(request),
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      });
      const text = await response.text();
      const { status, headers } = response;
      return { status, headers, text, acknowledgement: response.ok ? (JSON.parse(text) as Acknowledgement) : undefined };
    } catch {
      return undefined;
    }
  }

  /** Takes and sends at irregular moments, about four times a second, until it is told to stop. */
  async run(random: () => number, stopped: () => boolean): Promise<void> {
    while (!stopped()) {
      this.take(random());
      await this.send();
      await pause(50 + 400 * random());
    }
  }
}

/** Adds nodes of these names and returns an agent for each; the address is asked for at each request, for a collector may come back elsewhere. */
export async function addRawAgents(
  collector: RunningCollector,
  names: readonly string[],
  url = (): string => collector.url,
  intervalSeconds = 1,
): Promise<RawAgent[]> {
  const agents: RawAgent[] = [];
  for (const name of names) {
    const { token } = await collector.api<{ token: string }>('POST', '/api/telemetry/nodes', { name });
    agents.push(new RawAgent({ name, token, url, intervalSeconds }));
  }
  return agents;
}
