import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EXIT, OperationalFailure } from '@tidemark/service';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { put, withTemporaryDirectory, writing } from './files.ts';

let directory: string;
beforeEach(() => void (directory = mkdtempSync(join(tmpdir(), 'tidemark-files-'))));
afterEach(() => rmSync(directory, { recursive: true, force: true }));

test('a temporary directory is gone after the work, and after work that failed', async () => {
  const used: string[] = [];
  await withTemporaryDirectory(async (own) => {
    used.push(own);
    await put(own, 'file', Buffer.from('x'));
  }, directory);
  const failing = withTemporaryDirectory((own) => Promise.reject(new Error(own)), directory);
  await expect(failing).rejects.toThrow(directory);
  expect(used).toHaveLength(1);
  expect(readdirSync(directory)).toEqual([]);
});

test('what a killed process left is removed; what a running one uses is not', async () => {
  const killed = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
  const running = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
  const [left, used] = [killed, running].map(({ pid }) => join(directory, `tidemark-work-${pid}-abc`)) as [string, string];
  const other = join(directory, 'somebody-elses');
  for (const path of [left, used, other]) mkdirSync(path);
  const gone = new Promise((resolve) => killed.once('exit', resolve));
  killed.kill('SIGKILL');
  await gone;
  try {
    await withTemporaryDirectory(() => Promise.resolve(), directory);
    expect([left, used, other].map((path) => existsSync(path))).toEqual([false, true, true]);
  } finally {
    const stopped = new Promise((resolve) => running.once('exit', resolve));
    running.kill('SIGKILL');
    await stopped;
  }
});

test('a file that cannot be written leaves nothing behind', async () => {
  mkdirSync(join(directory, 'taken', 'by', 'a-directory'), { recursive: true });
  await expect(put(directory, 'taken', Buffer.from('x'))).rejects.toThrow(/EISDIR|cannot be written/);
  expect(readdirSync(directory)).toEqual(['taken']);
});

test.each([
  ['ENOSPC', EXIT.noRoom, /no room left for \/out/],
  ['EACCES', EXIT.noRights, /\/out cannot be written to \(EACCES\)/],
] as const)('a disk that says %s', async (code, exitCode, said) => {
  const error = await writing('/out', () => Promise.reject(Object.assign(new Error(code), { code }))).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(OperationalFailure);
  expect(error).toMatchObject({ exitCode, message: expect.stringMatching(said) as unknown });
});
