/** Random histories: whatever happens in whatever order, each thing is said once, and what is remembered may be kept anywhere between two looks. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ReplicationChange } from './model.ts';
import { INTERVAL_MS, World, idOf, slot } from './changes-testing.ts';

const NAMES = ['a', 'b', 'c', 'd', 's1', 's2'] as const;
/** For a machine that has more to do. */
const PATIENCE_MS = 90_000;
const RUNS = { numRuns: 25 };

type Action = (world: World) => void;
const name = fc.constantFrom(...NAMES);
const exists = (world: World, one: string): boolean => world.servers.has(one);

const action: fc.Arbitrary<{ say: string; act: Action }> = fc.oneof(
  { weight: 6, arbitrary: fc.constant({ say: 'nothing', act: () => {} }) },
  {
    weight: 2,
    arbitrary: fc.tuple(name, fc.bigInt(1n, 100_000n)).map(([one, bytes]) => ({
      say: `write on ${one}`,
      act: (world: World) => exists(world, one) && world.set(one, { lsn: world.server(one).lsn + bytes }),
    })),
  },
  name.chain((one) =>
    fc
      .constantFrom(
        { reason: 'refused' },
        { reason: 'stopping', detail: 'the database system is shutting down' },
        { reason: 'disconnected', detail: 'terminating connection due to immediate shutdown command' },
      )
      .map((how) => ({ say: `stop ${one} (${how.reason})`, act: (world: World) => exists(world, one) && world.stop(one, how) })),
  ),
  name.map((one) => ({
    say: `start ${one}`,
    act: (world: World) => exists(world, one) && world.set(one, { up: true, reason: null, detail: null }),
  })),
  name.map((one) => ({ say: `promote ${one}`, act: (world: World) => exists(world, one) && world.promote(one) })),
  fc.tuple(name, name).map(([one, other]) => ({
    say: `${one} follows ${other}`,
    act: (world: World) => one !== other && exists(world, one) && exists(world, other) && world.follow(one, other, { diverged: undefined }),
  })),
  name.map((one) => ({ say: `cut ${one}`, act: (world: World) => exists(world, one) && world.set(one, { connected: false }) })),
  fc
    .tuple(name, fc.boolean())
    .map(([one, silent]) => ({ say: `silent ${one} ${silent}`, act: (world: World) => exists(world, one) && world.set(one, { silent }) })),
  name.map((one) => ({
    say: `diverge ${one}`,
    act: (world: World) => exists(world, one) && world.set(one, { connected: false, diverged: { forkLsn: 0x3001000n, why: 'it went on' } }),
  })),
  fc
    .tuple(name, fc.constantFrom('reserved', 'extended', 'unreserved', 'lost'), fc.boolean(), fc.boolean())
    .map(([one, walStatus, active, there]) => ({
      say: `slot on ${one} ${walStatus} ${active} ${there}`,
      act: (world: World) => exists(world, one) && world.set(one, { slots: there ? [slot('x', { walStatus, active })] : [] }),
    })),
  fc.tuple(fc.nat(2), fc.nat(2), fc.nat(3)).map(([required, present, waiting]) => ({
    say: `sync ${required} ${present} ${waiting}`,
    act: (world: World) => void (world.synchronous = required === 0 ? undefined : { required, present, waiting }),
  })),
  fc.tuple(name, name, fc.boolean()).map(([one, other, on]) => ({
    say: `split ${one} ${other} ${on}`,
    act: (world: World) =>
      void (world.splitBrain =
        on && one !== other ? { primaries: [idOf(one), idOf(other)], forkLsn: 0x3001000n, why: 'both write' } : undefined),
  })),
  fc.tuple(name, fc.boolean()).map(([one, failing]) => ({
    say: `archiver of ${one} ${failing}`,
    act: (world: World) =>
      exists(world, one) &&
      world.set(one, {
        archiver: {
          archivedCount: 1,
          failedCount: 1,
          lastArchivedAt: new Date(world.now - (failing ? 60_000 : 0)).toISOString(),
          lastFailedAt: new Date(world.now - 1_000).toISOString(),
          lastFailedWal: '0',
          waitingFiles: failing ? 2 : 0,
        },
      }),
  })),
  fc.nat(3_600_000).map((ms) => ({ say: `pause ${ms}`, act: (world: World) => void (world.now += ms) })),
);

const NIGHTS: readonly { say: string; act: Action }[] = [
  { say: 'failover to b', act: (world) => (world.stop('a'), world.steps(4), world.promote('b'), world.follow('d', 'b')) },
  {
    say: 'switchover to d',
    act: (world) => (world.stop('a', { reason: 'stopping' }), world.step(), world.promote('d'), world.step(), world.follow('a', 'd')),
  },
  {
    say: 'a comes back as a primary',
    act: (world) => world.set('a', { up: true, role: 'primary', reason: null, upstream: undefined, connected: false }),
  },
  {
    say: 'a and d write',
    act: (world) => void (world.splitBrain = { primaries: [idOf('d'), idOf('a')], forkLsn: 0x3001000n, why: 'both write' }),
  },
  { say: 'a rejoins b', act: (world) => ((world.splitBrain = undefined), world.follow('a', 'b', { diverged: undefined })) },
  { say: 'd rejoins a', act: (world) => ((world.splitBrain = undefined), world.follow('d', 'a', { diverged: undefined })) },
];
const event = fc.oneof({ weight: 3, arbitrary: action }, { weight: 1, arbitrary: fc.constantFrom(...NIGHTS) });
const history = fc.array(fc.tuple(event, fc.integer({ min: 1, max: 10 })), { minLength: 5, maxLength: 40, size: 'max' });

function newWorld(): World {
  const world = new World();
  world.add('a');
  world.add('b', { upstream: 'a' });
  world.add('c', { upstream: 'b' });
  world.add('d', { upstream: 'a' });
  world.add('s1', { upstream: 'a', watched: false });
  world.add('s2', { upstream: 'b', watched: false });
  return world;
}

type History = readonly (readonly [{ act: Action }, number])[];

/** `afterLook` gets what was said since it was last called: an action may look by itself. */
function run(world: World, actions: History, afterLook?: (changes: readonly ReplicationChange[]) => void): void {
  let heard = 0;
  const step = (): void => {
    world.step(INTERVAL_MS);
    const changes = world.said.slice(heard);
    heard = world.said.length;
    afterLook?.(changes);
  };
  for (let i = 0; i < 15; i++) step();
  for (const [{ act }, count] of actions) {
    act(world);
    for (let i = 0; i < count; i++) step();
  }
}

/** As a jsonb column gives it back: the same, with its keys in another order. */
function shuffled(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shuffled);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).toSorted(([a], [b]) => (a > b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, of]) => [key, shuffled(of)]));
}

const RESOLUTIONS = new Set(['promotion', 'switchover', 'failover']);

test(
  'a key is of one happening: said again only to say something else, of the same instance, at the same time',
  { timeout: PATIENCE_MS },
  () => {
    fc.assert(
      fc.property(history, (actions) => {
        const world = newWorld();
        const known = new Map<string, ReplicationChange>();
        run(world, actions, (changes) => {
          for (const change of changes) {
            const before = known.get(change.key);
            known.set(change.key, change);
            if (before === undefined) continue;
            expect(change.instanceId).toBe(before.instanceId);
            expect([change.kind, change.text, change.details]).not.toEqual([before.kind, before.text, before.details]);
            if (change.kind !== before.kind) expect([RESOLUTIONS.has(change.kind), RESOLUTIONS.has(before.kind)]).toEqual([true, true]);
          }
        });
      }),
      RUNS,
    );
  },
);

test('looking again says nothing', { timeout: PATIENCE_MS }, () => {
  fc.assert(
    fc.property(history, (actions) => {
      const world = newWorld();
      run(world, actions, () => expect(world.look()).toEqual([]));
    }),
    RUNS,
  );
});

test('what is remembered may go through the database between any two looks', { timeout: PATIENCE_MS }, () => {
  fc.assert(
    fc.property(history, (actions) => {
      const [inMemory, kept] = [newWorld(), newWorld()];
      inMemory.keep = (memory) => memory;
      kept.keep = (memory) => JSON.parse(JSON.stringify(shuffled(memory))) as typeof memory;
      run(inMemory, actions);
      run(kept, actions);
      expect(kept.said).toEqual(inMemory.said);
      expect(JSON.parse(JSON.stringify(inMemory.memory))).toEqual(inMemory.memory);
    }),
    RUNS,
  );
});

test('what ends has begun, and begins again only after it ended', { timeout: PATIENCE_MS }, () => {
  const PAIRS = [
    ['slot_inactive', 'slot_active'],
    ['archiver_failing', 'archiver_recovered'],
    ['sync_standby_missing', 'sync_standby_back'],
    ['split_brain', 'split_brain_over'],
    ['primary_lost', 'primary_back'],
  ] as const;
  fc.assert(
    fc.property(history, (actions) => {
      const world = newWorld();
      run(world, actions);
      const firsts = new Map<string, ReplicationChange>();
      for (const change of world.said) if (!firsts.has(change.key)) firsts.set(change.key, change);
      for (const [begin, end] of PAIRS) {
        const begun = new Set<string>();
        for (const { kind, key } of firsts.values()) {
          if (kind === begin) begun.add(key.slice(begin.length));
          if (kind === end) expect(begun.delete(key.slice(end.length)), `${key} has begun`).toBe(true);
        }
      }
      const alternating = [...firsts.values()]
        .map(({ kind }) => kind)
        .filter((kind) => kind === 'split_brain' || kind === 'split_brain_over');
      alternating.forEach((kind, i) => expect(kind).toBe(i % 2 === 0 ? 'split_brain' : 'split_brain_over'));
    }),
    RUNS,
  );
});

test('every event is whole: a sentence without holes, a time that has been, plain details', { timeout: PATIENCE_MS }, () => {
  fc.assert(
    fc.property(history, (actions) => {
      const world = newWorld();
      run(world, actions, (changes) => {
        for (const { text, at, details, key, instanceName } of changes) {
          expect(text).toMatch(/^[A-Za-z].{10,}\.$/);
          expect(text).not.toMatch(/undefined|null|NaN|Infinity|infinite|\[object|-\d+(\.\d+)? (s|min|h)|\.\./);
          expect(instanceName).not.toBe('');
          expect(key).not.toMatch(/undefined|NaN/);
          expect(at).toBeLessThanOrEqual(world.now);
          for (const value of Object.values(details)) {
            expect(['string', 'number', 'boolean']).toContain(value === null ? 'string' : typeof value);
            if (typeof value === 'number') expect(value).toBeGreaterThanOrEqual(0);
          }
        }
      });
    }),
    RUNS,
  );
});

test('nobody is called a second writer while there was never more than one', { timeout: PATIENCE_MS }, () => {
  const harmless = fc.array(
    fc.tuple(
      action.filter(({ say }) => !/^(promote|split|diverge|start|.* follows)/.test(say)),
      fc.integer({ min: 1, max: 8 }),
    ),
    { maxLength: 40 },
  );
  fc.assert(
    fc.property(harmless, (actions) => {
      const world = newWorld();
      run(world, actions);
      const kinds = new Set(world.said.map(({ kind }) => kind));
      for (const kind of [
        'split_brain',
        'unexpected_primary',
        'promotion',
        'failover',
        'switchover',
        'diverged',
        'rejoined',
        'clone_suspected',
      ])
        expect(kinds).not.toContain(kind);
    }),
    RUNS,
  );
});

test('a million strangers leave a small memory', { timeout: PATIENCE_MS }, () => {
  const world = newWorld();
  for (let round = 0; round < 30; round++) {
    for (let i = 0; i < 100; i++) {
      world.add(`x${round}-${i}`, { upstream: 'a', watched: false });
      world.servers.delete(`x${round - 10}-${i}`);
    }
    world.set('a', { slots: Array.from({ length: 500 }, (_, i) => slot(`s${round}-${i}`)) });
    world.step();
  }
  expect(JSON.stringify(world.memory).length).toBeLessThan(600_000);
  expect(Object.keys(world.memory!['members'] as object).length).toBeLessThanOrEqual(500);
});
