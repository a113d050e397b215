/** Every way in which an edge can be known, and every way in which addresses and names mislead. */
import { describe, expect, test } from 'vitest';
import type { PostgresReplication } from '@tidemark/protocol';
import { drawn, memberOf } from './topology-family-testing.ts';
import { row, World, type Server, type ServerOptions } from './topology-testing.ts';

const upstreamOf = (world: World, server: Server): unknown => memberOf(world.round(), server).upstream;

describe('the basis of an edge', () => {
  test('a slot that the receiver names and that is active at the sender', () => {
    const world = new World();
    const a = world.add('a');
    const b = world.standby('b', a, { slot: 's', via: 'vip.example', seenAs: '192.168.9.9' });
    expect(upstreamOf(world, b)).toEqual({ id: a.id, by: 'slot', address: 'vip.example:5432', connected: true });
  });

  test('the same slot name on two senders: the address decides', () => {
    const world = new World();
    const a = world.add('a');
    const p = world.add('p');
    const b = world.standby('b', a, { slot: 's' });
    const q = world.standby('q', p, { slot: 's' });
    expect(drawn(world.round())).toBe('b<a q<p');
    expect([memberOf(world.look(), b).seenBy?.upstream, memberOf(world.look(), q).seenBy?.upstream]).toEqual([a.id, p.id]);
  });

  test('a process that began with the receiver, whatever addresses and names say', () => {
    const world = new World();
    const a = world.add('a');
    const b = world.standby('b', a, { via: '172.30.0.9', seenAs: '172.30.0.1' });
    b.tellsReceiverStart = true;
    world.pass(60_000);
    const c = world.standby('c', a, { via: '172.30.0.9', seenAs: '172.30.0.1' });
    c.tellsReceiverStart = true;
    const cluster = world.round();
    expect(memberOf(cluster, b)).toMatchObject({ upstream: { id: a.id, by: 'process' }, seenBy: { replica: 0 } });
    expect(memberOf(cluster, c)).toMatchObject({ upstream: { id: a.id, by: 'process' }, seenBy: { replica: 1 } });
    expect(cluster.members).toHaveLength(3);
  });

  test('the same, with a clock that is five minutes ahead', () => {
    const world = new World();
    const a = world.add('a', { clockMs: 300_000 });
    const b = world.standby('b', a, { via: '172.30.0.9', seenAs: '172.30.0.1' }, { clockMs: -300_000 });
    b.tellsReceiverStart = true;
    expect(upstreamOf(world, b)).toMatchObject({ id: a.id, by: 'process' });
  });

  test('an address and a port', () => {
    const world = new World();
    const a = world.add('a');
    const b = world.standby('b', a);
    expect(upstreamOf(world, b)).toEqual({ id: a.id, by: 'address', address: '10.0.0.1:5432', connected: true });
  });

  test('the name of the machine, short or in full', () => {
    const world = new World();
    const a = world.add('a', { host: 'db-a.example.com' });
    const b = world.standby('b', a, { via: 'DB-A' });
    const c = world.standby('c', a, { via: 'db-a.example.com' });
    const d = world.standby('d', a, { via: 'db-a.elsewhere.com' });
    const cluster = world.round();
    expect([b, c, d].map((one) => memberOf(cluster, one).upstream?.id)).toEqual([a.id, a.id, a.id]);
    expect([b, c, d].map((one) => memberOf(cluster, one).upstream?.by)).toEqual(['address', 'address', 'address']);
    expect(memberOf(cluster, d).seenBy).toEqual({ upstream: a.id, replica: 2 });
  });

  test('an application name that is the name of one cluster alone, behind NAT', () => {
    const world = new World();
    const a = world.add('a', { clusterName: 'a' });
    const nat = { via: '203.0.113.7', viaPort: 6001, seenAs: '203.0.113.1' };
    const b = world.standby('b', a, nat, { clusterName: 'b' });
    const c = world.standby('c', a, nat, { clusterName: 'c' });
    const cluster = world.round();
    for (const [i, one] of [b, c].entries()) {
      expect(memberOf(cluster, one)).toMatchObject({
        upstream: { id: a.id, by: 'application_name', connected: true },
        seenBy: { replica: i },
      });
    }
    expect(cluster.members).toHaveLength(3);
  });

  test('behind NAT with a name that is everybody’s nothing is believed: the replica is fed by a stranger, the sender has one', () => {
    const world = new World();
    const a = world.add('a');
    const b = world.standby('b', a, { via: '203.0.113.7', viaPort: 6001, seenAs: '203.0.113.1' });
    const cluster = world.round();
    expect(memberOf(cluster, b).upstream).toEqual({ id: undefined, by: 'address', address: '203.0.113.7:6001', connected: true });
    expect(memberOf(cluster, `${a.id}>walreceiver@203.0.113.1`)).toMatchObject({ role: 'replica', root: a.id, name: '203.0.113.1' });
    expect(cluster.primaryEvidenceAt).toBe(world.now);
  });

  test('what is configured, for one that is not connected', () => {
    const world = new World();
    const a = world.add('a');
    const b = world.standby('b', a);
    world.stop(a);
    expect(upstreamOf(world, b)).toEqual({ id: a.id, by: 'conninfo', address: '10.0.0.1:5432', connected: false });
  });

  test('several configured hosts: the one that it followed last', () => {
    const world = new World();
    const a = world.add('a');
    const b = world.standby('b', a);
    const c = world.standby('c', a);
    world.round();
    world.follow(c, undefined, { via: '10.0.0.1,10.0.0.2' });
    expect(upstreamOf(world, c)).toEqual({ id: a.id, by: 'conninfo', address: '10.0.0.1:5432,10.0.0.2:5432', connected: false });
    expect(memberOf(world.look(), b).upstream?.id).toBe(a.id);
  });

  test('and when it followed neither, nobody', () => {
    const world = new World();
    const a = world.add('a');
    world.standby('b', a);
    const c = world.standby('c', a);
    world.follow(c, undefined, { via: '10.0.0.1,10.0.0.2' });
    expect(memberOf(world.round(), c)).toMatchObject({ upstream: { id: undefined, by: 'conninfo', connected: false } });
  });
});

describe('one machine', () => {
  const here = (port: number, more: ServerOptions = {}): ServerOptions => ({
    host: 'one',
    addresses: ['10.0.0.1'],
    port,
    instance: `localhost:${port}`,
    ...more,
  });
  const loopback = { via: '127.0.0.1', seenAs: '127.0.0.1' };

  test('several instances with an agent each, by loopback and port', () => {
    const world = new World();
    const a = world.add('a', here(5001));
    const b = world.standby('b', a, { ...loopback, slot: 's' }, here(5002));
    const c = world.standby('c', b, loopback, here(5003));
    const d = world.standby('d', a, loopback, here(5004));
    const cluster = world.round();
    expect(drawn(cluster)).toBe('b<a c<b d<a');
    // A row that may be two people's is nobody's; the slot's is its user's.
    expect(memberOf(cluster, b).seenBy).toEqual({ upstream: a.id, replica: 0 });
    expect([c, d].map((one) => memberOf(cluster, one).upstream?.by)).toEqual(['address', 'address']);
    expect(cluster.members).toHaveLength(4);
  });

  test('agents that call the one machine by names of their own, with a network and without', () => {
    for (const addresses of [['192.0.2.2', 'fd00::2'], []]) {
      const world = new World();
      const at = (port: number): ServerOptions => ({ addresses, port, instance: 'postgres' });
      const a = world.add('a', at(5001));
      const b = world.standby('b', a, loopback, at(5002));
      world.standby('c', b, loopback, at(5003));
      world.standby('d', a, loopback, at(5004));
      const cluster = world.round();
      expect(drawn(cluster)).toBe('b<a c<b d<a');
      expect(cluster.members).toHaveLength(4);
    }
  });

  test('two machines that share the address of a container bridge are two', () => {
    const world = new World();
    const a = world.add('a', { addresses: ['10.0.0.1', '172.17.0.1'] });
    const b = world.standby('b', a, loopback, { addresses: ['10.0.0.2', '172.17.0.1'] });
    expect(upstreamOf(world, b)).toMatchObject({ id: undefined });
  });

  test('several instances with one agent are called by node and instance', () => {
    const world = new World();
    const node = { id: 7, name: 'box' };
    const a = world.add('a', here(5001, { node, instance: 'main' }));
    const b = world.standby('b', a, loopback, here(5002, { node, instance: 'second' }));
    const cluster = world.round();
    expect(drawn(cluster)).toBe('box/second<box/main');
    expect(memberOf(cluster, b).id).toBe('7/second');
  });

  test('over a socket: its directory begins with a slash, and the sender sees no address', () => {
    const world = new World();
    const a = world.add('a', here(5001));
    const b = world.standby('b', a, { via: '/var/run/postgresql', seenAs: null }, here(5002));
    expect(memberOf(world.round(), b)).toMatchObject({
      upstream: { id: a.id, by: 'address', address: '/var/run/postgresql:5001', connected: true },
      seenBy: { upstream: a.id, replica: 0 },
    });
  });

  test('a loopback address means nothing on another machine', () => {
    const world = new World();
    const a = world.add('a');
    const tunnel = world.standby('b', a, { via: '127.0.0.1', viaPort: 5432, seenAs: '127.0.0.1' }, { clusterName: 'b' });
    const cluster = world.round();
    expect(memberOf(cluster, tunnel)).toMatchObject({ upstream: { id: a.id, by: 'application_name' }, seenBy: { replica: 0 } });
  });

  test('two replicas with one name and one address: from whom they receive is known, by which row is not', () => {
    const world = new World();
    const a = world.add('a');
    const twins = { host: 'two', addresses: ['10.0.0.9'], clusterName: 'same' };
    const b = world.standby('b', a, {}, { ...twins, port: 5001 });
    const c = world.standby('c', a, {}, { ...twins, port: 5002 });
    const cluster = world.round();
    expect(drawn(cluster)).toBe('b<a c<a');
    expect([b, c].map((one) => memberOf(cluster, one).seenBy)).toEqual([undefined, undefined]);
    expect(cluster.members).toHaveLength(3);
  });
});

describe('what misleads', () => {
  test('a virtual address that moved: the last report of the dead one still has it', () => {
    const world = new World();
    const a = world.add('a', { addresses: ['10.0.0.1', '10.0.0.100'] });
    const b = world.standby('b', a);
    const c = world.standby('c', b, { via: '10.0.0.100' });
    world.follow(c, a, { via: '10.0.0.100' });
    expect(drawn(world.round())).toBe('b<a c<a');
    world.stop(a);
    a.agent = false;
    Object.assign(b.options, { addresses: ['10.0.0.2', '10.0.0.100'] });
    world.promote(b);
    world.pass(5_000);
    world.follow(c, b, { via: '10.0.0.100' });
    expect(drawn(world.round())).toBe('c<b');
    expect(memberOf(world.look(), c).seenBy).toEqual({ upstream: b.id, replica: 0 });
  });

  test('the same private address in two sites', () => {
    const world = new World();
    const a = world.add('a', { addresses: ['10.0.0.1'], site: 'berlin' });
    const far = world.standby('far', a, { slot: 'far', via: 'a.example' }, { addresses: ['10.0.0.1'], site: 'tokyo', host: 'far' });
    const b = world.standby('b', a, { slot: 'b' }, { addresses: ['10.0.0.2'] });
    const near = world.standby('near', far, { slot: 'near' }, { addresses: ['10.0.0.2'], site: 'tokyo' });
    const cluster = world.round();
    expect(drawn(cluster)).toBe('b<a far<a near<far');
    expect([b, near].map((one) => memberOf(cluster, one).upstream?.by)).toEqual(['slot', 'slot']);
  });

  test('an agent that watches from elsewhere lends the server none of its own addresses', () => {
    const world = new World();
    const a = world.add('a');
    const b = world.standby('b', a, { seenAs: '10.9.9.2' }, { clusterName: 'b' });
    const agent = { hostname: 'watcher', addresses: ['10.0.0.50'], port: 5432 };
    const told = world.document.bind(world);
    const reached = new Map([
      [a, '10.9.9.1'],
      [b, '10.9.9.2'],
    ]);
    world.document = (server): PostgresReplication => ({
      ...told(server),
      machine: agent,
      reachedAt: { host: reached.get(server)!, port: 5432 },
    });
    world.follow(b, a, { via: '10.9.9.1', seenAs: '10.9.9.2' });
    expect(memberOf(world.round(), b)).toMatchObject({ upstream: { id: a.id, by: 'address' }, seenBy: { replica: 0 } });
  });

  test('agents that say nothing of addresses: names and slots do', () => {
    const world = new World();
    const a = world.add('a', { instance: 'db-a:5432' });
    const b = world.standby('b', a, { slot: 's' }, { instance: 'db-b:5432' });
    const c = world.standby('c', a, { via: 'db-a' }, { instance: 'db-c:5432' });
    for (const one of [a, b, c]) one.isOld = true;
    const cluster = world.round();
    expect(memberOf(cluster, b).upstream).toMatchObject({ id: a.id, by: 'slot' });
    expect(memberOf(cluster, c).upstream).toMatchObject({ id: a.id, by: 'address' });
    expect(cluster.members).toHaveLength(3);
  });

  test('without the right to see who is who, the other side tells', () => {
    const world = new World();
    const a = world.add('a', { clusterName: 'a' });
    const b = world.standby('b', a, {}, { clusterName: 'b' });
    a.privileged = false;
    const blindPrimary = world.round();
    expect(drawn(blindPrimary)).toBe('b<a');
    expect(blindPrimary.members).toHaveLength(2);
    a.privileged = true;
    b.privileged = false;
    const blindReplica = world.round();
    expect(memberOf(blindReplica, b).upstream).toMatchObject({ id: a.id, connected: true });
    expect(blindReplica.members).toHaveLength(2);
  });

  test('a replica whose agent is silent still streams, says its upstream', () => {
    const world = new World();
    const a = world.add('a');
    const b = world.standby('b', a);
    world.round();
    b.agent = false;
    for (let i = 0; i < 5; i += 1) world.round();
    expect(memberOf(world.look(), b)).toMatchObject({ roleIsCurrent: false, role: 'replica', upstream: { id: a.id, connected: true } });
    world.follow(b, undefined);
    world.round();
    expect(memberOf(world.look(), b)).toMatchObject({ upstream: { id: a.id, connected: false } });
  });

  test('a sender that hears nothing of the receiver’s end keeps a row: it is no other replica, and nothing flows', () => {
    const world = new World();
    const a = world.add('a');
    const b = world.standby('b', a);
    world.round();
    world.report(a);
    const halfOpen = a.sighting!;
    world.follow(b, undefined);
    world.round();
    a.sighting = { ...halfOpen, reportedAt: world.now, upAt: world.now };
    const cluster = world.look();
    expect(drawn(cluster)).toBe('b~a');
    expect(cluster.members).toHaveLength(2);
  });
});

describe('after a reconnect of a whole site, behind NAT', () => {
  const nat = { via: 'nat.example', seenAs: '203.0.113.7' };
  const site = (): { world: World; a: Server; b: Server } => {
    const world = new World();
    const a = world.add('a');
    return { world, a, b: world.standby('b', a, { ...nat, slot: 'b' }) };
  };
  const telling = (world: World): void => {
    for (const one of world.servers.values()) one.tellsReceiverStart = true;
  };

  test('processes that began at one moment at two senders are no evidence', () => {
    const { world, a, b } = site();
    world.standby('c', b, nat);
    world.standby('d', a, nat, { applicationName: 'reporting' });
    telling(world);
    const cluster = world.round();
    expect(cluster.members.filter(({ sighting }) => sighting !== undefined).map(({ name, upstream }) => [name, upstream?.id])).toEqual([
      ['a', undefined],
      ['b', a.id],
      ['c', undefined],
      ['d', undefined],
    ]);
  });

  test('nor when one of them is somebody whom nobody watches', () => {
    const { world, a, b } = site();
    const relay = world.standby('relay', a, nat);
    const c = world.standby('c', relay, nat);
    a.strangers = [{ ...row('walreceiver', '203.0.113.7', '0/3000000'), pid: 7, backendStart: new Date(world.now + 300).toISOString() }];
    relay.agent = false;
    telling(world);
    const cluster = world.round();
    expect(memberOf(cluster, b).upstream?.id).toBe(a.id);
    expect(memberOf(cluster, c).upstream).toMatchObject({ id: undefined, connected: true });
  });

  test('when all began at one sender, and each of them is there, it is the one', () => {
    const { world, a } = site();
    world.standby('c', a, nat);
    world.standby('d', a, nat);
    telling(world);
    expect(drawn(world.round())).toBe('b<a c<a d<a');
  });

  test('who is called by a name of its own, or followed that sender before, is found', () => {
    const { world, a, b } = site();
    world.standby('c', b, nat, { clusterName: 'c' });
    const d = world.standby('d', a, {}, { applicationName: 'reporting' });
    telling(world);
    world.round();
    world.pass(60_000);
    for (const one of world.servers.values()) if (one.upstream !== undefined) world.follow(one, one.upstream, { ...one.follows, ...nat });
    expect(drawn(world.round())).toBe('b<a c<b d<a');
    expect(memberOf(world.look(), d).upstream?.by).toBe('process');
  });
});

describe('what nobody watches', () => {
  test('replicas are members, base backups and archivers of WAL are not', () => {
    const world = new World();
    const a = world.add('a');
    world.standby('b', a);
    a.strangers = [
      row('reporting', '10.0.7.7', '0/3000000'),
      { ...row('pg_basebackup', '10.0.7.8', null), state: 'backup' },
      { ...row('pg_basebackup', '10.0.7.8', '0/3000000') },
      { ...row('pg_receivewal', '10.0.7.9', '0/3000000'), replayLsn: null },
      { ...row('archive', '10.0.7.9', '0/3000000'), replayLsn: null },
      { ...row('walreceiver', '10.0.7.10', '0/3000000'), slotName: 'far' },
      { ...row('events', '10.0.7.11', '0/3000000'), slotName: 'events', slotType: 'logical' },
    ];
    const cluster = world.round();
    expect(cluster.members.map(({ id, role }) => [id, role])).toEqual([
      [`${a.id}>walreceiver@10.0.7.10/far`, 'replica'],
      [a.id, 'primary'],
      ['2/main', 'replica'],
      [`${a.id}>events@10.0.7.11/events`, 'subscriber'],
      [`${a.id}>reporting@10.0.7.7`, 'replica'],
    ]);
    expect(memberOf(cluster, a).slotUsers).toEqual(
      new Map([
        ['far', `${a.id}>walreceiver@10.0.7.10/far`],
        ['events', `${a.id}>events@10.0.7.11/events`],
      ]),
    );
    expect(memberOf(cluster, `${a.id}>reporting@10.0.7.7`)).toMatchObject({
      root: a.id,
      seenBy: { upstream: a.id, replica: 1 },
      sighting: undefined,
    });
  });

  test('one in the middle of a chain', () => {
    const world = new World();
    const a = world.add('a');
    const relay = world.standby('relay', a, {}, { addresses: ['10.0.8.8'] });
    const c = world.standby('c', relay);
    world.round();
    relay.agent = false;
    relay.sighting = undefined;
    world.memory = {};
    const cluster = world.round();
    const id = `${a.id}>walreceiver@10.0.8.8`;
    expect(memberOf(cluster, c)).toMatchObject({ upstream: { id, by: 'address', connected: true }, root: a.id });
    expect(cluster.primary.certainty).toBe('sure');
  });

  test('two that look alike have a name each', () => {
    const world = new World();
    const a = world.add('a');
    a.strangers = [row('x', null, '0/3000000'), row('x', null, '0/3000000')];
    expect(world.round().members.map(({ id }) => id)).toEqual([a.id, `${a.id}>x@socket`, `${a.id}>x@socket#2`]);
  });
});
