import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EXIT, OperationalFailure } from '@tidemark/service';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { holderOf, lockDataDir } from './lock.ts';

let directory: string;
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'tidemark-lock-'))));
afterEach(() => rmSync(directory, { recursive: true, force: true }));
const path = (): string => join(directory, 'agent.pid');

/** Another process that is alive for the time of a test. */
async function withProcess(action: (pid: number) => void): Promise<number> {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
  await new Promise((resolve) => child.once('spawn', resolve));
  try {
    action(child.pid!);
  } finally {
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('exit', resolve));
  }
  return child.pid!;
}

test('taken, named, and given back', () => {
  expect(holderOf(directory)).toBeUndefined();
  const unlock = lockDataDir(directory);
  expect(readFileSync(path(), 'utf8')).toMatch(new RegExp(`^${process.pid} `));
  unlock();
  expect(readdirSync(directory)).toEqual([]);
});

test.skipIf(process.platform !== 'linux')('held by a living process: one sentence that names it', async () => {
  await withProcess((pid) => {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    writeFileSync(path(), `${pid} ${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]!}\n`);
    expect(holderOf(directory)).toBe(pid);
    let failure: OperationalFailure | undefined;
    try {
      lockDataDir(directory);
    } catch (error) {
      failure = error as OperationalFailure;
    }
    expect(failure).toBeInstanceOf(OperationalFailure);
    expect(failure!.exitCode).toBe(EXIT.alreadyRunning);
    expect(failure!.message).toContain(`process ${pid}`);
    expect(readdirSync(directory)).toEqual(['agent.pid']);
  });
});

test('left by a process that is gone', async () => {
  const gone = await withProcess(() => undefined);
  writeFileSync(path(), `${gone} 12345\n`);
  expect(holderOf(directory)).toBeUndefined();
  lockDataDir(directory)();
  expect(readdirSync(directory)).toEqual([]);
});

test.skipIf(process.platform !== 'linux')('left by a process whose id another has now, or that this one has', async () => {
  await withProcess((pid) => {
    writeFileSync(path(), `${pid} 1\n`);
    lockDataDir(directory)();
  });
  writeFileSync(path(), `${process.pid} 1\n`);
  lockDataDir(directory)();
  expect(readdirSync(directory)).toEqual([]);
});

test.each(['', 'nonsense', '-1 0', '0', '99999999999999999999'])('a file that says %j holds nobody off', (text) => {
  writeFileSync(path(), text);
  lockDataDir(directory)();
  expect(readdirSync(directory)).toEqual([]);
});

test('giving back does not take from another', () => {
  const unlock = lockDataDir(directory);
  writeFileSync(path(), '1 1\n');
  unlock();
  expect(readFileSync(path(), 'utf8')).toBe('1 1\n');
});
