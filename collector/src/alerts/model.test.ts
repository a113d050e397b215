/**
 * Whatever comes in whatever order: the reducer agrees with a slow one that keeps every sample, and the evaluator keeps
 * its promises through gaps, late reports, silence, edits, retirement, crashes and clocks that are set. Seeded.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { START } from '../live/testing.ts';
import type { Level } from '../rules/rule.ts';
import { Stepper, levelOf, ruleOf } from './testing.ts';
import { RULE_SETS, Trial, type Action } from './trial.ts';

const SEED = 20_260;
const BRIDGE_MS = 50_000;

interface Sample {
  at: number;
  value: number;
  live: boolean;
}

/** One level, judged by looking at everything there was since it last ended. */
class SlowLevel {
  readonly #level: Level;
  #since = Number.NEGATIVE_INFINITY;
  active = false;
  #activeAt = 0;

  constructor(level: Level) {
    this.#level = level;
  }

  judge(samples: readonly Sample[]): void {
    const now = samples.at(-1)!;
    if (!now.live) return;
    const { trueForMs, ofLastMs, clearAfterMs, clear } = this.#level;
    const bound = (this.#level.trigger as { above: number }).above;
    const isBack = (value: number): boolean => value <= (clear ?? bound);
    /** Milliseconds for which a condition is known to have held, from a time on. */
    const held = (from: number, holds: (value: number) => boolean): number =>
      samples.slice(1).reduce((total, { at }, i) => {
        const before = samples[i]!;
        if (at - before.at > BRIDGE_MS || !holds(before.value)) return total;
        return total + Math.max(0, at - Math.max(before.at, from));
      }, 0);
    if (!this.active) {
      const isBeyond = now.value > bound;
      if (!isBeyond || held(Math.max(now.at - ofLastMs, this.#since), (value) => value > bound) < trueForMs) return;
      this.active = true;
      this.#activeAt = now.at;
      return;
    }
    const lastBad = samples.findLast(({ at, value }) => at >= this.#activeAt && !isBack(value));
    if (lastBad === now) return;
    const firstBack = samples.find(({ at }) => at > (lastBad?.at ?? this.#activeAt))!;
    if (held(firstBack.at, isBack) < clearAfterMs) return;
    this.active = false;
    this.#since = now.at;
  }
}

const level = (bound: number) =>
  fc
    .record({ trueFor: fc.nat(8), slack: fc.nat(8), clearAfter: fc.nat(4), clear: fc.option(fc.integer({ min: bound - 30, max: bound })) })
    .map(({ trueFor, slack, clearAfter, clear }) =>
      levelOf(
        { above: bound },
        { trueForMs: trueFor * 20_000, ofLastMs: (trueFor + slack) * 20_000, clearAfterMs: clearAfter * 20_000, clear },
      ),
    );

test('the reducer agrees with a slow one that keeps every sample', () => {
  // The same value now and then for a while: otherwise nothing ever lasts. Never two long gaps in a row, which would be a pace.
  const distance = fc.oneof({ weight: 8, arbitrary: fc.constant(15) }, { weight: 1, arbitrary: fc.integer({ min: 1, max: 120 }) });
  const some = fc.record({
    gap: distance,
    value: fc.integer({ min: 30, max: 100 }),
    live: fc.integer({ max: 5 }),
    times: fc.integer({ min: 2, max: 12 }),
  });
  const samples = fc
    .array(some, { minLength: 1, maxLength: 25 })
    .map((parts) => parts.flatMap((one) => Array.from({ length: one.times }, (_, i) => ({ ...one, gap: i === 0 ? one.gap : 15 }))));
  let opened = 0;
  fc.assert(
    fc.property(level(60), level(80), samples, (warning, critical, steps) => {
      const stepper = new Stepper(ruleOf({ warning, critical }), BRIDGE_MS);
      const slow = { warning: new SlowLevel(warning), critical: new SlowLevel(critical) };
      const all: Sample[] = [];
      let seconds = 0;
      for (const { gap, value, live } of steps) {
        seconds += gap;
        all.push({ at: START + seconds * 1_000, value, live: live !== 0 });
        stepper.sample(seconds, value, live !== 0);
        slow.warning.judge(all);
        slow.critical.judge(all);
        const wanted = slow.critical.active ? 'critical' : slow.warning.active ? 'warning' : null;
        expect(stepper.state?.level ?? null).toBe(wanted);
        if (stepper.state === undefined) continue;
        expect(stepper.state.warning!.runs.length + stepper.state.critical!.runs.length).toBeLessThanOrEqual(all.length * 2);
      }
      opened += stepper.told.filter((text) => text.startsWith('opened')).length;
    }),
    { seed: SEED, numRuns: 600 },
  );
  // It would also agree on nothing at all.
  expect(opened).toBeGreaterThan(600);
});

const sample = fc.record({
  kind: fc.constant('sample' as const),
  seconds: fc.constantFrom(15, 15, 15, 40, 90),
  value: fc.option(fc.constantFrom(40, 55, 65, 75, 90), { freq: 12 }),
});
/** A run of the same value: otherwise nothing ever lasts. */
const run = fc
  .record({ value: fc.constantFrom(40, 65, 90), count: fc.integer({ min: 5, max: 15 }) })
  .map(({ value, count }) => Array.from({ length: count }, () => ({ kind: 'sample' as const, seconds: 15, value })));
const happening: fc.Arbitrary<Action[]> = fc.oneof(
  { weight: 6, arbitrary: run },
  { weight: 3, arbitrary: fc.array(sample, { minLength: 1, maxLength: 6 }) },
  {
    weight: 1,
    arbitrary: fc
      .record({
        kind: fc.constant('late' as const),
        ago: fc.integer({ min: 60, max: 600 }),
        count: fc.integer({ min: 1, max: 30 }),
        value: fc.constantFrom(40, 90),
      })
      .map((one) => [one]),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('silence' as const), seconds: fc.integer({ min: 1, max: 200 }) }).map((one) => [one]),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('edit' as const), rules: fc.nat(RULE_SETS.length - 1) }).map((one) => [one]) },
  { weight: 1, arbitrary: fc.constant('retire' as const).map((kind) => [{ kind }]) },
  {
    weight: 2,
    arbitrary: fc
      .record({ kind: fc.constant('restart' as const), seconds: fc.integer({ min: 0, max: 60 }), loses: fc.boolean() })
      .map((one) => [one]),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clock' as const), hours: fc.constantFrom(-1, 1) }).map((one) => [one]) },
);

test('promises are kept whatever happens, and the same happens again with the same seed', { timeout: 60_000 }, async () => {
  const seen = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(fc.array(happening, { maxLength: 14 }), async (parts) => {
      const actions = parts.flat();
      const first = await Trial.run(actions);
      for (const entry of first.entries) seen.set(entry.kind, (seen.get(entry.kind) ?? 0) + 1);
      if (actions.length % 8 !== 0 || actions.some(({ kind }) => kind === 'restart')) return;
      expect((await Trial.run(actions)).entries).toEqual(first.entries);
    }),
    { seed: SEED, numRuns: 200 },
  );
  for (const kind of ['opened', 'level', 'data', 'closed']) expect(seen.get(kind), kind).toBeGreaterThan(20);
});

test('an orderly restart at any point changes nothing that is told, or when', { timeout: 60_000 }, async () => {
  const values = fc.array(run, { minLength: 1, maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(values, fc.array(fc.nat(80), { minLength: 1, maxLength: 5 }), async (runs, restarts) => {
      const actions: Action[] = runs.flat();
      const without = await Trial.run(actions);
      const withRestarts = actions.flatMap((action, i): Action[] =>
        restarts.includes(i) ? [{ kind: 'restart', seconds: 0, loses: false }, action] : [action],
      );
      const story = ({ entries }: Trial): unknown[] => entries.map(({ kind, at }) => [kind, at]);
      expect(story(await Trial.run(withRestarts))).toEqual(story(without));
    }),
    { seed: SEED, numRuns: 80 },
  );
});
