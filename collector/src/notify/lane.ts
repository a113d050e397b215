/**
 * One channel's way out: one message in flight, the next one made of all that became due meanwhile. What is sent was
 * written to the journal before; what came back is written after. A lane never waits for another lane.
 */
import { backoffMs, sentenceOf, type Clock, type Log } from '@tidemark/service';
import type { Delivery, DeliveryItem, Happening, IncidentRecorder } from '../incidents/entry.ts';
import { newId, type RandomBytes } from '../incidents/id.ts';
import type { Channel, Message, Sent } from './channels/channel.ts';
import { sendBounded } from './bounded-send.ts';
import { identityOf, type NodeLookup, type Only } from './only.ts';
import { planFor, type ChannelWork, type NewMessage } from './plan.ts';

/** A channel as the configuration declares it. */
export interface NotifyChannel {
  readonly name: string;
  readonly kind: string;
  readonly only: Only;
  readonly channel: Channel;
  /** A digest of all its options, contents of secret files included. */
  readonly fingerprint: string;
  /** How long one attempt may take. */
  readonly attemptMs: number;
}

/** What all lanes share. */
export interface LaneContext {
  readonly recorder: IncidentRecorder;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly randomBytes: RandomBytes;
  readonly nodeOf: NodeLookup;
  /** The collector as it is reached from outside, without a slash at the end. */
  readonly collectorUrl: () => string;
  readonly log: Log;
  /** Something about how the channel stands is another than before. */
  readonly onChange: () => void;
}

export const RETRY_BOUNDS = { baseMs: 1_000, maxMs: 300_000 };
/** Whatever a destination asks for: after an hour it is looked at again. */
export const MAX_RETRY_AFTER_MS = 3_600_000;
/** A new alert waits no longer than this for a channel that has failed often, unless that asked for it. */
const FRESH_PAUSE_MS = 30_000;
/** What is planned is looked at this often even when nothing is known to have changed (a clock that was set, a node's new tag). */
const LOOK_AGAIN_MS = 30_000;
const ANSWERS_KEPT = 1_000;

interface Attempt {
  readonly deliveryId: string;
  readonly thread: string;
  readonly attempt: number;
  readonly items: readonly DeliveryItem[];
  readonly possibleRepeat: boolean;
  readonly openCount: number;
}

export class Lane {
  readonly #context: LaneContext;
  #channel: NotifyChannel;
  #revivedAt: number;
  #inFlight: { readonly controller: AbortController; readonly done: Promise<void> } | undefined;
  #planned = false;
  #stopped = false;
  #timer: NodeJS.Timeout | undefined;
  /** Failures since something was last delivered. */
  #failures = 0;
  /** On the monotonic clock, like `#dueAt`. */
  #pausedUntil = -Infinity;
  #freshPausedUntil = -Infinity;
  /** When each delivery under way is tried again. One that is not in here is due. */
  readonly #dueAt = new Map<string, number>();
  #lastWasFresh = false;
  /** Answers by delivery, for people who ask. */
  readonly #answers = new Map<string, string>();
  #lastAnswer = '';
  #lastDeliveredAt: number | null = null;
  #trouble: 'none' | 'failing' | 'refused' | 'unrecorded' = 'none';

  constructor(channel: NotifyChannel, context: LaneContext) {
    this.#channel = channel;
    this.#context = context;
    // What was refused before this start is tried once more: the operator may have mended it in between.
    this.#revivedAt = context.clock.wallMs();
    const [wall, mono] = [context.clock.wallMs(), context.clock.monotonicMs()];
    for (const { deliveryId, channel: name, retryAt } of context.recorder.book.deliveries())
      if (name === channel.name && retryAt !== null)
        this.#dueAt.set(deliveryId, mono + Math.min(Math.max(0, retryAt - wall), MAX_RETRY_AFTER_MS));
  }

  get channel(): NotifyChannel {
    return this.#channel;
  }
  get lastAnswer(): string {
    return this.#lastAnswer;
  }
  get lastDeliveredAt(): number | null {
    return this.#lastDeliveredAt;
  }
  get trouble(): 'none' | 'failing' | 'refused' | 'unrecorded' {
    return this.#trouble;
  }
  get sending(): boolean {
    return this.#inFlight !== undefined;
  }

  /** What the destination said when it asked for nothing more, while that holds. */
  get gone(): { readonly at: number; readonly answer: string } | undefined {
    const gone = this.#context.recorder.book.goneChannels().get(this.#channel.name);
    return gone === undefined || (gone.configuration !== undefined && gone.configuration !== this.#channel.fingerprint) ? undefined : gone;
  }

  answerTo(deliveryId: string): string | undefined {
    return this.#answers.get(deliveryId);
  }

  /** Milliseconds until a delivery is tried again; 0 when it is due. */
  untilRetryMs(deliveryId: string): number {
    return Math.max(0, this.#dueAtOf(deliveryId) - this.#context.clock.monotonicMs());
  }

  #dueAtOf(deliveryId: string): number {
    return Math.max(this.#dueAt.get(deliveryId) ?? -Infinity, this.#pausedUntil);
  }

  plan(): ChannelWork {
    const { recorder, clock, nodeOf } = this.#context;
    const { name, only } = this.#channel;
    return planFor(recorder.book, { name, only, revivedAt: this.#revivedAt }, { now: clock.wallMs(), nodeOf });
  }

  /** Something may have become due. What is recorded in one go is looked at once. */
  wake(): void {
    if (this.#planned || this.#stopped || this.#inFlight !== undefined) return;
    this.#planned = true;
    queueMicrotask(() => {
      this.#planned = false;
      this.#step();
    });
  }

  /** Takes over changed options: what was refused or paused is tried again with them. */
  replace(channel: NotifyChannel): void {
    const before = this.#channel;
    this.#channel = channel;
    void this.#inFlight?.done.then(() => before.channel.close?.());
    if (this.#inFlight === undefined) void before.channel.close?.();
    this.revive();
  }

  /** The way is open again: nothing waits any longer, and what was refused is tried again. */
  revive(): void {
    this.#revivedAt = this.#context.clock.wallMs();
    this.#failures = 0;
    this.#pausedUntil = this.#freshPausedUntil = -Infinity;
    this.#dueAt.clear();
    this.#trouble = 'none';
    this.#context.onChange();
    this.wake();
  }

  /** Sends nothing more. An attempt under way gets `graceMs` to end; what it is then, the next start finds out. */
  async stop(graceMs: number): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    if (this.#inFlight !== undefined) {
      const { controller, done } = this.#inFlight;
      const timer = setTimeout(() => controller.abort(), graceMs);
      await done;
      clearTimeout(timer);
    }
    await this.#channel.channel.close?.();
  }

  /** Sends a message that somebody asked for, past everything that waits. Bounded by the attempt's time. */
  async test(): Promise<Sent> {
    const { clock, randomBytes, recorder, collectorUrl } = this.#context;
    const deliveryId = newId(clock.wallMs(), randomBytes);
    const wasGone = this.gone !== undefined;
    const message: Message = {
      id: deliveryId,
      thread: deliveryId,
      opensThread: true,
      possibleRepeat: false,
      test: true,
      items: [],
      openCount: this.plan().openCount,
      collectorUrl: collectorUrl(),
    };
    const sent = await sendBounded(message, this.#channel, new AbortController(), this.#context);
    if (sent.outcome !== 'delivered') return sent;
    const { answer } = sent;
    if (wasGone)
      await recorder.record([
        {
          kind: 'answered',
          deliveryId,
          channel: this.#channel.name,
          attempt: 1,
          outcome: 'delivered',
          answer,
          retryAt: null,
          at: clock.wallMs(),
        },
      ]);
    this.#lastAnswer = answer;
    this.revive();
    return sent;
  }

  #step(): void {
    if (this.#stopped || this.#inFlight !== undefined) return;
    clearTimeout(this.#timer);
    if (this.gone !== undefined) return;
    const now = this.#context.clock.monotonicMs();
    if (this.#freshPausedUntil > now) return this.#arm(this.#freshPausedUntil - now);
    const work = this.plan();
    for (const id of this.#dueAt.keys())
      if (!work.repeats.some((d) => d.deliveryId === id) && !work.held.some((d) => d.deliveryId === id)) this.#dueAt.delete(id);
    const attempt = this.#choose(work, now);
    if (attempt === undefined) {
      const next = work.repeats.reduce((least, { deliveryId }) => Math.min(least, this.#dueAtOf(deliveryId)), Infinity);
      const silenceOver = work.wakeAt === null ? Infinity : Math.max(1, work.wakeAt - this.#context.clock.wallMs());
      return this.#arm(Math.min(next - now, silenceOver));
    }
    const controller = new AbortController();
    this.#inFlight = {
      controller,
      done: this.#run(attempt, controller).finally(() => {
        this.#inFlight = undefined;
        this.#context.onChange();
        this.wake();
      }),
    };
  }

  #arm(delayMs: number): void {
    this.#timer = setTimeout(() => this.#step(), Math.ceil(Math.min(Math.max(delayMs, 1), LOOK_AGAIN_MS))).unref();
  }

  /** New work before repetitions, but never twice in a row while one is due: neither may starve the other. */
  #choose(work: ChannelWork, now: number): (Attempt & { readonly replaces: Delivery | null }) | undefined {
    const due = work.repeats.filter(({ deliveryId }) => this.#dueAtOf(deliveryId) <= now);
    const fresh = work.fresh[0];
    const repeat = due.reduce<Delivery | undefined>(
      (first, d) => (first === undefined || d.attemptedAt < first.attemptedAt ? d : first),
      undefined,
    );
    if (fresh !== undefined && !(this.#lastWasFresh && repeat !== undefined)) {
      this.#lastWasFresh = true;
      return this.#asAttempt(fresh, work.openCount);
    }
    if (repeat === undefined) return undefined;
    this.#lastWasFresh = false;
    const { deliveryId, thread, attempt, items } = repeat;
    return { deliveryId, thread, attempt: attempt + 1, items, possibleRepeat: true, openCount: work.openCount, replaces: null };
  }

  #asAttempt({ thread, items, replaces }: NewMessage, openCount: number): Attempt & { readonly replaces: Delivery | null } {
    const deliveryId = newId(this.#context.clock.wallMs(), this.#context.randomBytes);
    return { deliveryId, thread: thread ?? deliveryId, attempt: 1, items, possibleRepeat: replaces !== null, openCount, replaces };
  }

  /** One attempt, from the journal to the journal. Never rejects. */
  async #run({ replaces, ...attempt }: Attempt & { readonly replaces: Delivery | null }, controller: AbortController): Promise<void> {
    const { clock } = this.#context;
    const destination = this.#channel;
    const { name: channel, fingerprint } = destination;
    const { deliveryId, thread, items } = attempt;
    const at = clock.wallMs();
    const before: (Happening & { at: number })[] = [
      { kind: 'attempted', deliveryId, channel, attempt: attempt.attempt, thread, items, at },
    ];
    if (replaces !== null) {
      const answer = `replaced: what it said is no longer so (message ${deliveryId})`;
      const { deliveryId: replaced, attempt: last } = replaces;
      before.unshift({ kind: 'answered', deliveryId: replaced, channel, attempt: last, outcome: 'refused', answer, retryAt: null, at });
    }
    if (!(await this.#record(before))) return;
    if (!this.#isUnderWay(attempt)) return this.#cannotRecord('another collector has taken over, or this one stops');
    this.#context.onChange();
    const message = this.#messageOf(attempt);
    const sent: Sent =
      message.items.length === 0
        ? { outcome: 'refused', answer: 'not sent: the alerts it was about are no longer known' }
        : await sendBounded(message, destination, controller, this.#context);
    // Cut off by a stop: nobody knows whether it arrived, and the journal says so by having no answer.
    if (this.#stopped && controller.signal.aborted && sent.outcome === 'retry') return;
    const delayMs = this.#take(sent, attempt);
    const retryAt = delayMs === null ? null : clock.wallMs() + delayMs;
    const { outcome, answer } = sent;
    const gone = outcome === 'gone' ? { configuration: fingerprint } : {};
    await this.#record([
      { kind: 'answered', deliveryId, channel, attempt: attempt.attempt, outcome, answer, retryAt, ...gone, at: clock.wallMs() },
    ]);
  }

  /** Draws the conclusions from an answer. Returns after how many milliseconds the message is tried again, or null. */
  #take({ outcome, answer, retryAfterMs }: Sent, { deliveryId, attempt, items }: Attempt): number | null {
    const { clock, log, random } = this.#context;
    const { name: channel } = this.#channel;
    this.#lastAnswer = answer;
    this.#remember(deliveryId, answer);
    this.#dueAt.delete(deliveryId);
    if (outcome === 'delivered') {
      if (this.#trouble !== 'none') log.info({ channel, answer }, 'a channel takes messages again');
      this.#failures = 0;
      this.#pausedUntil = this.#freshPausedUntil = -Infinity;
      this.#trouble = 'none';
      this.#lastDeliveredAt = clock.wallMs();
      return null;
    }
    if (outcome !== 'retry') {
      this.#trouble = 'refused';
      log.error(
        { channel, answer, alerts: items.length },
        outcome === 'gone' ? 'a channel asked for nothing more' : 'a channel refused a message',
      );
      return null;
    }
    this.#failures++;
    if (this.#trouble !== 'failing') log.warn({ channel, answer, attempt }, 'a message could not be delivered; it is tried again');
    this.#trouble = 'failing';
    const draw = random();
    const wait = (failures: number): number =>
      retryAfterMs === undefined
        ? backoffMs(failures, RETRY_BOUNDS, () => draw)
        : Math.min(
            Math.max(
              retryAfterMs,
              backoffMs(1, RETRY_BOUNDS, () => draw),
            ),
            MAX_RETRY_AFTER_MS,
          );
    const now = clock.monotonicMs();
    // The channel pauses by how often it has failed, the message by how often it has, and new work for half a minute at
    // most: one message that is never taken does not hold up the others.
    this.#pausedUntil = now + wait(this.#failures);
    this.#freshPausedUntil = retryAfterMs === undefined ? Math.min(this.#pausedUntil, now + FRESH_PAUSE_MS) : this.#pausedUntil;
    const delayMs = Math.max(wait(attempt), this.#pausedUntil - now);
    this.#dueAt.set(deliveryId, now + delayMs);
    return delayMs;
  }

  #remember(deliveryId: string, answer: string): void {
    this.#answers.delete(deliveryId);
    this.#answers.set(deliveryId, answer);
    if (this.#answers.size > ANSWERS_KEPT) this.#answers.delete(this.#answers.keys().next().value!);
  }

  /** Nothing is sent that is not in the journal: without it nobody would know whom to tell of the end. */
  async #record(happenings: readonly (Happening & { readonly at: number })[]): Promise<boolean> {
    const { recorder } = this.#context;
    try {
      await recorder.record(happenings);
      return true;
    } catch (error) {
      this.#cannotRecord(sentenceOf(error));
      return false;
    }
  }

  /** Whether an attempt that was recorded took effect: a collector that was superseded records nothing, and must send nothing. */
  #isUnderWay({ deliveryId, attempt }: Attempt): boolean {
    for (const delivery of this.#context.recorder.book.deliveries())
      if (delivery.deliveryId === deliveryId && delivery.attempt === attempt) return true;
    return false;
  }

  #cannotRecord(why: string): void {
    const { clock, log, random } = this.#context;
    this.#failures++;
    this.#trouble = 'unrecorded';
    this.#lastAnswer = `nothing is sent that is not in the journal: ${why}`;
    this.#pausedUntil = this.#freshPausedUntil = clock.monotonicMs() + backoffMs(this.#failures, RETRY_BOUNDS, random);
    log.warn({ channel: this.#channel.name, why }, 'a message was not sent, or its answer not kept: nothing can be recorded');
  }

  #messageOf({ deliveryId, thread, items, possibleRepeat, openCount }: Attempt): Message {
    const { recorder, nodeOf, collectorUrl } = this.#context;
    const base = collectorUrl();
    return {
      id: deliveryId,
      thread,
      opensThread: thread === deliveryId,
      possibleRepeat,
      test: false,
      items: items.flatMap(({ incidentId, status, level, late }) => {
        const incident = recorder.book.incident(incidentId);
        if (incident === undefined) return [];
        const url = `${base}/alerts/${encodeURIComponent(incidentId)}`;
        // A runbook of our own is a path at this collector.
        const runbook = incident.runbook?.startsWith('/') ? `${base}${incident.runbook}` : incident.runbook;
        return [{ status, level, incident, node: identityOf(incident, nodeOf).name, url, runbook, late: late === true }];
      }),
      openCount,
      collectorUrl: base,
    };
  }
}
