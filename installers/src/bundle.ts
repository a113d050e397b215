/**
 * Makes the agent one file: dist/tidemark-agent.cjs, which needs Node.js 20 and nothing else, and beside it
 * dist/tidemark-agent.flags.json, the Node.js flags it is to run with. `node installers/dist/main.js` makes both.
 */
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { packagesOf } from './licences.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

/**
 * Measured with every probe and one PostgreSQL server, a report each second, Node.js 20 on x64, after 100 s:
 * without flags 70 MB RSS (22 of them anonymous) and 3.7 ms CPU a report; with these 53 MB (14) and 3.5 ms.
 * `--no-opt` saves 8 MB and costs nothing: at this pace nothing runs often enough to repay its optimisation.
 * Tried in vain: --single-threaded-gc, --v8-pool-size=0, --optimize-for-size, --max-lazy, --always-sparkplug (+2 MB);
 * --jitless saves 2 MB more and costs a tenth of the CPU. The bound of the old space is for a leak only.
 */
export const AGENT_FLAGS = ['--max-semi-space-size=1', '--max-old-space-size=96', '--no-opt'];

export interface BundleResult {
  file: string;
  sizeBytes: number;
  /** Directories of the packages inside, relative to the checkout. */
  packages: string[];
}

/** Bundles from the sources. The file appears whole: an agent may be starting from it. */
export async function bundleAgent(outputDirectory = join(root, 'installers/dist')): Promise<BundleResult> {
  const { version } = JSON.parse(await readFile(join(root, 'agent/package.json'), 'utf8')) as { version: string };
  await mkdir(outputDirectory, { recursive: true });
  const file = join(outputDirectory, 'tidemark-agent.cjs');
  const temporary = `${file}.${process.pid}.tmp`;
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: ['agent/src/main.ts'],
    outfile: temporary,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    conditions: ['source'],
    minify: true,
    legalComments: 'none',
    external: ['pg-native'],
    // pg asks `Response` whether it runs at Cloudflare, and on Node.js 20 that alone loads the whole of fetch: 20 MB.
    define: { Response: 'undefined', TIDEMARK_VERSION: JSON.stringify(version), 'import.meta.url': '""' },
    metafile: true,
    logLevel: 'warning',
  });
  await rename(temporary, file);
  await writeFile(join(outputDirectory, 'tidemark-agent.flags.json'), `${JSON.stringify(AGENT_FLAGS)}\n`);
  return { file, sizeBytes: (await stat(file)).size, packages: packagesOf(Object.keys(metafile.inputs)) };
}
