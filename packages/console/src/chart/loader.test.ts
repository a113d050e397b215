/** Few questions at a time, none twice, none that nobody waits for. */
import type { SeriesResponse } from '@tidemark/protocol';
import { expect, test } from 'vitest';
import type { Answer } from '../api/failure.ts';
import { createLoader } from './loader.ts';

const query = (metric: string): URLSearchParams => new URLSearchParams({ metric });
const value = (from: string): SeriesResponse => ({ from, to: '', stepSeconds: 15, series: [], truncated: false });

function setUp() {
  let now = 0;
  const open: { metric: string; answer: (answer: Answer<SeriesResponse>) => void }[] = [];
  const loader = createLoader({
    ask: (asked) => new Promise((answer) => open.push({ metric: asked.get('metric')!, answer })),
    now: () => now,
    atOnce: 2,
    keep: 2,
    freshMs: 1_000,
  });
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  return { loader, open, settled, pass: (ms: number) => (now += ms) };
}

test('two at a time, the next when one is answered, and a withdrawn one is never asked', async () => {
  const { loader, open, settled } = setUp();
  const [none, third] = [new AbortController(), new AbortController()];
  const answers = ['a', 'b'].map((metric) => loader.load(query(metric), none.signal));
  const withdrawn = loader.load(query('c'), third.signal);
  const last = loader.load(query('d'), none.signal);
  await settled();
  expect(open.map(({ metric }) => metric)).toEqual(['a', 'b']);
  third.abort();
  expect(await withdrawn).toEqual({ ok: false, failure: { kind: 'aborted' } });
  open[0]!.answer({ ok: true, value: value('a') });
  expect(await answers[0]).toEqual({ ok: true, value: value('a') });
  await settled();
  expect(open.map(({ metric }) => metric)).toEqual(['a', 'b', 'd']);
  open[2]!.answer({ ok: false, failure: { kind: 'unreachable' } });
  expect(await last).toMatchObject({ ok: false });
});

test('an answer is kept, asked again when it is no longer fresh, and forgotten when others came', async () => {
  const { loader, open, pass, settled } = setUp();
  const { signal } = new AbortController();
  const ask = async (metric: string) => {
    const answer = loader.load(query(metric), signal);
    await settled();
    open.at(-1)?.answer({ ok: true, value: value(metric) });
    await answer;
  };
  await ask('a');
  await ask('a');
  expect(open).toHaveLength(1);
  pass(1_001);
  await ask('a');
  expect(open).toHaveLength(2);
  await ask('b');
  await ask('c');
  expect(loader.kept(query('a'))).toBeUndefined();
  expect(loader.kept(query('c'))).toEqual(value('c'));
});
