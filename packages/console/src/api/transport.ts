/**
 * One HTTP question and its end: within its time and with an `Answer`, never with an exception. What an answer has to
 * look like is the asker's to say; what a refusal means is decided here, once.
 */
import type { Problem } from '@tidemark/protocol';
import type { Answer, Failure } from './failure.ts';

export interface TransportOptions {
  fetch: typeof fetch;
  /** After this a question counts as unanswered. */
  timeoutMs: number;
}

export interface Question<T> {
  method?: 'GET' | 'POST' | 'DELETE';
  path: string;
  body?: unknown;
  signal?: AbortSignal | undefined;
  /** Another time than the usual one; null: none at all, for an answer that does not end. */
  timeoutMs?: number | null;
  read: (response: Response) => Promise<Answer<T>>;
}

export interface Transport {
  ask<T>(question: Question<T>): Promise<Answer<T>>;
}

const RETRY_AFTER_DEFAULT_MS = 10_000;
const RETRY_AFTER_MOST_MS = 15 * 60_000;

export const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

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

export async function failureOf(response: Response): Promise<Failure> {
  // A balancer in front answers 502 and 503 with a page of its own: that is no word from the collector.
  if (response.status >= 500 && !isJson(response)) return { kind: 'unreachable' };
  const body: unknown = isJson(response) ? await response.json().catch(() => undefined) : undefined;
  const problem = asProblem(response.status, body);
  const wait = response.headers.get('retry-after');
  if (response.status === 401) return { kind: 'signed-out', problem };
  if (response.status === 403) return { kind: 'forbidden', problem };
  if (response.status === 429) return { kind: 'limited', problem, retryAfterMs: retryAfterMs(wait) };
  return wait === null ? { kind: 'problem', problem } : { kind: 'problem', problem, retryAfterMs: retryAfterMs(wait) };
}

/** The answer of something that is no collector, or of one that speaks otherwise. */
export function notTheForm(status: number): Failure {
  return { kind: 'problem', problem: { ...asProblem(status, undefined), title: 'This is not an answer of a collector' } };
}

/** Reads a JSON document of one form. */
export const document =
  <T>(isForm: (body: unknown) => body is T) =>
  async (response: Response): Promise<Answer<T>> => {
    if (!response.ok) return { ok: false, failure: await failureOf(response) };
    const body: unknown = isJson(response) ? await response.json() : undefined;
    return isForm(body) ? { ok: true, value: body } : { ok: false, failure: notTheForm(response.status) };
  };

/** Whatever a success says, it is not looked at. */
export const nothing = async (response: Response): Promise<Answer<void>> =>
  response.ok ? { ok: true, value: undefined } : { ok: false, failure: await failureOf(response) };

/** Any word of the collector's own is a sign of life, a refusal too. */
export const signOfLife = async (response: Response): Promise<Answer<void>> => {
  if (response.ok) return { ok: true, value: undefined };
  const failure = await failureOf(response);
  return failure.kind === 'unreachable' ? { ok: false, failure } : { ok: true, value: undefined };
};

/** Makes the transport. It holds no state: the session is the browser's cookie. */
export function createTransport(options: TransportOptions): Transport {
  return {
    async ask(question) {
      const { timeoutMs = options.timeoutMs } = question;
      const signals = [question.signal, timeoutMs === null ? undefined : AbortSignal.timeout(timeoutMs)].filter(
        (each) => each !== undefined,
      );
      try {
        const response = await options.fetch(question.path, {
          method: question.method ?? 'GET',
          cache: 'no-store',
          credentials: 'same-origin',
          redirect: 'error',
          signal: AbortSignal.any(signals),
          headers: { accept: 'application/json', ...(question.body === undefined ? {} : { 'content-type': 'application/json' }) },
          ...(question.body === undefined ? {} : { body: JSON.stringify(question.body) }),
        });
        return await question.read(response);
      } catch {
        return { ok: false, failure: question.signal?.aborted === true ? { kind: 'aborted' } : { kind: 'unreachable' } };
      }
    },
  };
}
