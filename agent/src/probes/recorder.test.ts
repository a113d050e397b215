/** The recorder: layouts are kept while they hold, and nothing it hands out can make the collector refuse a report. */
import { LIMITS } from '@tidemark/protocol';
import { expect, test } from 'vitest';
import { BlockRecorder, metric } from './recorder.ts';

const plain = metric('test_plain', 'counter', 'bytes', 'Plain.');
const labelled = metric('test_labelled', 'gauge', '', 'Labelled.', ['a', 'b']);

test('values are in the wire’s form, at the place their layout says', () => {
  const recorder = new BlockRecorder('test', 'one', [['instance', 'db']]);
  recorder.add(plain, Number.NaN);
  recorder.add(labelled, undefined, 'x', 'y');
  recorder.add(labelled, Number.NEGATIVE_INFINITY, '__proto__', '"\n😀</script>');
  const block = recorder.take()!;
  expect(block.values).toEqual(['NaN', null, '-Inf']);
  expect(block.layout).toMatchObject({ probe: 'test', instance: 'one' });
  expect(block.layout.series[2]).toEqual({
    name: 'test_labelled',
    labels: [
      ['a', '__proto__'],
      ['b', '"\n😀</script>'],
      ['instance', 'db'],
    ],
    unit: '',
    type: 'gauge',
    help: 'Labelled.',
  });
});

test('the layout is the same object while the same is recorded, and another when one is gone, new or elsewhere', () => {
  const recorder = new BlockRecorder('test', '');
  const recordAll = (...names: string[]) => {
    for (const name of names) recorder.add(labelled, 1, name, '');
    return recorder.take()!.layout;
  };
  const two = recordAll('p', 'q');
  expect(recordAll('p', 'q')).toBe(two);
  const one = recordAll('p');
  expect(one.series).toHaveLength(1);
  expect(one.hash).not.toBe(two.hash);
  expect(recordAll('q', 'p').hash).not.toBe(two.hash);
  // What was is recognised when it comes back: the collector knows it already.
  expect(recordAll('p', 'q').hash).toBe(two.hash);
});

test('what a failed run recorded leaves no trace', () => {
  const recorder = new BlockRecorder('test', '');
  recorder.add(labelled, 1, 'p', '');
  recorder.add(labelled, 2, 'q', '');
  const whole = recorder.take()!.layout;
  recorder.add(labelled, 7, 'other', '');
  recorder.discard();
  expect(recorder.take()).toBeUndefined();
  recorder.add(labelled, 3, 'p', '');
  recorder.add(labelled, 4, 'q', '');
  const again = recorder.take()!;
  expect(again.values).toEqual([3, 4]);
  expect(again.layout.series).toEqual(whole.series);
  expect(again.layout.hash).toBe(whole.hash);
});

test('label values too long for the collector are cut, and broken characters mended', () => {
  const recorder = new BlockRecorder('test', '');
  recorder.add(labelled, 1, `/${'x'.repeat(5_000)}`, '\ud800');
  const [a, b] = recorder.take()!.layout.series[0]!.labels;
  expect(a![1]).toHaveLength(LIMITS.labelValueChars);
  expect(b![1]).toBe('\ufffd');
});

test('a missing label and a block beyond its bound are said', () => {
  const recorder = new BlockRecorder('test', '');
  expect(() => recorder.add(labelled, 1, 'only one')).toThrow('test_labelled takes 2 labels, got 1');
  for (let i = 0; i < LIMITS.seriesPerBlock; i++) recorder.add(plain, i);
  expect(() => recorder.add(plain, 1)).toThrow('more than 10000 series');
});
