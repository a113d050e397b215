/** A real SMTP server on loopback that keeps what it is given, and can refuse or greylist as a test wants. */
import type { AddressInfo } from 'node:net';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';
import { waitUntil } from '../postgres/cluster.ts';

export interface Mail {
  from: string;
  to: string[];
  /** Names in lower case; folded lines joined. */
  headers: Map<string, string>;
  subject: string;
  text: string;
}

export class MailReceiver {
  readonly mails: Mail[] = [];
  /** Asked for each recipient: an SMTP answer that refuses, or undefined to take it. */
  refuse: (recipient: string) => { code: number; text: string } | undefined = () => undefined;
  readonly #server: SMTPServer;

  constructor(options: SMTPServerOptions = {}) {
    this.#server = new SMTPServer({
      authOptional: true,
      disabledCommands: ['STARTTLS', 'AUTH'],
      logger: false,
      onRcptTo: (address, _, done) => {
        const refusal = this.refuse(address.address);
        done(refusal === undefined ? undefined : Object.assign(new Error(refusal.text), { responseCode: refusal.code }));
      },
      onData: (stream, session, done) => {
        const chunks: Buffer[] = [];
        stream.on('data', (chunk: Buffer) => chunks.push(chunk));
        stream.on('end', () => {
          const { mailFrom, rcptTo } = session.envelope;
          const from = mailFrom === false ? '' : mailFrom.address;
          this.mails.push(
            parseMail(
              Buffer.concat(chunks).toString('utf8'),
              from,
              rcptTo.map(({ address }) => address),
            ),
          );
          done();
        });
      },
      ...options,
    });
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(0, '127.0.0.1', resolve);
    });
    return this;
  }

  get port(): number {
    return (this.#server.server.address() as AddressInfo).port;
  }

  stop(): Promise<void> {
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  async until(what: string, is: (mails: readonly Mail[]) => boolean, timeoutMs = 30_000): Promise<void> {
    await waitUntil(() => is(this.mails), { what: `the mailbox to have ${what}`, timeoutMs });
  }
}

function parseMail(raw: string, from: string, to: string[]): Mail {
  const end = raw.indexOf('\r\n\r\n');
  const headers = new Map<string, string>();
  for (const line of raw
    .slice(0, end)
    .replace(/\r\n[ \t]+/g, ' ')
    .split('\r\n')) {
    const colon = line.indexOf(':');
    headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  return { from, to, headers, subject: decodeWords(headers.get('subject') ?? ''), text: decodeBody(raw.slice(end + 4)) };
}

/** RFC 2047, as far as a test needs it. */
function decodeWords(text: string): string {
  return text
    .replace(/\?=\s+=\?/g, '?==?')
    .replace(/=\?utf-8\?([bq])\?([^?]*)\?=/gi, (_, kind: string, word: string) =>
      kind.toLowerCase() === 'b' ? Buffer.from(word, 'base64').toString('utf8') : quotedPrintable(word.replaceAll('_', ' ')),
    );
}

const quotedPrintable = (text: string): string =>
  Buffer.from(
    text.replace(/=\r\n/g, '').replace(/=([0-9A-F]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  ).toString('utf8');

/** Every part of the message, decoded by its own encoding, one after the other. */
function decodeBody(body: string): string {
  const part = /content-transfer-encoding: (\S+)[^]*?\r\n\r\n([^]*?)(?=\r\n--|$)/gi;
  const parts = [...body.matchAll(part)].map(([, encoding, text]) =>
    encoding!.toLowerCase() === 'base64' ? Buffer.from(text!, 'base64').toString('utf8') : quotedPrintable(text!),
  );
  return parts.length > 0 ? parts.join('\n') : quotedPrintable(body);
}
