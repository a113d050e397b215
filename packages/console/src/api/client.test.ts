/** However a question ends, the client says so in an `Answer`. */
import { expect, test, vi } from 'vitest';
import { createApi } from './client.ts';

type Reply = () => Promise<Response>;
const json = (status: number, body: unknown, headers: Record<string, string> = {}): Response =>
  new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json', ...headers } });
const client = (reply: Reply) => {
  const fetched = vi.fn<typeof fetch>(() => reply());
  return { api: createApi({ fetch: fetched, timeoutMs: 1_000, aliveTimeoutMs: 50 }), fetched };
};
const problem = { type: 'urn:tidemark:problem:x', title: 'T', status: 503, code: 'database_away', detail: 'The database is away.' };

test('figures are handed on', async () => {
  const { api } = client(async () => json(200, { at: '2026-01-01T00:00:00Z', nodes: [] }));
  expect(await api.overview()).toEqual({ ok: true, value: { at: '2026-01-01T00:00:00Z', nodes: [] } });
});

test.each<[string, Reply, unknown]>([
  ['a refused connection', () => Promise.reject(new TypeError('fetch failed')), { kind: 'unreachable' }],
  [
    "a balancer's own page",
    async () => new Response('<h1>503</h1>', { status: 503, headers: { 'content-type': 'text/html' } }),
    { kind: 'unreachable' },
  ],
  ['a body cut off', async () => new Response('{"at":"20', { headers: { 'content-type': 'application/json' } }), { kind: 'unreachable' }],
  ['no session', async () => json(401, { ...problem, code: 'session_expired' }), { kind: 'signed-out' }],
  ['no right', async () => json(403, { ...problem, code: 'role_insufficient' }), { kind: 'forbidden' }],
  ['a limit with a time', async () => json(429, problem, { 'retry-after': '7' }), { kind: 'limited', retryAfterMs: 7_000 }],
  ['a limit with nonsense', async () => json(429, problem, { 'retry-after': 'soon' }), { kind: 'limited', retryAfterMs: 10_000 }],
  ['a limit without end', async () => json(429, problem, { 'retry-after': '1e9' }), { kind: 'limited', retryAfterMs: 900_000 }],
  ['a problem', async () => json(503, problem), { kind: 'problem', problem: { code: 'database_away', detail: 'The database is away.' } }],
  ['another program at this port', async () => new Response('hello', { headers: { 'content-type': 'text/html' } }), { kind: 'problem' }],
  ['JSON of another form', async () => json(200, { nodes: 3 }), { kind: 'problem' }],
])('%s', async (_, reply, failure) => {
  expect(await client(reply).api.overview()).toMatchObject({ ok: false, failure });
});

test('a question withdrawn is not a connection lost', async () => {
  const controller = new AbortController();
  const api = createApi({
    fetch: (_input, init) => new Promise((_resolve, reject) => init?.signal?.addEventListener('abort', () => reject(new Error('aborted')))),
    timeoutMs: 10_000,
    aliveTimeoutMs: 10_000,
  });
  const answer = api.overview(controller.signal);
  controller.abort();
  expect(await answer).toEqual({ ok: false, failure: { kind: 'aborted' } });
});

test('silence ends at the deadline', async () => {
  const api = createApi({
    fetch: (_input, init) => new Promise((_resolve, reject) => init?.signal?.addEventListener('abort', () => reject(new Error('timeout')))),
    timeoutMs: 10_000,
    aliveTimeoutMs: 20,
  });
  expect(await api.alive()).toEqual({ ok: false, failure: { kind: 'unreachable' } });
});

test('a refusal is a sign of life, a dead gateway is not', async () => {
  expect(await client(async () => json(503, problem)).api.alive()).toMatchObject({ ok: true });
  expect(await client(async () => new Response('', { status: 502 })).api.alive()).toMatchObject({ ok: false });
});

test('a name is one path segment, whatever is in it', async () => {
  const { api, fetched } = client(async () => json(404, problem));
  await api.node('a/b?c#d "é');
  expect(fetched.mock.calls[0]?.[0]).toBe('/api/telemetry/nodes/a%2Fb%3Fc%23d%20%22%C3%A9');
});

test('the token travels in the body alone', async () => {
  const { api, fetched } = client(async () => new Response(null, { status: 204 }));
  expect(await api.signIn('secret')).toEqual({ ok: true, value: undefined });
  const [path, init] = fetched.mock.calls[0] ?? [];
  expect(path).toBe('/api/session');
  expect(init?.body).toBe('{"token":"secret"}');
});
