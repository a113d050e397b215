/** The collector as one file, for a machine without npm. It stays readable: a stack trace from it has to say something. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import { withTemporaryDirectory } from '../files.ts';
import { packagesOf } from '../licences.ts';

/** Libraries inside are CommonJS and expect these three. */
const BANNER = `import { createRequire as createRequireOfBundle } from 'node:module';
import { fileURLToPath as pathOfBundle } from 'node:url';
const require = createRequireOfBundle(import.meta.url);
const __filename = pathOfBundle(import.meta.url);
const __dirname = pathOfBundle(new URL('.', import.meta.url));`;

export interface CollectorProgram {
  content: Uint8Array;
  /** Directories of the packages inside, relative to the checkout. */
  packages: string[];
}

/** Bundles from the sources. What it reads beside it, it finds relative to itself: see layout.ts. */
export function collectorProgram(root: string): Promise<CollectorProgram> {
  return withTemporaryDirectory(async (directory) => {
    const outfile = join(directory, 'main.js');
    const { metafile } = await build({
      absWorkingDir: root,
      entryPoints: ['collector/src/main.ts'],
      outfile,
      bundle: true,
      platform: 'node',
      target: 'node20',
      format: 'esm',
      conditions: ['source'],
      legalComments: 'none',
      external: ['pg-native'],
      banner: { js: BANNER },
      metafile: true,
      logLevel: 'warning',
    });
    return { content: await readFile(outfile), packages: packagesOf(Object.keys(metafile.inputs)) };
  });
}
