/** SHA256SUMS and release.json over the files of a directory: what nodes check their downloads against. */
import { createHash } from 'node:crypto';

export interface FileSum {
  sha256: string;
  sizeBytes: number;
}

/** What release.json holds. */
export interface ReleaseFile {
  version: string;
  node: string;
  files: Record<string, FileSum>;
}

export function sumOf(content: Uint8Array): FileSum {
  return { sha256: createHash('sha256').update(content).digest('hex'), sizeBytes: content.length };
}

/** One row a file, by name: what `sha256sum -c` reads. */
export function sumRows(files: ReadonlyMap<string, FileSum>): string {
  return byName(files)
    .map(([name, { sha256 }]) => `${sha256}  ${name}\n`)
    .join('');
}

export function releaseFile(version: string, node: string, files: ReadonlyMap<string, FileSum>): ReleaseFile {
  return { version, node, files: Object.fromEntries(byName(files)) };
}

function byName(files: ReadonlyMap<string, FileSum>): [string, FileSum][] {
  return [...files].toSorted(([a], [b]) => (a < b ? -1 : 1));
}
