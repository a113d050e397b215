/**
 * The architecture as a test: who may import whom, what a file must have, that every path the documents
 * name exists, and that the project speaks only of itself.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
  maxBuffer: 64 * 1024 * 1024,
})
  .split('\n')
  .filter((file) => file !== '' && existsSync(join(root, file)));
const read = (file: string): string => readFileSync(join(root, file), 'utf8');
const sources = tracked.filter((file) => /\.tsx?$/.test(file) && !file.endsWith('.d.ts'));
const programs = sources.filter(
  (file) => !/\.test\.tsx?$/.test(file) && !file.startsWith('test/') && !/\/testing\//.test(file) && !file.endsWith('/testing.ts'),
);
const documents = tracked.filter((file) => file.endsWith('.md'));

/** What a file imports, as written. */
function importsOf(file: string): string[] {
  return [...read(file).matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => match[1]!);
}

const packageOf = (file: string): string => (file.startsWith('packages/') ? file.split('/').slice(0, 2).join('/') : file.split('/')[0]!);

/** Workspaces each part may use. `protocol` and `service` are leaves; agent and collector never see each other. */
const PACKAGES: Record<string, readonly string[]> = {
  'packages/protocol': [],
  'packages/service': [],
  'packages/console': ['@tidemark/protocol'],
  agent: ['@tidemark/protocol', '@tidemark/service'],
  collector: ['@tidemark/protocol', '@tidemark/service'],
  installers: ['@tidemark/service'],
  dashboards: [],
  test: ['@tidemark/protocol', '@tidemark/service', '@tidemark/agent', '@tidemark/collector'],
};

/** Inside the collector imports point left only. `collector.ts` is the wiring, `main.ts` and `commands` the program. */
const COLLECTOR_LAYERS = [
  'db',
  'backup',
  'fleet/node.ts',
  'stream',
  'http',
  'downloads',
  'health',
  'fleet',
  'reports',
  'live',
  'series',
  'rules',
  'incidents',
  'alerts',
  'notify',
  'replication',
  'events',
  'runbooks',
  'settings',
  'grafana',
  'config.ts',
  'alerting.ts',
  'replicating.ts',
  'collector.ts',
  'openapi.ts',
  'commands',
  'main.ts',
];
/** Inside the agent likewise. */
const AGENT_LAYERS = ['probes', 'spool', 'uplink', 'config.ts', 'enrolment', 'status.ts', 'agent.ts', 'commands', 'main.ts'];

function layerOf(layers: readonly string[], path: string): number {
  const exact = layers.indexOf(path);
  return exact >= 0 ? exact : layers.indexOf(path.split('/')[0]!);
}

describe('layering', () => {
  test('workspaces use only what stands below them', () => {
    const wrong = programs.flatMap((file) =>
      importsOf(file)
        .filter((name) => name.startsWith('@tidemark/') && !(PACKAGES[packageOf(file)] ?? []).includes(/^@[^/]+\/[^/]+/.exec(name)![0]))
        .map((name) => `${file} imports ${name}`),
    );
    expect(wrong).toEqual([]);
  });

  test('what makes the dashboards is not needed to run: the collector serves its files', () => {
    const wrong = programs.flatMap((file) =>
      importsOf(file)
        .filter((name) => name.startsWith('@grafana/') && packageOf(file) !== 'dashboards')
        .map((name) => `${file} imports ${name}`),
    );
    expect(wrong).toEqual([]);
    const { dependencies = {} } = JSON.parse(read('dashboards/package.json')) as { dependencies?: object };
    expect(dependencies).toEqual({});
  });

  test('no import leaves its workspace by a relative path', () => {
    const wrong = programs.flatMap((file) =>
      importsOf(file)
        .filter((name) => name.startsWith('.') && packageOf(relative(root, resolve(root, dirname(file), name))) !== packageOf(file))
        .map((name) => `${file} imports ${name}`),
    );
    expect(wrong).toEqual([]);
  });

  test.each([
    ['collector', COLLECTOR_LAYERS],
    ['agent', AGENT_LAYERS],
  ] as const)('inside the %s imports point one way', (workspace, layers) => {
    const base = `${workspace}/src/`;
    const inner = programs.filter((file) => file.startsWith(base) && file !== `${base}index.ts`);
    const wrong = inner.flatMap((file) => {
      const own = layerOf(layers, file.slice(base.length));
      if (own < 0) return [`${file} has no layer: add it to the list in tidy.test.ts`];
      return importsOf(file)
        .filter((name) => name.startsWith('.'))
        .map((name) => relative(join(root, base), resolve(root, dirname(file), name)))
        .filter((target) => layerOf(layers, target) > own)
        .map((target) => `${file} imports ${target}`);
    });
    expect(wrong).toEqual([]);
  });
});

describe('files', () => {
  test('every source file opens with a comment that says what it is', () => {
    expect(programs.filter((file) => !/^(#!.*\n)?\/\*\*?/.test(read(file)))).toEqual([]);
  });

  test('names say something', () => {
    expect(
      tracked.filter((file) => file.split('/').some((part) => /^(utils?|helpers?|common|core|manager|misc)(\.|$)/.test(part))),
    ).toEqual([]);
  });

  test("the environment and the arguments are read in the programs' main files only", () => {
    const allowed = /(^|\/)main\.tsx?$|^vitest\.config|^installers\/|^packages\/console\/(dev|vite\.config)/;
    expect(
      programs.filter((file) => !allowed.test(file) && /\bprocess\.(env|argv)\b/.test(read(file).replace(/^\s*(\*|\/\/).*$/gm, ''))),
    ).toEqual([]);
  });

  test('nothing names a machine of ours', () => {
    const text = tracked.filter(
      (file) =>
        /\.(tsx?|m?js|md|json|ya?ml|sql|css|html)$/.test(file) &&
        file !== 'package-lock.json' &&
        !file.includes('/fixtures/') &&
        file !== 'test/src/tidy.test.ts',
    );
    expect(text.filter((file) => /(^|[\s"'`(])\/(work|root)\/|registry\.npmjs|claude|anthropic/im.test(read(file)))).toEqual([]);
  });

  test('only stores, migrations and the database layer speak SQL', () => {
    const speaksSql = (file: string): boolean =>
      /\b(SELECT|INSERT INTO|UPDATE|DELETE FROM)\b[^'"`]*\b(FROM|VALUES|SET|SELECT)\b/.test(read(file).replace(/^\s*(\*|\/\/).*$/gm, ''));
    const allowed =
      // The shipped rules advise people to ask PostgreSQL.
      /^collector\/src\/(db\/|[a-z]+\/([a-z]+-)?(store|tables|reread|restore)\.ts$|rules\/default-rules\.ts$)|^agent\/src\/(probes\/postgres|commands\/postgres)|^dashboards\/src\/store\.ts$/;
    expect(programs.filter((file) => !allowed.test(file) && speaksSql(file))).toEqual([]);
  });
});

test('the lock file knows the packages of every platform', () => {
  // npm leaves out what its registry did not offer for the machine it ran on, and `npm ci` then fails everywhere.
  const { packages } = JSON.parse(read('package-lock.json')) as {
    packages: Record<string, { optionalDependencies?: Record<string, string> }>;
  };
  const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter(
      (name) => packages[`${path}/node_modules/${name}`] === undefined && packages[`node_modules/${name}`] === undefined,
    ),
  );
  expect(missing).toEqual([]);
});

describe('documents', () => {
  test('every path they name exists', () => {
    const wrong = documents.flatMap((document) => {
      const text = read(document).replace(/```[\s\S]*?```/g, '');
      const linked = [...text.matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)].map((m) =>
        relative(root, resolve(root, dirname(document), m[1]!)),
      );
      const named = [...text.matchAll(/`((?:packages|agent|collector|installers|dashboards|test|docs|scripts)\/[A-Za-z0-9_./-]+)`/g)].map(
        (m) => m[1]!,
      );
      return [...linked, ...named].filter((path) => !existsSync(join(root, path))).map((path) => `${document} names ${path}`);
    });
    expect(wrong).toEqual([]);
  });

  test('every npm script they name exists', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const wrong = documents.flatMap((document) =>
      [...read(document).matchAll(/\bnpm run ([a-z:-]+)/g)]
        .filter((m) => !Object.hasOwn(scripts, m[1]!))
        .map((m) => `${document} names npm run ${m[1]!}`),
    );
    expect(wrong).toEqual([]);
  });

  test('every command that they or an installer name exists', () => {
    const known = [...read('docs/reference/configuration.md').matchAll(/^### `(tidemark-(?:collector|agent) [a-z -]+)`$/gm)].map(
      (m) => m[1]!,
    );
    const groups = new Set(known.filter((one) => one.split(' ').length === 3).map((one) => one.split(' ').slice(0, 2).join(' ')));
    const files = [...documents, ...tracked.filter((file) => /^installers\/.*\.(sh|ps1)$/.test(file))].filter(
      (file) => file !== 'docs/reference/configuration.md' && !file.startsWith('docs/decisions/'),
    );
    const wrong = files.flatMap((file) =>
      [...read(file).matchAll(/\b(tidemark-(?:collector|agent)) ([a-z][a-z-]+)(?: ([a-z][a-z-]+))?/g)]
        // In prose any word may follow a program's name, and that of a command; not that of a group of commands.
        .map(([, program, first, second]) => ({ group: `${program!} ${first!}`, second }))
        .filter(
          ({ group, second }) =>
            second !== undefined && groups.has(group) && !known.includes(group) && !known.includes(`${group} ${second}`),
        )
        .map(({ group, second }) => `${file} names ${group} ${second!}`),
    );
    expect(wrong).toEqual([]);
  });

  test('decision records are numbered without gaps', () => {
    const numbers = documents
      .filter((file) => /^docs\/decisions\/\d{4}-/.test(file))
      .map((file) => Number(file.slice(15, 19)))
      .sort((a, b) => a - b);
    expect(numbers).toEqual(numbers.map((_, i) => i + 1));
  });
});
