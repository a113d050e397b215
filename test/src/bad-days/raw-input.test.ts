/**
 * What no agent of ours sends, against the real collector: absurd times, ten thousand series, hostile labels, and
 * requests that are broken in every way. Stored right or refused clearly; the collector and its pages stay well.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { LIMITS, REPORTS_PATH, type Layout, type NodeDetail, type Problem, type SeriesResponse } from '@tidemark/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startCollector, type RunningCollector } from '../programs.ts';
import { checkPage } from '../prometheus.ts';
import { addRawAgents, layoutOf, type RawAgent } from './raw-agent.ts';

const DAY_MS = 86_400_000;
const directory = mkdtempSync(join(tmpdir(), 'tidemark-raw-'));
let collector: RunningCollector;
let agents: RawAgent[];
let token: string;

beforeAll(async () => {
  collector = await startCollector({ dataDir: directory });
  agents = await addRawAgents(collector, ['times', 'many', 'labels']);
  ({ token } = await collector.api<{ token: string }>('POST', '/api/telemetry/nodes', { name: 'broken' }));
});

afterAll(async () => {
  await collector?.stop();
  rmSync(directory, { recursive: true, force: true });
});

const layout = layoutOf('test', [{ name: 'tidemark_test_value', labels: [], unit: '', type: 'gauge', help: 'A value.' }]);
const count = async (statement: string): Promise<number> => (await collector.sql<{ count: number }>(statement))[0]!.count;

test('absurd times make no partition and are refused', async () => {
  const [agent] = agents;
  const partitions = (): Promise<number> => count('SELECT count(*)::int AS count FROM pg_inherits');
  const before = await partitions();
  // Of an earlier run, so that no monotonic clock can tell better.
  const bootId = randomUUID();
  const now = Date.now();
  const times = [0, -8e15, 8e15, 1e300, now - 30 * DAY_MS, now + DAY_MS, now + 3_600_000, now + 1e12];
  const answer = await agent!.post({
    layouts: [layout],
    reports: times.map((takenAt, i) => ({
      bootId,
      sequence: i + 1,
      takenAt,
      monotonicMs: 1,
      blocks: [{ layout: layout.hash, values: [i] }],
    })),
  });
  expect(answer!.status).toBe(200);
  expect(answer!.acknowledgement!.committed).toEqual([]);
  expect(answer!.acknowledgement!.refused.map(({ sequence, code }) => ({ sequence, code }))).toEqual(
    times.map((_, i) => ({ sequence: i + 1, code: 'time_absurd' })),
  );
  expect(await partitions()).toBe(before);
  expect(await count('SELECT count(*)::int AS count FROM reports')).toBe(0);
});

/** Sends one report of this layout; resolves with the answer's status. */
async function sendOne(agent: RawAgent, block: Layout, values: unknown[]): Promise<number> {
  const answer = await agent.post({
    layouts: [block],
    reports: [
      { bootId: agent.bootId, sequence: 1, takenAt: Date.now(), monotonicMs: performance.now(), blocks: [{ layout: block.hash, values }] },
    ],
  });
  expect(answer!.acknowledgement!.committed).toEqual([{ bootId: agent.bootId, sequences: [1] }]);
  return answer!.status;
}

test('ten thousand series of one node', async () => {
  const series = Array.from({ length: 10_000 }, (_, i) => ({
    name: 'tidemark_test_many',
    labels: [['item', `item ${i}`]] as [string, string][],
    unit: '',
    type: 'gauge' as const,
    help: 'One of many.',
  }));
  expect(
    await sendOne(
      agents[1]!,
      layoutOf('many', series),
      series.map((_, i) => i),
    ),
  ).toBe(200);
  const page = await collector.text('/metrics');
  const values = page.split('\n').filter((line) => line.startsWith('tidemark_test_many{'));
  expect(values).toHaveLength(10_000);
  expect(values).toContain('tidemark_test_many{node="many",site="",item="item 9999"} 9999');
  expect(await count("SELECT count(*)::int AS count FROM series WHERE metric = 'tidemark_test_many'")).toBe(10_000);
});

test('labels with quotes, newlines, emoji and markup are stored as they are, and every page stays valid', async () => {
  const texts = [
    '"',
    'a "quoted" one',
    '\\',
    'back\\slash\\n',
    'two\nlines',
    '\r\n\t',
    '🌊 tide 潮',
    '</script><script>alert(1)</script>',
    '{}',
    "'; DROP TABLE reports; --",
    '',
    '__proto__',
    '\u202Ertl',
    'nul\0nul',
  ];
  const series = texts.flatMap((text, i) => [
    {
      name: 'tidemark_test_label',
      labels: [
        ['text', text],
        ['n', String(i)],
      ] as [string, string][],
      unit: '',
      type: 'gauge' as const,
      help: `Line one\nline "two" \\ ${i}`,
    },
  ]);
  const special = ['constructor', 'prototype', 'node', 'site'].map((name) => ({
    name: 'tidemark_test_special',
    labels: [[name, 'value']] as [string, string][],
    unit: '',
    type: 'gauge' as const,
    help: 'Names that mean something elsewhere.',
  }));
  const values: unknown[] = texts.map((_, i) => i);
  const infinite = ['NaN', '+Inf', '-Inf'].map((_, i) => ({ ...special[0]!, name: `tidemark_test_number_${i}` }));
  const status = await sendOne(agents[2]!, layoutOf('labels', [...series, ...special, ...infinite]), [
    ...values,
    0,
    1,
    2,
    3,
    'NaN',
    '+Inf',
    '-Inf',
  ]);
  expect(status).toBe(200);

  const page = await collector.text('/metrics');
  expect(await checkPage(page)).toEqual([]);
  expect(page).toContain('text="a \\"quoted\\" one"');
  expect(page).toContain('text="two\\nlines"');
  expect(page).toContain('text="back\\\\slash\\\\n"');
  expect(page).toContain('text="🌊 tide 潮"');
  expect(page).toMatch(/^tidemark_test_number_0\{.*\} NaN$/m);
  expect(page).toMatch(/^tidemark_test_number_2\{.*\} -Inf$/m);

  // NUL has no place in PostgreSQL, an empty label is none (as in Prometheus); everything else comes back as it was sent.
  const wanted = texts.map((text) => (text === '' ? undefined : text.replaceAll('\0', '\uFFFD')));
  const found = await collector.api<SeriesResponse>('GET', '/api/telemetry/series?metric=tidemark_test_label&node=labels');
  const byNumber = new Map(found.series.map((one) => [Number(one.labels['n']), one]));
  expect(texts.map((_, i) => byNumber.get(i)?.labels['text'])).toEqual(wanted);
  expect(texts.map((_, i) => byNumber.get(i)?.points.at(-1)?.[1])).toEqual(values);
  const asked = await collector.api<SeriesResponse>(
    'GET',
    `/api/telemetry/series?metric=tidemark_test_label&label.text=${encodeURIComponent('</script><script>alert(1)</script>')}`,
  );
  expect(asked.series).toHaveLength(1);
  const detail = await collector.api<NodeDetail>('GET', '/api/telemetry/nodes/labels');
  expect(detail.latest.filter(({ metric }) => metric === 'tidemark_test_label')).toHaveLength(texts.length);
});

/** Writes bytes to the collector and resolves with the status it answered, or 0 when it closed without one. */
async function write(bytes: Buffer | string, end = false): Promise<number> {
  const { port } = new URL(collector.url);
  const socket = connect(Number(port), '127.0.0.1');
  let answer = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => (answer += chunk));
  // A refused body is not read to its end: the connection may be reset.
  socket.on('error', () => {});
  const closed = once(socket, 'close');
  socket.setTimeout(20_000, () => socket.destroy());
  socket.write(bytes);
  if (end) socket.end();
  await closed;
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0);
}

const head = (lengthBytes: number, more = '', credential = token): string =>
  `POST ${REPORTS_PATH} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer ${credential}\r\ncontent-type: application/json\r\ncontent-length: ${lengthBytes}\r\n${more}\r\n`;

const whole = (body: Buffer | string, more = '', credential = token): Buffer =>
  Buffer.concat([Buffer.from(head(Buffer.byteLength(body), more, credential)), Buffer.from(body)]);

test('broken requests are refused, and leave the collector well', async () => {
  const stored = await count('SELECT count(*)::int AS count FROM reports');
  const bomb = gzipSync(Buffer.alloc(LIMITS.inflatedBytes * 4, ' '));
  const statuses = await Promise.all(
    Object.entries({
      nonsense: write('\x16\x03\x01 this is not HTTP\r\n\r\n'),
      'not JSON': write(whole('{"agent":')),
      'another form': write(whole('[]')),
      'cut off': write(`${head(1_000)}{"agent"`, true),
      'too large': write(head(LIMITS.bodyBytes + 1)),
      bomb: write(whole(bomb, 'content-encoding: gzip\r\n')),
      'not gzip': write(whole('hello', 'content-encoding: gzip\r\n')),
      'cut gzip': write(whole(gzipSync('{"agent":{"version":"1"}}').subarray(0, 20), 'content-encoding: gzip\r\n')),
      deep: write(whole('['.repeat(1_000_000))),
      'unknown token': write(whole('{}', '', 'tma_nobody')),
      'no such method': write(`BREW ${REPORTS_PATH} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`),
      'long head': write(`GET /${'a'.repeat(100_000)} HTTP/1.1\r\nhost: x\r\n\r\n`),
    }).map(async ([what, answered]) => [what, await answered]),
  );
  expect(Object.fromEntries(statuses)).toEqual({
    nonsense: 400,
    'not JSON': 400,
    'another form': 400,
    // It is gone: there is nobody to answer.
    'cut off': expect.toSatisfy((status: number) => status === 0 || status === 400),
    'too large': 413,
    bomb: 413,
    'not gzip': 400,
    'cut gzip': 400,
    deep: 400,
    'unknown token': 401,
    'no such method': 400,
    'long head': 431,
  });
  expect(await count('SELECT count(*)::int AS count FROM reports')).toBe(stored);
  const health = await fetch(`${collector.url}/api/health`);
  expect(health.status).toBe(200);
  const { status, headers, problem } = await fetch(`${collector.url}${REPORTS_PATH}`, { method: 'POST' }).then(async (response) => ({
    status: response.status,
    headers: response.headers,
    problem: (await response.json()) as Problem,
  }));
  expect({ status, type: headers.get('content-type'), code: problem.code }).toEqual({
    status: 401,
    type: expect.stringContaining('application/problem+json'),
    code: 'credential_missing',
  });
  expect(collector.output()).not.toContain('    at ');
});
