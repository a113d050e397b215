/** Runbook pages: whatever Markdown says becomes a page without scripts; links lead to pages that are there. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { testServer } from '../http/testing.ts';
import { runbookRoutes } from './routes.ts';

async function serving(files: Record<string, string>) {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-runbooks-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
  return (await testServer({ routes: (app) => runbookRoutes(app, directory) })).app;
}

test('a page is served to everyone, its neighbours as links, the rest of the documents as text', async () => {
  const app = await serving({
    'cpu-usage.md':
      '# CPU & usage <high>\n\nSee [the disk](disk-usage.md#first), [how to](../how-to/x.md), [web](https://example.org).\n\n```sh\ntop\n```\n',
    'disk-usage.md': '# Disk\n',
    'README.md': '# not one\n',
  });
  const { statusCode, headers, body } = await app.inject({ url: '/runbooks/cpu-usage' });
  expect([statusCode, headers['content-type']]).toEqual([200, 'text/html; charset=utf-8']);
  expect(body).toContain('<title>CPU &amp; usage &lt;high&gt; · Tidemark</title>');
  expect(body).toContain('<a href="/runbooks/disk-usage#first">the disk</a>, how to, <a href="https://example.org">web</a>');
  expect(body).not.toContain('<script');
  const index = await app.inject({ url: '/runbooks/' });
  expect(index.body.match(/<li>/g)).toHaveLength(2);
});

test('what is not there is said', async () => {
  const app = await serving({});
  expect((await app.inject({ url: '/runbooks/none' })).json()).toMatchObject({ code: 'not_found' });
  expect((await app.inject({ url: '/runbooks/..%2f..%2fpackage' })).statusCode).toBe(404);
});
