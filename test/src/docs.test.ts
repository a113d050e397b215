/** The generated reference pages are what the programs declare: a changed option, metric, route or problem code needs `npm run docs`. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { PROBLEMS } from '@tidemark/protocol';
import { expect, test } from 'vitest';

const path = (relative: string): string => fileURLToPath(new URL(`../../${relative}`, import.meta.url));
const page = (name: string): string => readFileSync(path(`docs/reference/${name}`), 'utf8');

test('no generated page is out of date', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [path('scripts/docs.mjs'), '--check']).catch((error: unknown) => ({
    stdout: `${(error as { stdout?: string }).stdout ?? ''}${String(error)}`,
  }));
  expect(stdout).toBe('');
});

test('the pages have what somebody looks for', () => {
  for (const code of Object.keys(PROBLEMS)) expect(page('problems.md')).toContain(`| \`${code}\` |`);
  for (const text of [
    '`TIDEMARK_DATABASE_URL`, `DATABASE_URL`',
    '--spool-megabytes',
    '### `tidemark-collector nodes add`',
    '### `tidemark-agent status`',
  ])
    expect(page('configuration.md')).toContain(text);
  for (const name of [
    'tidemark_cpu_usage_ratio',
    'node_memory_MemAvailable_bytes',
    'pg_up',
    'tidemark_node_up',
    'tidemark_collector_reports_total',
  ])
    expect(page('metrics.md')).toContain(`| \`${name}\` |`);
});
