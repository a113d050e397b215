/**
 * A release as one archive. For Linux each part is a stream of xz of its own, one after another, which every xz reads as one: a
 * part that is as before is taken from the cache. For Windows each large file of the zip is kept likewise.
 */
import { createHash } from 'node:crypto';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PACKER, deflate, xz, type Deflated, type OnPercent } from '../archive/squeeze.ts';
import { tarOf, tarPartOf } from '../archive/tar.ts';
import { zipOf } from '../archive/zip.ts';
import type { Cache } from '../downloads/cache.ts';
import type { Steps } from '../downloads/progress.ts';
import type { Platform } from '../runtime/pinned.ts';
import type { Part, Release } from './layout.ts';

/** Packing a byte costs the same whatever it is, but for those that are packed already. */
const weightOfPart = ({ entries, isPacked }: Part): number =>
  entries.reduce((sum, { content }) => sum + content.length, 0) / (isPacked ? 16 : 1);

export const weightOf = (release: Release): number => release.parts.reduce((sum, part) => sum + weightOfPart(part), 0);

export const archiveName = (version: string, platform: Platform): string =>
  `tidemark-${version}-${platform}.${platform === 'win-x64' ? 'zip' : 'tar.xz'}`;

/** The archive's bytes: the same for the same release. */
export async function packRelease(release: Release, platform: Platform, cache: Cache, steps: Steps): Promise<Uint8Array> {
  const name = archiveName(release.version, platform);
  if (platform === 'win-x64') {
    const entries = release.parts.flatMap((part) => below(release.top, part).entries);
    return steps.step(weightOf(release), `packing ${name}`, (onPercent) =>
      zipOf(entries, onPercent, (content, onFile) => keptDeflate(cache, content, onFile)),
    );
  }
  const packed: Uint8Array[] = [];
  const known = new Set<string>();
  for (const [index, part] of release.parts.entries()) {
    const { entries, links } = below(release.top, part);
    const directories = directoriesOf([...entries, ...links]).filter((directory) => !known.has(directory));
    for (const directory of directories) known.add(directory);
    const isLast = index === release.parts.length - 1;
    const tar = await (isLast ? tarOf : tarPartOf)(entries, { links, directories });
    packed.push(
      await steps.step(weightOfPart(part), `packing ${name}: ${part.what}`, (onPercent) => keptXz(cache, tar, part.isPacked, onPercent)),
    );
  }
  return Buffer.concat(packed);
}

function below(top: string, { entries, links, ...part }: Part): Part {
  return {
    ...part,
    entries: entries.map((entry) => ({ ...entry, name: `${top}/${entry.name}` })),
    links: links.map((link) => ({ ...link, name: `${top}/${link.name}` })),
  };
}

/** Writes the release as the directory that its archive would unpack to; one that is there is replaced. */
export async function unpackRelease(release: Release, out: string): Promise<void> {
  await rm(join(out, release.top), { recursive: true, force: true });
  for (const { entries, links } of release.parts.map((part) => below(release.top, part))) {
    for (const directory of directoriesOf([...entries, ...links])) await mkdir(join(out, directory), { recursive: true, mode: 0o755 });
    for (const { name, content, executable } of entries) await writeFile(join(out, name), content, { mode: executable ? 0o755 : 0o644 });
    for (const { name, to } of links) await symlink(to, join(out, name));
  }
}

/** Every directory that the members are in: what is unpacked must not depend on a umask. */
function directoriesOf(members: readonly { name: string }[]): string[] {
  const found = new Set<string>();
  for (const { name } of members) {
    const parts = name.split('/').slice(0, -1);
    parts.forEach((_part, index) => found.add(parts.slice(0, index + 1).join('/')));
  }
  return [...found];
}

const keyOf = (form: string, content: Uint8Array): string => `${form} ${createHash('sha256').update(content).digest('hex')}\n${PACKER}`;

async function keptXz(cache: Cache, content: Uint8Array, isPacked: boolean, onPercent: OnPercent): Promise<Uint8Array> {
  // Seconds to make, and 180 MB that change with every line of the agent.
  if (isPacked) return xz(content, onPercent, true);
  const key = keyOf('xz', content);
  const kept = await cache.read(key);
  if (kept !== undefined) return kept;
  const made = await xz(content, onPercent);
  await cache.write(key, made);
  return made;
}

const LARGE_BYTES = 4 * 1024 * 1024;

async function keptDeflate(cache: Cache, content: Uint8Array, onPercent: OnPercent): Promise<Deflated> {
  if (content.length < LARGE_BYTES) return deflate(content, onPercent);
  const key = keyOf('deflate', content);
  const kept = await cache.read(key);
  if (kept !== undefined) return { crc32: Buffer.from(kept).readUInt32LE(0), bytes: kept.subarray(4) };
  const made = await deflate(content, onPercent);
  const crc32 = Buffer.alloc(4);
  crc32.writeUInt32LE(made.crc32);
  await cache.write(key, Buffer.concat([crc32, made.bytes]));
  return made;
}
