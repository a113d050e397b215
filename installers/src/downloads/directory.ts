/**
 * The directory that a collector serves to nodes. Each file appears whole; the sums are written last, and only then goes what
 * belongs to another version: a node that is downloading meanwhile finds what it was told of.
 */
import { mkdir, readFile, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { EXIT, OperationalFailure } from '@tidemark/service';
import { NODE_VERSION, PINNED_RUNTIMES, PLATFORMS, type Format, type Platform } from '../runtime/pinned.ts';
import {
  agentEntries,
  makeRuntimeArchive,
  packEntries,
  runtimeArchive,
  windowsHostEntries,
  type Packages,
  type RuntimeArchive,
} from './archives.ts';
import type { Cache } from './cache.ts';
import { Steps, type Progress } from './progress.ts';
import { put, writing } from '../files.ts';
import { releaseFile, sumOf, sumRows, type FileSum } from './sums.ts';

export interface BundleRequest {
  /** The checkout. */
  root: string;
  /** Where to put the files. */
  out: string;
  /** Limits; all when empty. */
  platforms: readonly Platform[];
  formats: readonly Format[];
  packages: Packages;
  cache: Cache;
  tell: (progress: Progress) => void;
}

export interface BundledFile extends FileSum {
  name: string;
}

/** Seconds each takes on a slow machine: what the percentages are made of. */
const WEIGHTS = { 'tar.xz': 90, 'tar.gz': 13, zip: 10, fetch: 8, agent: 3, kept: 0.3 } as const;

/** Makes what is asked for and the sums over all that is there of this version. Throws an OperationalFailure. */
export async function makeBundle(request: BundleRequest): Promise<BundledFile[]> {
  const { out, cache, packages } = request;
  await writing(out, () => mkdir(out, { recursive: true }));
  const wanted = await Promise.all(wantedArchives(request).map(async (archive) => ({ archive, kept: await cache.read(archive.key) })));
  const missing = wanted.filter(({ kept }) => kept === undefined).map(({ archive }) => archive.platform);
  const platforms = [...new Set(missing.flatMap((platform) => [platform, PINNED_RUNTIMES[platform].licenceFrom]))];
  const weight = wanted.reduce((sum, { archive, kept }) => sum + (kept === undefined ? WEIGHTS[archive.format] : WEIGHTS.kept), 0);
  const steps = new Steps(weight + platforms.length * WEIGHTS.fetch + WEIGHTS.agent, request.tell);

  const { version, entries } = await steps.step(WEIGHTS.agent, 'the agent', () => agentEntries(request.root));
  const ofFormat = { 'tar.gz': entries, zip: [...entries, ...(await windowsHostEntries(request.root))] };
  for (const format of ['tar.gz', 'zip'] as const)
    await put(out, `tidemark-agent-${version}.${format}`, await packEntries(ofFormat[format], format));
  for (const platform of platforms) {
    await steps.step(WEIGHTS.fetch, `fetching Node.js ${NODE_VERSION} for ${platform}`, () => packages.get(PINNED_RUNTIMES[platform]));
  }
  for (const { archive, kept } of wanted) {
    const content =
      kept === undefined
        ? await steps.step(WEIGHTS[archive.format], `packing ${archive.name}`, (onPercent) =>
            makeRuntimeArchive(archive, packages, cache, onPercent),
          )
        : await steps.step(WEIGHTS.kept, archive.name, () => Promise.resolve(kept));
    await put(out, archive.name, content);
  }
  const files = await writeSums(out, version);
  steps.finish('ready');
  return files;
}

function wantedArchives({ platforms, formats }: BundleRequest): RuntimeArchive[] {
  const archives = (platforms.length === 0 ? PLATFORMS : platforms).flatMap((platform) =>
    PINNED_RUNTIMES[platform].formats
      .filter((format) => formats.length === 0 || formats.includes(format))
      .map((format) => runtimeArchive(platform, format)),
  );
  if (archives.length > 0) return archives;
  throw new OperationalFailure(`There is no ${formats.join(' or ')} for ${platforms.join(' or ')}.`, EXIT.usage);
}

/** Sums over every file of this version, made now or before; files of other versions are removed. */
async function writeSums(out: string, version: string): Promise<BundledFile[]> {
  const ours = (await readdir(out)).filter((name) => /^tidemark-(?:runtime|agent)-/.test(name) && !name.endsWith('.tmp'));
  const current = ours.filter(
    (name) => name.startsWith(`tidemark-runtime-${NODE_VERSION}-`) || name.startsWith(`tidemark-agent-${version}.`),
  );
  const sums = new Map<string, FileSum>();
  for (const name of current.toSorted()) sums.set(name, sumOf(await readFile(join(out, name))));
  await put(out, 'release.json', Buffer.from(`${JSON.stringify(releaseFile(version, NODE_VERSION, sums), null, 2)}\n`));
  await put(out, 'SHA256SUMS', Buffer.from(sumRows(sums)));
  for (const name of ours) if (!sums.has(name)) await rm(join(out, name), { force: true });
  return [...sums].map(([name, sum]) => ({ name, ...sum }));
}
