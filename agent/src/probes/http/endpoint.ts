/**
 * One endpoint over time: at most one request open, what the last one came to, and how many of late failed. A request
 * that takes longer than a collection waits is not waited for: until it ends, it is told how long it takes already.
 */
import type { Clock } from '@tidemark/service';
import type { Exchange, ExchangeDoor, ExchangeRequest, Failure, FailureReason } from './exchange.ts';
import { exchange } from './exchange.ts';
import { readHealth, type HealthAnswer } from './health.ts';
import type { EndpointTarget } from './target.ts';

/** Fewer requests make no rate. */
const RATE_OF_MIN = 5;
/** Whatever the window: an interval of a second and a window of an hour would be this many. */
const KEPT_MAX = 3_600;

export interface Outcome {
  readonly exchange: Exchange;
  readonly failure: Failure | undefined;
  readonly health: HealthAnswer | undefined;
}

export interface EndpointReading {
  readonly target: EndpointTarget;
  /** Of the last request that ended; undefined before the first. */
  readonly last: Outcome | undefined;
  /** The last one's time, or that of the open one where that is longer already. */
  readonly responseMs: number | null;
  readonly errorRatio: number | null;
  readonly requests: number;
  readonly failures: ReadonlyMap<FailureReason, number>;
}

export class Endpoint {
  readonly target: EndpointTarget;
  readonly #clock: Clock;
  readonly #door: ExchangeDoor | undefined;
  readonly #failures = new Map<FailureReason, number>();
  #recent: { atMs: number; failed: boolean }[] = [];
  #requests = 0;
  #last: Outcome | undefined;
  #open: { startedMs: number; ended: Promise<void> } | undefined;

  constructor(target: EndpointTarget, clock: Clock, door?: ExchangeDoor) {
    this.target = target;
    this.#clock = clock;
    this.#door = door;
  }

  /** Asks, unless a request is open, and waits for its end `graceMs` at most. */
  async look(graceMs: number): Promise<EndpointReading> {
    this.#open ??= { startedMs: this.#clock.monotonicMs(), ended: this.#ask() };
    let timer: NodeJS.Timeout | undefined;
    const grace = new Promise<void>((resolve) => (timer = setTimeout(resolve, graceMs)));
    await Promise.race([this.#open.ended, grace]);
    clearTimeout(timer);
    return this.#reading();
  }

  async #ask(): Promise<void> {
    const { url, method, headers, timeoutMs, ca } = this.target;
    const request: ExchangeRequest = { url, method, headers: headers(), timeoutMs, ca };
    const done = await exchange(request, this.#door);
    this.#open = undefined;
    this.#last = judged(this.target, done);
    this.#requests++;
    const { failure } = this.#last;
    if (failure !== undefined) this.#failures.set(failure.reason, (this.#failures.get(failure.reason) ?? 0) + 1);
    const now = this.#clock.monotonicMs();
    this.#recent.push({ atMs: now, failed: failure !== undefined });
    this.#recent = this.#recent.filter(({ atMs }) => now - atMs <= this.target.windowMs).slice(-KEPT_MAX);
  }

  #reading(): EndpointReading {
    const openMs = this.#open === undefined ? 0 : this.#clock.monotonicMs() - this.#open.startedMs;
    const lastMs = this.#last?.exchange.totalMs;
    const failed = this.#recent.filter((one) => one.failed).length;
    return {
      target: this.target,
      last: this.#last,
      responseMs: lastMs === undefined && openMs === 0 ? null : Math.max(lastMs ?? 0, openMs),
      errorRatio: this.#recent.length < RATE_OF_MIN ? null : failed / this.#recent.length,
      requests: this.#requests,
      failures: this.#failures,
    };
  }
}

/** Whether what came is what was wanted, and what it says of its health. */
export function judged(target: EndpointTarget, done: Exchange): Outcome {
  if (done.failure !== undefined) return { exchange: done, failure: done.failure, health: undefined };
  const health = target.readsHealth && target.method === 'GET' ? readHealth(done.body) : undefined;
  return { exchange: done, failure: failureOf(target, done, health), health };
}

function failureOf(target: EndpointTarget, { status, body }: Exchange, health: HealthAnswer | undefined): Failure | undefined {
  if (health?.status === 'unhealthy') {
    const parts = health.failing.length === 0 ? '' : `: ${health.failing.join(', ')}`;
    return { reason: 'unhealthy', detail: `It says that it is not healthy${parts} (status ${status}).` };
  }
  if (!target.wantsStatus(status))
    return { reason: 'status', detail: `It answers with status ${status}; wanted is ${target.wantedStatus}.` };
  if (target.wantedBody !== undefined && !body.includes(target.wantedBody))
    return { reason: 'body', detail: `Its answer (status ${status}) does not hold the text that is wanted.` };
  return undefined;
}
