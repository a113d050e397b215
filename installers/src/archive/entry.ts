/** What goes into an archive: names, bytes and modes alone, so that the same content makes the same archive everywhere and always. */

export interface Entry {
  /** With forward slashes, relative. */
  name: string;
  content: Uint8Array;
  executable: boolean;
}

/** The time of every file in every archive of ours: the one that npm gives files, 1985-10-26 08:15 UTC. */
export const ENTRY_TIME = new Date(499_162_500_000);

/** In the order of names by their bytes, however they came. Throws on a name that would leave its directory or comes twice. */
export function inOrder<T extends { name: string }>(entries: readonly T[]): T[] {
  const ordered = entries.toSorted((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
  ordered.forEach(({ name }, index) => {
    if (name === '' || name.startsWith('/') || name.includes('\\') || name.split('/').includes('..'))
      throw new Error(`not a name for an archive: ${name}`);
    if (ordered[index + 1]?.name === name) throw new Error(`twice in one archive: ${name}`);
  });
  return ordered;
}
