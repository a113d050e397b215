/**
 * Asking a collector to take this machine in, and what its answer means. One attempt is one request; asked again with the same secret
 * the collector answers the same, so an answer that was lost costs nothing.
 */
import type { Agent as HttpAgent } from 'node:http';
import { ENROLL_PATH, type EnrollAnswer, type EnrollRequest } from '@tidemark/protocol';
import { backoffMs, codeOf, EXIT, OperationalFailure, sentenceOf, type BackoffBounds } from '@tidemark/service';
import { connectionTrouble, parseProblem } from '../uplink/answer.ts';
import { createConnections, type Route } from '../uplink/connections.ts';
import { Poster, type Answer, type PostTimeouts } from '../uplink/http-post.ts';

const BACKOFF: BackoffBounds = { baseMs: 500, maxMs: 4_000 };
/** An attempt of a command does not outlast a person's patience. */
const TIMEOUTS: PostTimeouts = { connectMs: 5_000, answerMs: 10_000 };
const RETRY_AFTER_MAX_SECONDS = 10;

export type Asked =
  | { readonly kind: 'answered'; readonly answer: EnrollAnswer }
  /** The collector does not take this machine, or this token: asked again it says the same. */
  | { readonly kind: 'refused'; readonly code: string; readonly detail: string }
  /** It could not be asked; `exitCode` tells DNS, TCP, TLS and HTTP apart. */
  | {
      readonly kind: 'trouble';
      readonly exitCode: number;
      readonly detail: string;
      readonly again: boolean;
      readonly retryAfterSeconds?: number | undefined;
    };

export interface Ask {
  readonly server: URL;
  readonly request: EnrollRequest;
  /** The credential that the agent has already, where it has one. */
  readonly secret?: string | undefined;
  readonly connections: HttpAgent;
  readonly timeouts?: PostTimeouts | undefined;
}

/** Address of something below the collector's own, which may have a path. */
export function addressBelow(server: URL, path: string): URL {
  return new URL(server.pathname.replace(/\/+$/, '') + path, server);
}

/** One attempt. Never throws for what the network or the collector does. */
export async function askOnce({ server, request, secret, connections, timeouts }: Ask): Promise<Asked> {
  const poster = new Poster(addressBelow(server, ENROLL_PATH), connections, timeouts ?? TIMEOUTS);
  const headers = secret === undefined ? {} : { authorization: `Bearer ${secret}` };
  let answer: Answer;
  try {
    answer = await poster.post(headers, Buffer.from(JSON.stringify(request)));
  } catch (error) {
    return troubleOf(error, server);
  }
  return meaningOf(answer, server);
}

/** What a connection that failed means. */
export function troubleOf(error: unknown, server: URL): Extract<Asked, { kind: 'trouble' }> {
  const code = codeOf(error);
  const exitCode = exitCodeOf(code);
  // A name that DNS does not know is a slip of the pen; a server that does not answer may be starting.
  const again = code === 'EAI_AGAIN' || code === 'TIDEMARK_NO_ANSWER' || exitCode === EXIT.connectionRefused;
  return { kind: 'trouble', exitCode, detail: connectionTrouble(code, sentenceOf(error), server), again };
}

function exitCodeOf(code = ''): number {
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return EXIT.nameUnknown;
  if (code === 'TIDEMARK_NO_ANSWER' || code === 'TIDEMARK_ANSWER_TOO_LARGE' || code.startsWith('HPE_')) return EXIT.notACollector;
  if (code === 'TIDEMARK_FILE') return EXIT.configuration;
  if (/CERT|^ERR_(SSL|TLS|OSSL)|^EPROTO$|^UNABLE_TO|SIGNATURE|^CRL_|^INVALID_(CA|PURPOSE)|PATH_LENGTH/.test(code)) return EXIT.tlsFailed;
  return EXIT.connectionRefused;
}

function meaningOf(answer: Answer, server: URL): Asked {
  const { status, retryAfterSeconds } = answer;
  if (status >= 200 && status < 300) {
    const enrolled = parseEnrollAnswer(answer.text);
    if (enrolled !== undefined) return { kind: 'answered', answer: enrolled };
    return { kind: 'trouble', exitCode: EXIT.notACollector, detail: `${server.href} answers, but not as a collector does`, again: false };
  }
  const problem = parseProblem(answer);
  if (problem === undefined) {
    const where = answer.location === undefined ? '' : `, and leads to ${answer.location}`;
    const detail = `there is no collector at ${server.href}: it answers with HTTP status ${status}${where}`;
    return { kind: 'trouble', exitCode: EXIT.notACollector, detail, again: status >= 500, retryAfterSeconds };
  }
  const detail = `${problem.detail} (${problem.code})`;
  // An address that is none, or of a collector that knows no enrolment, may ask for a credential first.
  if (['not_found', 'method_not_allowed', 'credential_missing', 'credential_unknown', 'node_pending'].includes(problem.code))
    return {
      kind: 'trouble',
      exitCode: EXIT.notACollector,
      detail: `${server.href} takes no machines in; is this the collector's whole address, and is the collector not too old? ${detail}`,
      again: false,
    };
  if (problem.code === 'client_certificate_needed') return { kind: 'trouble', exitCode: EXIT.tlsFailed, detail, again: false };
  if (status >= 500 || status === 429 || status === 408)
    return { kind: 'trouble', exitCode: EXIT.notACollector, detail, again: problem.code !== 'enrollments_full', retryAfterSeconds };
  return { kind: 'refused', code: problem.code, detail };
}

/** Checked by hand: a later version may say more, and a proxy anything. */
function parseEnrollAnswer(json: string): EnrollAnswer | undefined {
  let body: unknown;
  try {
    body = JSON.parse(json);
  } catch {
    return undefined;
  }
  const { state, node, machineCode, reason, approveCommand, consoleUrl } = (body ?? {}) as Partial<Record<keyof EnrollAnswer, unknown>>;
  const { name, site } = (node ?? {}) as { name?: unknown; site?: unknown };
  if ((state !== 'approved' && state !== 'pending') || typeof name !== 'string') return undefined;
  const text = (value: unknown): string => (typeof value === 'string' ? value.slice(0, 1_000) : '');
  return {
    state,
    node: { name, site: text(site) },
    machineCode: text(machineCode),
    reason: reason === 'new' || reason === 'same-machine' || reason === 'clone-or-replacement' ? reason : null,
    approveCommand: text(approveCommand),
    consoleUrl: /^https?:/.test(text(consoleUrl)) ? text(consoleUrl) : '',
  };
}

export interface Patience {
  /** How long to go on where asking again may help. */
  readonly timeoutMs: number;
  readonly random: () => number;
  readonly now: () => number;
  readonly sleep: (ms: number) => Promise<void>;
}

type Trouble = Extract<Asked, { kind: 'trouble' }>;
const isTrouble = (asked: { readonly kind: string }): asked is Trouble => asked.kind === 'trouble';

/** Tries again while that may help, and throws an OperationalFailure with the exit code of what went wrong last. */
export async function patiently<T extends { readonly kind: string }>(
  attempt: () => Promise<T | Trouble>,
  { timeoutMs, random, now, sleep }: Patience,
): Promise<Exclude<T, { kind: 'trouble' }>> {
  const until = now() + timeoutMs;
  for (let count = 1; ; count++) {
    const asked = await attempt();
    if (!isTrouble(asked)) return asked as Exclude<T, { kind: 'trouble' }>;
    const { exitCode, detail, again, retryAfterSeconds } = asked;
    const waitMs =
      retryAfterSeconds === undefined ? backoffMs(count, BACKOFF, random) : Math.min(retryAfterSeconds, RETRY_AFTER_MAX_SECONDS) * 1000;
    if (!again || now() + waitMs > until) throw new OperationalFailure(`The collector could not be asked: ${detail}.`, exitCode);
    await sleep(waitMs);
  }
}

/** Connections for a few requests, closed afterwards. */
export async function withConnections<T>(server: URL, route: Route, use: (connections: HttpAgent) => Promise<T>): Promise<T> {
  const connections = createConnections(server, 1, route);
  try {
    return await use(connections);
  } finally {
    connections.destroy();
  }
}
