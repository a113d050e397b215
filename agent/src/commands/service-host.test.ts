/** The end of standard input stops the agent under a host, and means nothing without one. */
import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { stopWithHost } from './service-host.ts';

function play(hostPipe: string | undefined) {
  const stops: string[] = [];
  const input = new PassThrough();
  stopWithHost(hostPipe, { stop: (reason) => void stops.push(reason), onStop: () => {} }, input);
  return { stops, input };
}

test('input that ends, after whatever was said, stops', async () => {
  // Also with an empty name: a host without a pipe is a host.
  for (const pipe of ['\\\\.\\pipe\\tidemark-agent-1', '']) {
    const { stops, input } = play(pipe);
    input.write('noise\n');
    await new Promise(setImmediate);
    expect(stops).toEqual([]);
    input.end();
    await new Promise((resolve) => input.once('close', resolve));
    expect(stops[0]).toBe('the service host asks');
  }
});

test('without a host the input is left alone', async () => {
  const { stops, input } = play(undefined);
  input.end();
  await new Promise(setImmediate);
  expect(stops).toEqual([]);
  expect(input.listenerCount('end')).toBe(0);
});
