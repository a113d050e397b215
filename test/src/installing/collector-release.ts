/**
 * An unpacked release of the collector for this machine, made from the present sources within seconds by what `npm run release` is
 * made of; only what other nodes would download is left out.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findNpm, npmPackages, releaseFor, unpackRelease } from '@tidemark/installers';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** Makes it in a directory. Resolves with where it is, and its version. */
export async function makeRelease(directory: string): Promise<{ path: string; version: string }> {
  const noDownloads = await mkdtemp(join(tmpdir(), 'tidemark-no-downloads-'));
  try {
    const packages = npmPackages({
      root,
      cacheDirectory: join(homedir(), '.cache/tidemark'),
      npm: findNpm(process.env, process.execPath),
      out: () => {},
      err: () => {},
      nowMs: () => Date.now(),
    });
    const release = await releaseFor(process.arch === 'arm64' ? 'linux-arm64' : 'linux-x64', root, noDownloads, packages);
    await unpackRelease(release, directory);
    return { path: join(directory, release.top), version: release.version };
  } finally {
    await rm(noDownloads, { recursive: true, force: true });
  }
}
