/**
 * What took minutes to make is kept by what it was made of, in the user's cache directory. A file appears there whole, and is
 * taken from there only when it still has the hash it was put there with.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const UNUSED_MS = 60 * 24 * 3_600_000;
const UNFINISHED_MS = 3_600_000;
const MAX_BYTES = 1e9;
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

  /** Removes what nobody asked for in two months, what was never finished, and the oldest of what is more than a gigabyte. */
  async tidy(nowMs: number, maxBytes = MAX_BYTES): Promise<void> {
    const files: { file: string; mtimeMs: number; size: number }[] = [];
    for (const name of await readdir(this.#directory).catch(() => [])) {
      const file = join(this.#directory, name);
      const found = await stat(file).catch(() => undefined);
      if (found?.isFile() === true) files.push({ file, mtimeMs: found.mtimeMs, size: found.size });
    }
    let keptBytes = 0;
    for (const { file, mtimeMs, size } of files.toSorted((a, b) => b.mtimeMs - a.mtimeMs)) {
      const isOld = nowMs - mtimeMs > (file.endsWith('.tmp') ? UNFINISHED_MS : UNUSED_MS);
      if (isOld || keptBytes + size > maxBytes) await rm(file, { force: true });
      else keptBytes += size;
    }
  }

  #fileOf(key: string): string {
    return join(this.#directory, createHash('sha256').update(key).digest('hex'));
  }
}

function hashOf(content: Uint8Array): Buffer {
  return createHash('sha256').update(content).digest();
}
