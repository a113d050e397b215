/**
 * The collector's service host on Windows: compiled, as there, from the agent's keeper and a program of its own, and run by Mono with a
 * real collector as its child, which is started again when it ends and asked to end when the host does.
 */
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';

const run = promisify(execFile);
const installers = fileURLToPath(new URL('../../../installers/windows/', import.meta.url));
const script = readFileSync(join(installers, 'collector-install-windows.ps1'), 'utf8');
const directory = mkdtempSync(join(tmpdir(), 'tidemark-collector-host-'));
const program = join(directory, 'TidemarkCollectorHost.exe');

beforeAll(async () => {
  // The very files that the script names.
  const sources = [...script.matchAll(/'((?:collector-)?host\\\w+\.cs)'/g)].map(([, name]) => join(installers, name!.replace('\\', '/')));
  if (sources.length !== 4) throw new Error(`the script names ${sources.length} sources`);
  const references = ['-r:System.Core.dll', '-r:System.ServiceProcess.dll'];
  await run('mcs', ['-langversion:5', '-warn:4', '-warnaserror', '-target:exe', `-out:${program}`, ...references, ...sources]);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

test('it runs, which the installer asks it before anything is changed', async () => {
  expect((await run('mono', [program, '--check'])).stdout.trim()).toBe('ok');
});

test('the SID of the service’s account is the one that Windows makes of its name', () => {
  const name = /\$ServiceName = '(\w+)'/.exec(script)![1]!;
  expect(readFileSync(join(installers, 'collector-host/CollectorHost.cs'), 'utf8')).toContain(`ServiceName = "${name}"`);
  const hash = createHash('sha1').update(Buffer.from(name.toUpperCase(), 'utf16le')).digest();
  const sid = `S-1-5-80-${[0, 4, 8, 12, 16].map((offset) => hash.readUInt32LE(offset)).join('-')}`;
  expect(script).toContain(`$ServiceSid = '${sid}'`);
});

test('it starts what `current` names, again when it ends, and asks it to end by closing its standard input', async () => {
  const programs = join(directory, 'Collector');
  const data = join(directory, 'Data');
  const version = join(programs, 'versions', '1.0.0');
  for (const path of [join(version, 'runtime'), join(version, 'collector/dist'), join(data, 'collector-logs')])
    mkdirSync(path, { recursive: true });
  writeFileSync(join(programs, 'current'), '1.0.0\r\n');
  symlinkSync(process.execPath, join(version, 'runtime/node'));
  const notes = join(directory, 'notes');
  // The first run ends by itself; the second one says how it was asked to end.
  writeFileSync(
    join(version, 'collector/dist/main.js'),
    `const { appendFileSync, existsSync } = require('node:fs');
     const note = (text) => appendFileSync(${JSON.stringify(notes)}, text + '\\n');
     const again = existsSync(${JSON.stringify(notes)});
     note(process.argv.slice(2).join(' ') + ' ' + process.env.TIDEMARK_STOP_WITH_STDIN + ' ' + (process.env.DATABASE_URL ?? 'none'));
     if (!again) process.exit(3);
     process.stdin.resume().once('close', () => { note('asked to end'); process.exit(0); });`,
  );
  const host = spawn('mono', [program, '--console', programs, data], {
    stdio: ['pipe', 'inherit', 'inherit'],
    env: { ...process.env, DATABASE_URL: 'postgresql://of.another/program' },
  });
  const exited = new Promise((resolve) => host.once('exit', resolve));
  const lines = (): string[] => (existsSync(notes) ? readFileSync(notes, 'utf8').trim().split('\n') : []);
  try {
    await expect.poll(() => lines().length, { timeout: 30_000 }).toBe(2);
    host.stdin.end();
    expect(await exited).toBe(0);
  } finally {
    host.kill('SIGKILL');
  }
  const started = `run --config ${join(data, 'collector.yaml')} 1 none`;
  expect(lines()).toEqual([started, started, 'asked to end']);
  expect(readFileSync(join(data, 'collector-logs/collector.log'), 'utf8')).toMatch(/ended with code 3\. It is started again in/);
});
