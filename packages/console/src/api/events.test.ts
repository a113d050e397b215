/** Events survive whatever the network cuts, and what is not known is left alone. */
import { expect, test } from 'vitest';
import { eventParser, liveEvent, readEvents, type LiveEvent } from './events.ts';

const bytes = (text: string) => new TextEncoder().encode(text);
const STREAM =
  'retry: 2000\n\nevent: life\ndata: {"at":"1"}\n\n: a remark\r\n\r\nevent: nodes\r\ndata: {"name":"é🐘",\r\ndata: "x":1}\r\n\r\ndata: plain\n\n';

function parsed(chunks: Uint8Array[]): [string, string][] {
  const found: [string, string][] = [];
  const parse = eventParser((name, data) => found.push([name, data]));
  for (const chunk of chunks) parse(chunk);
  return found;
}
const WHOLE: [string, string][] = [
  ['life', '{"at":"1"}'],
  ['nodes', '{"name":"é🐘",\n"x":1}'],
  ['message', 'plain'],
];

test('in one piece', () => {
  expect(parsed([bytes(STREAM)])).toEqual(WHOLE);
});

test('cut anywhere, in a line end or in a character too', () => {
  const all = bytes(STREAM);
  for (let cut = 1; cut < all.length; cut += 1) expect(parsed([all.slice(0, cut), all.slice(cut)])).toEqual(WHOLE);
  expect(parsed(Array.from(all, (byte) => Uint8Array.of(byte)))).toEqual(WHOLE);
});

test('an event whose end has not come is not told', () => {
  expect(parsed([bytes('event: life\ndata: {"at":"1"}\n')])).toEqual([]);
});

test('only events of a known form are made', () => {
  expect(liveEvent('life', '{"at":"1"}')).toEqual({ name: 'life', data: { at: '1' } });
  expect(liveEvent('nodes', '{"at":"1","nodes":[],"removed":["a"]}')).toMatchObject({ name: 'nodes' });
  for (const [name, data] of [
    ['life', '{}'],
    ['life', 'not JSON'],
    ['life', 'null'],
    ['nodes', '{"at":"1","nodes":[]}'],
    ['overview', '[]'],
    ['alert', '{"id":1}'],
    ['of-tomorrow', '{"at":"1"}'],
  ] as const)
    expect(liveEvent(name, data)).toBeUndefined();
});

test('a stream is read to its end', async () => {
  const events: LiveEvent[] = [];
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(bytes('event: life\nda'));
      controller.enqueue(bytes('ta: {"at":"1"}\n\n'));
      controller.close();
    },
  });
  await readEvents(body, (event) => events.push(event));
  expect(events).toEqual([{ name: 'life', data: { at: '1' } }]);
});
