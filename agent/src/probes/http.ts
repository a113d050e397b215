/**
 * The HTTP probe: asks every configured endpoint at once, one request each. An endpoint that is down, slow or broken is
 * an answer (`tidemark_http_up` 0 and why), not a failure of the probe, and takes nothing from the others.
 */
import { systemClock, type Clock } from '@tidemark/service';
import { Endpoint, type EndpointReading } from './http/endpoint.ts';
import { FAILURES, PHASES, systemDoor, type ExchangeDoor } from './http/exchange.ts';
import { boundedLookup } from './http/lookup.ts';
import { targetsOf, type HttpEndpointConfig } from './http/target.ts';
import type { Probe, ProbeContext } from './probe.ts';
import { metric } from './recorder.ts';

export type { HttpEndpointConfig } from './http/target.ts';

/** The kind of the observation that goes with the figures. */
export const HTTP_HEALTH = 'http.health';

/** What a collection waits for an answer: a report is not to be late because an endpoint is. */
const GRACE_MS = 1_500;
/** The runner gives the probe up that much later, which is never. */
const MARGIN_MS = 3_500;
const LABELS = ['endpoint'];

const up = metric('tidemark_http_up', 'gauge', '', '1 when the endpoint answered in time as wanted, 0 when it did not.', LABELS);
const statusCode = metric('tidemark_http_status_code', 'gauge', '', 'Status of the last answer; 0 when there was none.', LABELS);
const responseSeconds = metric(
  'tidemark_http_response_seconds',
  'gauge',
  'seconds',
  'Time of the last request to the end of its answer, or to its time-out; of an open one, as soon as it takes longer. No value when it failed otherwise.',
  LABELS,
);
const phaseSeconds = metric('tidemark_http_phase_seconds', 'gauge', 'seconds', 'Time of the last request by phase.', ['endpoint', 'phase']);
const errorRatio = metric(
  'tidemark_http_error_ratio',
  'gauge',
  'ratio',
  'Share of the requests of the last minutes that failed; no value before the fifth.',
  LABELS,
);
const requestsTotal = metric('tidemark_http_requests_total', 'counter', '', 'Requests that ended.', LABELS);
const failuresTotal = metric('tidemark_http_failures_total', 'counter', '', 'Requests that failed, by reason.', ['endpoint', 'reason']);
const notAfter = metric(
  'tidemark_http_certificate_not_after_seconds',
  'gauge',
  'seconds',
  'When the first certificate of the chain ends, in unixtime.',
  LABELS,
);
const expires = metric(
  'tidemark_http_certificate_expires_seconds',
  'gauge',
  'seconds',
  'Seconds until the first certificate of the chain ends; negative afterwards.',
  LABELS,
);
const healthGauge = metric(
  'tidemark_http_health',
  'gauge',
  '',
  'What a health address says: 1 healthy, 0.5 degraded, 0 unhealthy; no value when it says nothing.',
  LABELS,
);

const HEALTH_VALUE = { healthy: 1, degraded: 0.5, unhealthy: 0 } as const;

export interface HttpProbeOptions {
  /** The agent's, for the User-Agent header. */
  readonly version: string;
  readonly clock?: Clock;
  readonly door?: ExchangeDoor;
  readonly graceMs?: number;
}

/** One probe for all endpoints, or none when none is configured. Throws an OperationalFailure for what cannot be meant. */
export function createHttpProbes(configs: readonly HttpEndpointConfig[], options: HttpProbeOptions): Probe[] {
  if (configs.length === 0) return [];
  const { clock = systemClock, graceMs = GRACE_MS } = options;
  const { door: outside = systemDoor } = options;
  // One for all: what is looked up already is not looked up beside it.
  const door = { ...outside, lookup: boundedLookup(outside.lookup) };
  const endpoints = targetsOf(configs, options.version).map((target) => new Endpoint(target, clock, door));
  return [
    {
      name: 'http',
      timeoutMs: graceMs + MARGIN_MS,
      async collect(context) {
        const readings = await Promise.all(endpoints.map((endpoint) => endpoint.look(graceMs)));
        for (const reading of readings) record(context, reading, clock.wallMs());
      },
      close() {
        for (const endpoint of endpoints) endpoint.close();
      },
    },
  ];
}

function record(context: ProbeContext, reading: EndpointReading, now: number): void {
  const { target, last, responseMs } = reading;
  const { name } = target;
  const block = context.block(name);
  const isSecure = target.url.protocol === 'https:';
  const ended = last?.exchange;
  block.add(up, last === undefined ? null : last.failure === undefined ? 1 : 0, name);
  block.add(statusCode, ended?.status ?? null, name);
  block.add(responseSeconds, responseMs === null ? null : responseMs / 1_000, name);
  block.add(errorRatio, reading.errorRatio, name);
  block.add(requestsTotal, reading.requests, name);
  for (const phase of PHASES) {
    if (phase === 'tls' && !isSecure) continue;
    const ms = ended?.phasesMs[phase];
    block.add(phaseSeconds, ms === undefined ? null : ms / 1_000, name, phase);
  }
  for (const reason of FAILURES) block.add(failuresTotal, reading.failures.get(reason) ?? 0, name, reason);
  if (isSecure) {
    const end = ended?.certificateNotAfter;
    block.add(notAfter, end === undefined ? null : end / 1_000, name);
    block.add(expires, end === undefined ? null : (end - now) / 1_000, name);
  }
  if (target.readsHealth) block.add(healthGauge, last?.health === undefined ? null : HEALTH_VALUE[last.health.status], name);
  if (last !== undefined) observe(context, name, reading);
}

/** What is not a number: the sentence that says what is wrong. It changes seldom, and is stored when it does. */
function observe(context: ProbeContext, name: string, { last, target }: EndpointReading): void {
  const { failure, health } = last!;
  context.observe({
    kind: HTTP_HEALTH,
    version: 1,
    instance: name,
    document: {
      url: `${target.url.origin}${target.url.pathname}`,
      up: failure === undefined,
      status: health?.status ?? null,
      failing: health?.failing ?? [],
      reason: failure?.reason ?? null,
      detail: failure?.detail ?? null,
    },
  });
}
