/**
 * Where reports go: the configured address, or the one that its collector has moved to. A new address is tried with a request of its own
 * first, and is not settled before it has confirmed reports; until then the old one is a step back away. Never from https to http.
 */
import type { Agent as HttpAgent, OutgoingHttpHeaders } from 'node:http';
import { REPORTS_PATH } from '@tidemark/protocol';
import { codeOf, sentenceOf, type Log } from '@tidemark/service';
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
  readonly log: Log;
  /** The collector has moved, and has confirmed reports at its new address. */
  readonly onMoved?: ((to: URL) => void) | undefined;
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
  #newAddress: string | undefined;
  #moveTrouble: string | undefined;

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

  /** Where the collector says that it is moving to, as long as it is not settled there. */
  get newAddress(): string | undefined {
    return this.#newAddress;
  }

  /** Why reports do not go there. */
  get moveTrouble(): string | undefined {
    return this.#moveTrouble;
  }

  /** True from the step to a new address until that has confirmed a report. */
  get onProbation(): boolean {
    return this.#former !== undefined;
  }

  post(headers: OutgoingHttpHeaders, body: Buffer): Promise<Answer> {
    return this.#way.poster.post(headers, body);
  }

  /** The collector says that it is moving. */
  told(address: string): void {
    const to = new URL(address);
    if (this.onProbation || same(to, this.server) || same(to, this.#told)) return;
    if (this.#left.has(to.href)) return this.#refuse(to, 'this agent has come from there: two collectors name each other');
    if (this.server.protocol === 'https:' && to.protocol === 'http:')
      return this.#refuse(to, 'it is not encrypted, and the address before it is');
    this.#told = to;
    this.#newAddress = to.href;
    this.#trialOpensMs = Number.NEGATIVE_INFINITY;
    this.#options.log.warn({ newAddress: to.href }, 'the collector says that it is moving: its new address is tried');
  }

  trialDue(nowMs: number): boolean {
    return this.#told !== undefined && this.#former === undefined && nowMs >= this.#trialOpensMs;
  }

  /** Tries the address that was told, with a request that carries no report, and goes there when it is answered as a collector does. */
  async try(headers: OutgoingHttpHeaders, body: Buffer, nowMs: number): Promise<boolean> {
    const { log } = this.#options;
    const to = this.#told!;
    const way = this.#wayTo(to, undefined);
    this.#trying = way.poster;
    const trouble = await way.poster.post(headers, body).then(
      (answer) => notTaking(answer, to),
      (error: unknown) => connectionTrouble(codeOf(error), sentenceOf(error), to),
    );
    this.#trying = undefined;
    if (trouble === undefined) {
      log.info({ from: this.server.href, to: to.href }, 'the new address takes reports: they go there');
      this.#former = this.#way;
      this.#way = way;
      return true;
    }
    way.connections.destroy();
    this.#trialOpensMs = nowMs + TRIAL_RETRY_MS;
    this.#refuse(to, trouble);
    return false;
  }

  /** Reports were confirmed: a new address is the one from now on. */
  settle(): void {
    if (this.#former === undefined) return;
    const { log, onMoved } = this.#options;
    this.#left.add(this.#former.server.href);
    this.#drop(this.#former);
    this.#former = undefined;
    this.#told = undefined;
    this.#newAddress = undefined;
    this.#moveTrouble = undefined;
    log.info({ server: this.server.href }, 'the collector has moved, and has confirmed reports at its new address');
    onMoved?.(this.server);
  }

  /** Back to the old address, from one that did not confirm any report. False when there is none to go back to. */
  goBack(why: string, nowMs: number): boolean {
    if (this.#former === undefined) return false;
    const { server } = this;
    this.#drop(this.#way);
    this.#way = this.#former;
    this.#former = undefined;
    this.#trialOpensMs = nowMs + TRIAL_RETRY_MS;
    this.#refuse(server, why);
    return true;
  }

  #refuse(to: URL, trouble: string): void {
    const news = this.#newAddress !== to.href || this.#moveTrouble !== trouble;
    this.#newAddress = to.href;
    this.#moveTrouble = trouble;
    if (news)
      this.#options.log.warn(
        { newAddress: to.href, trouble },
        'the collector is moving, and its new address does not take reports; they stay here',
      );
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
