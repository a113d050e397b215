/**
 * Runbook pages, one a shipped rule: Markdown from this installation's documents, written out as plain pages at start.
 * They are public and need no script, so that the link in a message opens on any phone at night.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ProblemError } from '@tidemark/protocol';
import type { FastifyInstance } from 'fastify';
import { Marked } from 'marked';
import { RUNBOOK_STYLE } from './style.ts';

const NAME = /^([a-z0-9-]+)\.md$/;

interface Runbook {
  title: string;
  html: string;
}

/** Reads every runbook below `directory`. A directory that is not there has none. Links begin with `prefix`. */
export function readRunbooks(directory: string, prefix = ''): Map<string, Runbook> {
  let files: string[];
  try {
    files = readdirSync(directory).toSorted();
  } catch {
    return new Map();
  }
  const names = files.flatMap((file) => NAME.exec(file)?.[1] ?? []).filter((name) => name !== 'readme');
  const marked = new Marked({ async: false, gfm: true });
  // Links between the documents: a neighbour is a page here, everything else stands in the repository alone.
  const local = (markdown: string): string =>
    markdown
      .replace(
        /\]\(([a-z0-9-]+)\.md(#[^)]*)?\)/g,
        (_, name: string, hash: string | undefined) => `](${prefix}/runbooks/${name}${hash ?? ''})`,
      )
      .replace(/\[([^\]]*)\]\((?!\/|https?:|#)[^)]*\)/g, '$1');
  return new Map(
    names.map((name) => {
      const markdown = readFileSync(join(directory, `${name}.md`), 'utf8');
      const title = /^# (.+)$/m.exec(markdown)?.[1] ?? name;
      return [name, { title, html: marked.parse(local(markdown), { async: false }) }];
    }),
  );
}

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

function page(title: string, body: string, prefix: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)} · Tidemark</title>
<link rel="icon" type="image/svg+xml" href="${prefix}/favicon.svg">
<link rel="stylesheet" href="${prefix}/runbooks/page.css">
</head>
<body>
<nav aria-label="Console"><a href="${prefix}/">Console</a> <a href="${prefix}/alerts">Alerts</a> <a href="${prefix}/runbooks/">All runbooks</a></nav>
<main>
${body}
</main>
</body>
</html>
`;
}

/** @param prefix the path below which browsers find this collector, or empty. */
export function runbookRoutes(app: FastifyInstance, directory: string, prefix = ''): void {
  const runbooks = readRunbooks(directory, prefix);
  const list = [...runbooks].map(([name, { title }]) => `<li><a href="${prefix}/runbooks/${name}">${escaped(title)}</a></li>`).join('\n');
  const shared = { config: { access: 'public' as const }, schema: { hide: true } };
  app.get('/runbooks/page.css', {
    ...shared,
    handler: (_, reply) => reply.type('text/css; charset=utf-8').header('cache-control', 'max-age=3600').send(RUNBOOK_STYLE),
  });
  app.get('/runbooks', {
    ...shared,
    handler: (_, reply) => reply.type('text/html; charset=utf-8').send(page('Runbooks', `<h1>Runbooks</h1>\n<ul>\n${list}\n</ul>`, prefix)),
  });
  app.get<{ Params: { name: string } }>('/runbooks/:name', {
    ...shared,
    handler: (request, reply) => {
      const runbook = runbooks.get(request.params.name);
      if (runbook === undefined) throw new ProblemError('not_found', 'There is no such runbook. All of them: /runbooks/');
      return reply.type('text/html; charset=utf-8').send(page(runbook.title, runbook.html, prefix));
    },
  });
}
