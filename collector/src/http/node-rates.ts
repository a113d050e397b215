/** How often each node has asked within the minute. It runs for every report, so it is an addition and a comparison. */
import { ProblemError } from '@tidemark/protocol';
import type { Clock } from '@tidemark/service';
import type { NodeRecord } from '../fleet/node.ts';

const MINUTE_MS = 60_000;

export class NodeRates {
  readonly #max: number;
  readonly #clock: Clock;
  readonly #counts = new WeakMap<NodeRecord, { minute: number; requests: number }>();

  constructor(requestsPerMinuteMax: number, clock: Clock) {
    this.#max = requestsPerMinuteMax;
    this.#clock = clock;
  }

  /** Throws ProblemError `rate_limited` when this is more than the node may ask in a minute. */
  count(node: NodeRecord): void {
    const nowMs = this.#clock.monotonicMs();
    const minute = Math.floor(nowMs / MINUTE_MS);
    const count = this.#counts.get(node);
    if (count === undefined) {
      this.#counts.set(node, { minute, requests: 1 });
      return;
    }
    if (count.minute !== minute) {
      count.minute = minute;
      count.requests = 0;
    }
    if (++count.requests <= this.#max) return;
    throw new ProblemError(
      'rate_limited',
      `"${node.name}" sends more than ${this.#max} requests a minute. Does more than one agent use its token?`,
      {
        retryAfterSeconds: Math.ceil(((minute + 1) * MINUTE_MS - nowMs) / 1_000),
      },
    );
  }
}
