/**
 * The one place that speaks HTTP with the collector. Every call ends within its time and with an `Answer`, never
 * with an exception: a page is drawn from failures just as from figures.
 */
import type { NodeDetail, Overview, Problem } from '@tidemark/protocol';
import type { Answer, Failure } from './failure.ts';

export interface Session {
  role: string;
  /** ISO 8601. */
  expiresAt: string;
}

export interface Api {
  session(signal?: AbortSignal): Promise<Answer<Session>>;
  signIn(token: string): Promise<Answer<void>>;
  signOut(): Promise<Answer<void>>;
  overview(signal?: AbortSignal): Promise<Answer<Overview>>;
  node(name: string, signal?: AbortSignal): Promise<Answer<NodeDetail>>;
  /** Whether the collector answers at all; cheap, and needs no session. */
  alive(signal?: AbortSignal): Promise<Answer<void>>;
}

export interface ApiOptions {
  fetch: typeof fetch;
  /** After this a question counts as unanswered. */
  timeoutMs: number;
  /** The same for `alive`, on which "connection lost" hangs. */
  aliveTimeoutMs: number;
}

const RETRY_AFTER_DEFAULT_MS = 10_000;
const RETRY_AFTER_MOST_MS = 15 * 60_000;

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

function asProblem(status: number, body: unknown): Problem {
  const text = (key: string): string => {
    const value = isRecord(body) ? body[key] : undefined;
    return typeof value === 'string' ? value : '';
  };
  return {
    type: text('type') || 'about:blank',
    title: text('title') || `The collector answered ${status}`,
    status,
    code: text('code') || 'unknown',
    detail: text('detail'),
  };
}

function retryAfterMs(header: string | null): number {
  const seconds = Number(header ?? Number.NaN);
  if (!Number.isFinite(seconds) || seconds < 0) return RETRY_AFTER_DEFAULT_MS;
  return Math.min(RETRY_AFTER_MOST_MS, Math.max(1_000, seconds * 1_000));
}

const isJson = (response: Response): boolean => /^application\/(?:[a-z.-]+\+)?json\b/i.test(response.headers.get('content-type') ?? '');

async function failureOf(response: Response): Promise<Failure> {
  // A balancer in front answers 502 and 503 with a page of its own: that is no word from the collector.
  if (response.status >= 500 && !isJson(response)) return { kind: 'unreachable' };
  const body: unknown = isJson(response) ? await response.json().catch(() => undefined) : undefined;
  const problem = asProblem(response.status, body);
  if (response.status === 401) return { kind: 'signed-out', problem };
  if (response.status === 403) return { kind: 'forbidden', problem };
  if (response.status === 429) return { kind: 'limited', problem, retryAfterMs: retryAfterMs(response.headers.get('retry-after')) };
  return { kind: 'problem', problem };
}

const isOverview = (body: unknown): body is Overview => isRecord(body) && typeof body['at'] === 'string' && Array.isArray(body['nodes']);
const isNode = (body: unknown): body is NodeDetail =>
  isRecord(body) && typeof body['name'] === 'string' && Array.isArray(body['latest']) && Array.isArray(body['observations']);
const isSession = (body: unknown): body is Session => isRecord(body) && typeof body['role'] === 'string';

interface Question<T> {
  method?: 'GET' | 'POST' | 'DELETE';
  path: string;
  body?: unknown;
  signal?: AbortSignal | undefined;
  timeoutMs: number;
  read: (response: Response) => Promise<Answer<T>>;
}

/** Makes the client. It holds no state: the session is the browser's cookie. */
export function createApi(options: ApiOptions): Api {
  const ask = async <T>(question: Question<T>): Promise<Answer<T>> => {
    const deadline = AbortSignal.timeout(question.timeoutMs);
    const signal = question.signal === undefined ? deadline : AbortSignal.any([question.signal, deadline]);
    try {
      const response = await options.fetch(question.path, {
        method: question.method ?? 'GET',
        cache: 'no-store',
        credentials: 'same-origin',
        redirect: 'error',
        signal,
        headers: { accept: 'application/json', ...(question.body === undefined ? {} : { 'content-type': 'application/json' }) },
        ...(question.body === undefined ? {} : { body: JSON.stringify(question.body) }),
      });
      return await question.read(response);
    } catch {
      return { ok: false, failure: question.signal?.aborted === true ? { kind: 'aborted' } : { kind: 'unreachable' } };
    }
  };

  const document =
    <T>(isForm: (body: unknown) => body is T) =>
    async (response: Response): Promise<Answer<T>> => {
      if (!response.ok) return { ok: false, failure: await failureOf(response) };
      const body: unknown = isJson(response) ? await response.json() : undefined;
      if (isForm(body)) return { ok: true, value: body };
      const problem = { ...asProblem(response.status, undefined), title: 'This is not an answer of a collector' };
      return { ok: false, failure: { kind: 'problem', problem } };
    };
  const nothing = async (response: Response): Promise<Answer<void>> =>
    response.ok ? { ok: true, value: undefined } : { ok: false, failure: await failureOf(response) };
  // Any word of the collector's own is a sign of life, a refusal too.
  const signOfLife = async (response: Response): Promise<Answer<void>> => {
    if (response.ok) return { ok: true, value: undefined };
    const failure = await failureOf(response);
    return failure.kind === 'unreachable' ? { ok: false, failure } : { ok: true, value: undefined };
  };

  const { timeoutMs } = options;
  return {
    session: (signal) => ask({ path: '/api/session', signal, timeoutMs, read: document(isSession) }),
    signIn: (token) => ask({ method: 'POST', path: '/api/session', body: { token }, timeoutMs, read: nothing }),
    signOut: () => ask({ method: 'DELETE', path: '/api/session', timeoutMs, read: nothing }),
    overview: (signal) => ask({ path: '/api/telemetry/overview', signal, timeoutMs, read: document(isOverview) }),
    node: (name, signal) => ask({ path: `/api/telemetry/nodes/${encodeURIComponent(name)}`, signal, timeoutMs, read: document(isNode) }),
    alive: (signal) => ask({ path: '/health', signal, timeoutMs: options.aliveTimeoutMs, read: signOfLife }),
  };
}
