/**
 * Random histories of promotions, stops, comings back, cut links, silences and late reports, held against what was true:
 * no split brain without two writers at one time, none of those missed, no sure primary that is none, no circle of edges.
 */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ClusterTopology, Sighting } from './model.ts';
import { memberOf } from './topology-family-testing.ts';
import { descends, World, type Server } from './topology-testing.ts';

const INTERVAL_MS = 10_000;
const STEP_MS = 1_000;
const CLOCK_SLACK_MS = 1_000;
const NAMES = ['a', 'b', 'c', 'd'] as const;

type Op = 'takeover' | 'write' | 'promote' | 'stop' | 'start' | 'follow' | 'cut' | 'rejoin' | 'rewind' | 'mute' | 'hear' | 'nothing';
interface Step {
  readonly op: Op;
  readonly who: number;
  readonly whom: number;
  /** How long its reports are under way from now on. */
  readonly delayMs: number;
  readonly ticks: number;
}

const histories = fc.array(
  fc.record<Step>({
    op: fc.constantFrom(
      'takeover',
      'write',
      'promote',
      'stop',
      'start',
      'follow',
      'cut',
      'rejoin',
      'rewind',
      'mute',
      'hear',
      'nothing',
      'nothing',
    ),
    who: fc.nat(3),
    whom: fc.nat(3),
    delayMs: fc.constantFrom(0, 0, 0, 500, 4_000, 15_000),
    ticks: fc.constantFrom(0, 1, 3, 10, 25),
  }),
  { maxLength: 30 },
);

/** The world with agents that report every interval, each at its own moments, and a collector that looks at every arrival. */
class Run {
  readonly world = new World();
  readonly servers: Server[];
  readonly clone: Server;
  /** By second: who was a primary and ran. */
  readonly writers: { readonly at: number; readonly names: ReadonlySet<string> }[] = [];
  readonly muted = new Set<Server>();
  readonly delays = new Map<Server, number>();
  /** Since when it is heard on time, without a break. */
  readonly heardSince = new Map<Server, number>();
  readonly #underWay: { readonly server: Server; readonly sighting: Sighting; readonly at: number }[] = [];
  readonly look: (cluster: ClusterTopology) => void;

  constructor(look: (run: Run, cluster: ClusterTopology) => void) {
    const { world } = this;
    const a = world.add('a', { clusterName: 'a' });
    const b = world.standby('b', a, { slot: 'b' }, { clusterName: 'b' });
    this.servers = [a, b, world.standby('c', b, {}, { clusterName: 'c' }), world.standby('d', a)];
    this.clone = world.add('x', { clusterName: 'a' });
    this.look = (cluster) => look(this, cluster);
    world.round(0);
  }

  do({ op, who, whom, delayMs, ticks }: Step): void {
    const { world } = this;
    const [server, other] = [this.servers[who]!, this.servers[whom]!];
    if (op === 'write') world.write(server, 500);
    else if (op === 'promote') world.promote(server);
    else if (op === 'takeover' && server.role === 'replica') {
      for (const one of this.servers) if (one.role === 'primary') world.stop(one);
      this.note();
      world.promote(server);
    } else if (op === 'stop') world.stop(server);
    else if (op === 'start') world.start(server);
    else if (op === 'follow' && server !== other && server.role === 'replica') world.follow(server, other);
    else if (op === 'cut' && server.role === 'replica') world.follow(server, undefined);
    else if ((op === 'rejoin' || op === 'rewind') && server !== other && !server.running && server.upstream !== other) {
      if (op === 'rewind') world.rewind(server, other);
      world.start(server, { follow: other });
    } else if (op === 'mute') this.muted.add(server);
    else if (op === 'hear') this.muted.delete(server);
    this.delays.set(server, delayMs);
    this.#noteHearing(server);
    this.note();
    for (let i = 0; i < ticks; i += 1) this.tick();
  }

  /** All is heard and on time again. */
  calm(): void {
    for (const server of this.servers) {
      this.muted.delete(server);
      this.delays.set(server, 0);
      this.#noteHearing(server);
    }
    for (let i = 0; i < 60; i += 1) this.tick();
  }

  #noteHearing(server: Server): void {
    const onTime = !this.muted.has(server) && (this.delays.get(server) ?? 0) === 0;
    if (!onTime) this.heardSince.delete(server);
    else if (!this.heardSince.has(server)) this.heardSince.set(server, this.world.now);
  }

  note(): void {
    const names = [...this.world.servers.values()].filter(({ running, role }) => running && role === 'primary').map(({ name }) => name);
    this.writers.push({ at: this.world.now, names: new Set(names) });
  }

  tick(): void {
    const { world } = this;
    world.pass(STEP_MS);
    world.write(this.clone, 10);
    this.note();
    for (const [i, server] of [...world.servers.values()].entries()) {
      if (this.muted.has(server) || (world.now + i * 2_300) % INTERVAL_MS >= STEP_MS) continue;
      this.#underWay.push({ server, sighting: world.sightingOf(server), at: world.now + (this.delays.get(server) ?? 0) });
    }
    const arrived = this.#underWay.filter(({ at }) => at <= world.now);
    for (const one of arrived) {
      this.#underWay.splice(this.#underWay.indexOf(one), 1);
      const { server, sighting } = one;
      // As the collector's view does: an older one fills in histories and does not change what is known now.
      if (server.sighting === undefined || sighting.reportedAt >= server.sighting.reportedAt) server.sighting = sighting;
      this.look(world.look());
    }
    if (arrived.length === 0 && world.now % 5_000 === 0) this.look(world.look());
  }

  /** Whether both were primaries at one moment since. */
  bothWrote(one: string, other: string, since: number): boolean {
    return this.writers.some(({ at, names }) => at >= since && names.has(one) && names.has(other));
  }

  /** How long, up to now, both have been primaries without a break. */
  bothWriteForMs(one: string, other: string): number {
    let from = this.world.now;
    for (let i = this.writers.length - 1; i >= 0; i -= 1) {
      const { at, names } = this.writers[i]!;
      if (!names.has(one) || !names.has(other)) break;
      from = at;
    }
    return this.world.now - from;
  }
}

function check(run: Run, cluster: ClusterTopology): void {
  const { world, servers } = run;
  const names = new Map([...world.servers.values()].map(({ id, name }) => [id, name]));
  const sides = cluster.splitBrain?.primaries.map((id) => names.get(id)!) ?? [];
  expect(sides).not.toContain('x');
  for (const side of sides) {
    const rival = sides.some((other) => other !== side && run.bothWrote(side, other, world.now - 2 * INTERVAL_MS));
    expect(rival, `${side} of ${sides.join()} had no rival`).toBe(true);
  }
  for (const one of servers) {
    for (const other of servers) {
      if (one.name >= other.name) continue;
      const heard = Math.min(...[one, other].map((server) => world.now - (run.heardSince.get(server) ?? world.now)));
      const both = Math.min(run.bothWriteForMs(one.name, other.name), heard);
      if (both > 2 * INTERVAL_MS + CLOCK_SLACK_MS)
        expect(sides, `${one.name} and ${other.name} both write`).toEqual(expect.arrayContaining([one.name, other.name]));
    }
  }
  const { primary } = cluster;
  if (primary.certainty === 'sure') {
    const wasOne = run.writers.some(({ at, names: writing }) => at >= world.now - 2 * INTERVAL_MS && writing.has(names.get(primary.id!)!));
    expect(wasOne, `${names.get(primary.id!)!} is no primary`).toBe(true);
    expect(sides).toEqual([]);
    expect(primary.id).not.toBe(run.clone.id);
  }
  expectNoCircle(cluster);
}

function expectNoCircle(cluster: ClusterTopology): void {
  const upstreams = new Map(cluster.members.map(({ id, upstream }) => [id, upstream?.id]));
  for (const start of upstreams.keys()) {
    let steps = 0;
    for (let at: string | undefined = start; at !== undefined; at = upstreams.get(at))
      expect((steps += 1)).toBeLessThanOrEqual(upstreams.size);
  }
}

function isFed(server: Server): boolean {
  return server.running && (server.role === 'primary' || (server.connected && isFed(server.upstream!)));
}

function isInCircle(server: Server): boolean {
  let steps = 0;
  for (let at: Server | undefined = server; at !== undefined && at.role === 'replica' && steps <= 4; at = at.upstream) steps += 1;
  return steps > 4;
}

/** What was seen last of everybody is all there is: then topology and truth are the same. */
function checkCalm(run: Run, cluster: ClusterTopology): void {
  const { world, servers } = run;
  const writing = servers.filter(({ running, role }) => running && role === 'primary').map(({ name }) => name);
  const ids = new Map(servers.map(({ id, name }) => [id, name]));
  expect([...(cluster.splitBrain?.primaries ?? [])].map((id) => ids.get(id)).toSorted()).toEqual(writing.length > 1 ? writing : []);
  expect(cluster.primary.certainty).toBe(writing.length > 1 ? 'disputed' : writing.length === 1 ? 'sure' : 'unknown');
  expect(cluster.clones).toEqual([run.clone.id]);
  for (const server of servers) {
    const member = memberOf(cluster, server);
    expect(member.roleIsCurrent).toBe(server.running);
    if (server.running) expect(member.role).toBe(server.role);
    const primary = servers.find(({ id }) => id === cluster.primary.id);
    if (member.diverged !== undefined && primary !== undefined) expect(descends(server, primary), server.name).toBe(false);
    // Standbys can be made to stream in a circle. It is drawn as a chain.
    if (isInCircle(server)) continue;
    if (server.connected) {
      expect(member.upstream, server.name).toMatchObject({ id: server.upstream!.id, connected: true });
      if (isFed(server)) expect(member.diverged, server.name).toBeUndefined();
    } else if (member.upstream !== undefined) expect(member.upstream.connected, server.name).toBe(false);
  }
  expect(cluster.members.filter(({ sighting }) => sighting === undefined)).toEqual([]);
  expect(world.servers.size).toBe(cluster.members.length);
}

test(`whatever happens to ${NAMES.join(', ')} and a copy`, () => {
  fc.assert(
    fc.property(histories, (history) => {
      const run = new Run(check);
      for (let i = 0; i < 25; i += 1) run.tick();
      for (const step of history) run.do(step);
      run.calm();
      checkCalm(run, run.world.look());
    }),
    { numRuns: 100 },
  );
});
