/** Mail against a real SMTP server that encrypts, asks who it is, greylists, refuses, drops and hangs. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';
import { describe, expect, onTestFinished, test } from 'vitest';
import { testCertificate } from '../../http/tls-testing.ts';
import type { Channel, Message, Sent } from './channel.ts';
import { email, type EmailOptions } from './email.ts';
import { NOW, itemOf, messageOf } from './message-testing.ts';

interface Mail {
  headers: Map<string, string>;
  text: string;
  html: string;
  raw: string;
  from: string;
  to: string[];
  secure: boolean;
  user: string | undefined;
}

interface Server {
  port: number;
  mails: Mail[];
}

type Refusal = Error & { responseCode: number };
const reply = (responseCode: number, text: string): Refusal => Object.assign(new Error(text), { responseCode });

/** An SMTP server on loopback, ended with the test. */
async function smtpServer(options: SMTPServerOptions = {}, onSocket: (socket: Socket) => void = () => {}): Promise<Server> {
  const mails: Mail[] = [];
  const server = new SMTPServer({
    authOptional: true,
    disableReverseLookup: true,
    closeTimeout: 100,
    logger: false,
    onData(stream, session, done) {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        const { envelope, secure, user } = session;
        const to = envelope.rcptTo.map(({ address }) => address);
        mails.push({
          ...parse(Buffer.concat(chunks).toString('latin1')),
          from: envelope.mailFrom === false ? '' : envelope.mailFrom.address,
          to,
          secure,
          user,
        });
        done();
      });
    },
    ...options,
  });
  server.on('error', () => {});
  server.server.on('connection', onSocket);
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => new Promise<void>((resolve) => server.close(() => resolve())));
  const address = server.server.address();
  return { port: typeof address === 'object' && address !== null ? address.port : 0, mails };
}

/** As much of MIME as these mails use. */
function parse(raw: string): Pick<Mail, 'headers' | 'text' | 'html' | 'raw'> {
  const { headers, body } = split(raw);
  const boundary = /boundary="([^"]+)"/.exec(headers.get('content-type') ?? '')?.[1];
  const parts = boundary === undefined ? [raw] : body.split(`--${boundary}`).slice(1, -1);
  const content = (type: string): string => {
    const part = parts.map((one) => split(one.replace(/^\r\n/, ''))).find((one) => one.headers.get('content-type')?.startsWith(type));
    if (part === undefined) return '';
    const encoding = part.headers.get('content-transfer-encoding') ?? '7bit';
    if (encoding === 'base64') return Buffer.from(part.body, 'base64').toString('utf8');
    if (encoding !== 'quoted-printable') return part.body;
    const bytes = part.body
      .replace(/=\r\n/g, '')
      .replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
    return Buffer.from(bytes, 'latin1').toString('utf8');
  };
  return { headers, text: content('text/plain'), html: content('text/html'), raw };
}

function split(raw: string): { headers: Map<string, string>; body: string } {
  const end = raw.indexOf('\r\n\r\n');
  const headers = new Map<string, string>();
  for (const line of raw
    .slice(0, end)
    .replace(/\r\n[ \t]+/g, ' ')
    .split('\r\n')) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).toLowerCase();
    expect(headers.has(name), `${name} twice`).toBe(false);
    headers.set(name, decodeWords(line.slice(colon + 1).trim()));
  }
  return { headers, body: raw.slice(end + 4) };
}

function decodeWords(text: string): string {
  return text.replace(/\?= =\?/g, '?==?').replace(/=\?UTF-8\?([BQ])\?([^?]*)\?=/gi, (_, kind: string, content: string) => {
    if (kind.toUpperCase() === 'B') return Buffer.from(content, 'base64').toString('utf8');
    const bytes = content
      .replaceAll('_', ' ')
      .replace(/=([0-9A-F]{2})/gi, (_all, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
    return Buffer.from(bytes, 'latin1').toString('utf8');
  });
}

function file(content: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-email-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'file');
  writeFileSync(path, content, { mode: 0o600 });
  return path;
}

function make(port: number, options: Partial<EmailOptions> = {}): Channel {
  const channel = email.make({ host: '127.0.0.1', port, from: 'Tidemark <tidemark@example.org>', to: ['on-call@example.org'], ...options });
  onTestFinished(async () => channel.close?.());
  return channel;
}

const send = (channel: Channel, message: Message = messageOf(), timeoutMs = 10_000): Promise<Sent> =>
  channel.send(message, { now: NOW, signal: AbortSignal.timeout(timeoutMs) });

describe('what is sent', () => {
  test('what, where, value against bound, since when, why, what to do, and where to look', async () => {
    const { port, mails } = await smtpServer();
    const item = itemOf(
      {
        labels: [],
        annotations: { description: 'The CPU is busy.', action: 'Look at top.' },
        site: 'berlin',
        why: '93 % is above 90 %, for 5 min without interruption',
        since: NOW - 300_000,
      },
      { runbook: 'https://monitor.example/runbooks/cpu' },
    );
    expect(await send(make(port), messageOf({ items: [item] }))).toMatchObject({
      outcome: 'delivered',
      answer: expect.stringMatching(/^250/) as string,
    });
    const [mail] = mails;
    expect(mail!.headers.get('subject')).toBe('[CRITICAL] db-1: CPU usage 93 % above 90 %');
    expect(Object.fromEntries(mail!.headers)).toMatchObject({
      'message-id': `<${messageOf().id}@example.org>`,
      'auto-submitted': 'auto-generated',
      'x-tidemark-status': 'firing',
      'x-tidemark-level': 'critical',
      'x-tidemark-rule': 'cpu_usage',
      'x-tidemark-node': 'db-1',
      from: 'Tidemark <tidemark@example.org>',
      to: 'on-call@example.org',
    });
    expect(mail!.headers.has('in-reply-to')).toBe(false);
    for (const words of [
      'db-1 (berlin)',
      '93 %; the bound: above 90 %',
      '2026-11-21 03:07:07 UTC',
      'for 5 min without interruption',
      'Look at top.',
      'https://monitor.example/runbooks/cpu',
      'https://monitor.example/alerts/i1',
    ]) {
      expect(mail!.text).toContain(words);
      expect(mail!.html).toContain(words);
    }
    expect(mail!.html).not.toMatch(/<img|src=|url\(|@import|<script|<link/i);
  });

  test('the end goes to the thread of the beginning, and says how long it was, why it ended, and the value now', async () => {
    const { port, mails } = await smtpServer();
    const channel = make(port);
    const firing = messageOf();
    await send(channel, firing);
    const over = itemOf(
      {
        closedAt: NOW + 720_000,
        closeReason: 'recovered',
        value: 0.61,
        since: NOW,
        labels: [],
        acknowledged: { by: 'ada', at: NOW, note: '' },
      },
      { status: 'resolved' },
    );
    await send(
      channel,
      messageOf({ id: '019aa3c4-8d58-7000-8000-000000000002', thread: firing.id, opensThread: false, items: [over], openCount: 0 }),
    );
    const [first, second] = mails;
    const root = first!.headers.get('message-id');
    expect(second!.headers.get('in-reply-to')).toBe(root);
    expect(second!.headers.get('references')).toBe(root);
    expect(second!.headers.get('message-id')).not.toBe(root);
    expect(second!.headers.get('subject')).toBe('[RESOLVED] db-1: CPU usage, after 12 min');
    expect(second!.headers.get('x-tidemark-status')).toBe('resolved');
    for (const words of ['61 % now', 'it recovered, at 2026-11-21 03:24:07 UTC', '12 min', 'No other alert is open.'])
      expect(second!.text).toContain(words);
  });

  test('many in one', async () => {
    const { port, mails } = await smtpServer();
    const items = [
      itemOf(),
      itemOf({}, { node: 'db-2', level: 'warning' }),
      itemOf({ closedAt: NOW, closeReason: 'gone' }, { node: 'db-3', status: 'resolved', late: true }),
    ];
    await send(make(port), messageOf({ items, possibleRepeat: true, openCount: 7 }));
    expect(mails[0]!.headers.get('subject')).toBe('[CRITICAL] 3 nodes: CPU usage, 2 firing, 1 resolved');
    for (const words of [
      'db-2',
      'what it was about is no longer there',
      'before this could be delivered',
      'may be a repetition',
      'told of: 7.',
    ])
      expect(mails[0]!.text).toContain(words);
  });

  test('a test says so', async () => {
    const { port, mails } = await smtpServer();
    await send(make(port), messageOf({ test: true, items: [] }));
    expect(mails[0]!.headers.get('subject')).toBe('[TEST] Tidemark can reach you');
    expect(mails[0]!.text).toContain('https://monitor.example');
  });

  test('nothing that a node, a rule or a label is called becomes a header, an address or HTML', async () => {
    const { port, mails } = await smtpServer();
    const evil = 'db\r\nBcc: eve@example.org\r\n\r\n<script>alert(1)</script> "ü" 数据库 \u0000\u2028';
    const item = itemOf(
      { title: evil, rule: evil, site: evil, labels: [['mountpoint', evil]], why: evil, annotations: { [evil]: evil } },
      { node: evil, runbook: 'javascript:alert(1)', url: 'https://monitor.example/"><b>' },
    );
    expect(await send(make(port), messageOf({ items: [item] }))).toMatchObject({ outcome: 'delivered' });
    const [mail] = mails;
    expect(mail!.to).toEqual(['on-call@example.org']);
    expect(mail!.headers.has('bcc')).toBe(false);
    expect(mail!.headers.get('subject')).toContain('ü');
    expect(mail!.headers.get('subject')).toContain('数据库');
    expect(mail!.headers.get('x-tidemark-node')).toContain('Bcc: eve@example.org');
    expect(mail!.html).not.toContain('<script>');
    expect(mail!.html).not.toContain('href="javascript');
    expect(mail!.html).not.toContain('<b>');
    expect(mail!.html).toContain('&lt;script&gt;');
  });
});

describe('encryption and sign-in', () => {
  const tls = testCertificate('127.0.0.1');
  const auth: SMTPServerOptions = {
    authOptional: false,
    onAuth({ username, password }, _session, done) {
      if (username === 'monitor' && password === 'pass word') done(null, { user: 'monitor' });
      else done(reply(535, '5.7.8 wrong user or password'));
    },
  };

  test('STARTTLS with an authority of its own, signed in', async () => {
    const { port, mails } = await smtpServer({ ...auth, key: tls.key, cert: tls.cert });
    const channel = make(port, { tls: 'starttls', caFile: file(tls.ca), user: 'monitor', passwordFile: file('pass word\n') });
    expect(await send(channel)).toMatchObject({ outcome: 'delivered' });
    expect(mails[0]).toMatchObject({ secure: true, user: 'monitor' });
  });

  test('TLS from the start', async () => {
    const { port, mails } = await smtpServer({ secure: true, key: tls.key, cert: tls.cert });
    expect(await send(make(port, { tls: 'implicit', caFile: file(tls.ca) }))).toMatchObject({ outcome: 'delivered' });
    expect(mails[0]!.secure).toBe(true);
  });

  test.each(['starttls', 'implicit'] as const)('%s with a certificate that nobody vouches for: nothing is said to it', async (mode) => {
    const { port, mails } = await smtpServer({ secure: mode === 'implicit', key: tls.key, cert: tls.cert });
    expect(await send(make(port, { tls: mode }))).toMatchObject({ outcome: 'retry', answer: expect.stringContaining('caFile') as string });
    expect(mails).toEqual([]);
  });

  test('a server that offers no STARTTLS is told nothing', async () => {
    const { port, mails } = await smtpServer({ disabledCommands: ['STARTTLS'], hideSTARTTLS: true });
    expect(await send(make(port, { tls: 'starttls' }))).toMatchObject({
      outcome: 'retry',
      answer: expect.stringContaining('STARTTLS') as string,
    });
    expect(mails).toEqual([]);
  });

  test('a wrong password is refused, and not said', async () => {
    const { port } = await smtpServer({ ...auth, key: tls.key, cert: tls.cert });
    const sent = await send(make(port, { tls: 'starttls', caFile: file(tls.ca), user: 'monitor', passwordFile: file('hunter2') }));
    expect(sent).toMatchObject({ outcome: 'refused', answer: expect.stringMatching(/^sign-in refused: 535/) as string });
    expect(sent.answer).not.toContain('hunter2');
  });
});

describe('what comes back', () => {
  test('greylisted: tried again, and taken', async () => {
    let asked = 0;
    const { port, mails } = await smtpServer({
      onRcptTo: (_address, _session, done) => done(asked++ === 0 ? reply(450, '4.2.0 greylisted, come back') : null),
    });
    const channel = make(port);
    expect(await send(channel)).toMatchObject({ outcome: 'retry', answer: expect.stringContaining('450') as string });
    expect(await send(channel, messageOf({ possibleRepeat: true }))).toMatchObject({ outcome: 'delivered' });
    expect(mails.length).toBe(1);
  });

  test.each<[string, SMTPServerOptions, Sent['outcome'], RegExp]>([
    ['no such recipient', { onRcptTo: (_a, _s, done) => done(reply(550, '5.1.1 no such user')) }, 'refused', /550.*on-call@example\.org/],
    ['no such sender', { onMailFrom: (_a, _s, done) => done(reply(553, '5.7.1 not you')) }, 'refused', /553/],
    ['a sender who must wait', { onMailFrom: (_a, _s, done) => done(reply(451, '4.7.1 later')) }, 'retry', /451/],
    ['a server that is busy', { onConnect: (_s, done) => done(reply(421, '4.3.2 busy')) }, 'retry', /421/],
    ['a server that takes no mail', { onConnect: (_s, done) => done(reply(554, '5.3.2 go away')) }, 'refused', /554/],
    [
      'content that is refused',
      { onData: (stream, _s, done) => void stream.resume().on('end', () => done(reply(554, '5.6.0 spam'))) },
      'refused',
      /554/,
    ],
    [
      'a full disk over there',
      { onData: (stream, _s, done) => void stream.resume().on('end', () => done(reply(452, '4.3.1 no room'))) },
      'retry',
      /452/,
    ],
  ])('%s', async (_, options, outcome, said) => {
    const { port } = await smtpServer(options);
    expect(await send(make(port))).toMatchObject({ outcome, answer: expect.stringMatching(said) as string });
  });

  test('some recipients are refused, some are greylisted: each gets it once, and it is said who does not', async () => {
    let first = true;
    const { port, mails } = await smtpServer({
      onRcptTo({ address }, _session, done) {
        if (address.startsWith('gone')) done(reply(550, '5.1.1 no such user'));
        else if (address.startsWith('grey') && first) {
          first = false;
          done(reply(450, '4.2.0 greylisted'));
        } else done();
      },
    });
    const channel = make(port, { to: ['on-call@example.org', 'gone@example.org', 'grey@example.org'] });
    expect(await send(channel)).toMatchObject({
      outcome: 'retry',
      answer: expect.stringMatching(/refused for gone@.*not yet taken for grey@/) as string,
    });
    const again = await send(channel, messageOf({ possibleRepeat: true }));
    expect(again).toMatchObject({ outcome: 'delivered', answer: expect.stringContaining('refused for gone@example.org') as string });
    expect(mails.map(({ to }) => to)).toEqual([['on-call@example.org'], ['grey@example.org']]);
    expect(mails[0]!.headers.get('message-id')).toBe(mails[1]!.headers.get('message-id'));
  });

  test('the connection is dropped before the answer: it may have arrived, and is tried again', async () => {
    const sockets = new Set<Socket>();
    const { port } = await smtpServer(
      { onData: (stream) => void stream.resume().on('end', () => sockets.forEach((socket) => socket.destroy())) },
      (socket) => sockets.add(socket),
    );
    expect(await send(make(port))).toMatchObject({ outcome: 'retry' });
    expect(sockets.size).toBe(1);
  });

  test('one that hangs is left when the time is up', async () => {
    const { port } = await smtpServer({ onMailFrom: () => {} });
    const started = performance.now();
    expect(await send(make(port), messageOf(), 300)).toMatchObject({ outcome: 'retry' });
    expect(performance.now() - started).toBeLessThan(3_000);
  });

  test('nobody there', async () => {
    expect(await send(make(1))).toMatchObject({ outcome: 'retry', answer: expect.stringContaining('nothing listens there') as string });
  });
});
