/** Tar archives out of entries, owned by root and of one fixed time, and files out of the archives of npm packages. */
import { gunzipSync } from 'node:zlib';
import { packTar, unpackTar } from 'modern-tar';
import { ENTRY_TIME, inOrder, type Entry } from './entry.ts';

/** A link in a tar archive; `to` is relative to its own directory. */
export interface Link {
  name: string;
  to: string;
}

/** The archive's bytes: the same for the same entries in whatever order. */
export async function tarOf(entries: readonly Entry[], links: readonly Link[] = []): Promise<Uint8Array> {
  const owner = { uid: 0, gid: 0, mtime: ENTRY_TIME };
  const members = [
    ...entries.map(({ name, content, executable }) => ({
      name,
      header: { ...owner, name, type: 'file' as const, size: content.length, mode: executable ? 0o755 : 0o644 },
      body: content,
    })),
    ...links.map(({ name, to }) => ({ name, header: { ...owner, name, type: 'symlink' as const, size: 0, mode: 0o777, linkname: to } })),
  ];
  return packTar(inOrder(members).map(({ name: _name, ...member }) => member));
}

/** The wanted files of an npm package's archive, in the order asked for, by their names below its `package/`. Throws when one is missing. */
export async function filesOfPackage(archive: Uint8Array, names: readonly string[]): Promise<Uint8Array[]> {
  const members = new Map(names.map((name) => [`package/${name}`, name]));
  const found = await unpackTar(gunzipSync(archive), { filter: ({ name, type }) => members.has(name) && (type ?? 'file') === 'file' });
  return names.map((name) => {
    const data = found.find(({ header }) => members.get(header.name) === name)?.data;
    if (data === undefined) throw new Error(`the package holds no ${name}`);
    return data;
  });
}
