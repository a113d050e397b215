/** Replicas that only their sender knows: how long one is kept that is gone, and what each is called. */
import * as fc from 'fast-check';
import type { ReplicaView } from '@tidemark/protocol';
import { describe, expect, test } from 'vitest';
import { figuresOf } from './figures.ts';
import { memberOf } from './topology-family-testing.ts';
import { row, World, type Server } from './topology-testing.ts';
import { Tracks } from './tracks.ts';

const LSN = '0/3000000';

/** A primary with a standby, both watched, and one that nobody watches, seen for two minutes. */
function withStranger(stranger: ReplicaView = row('far', '10.0.7.7', LSN)): { world: World; a: Server; b: Server; id: string } {
  const world = new World();
  const a = world.add('a');
  const b = world.standby('b', a);
  a.strangers = [stranger];
  for (let i = 0; i < 12; i += 1) world.round();
  return {
    world,
    a,
    b,
    id: `${a.id}>${stranger.applicationName}@${stranger.clientAddr}${stranger.slotName === null ? '' : `/${stranger.slotName}`}`,
  };
}

const unwatched = (world: World): string[] => world.look().members.flatMap(({ id, sighting }) => (sighting === undefined ? [id] : []));

describe('one that its sender lists no more', () => {
  test('stays for ten minutes, disconnected since it was last listed', () => {
    const { world, a, id } = withStranger();
    const last = world.now;
    a.strangers = [];
    const cluster = world.round();
    expect(memberOf(cluster, id)).toMatchObject({
      name: 'far',
      role: 'replica',
      goneSince: last,
      root: a.id,
      upstream: { id: a.id, connected: false },
      seenBy: undefined,
    });
    const figures = figuresOf(cluster, new Tracks(), world.now).members.get(id);
    expect(figures).toMatchObject({ state: 'disconnected' });
    expect(figures?.why).toContain('a has not listed it since');
    while (world.now < last + 600_000) expect(memberOf(world.round(), id).goneSince).toBe(last);
    world.round();
    expect(unwatched(world)).toEqual([]);
    expect(world.memory[a.id]?.unwatched).toBeUndefined();
  });

  test('comes back as the one it was', () => {
    const { world, a, id } = withStranger();
    const [stranger] = a.strangers;
    a.strangers = [];
    world.round();
    a.strangers = [stranger!];
    expect(memberOf(world.round(), id)).toMatchObject({ upstream: { connected: true }, seenBy: { upstream: a.id } });
    expect(memberOf(world.look(), id).goneSince).toBeUndefined();
  });

  test('is not kept when it had only passed by', () => {
    const world = new World();
    const a = world.add('a');
    world.round();
    a.strangers = [row('copy', '10.0.7.7', LSN)];
    for (let i = 0; i < 5; i += 1) world.round();
    a.strangers = [];
    world.round();
    expect(unwatched(world)).toEqual([]);
  });

  test('keeps the slot that waits for it', () => {
    const { world, a, id } = withStranger({ ...row('far', '10.0.7.7', LSN), slotName: 'far' });
    a.slots.add('far');
    a.strangers = [];
    expect(memberOf(world.round(), a).slotUsers.get('far')).toBe(id);
  });

  test('is not kept when it read logical changes and its slot is gone, too', () => {
    const { world, a, id } = withStranger({ ...row('events', '10.0.7.7', LSN), slotName: 'events', slotType: 'logical' });
    a.slots.add('events');
    const [consumer] = a.strangers;
    a.strangers = [];
    expect(memberOf(world.round(), id)).toMatchObject({ role: 'subscriber', upstream: { connected: false } });
    a.strangers = [consumer!];
    world.round();
    a.strangers = [];
    a.slots.delete('events');
    world.round();
    expect(unwatched(world)).toEqual([]);
  });

  test('is not said to be gone by a sender that is silent, or may not see', () => {
    const { world, a, id } = withStranger();
    a.privileged = false;
    expect(memberOf(world.round(), id).goneSince).toBeUndefined();
    a.privileged = true;
    a.strangers = [];
    expect(memberOf(world.round(), id).goneSince).toBeDefined();
    a.agent = false;
    for (let i = 0; i < 4; i += 1) world.round();
    expect(memberOf(world.look(), id).goneSince).toBeUndefined();
    expect(figuresOf(world.look(), new Tracks(), world.now).members.get(id)?.state).toBe('unknown');
  });

  test('is kept over a restart of the collector', () => {
    const { world, a, id } = withStranger();
    a.strangers = [];
    for (const one of world.servers.values()) one.sighting = undefined;
    expect(memberOf(world.round(), id).upstream?.connected).toBe(false);
  });
});

describe('one that is somewhere else', () => {
  test('moved to another sender', () => {
    const { world, a, b, id } = withStranger();
    a.strangers = [];
    b.strangers = [row('far', '10.0.7.7', LSN)];
    world.round();
    expect(unwatched(world)).toEqual([`${b.id}>far@10.0.7.7`]);
    expect(id).not.toBe(unwatched(world)[0]);
  });

  test('is watched now, and streams', () => {
    const { world, a } = withStranger({ ...row('walreceiver', '10.0.0.3', LSN), slotName: 's' });
    a.strangers = [];
    world.standby('c', a, { slot: 's' });
    world.round();
    expect(unwatched(world)).toEqual([]);
  });

  test('is watched now, and does not stream', () => {
    const { world, a, b } = withStranger(row('walreceiver', '10.0.0.3', LSN));
    a.strangers = [];
    const c = world.standby('c', b);
    world.follow(c, undefined);
    world.round();
    expect(unwatched(world)).toEqual([]);
  });

  test('one behind the same address that streamed all along is not it', () => {
    const far = (pid: number, at: number): ReplicaView => ({
      ...row('far', '10.0.7.7', LSN),
      pid,
      backendStart: new Date(at).toISOString(),
    });
    const world = new World();
    const a = world.add('a');
    const [one, other] = [far(1, world.now - 900_000), far(2, world.now - 800_000)];
    a.strangers = [one, other];
    world.round();
    a.strangers = [other];
    expect(unwatched(world)).toEqual([`${a.id}>far@10.0.7.7`, `${a.id}>far@10.0.7.7#2`]);
    world.round();
    expect(memberOf(world.look(), `${a.id}>far@10.0.7.7`).goneSince).toBeDefined();
    expect(memberOf(world.look(), `${a.id}>far@10.0.7.7#2`).upstream?.connected).toBe(true);
  });
});

describe('names', () => {
  test('no two are the same, and none is a watched one’s', () => {
    const world = new World();
    const a = world.add('a');
    a.strangers = [row('a', '10.0.7.7', LSN), row('x', '10.0.7.7', LSN), row('x', '10.0.7.8', LSN)];
    expect(world.round().members.map(({ name }) => name)).toEqual(['a', 'a #2', 'x', 'x #2']);
  });

  test('the second keeps its name when the first is forgotten', () => {
    const { world, a } = withStranger();
    a.strangers = [a.strangers[0]!, row('far', '10.0.7.8', LSN)];
    for (let i = 0; i < 12; i += 1) world.round();
    a.strangers = [a.strangers[1]!];
    for (let i = 0; i < 62; i += 1) world.round();
    expect(world.look().members.flatMap(({ name, sighting }) => (sighting === undefined ? [name] : []))).toEqual(['far #2']);
  });
});

test('whoever comes and goes: each once, named apart, kept for its time, and never many', () => {
  const kinds = ['x', 'walreceiver', 'far'].flatMap((application) =>
    ['10.0.7.7', '10.0.7.8', null].map((address) => ({ application, address })),
  );
  const moves = fc.array(fc.record({ which: fc.nat(29), isThere: fc.boolean(), rounds: fc.nat(9) }), { maxLength: 40 });
  fc.assert(
    fc.property(moves, (history) => {
      const world = new World();
      const a = world.add('a');
      const listedAt = new Map<string, number>();
      const there = new Map<number, ReplicaView>();
      for (const { which, isThere, rounds } of history) {
        const { application, address } = kinds[which % kinds.length]!;
        if (!isThere) there.delete(which);
        else if (!there.has(which))
          there.set(which, { ...row(application, address, LSN), pid: which, backendStart: new Date(world.now).toISOString() });
        a.strangers = [...there.values()];
        for (let i = 0; i <= rounds * 3; i += 1) {
          const { members } = world.round();
          const strangers = members.filter(({ sighting }) => sighting === undefined);
          expect(strangers.filter(({ seenBy }) => seenBy !== undefined)).toHaveLength(there.size);
          for (const { id, seenBy, goneSince, upstream } of strangers) {
            expect(upstream).toMatchObject({ id: a.id, connected: seenBy !== undefined });
            if (seenBy === undefined) {
              expect(goneSince).toBe(listedAt.get(id));
              expect(world.now - goneSince!).toBeLessThanOrEqual(600_000);
            } else listedAt.set(id, world.now);
          }
          expect(strangers.length).toBeLessThanOrEqual(there.size + 10);
          for (const of of ['id', 'name'] as const) expect(new Set(members.map((member) => member[of])).size).toBe(members.length);
        }
      }
    }),
    { numRuns: 60 },
  );
});
