/** The archives that nodes download, each made of the same bytes wherever it is made; a runtime's are taken from the cache. */
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Entry } from '../archive/entry.ts';
import { PACKER, gzip, xz } from '../archive/squeeze.ts';
import { filesOfPackage, tarOf } from '../archive/tar.ts';
import { zipOf } from '../archive/zip.ts';
import { AGENT_FLAGS, bundleAgent } from '../bundle.ts';
import { withTemporaryDirectory } from '../files.ts';
import { licencesOf } from '../licences.ts';
import { NODE_VERSION, PINNED_RUNTIMES, type Format, type PinnedPackage, type Platform } from '../runtime/pinned.ts';
import type { Cache } from './cache.ts';

type OnPercent = (percent: number) => void;

/** One runtime archive to be made. */
export interface RuntimeArchive {
  platform: Platform;
  format: Format;
  name: string;
  key: string;
}

export function runtimeArchive(platform: Platform, format: Format): RuntimeArchive {
  const { integrity, program } = PINNED_RUNTIMES[platform];
  const name = `tidemark-runtime-${NODE_VERSION}-${platform}.${format}`;
  return { platform, format, name, key: `${integrity}\n${program}\n${format}\n${PACKER}` };
}

/** Fetches pinned packages; each is fetched once. */
export class Packages {
  readonly #fetch: (pinned: PinnedPackage) => Promise<Uint8Array>;
  readonly #fetched = new Map<string, Promise<Uint8Array>>();
  constructor(fetch: (pinned: PinnedPackage) => Promise<Uint8Array>) {
    this.#fetch = fetch;
  }

  get(pinned: PinnedPackage): Promise<Uint8Array> {
    const known = this.#fetched.get(pinned.integrity) ?? this.#fetch(pinned);
    this.#fetched.set(pinned.integrity, known);
    return known;
  }

  /** The runtime's program and its licence. */
  async runtime(platform: Platform): Promise<Entry[]> {
    const pinned = PINNED_RUNTIMES[platform];
    const [program] = await filesOfPackage(await this.get(pinned), [`bin/${pinned.program}`]);
    const [licence] = await filesOfPackage(await this.get(PINNED_RUNTIMES[pinned.licenceFrom]), ['LICENSE']);
    return [
      { name: pinned.program, content: program!, executable: true },
      { name: 'LICENSE', content: licence!, executable: false },
    ];
  }
}

/** Makes a runtime archive and keeps it. */
export async function makeRuntimeArchive(
  archive: RuntimeArchive,
  packages: Packages,
  cache: Cache,
  onPercent: OnPercent,
): Promise<Uint8Array> {
  const content = await packEntries(await packages.runtime(archive.platform), archive.format, onPercent);
  await cache.write(archive.key, content);
  return content;
}

/** The entries as an archive of this format. */
export async function packEntries(entries: readonly Entry[], format: Format, onPercent: OnPercent = () => {}): Promise<Uint8Array> {
  if (format === 'zip') return zipOf(entries, onPercent);
  const tar = await tarOf(entries);
  return format === 'tar.xz' ? xz(tar, onPercent) : gzip(tar, onPercent);
}

/** The agent as nodes get it: one file, its flags, its version, the runtime it wants. */
export function agentEntries(root: string): Promise<{ version: string; entries: Entry[] }> {
  return withTemporaryDirectory(async (directory) => {
    const { file, packages } = await bundleAgent(directory);
    const { version } = JSON.parse(await readFile(join(root, 'agent/package.json'), 'utf8')) as { version: string };
    const texts = {
      flags: AGENT_FLAGS.map((flag) => `${flag}\n`).join(''),
      VERSION: `${version}\n`,
      NODE: `${NODE_VERSION}\n`,
      LICENSE: `${await readFile(join(root, 'LICENSE'), 'utf8')}\n\nInside are these packages:\n\n${await licencesOf(root, packages)}`,
    };
    const entries = Object.entries(texts).map(([name, text]) => ({ name, content: Buffer.from(text), executable: false }));
    return { version, entries: [...entries, { name: 'tidemark-agent.cjs', content: await readFile(file), executable: false }] };
  });
}

/** The source of the Windows service's program, which the installer compiles on the node: it travels with the agent, under the same signature. */
export async function windowsHostEntries(root: string): Promise<Entry[]> {
  const directory = join(root, 'installers/windows/host');
  const names = (await readdir(directory)).filter((name) => name.endsWith('.cs'));
  return Promise.all(
    names.map(async (name) => ({ name: `host/${name}`, content: await readFile(join(directory, name)), executable: false })),
  );
}
