/**
 * E-mail over SMTP: a conversation is a thread, whose ids follow from the delivery's, so that a repetition is recognised by
 * mail programs. Encrypted unless the configuration says otherwise; nothing that a node is called can become a header.
 */
import { isIP } from 'node:net';
import { codeOf, sentenceOf, type Mistake } from '@tidemark/service';
import { createTransport } from 'nodemailer';
import { Type, type Static } from 'typebox';
import { oneLine } from '../wording.ts';
import type { Channel, ChannelKind, Message, Sent } from './channel.ts';
import { mailText } from './email-text.ts';
import { readChannelFile } from './secrets.ts';

const ATTEMPT_MS = 30_000;
const CONNECT_MS = 10_000;
const SILENCE_MS = 20_000;
/** Deliveries of which some recipients have the mail already and others do not. */
const PARTIAL_KEPT = 100;

const ADDRESS = /^[^\s<>@,;:"()[\]\\\p{Cc}]+@[A-Za-z0-9.-]+$|^[^\s<>@,;:"()[\]\\\p{Cc}]+@\[[0-9A-Fa-f.:]+\]$/u;
const NAMED = /^([^<>\p{Cc}]*)<([^<>]+)>$/u;

interface Address {
  readonly name: string;
  readonly address: string;
}

/** "Name <user@host>" or "user@host". */
function parseAddress(text: string): Address | undefined {
  const [, name, inside] = NAMED.exec(text.trim()) ?? [];
  const address = (inside ?? text).trim();
  return ADDRESS.test(address) ? { name: (name ?? '').replaceAll('"', '').trim(), address } : undefined;
}

const MailAddress = Type.Refine(
  Type.String({ maxLength: 320, wanted: 'an address: user@example.org, or Name <user@example.org>' }),
  (text) => parseAddress(text) !== undefined,
);

export const EmailOptions = Type.Object({
  host: Type.Refine(Type.String({ wanted: 'the name or address of the SMTP server' }), (text) => /^[A-Za-z0-9.:-]{1,253}$/.test(text)),
  port: Type.Optional(Type.Integer({ minimum: 1, maximum: 65_535, wanted: 'a port from 1 to 65535' })),
  tls: Type.Optional(
    Type.Union([Type.Literal('starttls'), Type.Literal('implicit'), Type.Literal('off')], { wanted: 'starttls, implicit or off' }),
  ),
  caFile: Type.Optional(Type.String({ minLength: 1, wanted: 'a file with certificates (PEM) to trust instead of those of the system' })),
  user: Type.Optional(Type.String({ minLength: 1, wanted: 'the name to sign in with' })),
  passwordFile: Type.Optional(Type.String({ minLength: 1, wanted: 'a file with the password' })),
  from: MailAddress,
  to: Type.Array(MailAddress, { minItems: 1, maxItems: 50, wanted: 'a list of 1 to 50 addresses' }),
});
export type EmailOptions = Static<typeof EmailOptions>;

/** What is wrong between the options, where each by itself is right. */
export function emailMistakes({ user, passwordFile, tls, host }: EmailOptions): Mistake[] {
  if (user !== undefined && passwordFile === undefined) return [{ path: ['user'], text: 'user: passwordFile is missing beside it' }];
  if (user === undefined && passwordFile !== undefined)
    return [{ path: ['passwordFile'], text: 'passwordFile: user is missing beside it' }];
  if (user !== undefined && (tls ?? defaultTls(host)) === 'off' && !isLoopback(host))
    return [{ path: ['tls'], text: 'tls: off would send the password readably over the network; use starttls or implicit' }];
  return [];
}

const isLoopback = (host: string): boolean => host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
const defaultTls = (host: string): 'starttls' | 'off' => (isLoopback(host) ? 'off' : 'starttls');
const PORTS = { starttls: 587, implicit: 465, off: 25 } as const;

export const email: ChannelKind<EmailOptions> = { kind: 'email', options: EmailOptions, attemptMs: ATTEMPT_MS, make: makeEmail };

interface Recipients {
  readonly accepted: Set<string>;
  /** With what the server said. */
  readonly refused: Map<string, string>;
}

function makeEmail(options: EmailOptions): Channel {
  const { host, caFile, user, passwordFile } = options;
  const tls = options.tls ?? defaultTls(host);
  const port = options.port ?? PORTS[tls];
  const from = parseAddress(options.from)!;
  const to = options.to.map((text) => parseAddress(text)!);
  const domain = from.address.slice(from.address.lastIndexOf('@') + 1).replace(/[[\]]/g, '');
  const transport = createTransport({
    host,
    port,
    secure: tls === 'implicit',
    requireTLS: tls === 'starttls',
    ignoreTLS: tls === 'off',
    tls: { minVersion: 'TLSv1.2', ...(caFile === undefined ? {} : { ca: readChannelFile(caFile, 'certificates to trust') }) },
    ...(user === undefined ? {} : { auth: { user, pass: readChannelFile(passwordFile!, 'the password for the SMTP server') } }),
    connectionTimeout: CONNECT_MS,
    dnsTimeout: CONNECT_MS,
    greetingTimeout: CONNECT_MS,
    socketTimeout: SILENCE_MS,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  const partial = new Map<string, Recipients>();
  return {
    destination: `${to.map(({ address }) => address).join(', ')} by ${host}:${port}`,
    async send(message, { now, signal }) {
      const known = partial.get(message.id) ?? { accepted: new Set<string>(), refused: new Map<string, string>() };
      const open = to.map(({ address }) => address).filter((address) => !known.accepted.has(address) && !known.refused.has(address));
      try {
        const info: SmtpResult = await transport.sendMail({
          ...mailOf(message, domain, now),
          from,
          to: [...to],
          // Who has it already is not sent it again.
          envelope: { from: from.address, to: open },
          signal,
        });
        const sent = judge(info, known);
        partial.delete(message.id);
        if (sent.outcome === 'retry') remember(partial, message.id, known);
        return sent;
      } catch (error) {
        return failed(error, tls);
      }
    },
    close: () => transport.close(),
  };
}

function remember(partial: Map<string, Recipients>, id: string, known: Recipients): void {
  partial.set(id, known);
  if (partial.size > PARTIAL_KEPT) partial.delete(partial.keys().next().value!);
}

function mailOf(message: Message, domain: string, now: number) {
  const { subject, text, html } = mailText(message);
  const idOf = (id: string): string => `<${id}@${domain}>`;
  const root = idOf(message.thread);
  const rules = [...new Set(message.items.map(({ incident }) => incident.rule))];
  const nodes = [...new Set(message.items.map(({ node }) => node))];
  const firing = message.items.filter(({ status }) => status === 'firing');
  const critical = firing.some(({ level }) => level === 'critical');
  return {
    messageId: idOf(message.id),
    ...(message.opensThread ? {} : { inReplyTo: root, references: [root] }),
    date: new Date(now),
    subject,
    text,
    html,
    xMailer: false as const,
    ...(critical ? { priority: 'high' as const } : {}),
    headers: {
      'Auto-Submitted': 'auto-generated',
      'X-Auto-Response-Suppress': 'All',
      'X-Tidemark-Delivery': message.id,
      'X-Tidemark-Status': message.test ? 'test' : firing.length > 0 ? 'firing' : 'resolved',
      'X-Tidemark-Level': critical ? 'critical' : firing.length > 0 ? 'warning' : 'none',
      ...(rules.length === 0 ? {} : { 'X-Tidemark-Rule': oneLine(rules.join(', '), 200) }),
      ...(nodes.length === 0 ? {} : { 'X-Tidemark-Node': oneLine(nodes.join(', '), 200) }),
    },
  };
}

/** What this channel reads of nodemailer's answers. */
interface SmtpResult {
  readonly accepted?: readonly (string | { address: string })[] | undefined;
  readonly rejectedErrors?: readonly SmtpError[] | undefined;
  readonly response?: string | undefined;
}
interface SmtpError {
  readonly recipient?: string | undefined;
  readonly responseCode?: number | undefined;
  readonly response?: string | undefined;
}

function judge({ accepted = [], rejectedErrors = [], response = '' }: SmtpResult, known: Recipients): Sent {
  for (const one of accepted) known.accepted.add(typeof one === 'string' ? one : one.address);
  const later: string[] = [];
  for (const { recipient = 'a recipient', responseCode = 0, response: said = '' } of rejectedErrors) {
    if (responseCode >= 500) known.refused.set(recipient, said);
    else later.push(`${recipient} (${oneLine(said, 120)})`);
  }
  const refused = [...known.refused].map(([recipient, said]) => `${recipient} (${oneLine(said, 120)})`);
  const parts = [
    oneLine(response, 150),
    ...(refused.length > 0 ? [`refused for ${refused.join(', ')}`] : []),
    ...(later.length > 0 ? [`not yet taken for ${later.join(', ')}`] : []),
  ];
  return { outcome: later.length > 0 ? 'retry' : 'delivered', answer: oneLine(parts.join('; '), 600) };
}

const NETWORK: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'there is no such host',
  EDNS: 'the name of the server cannot be looked up',
  ETIMEDOUT: 'no answer in time',
  ECONNECTION: 'the connection was cut',
  ECONNRESET: 'the connection was cut',
};

function failed(error: unknown, tls: string): Sent {
  const { responseCode, response, rejectedErrors = [] } = error as SmtpError & { rejectedErrors?: readonly SmtpError[] };
  const code = codeOf(error) ?? '';
  // The library says ESOCKET for all that happens to a socket; the words beside it are the system's.
  const words = sentenceOf(error);
  if (code === 'ETLS' || (responseCode === undefined && /certificate|self.signed|\bTLS\b|\bSSL\b|SSL routines/i.test(words))) {
    const advice =
      tls === 'starttls' ? 'it may offer no STARTTLS, or its certificate is not trusted: see caFile and tls' : 'see caFile and tls';
    return { outcome: 'retry', answer: `no encrypted connection: ${oneLine(words, 200)}; ${advice}` };
  }
  if (responseCode !== undefined) {
    // One recipient to be tried again is reason enough to try again.
    const temporary = responseCode < 500 || rejectedErrors.some((one) => (one.responseCode ?? 0) < 500);
    const said = oneLine(response ?? words, 200);
    const who = rejectedErrors.length === 0 ? '' : ` (for ${rejectedErrors.map(({ recipient }) => recipient ?? '?').join(', ')})`;
    return { outcome: temporary ? 'retry' : 'refused', answer: `${code === 'EAUTH' ? 'sign-in refused: ' : ''}${said}${who}` };
  }
  const known = NETWORK[/\bE[A-Z]{4,}\b/.exec(words)?.[0] ?? ''] ?? NETWORK[code];
  return { outcome: 'retry', answer: known === undefined ? oneLine(words) : `${known} (${oneLine(words, 150)})` };
}
