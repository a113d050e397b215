/** A receiver that a test leads by the hand, a recorder that can die at any point, and a notifier between them. */
import { systemClock, type Clock } from '@tidemark/service';
import { pino } from 'pino';
import { IncidentBook } from '../incidents/book.ts';
import type { Book, Entry, Happening, Incident, IncidentRecorder } from '../incidents/entry.ts';
import type { Recorder } from '../incidents/recorder.ts';
import { countingBytes, memoryRecorder, openingOf } from '../incidents/testing.ts';
import type { Channel, Message, MessageItem, SendContext, Sent } from './channels/channel.ts';
import type { NotifyChannel } from './lane.ts';
import { Notifier } from './notifier.ts';
import type { NodeIdentity, Only } from './only.ts';

export const DELIVERED: Sent = { outcome: 'delivered', answer: 'HTTP 204' };
export const FAILED: Sent = { outcome: 'retry', answer: 'HTTP 503' };
export const REFUSED: Sent = { outcome: 'refused', answer: 'HTTP 401' };
export const GONE: Sent = { outcome: 'gone', answer: 'HTTP 410' };

export type Answering = (message: Message, context: SendContext) => Sent | Promise<Sent>;

/** Remembers every message that it was sent. */
export class ScriptedChannel implements Channel {
  readonly destination = 'nowhere.example';
  readonly messages: Message[] = [];
  closed = false;
  answering: Answering;
  constructor(answering: Answering = () => DELIVERED) {
    this.answering = answering;
  }
  async send(message: Message, context: SendContext): Promise<Sent> {
    this.messages.push(message);
    return this.answering(message, context);
  }
  close(): void {
    this.closed = true;
  }
  /** "firing critical i1, resolved warning i2" for each message. */
  said(): string[] {
    return this.messages.map(({ items }) => items.map(saying).join(', '));
  }
}

export const saying = ({ status, level, incident, late }: MessageItem): string =>
  `${status} ${level} ${incident.incidentId}${late ? ' late' : ''}`;

export function channelOf(name: string, channel: Channel, more: Partial<NotifyChannel> & { only?: Only } = {}): NotifyChannel {
  return { name, kind: 'scripted', only: {}, channel, fingerprint: 'one', attemptMs: 15_000, ...more };
}

/** A recorder that dies with its process: what it had not finished is never heard of again. */
export class MortalRecorder implements IncidentRecorder {
  readonly #inner: Recorder;
  readonly entries: Entry[];
  dead = false;
  /** The next thing recorded is on the disk, and then the process is gone. */
  dieAfterNext = false;

  constructor(clock: Pick<Clock, 'wallMs'>, before?: MortalRecorder) {
    this.entries = before === undefined ? [] : [...before.entries];
    const book = new IncidentBook();
    this.entries.forEach((entry, i) => book.apply({ ...entry, position: i + 1 }));
    this.#inner = memoryRecorder(clock, { book });
    this.#inner.onRecorded((entries) => void this.entries.push(...entries));
  }
  get book(): Book {
    return this.#inner.book;
  }
  get epoch(): number {
    return this.#inner.epoch;
  }
  async record(happenings: readonly (Happening & { readonly at: number })[]): Promise<void> {
    if (this.dead) return new Promise(() => {});
    await this.#inner.record(happenings);
    if (this.dieAfterNext) this.dead = true;
    if (this.dead) return new Promise(() => {});
  }
  onRecorded(listener: (entries: readonly Entry[]) => void): void {
    this.#inner.onRecorded((entries) => {
      if (!this.dead) listener(entries);
    });
  }
}

/** The system's clock as fake timers move it. */
export const fakeTimersClock: Clock = systemClock;

export interface Told {
  recorder: IncidentRecorder;
  notifier: Notifier;
  open: (incidentId: string, more?: Parameters<typeof openingOf>[1]) => Promise<void>;
  level: (incidentId: string, level: Incident['level']) => Promise<void>;
  close: (incidentId: string) => Promise<void>;
  silence: (silenceId: string, matcher: object, seconds: number) => Promise<void>;
  record: (...happenings: Happening[]) => Promise<void>;
}

export interface NotifierRig {
  channels: readonly NotifyChannel[];
  recorder?: IncidentRecorder;
  clock?: Clock;
  random?: () => number;
  node?: (id: number) => NodeIdentity | undefined;
}

/** One for all, so that what is started after a crash gives no id a second time. */
const bytes = countingBytes();

/** A notifier that is started, over a recorder in memory. */
export function startNotifier({ channels, recorder: given, clock = fakeTimersClock, random = () => 0.5, node }: NotifierRig): Told {
  const recorder = given ?? memoryRecorder(clock);
  const notifier = new Notifier({
    channels,
    recorder,
    clock,
    random,
    randomBytes: bytes,
    nodeOf: node ?? (() => undefined),
    collectorUrl: () => 'https://monitor.example',
    log: pino({ level: 'silent' }),
  });
  notifier.start();
  const record = (...happenings: Happening[]): Promise<void> =>
    recorder.record(happenings.map((happening) => ({ ...happening, at: clock.wallMs() })));
  return {
    recorder,
    notifier,
    record,
    open: (incidentId, more) => record({ kind: 'opened', opening: openingOf(incidentId, { since: clock.wallMs(), ...more }) }),
    level: (incidentId, level) =>
      record({ kind: 'level', incidentId, level, value: 0.93, bound: { above: 0.9 }, why: '93 % is above 90 %' }),
    close: (incidentId) => record({ kind: 'closed', incidentId, reason: 'recovered', value: 0.6, why: '60 %' }),
    silence: (silenceId, matcher, seconds) =>
      record({
        kind: 'silenced',
        silence: { silenceId, matcher, reason: 'maintenance', author: 'ada', endsAt: clock.wallMs() + seconds * 1_000 },
      }),
  };
}
