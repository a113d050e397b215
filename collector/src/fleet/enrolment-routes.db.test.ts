/** The addresses of enrolment as strangers and administrators meet them: bounds, rates, strings, and what is logged and what never is. */
import { parseEnrolment, type MadeEnrollment, type Problem } from '@tidemark/protocol';
import { pino } from 'pino';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createTestDatabase } from '../db/testing.ts';
import { AGENT_TOKEN } from '../http/testing.ts';
import { Machine, enrolmentWorld, newSecret, type EnrolmentWorld, type EnrolmentWorldOptions } from './enrolment-testing.ts';

async function world(options: EnrolmentWorldOptions = {}): Promise<EnrolmentWorld> {
  const base = await createTestDatabase();
  onTestFinished(() => base.database.close());
  return enrolmentWorld(base, options);
}

const FINGERPRINT = 'ab'.repeat(32);

describe('the string', () => {
  const made = async ({ ask }: EnrolmentWorld, body: object, headers = {}): Promise<string> =>
    (await ask('POST', '/api/telemetry/enrollments', body, headers)).json<MadeEnrollment & Problem>().string;

  test('has the address that was asked for, else the public one with its path, else the one by which the administrator came', async () => {
    const plain = await world();
    expect(parseEnrolment(await made(plain, {}, { host: 'collector.example:5055' }))).toMatchObject({
      url: 'http://collector.example:5055',
      fingerprint: undefined,
    });
    const named = await world({ publicUrl: 'https://watch.example/tidemark/', fingerprint: FINGERPRINT });
    expect(parseEnrolment(await made(named, {}, { host: 'evil.example' }))).toMatchObject({
      url: 'https://watch.example/tidemark',
      fingerprint: FINGERPRINT,
    });
    expect(parseEnrolment(await made(named, { url: 'http://10.0.0.1:5000/' }))).toMatchObject({
      url: 'http://10.0.0.1:5000',
      fingerprint: undefined,
    });
  });

  test('is not made with an address that no agent could read, and no token either', async () => {
    const { ask } = await world();
    for (const url of [
      '',
      'collector',
      'http://',
      'http://a b',
      'http://u@h',
      'http://h?x',
      'http://h#x',
      'javascript:alert(1)',
      'http://h\nx',
      'http://h/$(reboot)',
      `http://h/'`,
      'http://h/"',
      'http://h/`x`',
      'http://h/;x',
      'http://h/&x',
    ])
      expect((await ask('POST', '/api/telemetry/enrollments', { url })).json<Problem>().code, url).toBe('body_invalid');
    expect((await ask('POST', '/api/telemetry/enrollments', {}, { host: 'a"b' })).json<Problem>().code).toBe('body_invalid');
    expect((await ask('GET', '/api/telemetry/enrollments')).json()).toEqual({ enrollments: [] });
  });

  test.each([
    { ttlSeconds: 1 },
    { uses: 0 },
    { uses: 1.5 },
    { site: 'a\u0000' },
    { tags: { '1 bad': 'x' } },
    { tags: { role: 7 } },
    { use: 1 },
  ])('is not made with %j', async (body) => {
    const { ask } = await world();
    expect((await ask('POST', '/api/telemetry/enrollments', { url: 'http://h', ...body })).json<Problem>().code).toBe('body_invalid');
  });
});

describe('who may', () => {
  test('make, list and end tokens and decide: administrators alone', async () => {
    const { app } = await world();
    const addresses = [
      ['POST', '/api/telemetry/enrollments'],
      ['GET', '/api/telemetry/enrollments'],
      ['DELETE', '/api/telemetry/enrollments/1'],
      ['POST', '/api/telemetry/nodes/n/approve'],
      ['POST', '/api/telemetry/nodes/n/deny'],
    ] as const;
    for (const [method, url] of addresses) {
      expect((await app.inject({ method, url })).statusCode, url).toBe(401);
      expect((await app.inject({ method, url, headers: { authorization: `Bearer ${AGENT_TOKEN}` } })).statusCode, url).toBe(401);
    }
  });

  test('ask: anybody, with what has the form; a stranger learns nothing and fills nothing', async () => {
    const { app } = await world();
    const machine = new Machine();
    const ask = async (payload: object | string, headers = {}): Promise<string> =>
      (await app.inject({ method: 'POST', url: '/api/telemetry/v1/enroll', payload, headers })).json<Partial<Problem>>().code ?? 'answered';
    const good = machine.request('n');
    for (const bad of [
      {},
      { ...good, name: '../etc' },
      { ...good, name: 'a\u0000' },
      { ...good, machine: 'my-machine-id' },
      { ...good, secretHash: machine.secret },
      { ...good, secretHash: `${machine.hash}=` },
      { ...good, version: 7 },
      { ...good, token: '' },
      { ...good, tags: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`t${i}`, ''])) },
    ])
      expect(await ask(bad), JSON.stringify(bad)).toBe('body_invalid');
    expect(await ask({ ...good, padding: 'x'.repeat(70_000) })).toBe('body_too_large');
    expect(await ask('{', { 'content-type': 'application/json' })).toBe('body_malformed');
    expect(
      await ask({ ...good, site: 'a\u0000b', platform: '\u0000', version: '\u0000', tags: { 'odd name': 'x', role: '\u0000' }, later: 1 }),
    ).toBe('answered');
    expect(await ask({ ...good, secretHash: new Machine().hash }, { authorization: 'Basic eA==' })).toBe('answered');
  });

  test('ask: so often a minute, each address for itself, and an administrator is not in the way of it', async () => {
    const { app, ask } = await world();
    const send = async (remoteAddress: string): Promise<string> => {
      const answer = await app.inject({ method: 'POST', url: '/api/telemetry/v1/enroll', payload: {}, remoteAddress });
      if (answer.statusCode === 429) expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
      return answer.json<Problem>().code;
    };
    // Refused by its form already, which costs nothing and so is not counted.
    for (let i = 0; i < 700; i++) if ((await send('10.0.0.1')) === 'rate_limited') throw new Error('what has not the form was counted');
    const machine = new Machine();
    const real = async (remoteAddress: string): Promise<number> =>
      (await app.inject({ method: 'POST', url: '/api/telemetry/v1/enroll', payload: machine.request('n'), remoteAddress })).statusCode;
    const statuses = [];
    for (let i = 0; i < 601; i++) statuses.push(await real('10.0.0.1'));
    expect([statuses.filter((status) => status === 200).length, statuses.at(-1), await real('10.0.0.2')]).toEqual([600, 429, 200]);
    expect((await ask('GET', '/api/telemetry/nodes')).statusCode).toBe(200);
  });
});

test('the log says who asked from where and who was approved, and holds no secret, hash or token', async () => {
  const lines: string[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) });
  const { ask, enroll, token, step, report } = await world({ log });
  const made = await token({ site: 'hamburg' });
  const [machine, clone] = [new Machine(), new Machine()];
  await enroll(machine, 'db1', { token: made.token });
  await enroll(clone, 'db1', { token: made.token });
  const waiting = new Machine();
  await enroll(waiting, 'db1', { token: 'tmen_of-another-collector' });
  await enroll(waiting, 'db2');
  await step('db2', 'approve');
  await step('db1', 'deny');
  const former = machine.secret;
  machine.secret = newSecret();
  await enroll(machine, 'db3', {}, former);
  await report(machine.secret);
  await ask('DELETE', `/api/telemetry/enrollments/${made.id}`);
  const text = lines.join('');
  for (const secret of [made.token, former, machine.secret, machine.hash, clone.secret, clone.hash, machine.id!, 'tmen_', 'tma_'])
    expect(text).not.toContain(secret);
  const said = lines.map(
    (line) => JSON.parse(line) as { msg: string; node?: string; code?: string; address?: string; by?: string; formerName?: string },
  );
  expect(
    said.map(({ msg, node, code, by, formerName }) =>
      [msg, node, code ?? by ?? formerName].filter((part) => part !== undefined).join(' | '),
    ),
  ).toEqual([
    'an enrolment token was made | admin token',
    'a machine joined | db1',
    // The use was spent: refused before it could be a question.
    'a machine asked to join and was refused | db1 | enrollment_token_used_up',
    'a machine asked to join and was refused | db1 | enrollment_token_unknown',
    'a machine asks to join and waits to be approved | db2',
    'a machine was approved | db2 | admin token',
    'a node changed its name or its secret | db3 | db1',
    "the node's new secret is in use; the former one has ended | db3",
    'an enrolment token was revoked | admin token',
  ]);
  expect(said.filter(({ msg }) => msg.startsWith('a machine')).every(({ address }) => address === '127.0.0.1')).toBe(true);
});
