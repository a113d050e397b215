/**
 * Where reports go: the configured address, or the one that its collector has moved to. A new address is tried with a request of its own
 * first, and is not settled before it has confirmed reports; until then the old one is a step back away. Never from https to http.
 */
import type { Agent as HttpAgent, OutgoingHttpHeaders } from 'node:http';
import { REPORTS_PATH } from '@tidemark/protocol';
import { codeOf, sentenceOf } from '@tidemark/service';
import { connectionTrouble, parseAcknowledgement, parseProblem } from './answer.ts';
import { createConnections, type Route } from './connections.ts';
import { Poster, type Answer, type PostTimeouts } from './http-post.ts';

/** How long an address that did not take our reports is left alone. */
const TRIAL_RETRY_MS = 60_000;

export interface DestinationOptions {
  readonly server: URL;
  readonly route?: Route | undefined;
  readonly timeouts?: PostTimeouts | undefined;
  /** Connections to `server` to share with others; own ones unless told. */
  readonly connections?: HttpAgent | undefined;
}

interface Way {
  readonly server: URL;
  readonly url: URL;
  readonly connections: HttpAgent;
  readonly poster: Poster;
}

export class Destination {
  readonly #options: DestinationOptions;
  #way: Way;
  /** Where to go back to while the new address is not settled. */
  #former: Way | undefined;
  #told: URL | undefined;
  #trialOpensMs = Number.NEGATIVE_INFINITY;
  /** Addresses that this process has left, or will not go to: two collectors that name each other send nobody in circles. */
  readonly #left = new Set<string>();
  #trying: Poster | undefined;

  constructor(options: DestinationOptions) {
    this.#options = options;
    this.#way = this.#wayTo(options.server, options.connections);
  }

  get server(): URL {
    return this.#way.server;
  }

  /** Where reports are posted to. */
  get url(): URL {
    return this.#way.url;
  }

  get connections(): HttpAgent {
    return this.#way.connections;
  }

  /** True from the step to a new address until that has confirmed a report. */
  get onProbation(): boolean {
    return this.#former !== undefined;
  }

  post(headers: OutgoingHttpHeaders, body: Buffer): Promise<Answer> {
    return this.#way.poster.post(headers, body);
  }

  /** The collector says that it is moving. Returns why it is not followed there, when that is certain already; true when it is news. */
  told(address: string): boolean | string {
    const to = new URL(address);
    if (same(to, this.server) || same(to, this.#told)) return false;
    if (this.#left.has(to.href)) return `this agent has come from ${to.href}: two collectors name each other`;
    if (this.server.protocol === 'https:' && to.protocol === 'http:') return `${to.href} is not encrypted, and the address before it is`;
    this.#told = to;
    this.#trialOpensMs = Number.NEGATIVE_INFINITY;
    return true;
  }

  trialDue(nowMs: number): boolean {
    return this.#told !== undefined && this.#former === undefined && nowMs >= this.#trialOpensMs;
  }

  /** Tries the address that was told, with a request that carries no report, and goes there when it is answered as a collector does. */
  async try(headers: OutgoingHttpHeaders, body: Buffer, nowMs: number): Promise<{ to: URL; trouble: string | undefined }> {
    const to = this.#told!;
    const way = this.#wayTo(to, undefined);
    this.#trying = way.poster;
    const trouble = await way.poster.post(headers, body).then(
      (answer) => notTaking(answer, to),
      (error: unknown) => connectionTrouble(codeOf(error), sentenceOf(error), to),
    );
    this.#trying = undefined;
    if (trouble === undefined) {
      this.#former = this.#way;
      this.#way = way;
    } else {
      way.connections.destroy();
      this.#trialOpensMs = nowMs + TRIAL_RETRY_MS;
    }
    return { to, trouble };
  }

  /** The new address has confirmed a report: it is the one from now on. */
  settle(): void {
    if (this.#former === undefined) return;
    this.#left.add(this.#former.server.href);
    this.#drop(this.#former);
    this.#former = undefined;
    this.#told = undefined;
  }

  /** Back to the old address, from one that did not confirm any report. */
  goBack(nowMs: number): void {
    if (this.#former === undefined) return;
    this.#drop(this.#way);
    this.#way = this.#former;
    this.#former = undefined;
    this.#trialOpensMs = nowMs + TRIAL_RETRY_MS;
  }

  abort(): void {
    this.#trying?.abort();
    this.#way.poster.abort();
  }

  close(): void {
    this.#drop(this.#way);
    if (this.#former !== undefined) this.#drop(this.#former);
  }

  #drop({ connections }: Way): void {
    if (connections !== this.#options.connections) connections.destroy();
  }

  #wayTo(server: URL, shared: HttpAgent | undefined): Way {
    const url = new URL(server.pathname.replace(/\/+$/, '') + REPORTS_PATH, server);
    const connections = shared ?? createConnections(server, 1, this.#options.route);
    return { server, url, connections, poster: new Poster(url, connections, this.#options.timeouts) };
  }
}

function same(one: URL, other: URL | undefined): boolean {
  return one.href.replace(/\/+$/, '') === other?.href.replace(/\/+$/, '');
}

function notTaking(answer: Answer, to: URL): string | undefined {
  if (answer.status >= 200 && answer.status < 300 && parseAcknowledgement(answer.text) !== undefined) return undefined;
  const problem = parseProblem(answer);
  return problem === undefined
    ? `${to.href} does not answer as a collector does (HTTP status ${answer.status})`
    : `${problem.detail} (${problem.code})`;
}
