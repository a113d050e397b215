import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';

let directory: string;
let program: string;

/** A program on our lifecycle, told what to do by its first argument. */
const SOURCE = `
import { open } from 'node:fs';
import { createLog, OperationalFailure, runProgram, runUntilStopped } from './index.ts';
const [what, path] = process.argv.slice(2);
const log = createLog('test', 'silent');
const say = (text) => process.stdout.write(text + '\\n');
void runProgram('test-program', async () => {
  if (what === 'fail') throw new OperationalFailure('The sky is down: prop it up.', 73);
  if (what === 'quote') throw new OperationalFailure('It says: \\u001b]0;x\\u0007\\u001b[2J\\u009b1m\\u202e\\nall of it', 33);
  if (what === 'crash') throw new TypeError('a mistake of ours');
  if (what === 'print') { say('x'.repeat(1_000_000)); return 4; }
  return runUntilStopped({ log, stopTimeoutMs: 700 }, async (life) => {
    life.onStop('first', () => say('first undone'));
    life.onStop('second', async () => { say('second undone'); if (what === 'hang') await new Promise(() => {}); });
    if (what === 'reload') life.onReload(() => say('reloaded, ready'));
    if (what === 'fail-late') throw new OperationalFailure('Half way.', 75);
    if (what === 'stuck') open(path, 'r', () => {});
    setInterval(() => {}, 1000);
    say(what === 'reload' ? 'waiting' : 'ready');
  });
});
`;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tidemark-lifecycle-'));
  program = join(directory, 'program.cjs');
  await build({
    stdin: { contents: SOURCE, resolveDir: fileURLToPath(new URL('.', import.meta.url)), loader: 'js' },
    outfile: program,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    logLevel: 'error',
  });
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

interface Outcome {
  code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
}

/** Runs it; once it says "ready" it gets SIGTERM. */
function run(...args: string[]): Promise<Outcome> {
  const child = spawn(process.execPath, [program, ...args]);
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    if (chunk.includes('waiting')) child.kill('SIGHUP');
    if (chunk.includes('ready')) child.kill('SIGTERM');
    stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
  return new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr })));
}

test('an operational failure is one sentence and its exit code', async () => {
  expect(await run('fail')).toEqual({ code: 73, signal: null, stdout: '', stderr: 'test-program: The sky is down: prop it up.\n' });
});

test('what a sentence quotes moves no cursor', async () => {
  const { code, stderr } = await run('quote');
  expect(code).toBe(33);
  expect(stderr).toBe('test-program: It says: \\u{1b}]0;x\\u{7}\\u{1b}[2J\\u{9b}1m\\u{202e}\nall of it\n');
});

test('SIGHUP reads the configuration again where that is wanted, and stops where it is not', async () => {
  expect((await run('reload')).stdout).toBe('waiting\nreloaded, ready\nsecond undone\nfirst undone\n');
});

test('anything else is a crash with its stack', async () => {
  const { code, stderr } = await run('crash');
  expect(code).toBe(1);
  expect(stderr).toContain('TypeError: a mistake of ours');
  expect(stderr).toContain('    at ');
});

test('what was printed arrives before the exit', async () => {
  const { code, stdout } = await run('print');
  expect(code).toBe(4);
  expect(stdout).toHaveLength(1_000_001);
});

test('a reader that leaves early is no crash', async () => {
  const child = spawn(process.execPath, [program, 'print']);
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
  child.stdout.destroy();
  const code = await new Promise((resolve) => child.on('exit', resolve));
  expect({ code, stderr }).toEqual({ code: 4, stderr: '' });
});

test('a terminal that goes away while stopping leaves nothing undone', async () => {
  const child = spawn(process.execPath, [program, 'run']);
  child.stdout.once('data', () => {
    child.stdout.destroy();
    child.kill('SIGTERM');
  });
  expect(await new Promise((resolve) => child.on('exit', resolve))).toBe(0);
});

test('SIGTERM undoes the start in reverse order and is a success', async () => {
  expect(await run('run')).toEqual({ code: 0, signal: null, stdout: 'ready\nsecond undone\nfirst undone\n', stderr: '' });
});

test('a start that fails half way is undone', async () => {
  expect(await run('fail-late')).toEqual({
    code: 75,
    signal: null,
    stdout: 'second undone\nfirst undone\n',
    stderr: 'test-program: Half way.\n',
  });
});

test('a part that hangs does not hold the process', async () => {
  expect(await run('hang')).toMatchObject({ signal: 'SIGKILL', stdout: 'ready\nsecond undone\n' });
});

test.skipIf(process.platform === 'win32')('nor does a thread stuck in the kernel, which process.exit would wait for', async () => {
  const pipe = join(directory, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const startedMs = performance.now();
  // Everything was undone before it left by force.
  expect(await run('stuck', pipe)).toMatchObject({ signal: 'SIGKILL', stdout: 'ready\nsecond undone\nfirst undone\n' });
  expect(performance.now() - startedMs).toBeLessThan(5_000);
});
