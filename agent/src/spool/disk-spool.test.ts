import {
  chmodSync,
  closeSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { createLog, ManualClock, OperationalFailure } from '@tidemark/service';
import { layoutHash, type Layout } from '@tidemark/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openDiskSpool } from './disk-spool.ts';
import { encodeLine, fromRanges, toRanges } from './segment.ts';
import type { Spool, SpoolBounds } from './spool.ts';

const BOOT_A = '11111111-1111-4111-8111-111111111111';
const BOOT_B = '22222222-2222-4222-8222-222222222222';
const log = createLog('test', 'silent');
const WIDE: SpoolBounds = { sizeBytesMax: 64 * 1024 * 1024, ageMsMax: 24 * 3_600_000 };

function layoutOf(instance: string): Layout {
  const layout = {
    probe: 'test',
    instance,
    series: [{ name: 'm', labels: [['k', 'ä "x"\n']] as [string, string][], unit: '', type: 'gauge' as const, help: 'h' }],
  };
  return { hash: layoutHash(layout), ...layout };
}
const LAYOUT = layoutOf('one');

let directory: string;
let clock: ManualClock;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tidemark-spool-'));
  clock = new ManualClock();
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const spoolDir = (): string => join(directory, 'spool');
const open = (bounds = WIDE): Spool => openDiskSpool({ directory: spoolDir(), bounds, clock, log });

function bodyOf(bootId: string, sequence: number, padding = 0): string {
  return JSON.stringify({
    bootId,
    sequence,
    takenAt: 1_000 + sequence,
    monotonicMs: sequence,
    blocks: [{ layout: LAYOUT.hash, values: [sequence] }],
    note: 'ü'.repeat(padding),
  });
}
async function append(spool: Spool, bootId: string, sequence: number, padding = 0, layouts = [LAYOUT]): Promise<void> {
  await spool.append({ bootId, sequence, takenAt: 1_000 + sequence, json: bodyOf(bootId, sequence, padding), layouts });
}
async function appendAll(spool: Spool, bootId: string, from: number, to: number, padding = 0): Promise<void> {
  for (let sequence = from; sequence <= to; sequence++) await append(spool, bootId, sequence, padding);
}
const waiting = (spool: Spool): string[] => spool.oldest(1e9, 1e12).map(({ bootId, sequence }) => `${bootId.slice(0, 1)}${sequence}`);
const files = (): string[] => readdirSync(spoolDir()).filter((name) => name.endsWith('.spool'));
const onlyFile = (): string => {
  expect(files()).toHaveLength(1);
  return join(spoolDir(), files()[0]!);
};
/** What is on disk at this moment, opened by another process: as after kill -9. */
function reopenAsAfterKill(bounds = WIDE): Spool {
  const copy = mkdtempSync(join(directory, 'copy-'));
  cpSync(spoolDir(), copy, { recursive: true });
  return openDiskSpool({ directory: copy, bounds, clock, log });
}

describe('what is put in comes out', () => {
  test('bodies and layouts, byte for byte, before and after a restart', async () => {
    const spool = open();
    await append(spool, BOOT_A, 1, 10);
    await append(spool, BOOT_A, 2, 20);
    const check = async (one: Spool): Promise<void> => {
      const bodies = await one.read(one.oldest(10, 1e9));
      expect(bodies.map(String)).toEqual([bodyOf(BOOT_A, 1, 10), bodyOf(BOOT_A, 2, 20)]);
      expect(JSON.parse(String(await one.layout(LAYOUT.hash)))).toEqual(LAYOUT);
      expect(await one.layout('0'.repeat(32))).toBeUndefined();
    };
    await check(spool);
    expect(spool.newest()).toMatchObject({ sequence: 2, layouts: [LAYOUT.hash] });
    expect(spool.state()).toMatchObject({ reports: 2, oldestTakenAt: 1_001, lost: 0, trouble: undefined });
    await check(reopenAsAfterKill());
  });

  test('a report is on disk when append resolves, without close', async () => {
    const spool = open();
    await append(spool, BOOT_A, 1);
    expect(waiting(reopenAsAfterKill())).toEqual(['11']);
  });

  test('oldest first over boots, bounded by count and by bytes, but never nothing', async () => {
    const spool = open();
    await appendAll(spool, BOOT_A, 1, 3);
    await spool.close();
    const later = open();
    await appendAll(later, BOOT_B, 1, 2);
    expect(waiting(later)).toEqual(['11', '12', '13', '21', '22']);
    expect(later.oldest(2, 1e9)).toHaveLength(2);
    expect(later.oldest(9, 1)).toHaveLength(1);
    expect(later.oldest(9, bodyOf(BOOT_A, 1).length * 3 + 5)).toHaveLength(3);
    expect(later.newest()).toMatchObject({ bootId: BOOT_B, sequence: 2 });
  });

  test('the same report twice is one', async () => {
    const spool = open();
    await append(spool, BOOT_A, 1);
    await append(spool, BOOT_A, 1);
    expect(waiting(spool)).toEqual(['11']);
  });
});

describe('settled reports', () => {
  test('are forgotten, for good once the next report is on disk', async () => {
    const spool = open();
    await appendAll(spool, BOOT_A, 1, 3);
    spool.settle(BOOT_A, [1, 3, 99]);
    spool.settle(BOOT_B, [1]);
    expect(waiting(spool)).toEqual(['12']);
    expect(spool.newest()).toBeUndefined();
    await append(spool, BOOT_A, 4);
    expect(waiting(reopenAsAfterKill())).toEqual(['12', '14']);
  });

  test('and on an orderly stop at once; nothing is left of a spool that is empty', async () => {
    const spool = open();
    await appendAll(spool, BOOT_A, 1, 3);
    spool.settle(BOOT_A, [1, 2]);
    await spool.close();
    const next = open();
    expect(waiting(next)).toEqual(['13']);
    next.settle(BOOT_A, [3]);
    await next.close();
    expect(files()).toEqual([]);
    expect(open().state()).toMatchObject({ reports: 0, lost: 0 });
  });

  test('files go when nothing in them waits, and new ones stand alone', async () => {
    const spool = open({ ...WIDE, sizeBytesMax: 1024 * 1024 });
    await appendAll(spool, BOOT_A, 1, 100, 2_000);
    expect(files().length).toBeGreaterThan(4);
    const all = spool.oldest(1e9, 1e12);
    spool.settle(
      BOOT_A,
      all.slice(0, 60).map(({ sequence }) => sequence),
    );
    const left = reopenAsAfterKill();
    expect(left.state().lost).toBe(0);
    expect(await left.layout(LAYOUT.hash)).toBeDefined();
    expect(waiting(left).at(-1)).toBe('1100');
    spool.settle(
      BOOT_A,
      all.map(({ sequence }) => sequence),
    );
    await spool.close();
    expect(files()).toEqual([]);
  });

  test('what a removed file said about older ones is not forgotten', async () => {
    const spool = open({ ...WIDE, sizeBytesMax: 1024 * 1024 });
    // File one: 1 to 20 and a little more. The newest of each later file are settled first.
    await appendAll(spool, BOOT_A, 1, 60, 2_000);
    spool.settle(BOOT_A, [2, 3]);
    await append(spool, BOOT_A, 61, 2_000);
    const before = files().length;
    spool.settle(
      BOOT_A,
      Array.from({ length: 40 }, (_, i) => i + 20),
    );
    spool.settle(BOOT_A, [60, 61]);
    await appendAll(spool, BOOT_A, 62, 100, 2_000);
    spool.settle(
      BOOT_A,
      Array.from({ length: 39 }, (_, i) => i + 62),
    );
    await appendAll(spool, BOOT_A, 101, 101);
    expect(files().length).toBeLessThan(before);
    expect(waiting(reopenAsAfterKill())).toEqual([...waiting(spool)]);
    expect(waiting(spool)).not.toContain('12');
  });
});

describe('bounds', () => {
  test('the oldest go first and are counted; the files stay within the bound', async () => {
    const bounds = { ...WIDE, sizeBytesMax: 1024 * 1024 };
    const spool = open(bounds);
    await appendAll(spool, BOOT_A, 1, 500, 2_000);
    const { reports, lost } = spool.state();
    expect(reports + lost).toBe(500);
    expect(lost).toBeGreaterThan(200);
    expect(waiting(spool)[0]).toBe(`1${lost + 1}`);
    expect(waiting(spool).at(-1)).toBe('1500');
    const bytes = files().reduce((sum, name) => sum + readFileSync(join(spoolDir(), name)).length, 0);
    expect(bytes).toBeLessThanOrEqual(bounds.sizeBytesMax);
    expect(bytes).toBeGreaterThan(bounds.sizeBytesMax * 0.7);
    // Pushed out is not damaged: the next process does not count them again.
    expect(reopenAsAfterKill(bounds).state()).toMatchObject({ reports, lost: 0 });
  });

  test('a smaller bound holds from the next start', async () => {
    const spool = open();
    await appendAll(spool, BOOT_A, 1, 600, 4_000);
    await spool.close();
    const next = open({ ...WIDE, sizeBytesMax: 2 * 1024 * 1024 });
    const { reports, lost } = next.state();
    expect(lost).toBeGreaterThan(0);
    expect(reports + lost).toBe(600);
  });

  test('reports too old are given up one by one, by time that passed and not by the wall clock', async () => {
    const spool = open({ ...WIDE, ageMsMax: 10_000 });
    await append(spool, BOOT_A, 1);
    clock.advance(6_000);
    clock.setWall(clock.wallMs() + 365 * 86_400_000);
    await append(spool, BOOT_A, 2);
    expect(waiting(spool)).toEqual(['11', '12']);
    clock.advance(5_000);
    await append(spool, BOOT_A, 3);
    expect(waiting(spool)).toEqual(['12', '13']);
    expect(spool.state().lost).toBe(1);
    await append(spool, BOOT_A, 4);
    expect(reopenAsAfterKill().state()).toMatchObject({ reports: 3, lost: 0 });
  });

  test('large layouts do not fill the spool with copies of themselves', async () => {
    const spool = open({ ...WIDE, sizeBytesMax: 8 * 1024 * 1024 });
    const big = layoutOf('x'.repeat(300_000));
    for (let sequence = 1; sequence <= 400; sequence++) await append(spool, BOOT_A, sequence, 1_000, [big]);
    const copies = files().reduce(
      (sum, name) => sum + readFileSync(join(spoolDir(), name), 'latin1').split(` layout ${big.hash} `).length - 1,
      0,
    );
    expect(copies).toBe(files().length);
    expect(files().length).toBeLessThan(4);
  });
});

describe('a damaged spool', () => {
  async function filled(count: number): Promise<string> {
    const spool = open();
    await appendAll(spool, BOOT_A, 1, count);
    return onlyFile();
  }
  function lineOf(file: string, sequence: number): { start: number; end: number } {
    const content = readFileSync(file);
    const start = content.lastIndexOf('\n', content.indexOf(` report ${BOOT_A} ${sequence} `)) + 1;
    return { start, end: content.indexOf('\n', start) };
  }
  function scribble(file: string, at: number, bytes: string | Buffer): void {
    const fd = openSync(file, 'r+');
    writeSync(fd, Buffer.from(bytes as string), 0, bytes.length, at);
    closeSync(fd);
  }

  test('one scribbled report is lost and counted once, also over restarts', async () => {
    const file = await filled(10);
    scribble(file, lineOf(file, 4).start + 60, 'XXXX');
    const spool = open();
    expect(waiting(spool)).toEqual(['11', '12', '13', '15', '16', '17', '18', '19', '110']);
    expect(spool.state().lost).toBe(1);
    expect(open().state()).toMatchObject({ reports: 9, lost: 0 });
  });

  test('a newline lost between two reports costs both', async () => {
    const file = await filled(10);
    scribble(file, lineOf(file, 4).end, ' ');
    expect(open().state()).toMatchObject({ reports: 8, lost: 2 });
  });

  test('cut in the middle of a report: the rest survives, the cut one is counted', async () => {
    const file = await filled(10);
    truncateSync(file, lineOf(file, 8).start + 100);
    expect(open().state()).toMatchObject({ reports: 7, lost: 1 });
  });

  test('a file cut short is noticed by the file after it', async () => {
    const spool = open({ ...WIDE, sizeBytesMax: 1024 * 1024 });
    await appendAll(spool, BOOT_A, 1, 60, 2_000);
    const first = join(spoolDir(), files()[0]!);
    const inFirst = readFileSync(first, 'latin1').split(' report ').length - 1;
    const { start } = lineOf(first, inFirst - 2);
    truncateSync(first, start);
    expect(open().state()).toMatchObject({ reports: 57, lost: 3 });
  });

  test('a scribbled head, layout or acknowledgement is no lost report', async () => {
    const file = await filled(5);
    scribble(file, 12, 'X');
    const layoutAt = readFileSync(file, 'latin1').indexOf(' layout ');
    scribble(file, layoutAt + 60, 'X');
    const spool = open();
    expect(spool.state()).toMatchObject({ reports: 5, lost: 0 });
    expect(await spool.layout(LAYOUT.hash)).toBeUndefined();
  });

  test('zeroes, noise, a directory and files of others in its place crash nothing', async () => {
    const file = await filled(3);
    writeFileSync(join(spoolDir(), '0000000007.spool'), Buffer.alloc(100_000));
    writeFileSync(
      join(spoolDir(), '0000000008.spool'),
      Buffer.from(Array.from({ length: 50_000 }, (_, i) => (i * 7919 + (i >> 3)) & 0xff)),
    );
    writeFileSync(join(spoolDir(), '0000000009.spool'), '');
    mkdirSync(join(spoolDir(), '0000000010.spool'));
    writeFileSync(join(spoolDir(), 'notes.txt'), 'mine');
    const spool = open();
    expect(waiting(spool)).toEqual(['11', '12', '13']);
    await append(spool, BOOT_B, 1);
    expect(waiting(reopenAsAfterKill())).toEqual(['11', '12', '13', '21']);
    expect(readFileSync(join(spoolDir(), 'notes.txt'), 'utf8')).toBe('mine');
    expect(readFileSync(file).length).toBeGreaterThan(0);
  });

  test("a later version's lines are skipped and kept", async () => {
    const file = await filled(2);
    writeFileSync(file, Buffer.concat([readFileSync(file), Buffer.from(encodeLine('sealed {"by":"9.0"}'))]));
    scribble(file, lineOf(file, 1).start + 60, 'X');
    expect(open().state()).toMatchObject({ reports: 1, lost: 1 });
    expect(readFileSync(file, 'utf8')).toContain('sealed {"by":"9.0"}');
  });

  test('a report scribbled on while the agent runs is given up when it is read', async () => {
    const file = await filled(3);
    const spool = open();
    scribble(file, lineOf(file, 2).start + 60, 'X');
    const bodies = await spool.read(spool.oldest(10, 1e9));
    expect(bodies.map((body) => body !== undefined)).toEqual([true, false, true]);
    expect(spool.state()).toMatchObject({ reports: 2, lost: 1 });
  });

  test('files removed while the agent runs: their reports are given up, the agent goes on', async () => {
    await filled(3);
    const spool = open();
    rmSync(spoolDir(), { recursive: true });
    expect(await spool.read(spool.oldest(10, 1e9))).toEqual([undefined, undefined, undefined]);
    expect(spool.state()).toMatchObject({ reports: 0, lost: 3 });
    await append(spool, BOOT_B, 1);
    expect(spool.state().trouble).toBeDefined();
    expect(waiting(spool)).toEqual(['21']);
    mkdirSync(spoolDir());
    await append(spool, BOOT_B, 2);
    expect(spool.state().trouble).toBeUndefined();
    expect(waiting(reopenAsAfterKill())).toEqual(['21', '22']);
  });
});

describe('a disk that fails', () => {
  /** /dev/full takes no byte. A spool whose next file leads there has a full disk. */
  test('full: reports are kept in memory, bounded, said, and written once there is room', async () => {
    const spool = open();
    await append(spool, BOOT_A, 1);
    await spool.close();
    const again = open();
    // Its next file's name is taken by a directory: every attempt to write fails.
    for (let id = 2; id < 200; id++) mkdirSync(join(spoolDir(), `${String(id).padStart(10, '0')}.spool`));
    await appendAll(again, BOOT_B, 1, 50);
    expect(again.state().trouble).toContain(spoolDir());
    expect(again.state().lost).toBe(10);
    expect(waiting(again).slice(0, 2)).toEqual(['11', '211']);
    expect((await again.read(again.oldest(100, 1e9))).every((body) => body !== undefined)).toBe(true);
    expect(await again.layout(LAYOUT.hash)).toBeDefined();
    again.settle(BOOT_B, [50]);
    for (let id = 2; id < 200; id++) rmSync(join(spoolDir(), `${String(id).padStart(10, '0')}.spool`), { recursive: true });
    await append(again, BOOT_B, 51);
    expect(again.state().trouble).toBeUndefined();
    const after = reopenAsAfterKill();
    expect(waiting(after)).toEqual(waiting(again));
    expect(waiting(after).at(-1)).toBe('251');
    // Those given up are not missing a second time.
    expect(after.state().lost).toBe(0);
  });

  test.skipIf(process.getuid?.() === 0)('a directory that may not be written to is one sentence', () => {
    mkdirSync(spoolDir());
    chmodSync(spoolDir(), 0o500);
    expect(() => open()).toThrow(OperationalFailure);
  });

  test('something in the way of the directory is one sentence', () => {
    writeFileSync(spoolDir(), '');
    expect(() => open()).toThrow(/Cannot use .*spool/);
  });
});

describe('ranges', () => {
  test.each([
    [[3], '3'],
    [[3, 4, 5], '3-5'],
    [[9, 1, 2, 5, 2], '1-2,5,9'],
    [[], ''],
  ])('%j', (sequences, text) => {
    expect(toRanges(sequences)).toBe(text);
    expect(fromRanges(text)).toEqual([...new Set(sequences)].toSorted((a, b) => a - b));
  });
  test('nonsense is nothing, and does not take all memory', () => {
    expect(fromRanges('a,-,1-,4-2,1-99999999999,7')).toEqual([7]);
  });
});

/** Operations of a life: reports come, are acknowledged, the process restarts or is killed. */
const operation = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('append' as const), padding: fc.integer({ min: 0, max: 3_000 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('settle' as const), pick: fc.infiniteStream(fc.boolean()) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('close' as const, 'kill' as const) }) },
);
const damage = fc.record({
  file: fc.nat(),
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  bytes: fc.uint8Array({ minLength: 1, maxLength: 300 }),
  cut: fc.boolean(),
});

test('whatever happens and whatever is damaged: every intact waiting report is there once, with its own bytes', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(operation, { minLength: 1, maxLength: 60 }),
      fc.array(damage, { maxLength: 4 }),
      async (operations, damages) => {
        rmSync(spoolDir(), { recursive: true, force: true });
        const bounds = { ...WIDE, sizeBytesMax: 100 * 1024 * 1024 };
        // Bodies by name; settled ones may come back after a kill, others may not go.
        const bodies = new Map<string, string>();
        const settled = new Set<string>();
        let boot = 1;
        let sequence = 0;
        let lostWithoutDamage = 0;
        const bootId = (): string => `${String(boot).padStart(8, '0')}-1111-4111-8111-111111111111`;
        const name = (report: { bootId: string; sequence: number }): string => `${report.bootId} ${report.sequence}`;
        let spool = openDiskSpool({ directory: spoolDir(), bounds, clock, log });
        for (const step of operations) {
          if (step.kind === 'append') {
            sequence++;
            const json = bodyOf(bootId(), sequence, step.padding * 20);
            bodies.set(`${bootId()} ${sequence}`, json);
            await spool.append({ bootId: bootId(), sequence, takenAt: sequence, json, layouts: [LAYOUT] });
          } else if (step.kind === 'settle') {
            for (const report of spool.oldest(1e9, 1e12)) {
              if (step.pick.next().value !== true) continue;
              settled.add(name(report));
              spool.settle(report.bootId, [report.sequence]);
            }
          } else {
            // Killed: the old object is left as it is, its file descriptor open.
            if (step.kind === 'close') await spool.close();
            spool = openDiskSpool({ directory: spoolDir(), bounds, clock, log });
            lostWithoutDamage += spool.state().lost;
            boot++;
            sequence = 0;
          }
        }
        expect(lostWithoutDamage).toBe(0);
        const before = new Set(spool.oldest(1e9, 1e12).map(name));
        for (const [key] of bodies) expect(before.has(key) || settled.has(key)).toBe(true);

        // Which reports does the damage leave alone?
        const touched = new Set<string>();
        for (const { file: pick, at, bytes, cut } of damages) {
          const all = files();
          if (all.length === 0) continue;
          const path = join(spoolDir(), all[pick % all.length]!);
          const content = readFileSync(path);
          const from = Math.floor(at * content.length);
          const to = cut ? content.length : Math.min(content.length, from + bytes.length);
          for (let start = 0; start < content.length;) {
            const newline = content.indexOf(10, start);
            const end = newline < 0 ? content.length : newline;
            const match = /^.{9}report (\S+) (\d+) /.exec(content.toString('latin1', start, Math.min(end, start + 100)));
            // A line is touched when its bytes, its newline or the newline before it are.
            if (match !== null && from <= end && to >= start) touched.add(`${match[1]!} ${match[2]!}`);
            start = end + 1;
          }
          if (cut) truncateSync(path, from);
          else {
            const fd = openSync(path, 'r+');
            writeSync(fd, bytes, 0, to - from, from);
            closeSync(fd);
          }
        }
        const after = openDiskSpool({ directory: spoolDir(), bounds, clock, log });
        const reports = after.oldest(1e9, 1e12);
        const found = reports.map(name);
        expect(new Set(found).size).toBe(found.length);
        expect([...before].filter((key) => !touched.has(key) && !found.includes(key))).toEqual([]);
        const read = await after.read(reports);
        reports.forEach((report, i) => expect(String(read[i])).toBe(bodies.get(name(report))));
        // And it goes on.
        boot++;
        await after.append({ bootId: bootId(), sequence: 1, takenAt: 1, json: bodyOf(bootId(), 1), layouts: [LAYOUT] });
        expect(after.newest()).toMatchObject({ sequence: 1 });
        const again = openDiskSpool({ directory: spoolDir(), bounds, clock, log });
        expect(again.state()).toMatchObject({ reports: found.length + 1, lost: 0 });
        await after.close();
      },
    ),
    { numRuns: 60 },
  );
}, 60_000);
