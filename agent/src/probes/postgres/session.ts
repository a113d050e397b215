/**
 * One connection to one PostgreSQL server, kept as long as it holds. One statement is on its way at a time, whoever asks,
 * each in a transaction of its own, so that nothing ever holds back a horizon on the server it watches. A repeated
 * statement is one write and one read: it is prepared once, and nothing is asked about what its columns are.
 */
import type { Clock } from '@tidemark/service';
import { Client, type Connection } from 'pg';
import { isUntranslatable } from './failure.ts';
import type { Target } from './target.ts';

/** Values as PostgreSQL writes them, in the order of the statement's columns. */
export type Values = readonly (string | null)[];

/** One answered statement, on the clock that nobody sets. */
export interface Answer {
  readonly rows: Values[];
  readonly sentMs: number;
  readonly tookMs: number;
}

/** What a graceful goodbye may take before the socket is cut. */
const GOODBYE_MS = 500;
/** More than any statement here asks for: a bound on memory, not on meaning. */
const ROWS_MAX = 50_000;

export class Session {
  readonly #target: Target;
  readonly #clock: Clock;
  #client: Client | undefined;
  #ready = false;
  #giveUp: ((reason: Error) => void) | undefined;
  #active: Asked | undefined;
  #waiting: Asked[] = [];
  readonly #prepared = new Map<string, Prepared>();
  /** The server has text that it cannot turn into UTF-8: take it as it is. Stays so for later connections. */
  #asItIs = false;

  constructor(target: Target, clock: Clock) {
    this.#target = target;
    this.#clock = clock;
  }

  /** Connected and of use. */
  get ready(): boolean {
    return this.#ready;
  }

  /** The pid that the server gave when it let us in. Something in between may have made it up. */
  get processId(): number | null {
    return (this.#client as unknown as { processID?: number | null } | undefined)?.processID ?? null;
  }

  /** Opens the connection anew. Has no bound of its own: whoever waits calls `drop`, and it rejects. */
  async connect(): Promise<void> {
    this.drop();
    const client = new Client(this.#target.clientConfig());
    // Also after it is given up: an error event that nobody hears would end the process.
    client.on('error', (error) => this.#forget(client, error));
    client.on('end', () => this.#forget(client, new Error('Connection terminated')));
    this.#client = client;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#giveUp = reject;
        client.connect().then(() => resolve(), reject);
      });
    } catch (error) {
      if (this.#client === client) this.drop();
      throw error;
    }
    this.#ready = true;
    if (this.#asItIs) await this.#ask("SET client_encoding TO 'SQL_ASCII'");
  }

  /** Asks when it is this statement's turn. Rejects with the server's error, or what `drop` was given. */
  async ask(text: string): Promise<Answer> {
    try {
      return await this.#ask(text);
    } catch (error) {
      if (this.#asItIs || !isUntranslatable(error)) throw error;
      this.#asItIs = true;
      await this.#ask("SET client_encoding TO 'SQL_ASCII'");
      return await this.#ask(text);
    }
  }

  /** Cuts the connection at once, whatever is under way on it, which rejects with the reason. */
  drop(reason: Error = new Error('Connection terminated')): void {
    const client = this.#client;
    if (client !== undefined) this.#forget(client, reason);
  }

  /** Says goodbye, so that the server does not log a lost client; cuts the connection when that takes too long. */
  async close(): Promise<void> {
    const client = this.#client;
    if (client === undefined) return;
    this.#release(new Error('Connection terminated'));
    const cut = setTimeout(() => client.connection.stream.destroy(), GOODBYE_MS);
    try {
      await client.end();
    } finally {
      clearTimeout(cut);
    }
  }

  #ask(text: string): Promise<Answer> {
    if (!this.#ready) return Promise.reject(new Error('Connection terminated'));
    return new Promise<Answer>((resolve, reject) => {
      const settled = (asked: Asked): void => this.#next(asked);
      const asked = new Asked(text, { prepared: this.#prepared, clock: this.#clock, settled, resolve, reject });
      if (this.#active === undefined) this.#start(asked);
      else this.#waiting.push(asked);
    });
  }

  #start(asked: Asked): void {
    this.#active = asked;
    this.#client!.query(asked);
  }

  #next(asked: Asked): void {
    if (this.#active !== asked) return;
    this.#active = undefined;
    const next = this.#waiting.shift();
    if (next !== undefined && this.#client !== undefined) this.#start(next);
  }

  #forget(client: Client, reason: Error): void {
    if (this.#client !== client) return;
    this.#release(reason);
    client.connection.stream.destroy();
  }

  /** From here on nobody waits for this connection. */
  #release(reason: Error): void {
    const under = this.#active === undefined ? this.#waiting : [this.#active, ...this.#waiting];
    this.#client = undefined;
    this.#ready = false;
    this.#active = undefined;
    this.#waiting = [];
    this.#prepared.clear();
    this.#giveUp?.(reason);
    this.#giveUp = undefined;
    for (const asked of under) asked.handleError(reason);
  }
}

interface Prepared {
  /** What to write for it. */
  readonly again: Buffer;
  readonly name: string;
  /** The server has it. Whether it has after an error nobody knows. */
  known: boolean;
}

interface Asking {
  /** By their texts. */
  readonly prepared: Map<string, Prepared>;
  readonly clock: Clock;
  readonly settled: (asked: Asked) => void;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

/** A statement on its way, as the pg library's Client takes one. */
class Asked {
  readonly #text: string;
  readonly #asking: Asking;
  readonly #rows: Values[] = [];
  #prepared: Prepared | undefined;
  #sentMs = 0;
  #over = false;

  constructor(text: string, asking: Asking) {
    this.#text = text;
    this.#asking = asking;
  }

  submit(connection: Connection): void {
    const { prepared, clock } = this.#asking;
    let statement = prepared.get(this.#text);
    if (statement === undefined) {
      const name = `tidemark_${prepared.size + 1}`;
      statement = { name, again: executeMessage(name), known: false };
      prepared.set(this.#text, statement);
    }
    this.#prepared = statement;
    const { known, again, name } = statement;
    statement.known = true;
    this.#sentMs = clock.monotonicMs();
    connection.stream.write(known ? again : Buffer.concat([closeMessage(name), parseMessage(name, this.#text), again]));
  }

  handleDataRow({ fields }: { fields: Values }): void {
    if (this.#rows.length < ROWS_MAX) this.#rows.push(fields);
  }

  handleCommandComplete(): void {}
  handleEmptyQuery(): void {}

  handleReadyForQuery(): void {
    if (this.#over) return;
    this.#over = true;
    const { clock, resolve, settled } = this.#asking;
    resolve({ rows: this.#rows, sentMs: this.#sentMs, tookMs: clock.monotonicMs() - this.#sentMs });
    settled(this);
  }

  handleError(error: Error): void {
    if (this.#over) return;
    this.#over = true;
    if (this.#prepared !== undefined) this.#prepared.known = false;
    this.#asking.reject(error);
    this.#asking.settled(this);
  }
}

/** Close, which minds nothing that is not there. */
function closeMessage(name: string): Buffer {
  return message('C', `S${name}\0`);
}

/** Parse: name, text, no parameter types. */
function parseMessage(name: string, text: string): Buffer {
  return message('P', `${name}\0${text}\0\0\0`);
}

/** Bind (no portal name, no parameters, every column as text), Execute (all rows), Sync. */
function executeMessage(name: string): Buffer {
  return Buffer.concat([message('B', `\0${name}\0${'\0'.repeat(6)}`), message('E', '\0'.repeat(5)), message('S', '')]);
}

function message(type: string, content: string): Buffer {
  const body = Buffer.from(content, 'utf8');
  const head = Buffer.alloc(5);
  head.write(type, 'latin1');
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}
