/** Alerts and silences over HTTP and on the command line: what is shown, what is changed and by whom, and what is said when it cannot be. */
import { randomBytes, randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { AlertDetail, AlertList, AlertView, SilenceList, SilenceView } from '@tidemark/protocol';
import { ManualClock } from '@tidemark/service';
import { pino } from 'pino';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createTestDatabase } from '../db/testing.ts';
import { ADMIN_TOKEN, READ_TOKEN, testServer, type TestServer } from '../http/testing.ts';
import { nodeOf } from '../live/testing.ts';
import { commandLine, temporaryDirectory } from '../testing.ts';
import type { Happening, Incident } from './entry.ts';
import { openIncidents, type Incidents } from './open.ts';
import { alertRoutes } from './routes.ts';
import { openingOf } from './testing.ts';

interface Answer<T> {
  status: number;
  body: T;
}

interface World extends TestServer {
  incidents: Incidents;
  time: ManualClock;
  closed: Incident[];
  /** Records at the clock's time, and waits for the database. */
  tell: (...happenings: Happening[]) => Promise<void>;
  get: <T>(path: string, status?: number) => Promise<T>;
  change: <T = unknown>(method: 'POST' | 'DELETE', path: string, body?: object, token?: string) => Promise<Answer<T>>;
  stopDatabase: () => Promise<void>;
  run: (...argv: string[]) => ReturnType<typeof commandLine>;
}

async function world(): Promise<World> {
  const { database } = await createTestDatabase();
  const nodes = [nodeOf(1, 'db1'), nodeOf(2, 'web', { site: 'south' }), nodeOf(3, 'old', { state: 'retired' })];
  const closed: Incident[] = [];
  const time = new ManualClock();
  const dataDir = temporaryDirectory();
  const incidents = await openIncidents({ dataDir, database, clock: time, log: pino({ level: 'silent' }) });
  const server = await testServer({
    clock: time,
    routes: (app) => {
      alertRoutes(app, {
        recorder: incidents.recorder,
        store: incidents.store,
        fleet: { byId: (id) => nodes.find((node) => node.id === id), everyone: () => nodes },
        clock: time,
        random: randomBytes,
        localEntries: () => incidents.localEntries(),
        tellingOf: () => [{ channel: 'ops', text: 'not yet' }],
        onClosedByHand: (incident) => void closed.push(incident),
      });
    },
  });
  const { recorder } = incidents;
  onTestFinished(() => incidents.stop());
  const ask = async (method: 'GET' | 'POST' | 'DELETE', url: string, token: string, body?: object) =>
    server.app.inject({ method, url, headers: { authorization: `Bearer ${token}` }, ...(body === undefined ? {} : { payload: body }) });
  return {
    ...server,
    incidents,
    time,
    closed,
    async tell(...happenings) {
      await recorder.record(happenings.map((one) => ({ ...one, at: time.wallMs() })));
      for (const end = Date.now() + 10_000; incidents.waiting() > 0 && Date.now() < end;) await new Promise((done) => setTimeout(done, 5));
    },
    async get(path, status = 200) {
      const answer = await ask('GET', path, READ_TOKEN);
      expect(answer.statusCode, answer.body).toBe(status);
      return answer.json();
    },
    async change(method, path, body, token = ADMIN_TOKEN) {
      const answer = await ask(method, path, token, body);
      return { status: answer.statusCode, body: answer.body === '' ? undefined : answer.json() } as never;
    },
    stopDatabase: () => database.close(),
    async run(...argv) {
      if (!server.app.server.listening) await server.app.listen({ host: '127.0.0.1', port: 0 });
      const { port } = server.app.server.address() as AddressInfo;
      const tokenFile = join(server.dataDir, 'token');
      writeFileSync(tokenFile, ADMIN_TOKEN);
      return commandLine([...argv, '--server', `http://127.0.0.1:${port}`, '--token-file', tokenFile]);
    },
  };
}

/** Ids that sort as they are made. */
const ids = (count: number): string[] => Array.from({ length: count }, (_, i) => `0198000${i}${randomUUID().slice(8)}`);
const opened = (id: string, more: Parameters<typeof openingOf>[1] = {}): Happening => ({ kind: 'opened', opening: openingOf(id, more) });
const over = (incidentId: string): Happening => ({
  kind: 'closed',
  incidentId,
  reason: 'recovered',
  value: 0.2,
  why: '20 % is below 65 %',
});
const shown = (list: AlertList): string[] => list.alerts.map(({ id }) => id);

describe('asking', () => {
  test('open ones from the book, past ones from the database, the newest first, a page at a time, by every filter', async () => {
    const { tell, get } = await world();
    const [a, b, c, d] = ids(4) as [string, string, string, string];
    await tell(
      opened(a, { nodeId: 1 }),
      opened(b, { nodeId: 2, rule: 'disk_usage', level: 'critical', labels: [['mountpoint', '/var']] }),
      opened(c, { nodeId: 3, nodeName: 'as it was' }),
      opened(d, { nodeId: 99, nodeName: 'forgotten', site: 'gone' }),
      over(a),
      over(c),
    );
    expect(shown(await get('/api/alerts'))).toEqual([d, b]);
    expect(shown(await get('/api/alerts?state=closed'))).toEqual([c, a]);
    expect(shown(await get('/api/alerts?state=all'))).toEqual([d, c, b, a]);
    expect(shown(await get('/api/alerts?state=all&node=db1'))).toEqual([a]);
    expect(shown(await get('/api/alerts?state=all&node=old'))).toEqual([c]);
    expect(shown(await get('/api/alerts?state=all&site=south'))).toEqual([b]);
    expect(shown(await get('/api/alerts?state=all&rule=disk_usage'))).toEqual([b]);
    expect(shown(await get('/api/alerts?level=critical'))).toEqual([b]);
    const page = await get<AlertList>('/api/alerts?state=all&limit=3');
    expect([shown(page), page.more]).toEqual([[d, c, b], true]);
    const rest = await get<AlertList>(`/api/alerts?state=all&limit=3&before=${b}`);
    expect([shown(rest), rest.more]).toEqual([[a], false]);
    expect(page.alerts.map(({ node, site }) => [node, site])).toEqual([
      ['forgotten', 'gone'],
      ['old', 'north'],
      ['web', 'south'],
    ]);
    expect(await get('/api/alerts?node=nobody', 404)).toMatchObject({ code: 'node_unknown' });
    expect(await get('/api/alerts?before=x', 400)).toMatchObject({ code: 'query_invalid' });
    expect(await get('/api/alerts?limit=0', 400)).toMatchObject({ code: 'query_invalid' });
  });

  test('one with its story, and what the book has let go of', async () => {
    const { tell, get, incidents, time } = await world();
    const [a] = ids(1) as [string];
    const items = [{ incidentId: a, status: 'firing' as const, level: 'warning' as const }];
    const d = randomUUID();
    await tell(opened(a), { kind: 'attempted', deliveryId: d, channel: 'ops', attempt: 1, thread: 't', items });
    await tell({ kind: 'answered', deliveryId: d, channel: 'ops', attempt: 1, outcome: 'retry', answer: '503', retryAt: time.wallMs() });
    await tell(
      { kind: 'level', incidentId: a, level: 'critical', value: 0.99, bound: { above: 0.9 }, why: '99 % is above 90 %' },
      { kind: 'data', incidentId: a, noData: true, why: 'for 2 min' },
    );
    const detail = await get<AlertDetail>(`/api/alerts/${a}`);
    expect(detail.alert).toMatchObject({ id: a, level: 'critical', noData: true, told: [{ channel: 'ops', confirmed: false }] });
    expect(detail.telling).toEqual([{ channel: 'ops', text: 'not yet' }]);
    expect(detail.events.map(({ text }) => text)).toEqual([
      'It opened as warning: 80 % is above 70 %, for 5 min without interruption',
      'ops is told that it fires (warning)',
      'ops did not take it: 503; tried again at 2026-01-01 00:00:00 UTC',
      'It became critical: 99 % is above 90 %',
      'Nothing is measured any more: for 2 min',
    ]);
    await tell({ kind: 'answered', deliveryId: d, channel: 'ops', attempt: 2, outcome: 'refused', answer: '', retryAt: null }, over(a));
    time.advance(8 * 86_400_000);
    incidents.recorder.tidy(10 ** 6);
    expect(incidents.recorder.book.incident(a)).toBeUndefined();
    expect((await get<AlertDetail>(`/api/alerts/${a}`)).alert).toMatchObject({ state: 'closed', closeReason: 'recovered' });
    expect(await get(`/api/alerts/${randomUUID()}`, 404)).toMatchObject({ code: 'alert_unknown' });
    expect(await get('/api/alerts/nonsense', 404)).toMatchObject({ code: 'alert_unknown' });
  });

  test('while the database is away: what is open, its story, and what changes', async () => {
    const { tell, get, change, stopDatabase } = await world();
    const [a, b] = ids(2) as [string, string];
    await tell(opened(a), opened(b), over(b));
    await stopDatabase();
    expect(shown(await get('/api/alerts'))).toEqual([a]);
    expect(await get('/api/alerts?state=closed', 503)).toMatchObject({ code: 'database_away' });
    const all = await get<AlertList>('/api/alerts?state=all');
    expect([shown(all), all.more]).toEqual([[b, a], true]);
    expect((await change<AlertView>('POST', `/api/alerts/${a}/acknowledge`, { by: 'kim' })).body.acknowledged).toMatchObject({
      by: 'kim (a)',
    });
    expect((await get<AlertDetail>(`/api/alerts/${a}`)).events.map(({ kind }) => kind)).toEqual(['opened', 'acknowledged']);
    expect((await change('POST', '/api/silences', { matcher: { node: 'db1' }, reason: 'x', seconds: 60 })).status).toBe(201);
    expect((await get<SilenceList>('/api/silences')).silences).toHaveLength(1);
  });
});

describe('changing', () => {
  test('acknowledged by whom, given back, closed by hand and never twice', async () => {
    const { tell, change, closed, adminToken, signIn, app, time } = await world();
    const [a] = ids(1) as [string];
    await tell(opened(a));
    expect((await change<AlertView>('POST', `/api/alerts/${a}/acknowledge`)).body.acknowledged).toEqual({
      by: 'a',
      at: new Date(time.wallMs()).toISOString(),
      note: '',
    });
    const typed = await change<AlertView>('POST', `/api/alerts/${a}/acknowledge`, { by: 'kim', note: 'mine' }, adminToken());
    expect(typed.body.acknowledged).toMatchObject({ by: 'kim', note: 'mine' });
    const cookie = await signIn();
    const person = await app.inject({ method: 'POST', url: `/api/alerts/${a}/acknowledge`, headers: { cookie } });
    expect(person.json<AlertView>().acknowledged).toMatchObject({ by: 'console' });
    expect((await change<AlertView>('DELETE', `/api/alerts/${a}/acknowledge`)).body.acknowledged).toBeNull();
    expect((await change<AlertView>('DELETE', `/api/alerts/${a}/acknowledge`)).status).toBe(200);
    const done = await change<AlertView>('POST', `/api/alerts/${a}/close`, { reason: 'replaced' });
    expect(done.body).toMatchObject({ state: 'closed', closeReason: 'closed_by_hand', value: 0.8, why: 'by a: replaced' });
    expect(closed.map(({ incidentId }) => incidentId)).toEqual([a]);
    for (const [method, step] of [
      ['POST', 'close'],
      ['POST', 'acknowledge'],
      ['DELETE', 'acknowledge'],
    ] as const) {
      expect(await change(method, `/api/alerts/${a}/${step}`)).toMatchObject({ status: 409, body: { code: 'alert_closed' } });
      expect(await change(method, `/api/alerts/${randomUUID()}/${step}`)).toMatchObject({ status: 404, body: { code: 'alert_unknown' } });
      expect((await change(method, `/api/alerts/${a}/${step}`, undefined, READ_TOKEN)).status).toBe(403);
    }
    expect(closed).toHaveLength(1);
  });

  test('a silence covers what it says, for its time, and can be ended', async () => {
    const { tell, get, change, time } = await world();
    const [a, b] = ids(2) as [string, string];
    await tell(opened(a, { nodeId: 1 }), opened(b, { nodeId: 2 }));
    const body = { matcher: { node: 'db*' }, reason: 'new disks', author: 'kim', seconds: 3_600 };
    const made = await change<SilenceView>('POST', '/api/silences', body);
    expect(made).toMatchObject({ status: 201, body: { active: true, alerts: 1, author: 'kim (a)', matcher: { node: 'db*' } } });
    const marks = async (): Promise<(string | null)[]> => (await get<AlertList>('/api/alerts')).alerts.map(({ silencedBy }) => silencedBy);
    expect(await marks()).toEqual([null, made.body.id]);
    expect((await change('DELETE', `/api/silences/${made.body.id}`)).status).toBe(204);
    expect(await marks()).toEqual([null, null]);
    expect(await change('DELETE', `/api/silences/${made.body.id}`)).toMatchObject({ status: 404, body: { code: 'silence_unknown' } });
    expect((await get<SilenceList>('/api/silences')).silences).toMatchObject([{ id: made.body.id, active: false, alerts: 0 }]);

    // Ids of one millisecond are in no order.
    time.advance(1);
    const short = await change<SilenceView>('POST', '/api/silences', { ...body, seconds: 60 });
    time.advance(60_000);
    expect(await marks()).toEqual([null, null]);
    expect((await get<SilenceList>('/api/silences')).silences[0]).toMatchObject({ id: short.body.id, active: false });
    for (const matcher of [{}, { labels: {} }, { nodes: 'x' }])
      expect(await change('POST', '/api/silences', { ...body, matcher })).toMatchObject({ status: 400, body: { code: 'body_invalid' } });
    expect((await change('POST', '/api/silences', body, READ_TOKEN)).status).toBe(403);
  });

  test('once another collector has taken over, it is said and nothing is changed', async () => {
    const { tell, change, incidents } = await world();
    const [a] = ids(1) as [string];
    await tell(opened(a));
    incidents.recorder.supersede(9);
    expect(await change('POST', `/api/alerts/${a}/acknowledge`)).toMatchObject({ status: 503, body: { code: 'superseded' } });
    expect((await change('POST', '/api/silences', { matcher: { rule: '*' }, reason: 'x', seconds: 60 })).status).toBe(503);
  });
});

describe('on the command line', () => {
  test('listed, shown, acknowledged and closed by a short id', async () => {
    const { tell, run } = await world();
    const [a, b] = ids(2) as [string, string];
    expect(await run('alerts')).toEqual({ code: 0, out: '', err: 'No alert is open.\n' });
    await tell(opened(a, { nodeId: 1, labels: [['mountpoint', '/v\u001b[2J']], title: 'Disk usage' }), opened(b, { nodeId: 2 }));
    const listed = await run('alerts', '--node', 'db1');
    expect(listed.out.split('\n')[0]).toMatch(/^ID +LEVEL +SINCE +NODE +SITE +WHAT +STATE$/);
    expect(listed.out.split('\n')[1]).toBe(`${a.slice(-8)}  warning  1970-01-01 00:00Z  db1   north  Disk usage (/v\\x1b[2J)  open`);
    expect(await run('alerts', 'ack', a.slice(-8), '--note', 'on it', '--by', 'kim')).toMatchObject({
      code: 0,
      err: 'warning "Disk usage (/v\\x1b[2J)" on db1 is acknowledged by kim (a).\n',
    });
    expect((await run('alerts')).out).toContain('acknowledged by kim (a)');
    const text = (await run('alerts', 'show', a.slice(0, 12))).out;
    expect(text).toMatch(/^Disk usage .*\n {2}id +0198/);
    expect(text).toContain('Acknowledged by kim (a): on it');
    expect(text).toContain('Who was told:\n  ops: not yet');
    expect((await run('alerts', 'unack', a)).err).toContain("is nobody's now");
    expect((await run('alerts', 'close', a.slice(-8), '--reason', 'gone')).err).toContain('is closed');
    expect((await run('alerts')).out).not.toContain('db1');
    expect((await run('alerts', '--all')).out).toContain('over: closed by hand');
    expect(await run('alerts', 'ack', '0198')).toMatchObject({ code: 0 });
    expect(await run('alerts', 'show', '0198')).toMatchObject({
      code: 2,
      err: expect.stringContaining('2 ids begin or end with "0198"') as string,
    });
    expect(await run('alerts', 'show', 'xyz')).toMatchObject({ code: 1, err: 'No alert has an id that begins or ends with "xyz".\n' });
    expect(JSON.parse((await run('alerts', '--json')).out)).toMatchObject({ alerts: [{ id: b }] });
  });

  test('silences are added, listed and ended', async () => {
    const { tell, run } = await world();
    await tell(opened(ids(1)[0]!, { nodeId: 1 }));
    expect((await run('silences')).err).toBe('Nothing is silenced.\n');
    const added = await run('silences', 'add', '--node', 'db*', '--label', 'a=b=c', '--for', '2h', '--reason', 'new disks', '--by', 'kim');
    expect(added).toMatchObject({ code: 0, out: expect.stringMatching(/^[0-9a-f-]{36}\n$/) as string });
    expect(added.err).toBe('Silenced until 2026-01-01 02:00Z: node=db* a=b=c. It covers 0 open alerts now.\n');
    expect((await run('silences')).out.split('\n')[1]).toMatch(
      /^[0-9a-f]{8} {2}2026-01-01 02:00Z {2}node=db\* a=b=c {2}0 +kim \(a\) {2}new disks$/,
    );
    expect((await run('silences', 'end', added.out.trim().slice(-8))).code).toBe(0);
    expect((await run('silences')).out).toBe('');
    expect((await run('silences', '--all')).out).toContain('over');
    expect(await run('silences', 'add', '--for', '2h', '--reason', 'x')).toMatchObject({
      code: 2,
      err: expect.stringContaining('Say what') as string,
    });
    expect((await run('silences', 'add', '--node', 'x', '--for', 'soon', '--reason', 'x')).code).toBe(2);
    expect((await run('silences', 'add', '--node', 'x', '--for', '5s', '--reason', 'x')).err).toContain('[body_invalid]');
  });
});
