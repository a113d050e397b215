/**
 * What took minutes to make is kept by what it was made of, in the user's cache directory. A file appears there whole, and is
 * taken from there only when it still has the hash it was put there with.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const UNUSED_MS = 60 * 24 * 3_600_000;
const HASH_BYTES = 32;

/** Where this user's caches are: XDG_CACHE_HOME or ~/.cache, on Windows LOCALAPPDATA. */
export function cacheDirectory(environment: NodeJS.ProcessEnv, platform: NodeJS.Platform, home: string): string {
  const own = platform === 'win32' ? environment['LOCALAPPDATA'] : environment['XDG_CACHE_HOME'];
  return join(own || join(home, platform === 'win32' ? 'AppData/Local' : '.cache'), 'tidemark');
}

/** A cache of whole files. It is never needed: where it cannot be written, everything is made anew. */
export class Cache {
  readonly #directory: string;
  constructor(directory: string) {
    this.#directory = directory;
  }

  /** What was kept under this key, or undefined. */
  async read(key: string): Promise<Uint8Array | undefined> {
    const file = this.#fileOf(key);
    try {
      const kept = await readFile(file);
      const content = kept.subarray(HASH_BYTES);
      if (!hashOf(content).equals(kept.subarray(0, HASH_BYTES))) return undefined;
      await utimes(file, new Date(), new Date());
      return content;
    } catch {
      return undefined;
    }
  }

  async write(key: string, content: Uint8Array): Promise<void> {
    const file = this.#fileOf(key);
    const temporary = `${file}.${process.pid}.tmp`;
    try {
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      await writeFile(temporary, Buffer.concat([hashOf(content), content]), { mode: 0o600 });
      await rename(temporary, file);
    } catch {
      await rm(temporary, { force: true }).catch(() => {});
    }
  }

  /** Removes what nobody asked for in two months, and what was never finished. */
  async tidy(nowMs: number): Promise<void> {
    for (const name of await readdir(this.#directory).catch(() => [])) {
      const file = join(this.#directory, name);
      const unused = await stat(file).then(
        ({ mtimeMs }) => nowMs - mtimeMs > (name.endsWith('.tmp') ? 3_600_000 : UNUSED_MS),
        () => false,
      );
      if (unused) await rm(file, { force: true });
    }
  }

  #fileOf(key: string): string {
    return join(this.#directory, createHash('sha256').update(key).digest('hex'));
  }
}

function hashOf(content: Uint8Array): Buffer {
  return createHash('sha256').update(content).digest();
}
