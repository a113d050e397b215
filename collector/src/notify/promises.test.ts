/** The promises of telling, kept over any order of alerts, silences, trouble at the receiver and crashes. */
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Happening } from '../incidents/entry.ts';
import { openingOf } from '../incidents/testing.ts';
import type { NotifyChannel } from './lane.ts';
import type { Only } from './only.ts';
import type { Message, Sent } from './channels/channel.ts';
import {
  DELIVERED,
  FAILED,
  GONE,
  MortalRecorder,
  REFUSED,
  ScriptedChannel,
  channelOf,
  fakeTimersClock,
  startNotifier,
  type Told,
} from './testing.ts';

beforeEach(() => void vi.useFakeTimers({ now: Date.UTC(2026, 10, 21) }));
afterEach(() => void vi.useRealTimers());

const NODES = 3;
const RULES = ['node_silent', 'cpu', 'disk'];

/** What the receiver does with what arrives: `lost` takes it and lets the answer fall. */
type Mood = 'takes' | 'fails' | 'lost' | 'refuses' | 'gone' | 'hangs';

type Step =
  | { readonly do: 'open'; readonly node: number; readonly rule: number; readonly critical: boolean }
  | { readonly do: 'level' | 'close'; readonly pick: number; readonly critical: boolean }
  | { readonly do: 'silence'; readonly node: number; readonly seconds: number }
  | { readonly do: 'mood'; readonly mood: Mood; readonly slowMs: number }
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'crash'; readonly afterJournal: boolean }
  | { readonly do: 'reload'; readonly criticalOnly: boolean; readonly another: boolean };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('open' as const),
      node: fc.nat(NODES - 1),
      rule: fc.nat(RULES.length - 1),
      critical: fc.boolean(),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constantFrom('level' as const, 'close' as const), pick: fc.nat(99), critical: fc.boolean() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('silence' as const), node: fc.nat(NODES - 1), seconds: fc.integer({ min: 1, max: 900 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('mood' as const),
      mood: fc.constantFrom<Mood>('takes', 'takes', 'fails', 'lost', 'refuses', 'gone', 'hangs'),
      slowMs: fc.constantFrom(0, 0, 50, 5_000),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(0, 1, 60, 2_000, 30_000, 400_000) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('crash' as const), afterJournal: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reload' as const), criticalOnly: fc.boolean(), another: fc.boolean() }) },
);

class Receiver {
  readonly channel = new ScriptedChannel();
  mood: Mood = 'takes';
  slowMs = 0;
  /** What arrived, in order. */
  readonly arrived: Message[] = [];
  /** Sent while it had asked for nothing more. */
  unwanted = 0;
  /** Answers that it gave and that nobody heard. */
  unheard = 0;
  /** Whether the journal has it that it asked for nothing more, as it is configured now. */
  isGone: () => boolean = () => false;

  constructor() {
    this.channel.answering = async (message, { signal }) => {
      if (this.isGone() && !message.test) this.unwanted++;
      const { mood, slowMs } = this;
      if (mood === 'hangs') return new Promise<Sent>((resolve) => signal.addEventListener('abort', () => resolve(FAILED), { once: true }));
      if ((mood === 'takes' || mood === 'lost') && !message.test) this.arrived.push(message);
      if (mood === 'lost') this.unheard++;
      if (slowMs > 0) await new Promise((resolve) => setTimeout(resolve, slowMs));
      return mood === 'takes' ? DELIVERED : mood === 'refuses' ? REFUSED : mood === 'gone' ? GONE : FAILED;
    };
  }
}

class World {
  readonly receiver = new Receiver();
  #only: Only = {};
  #generation = 0;
  recorder = new MortalRecorder(fakeTimersClock);
  rig: Told = this.#start();
  crashes = 0;
  #ids = 0;
  readonly open = new Map<string, { node: number; rule: number }>();

  #start(): Told {
    this.receiver.isGone = () => {
      const last = this.recorder.entries.findLast(
        (entry) => entry.kind === 'answered' && (entry.outcome === 'gone' || entry.outcome === 'delivered'),
      );
      return last?.kind === 'answered' && last.outcome === 'gone' && last.configuration === this.#configured().fingerprint;
    };
    return startNotifier({ channels: [this.#configured()], recorder: this.recorder, random: () => 0.7 });
  }

  #configured(): NotifyChannel {
    const fingerprint = `${this.#generation} ${JSON.stringify(this.#only)}`;
    return channelOf('ops', this.receiver.channel, { only: this.#only, fingerprint });
  }

  async reload(only: Only, another: boolean): Promise<void> {
    this.#only = only;
    if (another) this.#generation++;
    await this.rig.notifier.reload([this.#configured()]);
  }

  async crash(afterJournal = false): Promise<void> {
    // The process dies with the next thing that reaches the disk, or now.
    if (afterJournal) {
      this.recorder.dieAfterNext = true;
      await vi.advanceTimersByTimeAsync(1);
    }
    this.recorder.dead = true;
    this.crashes++;
    // Only its timers: it cannot record any more.
    void this.rig.notifier.stop();
    this.recorder = new MortalRecorder(fakeTimersClock, this.recorder);
    this.rig = this.#start();
  }

  async take(one: Step): Promise<void> {
    switch (one.do) {
      case 'open': {
        if ([...this.open.values()].some(({ node, rule }) => node === one.node && rule === one.rule)) return;
        const id = `i${String(++this.#ids).padStart(3, '0')}`;
        this.open.set(id, one);
        const rule = RULES[one.rule]!;
        const level = one.critical ? ('critical' as const) : ('warning' as const);
        const opening = openingOf(id, {
          rule,
          level,
          nodeId: one.node,
          nodeName: `n${one.node}`,
          suppressedBy: rule === 'node_silent' ? [] : ['node_silent'],
        });
        return this.#record({ kind: 'opened', opening });
      }
      case 'level':
      case 'close': {
        const id = [...this.open.keys()][one.pick % Math.max(1, this.open.size)];
        if (id === undefined) return;
        if (one.do === 'level') return this.rig.level(id, one.critical ? 'critical' : 'warning');
        this.open.delete(id);
        return this.rig.close(id);
      }
      case 'silence':
        return this.rig.silence(`s${++this.#ids}`, { node: `n${one.node}` }, one.seconds);
      case 'mood':
        Object.assign(this.receiver, { mood: one.mood, slowMs: one.slowMs });
        return;
      case 'wait':
        await vi.advanceTimersByTimeAsync(one.ms);
        return;
      case 'crash':
        return this.crash(one.afterJournal);
      case 'reload':
        return this.reload(one.criticalOnly ? { levels: ['critical'] } : {}, one.another);
    }
  }

  #record(happening: Happening): Promise<void> {
    return this.rig.record(happening);
  }

  /** The receiver is well again, what was refused is tried again, every silence is over. */
  async calm(): Promise<boolean> {
    Object.assign(this.receiver, { mood: 'takes', slowMs: 0 });
    await vi.advanceTimersByTimeAsync(60_000);
    await this.reload({}, false);
    const { delivered } = await this.rig.notifier.test('ops');
    await vi.advanceTimersByTimeAsync(1_200_000);
    return delivered;
  }
}

test('whoever was told is told the end, no more often than it has to be, and nothing but what is so', { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
      const world = new World();
      for (const one of steps) await world.take(one);
      expect(await world.calm()).toBe(true);
      // A world's timers end with it.
      await world.rig.notifier.stop();
      vi.clearAllTimers();
      const { receiver, recorder, open, crashes } = world;
      const { book } = recorder;

      const heard = new Map<string, { status: string; level: string }[]>();
      const receipts = new Map<string, number>();
      for (const message of receiver.arrived) {
        receipts.set(message.id, (receipts.get(message.id) ?? 0) + 1);
        for (const { incident, status, level } of message.items)
          heard.set(incident.incidentId, [...(heard.get(incident.incidentId) ?? []), { status, level }]);
      }
      const attempted = new Set(
        recorder.entries.flatMap((entry) =>
          entry.kind === 'attempted' ? entry.items.filter(({ status }) => status === 'firing').map(({ incidentId }) => incidentId) : [],
        ),
      );
      for (const [id, said] of heard) {
        // Told that it fires, and it is over: told that as well, last of all.
        if (!open.has(id)) expect(said.at(-1)!.status, `${id} is over`).toBe('resolved');
        else expect(said.at(-1)!.status, `${id} is open`).toBe('firing');
        // No end without a beginning that was at least tried.
        if (said.some(({ status }) => status === 'resolved')) expect(attempted.has(id)).toBe(true);
      }
      // Everything that is open, and not moot, is known by its highest level of late.
      const isMoot = (id: string): boolean => {
        const one = open.get(id);
        if (one === undefined || RULES[one.rule] === 'node_silent') return false;
        return [...open.values()].some(({ node, rule }) => node === one.node && RULES[rule] === 'node_silent');
      };
      for (const id of open.keys()) {
        if (isMoot(id)) continue;
        const last = heard.get(id)?.at(-1);
        expect(last, `${id} is open and told`).toBeDefined();
        if (book.incident(id)!.level === 'critical') expect(last!.level).toBe('critical');
      }
      // The same message twice only when its answer was lost, or the collector was.
      const repeated = [...receipts.values()].reduce((sum, count) => sum + count - 1, 0);
      expect(repeated).toBeLessThanOrEqual(crashes + receiver.unheard);
      expect(receiver.unwanted, 'sent while gone').toBe(0);
      // Nothing is left over but what was tried before it became moot.
      for (const { items } of book.deliveries()) expect(items.every(({ incidentId }) => isMoot(incidentId))).toBe(true);
    }),
    { numRuns: 300, seed: 20_261_121 },
  );
});
