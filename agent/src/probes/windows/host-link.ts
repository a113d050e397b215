/**
 * The agent's end of the pipe to the Windows service host, which reads what Node.js cannot. One connection, one question at a time,
 * in order; an answer is one line of JSON. Without a host every question fails with the reason, so that nothing becomes a zero.
 */
import { connect, type Socket } from 'node:net';
import { codeOf } from '@tidemark/service';

export type HostQuestion = 'network' | 'disks' | 'services' | 'memory' | 'drives' | 'machine';

export interface HostLink {
  /** The host's answer. Rejects with a sentence when there is no host, it does not answer in time, or it cannot tell. */
  ask(question: HostQuestion): Promise<unknown>;
  close(): void;
}

/** Less than a probe's time: its failure then says what was waited for. */
const ANSWER_TIMEOUT_MS = 3_000;
/** The host's own bound (LineProtocol.AnswerMaximum). */
const ANSWER_CHARS_MAX = 512 * 1024;

const NO_HOST =
  'the Windows service host is not there, and only it can read this: ' +
  'the agent runs as a scheduled task or by hand (docs/how-to/install-windows.md)';

interface Question {
  readonly text: HostQuestion;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** `path` is the pipe's, `\\.\pipe\…`; undefined or empty when no host started this agent. */
export function createHostLink(path: string | undefined, timeoutMs: number = ANSWER_TIMEOUT_MS): HostLink {
  if (path === undefined || path === '') return { ask: () => Promise.reject(new Error(NO_HOST)), close: () => {} };
  return new PipeLink(path, timeoutMs);
}

class PipeLink implements HostLink {
  readonly #path: string;
  readonly #timeoutMs: number;
  readonly #waiting: Question[] = [];
  #socket: Socket | undefined;
  #text = '';
  #asked: Question | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(path: string, timeoutMs: number) {
    this.#path = path;
    this.#timeoutMs = timeoutMs;
  }

  ask(text: HostQuestion): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ text, resolve, reject });
      this.#next();
    });
  }

  close(): void {
    this.#fail('the agent stops');
  }

  #next(): void {
    if (this.#asked !== undefined) return;
    const question = this.#waiting.shift();
    if (question === undefined) return;
    this.#asked = question;
    this.#timer = setTimeout(() => this.#fail(`the Windows service host did not answer within ${this.#timeoutMs} ms`), this.#timeoutMs);
    this.#socket ??= this.#open();
    this.#socket.write(`${question.text}\n`);
  }

  #open(): Socket {
    const socket = connect(this.#path);
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => {
      if (socket === this.#socket) this.#take(text);
    });
    socket.on('error', (error) => {
      if (socket === this.#socket) this.#fail(`the pipe to the Windows service host failed (${codeOf(error) ?? error.message})`);
    });
    socket.on('close', () => {
      if (socket === this.#socket) this.#fail('the Windows service host closed its pipe');
    });
    // Between two questions it keeps no process alive that has nothing else to do.
    socket.unref();
    return socket;
  }

  #take(text: string): void {
    this.#text += text;
    const end = this.#text.indexOf('\n');
    if (end < 0) {
      if (this.#text.length > ANSWER_CHARS_MAX) this.#fail('the Windows service host answers without an end');
      return;
    }
    const line = this.#text.slice(0, end);
    const surplus = this.#text.length > end + 1;
    if (this.#asked === undefined || surplus) return this.#fail('the Windows service host said what it was not asked');
    this.#text = '';
    const asked = this.#settle();
    try {
      const answer: unknown = JSON.parse(line);
      const error = (answer as { error?: unknown } | null)?.error;
      if (typeof error === 'string') asked?.reject(new Error(`the Windows service host cannot tell: ${error}`));
      else asked?.resolve(answer);
    } catch {
      asked?.reject(new Error('the Windows service host answered what is no JSON'));
    }
    this.#next();
  }

  #settle(): Question | undefined {
    const asked = this.#asked;
    this.#asked = undefined;
    clearTimeout(this.#timer);
    return asked;
  }

  /** The connection is given up: an answer that comes late would be taken for that of the next question. Everyone who waits hears it. */
  #fail(sentence: string): void {
    this.#socket?.destroy();
    this.#socket = undefined;
    this.#text = '';
    const unanswered = [this.#settle(), ...this.#waiting.splice(0)];
    for (const question of unanswered) question?.reject(new Error(sentence));
  }
}
