/**
 * Telling: sees to it that every channel is told what it should be told, of each alert, whatever happens in between. It
 * keeps nothing of its own that matters: after a crash the book says what was told, and the rest is sent.
 */
import type { ChannelTest, ChannelView } from '@tidemark/protocol';
import { ProblemError } from '@tidemark/protocol';
import type { ComponentReading } from '../health/components.ts';
import type { Incident } from '../incidents/entry.ts';
import { Lane, type LaneContext, type NotifyChannel } from './lane.ts';
import { channelView, tellingOf, type TellingLine } from './telling.ts';

export interface NotifierOptions extends Omit<LaneContext, 'onChange'> {
  readonly channels: readonly NotifyChannel[];
}

/** What an attempt under way gets to end when the collector stops. */
const STOP_GRACE_MS = 5_000;

export class Notifier {
  readonly #context: LaneContext;
  readonly #lanes = new Map<string, Lane>();
  readonly #testing = new Set<string>();
  readonly #listeners: (() => void)[] = [];
  #running = false;

  constructor({ channels, ...context }: NotifierOptions) {
    this.#context = { ...context, onChange: () => this.#listeners.forEach((listener) => listener()) };
    for (const channel of channels) this.#lanes.set(channel.name, new Lane(channel, this.#context));
  }

  /** Sends what is due, and from now on what becomes due, as soon as it is recorded. */
  start(): void {
    this.#running = true;
    this.#context.recorder.onRecorded((entries) => {
      // Its own entries are followed by the lane that wrote them.
      if (this.#running && entries.some(({ kind }) => kind !== 'attempted' && kind !== 'answered')) this.#wakeAll();
    });
    this.#wakeAll();
  }

  async stop(): Promise<void> {
    this.#running = false;
    await Promise.all([...this.#lanes.values()].map((lane) => lane.stop(STOP_GRACE_MS)));
  }

  /** Called when a channel's state may be another than before. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Takes up another configuration. Channels whose options are the same go on as they were. */
  async reload(channels: readonly NotifyChannel[]): Promise<void> {
    const wanted = new Set(channels.map(({ name }) => name));
    const stopped = [...this.#lanes].filter(([name]) => !wanted.has(name));
    for (const [name] of stopped) this.#lanes.delete(name);
    for (const channel of channels) {
      const lane = this.#lanes.get(channel.name);
      if (lane === undefined) this.#lanes.set(channel.name, new Lane(channel, this.#context));
      else if (lane.channel.fingerprint === channel.fingerprint) await channel.channel.close?.();
      else lane.replace(channel);
    }
    if (this.#running) this.#wakeAll();
    this.#context.onChange();
    await Promise.all(stopped.map(([, lane]) => lane.stop(STOP_GRACE_MS)));
  }

  views(): ChannelView[] {
    return [...this.#lanes.values()].map(channelView);
  }

  /** For every channel, why it was told of an alert or not. */
  tellingOf(incident: Incident): TellingLine[] {
    const { recorder, clock, nodeOf } = this.#context;
    return tellingOf(recorder.book, this.#lanes.values(), incident, { now: clock.wallMs(), nodeOf });
  }

  /** Sends a test message and says what came back. Throws a ProblemError for a channel that is not there or is being tested. */
  async test(name: string): Promise<ChannelTest> {
    const lane = this.#lanes.get(name);
    if (lane === undefined) throw new ProblemError('channel_unknown', unknownChannel(name, [...this.#lanes.keys()]));
    if (this.#testing.has(name)) throw new ProblemError('rate_limited', `${JSON.stringify(name)} is being tested; wait for the answer.`);
    this.#testing.add(name);
    const started = this.#context.clock.monotonicMs();
    try {
      const { outcome, answer } = await lane.test();
      return { delivered: outcome === 'delivered', answer, milliseconds: Math.round(this.#context.clock.monotonicMs() - started) };
    } finally {
      this.#testing.delete(name);
    }
  }

  /** Its line in the collector's health. */
  reading(): ComponentReading {
    const lanes = [...this.#lanes.values()];
    if (lanes.length === 0) return { status: 'inactive', detail: 'no channels are configured: nobody is told of anything' };
    const broken = lanes.filter((lane) => lane.gone !== undefined || lane.trouble !== 'none');
    if (broken.length === 0) return { status: 'healthy', detail: `channels: ${lanes.map(({ channel }) => channel.name).join(', ')}` };
    const said = broken.map((lane) => `${lane.channel.name}: ${channelView(lane).detail}`).join('; ');
    return { status: broken.length === lanes.length ? 'unhealthy' : 'degraded', detail: said };
  }

  #wakeAll(): void {
    for (const lane of this.#lanes.values()) lane.wake();
  }
}

function unknownChannel(name: string, known: readonly string[]): string {
  const there = known.length === 0 ? 'None are configured.' : `There are: ${known.join(', ')}.`;
  return `There is no channel ${JSON.stringify(name)}. ${there}`;
}
