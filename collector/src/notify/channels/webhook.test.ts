/** The webhook against real receivers that answer, hang, redirect, cut and chatter; its signature checked by an implementation of its own. */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OperationalFailure } from '@tidemark/service';
import { Value } from 'typebox/value';
import { describe, expect, onTestFinished, test } from 'vitest';
import { testCertificate } from '../../http/tls-testing.ts';
import type { Channel, Sent } from './channel.ts';
import { NOW, itemOf, messageOf } from './message-testing.ts';
import { parseRetryAfter, parseSecrets, webhook, type WebhookOptions } from './webhook.ts';
import { WebhookPayload } from './webhook-payload.ts';

const secret = (): string => `whsec_${randomBytes(32).toString('base64')}`;

interface Received {
  headers: IncomingHttpHeaders;
  body: string;
}

/** A receiver on loopback; what it began is ended with the test. */
async function receiver(answer: RequestListener, tls?: { key: string; cert: string }): Promise<{ url: string; received: Received[] }> {
  const received: Received[] = [];
  const sockets = new Set<Socket>();
  const listener: RequestListener = (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      received.push({ headers: request.headers, body: Buffer.concat(chunks).toString('utf8') });
      answer(request, response);
    });
  };
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return { url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${(server.address() as AddressInfo).port}/hook`, received };
}

function file(content: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-webhook-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'file');
  writeFileSync(path, content, { mode: 0o600 });
  return path;
}

function make(options: Partial<WebhookOptions> & { url: string }): Channel {
  const channel = webhook.make({ secretFile: file(secret()), ...options });
  onTestFinished(async () => channel.close?.());
  return channel;
}

const send = (channel: Channel, message = messageOf(), timeoutMs = 5_000): Promise<Sent> =>
  channel.send(message, { now: NOW, signal: AbortSignal.timeout(timeoutMs) });

/** By the specification, and not by our code. */
function verifies({ headers, body }: Received, whsec: string): boolean {
  const signed = `${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.${body}`;
  const wanted = createHmac('sha256', Buffer.from(whsec.slice(6), 'base64'))
    .update(signed)
    .digest();
  return String(headers['webhook-signature'])
    .split(' ')
    .some((one) => {
      const [version, given] = one.split(',');
      const bytes = Buffer.from(given ?? '', 'base64');
      return version === 'v1' && bytes.length === wanted.length && timingSafeEqual(bytes, wanted);
    });
}

describe('what is sent', () => {
  test('the documented body, signed by every secret, with the headers of the standard', async () => {
    const { url, received } = await receiver((_, response) => response.writeHead(204).end());
    const [current, old] = [secret(), secret()];
    const channel = make({ url, secretFile: file(`${current}\n${old}\n`), headers: { authorization: 'Bearer x' } });
    const items = [itemOf(), itemOf({ closedAt: NOW, closeReason: 'recovered', value: 0.5 }, { status: 'resolved' })];
    expect(await send(channel, messageOf({ items, openCount: 2 }))).toEqual({ outcome: 'delivered', answer: 'HTTP 204' });
    const [request] = received;
    expect(request!.headers).toMatchObject({
      'webhook-id': messageOf().id,
      'webhook-timestamp': String(NOW / 1_000),
      'content-type': 'application/json',
      authorization: 'Bearer x',
    });
    expect([verifies(request!, current), verifies(request!, old), verifies(request!, secret())]).toEqual([true, true, false]);
    expect(verifies({ ...request!, body: `${request!.body} ` }, current)).toBe(false);
    const payload = JSON.parse(request!.body) as WebhookPayload;
    expect([...Value.Errors(WebhookPayload, payload)]).toEqual([]);
    expect(payload).toMatchObject({
      type: 'alert.firing',
      data: {
        openCount: 2,
        possibleRepeat: false,
        alerts: [
          {
            id: 'i1',
            status: 'firing',
            level: 'critical',
            node: 'db-1',
            value: 0.93,
            bound: { above: 0.9 },
            labels: { mountpoint: '/' },
            closedAt: null,
          },
          { status: 'resolved', closeReason: 'recovered', value: 0.5, closedAt: new Date(NOW).toISOString() },
        ],
      },
    });
  });

  test('a repetition has the same id and body, but for what says so, and a signature of its own', async () => {
    const { url, received } = await receiver((_, response) => response.writeHead(204).end());
    const whsec = secret();
    const channel = make({ url, secretFile: file(whsec) });
    await send(channel);
    await channel.send(messageOf({ possibleRepeat: true }), { now: NOW + 60_000, signal: AbortSignal.timeout(5_000) });
    const [first, second] = received;
    expect(second!.headers['webhook-id']).toBe(first!.headers['webhook-id']);
    expect(second!.headers['webhook-signature']).not.toBe(first!.headers['webhook-signature']);
    expect(second!.body).toBe(first!.body.replace('"possibleRepeat":false', '"possibleRepeat":true'));
    expect(received.every((one) => verifies(one, whsec))).toBe(true);
  });

  test.each([
    ['a test', messageOf({ test: true, items: [] }), 'alert.test'],
    ['an end', messageOf({ items: [itemOf({ closedAt: NOW, closeReason: 'gone' }, { status: 'resolved' })] }), 'alert.resolved'],
  ])('%s', async (_, message, type) => {
    const { url, received } = await receiver((_request, response) => response.writeHead(200).end('ok'));
    expect(await send(make({ url }), message)).toEqual({ outcome: 'delivered', answer: 'HTTP 200: ok' });
    expect(JSON.parse(received[0]!.body)).toMatchObject({ type });
  });

  test('over TLS to who is trusted, and to nobody else', async () => {
    const tls = testCertificate('127.0.0.1');
    const { url, received } = await receiver((_, response) => response.writeHead(204).end(), tls);
    expect(await send(make({ url, caFile: file(tls.ca) }))).toMatchObject({ outcome: 'delivered' });
    const untrusted = await send(make({ url }));
    expect(untrusted).toMatchObject({ outcome: 'retry', answer: expect.stringContaining('caFile') as string });
    expect(received.length).toBe(1);
  });
});

describe('what comes back', () => {
  test.each<[number, Sent['outcome']]>([
    [200, 'delivered'],
    [202, 'delivered'],
    [400, 'refused'],
    [401, 'refused'],
    [404, 'refused'],
    [408, 'retry'],
    [410, 'gone'],
    [413, 'refused'],
    [422, 'refused'],
    [425, 'retry'],
    [429, 'retry'],
    [500, 'retry'],
    [503, 'retry'],
  ])('HTTP %i is %s', async (status, outcome) => {
    const { url } = await receiver((_, response) => response.writeHead(status).end(`why ${status}\r\nmore`));
    expect(await send(make({ url }))).toEqual({ outcome, answer: `HTTP ${status}: why ${status} more` });
  });

  test.each([
    ['seconds', '120', 120_000],
    ['a date', new Date(NOW + 90_000).toUTCString(), 90_000],
    ['a date that is over', new Date(NOW - 90_000).toUTCString(), 0],
  ])('Retry-After in %s', async (_, header, wanted) => {
    const { url } = await receiver((_request, response) => response.writeHead(429, { 'retry-after': header }).end());
    expect(await send(make({ url }))).toEqual({ outcome: 'retry', answer: 'HTTP 429', retryAfterMs: wanted });
  });

  test.each(['', 'soon', '-1', '1.5', '2026-11-21', '99999999999'])('a Retry-After of %j says nothing', (text) => {
    expect(parseRetryAfter(text, NOW)).toBeUndefined();
  });

  test('a redirect is not followed', async () => {
    const target = await receiver((_, response) => response.writeHead(204).end());
    const { url } = await receiver((_, response) => response.writeHead(307, { location: `${target.url}?token=secret` }).end());
    const sent = await send(make({ url }));
    expect(sent).toEqual({
      outcome: 'refused',
      answer: `HTTP 307: redirected to ${target.url}; redirects are not followed, configure the address itself`,
    });
    expect(target.received).toEqual([]);
  });

  test('one that hangs is left when the time is up', async () => {
    const { url, received } = await receiver(() => {});
    const started = performance.now();
    expect(await send(make({ url }), messageOf(), 300)).toMatchObject({ outcome: 'retry' });
    expect(performance.now() - started).toBeLessThan(3_000);
    expect(received.length).toBe(1);
  });

  test('one whose answer never ends has answered all the same', async () => {
    const { url } = await receiver((_, response) => {
      response.writeHead(200);
      response.write('begun');
    });
    expect(await send(make({ url }), messageOf(), 300)).toEqual({ outcome: 'delivered', answer: 'HTTP 200: begun' });
  });

  test('of a huge answer little is read', async () => {
    let written = 0;
    const { url } = await receiver((request, response) => {
      response.writeHead(500);
      const more = (): void => {
        while (!request.socket.destroyed && written < 500_000_000) {
          written += 65_536;
          if (!response.write('x'.repeat(65_536))) return void response.once('drain', more);
        }
      };
      more();
    });
    const sent = await send(make({ url }));
    expect(sent).toMatchObject({ outcome: 'retry', answer: expect.stringMatching(/^HTTP 500: x{100,200}…$/) as string });
    expect(written).toBeLessThan(50_000_000);
  });

  test.each([
    ['cuts the connection', (request: Parameters<RequestListener>[0]) => void request.socket.resetAndDestroy()],
    ['talks nonsense', (request: Parameters<RequestListener>[0]) => void request.socket.end('SSH-2.0-OpenSSH\r\n')],
  ])('one that %s is tried again', async (_, answer) => {
    const { url } = await receiver(answer);
    expect(await send(make({ url }))).toMatchObject({ outcome: 'retry' });
  });

  test('nobody there, no such host', async () => {
    const { url } = await receiver(() => {});
    const closed = url.replace(/:\d+\//, ':1/');
    expect(await send(make({ url: closed }))).toEqual({ outcome: 'retry', answer: 'nothing listens there' });
    expect(await send(make({ url: 'http://nowhere.invalid/' }))).toMatchObject({ outcome: 'retry' });
  });

  test.each([
    'http://169.254.169.254/latest/meta-data/',
    'http://[fe80::1]/',
    'http://[::ffff:169.254.169.254]/',
    'http://100.100.100.200/',
    'http://0251.0376.0251.0376/',
  ])('%s is no receiver of alerts', async (url) => {
    expect(await send(make({ url }))).toMatchObject({ outcome: 'refused', answer: expect.stringContaining('metadata') as string });
  });
});

describe('secrets', () => {
  test.each([
    '',
    'whsec_',
    'secret',
    `whsec_${randomBytes(23).toString('base64')}`,
    `whsec_${randomBytes(65).toString('base64')}`,
    'whsec_%%%%',
    `whsk_${randomBytes(32).toString('base64')}`,
  ])('%j is none', (text) => {
    const making = (): unknown => webhook.make({ url: 'http://127.0.0.1/', secretFile: file(text) });
    expect(making).toThrow(OperationalFailure);
    if (text.length > 6) expect(making).not.toThrow(text.slice(6));
  });

  test('a file that is not there is named', () => {
    expect(() => webhook.make({ url: 'http://127.0.0.1/', secretFile: '/nowhere/secret' })).toThrow(
      /\/nowhere\/secret.*there is no such file/,
    );
  });

  test('without padding it is the same secret', () => {
    const key = randomBytes(32);
    expect(parseSecrets(`whsec_${key.toString('base64').replace(/=+$/, '')}`, 'f')).toEqual([key]);
  });
});
