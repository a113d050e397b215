/**
 * Server-sent events, read from a streaming answer (WHATWG HTML, section 9.2). Not by `EventSource`: that one hides
 * why a stream was refused, and so neither an ended session nor "come back in 30 s" could be told from a lost connection.
 */
import type { AlertView, LiveEvents, Overview } from '@tidemark/protocol';
import { isRecord } from './transport.ts';

export type LiveEvent = { [Name in keyof LiveEvents]: { name: Name; data: LiveEvents[Name] } }[keyof LiveEvents];

/** An event larger than this is not one of a collector. */
const WAITING_MOST = 64 * 1024 * 1024;

/** Splits what arrives into events; a part of a line, or of a character, waits for the rest. */
export function eventParser(onEvent: (name: string, data: string) => void): (bytes: Uint8Array) => void {
  const decoder = new TextDecoder();
  let waiting = '';
  let name = '';
  let data: string[] = [];
  const line = (text: string): void => {
    if (text === '') {
      if (data.length > 0) onEvent(name === '' ? 'message' : name, data.join('\n'));
      name = '';
      data = [];
      return;
    }
    const colon = text.indexOf(':');
    if (colon === 0) return;
    const field = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? '' : text.slice(colon + (text[colon + 1] === ' ' ? 2 : 1));
    if (field === 'event') name = value;
    else if (field === 'data') data.push(value);
  };
  return (bytes) => {
    waiting += decoder.decode(bytes, { stream: true });
    if (waiting.length > WAITING_MOST) throw new Error('An event without an end');
    // A carriage return at the very end may be the first half of a line end.
    const whole = waiting.endsWith('\r') ? waiting.slice(0, -1) : waiting;
    const lines = whole.split(/\r\n|\n|\r/);
    waiting = (lines.pop() ?? '') + waiting.slice(whole.length);
    for (const each of lines) line(each);
  };
}

const isOverview = (body: unknown): body is Overview => isRecord(body) && typeof body['at'] === 'string' && Array.isArray(body['nodes']);
const isAlert = (body: unknown): body is AlertView =>
  isRecord(body) && typeof body['id'] === 'string' && typeof body['rule'] === 'string' && typeof body['state'] === 'string';

/** An event of a form that is known here; of a later collector's others nothing is made. */
export function liveEvent(name: string, data: string): LiveEvent | undefined {
  let body: unknown;
  try {
    body = JSON.parse(data);
  } catch {
    return undefined;
  }
  if (!isRecord(body)) return undefined;
  switch (name) {
    case 'life':
      return typeof body['at'] === 'string' ? { name, data: { at: body['at'] } } : undefined;
    case 'overview':
      return isOverview(body) ? { name, data: body } : undefined;
    case 'nodes':
      return Array.isArray(body['removed']) && isOverview(body) ? { name, data: body as unknown as LiveEvents['nodes'] } : undefined;
    case 'alert':
      return isAlert(body) ? { name, data: body } : undefined;
    case 'changed':
      return typeof body['what'] === 'string' ? { name, data: body as unknown as LiveEvents['changed'] } : undefined;
    default:
      return undefined;
  }
}

/** Reads a stream to its end. */
export async function readEvents(body: ReadableStream<Uint8Array>, onEvent: (event: LiveEvent) => void): Promise<void> {
  const parse = eventParser((name, data) => {
    const event = liveEvent(name, data);
    if (event !== undefined) onEvent(event);
  });
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      parse(value);
    }
  } finally {
    // Whoever stopped reading does not want the rest.
    await reader.cancel().catch(() => {});
  }
}
