/** The runner: a probe that throws, hangs, comes late or closes badly harms no other, and is said. */
import { type Log, ManualClock } from '@tidemark/service';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { noData, type Probe, type ProbeContext } from './probe.ts';
import { metric } from './recorder.ts';
import { ProbeRunner, wireBlocks, type Collection } from './runner.ts';

const value = metric('test_value', 'gauge', '', 'A value.', ['of']);
const clock = new ManualClock();
const info = vi.fn<(fields: object, message: string) => void>();
const warn = vi.fn<(fields: object, message: string) => void>();
const log = { info, warn } as unknown as Log;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  info.mockClear();
  warn.mockClear();
});

function probe(name: string, collect: Probe['collect'], more: Partial<Probe> = {}): Probe {
  return { name, collect, ...more };
}

function good(name = 'good'): Probe {
  return probe(name, (context) => context.block().add(value, 1, name));
}

/** What a collection says, as "name of" to value. */
function valuesOf({ blocks }: Collection): Record<string, unknown> {
  const pairs = blocks.flatMap(({ layout, values }) =>
    layout.series.map((series, i) => [[series.name, ...series.labels.map(([, v]) => v)].join(' '), values[i]] as const),
  );
  return Object.fromEntries(pairs);
}

/** Lets all that wait for `ms` at most go on, on both clocks. */
async function pass(ms: number): Promise<void> {
  clock.advance(ms);
  await vi.advanceTimersByTimeAsync(ms);
}

test('a probe that throws half-way, at once or later, is left out whole and named', async () => {
  const runner = new ProbeRunner(
    [
      probe('throws', (context) => {
        context.block().add(value, 1, 'half');
        throw new Error('no such device');
      }),
      probe('rejects', async (context) => {
        context.block().add(value, 1, 'half');
        context.observe({ kind: 'half', version: 1, instance: '', document: {} });
        await Promise.resolve();
        throw new Error('gone');
      }),
      good(),
    ],
    clock,
    log,
  );
  const collection = await runner.collect();
  expect(valuesOf(collection)).toEqual({
    'test_value good': 1,
    'tidemark_probe_success throws': 0,
    'tidemark_probe_success rejects': 0,
    'tidemark_probe_success good': 1,
    'tidemark_probe_duration_seconds throws': 0,
    'tidemark_probe_duration_seconds rejects': 0,
    'tidemark_probe_duration_seconds good': 0,
  });
  expect(collection.observations).toEqual([]);
  expect(runner.states().map((state) => state.trouble)).toEqual(['no such device', 'gone', undefined]);
  await runner.collect();
  // Once, not at every collection.
  expect(warn).toHaveBeenCalledTimes(2);
});

test('a probe that hangs holds the collection for its timeout and no longer, is not started twice, and what comes late is thrown away', async () => {
  const contexts: ProbeContext[] = [];
  let finish: () => void = () => {};
  const runner = new ProbeRunner(
    [
      probe(
        'slow',
        (context) => {
          contexts.push(context);
          context.block().add(value, contexts.length, 'early');
          return contexts.length === 1 ? new Promise<void>((resolve) => (finish = resolve)) : undefined;
        },
        { timeoutMs: 1_000 },
      ),
      good(),
    ],
    clock,
    log,
  );
  const first = runner.collect();
  await pass(0);
  await pass(999);
  expect(contexts[0]!.signal.aborted).toBe(false);
  await pass(1);
  expect(valuesOf(await first)).toMatchObject({
    'test_value good': 1,
    'tidemark_probe_success slow': 0,
    'tidemark_probe_duration_seconds slow': 1,
  });
  expect(valuesOf(await first)).not.toHaveProperty('test_value early');
  expect(contexts[0]!.signal.aborted).toBe(true);
  expect(runner.states()[0]!.trouble).toBe('took longer than 1000 ms');

  clock.advance(14_000);
  // No timer moves: a probe known to hang is not waited for.
  const second = valuesOf(await runner.collect());
  expect(second).toMatchObject({ 'test_value good': 1, 'tidemark_probe_success slow': 0, 'tidemark_probe_duration_seconds slow': 15 });
  expect(contexts).toHaveLength(1);

  contexts[0]!.block().add(value, 99, 'late');
  contexts[0]!.observe({ kind: 'late', version: 1, instance: '', document: {} });
  finish();
  await vi.advanceTimersByTimeAsync(0);
  const third = await runner.collect();
  expect(valuesOf(third)).toMatchObject({ 'test_value early': 2, 'tidemark_probe_success slow': 1 });
  expect(valuesOf(third)).not.toHaveProperty('test_value late');
  expect(third.observations).toEqual([]);
  expect(info).toHaveBeenCalledWith({ probe: 'slow' }, 'probe works again');
});

test('a run that fails long after its time was up is nobody’s unhandled rejection', async () => {
  const unhandled = vi.fn<() => void>();
  process.once('unhandledRejection', unhandled);
  let fail: (error: Error) => void = () => {};
  const runner = new ProbeRunner([probe('slow', () => new Promise<void>((_, reject) => (fail = reject)), { timeoutMs: 10 })], clock, log);
  const first = runner.collect();
  await pass(10);
  await first;
  fail(new Error('too late'));
  vi.useRealTimers();
  await new Promise((resolve) => setImmediate(resolve));
  process.off('unhandledRejection', unhandled);
  expect(unhandled).not.toHaveBeenCalled();
});

test('success does not abort: what a probe keeps open for the next time stays open', async () => {
  let signal: AbortSignal | undefined;
  const runner = new ProbeRunner([probe('keeps', async (context) => void (signal = context.signal))], clock, log);
  await runner.collect();
  expect(signal?.aborted).toBe(false);
});

test('nothing of its kind here is a success without values', async () => {
  const runner = new ProbeRunner(
    [
      probe('none', (context) => {
        context.block().add(value, 1, 'ignored');
        return noData;
      }),
    ],
    clock,
    log,
  );
  const values = valuesOf(await runner.collect());
  expect(values).toHaveProperty('tidemark_probe_success none', 1);
  expect(values).not.toHaveProperty('test_value ignored');
});

test('a daily probe runs daily, and sooner after a failure', async () => {
  let works = false;
  const collect = vi.fn<() => void>(() => {
    if (!works) throw new Error('not yet');
  });
  const runner = new ProbeRunner([probe('daily', collect, { everyMs: 86_400_000 })], clock, log);
  await runner.collect();
  await pass(15_000);
  await runner.collect();
  expect(collect).toHaveBeenCalledTimes(1);
  works = true;
  await pass(300_000);
  await runner.collect();
  expect(collect).toHaveBeenCalledTimes(2);
  await pass(86_000_000);
  await runner.collect();
  expect(collect).toHaveBeenCalledTimes(2);
  await pass(400_000 - 100);
  await runner.collect();
  expect(collect).toHaveBeenCalledTimes(3);
  expect(runner.states()[0]!.success).toBe(true);
});

test('layouts keep their hash from collection to collection, each block its own', async () => {
  const names = ['a'];
  const several = probe('several', (context) => {
    for (const name of names) context.block(name).add(value, 1, name);
  });
  const runner = new ProbeRunner([several, good()], clock, log);
  const hashes = async () => wireBlocks((await runner.collect()).blocks).map((block) => block.layout);
  const [a, fixed, own] = await hashes();
  expect(await hashes()).toEqual([a, fixed, own]);
  names.push('b');
  const more = await hashes();
  expect([more[0], more[2], more[3]]).toEqual([a, fixed, own]);
  expect(more[1]).not.toBe(a);
});

test('collections asked for at once follow each other', async () => {
  let running = 0;
  const runner = new ProbeRunner(
    [
      probe('slow', async () => {
        expect(++running).toBe(1);
        await new Promise((resolve) => setTimeout(resolve, 100));
        running--;
      }),
    ],
    clock,
    log,
  );
  const both = Promise.all([runner.collect(), runner.collect()]);
  await pass(200);
  expect((await both).map((collection) => valuesOf(collection)['tidemark_probe_success slow'])).toEqual([1, 1]);
});

test('closing waits for no probe longer than two seconds, and for each', async () => {
  const closed = vi.fn<() => void>();
  const runner = new ProbeRunner(
    [
      probe('hangs', () => {}, { close: () => new Promise(() => {}) }),
      probe('throws', () => {}, {
        close: () => {
          throw new Error('closed already');
        },
      }),
      probe('good', () => {}, { close: closed }),
    ],
    clock,
    log,
  );
  const closing = runner.close();
  await pass(2_000);
  await closing;
  expect(closed).toHaveBeenCalledOnce();
  expect(warn).toHaveBeenCalledWith({ probe: 'throws', trouble: 'closed already' }, 'probe could not be closed');
});
