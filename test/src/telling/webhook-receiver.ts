/**
 * A webhook's other side: keeps what arrived, checks the signature as the Standard Webhooks specification says, and
 * answers what the test wants. It knows the payload by its documented form alone.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { waitUntil } from '../postgres/cluster.ts';

export interface ReceivedAlert {
  id: string;
  status: 'firing' | 'resolved';
  level: 'warning' | 'critical';
  rule: string;
  node: string;
  value: number | null;
  why: string;
  closeReason: string | null;
}

export interface Received {
  id: string;
  at: number;
  headers: IncomingHttpHeaders;
  signed: boolean;
  possibleRepeat: boolean;
  alerts: ReceivedAlert[];
  /** What it was answered; undefined while it was not. */
  status: number | undefined;
}

/** Answers one request: a status with headers, or never. */
export type Answer = { status: number; headers?: Record<string, string> } | 'hang' | 'reset';

export class WebhookReceiver {
  readonly secret: string;
  readonly received: Received[] = [];
  /** Asked for each request; 204 unless the test sets it. */
  answer: (received: Received) => Answer | Promise<Answer> = () => ({ status: 204 });
  readonly #server = createServer((request, response) => void this.#take(request, response));
  readonly #sockets = new Set<Socket>();

  /** `key` is the secret's base64 part. */
  constructor(key = Buffer.alloc(32, 7).toString('base64')) {
    this.secret = `whsec_${key}`;
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/hook`;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Everything that was said of alerts, in order of arrival. */
  get alerts(): ReceivedAlert[] {
    return this.received.flatMap(({ alerts }) => alerts);
  }

  /** What was said and answered with 2xx. */
  get taken(): ReceivedAlert[] {
    return this.received.filter(({ status }) => status !== undefined && status < 300).flatMap(({ alerts }) => alerts);
  }

  async until(what: string, is: (receiver: this) => boolean, timeoutMs = 30_000): Promise<void> {
    await waitUntil(() => is(this), { what: `the webhook to hear ${what}`, timeoutMs });
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer);
    } catch {
      return;
    }
    const body = Buffer.concat(chunks);
    const { data } = JSON.parse(body.toString('utf8')) as { data: { alerts: ReceivedAlert[]; possibleRepeat?: boolean } };
    const received: Received = {
      id: String(request.headers['webhook-id']),
      at: performance.timeOrigin + performance.now(),
      headers: request.headers,
      signed: this.#isSigned(request.headers, body),
      possibleRepeat: data.possibleRepeat === true,
      alerts: data.alerts,
      status: undefined,
    };
    this.received.push(received);
    const answer = await this.answer(received);
    if (answer === 'hang') return;
    if (answer === 'reset') return void request.socket.resetAndDestroy();
    received.status = answer.status;
    response.writeHead(answer.status, answer.headers).end();
  }

  /** https://github.com/standard-webhooks/standard-webhooks, "Verifying signatures". */
  #isSigned(headers: IncomingHttpHeaders, body: Buffer): boolean {
    const [id, timestamp] = [headers['webhook-id'], headers['webhook-timestamp']].map(String);
    if (Math.abs(Date.now() / 1_000 - Number(timestamp)) > 300) return false;
    const key = Buffer.from(this.secret.slice('whsec_'.length), 'base64');
    const expected = createHmac('sha256', key).update(`${id!}.${timestamp!}.`).update(body).digest();
    return String(headers['webhook-signature'])
      .split(' ')
      .some((part) => {
        const [version, signature = ''] = part.split(',', 2);
        const given = Buffer.from(signature, 'base64');
        return version === 'v1' && given.length === expected.length && timingSafeEqual(given, expected);
      });
  }
}
