import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AGENT_FLAGS, bundleAgent, type BundleResult } from './bundle.ts';

const run = promisify(execFile);
let directory: string;
let bundle: BundleResult;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tidemark-bundle-'));
  bundle = await bundleAgent(join(directory, 'out'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

test('one file of about a megabyte, and the flags beside it', () => {
  expect(readdirSync(join(directory, 'out')).toSorted()).toEqual(['tidemark-agent.cjs', 'tidemark-agent.flags.json']);
  expect(bundle.sizeBytes).toBe(readFileSync(bundle.file).length);
  expect(bundle.sizeBytes).toBeLessThan(1.1 * 1024 * 1024);
  expect(JSON.parse(readFileSync(join(directory, 'out', 'tidemark-agent.flags.json'), 'utf8'))).toEqual(AGENT_FLAGS);
});

test('needs nothing but Node.js', () => {
  const wanted = [...readFileSync(bundle.file, 'utf8').matchAll(/\brequire\("([^"]+)"\)/g)].map((match) => match[1]!.replace(/^node:/, ''));
  expect(wanted.length).toBeGreaterThan(10);
  // All three are asked for in a `try`, by pg and by systeminformation on a Mac, and missed by neither.
  const optional = ['pg-native', 'osx-temperature-sensor', 'macos-temperature-sensor'];
  expect(wanted.filter((name) => !builtinModules.includes(name) && !optional.includes(name))).toEqual([]);
});

test('runs anywhere, with its flags, and is of the version that package.json names', async () => {
  const { version } = JSON.parse(readFileSync(new URL('../../agent/package.json', import.meta.url), 'utf8')) as { version: string };
  const { stdout, stderr } = await run(process.execPath, [...AGENT_FLAGS, bundle.file, '--version'], { cwd: directory, env: {} });
  expect({ stdout, stderr }).toEqual({ stdout: `${version}\n`, stderr: '' });
});

test('a report with PostgreSQL works from the bundle, and loads neither fetch nor systeminformation’s children', async () => {
  const spy = join(directory, 'spy.cjs');
  const seen = join(directory, 'seen.json');
  writeFileSync(
    spy,
    `const children = require('node:child_process'); let started = 0;
     for (const name of ['spawn', 'exec', 'execFile', 'fork', 'spawnSync', 'execSync', 'execFileSync']) {
       const original = children[name]; children[name] = (...all) => { started++; return original(...all); };
     }
     process.on('exit', () => require('node:fs').writeFileSync(${JSON.stringify(seen)}, JSON.stringify({ started, loaded: process.moduleLoadList })));`,
  );
  const args = [...AGENT_FLAGS, '--require', spy, bundle.file, 'collect', '--json', '--postgres', 'postgres://x@127.0.0.1:1/x'];
  const { stdout } = await run(process.execPath, args, { cwd: directory, maxBuffer: 16 * 1024 * 1024 });
  const { series } = JSON.parse(stdout) as { series: { metric: string; value: unknown }[] };
  expect(series.find(({ metric }) => metric === 'pg_up')!.value).toBe(0);
  expect(existsSync(seen)).toBe(true);
  const { started, loaded } = JSON.parse(readFileSync(seen, 'utf8')) as { started: number; loaded: string[] };
  expect(loaded.filter((name) => name.includes('undici'))).toEqual([]);
  expect(started).toBe(process.platform === 'linux' ? 0 : started);
});
