/**
 * One endpoint over time: at most one request open, what the last one came to, and how many of late failed. A request
 * that takes longer than a collection waits is not waited for: until it ends, it is told how long it takes already.
 */
import { sentenceOf, type Clock } from '@tidemark/service';
import type { Exchange, ExchangeDoor, Failure, FailureReason } from './exchange.ts';
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
  /**
   * The time of the last one that was answered or timed out, or that of the open one where it is longer already. One that was
   * refused has none: it failed fast, and a fast time would end an alert about slowness.
   */
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
  #abort = new AbortController();

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
    const done = await this.#exchange();
    this.#open = undefined;
    this.#last = judged(this.target, done);
    this.#requests++;
    const { failure } = this.#last;
    if (failure !== undefined) this.#failures.set(failure.reason, (this.#failures.get(failure.reason) ?? 0) + 1);
    const now = this.#clock.monotonicMs();
    this.#recent.push({ atMs: now, failed: failure !== undefined });
    // With a long interval the window is stretched to the requests that a rate takes: else there would never be one.
    const { windowMs } = this.target;
    const kept = this.#recent.length;
    this.#recent = this.#recent.filter(({ atMs }, i) => now - atMs <= windowMs || i >= kept - RATE_OF_MIN).slice(-KEPT_MAX);
  }

  /** Never rejects: one endpoint's mistake is not to be the others' trouble. */
  async #exchange(): Promise<Exchange> {
    const { url, method, headers, timeoutMs, ca, wantsStatus } = this.target;
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    try {
      return await exchange({ url, method, headers: headers(), timeoutMs, ca, wantsStatus, signal }, this.#door);
    } catch (error) {
      return unasked(sentenceOf(error));
    }
  }

  /** Lets go of the request that is open, if one is. */
  close(): void {
    this.#abort.abort();
  }

  #reading(): EndpointReading {
    const openMs = this.#open === undefined ? 0 : this.#clock.monotonicMs() - this.#open.startedMs;
    const lastMs = answeredMs(this.#last);
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

/** Nobody was asked: what the request needs cannot be had. */
function unasked(detail: string): Exchange {
  const failure: Failure = { reason: 'configuration', detail };
  return {
    status: 0,
    contentType: '',
    body: '',
    totalMs: 0,
    phasesMs: {},
    certificateNotAfter: undefined,
    failure,
  };
}

/** A time-out counts as the time it took, so that what is slow cannot hide. */
function answeredMs(last: Outcome | undefined): number | undefined {
  if (last === undefined) return undefined;
  return last.exchange.status !== 0 || last.failure?.reason === 'timeout' ? last.exchange.totalMs : undefined;
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
    return {
      reason: 'unhealthy',
      detail: `It says that it is not healthy${parts} (status ${status}).`,
    };
  }
  if (!target.wantsStatus(status))
    return {
      reason: 'status',
      detail: `It answers with status ${status}; wanted is ${target.wantedStatus}.${saying(health)}`,
    };
  if (target.wantedBody !== undefined && !body.includes(target.wantedBody))
    return {
      reason: 'body',
      detail: `Its answer (status ${status}) does not hold the text that is wanted.`,
    };
  return undefined;
}

function saying(health: HealthAnswer | undefined): string {
  if (health === undefined || health.status === 'healthy') return '';
  return ` It says that it is ${health.status}${health.failing.length === 0 ? '' : `: ${health.failing.join(', ')}`}.`;
}
