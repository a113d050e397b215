/** The probe against listeners that are no PostgreSQL: each gets its own answer in its own time, and none spoils the others. */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { PostgresReplication } from '@tidemark/protocol';
import { createLog, systemClock } from '@tidemark/service';
import { afterEach, expect, test } from 'vitest';
import { createPostgresProbes, type PostgresProbeOptions } from './postgres.ts';
import { ProbeRunner } from './runner.ts';

const stops: (() => unknown)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

/** A listener and every socket it ever took. */
async function listener(onConnection: (socket: Socket) => void): Promise<{ port: number; sockets: Socket[]; server: Server }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stops.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, sockets, server };
}

function runnerOf(ports: Record<string, number>, options: PostgresProbeOptions = {}): ProbeRunner {
  const configs = Object.entries(ports).map(([name, port]) => ({ name, url: `postgres://monitor:hunter2@127.0.0.1:${port}/postgres` }));
  const runner = new ProbeRunner(createPostgresProbes(configs, { deadlineMs: 300, ...options }), systemClock, createLog('test', 'silent'));
  stops.unshift(() => runner.close());
  return runner;
}

async function outcomes(
  runner: ProbeRunner,
): Promise<{ documents: Map<string, PostgresReplication>; up: Map<string, unknown>; text: string }> {
  const collection = await runner.collect();
  return {
    documents: new Map(collection.observations.map(({ instance, document }) => [instance, document as PostgresReplication])),
    up: new Map(
      collection.blocks.filter(({ layout }) => layout.probe === 'postgres').map(({ layout, values }) => [layout.instance, values[0]]),
    ),
    text: JSON.stringify(collection),
  };
}

test('no probe where no server is configured', () => {
  expect(createPostgresProbes([])).toEqual([]);
});

test('one that hangs, one that hangs up, one that talks nonsense and one where nobody listens: four answers, no failed probe', async () => {
  const hung = await listener(() => undefined);
  const closing = await listener((socket) => socket.destroy());
  const garbled = await listener((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
  const gone = await listener(() => undefined);
  await new Promise((resolve) => gone.server.close(resolve));
  const runner = runnerOf({ hung: hung.port, closing: closing.port, garbled: garbled.port, refused: gone.port });

  const { documents, up, text } = await outcomes(runner);
  expect([...documents.keys()]).toEqual(['hung', 'closing', 'garbled', 'refused']);
  expect(documents.get('hung')).toMatchObject({ up: false, reason: 'timeout' });
  expect(documents.get('closing')).toMatchObject({ up: false, reason: 'disconnected' });
  expect(documents.get('garbled')).toMatchObject({ up: false });
  expect(documents.get('refused')).toMatchObject({ up: false, reason: 'refused' });
  expect([...up.values()]).toEqual([0, 0, 0, 0]);
  expect(runner.states()[0]).toMatchObject({ name: 'postgres', success: true });
  expect(text).not.toContain('hunter2');
});

/** What a server sends instead of letting anybody in. */
function errorResponse(fields: Record<string, string>): Buffer {
  const text = Object.entries(fields).map(([type, value]) => `${type}${value}\0`);
  const body = Buffer.from(`${text.join('')}\0`);
  const head = Buffer.alloc(5);
  head.write('E');
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

test('a server that is only starting is told from one that is away, and asked again at once', async () => {
  const answers = ['starting', 'up'];
  const starting = await listener((socket) => {
    socket.once('data', () => {
      const M = answers.shift() === 'starting' ? 'the database system is not accepting connections' : 'sorry, too many clients already';
      const C = M.startsWith('the') ? '57P03' : '53300';
      socket.end(errorResponse({ S: 'FATAL', V: 'FATAL', C, M, D: 'Hot standby mode is disabled.' }));
    });
  });
  const runner = runnerOf({ main: starting.port });
  const first = (await outcomes(runner)).documents.get('main')!;
  expect(first).toMatchObject({ up: false, reason: 'starting' });
  expect(first.detail).toContain('Hot standby mode is disabled.');
  expect((await outcomes(runner)).documents.get('main')).toMatchObject({ up: false, reason: 'too_many_connections' });
});

test('what hung is let go of: no connection stays open, and the next collection answers too', async () => {
  const hung = await listener(() => undefined);
  const runner = runnerOf({ hung: hung.port });
  const closed = new Promise((resolve) => hung.server.once('connection', (socket: Socket) => socket.once('close', resolve)));
  hung.server.on('connection', (socket: Socket) => socket.resume());
  expect((await outcomes(runner)).documents.get('hung')).toMatchObject({ reason: 'timeout' });
  await closed;
  expect((await outcomes(runner)).documents.get('hung')).toMatchObject({ up: false, reason: 'timeout' });
});
