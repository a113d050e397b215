/** `bundle`: makes what nodes download. Progress goes to standard error for people, or to standard output as JSON lines for a program. */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { EXIT, OperationalFailure, sentenceOf } from '@tidemark/service';
import { Packages } from '../downloads/archives.ts';
import { Cache } from '../downloads/cache.ts';
import { makeBundle } from '../downloads/directory.ts';
import type { Progress } from '../downloads/progress.ts';
import { withTemporaryDirectory } from '../files.ts';
import { fetchPackage, type NpmCommand } from '../runtime/npm.ts';
import { PLATFORMS, type Format, type Platform } from '../runtime/pinned.ts';

const FORMATS: Readonly<Record<string, Format>> = { xz: 'tar.xz', gzip: 'tar.gz', zip: 'zip' };

export const BUNDLE_HELP = `Makes what nodes download: the agent, and the Node.js it runs on, for linux-x64, linux-arm64 and win-x64, with SHA256SUMS.

  npm run bundle                                        everything, into installers/dist/bundle
  npm run bundle -- --platform linux-x64                one platform
  npm run bundle -- --platform linux-x64 --format xz    one archive of it
  npm run bundle -- --out /srv/tidemark                 to another place

  --platform NAME   ${PLATFORMS.join(', ')}; may be given more than once
  --format NAME     ${Object.keys(FORMATS).join(', ')}; may be given more than once
  --out DIR         where to (installers/dist/bundle)
  --progress        progress as JSON lines on standard output: {"percent":12,"what":"…"}
  --help            this

Node.js comes from the npm registry that npm is set up for, once; packing it takes some four minutes, once: both are kept in the
user's cache directory. The same sources make the same bytes on every machine.
`;

/** What the command needs of the machine. */
export interface Surroundings {
  /** The checkout. */
  root: string;
  cacheDirectory: string;
  npm: NpmCommand;
  out: (text: string) => void;
  err: (text: string) => void;
  nowMs: () => number;
}

/** Runs the command; resolves with the exit code. */
export async function bundleCommand(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const options = parse(args);
  if (options.help) {
    surroundings.out(BUNDLE_HELP);
    return EXIT.ok;
  }
  const cache = new Cache(surroundings.cacheDirectory);
  const out = options.out ?? join(surroundings.root, 'installers/dist/bundle');
  const files = await makeBundle({
    root: surroundings.root,
    out,
    platforms: options.platforms,
    formats: options.formats,
    packages: npmPackages(surroundings),
    cache,
    tell: options.progress ? (progress) => surroundings.out(`${JSON.stringify(progress)}\n`) : progressForPeople(surroundings),
  });
  await cache.tidy(surroundings.nowMs());
  if (!options.progress) {
    for (const { name, sizeBytes } of files) surroundings.out(`${(sizeBytes / 1e6).toFixed(2).padStart(6)} MB  ${name}\n`);
    surroundings.out(`${out}\n`);
  }
  return EXIT.ok;
}

/** Packages by npm, each through a directory of its own. */
export function npmPackages({ root, npm }: Surroundings): Packages {
  return new Packages((pinned) => withTemporaryDirectory((directory) => fetchPackage(pinned, directory, root, npm)));
}

/** A line for each thing that is done, and one for every tenth of the way. */
export function progressForPeople({ err }: Pick<Surroundings, 'err'>): (progress: Progress) => void {
  let last = '';
  return ({ percent, what }) => {
    const line = `${what} ${Math.floor(percent / 10)}`;
    if (line === last) return;
    last = line;
    err(`${String(percent).padStart(3)} %  ${what}\n`);
  };
}

function parse(args: readonly string[]): {
  platforms: Platform[];
  formats: Format[];
  out: string | undefined;
  progress: boolean;
  help: boolean;
} {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        platform: { type: 'string', multiple: true, default: [] },
        format: { type: 'string', multiple: true, default: [] },
        out: { type: 'string' },
        progress: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    return {
      platforms: values.platform.map((name) => oneOf(name, PLATFORMS, '--platform')),
      formats: values.format.map((name) => FORMATS[oneOf(name, Object.keys(FORMATS), '--format')]!),
      out: values.out,
      progress: values.progress,
      help: values.help,
    };
  } catch (error) {
    if (error instanceof OperationalFailure) throw error;
    throw new OperationalFailure(`${sentenceOf(error).replace(/[.]?$/, '.')} "npm run bundle -- --help" shows what there is.`, EXIT.usage, {
      cause: error,
    });
  }
}

/** The known one of this name. Throws an OperationalFailure that names them all. */
export function oneOf<T extends string>(name: string, known: readonly T[], option: string): T {
  const found = known.find((one) => one === name);
  if (found !== undefined) return found;
  throw new OperationalFailure(`${option} is one of ${known.join(', ')}, not "${name}".`, EXIT.usage);
}
