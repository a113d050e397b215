/** The view: what agents report goes in in any order and more than once, and what is known of replication comes out, once. */
import { describe, expect, test } from 'vitest';
import { Replication } from '@tidemark/protocol';
import { Value } from 'typebox/value';
import { MemoryKeeper, ViewWorld, observation, trackOf, valueOf } from './view-testing.ts';
import { SYSTEM_IDENTIFIER, type Server } from './topology-testing.ts';

const LAG = 'tidemark_replication_lag_seconds';
const LOWER = 'tidemark_replication_lag_seconds_lower';
const CHANGES = 'tidemark_replication_topology_changes_total';
const SPLIT = 'tidemark_replication_split_brain';
const WITHOUT = 'tidemark_replication_without_primary_seconds';

function pair(more: { site?: string } = {}): { it: ViewWorld; a: Server; b: Server } {
  const it = new ViewWorld();
  const a = it.world.add('a');
  const b = it.world.standby('b', a, {}, more);
  it.round();
  it.round();
  return { it, a, b };
}

/** A primary and two standbys, seen twice. */
function three(): { it: ViewWorld; a: Server; b: Server; c: Server } {
  const it = new ViewWorld();
  const a = it.world.add('a');
  const b = it.world.standby('b', a);
  const c = it.world.standby('c', a);
  it.round();
  it.round();
  return { it, a, b, c };
}

/** On until a round of reports brings it about. */
function until(it: ViewWorld, isSo: () => boolean, ms = 10_000): void {
  for (let i = 0; i < 30 && !isSo(); i++) it.round(ms);
  expect(isSo()).toBe(true);
}

describe('reports', () => {
  test('of a healthy pair give a page that is what its schema says, and a block for each server', () => {
    const { it, a } = pair();
    it.world.write(a);
    const blocks = it.round();
    const page = it.view.page();
    expect([...Value.Errors(Replication, page)]).toEqual([]);
    expect(it.cluster.instances.map(({ name, role, state }) => `${name} ${role} ${state}`)).toEqual([
      'a primary running',
      'b replica streaming',
    ]);
    expect(valueOf(blocks.get('b'), LAG)).toBeGreaterThanOrEqual(0);
    expect(valueOf(blocks.get('a'), LAG)).toBeUndefined();
    expect(valueOf(blocks.get('a'), 'tidemark_replication_state', { state: 'running' })).toBe(1);
  });

  test('the same report twice changes nothing and yields the same block', () => {
    const { it, a, b } = pair();
    it.world.write(a);
    it.pass(10_000);
    for (const server of [a, b]) {
      const report = it.reportOf(server);
      const first = it.view.accept(report);
      const page = JSON.stringify(it.view.page());
      const events = it.kinds();
      const second = it.view.accept(report);
      expect(second).toEqual(first);
      expect(second[0]!.layout).toBe(first[0]!.layout);
      expect(JSON.stringify(it.view.page())).toBe(page);
      expect(it.kinds()).toEqual(events);
    }
  });

  test('a layout lasts as long as its series do', () => {
    const { it, a, b } = pair();
    const first = it.round().get('a')![0]!.layout;
    it.world.write(a);
    expect(it.round().get('a')![0]!.layout).toBe(first);
    it.world.stop(b);
    it.round();
    a.slots.add('x');
    const second = it.round().get('a')![0]!.layout;
    expect(second.hash).not.toBe(first.hash);
    expect(it.round().get('a')![0]!.layout).toBe(second);
  });

  test('a server that was never up stands alone, and joins its cluster when it is', () => {
    const { it } = pair();
    const c = it.world.add('c');
    it.world.stop(c);
    it.round();
    expect(it.cluster.instances.map(({ name }) => name)).toEqual(['a', 'b']);
    expect(it.view.page().clusters.map(({ instances }) => instances.map(({ state }) => state))).toEqual([
      ['running', 'streaming'],
      ['down'],
    ]);
    it.world.start(c, { follow: it.world.servers.get('a')! });
    c.timeline = 1;
    it.round();
    expect(it.view.page().clusters.map(({ instances }) => instances.map(({ name }) => name))).toEqual([['a', 'b', 'c']]);
  });

  test('a server that is down after a restart is what it was, in the cluster that it was in', () => {
    const { it, a, b } = pair();
    it.world.stop(b);
    it.restart();
    it.round();
    expect(it.cluster.instances.map(({ name, role, state }) => `${name} ${role} ${state}`)).toEqual([
      'a primary running',
      'b replica down',
    ]);
    expect(a.running).toBe(true);
  });

  test('those whose system identifier may not be seen stay alone, each by itself', () => {
    const it = new ViewWorld();
    for (const name of ['a', 'b']) {
      const server = it.world.add(name);
      const document = { ...it.world.document(server), systemIdentifier: null, insufficientPrivilege: true };
      it.view.accept(it.reportOf(server, 10_000, { observations: [observation('postgres.replication', 'main', document)] }));
    }
    expect(it.view.page().clusters.map(({ instances }) => instances.length)).toEqual([1, 1]);
    expect([...it.keeper.events]).toEqual([]);
  });

  test('another system identifier (pg_upgrade) is another cluster, with nothing of the one before', () => {
    const { it, b } = pair();
    it.pass(10_000);
    const document = { ...it.world.document(b), systemIdentifier: '42', role: 'primary', receiver: null, timeline: 1 };
    it.view.accept(it.reportOf(b, 10_000, { observations: [observation('postgres.replication', 'main', document)] }));
    it.view.tick();
    it.view.accept(it.reportOf(it.world.servers.get('a')!));
    expect(it.view.find('42').map(({ instances }) => instances.map(({ name }) => name))).toEqual([['b']]);
    expect(it.cluster.instances.map(({ name, watched }) => [name, watched])).not.toContainEqual(['b', true]);
    expect(it.kinds()).not.toContain('split_brain');
  });

  test('what cannot be read is set aside and harms nobody', () => {
    const { it, a, b } = pair();
    const good = it.world.document(a);
    const bad: unknown[] = [null, 7, 'x', [], {}, { ...good, replicas: null }, { ...good, slots: [null] }, { ...good, receiver: 3 }];
    bad.push({ ...good, systemIdentifier: '__proto__' }, { ...good, systemIdentifier: 'unknown:1/main' }, { ...good, up: 'yes' });
    for (const document of bad)
      for (const kind of ['postgres.replication', 'postgres.track', 'postgres.settings'])
        it.view.accept(it.reportOf(b, 10_000, { observations: [observation(kind, 'main', document)] }));
    it.pass(6_000);
    it.view.tick();
    expect(it.misfits.length).toBeGreaterThanOrEqual(bad.length * 2);
    expect(it.view.page().clusters).toHaveLength(1);
    expect(it.cluster.instances).toHaveLength(2);
  });

  test('names from agents are names, whatever they are', () => {
    const { it, a } = pair();
    const names = ['__proto__', 'constructor', 'a"b\\c\n{}', 'ü\u0000\ud800', '☃'.repeat(1_000)];
    for (const instance of names) {
      const document = { ...it.world.document(a), systemIdentifier: '77', clusterName: instance, replicas: [] };
      const [block] = it.view
        .accept(it.reportOf(a, 10_000, { observations: [observation('postgres.replication', instance, document)] }))
        .filter(({ layout }) => layout.instance === instance);
      expect(block!.layout.series.every(({ labels }) => labels.every(([, value]) => value.length <= 1_024))).toBe(true);
    }
    expect(
      it.view
        .find('77')[0]!
        .instances.map(({ instance }) => instance)
        .toSorted(),
    ).toEqual(names.toSorted());
    expect(({} as Record<string, unknown>)['name']).toBeUndefined();
  });

  test('an agent that makes up servers ends at fifty', () => {
    const { it, a } = pair();
    for (let i = 0; i < 300; i++)
      it.view.accept(
        it.reportOf(a, 10_000, { live: false, observations: [observation('postgres.replication', `made-up-${i}`, it.world.document(a))] }),
      );
    expect(it.view.counts.instances).toBe(51);
  });
});

describe('late reports', () => {
  test('fill the tracks, move nothing that is newer, and bring the lag there was', () => {
    const { it, a, b } = pair();
    // The collector is away: reports of that time come later.
    const late: { at: number; lsn: bigint; track: ReturnType<typeof trackOf>; of: Server }[] = [];
    for (let i = 0; i < 20; i++) {
      it.pass(10_000);
      // The standby is cut for a while in the middle.
      if (i === 5) b.connected = false;
      a.lsn += 1_000n;
      if (i === 12) it.world.flow();
      if (i < 5 || i >= 12) it.world.flow();
      for (const server of [a, b]) late.push({ at: it.clock.wallMs(), lsn: server.lsn, track: trackOf(server, 2_000), of: server });
    }
    const blocks = it.round();
    expect(valueOf(blocks.get('b'), LAG)).toBeLessThan(15);
    const page = JSON.stringify(it.cluster.instances);
    const events = it.kinds();
    for (const from of [a, b])
      for (const { at, track, of } of late) {
        if (of !== from) continue;
        const agoMs = it.clock.wallMs() - at;
        const yielded = it.view.accept(
          it.reportOf(of, 2_000, { live: false, agoMs, observations: [observation('postgres.track', 'main', track)] }),
        );
        if (of === a) expect(yielded).toEqual([]);
        else {
          expect(yielded.map(({ layout }) => layout.series.length)).toEqual([5]);
          expect(valueOf(yielded, SPLIT)).toBeUndefined();
        }
      }
    expect(JSON.stringify(it.cluster.instances)).toBe(page);
    expect(it.kinds()).toEqual(events);
    // In the middle of the cut: behind since it began, 40 s before.
    const middle = late.findIndex(({ of, at }) => of === b && at === late[0]!.at + 9 * 10_000);
    const { at, track } = late[middle]!;
    const then = it.view.accept(
      it.reportOf(b, 2_000, { live: false, agoMs: it.clock.wallMs() - at, observations: [observation('postgres.track', 'main', track)] }),
    );
    expect(valueOf(then, LOWER)).toBeGreaterThan(25);
    expect(valueOf(then, 'tidemark_replication_lag_seconds_upper')).toBeLessThan(65);
  });

  test('of a time before the present primary was one bring no lag', () => {
    const { it, a, b, c } = three();
    const track = trackOf(c, 2_000);
    const at = it.clock.wallMs();
    it.world.stop(a);
    it.world.promote(b);
    it.world.follow(c, b);
    until(it, () => it.cluster.primary.name === 'b' && it.cluster.primary.certainty === 'sure');
    it.round();
    const agoMs = it.clock.wallMs() - at;
    expect(
      it.view.accept(it.reportOf(c, 2_000, { live: false, agoMs, observations: [observation('postgres.track', 'main', track)] })),
    ).toEqual([]);
  });

  test('of who was a primary once make no second one while a backlog is on its way', () => {
    const { it, a, b } = pair();
    const old = it.world.document(a);
    const at = it.clock.wallMs();
    it.world.stop(a);
    it.world.promote(b);
    until(it, () => it.cluster.primary.name === 'b' && it.cluster.primary.certainty === 'sure');
    a.agent = false;
    it.restart();
    for (let i = 0; i < 5; i++) it.round();
    it.view.accept(
      it.reportOf(a, 2_000, {
        live: false,
        agoMs: it.clock.wallMs() - at,
        observations: [observation('postgres.replication', 'main', old)],
      }),
    );
    it.pass(6_000);
    it.view.tick();
    expect(it.cluster.splitBrain).toBe(false);
    expect(it.cluster.primary).toMatchObject({ name: 'b' });
  });
});

describe('one server that is watched twice', () => {
  /** A second agent that watches the same server by another address. */
  function twice(of: Server, it: ViewWorld): (ms?: number) => void {
    const record = { ...it.recordOf(of), id: 9, name: 'viewer' };
    it.records.set(9, record);
    return () => {
      const report = it.reportOf(of, 10_000, {
        observations: [
          observation('postgres.replication', 'vip', it.world.document(of)),
          observation('postgres.track', 'vip', trackOf(of, 10_000)),
        ],
      });
      it.view.accept({ ...report, node: record });
    };
  }
  const exact = (it: ViewWorld, server: Server): void => {
    const document = it.world.document.bind(it.world);
    it.world.document = (of) => {
      const plain = document(of);
      return of === server && plain.startedAt !== null ? { ...plain, startedAt: plain.startedAt.replace(/\.(\d{3})Z/, '.$1123Z') } : plain;
    };
  };

  test('counts once, says so, and is found by both names', () => {
    const { it, a } = pair();
    exact(it, a);
    const report = twice(a, it);
    for (let i = 0; i < 4; i++) {
      it.round();
      report();
    }
    expect(it.cluster.instances.map(({ name }) => name)).toEqual(['a', 'b']);
    expect(it.cluster.primary).toMatchObject({ name: 'a', certainty: 'sure' });
    expect(it.cluster.instances[0]!.why).toMatch(/watched twice, also as vip on viewer/);
    expect(it.cluster.splitBrain).toBe(false);
    expect(it.kinds()).toEqual([]);
    expect(it.view.find('viewer')).toHaveLength(1);
  });

  test('stays one when it is restarted, whoever says so first', () => {
    const { it, a } = pair();
    exact(it, a);
    const report = twice(a, it);
    it.round();
    report();
    for (const first of ['own', 'other']) {
      it.world.stop(a);
      it.round();
      report();
      it.world.start(a);
      it.pass(10_000);
      if (first === 'own') it.view.accept(it.reportOf(a));
      else report();
      it.view.tick();
      it.pass(6_000);
      it.view.tick();
      expect(it.cluster.instances.map(({ name }) => name)).toEqual(['a', 'b']);
      it.view.accept(it.reportOf(a));
      report();
      it.round();
    }
    expect(it.kinds().filter((kind) => /clone|split|switchover|promotion/.test(kind))).toEqual([]);
  });
});

describe('nodes', () => {
  test('a retired or revoked node takes its servers with it', () => {
    const { it, b } = pair();
    it.records.set(b.node.id, { ...it.recordOf(b), state: 'retired' });
    it.pass(6_000);
    it.view.tick();
    expect(it.view.counts).toEqual({ instances: 1, clusters: 1 });
    expect(
      it.view
        .find('b')
        .flatMap(({ instances }) => instances.filter(({ watched }) => watched))
        .map(({ name }) => name),
    ).not.toContain('b');
  });

  test('a renamed one is called by its new name, in the same series', () => {
    const { it, b } = pair();
    const before = it.round().get('b')![0]!.layout;
    it.records.set(b.node.id, { ...it.recordOf(b), name: 'new' });
    const after = it.round().get('b')![0]!.layout;
    expect(after).toBe(before);
    expect(it.view.find('new')).toHaveLength(1);
    expect(it.view.find('b')).toHaveLength(0);
  });

  test('a server that its agent no longer watches is forgotten after ten minutes, and not before', () => {
    const { it, b } = pair();
    const silentReport = () => it.view.accept(it.reportOf(b, 10_000, { observations: [] }));
    b.agent = false;
    for (let i = 0; i < 59; i++) {
      it.round();
      silentReport();
      it.view.tick();
    }
    expect(it.view.counts.instances).toBe(2);
    it.round();
    it.round();
    it.view.tick();
    expect(it.view.counts.instances).toBe(1);
  });

  test('found by every name that it has, and by no other', () => {
    const { it } = pair();
    for (const name of [SYSTEM_IDENTIFIER, 'a', 'b', '1/main']) expect(it.view.find(name), name).toHaveLength(1);
    for (const name of ['', 'c', '__proto__', 'main']) expect(it.view.find(name), name).toEqual([]);
  });
});

describe('what is told of the whole cluster', () => {
  test('a change of primary is counted once at each site, not again when it is corrected or after a restart', () => {
    const it = new ViewWorld();
    const a = it.world.add('a', { site: 'north' });
    const b = it.world.standby('b', a, {}, { site: 'north' });
    const c = it.world.standby('c', a, {}, { site: 'south' });
    for (let i = 0; i < 3; i++) it.round();
    const countsOf = (): (number | null | undefined)[] => {
      const blocks = it.round();
      return [a, b, c].map(({ name }) => valueOf(blocks.get(name), CHANGES));
    };
    expect(countsOf()).toEqual([0, 0, 0]);
    it.world.stop(a);
    it.world.promote(b);
    it.world.follow(c, b);
    for (let i = 0; i < 12; i++) it.round();
    expect(it.kinds().filter((kind) => ['promotion', 'switchover', 'failover'].includes(kind))).toHaveLength(1);
    expect(countsOf()).toEqual([1, 0, 1]);
    it.restart();
    for (let i = 0; i < 6; i++) expect(countsOf()).toEqual([0, 0, 0]);
  });

  test('a change that is found by the first look after a restart is told as a rise', () => {
    const { it, a, b } = pair();
    it.world.stop(a);
    it.world.promote(b);
    it.restart();
    it.pass(20_000);
    const values = Array.from({ length: 12 }, () => valueOf(it.round().get('a'), CHANGES));
    expect(values[0]).toBe(0);
    expect(values.at(-1)).toBe(1);
  });

  test('the split brain is told by one, the same one over restarts, until it is over', () => {
    const { it, a, b, c } = three();
    it.world.promote(c);
    until(it, () => it.cluster.splitBrain);
    const tellers = (): string[] => {
      const blocks = it.round();
      return [a, b, c].flatMap(({ name }) => (valueOf(blocks.get(name), SPLIT) === 1 ? [name] : []));
    };
    expect(tellers()).toEqual(['c']);
    // Everybody moves over: who should not be one is whom it was told of all the same.
    it.world.follow(b, c);
    b.timeline = c.timeline;
    for (let i = 0; i < 4; i++) expect(tellers()).toEqual(['c']);
    it.restart();
    for (let i = 0; i < 4; i++) expect(tellers()).toEqual(['c']);
    expect(it.kinds().filter((kind) => kind === 'split_brain')).toHaveLength(1);
    expect(
      it.view.explain(c.node.id, SPLIT, [
        ['cluster', SYSTEM_IDENTIFIER],
        ['server', 'main'],
      ]),
    ).toMatch(/primaries of one history/);
    it.world.stop(c);
    until(it, () => tellers().length === 0);
    expect(it.kinds().filter((kind) => kind === 'split_brain')).toHaveLength(1);
  });

  test('a lost primary is told by one replica, from when it was last seen, over a restart, to its end', () => {
    const { it, a, b, c } = three();
    const lastSeen = it.clock.wallMs();
    it.world.stop(a);
    const told = (): (number | null | undefined)[] => {
      const blocks = it.round();
      return [a, b, c].map(({ name }) => valueOf(blocks.get(name), WITHOUT, { lost_node: 'a' }));
    };
    until(it, () => it.cluster.withoutPrimarySeconds !== null);
    const first = told();
    expect(first[0]).toBeUndefined();
    expect(first[2]).toBeUndefined();
    expect(first[1]).toBeCloseTo((it.clock.wallMs() - lastSeen) / 1_000, -1);
    it.restart();
    const second = told();
    expect(second[1]).toBeCloseTo(first[1]! + 10, 0);
    it.world.start(a);
    it.world.flow();
    it.round();
    until(it, () => it.cluster.withoutPrimarySeconds === null);
    expect(told()).toEqual([undefined, 0, undefined]);
  });

  test('a restart after the collector was away for ten minutes loses nobody', () => {
    const { it } = three();
    it.restart();
    it.pass(600_000);
    it.view.tick();
    for (const server of it.world.servers.values()) {
      const blocks = it.view.accept(it.reportOf(server));
      expect(valueOf(blocks, WITHOUT)).toBeUndefined();
      it.view.tick();
    }
    it.round();
    expect(it.kinds()).toEqual([]);
    expect(it.cluster.withoutPrimarySeconds).toBeNull();
  });

  test('explains what is watched, and what only its upstream knows, and nothing of other series', () => {
    const { it, a, b } = pair();
    const strange = { pid: 7, state: 'streaming', backendStart: null };
    a.strangers.push({ ...it.world.document(a).replicas[0]!, ...strange, applicationName: 'far', clientAddr: '192.0.2.1' });
    it.round();
    it.round();
    const cluster: [string, string] = ['cluster', SYSTEM_IDENTIFIER];
    expect(it.view.explain(b.node.id, LAG, [cluster, ['server', 'main']])).toBe(it.cluster.instances[1]!.why);
    const far = it.cluster.instances.find(({ name }) => name === 'far')!;
    expect(it.view.explain(a.node.id, 'tidemark_replication_state', [cluster, ['replica', 'far'], ['server', 'main']])).toBe(far.why);
    expect(it.view.explain(b.node.id, 'tidemark_replication_state', [cluster, ['replica', 'far'], ['server', 'main']])).toBeUndefined();
    expect(it.view.explain(b.node.id, 'pg_up', [cluster])).toBeUndefined();
    expect(it.view.explain(b.node.id, LAG, [])).toBeUndefined();
    expect(
      it.view.explain(b.node.id, LAG, [
        ['cluster', 'x'],
        ['server', 'main'],
      ]),
    ).toBeUndefined();
  });
});

test('what is kept goes through JSON', () => {
  expect(new MemoryKeeper().memoryOf('1')).toEqual({ topology: {}, changes: undefined });
});

test('a backlog that comes first after a restart, the replica before its primary, brings the lag there was', () => {
  const { it, a, b } = pair();
  it.world.write(a);
  it.round();
  const late: { at: number; track: ReturnType<typeof trackOf>; document: unknown }[] = [];
  for (let i = 0; i < 10; i++) {
    it.pass(2_000);
    it.world.write(a);
    // The server was asked when the report was on its way.
    late.push({ at: it.clock.wallMs() - 40, track: trackOf(b, 2_000), document: it.world.document(b) });
  }
  it.pass(70_000);
  it.restart();
  const values = late.map(({ at, track: { runs, ...rest }, document }) =>
    valueOf(
      it.view.accept(
        it.reportOf(b, 2_000, {
          live: false,
          agoMs: it.clock.wallMs() - at,
          observations: [
            observation('postgres.replication', 'main', document),
            observation('postgres.track', 'main', {
              ...rest,
              runs: runs.map((run) => ({ ...run, samples: run.samples.map(([agoMs, ...more]) => [agoMs - 40, ...more]) })),
            }),
          ],
        }),
      ),
      LOWER,
    ),
  );
  expect(values).toEqual(late.map(() => 0));
});
