/**
 * The way to the collector. One request is under way at a time. The newest report goes first and at once;
 * then what waits in the spool, oldest first, in batches, which every new report interrupts. Nothing leaves
 * the spool but what the collector committed, or refused for good (counted).
 *
 *            new report            committed
 *   idle ──────────────► sending ────────────► idle, or the next batch
 *                           │ not stored            the backlog waits as told; new reports go on (they are judged live)
 *                           │ no answer, 5xx, 429   everything waits: Retry-After, else backoff with full jitter
 *                           │ 401, 403              everything waits a minute, or for another token in the file
 *                           │ 413                   smaller requests; one report alone too large is given up
 *                           └ 400, 422 of ours      halves, until the one report that is refused is found and given up
 */
import type { Agent as HttpAgent } from 'node:http';
import { LIMITS } from '@tidemark/protocol';
import { backoffMs, codeOf, sentenceOf, type BackoffBounds, type Clock, type Log } from '@tidemark/service';
import type { Spool, SpooledReport } from '../spool/spool.ts';
import { connectionTrouble, parseAcknowledgement, parseProblem, POISON, type ReceivedAcknowledgement } from './answer.ts';
import { ClockOffset } from './clock-offset.ts';
import { compose, type Composed, type Sent, type Turn } from './compose.ts';
import type { Route } from './connections.ts';
import { Destination } from './destination.ts';
import type { Answer, PostTimeouts } from './http-post.ts';
import { pendingWords, type Joining, type WaitingClaim } from './join.ts';
import { LayoutLedger } from './layout-ledger.ts';
import { encodeBody, joinBody } from './request-body.ts';

/** A request's size before compression; 413 makes it smaller for the life of the process. */
const REQUEST_BYTES_MAX = 1024 * 1024;
const BACKOFF: BackoffBounds = { baseMs: 1_000, maxMs: 60_000 };
/** How long to wait when only a person can help; less where somebody probably does so right now. */
const PERSON_RETRY_MS = 60_000;
const PENDING_RETRY_MS = 10_000;
/** How often a machine asks to join that was not taken in, or is not known again. */
const JOIN_RETRY_MS = 600_000;
/** A Retry-After beyond this is somebody's mistake. */
const RETRY_AFTER_MAX_SECONDS = 900;

/** `credential_*` and `node_*` are the collector's own codes. */
export type UplinkPhase =
  | 'starting'
  | 'connected'
  | 'not_stored'
  | 'unreachable'
  | 'throttled'
  | 'misdirected'
  | 'rejected'
  | 'credential_missing'
  | 'credential_unknown'
  | 'node_pending'
  | 'node_revoked'
  | 'node_retired';

export interface UplinkState {
  readonly phase: UplinkPhase;
  /** Wall time in milliseconds at which it became so. */
  readonly since: number;
  /** For people; empty when all is well. */
  readonly detail: string;
  /** What the collector calls this node. */
  readonly node: { name: string; state: string; site: string } | undefined;
  readonly lastAcknowledgedAt: number | undefined;
  /** Where the collector says that it is moving to, as long as this agent has not followed, and why it has not. */
  readonly newAddress: string | undefined;
  readonly moveTrouble?: string | undefined;
  /** Where reports go now; the configured address, or the one that the collector told. Earlier agents did not say. */
  readonly server?: string | undefined;
  /** What the collector said when this machine asked to join, while a person has to decide. */
  readonly claim?: WaitingClaim | undefined;
  readonly clockOffsetMs: number | undefined;
}

/** What is not asked of other parts. */
type OwnState = Pick<UplinkState, 'phase' | 'since' | 'detail' | 'node' | 'lastAcknowledgedAt' | 'claim'>;

export interface UplinkOptions {
  /** Where to send reports: the configured address, or the one that it has moved to. */
  readonly server: URL;
  readonly route?: Route | undefined;
  /** The collector has moved, and takes our reports at its new address. */
  readonly onMoved?: ((to: URL) => void) | undefined;
  /** Asks the collector to take this machine in. Without it an unknown agent waits for a person. */
  readonly joining?: Joining | undefined;
  /** The credential, read for every request. Undefined when there is none. */
  readonly token: () => string | undefined;
  readonly bootId: string;
  /** JSON of the request's `agent` as it is now. */
  readonly describeAgent: () => string;
  readonly spool: Spool;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** Connections to share with other agents of this process; own ones unless told. */
  readonly connections?: HttpAgent | undefined;
  readonly timeouts?: PostTimeouts | undefined;
  readonly backoff?: BackoffBounds | undefined;
  /** Something that `state()` tells has changed. */
  readonly onChange?: (() => void) | undefined;
}

export class Uplink {
  readonly #options: UplinkOptions;
  readonly #destination: Destination;
  readonly #offset: ClockOffset;
  readonly #layouts = new LayoutLedger();
  readonly #saidRefusals = new Set<string>();
  #state: OwnState;
  #token: string | undefined;
  /** What the collector did not accept last; undefined while it does. Empty when there was none. */
  #refusedToken: string | undefined;
  /** The newest report that was sent, whatever came of it. */
  #triedSequence = 0;
  #requestBytesMax = REQUEST_BYTES_MAX;
  #requestReportsMax: number = LIMITS.reportsPerRequest;
  /** An answer of this collector has accepted what we say about ourselves. */
  #proven = false;
  /** The collector is to be asked to take this machine in, before anything else is sent. */
  #joinWanted: boolean;
  #joinOpensMs = Number.NEGATIVE_INFINITY;
  /** What led to that, when it was an answer to reports. */
  #joinBecause: { readonly phase: UplinkPhase; readonly detail: string } | undefined;
  /** What to say while it waits. */
  #pendingDetail = '';
  #failures = 0;
  #backlogFailures = 0;
  #linkOpensMs = Number.NEGATIVE_INFINITY;
  #backlogOpensMs = Number.NEGATIVE_INFINITY;
  #wake: (() => void) | undefined;
  #draining = false;
  #ended = false;
  #loop: Promise<void> | undefined;

  constructor(options: UplinkOptions) {
    this.#options = options;
    this.#destination = new Destination(options);
    this.#joinWanted = options.joining?.first === true;
    this.#offset = new ClockOffset(options.clock);
    this.#state = {
      phase: 'starting',
      since: options.clock.wallMs(),
      detail: '',
      node: undefined,
      lastAcknowledgedAt: undefined,
    };
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  /** A report has been appended to the spool. */
  reportSpooled(): void {
    this.#noticeNewToken();
    this.#wake?.();
  }

  state(): UplinkState {
    const { server, newAddress, moveTrouble } = this.#destination;
    return { ...this.#state, server: server.href, newAddress, moveTrouble, clockOffsetMs: this.#offset.ms() };
  }

  /** This clock less the collector's, in milliseconds. */
  clockOffsetMs(): number | undefined {
    return this.#offset.ms();
  }

  /** Sends what can be sent within `timeoutMs` and ends. What is left stays in the spool. */
  async stop(timeoutMs: number): Promise<void> {
    this.#draining = true;
    this.#wake?.();
    const timer = setTimeout(() => this.#end(), timeoutMs);
    await this.#loop;
    clearTimeout(timer);
    this.#end();
    this.#destination.close();
  }

  #end(): void {
    this.#ended = true;
    this.#destination.abort();
  }

  async #run(): Promise<void> {
    while (!this.#ended) {
      const turn = this.#next();
      if (typeof turn === 'object') await this.#exchange(turn);
      else if (turn === 'join') await this.#join();
      else if (turn === 'move') await this.#move();
      else if (this.#draining) return;
      else await this.#sleep(turn);
    }
  }

  /** What to send now, or the milliseconds until there may be something; undefined: until a report comes. */
  #next(): Turn | 'join' | 'move' | number | undefined {
    const { spool, clock, bootId } = this.#options;
    const now = clock.monotonicMs();
    if (now < this.#linkOpensMs) return this.#linkOpensMs - now;
    if (this.#joinWanted && !this.#draining) return 'join';
    if (this.#destination.trialDue(now) && !this.#draining) return 'move';
    const newest = spool.newest();
    if (newest !== undefined && newest.bootId === bootId && newest.sequence > this.#triedSequence)
      return { reports: [newest], fresh: true };
    const reports = spool.oldest(this.#requestReportsMax, this.#requestBytesMax);
    if (reports.length === 0) return undefined;
    if (now < this.#backlogOpensMs) return this.#backlogOpensMs - now;
    return { reports, fresh: false };
  }

  async #sleep(ms: number | undefined): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (ms !== undefined) timer = setTimeout(resolve, Math.min(ms + 1, 60_000));
    });
    clearTimeout(timer);
    this.#wake = undefined;
  }

  async #exchange(turn: Turn): Promise<void> {
    const { clock, spool } = this.#options;
    let composed: Composed;
    try {
      composed = await compose(turn, spool, this.#layouts, this.#requestBytesMax);
    } catch (error) {
      // Short of file descriptors or memory: the reports are there, and will be read later.
      return this.#failed('unreachable', `reports cannot be read from disk just now: ${sentenceOf(error)}`, undefined);
    }
    const { sent, layouts } = composed;
    if (sent.reports.length === 0 && sent.layouts.length === 0) return;
    const { body, headers } = await this.#request(
      layouts,
      sent.reports.map((report) => report.body),
    );
    // Only the transfer counts for the clock's offset, not the compression.
    const sentMs = clock.monotonicMs();
    let answer: Answer;
    try {
      answer = await this.#destination.post(headers, body);
    } catch (error) {
      if (!this.#ended)
        this.#failed('unreachable', connectionTrouble(codeOf(error), sentenceOf(error), this.#destination.server), undefined);
      return;
    }
    await this.#answered(sent, answer, sentMs);
  }

  async #request(layouts: readonly Buffer[], reports: readonly Buffer[]): Promise<{ body: Buffer; headers: Record<string, string> }> {
    const { clock, bootId, describeAgent } = this.#options;
    const agent = describeAgent();
    const { body, headers } = await encodeBody(
      joinBody({ agent, bootId, sentAt: clock.wallMs(), sentMonotonicMs: clock.monotonicMs(), layouts, reports }),
    );
    this.#token = this.#options.token() ?? this.#token;
    return { body, headers: this.#token === undefined ? headers : { ...headers, authorization: `Bearer ${this.#token}` } };
  }

  /** Asks the collector to take this machine in. */
  async #join(): Promise<void> {
    const { joining, clock, log } = this.#options;
    const { server, connections } = this.#destination;
    this.#joinOpensMs = clock.monotonicMs() + JOIN_RETRY_MS;
    const because = this.#joinBecause;
    this.#joinBecause = undefined;
    const joined = await joining!.ask(server, connections);
    if (this.#ended) return;
    // Before an answer the question stands.
    this.#joinWanted = joined.kind === 'trouble' && because === undefined;
    switch (joined.kind) {
      case 'approved':
        this.#refusedToken = undefined;
        this.#state = { ...this.#state, claim: undefined };
        return log.info({ server: server.href, node: joined.name }, 'the collector has taken this machine in');
      case 'pending':
        this.#state = { ...this.#state, claim: joined.claim };
        this.#pendingDetail = pendingWords(joined.name, joined.claim);
        return this.#waitForPerson('node_pending', this.#pendingDetail);
      case 'refused':
        return this.#waitForPerson(
          joined.code === 'node_revoked' || joined.code === 'node_retired' ? joined.code : 'rejected',
          joined.detail,
        );
      case 'trouble':
        // An older collector, say, that knows no enrolment: what it said of the reports is what counts.
        if (because !== undefined) return this.#waitForPerson(because.phase, because.detail);
        return this.#failed('unreachable', joined.detail, joined.retryAfterSeconds);
    }
  }

  /** Tries the address that the collector says it is moving to. */
  async #move(): Promise<void> {
    const { clock, onChange } = this.#options;
    const { body, headers } = await this.#request([], []);
    if (await this.#destination.try(headers, body, clock.monotonicMs())) onChange?.();
  }

  /** A new address that stops taking reports before it has confirmed any was none: the old one is asked again at once. */
  #wentBack(why: string): boolean {
    const { clock, onChange } = this.#options;
    if (!this.#destination.goBack(why, clock.monotonicMs())) return false;
    this.#linkOpensMs = Number.NEGATIVE_INFINITY;
    onChange?.();
    return true;
  }

  async #answered(sent: Sent, answer: Answer, sentMs: number): Promise<void> {
    const { status } = answer;
    if (status >= 200 && status < 300) {
      const acknowledgement = parseAcknowledgement(answer.text);
      if (acknowledgement !== undefined) return this.#acknowledged(sent, acknowledgement, answer.retryAfterSeconds, sentMs);
      return this.#failed('misdirected', `${this.#destination.url.href} answers, but not as a collector does`, answer.retryAfterSeconds);
    }
    const problem = parseProblem(answer);
    const detail =
      problem === undefined ? `${this.#destination.url.host} answered with HTTP status ${status}` : `${problem.detail} (${problem.code})`;
    if (status === 401 || status === 403) return this.#unwelcome(problem?.code, detail);
    if (status === 413) return this.#tooLarge(sent, detail);
    if (problem !== undefined && POISON.has(problem.code)) return this.#poisoned(sent, problem.code, detail);
    if (status >= 300 && status < 400)
      return this.#waitForPerson(
        'misdirected',
        `the collector's address leads to ${answer.location ?? 'another place'}: set server to that`,
      );
    if (status === 404 || status === 405)
      return this.#waitForPerson('misdirected', `there is no collector at ${this.#destination.url.href}: HTTP status ${status}`);
    return this.#failed(status === 429 ? 'throttled' : 'unreachable', detail, answer.retryAfterSeconds);
  }

  async #acknowledged(sent: Sent, answer: ReceivedAcknowledgement, retryAfterHeader: number | undefined, sentMs: number): Promise<void> {
    const { spool, clock } = this.#options;
    const now = clock.monotonicMs();
    if (answer.serverTime !== undefined)
      this.#offset.measured({ sentMs, receivedMs: now, serverTimeMs: answer.serverTime, toldMs: answer.clockOffsetMs });
    this.#proven = true;
    this.#refusedToken = undefined;
    this.#failures = 0;
    this.#linkOpensMs = Number.NEGATIVE_INFINITY;
    const waitingBefore = spool.state().reports;
    for (const { bootId, sequences } of answer.committed) spool.settle(bootId, sequences);
    for (const { bootId, sequence, code, detail } of answer.refused)
      this.#giveUp({ bootId, sequence, takenAt: 0, sizeBytes: 0, layouts: undefined }, code, detail);
    this.#layouts.told(sent.layouts);
    this.#requestReportsMax = Math.min(LIMITS.reportsPerRequest, this.#requestReportsMax * 2);
    const asked = await this.#layoutsAsked(sent, answer.layoutsMissing);
    const progress = spool.state().reports < waitingBefore || asked || (sent.reports.length === 0 && sent.layouts.length > 0);
    // A report whose layouts were missing, or had to go ahead of it, is still the one to send first.
    if (sent.turn.fresh && !asked && sent.reports.length > 0) this.#triedSequence = sent.turn.reports[0]!.sequence;
    const seconds = answer.retryAfterSeconds ?? retryAfterHeader;
    if (answer.notStored !== undefined || seconds !== undefined || !progress) {
      this.#backlogFailures++;
      this.#backlogOpensMs = now + (seconds === undefined ? this.#backoff(this.#backlogFailures) : this.#told(seconds));
    } else {
      this.#backlogFailures = 0;
      this.#backlogOpensMs = Number.NEGATIVE_INFINITY;
    }
    if (answer.committed.length > 0) this.#destination.settle();
    if (answer.newAddress !== undefined) this.#destination.told(answer.newAddress);
    const node = answer.node ?? this.#state.node;
    const detail = answer.notStored === undefined ? '' : `${answer.notStored.detail} (${answer.notStored.code})`;
    this.#become(answer.notStored === undefined ? 'connected' : 'not_stored', detail, {
      node,
      claim: undefined,
      ...(answer.committed.length > 0 ? { lastAcknowledgedAt: clock.wallMs() } : {}),
    });
  }

  /** Notes the layouts to send along next time. True when that will make a difference. */
  async #layoutsAsked(sent: Sent, missing: readonly string[]): Promise<boolean> {
    let asked = false;
    for (const hash of missing) {
      const what = this.#layouts.asked(hash, sent.layouts.includes(hash));
      if (what !== 'give up' && (await this.#options.spool.layout(hash)) !== undefined) {
        this.#layouts.want(hash);
        asked ||= what === 'send';
        continue;
      }
      // Without their layout these reports mean nothing to anyone.
      for (const { report, body } of sent.reports)
        if (body.includes(hash)) this.#giveUp(report, 'layout_lost', 'its layout is damaged, or never accepted');
    }
    return asked;
  }

  #tooLarge(sent: Sent, detail: string): void {
    const { log } = this.#options;
    this.#requestBytesMax = Math.max(1_024, Math.min(this.#requestBytesMax, Math.floor(sent.sizeBytes / 2)));
    if (sent.reports.length + sent.layouts.length > 1) {
      log.info({ requestBytesMax: this.#requestBytesMax }, 'requests are too large for the collector or a proxy; sending smaller ones');
      return;
    }
    const [only] = sent.reports;
    if (only !== undefined) return this.#giveUp(only.report, 'body_too_large', detail);
    // A layout that never fits: the collector will ask for it in vain, and its reports are given up then.
    for (const hash of sent.layouts) this.#layouts.tooLarge(hash);
  }

  /** Something in the request is refused for good. */
  #poisoned(sent: Sent, code: string, detail: string): void {
    if (!this.#proven && sent.reports.length <= 1) {
      // Never yet accepted: it may be what we say about ourselves, and then no report is at fault.
      return this.#waitForPerson('rejected', `the collector does not accept what this agent sends: ${detail}`);
    }
    const [first] = sent.reports;
    if (first !== undefined && sent.reports.length === 1) return this.#giveUp(first.report, code, detail);
    this.#requestReportsMax = Math.max(1, Math.floor(sent.reports.length / 2));
  }

  #giveUp(report: SpooledReport, code: string, detail: string): void {
    const { spool, log, bootId } = this.#options;
    spool.giveUp([report]);
    if (report.bootId === bootId) this.#triedSequence = Math.max(this.#triedSequence, report.sequence);
    if (this.#saidRefusals.has(code)) return;
    this.#saidRefusals.add(code);
    log.warn({ code, detail, sequence: report.sequence }, 'reports are refused and lost (said once for each reason)');
  }

  /** Who has put a new token into the file need not wait for the next attempt. */
  #noticeNewToken(): void {
    if (this.#refusedToken === undefined) return;
    const token = this.#options.token();
    if (token === undefined || token === this.#refusedToken) return;
    this.#token = token;
    this.#refusedToken = undefined;
    this.#linkOpensMs = Number.NEGATIVE_INFINITY;
  }

  #unwelcome(code: string | undefined, detail: string): void {
    this.#refusedToken = this.#token ?? '';
    this.#token = undefined;
    if (this.#mayJoin(code)) {
      this.#joinWanted = true;
      this.#joinBecause = { phase: code, detail };
      return;
    }
    switch (code) {
      case 'credential_missing':
        return this.#waitForPerson(code, `the collector asks for a token: put one into a file and name it with --token-file. ${detail}`);
      case 'credential_unknown':
      case 'node_revoked':
      case 'node_retired':
        return this.#waitForPerson(code, detail);
      case 'node_pending':
        // What was said when it asked tells more: which machine, and why.
        return this.#waitForPerson(code, this.#state.claim === undefined ? detail : this.#pendingDetail);
      default:
        return this.#waitForPerson('rejected', detail);
    }
  }

  /** Whether to ask to be taken in: a secret of our own that is not known, or to learn how a person approves this machine. */
  #mayJoin(code: string | undefined): code is 'credential_unknown' | 'node_pending' {
    const { joining, clock } = this.#options;
    if (joining === undefined || this.#destination.onProbation || clock.monotonicMs() < this.#joinOpensMs) return false;
    return code === 'credential_unknown' || (code === 'node_pending' && this.#state.claim === undefined);
  }

  #waitForPerson(phase: UplinkPhase, detail: string): void {
    if (this.#wentBack(detail)) return;
    const waitMs = phase === 'node_pending' || this.#state.claim !== undefined ? PENDING_RETRY_MS : PERSON_RETRY_MS;
    this.#linkOpensMs = this.#options.clock.monotonicMs() + waitMs * (0.75 + 0.5 * this.#options.random());
    this.#become(phase, detail);
  }

  #failed(phase: UplinkPhase, detail: string, retryAfterSeconds: number | undefined): void {
    if (this.#wentBack(detail)) return;
    this.#failures++;
    const waitMs = retryAfterSeconds === undefined ? this.#backoff(this.#failures) : this.#told(retryAfterSeconds);
    this.#linkOpensMs = this.#options.clock.monotonicMs() + waitMs;
    this.#become(phase, detail);
  }

  #backoff(attempt: number): number {
    return backoffMs(attempt, this.#options.backoff ?? BACKOFF, this.#options.random);
  }

  /** As told, and up to a quarter longer, so that a fleet that was told the same does not come back as one. */
  #told(seconds: number): number {
    return Math.min(seconds, RETRY_AFTER_MAX_SECONDS) * 1000 * (1 + 0.25 * this.#options.random());
  }

  #become(phase: UplinkPhase, detail: string, more: Partial<OwnState> = {}): void {
    const { clock, log, onChange } = this.#options;
    const { server } = this.#destination;
    const before = this.#state;
    const changed = before.phase !== phase;
    this.#state = { ...before, ...more, phase, detail, since: changed ? clock.wallMs() : before.since };
    if (changed) {
      if (phase === 'connected') log.info({ server: server.href, node: this.#state.node?.name }, 'the collector takes reports');
      else log.warn({ server: server.href, phase, detail }, 'reports do not reach the store; they wait in the spool');
    }
    onChange?.();
  }
}
