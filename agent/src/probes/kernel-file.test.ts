/** Reading the kernel's files: numbers and words by hand, files that change, grow, vanish and come back. */
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { Cursor, KernelFile } from './kernel-file.ts';

const directory = mkdtempSync(join(tmpdir(), 'kernel-file-'));
afterAll(() => rmSync(directory, { recursive: true }));

test.each([
  ['0', 0],
  ['  42 ', 42],
  ['0.27', 0.27],
  ['3965.10', 3965.1],
  ['-1', -1],
  ['9223372036854771712', 9223372036854771712],
  ['max', Number.NaN],
  ['', Number.NaN],
  ['\n5', Number.NaN],
])('the number in %j is %s', (text, value) => {
  expect(Cursor.of(text).number()).toBe(value);
});

test('words never come from the next line, and a stop is stepped over', () => {
  const cursor = Cursor.of('  eth0:721 5\n\nlast ü');
  expect(cursor.word(':')).toBe('eth0');
  expect(cursor.number()).toBe(721);
  cursor.skip(1);
  expect([cursor.more(), cursor.word(), cursor.number()]).toEqual([false, '', Number.NaN]);
  expect(cursor.nextLine()).toBe(true);
  expect(cursor.word()).toBe('');
  expect(cursor.nextLine()).toBe(true);
  expect(cursor.take('lost')).toBe(false);
  expect(cursor.take('last ')).toBe(true);
  expect(cursor.line()).toBe('ü');
  expect([cursor.nextLine(), cursor.atEnd]).toEqual([false, true]);
});

test('a shorter text leaves nothing of the longer one before', () => {
  const path = join(directory, 'shrinks');
  writeFileSync(path, '123456 7');
  const file = new KernelFile(path);
  expect(file.read()?.rest()).toBe('123456 7');
  writeFileSync(path, '9');
  const cursor = file.read();
  expect([cursor?.number(), cursor?.number(), cursor?.atEnd]).toEqual([9, Number.NaN, true]);
  file.close();
});

test('a file larger than the buffer is read whole', () => {
  const path = join(directory, 'large');
  writeFileSync(path, '');
  for (let i = 0; i < 20_000; i++) appendFileSync(path, `${i}\n`);
  const file = new KernelFile(path);
  const text = file.read()?.rest() ?? '';
  expect(text.split('\n').at(-2)).toBe('19999');
  expect(text.length).toBe(108_890);
  file.close();
});

test('a missing file is looked for again, but not at every read; one that must be there is', () => {
  const path = join(directory, 'later');
  const file = new KernelFile(path);
  expect(file.read()).toBeUndefined();
  expect(() => file.mustRead()).toThrow(`cannot read ${path}`);
  writeFileSync(path, '1');
  let reads = 0;
  while (file.read() === undefined && reads < 100) reads++;
  expect(reads).toBeGreaterThan(0);
  expect(reads).toBeLessThan(100);
  file.close();
});
