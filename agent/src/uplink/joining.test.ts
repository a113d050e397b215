import { layoutHash, type Layout } from '@tidemark/protocol';
import { createLog, systemClock, type Clock } from '@tidemark/service';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MemorySpool } from '../spool/memory-spool.ts';
import { Destination } from './destination.ts';
import type { Joined, Joining } from './join.ts';
import { acknowledge, answer, refuse, startTestingCollector, type TestingCollector } from './testing.ts';
import { Uplink, type UplinkOptions, type UplinkState } from './uplink.ts';

const BOOT = '11111111-1111-4111-8111-111111111111';
const AGENT = JSON.stringify({ version: '1', intervalSeconds: 1 });
const CLAIM = { reason: 'new', machineCode: 'ABCD-0123', approveCommand: 'tidemark-collector nodes approve db', consoleUrl: '' } as const;
const PENDING: Joined = { kind: 'pending', name: 'db', claim: CLAIM };
const series = [{ name: 'm', labels: [], unit: '', type: 'gauge' as const, help: 'h' }];
const LAYOUT: Layout = { hash: layoutHash({ probe: 'test', instance: '', series }), probe: 'test', instance: '', series };

let collector: TestingCollector;
let spool: MemorySpool;
let uplink: Uplink | undefined;
let sequence = 0;
let extraMs = 0;
const clock: Clock = { wallMs: () => Date.now(), monotonicMs: () => performance.now() + extraMs };

beforeEach(async () => {
  collector = await startTestingCollector();
  spool = new MemorySpool({ sizeBytesMax: 1e9, ageMsMax: 1e9 }, systemClock);
  sequence = 0;
});
afterEach(async () => {
  await uplink?.stop(0);
  uplink = undefined;
  await collector.shut().catch(() => undefined);
});

function start(changes: Partial<UplinkOptions> = {}): Uplink {
  uplink = new Uplink({
    server: collector.url,
    token: () => 'tma_secret',
    bootId: BOOT,
    describeAgent: () => AGENT,
    spool,
    clock,
    random: () => 0,
    log: createLog('test', 'silent'),
    backoff: { baseMs: 20, maxMs: 100 },
    ...changes,
  });
  uplink.start();
  return uplink;
}
function put(): void {
  sequence++;
  const json = JSON.stringify({
    bootId: BOOT,
    sequence,
    takenAt: Date.now(),
    monotonicMs: sequence,
    blocks: [{ layout: LAYOUT.hash, values: [1] }],
  });
  void spool.append({ bootId: BOOT, sequence, takenAt: Date.now(), json, layouts: [LAYOUT] });
  uplink?.reportSpooled();
}
async function until(check: (state: UplinkState) => boolean): Promise<UplinkState> {
  for (;;) {
    const state = uplink!.state();
    if (check(state)) return state;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
/** Time passes, and a report comes, which is when the uplink looks at the clock. */
function later(ms: number): void {
  extraMs += ms;
  put();
}
/** Answers in turn, the last one for ever; `asked` counts. */
function joiner(first: boolean, ...answers: Joined[]): Joining & { asked: number } {
  const joining = {
    first,
    asked: 0,
    ask: (): Promise<Joined> => Promise.resolve(answers[Math.min(joining.asked++, answers.length - 1)]!),
  };
  return joining;
}

describe('joining', () => {
  test('before the first report; while a person has to decide, the report is tried every ten seconds, and nothing is asked twice', async () => {
    const joining = joiner(true, PENDING);
    collector.always(refuse('node_pending'));
    let changes = 0;
    start({ joining, onChange: () => void changes++ });
    put();
    const state = await until(({ phase }) => phase === 'node_pending');
    expect(state).toMatchObject({
      claim: CLAIM,
      detail: '"db" (machine ABCD-0123) waits to be approved; on the collector: tidemark-collector nodes approve db',
    });
    expect(collector.requests).toEqual([]);
    later(9_000);
    await until(() => changes === 2);
    later(9_000);
    await until(() => changes === 3);
    expect(collector.requests).toHaveLength(2);
    collector.always((request, response) => {
      for (const { bootId, sequence: number } of request.body.reports) collector.committed.push(`${bootId} ${number}`);
      answer(200, acknowledge(request))(request, response);
    });
    later(9_000);
    await until(({ phase }) => phase === 'connected');
    await until(() => spool.state().reports === 0);
    expect(new Set(collector.committed).size).toBe(4);
    expect(uplink!.state().claim).toBeUndefined();
    expect(joining.asked).toBe(1);
  });

  test('a collector that cannot be asked is asked again, and then gets the reports', async () => {
    const joining = joiner(true, { kind: 'trouble', detail: 'away' }, { kind: 'approved', name: 'db' });
    start({ joining });
    put();
    await until(({ phase }) => phase === 'connected');
    expect(joining.asked).toBe(2);
  });

  test('a secret that is not known leads to it, at most every ten minutes', async () => {
    const joining = joiner(false, { kind: 'refused', code: 'enrollment_token_needed', detail: 'a token is needed' });
    collector.always(refuse('credential_unknown'));
    start({ joining });
    put();
    expect(await until(({ phase }) => phase !== 'starting')).toMatchObject({ phase: 'rejected', detail: 'a token is needed' });
    later(61_000);
    await collector.received(2);
    await until(({ phase }) => phase === 'credential_unknown');
    expect(joining.asked).toBe(1);
    later(600_000);
    await until(() => joining.asked === 2);
  });

  test('of one that waits it is asked once how it is approved', async () => {
    const joining = joiner(false, PENDING);
    collector.always(refuse('node_pending'));
    let changes = 0;
    start({ joining, onChange: () => void changes++ });
    put();
    expect(await until(({ phase }) => phase === 'node_pending')).toMatchObject({ claim: CLAIM });
    later(11_000);
    await until(() => changes === 2);
    expect(collector.requests).toHaveLength(2);
    expect(joining.asked).toBe(1);
  });

  test('a collector that knows no enrolment: what it says of the reports is said, and asked again with them', async () => {
    const joining = joiner(false, { kind: 'trouble', detail: 'too old' });
    collector.always(refuse('credential_unknown'));
    start({ joining });
    put();
    await until(({ phase }) => phase === 'credential_unknown');
    later(61_000);
    await collector.received(2);
    expect(joining.asked).toBe(1);
  });

  test('revoked is said as that', async () => {
    start({ joining: joiner(true, { kind: 'refused', code: 'node_revoked', detail: 'gone' }) });
    put();
    expect(await until(({ phase }) => phase !== 'starting')).toMatchObject({ phase: 'node_revoked', detail: 'gone' });
  });
});

describe('a collector that moves', () => {
  let next: TestingCollector;
  const moved: string[] = [];
  beforeEach(async () => {
    next = await startTestingCollector();
    moved.length = 0;
    collector.always((request, response) => answer(200, acknowledge(request, { newAddress: next.url.href }))(request, response));
    return () => next.shut().catch(() => undefined);
  });
  const onMoved = (to: URL): void => void moved.push(to.href);

  test('is followed after a request without reports was answered, and for good once a report was confirmed', async () => {
    start({ onMoved });
    put();
    await next.received(1);
    expect(next.requests[0]!.sequences).toEqual([]);
    expect(next.requests[0]!.headers.authorization).toBe('Bearer tma_secret');
    put();
    await next.received(2);
    await until(() => moved.length > 0);
    expect(moved).toEqual([next.url.href]);
    expect(uplink!.state()).toMatchObject({ server: next.url.href, newAddress: undefined, phase: 'connected' });
    const asked = collector.requests.length;
    put();
    await next.received(3);
    expect(collector.requests).toHaveLength(asked);
  });

  test('is not followed to one that refuses; that is said, and tried again after a minute', async () => {
    next.next(refuse('credential_unknown'));
    start({ onMoved });
    put();
    const state = await until(({ moveTrouble }) => moveTrouble !== undefined);
    expect(state).toMatchObject({ phase: 'connected', newAddress: next.url.href, server: collector.url.href });
    expect(state.moveTrouble).toContain('credential_unknown');
    put();
    await collector.received(2);
    expect(next.requests).toHaveLength(1);
    later(61_000);
    await next.received(2);
    put();
    await until(() => moved.length === 1);
    expect(uplink!.state().moveTrouble).toBeUndefined();
  });

  test('one that stops before it has confirmed a report is left again, and nothing is lost', async () => {
    next.next((request, response) => answer(200, acknowledge(request))(request, response), refuse('database_away'));
    start({ onMoved });
    put();
    await next.received(1);
    put();
    await next.received(2);
    const state = await until(({ moveTrouble }) => moveTrouble !== undefined);
    expect(state.server).toBe(collector.url.href);
    await until(() => spool.state().reports === 0);
    expect(spool.state().lost).toBe(0);
    expect(moved).toEqual([]);
    expect(collector.requests.flatMap(({ sequences }) => sequences)).toContain(2);
  });

  test('never from https to http', () => {
    const destination = new Destination({ server: new URL('https://safe.example/'), log: createLog('test', 'silent') });
    destination.told('https://safe.example');
    expect(destination.newAddress, 'where it is already').toBeUndefined();
    destination.told('http://plain.example/');
    expect(destination.moveTrouble).toMatch(/not encrypted/);
    expect(destination.trialDue(0)).toBe(false);
    destination.told('https://other.example/');
    expect(destination.trialDue(0)).toBe(true);
    destination.close();
  });

  test('two that name each other send nobody in circles', async () => {
    next.always((request, response) => answer(200, acknowledge(request, { newAddress: collector.url.href }))(request, response));
    start({ onMoved });
    for (let i = 0; i < 5; i++) {
      put();
      await until(() => spool.state().reports === 0);
    }
    const state = await until(({ moveTrouble }) => moveTrouble !== undefined);
    expect(state).toMatchObject({ server: next.url.href, newAddress: collector.url.href });
    expect(state.moveTrouble).toContain('two collectors name each other');
    expect(moved).toEqual([next.url.href]);
  });
});
