/** Every story of enrolment on a real database: tokens, approval, clones, rotation, races, restarts, and the database away. */
import { beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../db/testing.ts';
import { Machine, enrolmentWorld, type EnrolmentWorld } from './enrolment-testing.ts';

let base: TestDatabase;
let world: EnrolmentWorld;
beforeEach(async () => {
  base = await createTestDatabase();
  world = await enrolmentWorld(base);
  return () => base.database.close();
});

const HOUR_MS = 3_600_000;

describe('with a token', () => {
  test('a machine is let in once, and reports with a secret that the collector never saw', async () => {
    const { id, token } = await world.token({ site: 'hamburg', tags: { role: 'db' } });
    const machine = new Machine();
    expect(await world.enroll(machine, 'db1', { token })).toMatchObject({
      state: 'approved',
      node: { name: 'db1', site: 'hamburg' },
      reason: null,
      approveCommand: '',
    });
    expect(await world.report(machine.secret)).toBe('200 db1');
    expect(await world.nodes()).toMatchObject([{ name: 'db1', site: 'hamburg', tags: { role: 'db' }, state: 'approved', claim: null }]);
    expect(await world.verdict(new Machine(), 'db2', { token })).toBe('enrollment_token_used_up');
    expect((await world.ask('GET', '/api/telemetry/enrollments')).json()).toMatchObject({
      enrollments: [{ id, uses: 1, used: 1, state: 'used-up', site: 'hamburg' }],
    });
  });

  test('a lost answer that is asked for again is given again, and is one use', async () => {
    const { token } = await world.token();
    const machine = new Machine();
    const first = await world.enroll(machine, 'db1', { token });
    expect(await world.enroll(machine, 'db1', { token })).toEqual(first);
    world.clock.advance(48 * HOUR_MS);
    expect(await world.enroll(machine, 'db1', { token })).toEqual(first);
    expect(await base.database.query('SELECT used FROM enrollments')).toEqual([{ used: 1 }]);
  });
});

test('without one a machine waits, is approved, and reports', async () => {
  const machine = new Machine();
  const answer = await world.enroll(machine, 'web 1');
  expect(answer).toMatchObject({
    state: 'pending',
    reason: 'new',
    approveCommand: "tidemark-collector nodes approve 'web 1'",
    consoleUrl: '',
  });
  expect(await world.report(machine.secret)).toBe('node_pending');
  expect(await world.nodes()).toMatchObject([{ name: 'web 1', state: 'pending', claim: { reason: 'new', address: '127.0.0.1', platform: 'linux-x64' } }]);
  expect(await world.step('web 1', 'approve')).toBe('approved');
  expect(await world.report(machine.secret)).toBe('200 web 1');
  expect(await world.verdict(machine, 'web 1')).toBe('approved');
  expect(await world.nodes()).toMatchObject([{ state: 'approved', claim: null }]);
});
