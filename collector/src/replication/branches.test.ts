/** Histories that part, and some that only seem to. */
import type { PostgresReplication } from '@tidemark/protocol';
import { describe, expect, test } from 'vitest';
import { family, memberOf } from './topology-family-testing.ts';

describe('parted histories', () => {
  test('a standby that had more than the one that was promoted', () => {
    const { world, a, b, d } = family();
    world.round();
    world.follow(b, undefined, { via: '10.0.0.1', viaPort: 1 });
    world.write(a, 700);
    world.round();
    world.stop(a);
    world.promote(b);
    world.follow(d, b);
    const cluster = world.round();
    expect(memberOf(cluster, d)).toMatchObject({ upstream: { id: b.id, connected: false }, diverged: { forkLsn: b.recoveryEnd } });
    expect(memberOf(cluster, d).diverged?.why).toBe(
      `d is on timeline 1 and has 700 bytes beyond 0/3000000, where timeline 2, which b writes, began.`,
    );
  });

  test('one promoted by mistake, as a standby again and not rewound', () => {
    const { world, a, d } = family();
    world.round();
    world.promote(d);
    world.write(d);
    world.round();
    world.round();
    world.stop(d);
    world.start(d, { follow: a });
    const cluster = world.round();
    expect(memberOf(cluster, d)).toMatchObject({ role: 'replica', diverged: { forkLsn: d.history[0]!.at } });
    world.stop(d);
    world.rewind(d, a);
    world.start(d, { follow: a });
    expect(memberOf(world.round(), d).diverged).toBeUndefined();
  });

  test('where they part was not seen: it stands still on the old timeline beside a server that it could stream from', () => {
    const { world, a, b } = family();
    const agentsOfOld = [a, b];
    for (const one of agentsOfOld) one.isOld = true;
    world.round();
    world.follow(b, undefined, { via: '10.0.0.1', viaPort: 1 });
    world.write(a, 5_000);
    world.round();
    world.stop(a);
    world.promote(b);
    world.round();
    world.stop(b);
    world.start(b);
    world.start(a, { follow: b });
    for (const one of agentsOfOld) one.isOld = false;
    for (let i = 0; i < 3; i += 1) world.round();
    expect(memberOf(world.look(), a).diverged).toBeUndefined();
    for (let i = 0; i < 5; i += 1) world.round();
    expect(memberOf(world.look(), a).diverged).toMatchObject({ forkLsn: undefined });
  });

  test('a standby that is started without its signal file writes on, on the same timeline', () => {
    const { world, a, d } = family();
    world.round();
    world.stop(d);
    world.round();
    world.start(d);
    d.role = 'primary';
    world.write(d);
    world.round();
    world.round();
    const cluster = world.round();
    expect(memberOf(cluster, d).timeline).toBe(1);
    expect(cluster.splitBrain).toMatchObject({ primaries: [d.id, a.id], forkLsn: undefined });
    world.stop(d);
    world.start(d, { follow: a });
    expect(memberOf(world.round(), d)).toMatchObject({ role: 'replica' });
  });

  test('a server of which only little is understood begins no branch', () => {
    const { world, d } = family();
    world.round();
    world.promote(d);
    const said = world.document.bind(world);
    world.document = (server): PostgresReplication =>
      server === d ? { ...said(server), timeline: null, recoveryEndLsn: null } : said(server);
    world.round();
    expect(world.memory[d.id]).toMatchObject({ lastRole: 'primary', branches: [] });
    world.document = said;
    world.round();
    expect(world.memory[d.id]?.branches).toEqual([{ timeline: 2, forkLsn: '0/3000000', by: d.id }]);
  });

  test('a replica that crashes on the new timeline, of which the control file does not know yet', () => {
    const { world, a, b, c } = family();
    world.round();
    world.stop(a);
    world.promote(b);
    world.write(b, 9_000);
    world.round();
    expect(memberOf(world.look(), c).timeline).toBe(2);
    world.stop(c);
    world.start(c);
    world.follow(c, undefined, { via: '10.0.0.2', viaPort: 1 });
    c.timeline = 1;
    expect(memberOf(world.round(), c).diverged).toBeUndefined();
  });
});
