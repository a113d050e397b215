/** Every story of enrolment on a real database: tokens, approval, clones, rotation, races, restarts, and the database away. */
import { LIMITS, machineCode, type EnrollAnswer, type NodeSummary, type Problem } from '@tidemark/protocol';
import { beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../db/testing.ts';
import { Machine, enrolmentWorld, newSecret, type EnrolmentWorld } from './enrolment-testing.ts';

let base: TestDatabase;
let world: EnrolmentWorld;
beforeEach(async () => {
  base = await createTestDatabase();
  world = await enrolmentWorld(base);
  return () => base.database.close();
});

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** The same collector after a restart, or a second one on the same database. */
const again = (): Promise<EnrolmentWorld> => enrolmentWorld(base, { clock: world.clock });
const uses = async (): Promise<number[]> =>
  (await base.database.query<{ used: number }>('SELECT used FROM enrollments ORDER BY id')).map(({ used }) => used);
const count = async (table: string): Promise<number> =>
  (await base.database.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${table}`))[0]!.n;
const states = async (): Promise<string[]> =>
  (await world.nodes()).map(({ name, state, claim }) => [name, state, ...(claim ? [claim.reason, claim.machineCode] : [])].join(' '));

/** A machine that is a node and has a report on record. */
async function settledNode(name: string, machine = new Machine()): Promise<Machine> {
  expect(await world.verdict(machine, name, { token: (await world.token()).token })).toBe('approved');
  heard(name);
  await world.directory.keepUp();
  return machine;
}

function heard(name: string): void {
  world.directory.agentSeen(world.directory.byName(name)!, { version: '1.0.0', intervalSeconds: 60 });
}

describe('with a token', () => {
  test('a machine is let in once, and reports with a secret that the collector never saw', async () => {
    const { id, token } = await world.token({ site: 'hamburg', tags: { role: 'db' } });
    const machine = new Machine();
    expect(await world.enroll(machine, 'db1', { token })).toEqual({
      state: 'approved',
      node: { name: 'db1', site: 'hamburg' },
      machineCode: machineCode(machine.id),
      reason: null,
      approveCommand: '',
      consoleUrl: '',
    });
    expect(await world.report(machine.secret)).toBe('200 db1');
    expect(await world.nodes()).toMatchObject([{ name: 'db1', site: 'hamburg', tags: { role: 'db' }, state: 'approved', claim: null }]);
    expect(await world.verdict(new Machine(), 'db2', { token })).toBe('enrollment_token_used_up');
    expect((await world.ask('GET', '/api/telemetry/enrollments')).json()).toEqual({
      enrollments: [
        {
          id,
          createdAt: '2026-01-01T00:00:00.000Z',
          expiresAt: '2026-01-02T00:00:00.000Z',
          uses: 1,
          used: 1,
          state: 'used-up',
          site: 'hamburg',
          tags: { role: 'db' },
        },
      ],
    });
  });

  test('a lost answer that is asked for again is given again, and is one use', async () => {
    const { token, id } = await world.token();
    const machine = new Machine();
    const first = await world.enroll(machine, 'db1', { token });
    expect(await world.enroll(machine, 'db1', { token })).toEqual(first);
    world.clock.advance(2 * DAY_MS);
    await world.ask('DELETE', `/api/telemetry/enrollments/${id}`);
    expect(await world.enroll(machine, 'db1', { token }), 'whatever the token is worth by now').toEqual(first);
    expect(await (await again()).enroll(machine, 'db1', { token })).toEqual(first);
    expect(await uses()).toEqual([1]);
    expect(await count('node_tokens')).toBe(1);
  });

  test('a fleet comes with one, of so many uses', async () => {
    const { token } = await world.token({ uses: 5 });
    const verdicts = await Promise.all(Array.from({ length: 9 }, (_, i) => world.verdict(new Machine(), `n${i}`, { token })));
    expect(verdicts.toSorted()).toEqual([...Array<string>(5).fill('approved'), ...Array<string>(4).fill('enrollment_token_used_up')]);
    expect([await uses(), await count('nodes')]).toEqual([[5], 5]);
  });

  test('of two machines that race for one use one wins, on two collectors too', async () => {
    const other = await again();
    for (let round = 0; round < 5; round++) {
      const { token } = await world.token();
      const verdicts = await Promise.all([
        world.verdict(new Machine(), `a${round}`, { token }),
        other.verdict(new Machine(), `b${round}`, { token }),
      ]);
      expect(verdicts.toSorted()).toEqual(['approved', 'enrollment_token_used_up']);
    }
    expect(await count('nodes')).toBe(5);
  });

  test('of two machines that race for one name one has it, and the other is a question', async () => {
    const { token } = await world.token({ uses: 2 });
    const machines = [new Machine(), new Machine()] as const;
    const verdicts = await Promise.all(machines.map((machine) => world.verdict(machine, 'db1', { token })));
    expect(verdicts.toSorted()).toEqual(['approved', 'clone-or-replacement']);
    expect(await uses()).toEqual([1]);
  });

  test('one that has expired, was revoked, is not known or is cut is refused as that, and lets nobody wait', async () => {
    const expired = await world.token({ ttlSeconds: 60 });
    world.clock.advance(60_000);
    expect(await world.verdict(new Machine(), 'n', { token: expired.token })).toBe('enrollment_token_expired');
    const revoked = await world.token();
    expect((await world.ask('DELETE', `/api/telemetry/enrollments/${revoked.id}`)).statusCode).toBe(204);
    expect(await world.verdict(new Machine(), 'n', { token: revoked.token })).toBe('enrollment_token_revoked');
    expect(await world.verdict(new Machine(), 'n', { token: revoked.token.slice(0, -1) })).toBe('enrollment_token_unknown');
    expect(await world.verdict(new Machine(), 'n', { token: 'tma_what-is-that' })).toBe('enrollment_token_unknown');
    expect([await count('nodes'), await count('node_claims')]).toEqual([0, 0]);
    expect((await world.ask('DELETE', '/api/telemetry/enrollments/77')).json<Problem>().code).toBe('enrollment_unknown');
  });

  test('what the agent says of site and tags stands over what the token says', async () => {
    const { token } = await world.token({ uses: 2, site: 'north', tags: { role: 'db', tier: '1' } });
    await world.enroll(new Machine(), 'a', { token, site: 'south', tags: { role: 'web' } });
    await world.enroll(new Machine(), 'b', { token, site: '', tags: {} });
    expect(await world.nodes()).toMatchObject([
      { name: 'a', site: 'south', tags: { role: 'web' } },
      { name: 'b', site: 'north', tags: { role: 'db', tier: '1' } },
    ]);
  });

  test('what was said of a node stays when its machine comes back with a token that says otherwise', async () => {
    const machine = new Machine();
    await world.enroll(machine, 'a', { token: (await world.token({ site: 'north' })).token });
    const { token } = await world.token({ uses: 9, site: 'west', tags: { role: 'db' } });
    await world.enroll(machine.reinstalled(), 'a', { token });
    expect(await world.nodes()).toMatchObject([{ site: 'north', tags: { role: 'db' } }]);
    await world.enroll(machine.reinstalled(), 'a', { token, site: 'south' });
    expect(await world.nodes()).toMatchObject([{ site: 'south', tags: { role: 'db' } }]);
  });

  test('a node that was added by hand and never used is taken by it, once', async () => {
    const added = (await world.ask('POST', '/api/telemetry/nodes', { name: 'db1', site: 'berlin' })).json<{ token: string }>().token;
    const { token } = await world.token({ uses: 2 });
    const machine = new Machine();
    expect(await world.enroll(machine, 'db1', { token })).toMatchObject({ state: 'approved', node: { site: 'berlin' } });
    expect(await world.report(machine.secret)).toBe('200 db1');
    expect(await world.report(added)).toBe('node_revoked');
    expect(await world.verdict(new Machine(), 'db1', { token })).toBe('clone-or-replacement');
  });
});

describe('without a token', () => {
  test('a machine waits, is approved, and reports; the answer says how', async () => {
    const machine = new Machine();
    expect(await world.enroll(machine, 'web 1')).toEqual({
      state: 'pending',
      node: { name: 'web 1', site: '' },
      machineCode: machineCode(machine.id),
      reason: 'new',
      approveCommand: "tidemark-collector nodes approve 'web 1'",
      consoleUrl: '',
    });
    expect(await world.report(machine.secret)).toBe('node_pending');
    expect(await world.nodes()).toMatchObject([
      {
        name: 'web 1',
        state: 'pending',
        claim: {
          reason: 'new',
          machineCode: machineCode(machine.id),
          address: '127.0.0.1',
          askedAt: '2026-01-01T00:00:00.000Z',
          platform: 'linux-x64',
          agentVersion: '1.0.0',
        },
      },
    ]);
    const restarted = await again();
    expect(await restarted.report(machine.secret), 'a restart in between').toBe('node_pending');
    expect(await restarted.step('web 1', 'approve')).toBe('approved');
    expect(await restarted.report(machine.secret)).toBe('200 web 1');
    await world.directory.refresh();
    expect(await world.report(machine.secret)).toBe('200 web 1');
    expect(await world.verdict(machine, 'web 1')).toBe('approved');
    expect(await states()).toEqual(['web 1 approved']);
  });

  test('the policy decides: open lets it in, token refuses it, approve has it wait', async () => {
    const open = await enrolmentWorld(base, { policy: 'open', clock: world.clock });
    const token = await enrolmentWorld(base, { policy: 'token', clock: world.clock });
    const [a, b, c] = [new Machine(), new Machine(), new Machine()];
    expect(await open.verdict(a, 'a')).toBe('approved');
    expect(await open.report(a.secret)).toBe('200 a');
    expect(await token.verdict(b, 'b')).toBe('enrollment_token_needed');
    expect(await token.report(b.secret)).toBe('credential_unknown');
    expect(await world.verdict(c, 'c')).toBe('new');
    expect(await token.verdict(b, 'b', { token: (await token.token()).token })).toBe('approved');
    expect(await open.verdict(c, 'c'), 'one that waits is let in by a policy that was opened').toBe('approved');
  });

  test('one that waits and comes back with a token is let in', async () => {
    const machine = new Machine();
    expect(await world.verdict(machine, 'db1')).toBe('new');
    expect(await world.verdict(machine, 'db1', { token: 'tmen_nonsense' })).toBe('new');
    const { token } = await world.token();
    expect(await world.verdict(machine, 'db1', { token })).toBe('approved');
    expect([await world.report(machine.secret), await uses(), await count('node_claims')]).toEqual(['200 db1', [1], 0]);
  });

  test('one that is denied is told so, and its name is free for another', async () => {
    const [wrong, right] = [new Machine(), new Machine()];
    await world.enroll(wrong, 'db1');
    expect(await world.step('db1', 'deny', { machineCode: 'FFFF-0000' })).toBe('state_conflict');
    expect(await world.step('db1', 'deny', { machineCode: machineCode(wrong.id) })).toBe('retired');
    expect(await world.report(wrong.secret)).toBe('node_revoked');
    expect(await world.enroll(wrong, 'db1')).toMatchObject({
      code: 'node_revoked',
      detail: expect.stringContaining('was not approved') as string,
    });
    expect(await world.verdict(right, 'db1')).toBe('new');
    expect(await world.step('db1', 'approve')).toBe('approved');
    expect([await world.report(right.secret), await world.report(wrong.secret)]).toEqual(['200 db1', 'node_revoked']);
    expect(await world.step('db1', 'deny'), 'nobody asks there').toBe('state_conflict');
  });

  test('one that waits may take another name, when it proves that it is the same', async () => {
    const machine = new Machine();
    await world.enroll(machine, 'localhost');
    expect(await world.enroll(machine, 'db1')).toMatchObject({ node: { name: 'localhost' } });
    expect(await world.enroll(machine, 'db1', {}, machine.secret)).toMatchObject({
      state: 'pending',
      node: { name: 'db1' },
      reason: 'new',
    });
    await settledNode('web1');
    expect(await world.verdict(machine, 'web1', {}, machine.secret)).toBe('clone-or-replacement');
    expect(await states(), 'it leaves nothing behind').toEqual([`web1 approved clone-or-replacement ${machineCode(machine.id)}`]);
    expect(await world.report(machine.secret)).toBe('node_pending');
    expect(await world.verdict(machine, 'db1', {}, machine.secret)).toBe('new');
    expect(await states()).toEqual(['web1 approved', `db1 pending new ${machineCode(machine.id)}`]);
    expect(await count('nodes')).toBe(2);
  });

  test('only so many wait; a token is let in all the same', async () => {
    await base.database.query(
      `INSERT INTO nodes (name, state, created_at, state_changed_at) SELECT 'p' || i, 'pending', now(), now() FROM generate_series(1, $1) i`,
      [LIMITS.pendingNodes],
    );
    expect(await world.verdict(new Machine(), 'n')).toBe('enrollments_full');
    expect(await world.verdict(new Machine(), 'n', { token: (await world.token()).token })).toBe('approved');
  });

  test('one that is not heard of for a week is dropped without a trace; one that goes on trying is not', async () => {
    const [gone, patient, clone] = [new Machine(), new Machine(), new Machine()];
    await settledNode('db1');
    await world.enroll(gone, 'gone');
    await world.enroll(patient, 'patient');
    await world.enroll(clone, 'db1');
    for (let day = 0; day < 8; day++) {
      world.clock.advance(DAY_MS);
      expect(await world.report(patient.secret)).toBe('node_pending');
      // What the directory does every few seconds.
      await world.directory.keepUp();
    }
    expect(await states()).toEqual(['db1 approved', `patient pending new ${machineCode(patient.id)}`]);
    expect(await count('nodes')).toBe(2);
    expect(await world.report(gone.secret)).toBe('credential_unknown');
    expect(await world.verdict(gone, 'gone'), 'it may ask again').toBe('new');
  });

  test('a collector that was away for a month drops nobody before they could be heard', async () => {
    const machine = new Machine();
    await world.enroll(machine, 'n');
    world.clock.advance(30 * DAY_MS);
    const restarted = await again();
    await restarted.directory.keepUp();
    expect(await restarted.report(machine.secret)).toBe('node_pending');
    world.clock.advance(2 * HOUR_MS);
    await restarted.directory.keepUp();
    expect(await restarted.report(machine.secret)).toBe('node_pending');
  });

  test('one that waits and is revoked can still be approved; retired it may ask again', async () => {
    const machine = new Machine();
    await world.enroll(machine, 'n');
    expect(await world.step('n', 'revoke')).toBe('revoked');
    expect(await world.report(machine.secret)).toBe('node_revoked');
    expect(await world.verdict(machine, 'n')).toBe('node_revoked');
    expect(await world.step('n', 'approve')).toBe('approved');
    expect(await world.report(machine.secret)).toBe('200 n');
    const other = new Machine();
    await world.enroll(other, 'm');
    expect(await world.step('m', 'retire')).toBe('retired');
    expect(await world.verdict(other, 'm')).toBe('new');
  });
});

describe('a name that a node has', () => {
  test('the same machine, installed anew, waits while the node goes on; approved, the old secret ends when the new one is used', async () => {
    const machine = await settledNode('db1');
    const anew = machine.reinstalled();
    expect(await world.enroll(anew, 'db1')).toMatchObject({
      state: 'pending',
      reason: 'same-machine',
      approveCommand: `tidemark-collector nodes approve db1 --machine ${machineCode(machine.id)}`,
    });
    expect([await world.report(machine.secret), await world.report(anew.secret)]).toEqual(['200 db1', 'node_pending']);
    expect(await world.step('db1', 'approve')).toBe('approved');
    expect(await world.report(machine.secret), 'until the new one is used').toBe('200 db1');
    const restarted = await again();
    expect(await restarted.report(machine.secret)).toBe('200 db1');
    expect(await restarted.report(anew.secret)).toBe('200 db1');
    expect(await restarted.report(machine.secret)).toBe('node_revoked');
    await restarted.directory.refresh();
    expect(await restarted.report(machine.secret), 'a reading of the store before it knows').toBe('node_revoked');
    await restarted.directory.stop();
    expect(await (await again()).report(machine.secret), 'after a restart').toBe('node_revoked');
  });

  test('the same machine with a token, or an open policy, replaces itself; the old secret ends after a day at the latest', async () => {
    const machine = await settledNode('db1');
    const { token } = await world.token();
    const second = machine.reinstalled();
    expect(await world.verdict(second, 'db1', { token })).toBe('approved');
    expect(await uses()).toEqual([1, 1]);
    world.clock.advance(DAY_MS - 1);
    expect(await world.report(machine.secret)).toBe('200 db1');
    world.clock.advance(1);
    expect(await world.report(machine.secret)).toBe('node_revoked');
    const open = await enrolmentWorld(base, { policy: 'open', clock: world.clock });
    const third = machine.reinstalled();
    expect(await open.verdict(third, 'db1')).toBe('approved');
    expect(await open.report(third.secret)).toBe('200 db1');
    expect(await open.report(second.secret)).toBe('node_revoked');
    expect(await count('nodes'), 'one node all along').toBe(1);
  });

  test('another machine asks, whatever it shows; the use counts when it is approved, and the old machine is told', async () => {
    const old = await settledNode('db1');
    const fresh = new Machine();
    const code = machineCode(fresh.id);
    const { token } = await world.token({ site: 'munich' });
    const open = await enrolmentWorld(base, { policy: 'open', clock: world.clock });
    expect(await open.verdict(fresh, 'db1', { token })).toBe('clone-or-replacement');
    expect(await uses()).toEqual([1, 0]);
    await world.directory.refresh();
    expect([await world.report(old.secret), await world.report(fresh.secret)]).toEqual(['200 db1', 'node_pending']);
    expect(await states()).toEqual([`db1 approved clone-or-replacement ${code}`]);
    expect(await world.step('db1', 'approve'), 'which one has to be said').toBe('state_conflict');
    expect(await world.step('db1', 'approve', { machineCode: machineCode(old.id) })).toBe('state_conflict');
    expect(await world.report(fresh.secret)).toBe('node_pending');
    expect(await world.step('db1', 'approve', { machineCode: code.toLowerCase() })).toBe('approved');
    expect(await world.step('db1', 'approve', { machineCode: code }), 'a click sent twice').toBe('approved');
    expect([await world.report(fresh.secret), await world.report(old.secret)]).toEqual(['200 db1', 'node_revoked']);
    expect(await world.enroll(old, 'db1')).toMatchObject({
      code: 'node_revoked',
      detail: expect.stringContaining('Another machine was approved') as string,
    });
    expect(await uses()).toEqual([1, 1]);
    expect((await world.nodes())[0]).toMatchObject({ site: 'munich' });
    expect(await world.verdict(old.reinstalled(), 'db1', { token: (await world.token()).token })).toBe('clone-or-replacement');
  });

  test('a denied clone is told so; the node goes on, and asks of it are answered no more', async () => {
    const node = await settledNode('db1');
    const clone = new Machine();
    await world.enroll(clone, 'db1');
    expect(await world.step('db1', 'deny')).toBe('approved');
    expect([await world.report(node.secret), await world.report(clone.secret)]).toEqual(['200 db1', 'node_revoked']);
    expect(await world.enroll(clone, 'db1')).toMatchObject({
      code: 'node_revoked',
      detail: expect.stringContaining('was not approved') as string,
    });
    expect(await states()).toEqual(['db1 approved']);
  });

  test('a newer claim replaces an older one, and nobody is swapped under the finger that approves', async () => {
    await settledNode('db1');
    const [first, second] = [new Machine(), new Machine()];
    await world.enroll(first, 'db1');
    await world.enroll(second, 'db1');
    expect(await states()).toEqual([`db1 approved clone-or-replacement ${machineCode(second.id)}`]);
    const answer = await world.ask('POST', '/api/telemetry/nodes/db1/approve', { machineCode: machineCode(first.id) });
    expect(answer.json<Problem>()).toMatchObject({
      code: 'state_conflict',
      detail: expect.stringContaining(machineCode(second.id)) as string,
    });
    expect(await world.report(first.secret)).toBe('credential_unknown');
    expect(await count('node_claims')).toBe(1);
  });

  test('a revoked node stays revoked until a person says which machine is meant', async () => {
    const machine = await settledNode('db1');
    await world.step('db1', 'revoke');
    expect(await world.verdict(machine, 'db1')).toBe('node_revoked');
    const anew = machine.reinstalled();
    expect(await world.verdict(anew, 'db1', { token: (await world.token()).token })).toBe('same-machine');
    expect(await world.report(anew.secret)).toBe('node_pending');
    expect(await world.step('db1', 'approve')).toBe('state_conflict');
    expect(await world.step('db1', 'approve', { machineCode: machineCode(machine.id) })).toBe('approved');
    expect(await world.report(anew.secret)).toBe('200 db1');
  });

  test('a retired name is free', async () => {
    const machine = await settledNode('db1');
    await world.step('db1', 'retire');
    expect(await world.verdict(machine, 'db1')).toBe('node_retired');
    expect(await world.verdict(machine.reinstalled(), 'db1')).toBe('new');
  });

  test('a node that only reported to a collector that is gone is known from the store', async () => {
    const [{ id }] = (await base.database.query<{ id: number }>(
      "INSERT INTO nodes (name, created_at, state_changed_at) VALUES ('old', now(), now()) RETURNING id",
    )) as [{ id: number }];
    await base.database.query(
      'INSERT INTO boots (node_id, boot_id, first_report_at, last_report_at) VALUES ($1, gen_random_uuid(), now(), now())',
      [id],
    );
    expect(await world.verdict(new Machine(), 'old', { token: (await world.token()).token })).toBe('clone-or-replacement');
  });
});

describe('a node that shows its secret', () => {
  test('gets another one, with an overlap that ends when the new one is used', async () => {
    const machine = await settledNode('db1');
    const former = machine.secret;
    machine.secret = newSecret();
    expect(await world.verdict(machine, 'db1', {}, former)).toBe('approved');
    expect(await world.verdict(machine, 'db1', {}, former), 'the answer was lost').toBe('approved');
    expect(await world.report(former)).toBe('200 db1');
    expect(await world.report(machine.secret)).toBe('200 db1');
    expect(await world.report(former)).toBe('node_revoked');
    expect(await world.verdict(machine, 'db1', {}, machine.secret)).toBe('approved');
  });

  test('and is not locked out when it lost the new one on the way: only the use of a new one ends the old one', async () => {
    const machine = await settledNode('db1');
    const former = machine.secret;
    machine.secret = newSecret();
    const lost = machine.secret;
    await world.enroll(machine, 'db1', {}, former);
    world.clock.advance(30 * DAY_MS);
    expect(await world.report(former)).toBe('200 db1');
    machine.secret = newSecret();
    expect(await world.verdict(machine, 'db1', {}, former)).toBe('approved');
    expect(await world.report(machine.secret)).toBe('200 db1');
    expect([await world.report(former), await world.report(lost)]).toEqual(['node_revoked', 'node_revoked']);
  });

  test('however often it loses the new one, the one that it has holds', async () => {
    const machine = await settledNode('db1');
    const former = machine.secret;
    for (let i = 0; i < 60; i++) {
      machine.secret = newSecret();
      expect(await world.verdict(machine, 'db1', {}, former)).toBe('approved');
    }
    expect(await world.report(former)).toBe('200 db1');
    expect(await count('node_tokens')).toBeLessThan(60);
    expect(await world.report(machine.secret)).toBe('200 db1');
    expect(await world.report(former)).toBe('node_revoked');
  });

  test('however often it does, few of its former ones are kept', async () => {
    const machine = await settledNode('db1');
    for (let i = 0; i < 60; i++) {
      const former = machine.secret;
      machine.secret = newSecret();
      expect(await world.verdict(machine, 'db1', {}, former)).toBe('approved');
      expect(await world.report(machine.secret)).toBe('200 db1');
    }
    expect(await count('node_tokens')).toBeLessThan(55);
  });

  test('gets another name when that is free, and is told when it is not', async () => {
    const machine = await settledNode('db1');
    await settledNode('db2');
    expect(await world.enroll(machine, 'db3', {}, machine.secret)).toMatchObject({ state: 'approved', node: { name: 'db3' } });
    expect(await world.report(machine.secret)).toBe('200 db3');
    expect(await world.enroll(machine, 'db2', {}, machine.secret)).toMatchObject({
      code: 'name_taken',
      detail: '"db2" is the name of another node; this one stays "db3".',
    });
    const former = machine.secret;
    machine.secret = newSecret();
    expect(await world.enroll(machine, 'db4', {}, former), 'both at once').toMatchObject({ state: 'approved', node: { name: 'db4' } });
    expect(await world.report(machine.secret)).toBe('200 db4');
  });

  test('on a clone it renames nobody: the clone is told, and asks for itself with a secret of its own', async () => {
    const machine = await settledNode('db1');
    const clone = new Machine();
    clone.secret = machine.secret;
    expect(await world.enroll(clone, 'db2', {}, machine.secret)).toMatchObject({
      code: 'state_conflict',
      detail: expect.stringContaining('cloned') as string,
    });
    clone.secret = newSecret();
    expect(await world.verdict(clone, 'db1', {}, machine.secret)).toBe('clone-or-replacement');
    expect(await world.report(machine.secret)).toBe('200 db1');
  });

  test('teaches its machine to a node that was added by hand', async () => {
    const added = (await world.ask('POST', '/api/telemetry/nodes', { name: 'db1' })).json<{ token: string }>().token;
    heard('db1');
    const machine = new Machine();
    expect(await world.verdict(machine, 'db1', {}, added)).toBe('approved');
    expect(await world.report(machine.secret)).toBe('200 db1');
    expect(await world.verdict(machine.reinstalled(), 'db1')).toBe('same-machine');
  });

  test('that is revoked or made up is worth nothing', async () => {
    const machine = await settledNode('db1');
    await world.step('db1', 'revoke');
    const former = machine.secret;
    machine.secret = newSecret();
    expect(await world.verdict(machine, 'db1', {}, former)).toBe('same-machine');
    expect(await world.verdict(new Machine(), 'n', {}, 'tma_made-up')).toBe('new');
  });
});

test('a token made for a node by hand ends the old one at once, or with an overlap', async () => {
  const machine = await settledNode('db1');
  const make = async (payload?: object): Promise<string> =>
    (await world.ask('POST', '/api/telemetry/nodes/db1/token', payload)).json<{ token: string; node: NodeSummary }>().token;
  const second = await make({ overlapSeconds: 3_600 });
  expect(await world.report(machine.secret)).toBe('200 db1');
  world.clock.advance(HOUR_MS);
  expect(await world.report(machine.secret)).toBe('node_revoked');
  const third = await make({ overlapSeconds: 3_600 });
  expect([await world.report(second), await world.report(third), await world.report(second)]).toEqual([
    '200 db1',
    '200 db1',
    'node_revoked',
  ]);
  const fourth = await make();
  expect([await world.report(third), await world.report(fourth)]).toEqual(['node_revoked', '200 db1']);
  expect((await world.ask('POST', '/api/telemetry/nodes/db1/token', { overlapSeconds: -1 })).json<Problem>().code).toBe('body_invalid');
});

test('while the database is away nobody is let in and nothing is half done', async () => {
  const { token } = await world.token();
  const machine = new Machine();
  await base.stopServer();
  expect(await world.verdict(machine, 'db1', { token })).toBe('database_away');
  expect(await world.report(machine.secret)).toBe('credential_unknown');
  const back = new Promise<void>((resolve) => base.database.onStateChange(({ up }) => up && resolve()));
  await base.startServer();
  await back;
  expect([await count('nodes'), await count('node_tokens'), await uses()]).toEqual([0, 0, [0]]);
  expect(await world.verdict(machine, 'db1', { token })).toBe('approved');
  // The server itself stops and starts meanwhile.
}, 180_000);

test('what fails on the way leaves nothing behind', async () => {
  const { token } = await world.token();
  await base.database.query('ALTER TABLE node_tokens ADD CONSTRAINT never CHECK (false) NOT VALID');
  const answer: EnrollAnswer | Problem = await world.enroll(new Machine(), 'db1', { token });
  expect(answer).toMatchObject({ code: 'internal' });
  expect([await count('nodes'), await uses()]).toEqual([0, [0]]);
});
