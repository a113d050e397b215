/** The journal over disks that lose power, fill up, hang and lie: nothing that took effect is lost, nothing is invented, nothing waits for ever. */
import { Buffer } from 'node:buffer';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync, readFileSync, appendFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { pino } from 'pino';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { IncidentBook, type BookState, type RecordedEntry } from './book.ts';
import type { Happening } from './entry.ts';
import { FaultyFiles } from './faulty-files.ts';
import { diskFiles, type JournalFiles } from './journal-files.ts';
import { readJournal } from './journal-reading.ts';
import { Journal, type JournalBounds } from './journal.ts';
import { Recorder } from './recorder.ts';
import { recordCall } from './story.ts';
import { countingBytes, openingOf } from './testing.ts';

const silent = pino({ level: 'silent' });
const TINY: Partial<JournalBounds> = { segmentBytes: 600, retry: { baseMs: 1, maxMs: 2 } };

interface Run {
  recorder: Recorder;
  journal: Journal;
  book: IncidentBook;
  /** The state after each entry that took effect, by its position. */
  states: Map<number, BookState>;
}

/** A start as the collector does it, without a database. */
async function startOn(files: JournalFiles, directory = '/journal', bounds = TINY, log = silent): Promise<Run> {
  const content = await readJournal(directory, files, log);
  const before = IncidentBook.from(
    content.state ?? { mark: { epoch: 0, position: 0 }, incidents: [], silences: [], deliveries: [], goneChannels: [] },
  );
  for (const entry of content.entries) before.apply(entry);
  const state = before.state();
  const epoch = state.mark.epoch + 1;
  const book = IncidentBook.from({ ...state, mark: { epoch, position: state.mark.position } });
  const states = new Map<number, BookState>([[state.mark.position, book.state()]]);
  const recorder: Recorder = new Recorder({
    book,
    epoch,
    clock: { wallMs: () => 1_000 },
    random: countingBytes(),
    log: { append: (entries) => journal.append(entries) },
  });
  const journal: Journal = new Journal(content, {
    directory,
    files,
    log,
    random: () => 0,
    state: () => book.state(),
    take: (entries) => {
      for (const entry of entries) {
        recorder.take([entry]);
        states.set(entry.position, book.state());
      }
    },
    bounds,
  });
  await journal.start();
  return { recorder, journal, book, states };
}

const stamped = (happenings: readonly Happening[]): (Happening & { at: number })[] => happenings.map((one) => ({ ...one, at: 5 }));

/** What matters of a state: not under which run it is looked at. */
const shown = ({ incidents, silences, deliveries, goneChannels, mark }: BookState) => ({
  position: mark.position,
  incidents: incidents.toSorted((a, b) => (a.incidentId < b.incidentId ? -1 : 1)),
  silences,
  deliveries: deliveries.toSorted((a, b) => (a.deliveryId < b.deliveryId ? -1 : 1)),
  goneChannels,
});

const idle = async (): Promise<void> => {
  for (let i = 0; i < 50; i++) await new Promise((done) => setImmediate(done));
};

describe('every crash point', () => {
  test('after a kill or a power cut at any operation, what took effect is there, and nothing that was not recorded', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(recordCall, { minLength: 1, maxLength: 12 }),
        fc.array(fc.record({ at: fc.integer({ min: 0, max: 30 }), power: fc.boolean(), seed: fc.infiniteStream(fc.nat()) }), {
          minLength: 1,
          maxLength: 3,
        }),
        async (calls, crashes) => {
          let files = new FaultyFiles();
          let expected: BookState | undefined;
          for (const { at, power, seed } of crashes) {
            const run = await startOn(files);
            if (expected !== undefined) expect(shown(run.book.state())).toEqual(shown(expected));
            const first = files.operations;
            files.fault = (operation) => {
              if (operation === first + at) files.kill();
              return undefined;
            };
            let acknowledged = run.book.mark.position;
            for (const call of calls) {
              const done = run.recorder.record(stamped(call)).then(() => (acknowledged = Math.max(acknowledged, run.book.mark.position)));
              if (call.length % 2 === 0) await Promise.race([done, idle()]);
              // The database has most of it.
              if (call.length === 4) run.journal.confirm(acknowledged - 1);
            }
            await idle();
            files = power ? files.afterPowerCut((max) => Number(seed.next().value) % (max + 1)) : files.afterKill();
            // What is read is a moment of what was recorded, and not before anything that was answered for.
            const reread = await startOn(files);
            const { position } = reread.book.mark;
            expect(position).toBeGreaterThanOrEqual(acknowledged);
            await reread.journal.close();
            const state = run.states.get(position);
            // Written whole and not yet answered for: it counts as recorded.
            if (state !== undefined) expect(shown(reread.book.state())).toEqual(shown(state));
            else expect(position).toBeGreaterThan(run.book.mark.position);
            expected = reread.book.state();
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  test('a disk that fails in between loses nothing either: what is so is there once it works again', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(recordCall, { minLength: 2, maxLength: 12 }),
        fc.array(fc.constantFrom(undefined, undefined, 'ENOSPC' as const, 'EIO' as const), { minLength: 1, maxLength: 20 }),
        async (calls, faults) => {
          const files = new FaultyFiles();
          const run = await startOn(files);
          let next = 0;
          files.fault = () => faults[next++];
          for (const call of calls) await run.recorder.record(stamped(call));
          expect(run.book.mark.position, 'everything took effect').toBe(calls.flat().length);
          files.fault = undefined;
          await run.journal.close();
          expect(run.journal.trouble).toBeUndefined();
          const again = await startOn(files.afterPowerCut(() => 0));
          expect(shown(again.book.state())).toEqual(shown(run.book.state()));
          // The history is whole as well, each line once.
          const read: RecordedEntry[] = [];
          for (let last = 0; ; last = read.at(-1)!.position) {
            const some = await again.journal.readAfter(last);
            if (some.length === 0) break;
            read.push(...some);
          }
          expect(read.map(({ position }) => position)).toEqual(calls.flat().map((_, i) => i + 1));
        },
      ),
      { numRuns: 100 },
    );
  });
});

const opened = (number: number): Happening => ({ kind: 'opened', opening: openingOf(`incident-${number}`) });

describe('a disk that does not work', () => {
  test('a hang is bounded: what happens takes effect, and is written when it answers again', async () => {
    const files = new FaultyFiles();
    const run = await startOn(files, '/journal', { ...TINY, answerWithinMs: 20 });
    files.fault = () => 'hang';
    await run.recorder.record(stamped([opened(1)]));
    expect(run.journal.trouble).toMatchObject({ detail: 'the disk has not answered for 0.02 s', waiting: 1 });
    files.fault = undefined;
    await vi.waitFor(() => expect(run.journal.trouble).toBeUndefined());
    expect((await startOn(files.afterPowerCut(() => 0))).book.incident('incident-1')).toBeDefined();
  });

  test('what waits in memory is bounded; what is so outlives it', async () => {
    const files = new FaultyFiles();
    const run = await startOn(files, '/journal', { ...TINY, waitingMax: 3, retry: { baseMs: 60_000, maxMs: 60_000 } });
    files.fault = () => 'ENOSPC';
    for (let i = 0; i < 5; i++) await run.recorder.record(stamped([opened(i)]));
    expect(run.journal.trouble).toEqual({ detail: 'the disk is full', waiting: 3, lost: 2 });
    files.fault = undefined;
    await run.journal.close();
    const again = await startOn(files.afterPowerCut(() => 0));
    expect([...again.book.incidents()]).toHaveLength(5);
  });

  test('it begins on a full disk, and is whole when there is room', async () => {
    const files = new FaultyFiles();
    files.fault = () => 'ENOSPC';
    const run = await startOn(files);
    await run.recorder.record(stamped([opened(1)]));
    expect(run.journal.trouble?.waiting).toBe(1);
    files.fault = undefined;
    await vi.waitFor(() => expect(run.journal.trouble).toBeUndefined());
    expect((await startOn(files.afterPowerCut(() => 0))).book.incident('incident-1')).toBeDefined();
  });
});

describe('on a real disk', () => {
  const real = (): string => {
    const directory = mkdtempSync(join(tmpdir(), 'tidemark-journal-'));
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
    return join(directory, 'journal');
  };
  const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8);

  test('only its owner reads it; segments are bounded and go when the database has them', async () => {
    const directory = real();
    const { recorder, journal, book } = await startOn(diskFiles, directory);
    for (let i = 0; i < 40; i++) await recorder.record(stamped([opened(i)]));
    const names = readdirSync(directory);
    expect(names.length).toBeGreaterThan(5);
    expect([mode(directory), ...new Set(names.map((name) => mode(join(directory, name))))]).toEqual(['700', '600']);
    journal.confirm(book.mark.position);
    await journal.close();
    expect(readdirSync(directory)).toHaveLength(1);
    const again = await startOn(diskFiles, directory);
    expect([...again.book.incidents()]).toHaveLength(40);
    await again.journal.close();
  });

  test('a torn end is cut off, a damaged line is passed over, and both are said', async () => {
    const directory = real();
    const { recorder, journal } = await startOn(diskFiles, directory, { segmentBytes: 10 ** 6 });
    for (let i = 0; i < 4; i++) await recorder.record(stamped([opened(i)]));
    await journal.close();
    const [name] = readdirSync(directory).filter((one) => one.endsWith('.journal'));
    const path = join(directory, name!);
    const whole = readFileSync(path);
    const damaged = Buffer.from(whole);
    damaged[damaged.indexOf('incident-1')] = 0x21;
    writeFileSync(path, damaged);
    appendFileSync(path, '0badc0de {"entry":{"ki');
    const said: string[] = [];
    const log = pino({ level: 'warn' }, { write: (line: string) => void said.push((JSON.parse(line) as { msg: string }).msg) });
    const again = await startOn(diskFiles, directory, TINY, log);
    expect([...again.book.incidents()].map(({ incidentId }) => incidentId)).toEqual(['incident-0', 'incident-2', 'incident-3']);
    expect(said).toEqual([
      'the journal is damaged; lines that are not what was written are passed over',
      'the journal ends in half a line, as after a power cut; it is cut off',
    ]);
    expect(readFileSync(path).length).toBe(whole.length);
    await again.journal.close();
  });

  test('one sync for everything that waits', async () => {
    const files = new FaultyFiles();
    const { recorder } = await startOn(files, '/journal', { segmentBytes: 10 ** 7 });
    const before = files.operations;
    await Promise.all(Array.from({ length: 200 }, (_, i) => recorder.record(stamped([opened(i)]))));
    // The first goes alone; all others go together: one write and one sync each time.
    expect(files.operations - before).toBeLessThanOrEqual(4);
  });
});
