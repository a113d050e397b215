import { layoutHash, REPORTS_PATH, type Layout } from '@tidemark/protocol';
import { createLog, systemClock, type Clock } from '@tidemark/service';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MemorySpool } from '../spool/memory-spool.ts';
import { acknowledge, answer, refuse, startTestingCollector, type TestingCollector } from './testing.ts';
import { Uplink, type UplinkOptions, type UplinkPhase } from './uplink.ts';

const BOOT = '11111111-1111-4111-8111-111111111111';
const EARLIER = '00000000-0000-4000-8000-000000000000';
const log = createLog('test', 'silent');
const AGENT = JSON.stringify({ version: '1', intervalSeconds: 1 });

function layoutOf(instance: string, helpChars = 5): Layout {
  const layout = {
    probe: 'test',
    instance,
    series: [{ name: 'm', labels: [], unit: '', type: 'gauge' as const, help: 'h'.repeat(helpChars) }],
  };
  return { hash: layoutHash(layout), ...layout };
}
const LAYOUT = layoutOf('one');

let collector: TestingCollector;
let spool: MemorySpool;
let uplink: Uplink | undefined;
let sequence = 0;

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

/** Retries come at once, so that no test waits for a clock; those that are about waiting say so. */
function start(changes: Partial<UplinkOptions> = {}): Uplink {
  uplink = new Uplink({
    server: collector.url,
    token: () => 'tma_secret',
    bootId: BOOT,
    describeAgent: () => AGENT,
    spool,
    clock: systemClock,
    random: () => 0,
    log,
    backoff: { baseMs: 20, maxMs: 100 },
    ...changes,
  });
  uplink.start();
  return uplink;
}
function put(layouts: readonly Layout[] = [LAYOUT], padding = 0, bootId = BOOT): number {
  sequence++;
  const json = JSON.stringify({
    bootId,
    sequence,
    takenAt: Date.now(),
    monotonicMs: sequence,
    blocks: layouts.map(({ hash }) => ({ layout: hash, values: [sequence] })),
    padding: 'x'.repeat(padding),
  });
  void spool.append({ bootId, sequence, takenAt: Date.now(), json, layouts });
  uplink?.reportSpooled();
  return sequence;
}
/** Resolves when the uplink says so; it is told of every change. */
function phases(): { seen: UplinkPhase[]; onChange: () => void; reached: (phase: UplinkPhase) => Promise<void> } {
  const seen: UplinkPhase[] = [];
  const watchers: (() => void)[] = [];
  return {
    seen,
    onChange: () => {
      const { phase } = uplink!.state();
      if (seen.at(-1) !== phase) seen.push(phase);
      for (const watcher of watchers) watcher();
    },
    reached: (phase) =>
      new Promise((resolve) => {
        const watcher = (): void => {
          if (uplink!.state().phase === phase) resolve();
        };
        watchers.push(watcher);
        watcher();
      }),
  };
}
const empty = (): boolean => spool.state().reports === 0;
/** The answer is acted on a little after it was sent: the next request, or this, shows it. */
async function settled(check: () => boolean): Promise<void> {
  while (!check()) await new Promise((resolve) => setTimeout(resolve, 2));
}

describe('a request', () => {
  test('says who sends, with the token, and is committed', async () => {
    start();
    put();
    await collector.received(1);
    const [request] = collector.requests;
    expect(request!.path).toBe(REPORTS_PATH);
    expect(request!.headers).toMatchObject({ authorization: 'Bearer tma_secret', 'content-type': 'application/json' });
    expect(request!.headers['content-encoding']).toBeUndefined();
    expect(request!.body).toMatchObject({
      agent: { version: '1', intervalSeconds: 1 },
      bootId: BOOT,
      layouts: [LAYOUT],
      reports: [{ sequence: 1 }],
    });
    expect(Math.abs(request!.body.sentAt - Date.now())).toBeLessThan(5_000);
    await settled(empty);
    expect(uplink!.state()).toMatchObject({ phase: 'connected', detail: '', node: { name: 'test' } });
    expect(uplink!.state().lastAcknowledgedAt).toBeDefined();
  });

  test('is compressed above the limit', async () => {
    start();
    put([LAYOUT], 5_000);
    await collector.received(1);
    expect(collector.requests[0]!.headers['content-encoding']).toBe('gzip');
    expect(collector.requests[0]!.wireBytes).toBeLessThan(1_000);
    await settled(empty);
  });

  test('goes below the path of the address, without a token when there is none', async () => {
    start({ server: new URL('/tidemark/', collector.url), token: () => undefined });
    put();
    await collector.received(1);
    expect(collector.requests[0]!.path).toBe(`/tidemark${REPORTS_PATH}`);
    expect(collector.requests[0]!.headers.authorization).toBeUndefined();
  });

  test('all go over one connection; one that was closed meanwhile is replaced without a word', async () => {
    const watch = phases();
    start({ onChange: watch.onChange });
    for (let i = 1; i <= 5; i++) {
      put();
      await collector.received(i);
      await settled(empty);
    }
    expect(collector.connections()).toBe(1);
    // As a server does that closes an idle connection at the moment the client writes to it.
    collector.next((_request, response) => void response.socket!.resetAndDestroy());
    put();
    await collector.received(7);
    await settled(empty);
    expect(collector.requests.slice(5).map(({ sequences }) => sequences)).toEqual([[6], [6]]);
    expect(collector.connections()).toBe(2);
    expect(watch.seen).toEqual(['connected']);
  });

  test('layouts go once for each process', async () => {
    start();
    put();
    await collector.received(1);
    await settled(empty);
    const other = layoutOf('two');
    put([LAYOUT, other]);
    await collector.received(2);
    await settled(empty);
    put([LAYOUT, other]);
    await collector.received(3);
    expect(collector.requests.map(({ body }) => body.layouts)).toEqual([[LAYOUT], [other], undefined]);
  });
});

describe('order', () => {
  test('the newest first, then the backlog oldest first, in batches', async () => {
    for (let i = 0; i < 1_200; i++) put();
    start();
    await collector.until(() => collector.committed.length >= 1_200);
    const sent = collector.requests.map(({ sequences }) => sequences);
    expect(sent[0]).toEqual([1_200]);
    expect(sent.slice(1).map((sequences) => sequences.length)).toEqual([500, 500, 199]);
    expect(sent[1]![0]).toBe(1);
    expect(sent.flat().slice(1)).toEqual(
      sent
        .flat()
        .slice(1)
        .toSorted((a, b) => a - b),
    );
    await settled(empty);
  });

  test('a new report interrupts the backlog', async () => {
    for (let i = 0; i < 1_100; i++) put();
    collector.next(
      (request, response) => answer(200, acknowledge(request))(request, response),
      (request, response) => {
        put();
        answer(200, acknowledge(request))(request, response);
      },
    );
    start();
    await collector.received(3);
    expect(collector.requests.map(({ sequences }) => sequences[0])).toEqual([1_100, 1, 1_101]);
    await settled(empty);
  });

  test('batches stay below the size of a request', async () => {
    for (let i = 0; i < 40; i++) put([LAYOUT], 100_000);
    start();
    await collector.until(() => collector.committed.length >= 40);
    expect(Math.max(...collector.requests.map(({ sequences }) => sequences.length))).toBe(10);
  });

  test('reports of an earlier process go as backlog, under their own boot id', async () => {
    put([LAYOUT], 0, EARLIER);
    put([LAYOUT], 0, EARLIER);
    sequence = 0;
    put();
    start();
    await collector.until(() => collector.committed.length >= 3);
    expect(collector.committed).toEqual([`${BOOT} 1`, `${EARLIER} 1`, `${EARLIER} 2`]);
    expect(collector.requests.every(({ body }) => body.bootId === BOOT)).toBe(true);
  });
});

describe('the database is away', () => {
  test('202: nothing is dropped, new reports go on at once, the backlog waits as told', async () => {
    const notStored = (retryAfterSeconds: number) => ({
      committed: [],
      notStored: { code: 'database_away', detail: 'gone' },
      retryAfterSeconds,
    });
    let away = true;
    collector.always((request, response) => {
      if (away) return answer(202, acknowledge(request, notStored(0.3)))(request, response);
      for (const { bootId, sequence: number } of request.body.reports) collector.committed.push(`${bootId} ${number}`);
      answer(200, acknowledge(request))(request, response);
    });
    const watch = phases();
    start({ onChange: watch.onChange });
    put();
    await collector.received(1);
    await watch.reached('not_stored');
    expect(uplink!.state()).toMatchObject({ detail: 'gone (database_away)' });
    expect(spool.state()).toMatchObject({ reports: 1, lost: 0 });
    const startedMs = performance.now();
    put();
    await collector.received(2);
    put();
    await collector.received(3);
    expect(performance.now() - startedMs).toBeLessThan(250);
    expect(collector.requests.map(({ sequences }) => sequences)).toEqual([[1], [2], [3]]);
    away = false;
    await collector.until(() => collector.committed.length >= 3);
    expect(collector.requests.at(-1)!.sequences).toEqual([1, 2, 3]);
    expect(collector.requests.at(-1)!.atMs - collector.requests[2]!.atMs).toBeGreaterThan(290);
    await settled(empty);
    expect(spool.state().lost).toBe(0);
  });

  test('only what is committed is dropped', async () => {
    for (let i = 0; i < 3; i++) put();
    collector.next(
      (request, response) => answer(200, acknowledge(request))(request, response),
      (request, response) =>
        answer(
          202,
          acknowledge(request, { committed: [{ bootId: BOOT, sequences: [2] }], notStored: { code: 'overloaded', detail: 'busy' } }),
        )(request, response),
    );
    start();
    await collector.received(3);
    expect(collector.requests[2]!.sequences).toEqual([1]);
  });

  test('an answer that neither commits nor says why makes no busy loop', async () => {
    collector.always((request, response) => answer(200, acknowledge(request, { committed: [] }))(request, response));
    start({ backoff: { baseMs: 100, maxMs: 100 }, random: () => 1 });
    put();
    await collector.received(4);
    const gaps = collector.requests.slice(1).map(({ atMs }, i) => atMs - collector.requests[i]!.atMs);
    expect(Math.min(...gaps)).toBeGreaterThan(90);
    expect(spool.state()).toMatchObject({ reports: 1, lost: 0 });
  });
});

describe('no answer', () => {
  test('nothing listens: the reports wait, and go once something does', async () => {
    await collector.shut();
    const watch = phases();
    start({ onChange: watch.onChange });
    put();
    await watch.reached('unreachable');
    expect(uplink!.state().detail).toBe(`nothing accepts connections at ${collector.url.host}`);
    put();
    await collector.reopen();
    await collector.until(() => collector.committed.length >= 2);
    expect(collector.requests[0]!.sequences).toEqual([2]);
    await settled(empty);
    expect(watch.seen).toEqual(['unreachable', 'connected']);
  });

  test('hangs: given up after its time, tried again', async () => {
    collector.next(() => undefined);
    start({ timeouts: { connectMs: 1_000, answerMs: 100 } });
    put();
    await collector.received(2);
    expect(collector.requests[1]!.sequences).toEqual([1]);
    await settled(empty);
  });

  test('half an answer, then nothing: the same', async () => {
    collector.next((_request, response) => {
      response.writeHead(200, { 'content-length': '1000' });
      response.write('{"committed":[');
    });
    start({ timeouts: { connectMs: 1_000, answerMs: 100 } });
    put();
    await collector.received(2);
    await settled(empty);
    expect(collector.committed).toEqual([`${BOOT} 1`]);
  });

  test('reset in the middle: tried again', async () => {
    const watch = phases();
    collector.next((_request, response) => void response.socket!.resetAndDestroy());
    start({ onChange: watch.onChange });
    put();
    await collector.received(2);
    await settled(empty);
    expect(watch.seen).toEqual(['unreachable', 'connected']);
  });

  test('a server error: waits, longer each time, with jitter from the given source', async () => {
    collector.next(refuse('internal'), refuse('internal'), refuse('internal'));
    const draws: number[] = [];
    start({
      backoff: { baseMs: 100, maxMs: 10_000 },
      random: () => {
        draws.push(0.5);
        return 0.5;
      },
    });
    put();
    await collector.received(4);
    const gaps = collector.requests.slice(1).map(({ atMs }, i) => atMs - collector.requests[i]!.atMs);
    expect(draws).toHaveLength(3);
    [55, 110, 220].forEach((wanted, i) => {
      expect(gaps[i]).toBeGreaterThan(wanted * 0.9);
      expect(gaps[i]).toBeLessThan(wanted + 90);
    });
    await settled(empty);
  });

  test.each([
    ['429 rate_limited', () => refuse('rate_limited', { 'retry-after': '1' }), 'throttled'],
    ['503 shutting_down', () => refuse('shutting_down', { 'retry-after': '1' }), 'unreachable'],
    ['503 of a balancer', () => answer(503, '<html>', { 'retry-after': '1', 'content-type': 'text/html' }), 'unreachable'],
  ] as const)('%s: Retry-After is honoured, also by new reports', async (_name, script, phase) => {
    const watch = phases();
    collector.next(script());
    start({ onChange: watch.onChange });
    put();
    await watch.reached(phase);
    put();
    await collector.received(2);
    expect(collector.requests[1]!.atMs - collector.requests[0]!.atMs).toBeGreaterThan(990);
    expect(collector.requests[1]!.sequences).toEqual([2]);
    await settled(empty);
  });
});

describe('answers that are none', () => {
  test.each([
    ['text', 'hello'],
    ['no JSON', '{"committed":'],
    ['a list', '[]'],
    ['null', 'null'],
    ['no committed', '{}'],
    ['committed of another form', '{"committed":[1]}'],
    ['a page', '<html>Sign in to the guest network</html>'],
  ])('200 with %s: nothing is dropped, tried again', async (_name, body) => {
    const watch = phases();
    collector.next(answer(200, body));
    start({ onChange: watch.onChange });
    put();
    await collector.received(2);
    await settled(empty);
    expect(watch.seen).toEqual(['misdirected', 'connected']);
    expect(spool.state().lost).toBe(0);
  });

  test('odd fields are ignored, unknown ones too', async () => {
    collector.next((request, response) =>
      answer(200, {
        ...acknowledge(request),
        serverTime: 'noon',
        node: 7,
        refused: 'none',
        layoutsMissing: { a: 1 },
        retryAfterSeconds: -5,
        newAddress: 'javascript:alert(1)',
        somethingNew: { __proto__: { x: 1 } },
        committed: [...acknowledge(request).committed, { bootId: 'x', sequences: ['1', null, -1, 1.5] }],
      })(request, response),
    );
    start();
    put();
    await collector.received(1);
    await settled(empty);
    expect(uplink!.state()).toMatchObject({ phase: 'connected', node: undefined, newAddress: undefined, clockOffsetMs: undefined });
  });

  test('an answer without end is cut off', async () => {
    collector.next((_request, response) => {
      response.writeHead(200);
      const more = (): void => {
        while (!response.destroyed && response.write('x'.repeat(65_536)));
      };
      response.on('drain', more).on('error', () => undefined);
      more();
    });
    start();
    put();
    await collector.received(2);
    await settled(empty);
    expect(collector.committed).toEqual([`${BOOT} 1`]);
  });

  test.each([
    ['a redirect', answer(308, '', { location: 'https://elsewhere/' }), 'https://elsewhere/'],
    ['not found', answer(404, 'nothing here'), 'there is no collector at'],
    ['another 403', answer(403, '<html>proxy</html>'), 'HTTP status 403'],
  ])('%s: said, nothing dropped, retried slowly', async (_name, script, sentence) => {
    const watch = phases();
    collector.always(script);
    start({ onChange: watch.onChange });
    put();
    await collector.received(1);
    await settled(() => watch.seen.length > 0);
    expect(uplink!.state().detail).toContain(sentence);
    put();
    expect(spool.state()).toMatchObject({ reports: 2, lost: 0 });
    expect(collector.requests).toHaveLength(1);
  });

  test('a new address is passed on', async () => {
    collector.next((request, response) => answer(200, acknowledge(request, { newAddress: 'https://new.example' }))(request, response));
    start();
    put();
    await settled(empty);
    expect(uplink!.state().newAddress).toBe('https://new.example/');
  });
});

describe('credentials', () => {
  /** A clock on which a minute passes when told. */
  function steppingClock(): Clock & { step: (ms: number) => void } {
    let extra = 0;
    return { wallMs: () => Date.now(), monotonicMs: () => performance.now() + extra, step: (ms) => void (extra += ms) };
  }

  test.each([
    ['credential_missing', 60],
    ['credential_unknown', 60],
    ['node_pending', 10],
    ['node_revoked', 60],
    ['node_retired', 60],
  ] as const)('%s: a state of its own, the spool is kept, tried again after %i s, or a quarter less', async (code, seconds) => {
    const clock = steppingClock();
    const watch = phases();
    collector.next(refuse(code));
    start({ onChange: watch.onChange, clock, token: () => 'old' });
    put();
    await watch.reached(code);
    put();
    expect(spool.state()).toMatchObject({ reports: 2, lost: 0 });
    clock.step(seconds * 750 - 1_000);
    put();
    // Were it on its way, it would be here before a connection made now.
    await fetch(new URL('/probe', collector.url), { method: 'POST', body: '{"reports":[]}' });
    expect(collector.requests.map(({ path }) => path)).toEqual([REPORTS_PATH, '/probe']);
    clock.step(2_000);
    put();
    await collector.until(() => collector.committed.length >= 4);
    await settled(empty);
  });

  test('another token is taken up at the next report', async () => {
    const watch = phases();
    let token = 'old';
    collector.next(refuse('credential_unknown'));
    start({ onChange: watch.onChange, token: () => token });
    put();
    await watch.reached('credential_unknown');
    token = 'new';
    put();
    await collector.until(() => collector.committed.length >= 2);
    expect(collector.requests.map(({ headers }) => headers.authorization)).toEqual(['Bearer old', 'Bearer new', 'Bearer new']);
    await settled(empty);
  });
});

describe('a disk that cannot be read just now', () => {
  test('nothing is given up; read and sent later', async () => {
    const watch = phases();
    const read = spool.read.bind(spool);
    let short = true;
    spool.read = (reports) => (short ? Promise.reject(Object.assign(new Error('too many open files'), { code: 'EMFILE' })) : read(reports));
    start({ onChange: watch.onChange });
    put();
    await watch.reached('unreachable');
    expect(uplink!.state().detail).toBe('reports cannot be read from disk just now: too many open files');
    short = false;
    await settled(empty);
    expect(collector.committed).toEqual([`${BOOT} 1`]);
    expect(spool.state().lost).toBe(0);
  });
});

describe('refusals', () => {
  test('a refused report is dropped and counted, the others are kept', async () => {
    for (let i = 0; i < 3; i++) put();
    collector.next(
      (request, response) => answer(200, acknowledge(request))(request, response),
      (request, response) =>
        answer(
          200,
          acknowledge(request, {
            committed: [{ bootId: BOOT, sequences: [2] }],
            refused: [{ bootId: BOOT, sequence: 1, code: 'time_absurd', detail: 'long ago' }],
          }),
        )(request, response),
    );
    start();
    await settled(empty);
    expect(spool.state().lost).toBe(1);
  });

  test('413: smaller and smaller requests, until all is through', async () => {
    for (let i = 0; i < 40; i++) put([LAYOUT], 2_000);
    collector.always((request, response) => {
      if (JSON.stringify(request.body).length > 12_000) return refuse('body_too_large')(request, response);
      for (const { bootId, sequence: number } of request.body.reports) collector.committed.push(`${bootId} ${number}`);
      answer(200, acknowledge(request))(request, response);
    });
    start();
    await collector.until(() => collector.committed.length >= 40);
    expect(new Set(collector.committed).size).toBe(40);
    expect(spool.state().lost).toBe(0);
    expect(Math.max(...collector.requests.slice(-5).map(({ sequences }) => sequences.length))).toBeLessThan(6);
  });

  test('413 of a proxy for layouts and report together: the layouts go ahead', async () => {
    const layouts = Array.from({ length: 20 }, (_, i) => layoutOf(`l${i}`, 400));
    collector.always((request, response) => {
      if (JSON.stringify(request.body).length > 6_000) return answer(413, 'too large')(request, response);
      for (const { bootId, sequence: number } of request.body.reports) collector.committed.push(`${bootId} ${number}`);
      answer(200, acknowledge(request))(request, response);
    });
    start();
    put(layouts);
    await collector.until(() => collector.committed.length >= 1);
    const accepted = collector.requests.filter(({ body }) => JSON.stringify(body).length <= 6_000);
    expect(new Set(accepted.flatMap(({ body }) => body.layouts ?? []).map(({ instance }) => instance)).size).toBe(20);
    expect(spool.state().lost).toBe(0);
  });

  test('one report that alone is too large is given up and counted; the others go', async () => {
    put([LAYOUT]);
    put([LAYOUT], 50_000);
    put([LAYOUT]);
    collector.always((request, response) => {
      if (JSON.stringify(request.body).length > 20_000) return refuse('body_too_large')(request, response);
      for (const { bootId, sequence: number } of request.body.reports) collector.committed.push(`${bootId} ${number}`);
      answer(200, acknowledge(request))(request, response);
    });
    start();
    await settled(empty);
    expect(collector.committed.toSorted()).toEqual([`${BOOT} 1`, `${BOOT} 3`]);
    expect(spool.state().lost).toBe(1);
  });

  test('one poisonous report among many is found and given up; no other is lost', async () => {
    for (let i = 0; i < 60; i++) put();
    collector.always((request, response) => {
      if (request.sequences.includes(37)) return refuse('body_invalid')(request, response);
      for (const { bootId, sequence: number } of request.body.reports) collector.committed.push(`${bootId} ${number}`);
      answer(200, acknowledge(request))(request, response);
    });
    start();
    await settled(empty);
    expect(spool.state().lost).toBe(1);
    expect(new Set(collector.committed).size).toBe(59);
    expect(collector.requests.length).toBeLessThan(25);
  });

  test('a collector that accepts nothing from this agent costs no report', async () => {
    const watch = phases();
    collector.always(refuse('body_invalid'));
    start({ onChange: watch.onChange });
    put();
    await watch.reached('rejected');
    expect(spool.state()).toMatchObject({ reports: 1, lost: 0 });
  });
});

describe('layouts', () => {
  test('asked for: sent along, at once and first', async () => {
    put();
    start();
    await collector.received(1);
    await settled(empty);
    collector.next((request, response) =>
      answer(200, acknowledge(request, { committed: [], layoutsMissing: [LAYOUT.hash] }))(request, response),
    );
    put();
    put();
    await collector.received(3);
    expect(collector.requests.slice(1).map(({ sequences, body }) => [sequences, body.layouts?.length])).toEqual([
      [[3], undefined],
      [[3], 1],
    ]);
    await settled(empty);
  });

  test('of a backlog whose layouts nobody told: asked for and sent', async () => {
    const old = layoutOf('old');
    put([old], 0, EARLIER);
    await spool.append({
      bootId: BOOT,
      sequence: 1,
      takenAt: 1,
      json: JSON.stringify({ bootId: BOOT, sequence: 1, takenAt: 1, monotonicMs: 1, blocks: [] }),
      layouts: [],
    });
    // As after a restart.
    const oldest = spool.oldest.bind(spool);
    spool.oldest = (count, size) => oldest(count, size).map((report) => ({ ...report, layouts: undefined }));
    const known = new Set<string>();
    collector.always((request, response) => {
      for (const { hash } of request.body.layouts ?? []) known.add(hash);
      const storable = request.body.reports.filter(({ blocks }) => blocks.every(({ layout }) => known.has(layout)));
      const missing = request.body.reports.flatMap(({ blocks }) => blocks.map(({ layout }) => layout)).filter((hash) => !known.has(hash));
      answer(
        200,
        acknowledge(request, {
          committed: storable.map((report) => ({ bootId: report.bootId, sequences: [report.sequence] })),
          layoutsMissing: missing,
        }),
      )(request, response);
    });
    start();
    await settled(empty);
    expect(spool.state().lost).toBe(0);
    expect([...known]).toEqual([old.hash]);
  });

  test('lost to damage: the reports that follow it are given up and counted, the others go', async () => {
    const gone = layoutOf('gone');
    put([gone]);
    put();
    spool.layout = (hash) => Promise.resolve(hash === gone.hash ? undefined : Buffer.from(JSON.stringify(LAYOUT)));
    collector.always((request, response) => {
      const follows = (hash: string) => request.body.reports.filter(({ blocks }) => blocks.some(({ layout }) => layout === hash));
      const fine = request.body.reports.filter((report) => !follows(gone.hash).includes(report));
      answer(
        200,
        acknowledge(request, {
          committed: fine.map((report) => ({ bootId: report.bootId, sequences: [report.sequence] })),
          layoutsMissing: follows(gone.hash).length > 0 ? [gone.hash] : [],
        }),
      )(request, response);
    });
    start();
    await settled(empty);
    expect(spool.state().lost).toBe(1);
  });

  test('sent and asked for again and again: given up in the end, not forever', async () => {
    put();
    collector.always((request, response) =>
      answer(200, acknowledge(request, { committed: [], layoutsMissing: [LAYOUT.hash] }))(request, response),
    );
    start({ backoff: { baseMs: 1, maxMs: 2 } });
    await settled(empty);
    expect(spool.state().lost).toBe(1);
    expect(collector.requests.length).toBeLessThan(15);
  });
});

describe('the clock', () => {
  test('its offset is measured, and follows a wall clock that is set', async () => {
    let aheadMs = 3_600_000;
    const clock: Clock = { wallMs: () => Date.now() + aheadMs, monotonicMs: () => performance.now() };
    start({ clock });
    put();
    await settled(empty);
    expect(Math.abs(uplink!.clockOffsetMs()! - 3_600_000)).toBeLessThan(500);
    aheadMs = 0;
    expect(Math.abs(uplink!.clockOffsetMs()!)).toBeLessThan(500);
  });
});

describe('stopping', () => {
  test('sends what waits, within its time', async () => {
    const one = start();
    for (let i = 0; i < 700; i++) put();
    await one.stop(5_000);
    expect(empty()).toBe(true);
  });

  test('does not wait for a collector that is away', async () => {
    await collector.shut();
    const watch = phases();
    const one = start({ onChange: watch.onChange, backoff: { baseMs: 60_000, maxMs: 60_000 } });
    put();
    await watch.reached('unreachable');
    const startedMs = performance.now();
    await one.stop(2_000);
    expect(performance.now() - startedMs).toBeLessThan(500);
    expect(spool.state()).toMatchObject({ reports: 1, lost: 0 });
  });

  test('cuts off a collector that hangs', async () => {
    collector.always(() => undefined);
    const one = start();
    put();
    await collector.received(1);
    const startedMs = performance.now();
    await one.stop(100);
    expect(performance.now() - startedMs).toBeLessThan(1_000);
    expect(spool.state().reports).toBe(1);
  });
});
