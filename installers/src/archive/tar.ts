/** Tar archives out of entries, owned by root and of one fixed time, and files out of the archives of npm packages. */
import { gunzipSync } from 'node:zlib';
import { packTar, unpackTar } from 'modern-tar';
import { ENTRY_TIME, inOrder, type Entry } from './entry.ts';

/** A link in a tar archive; `to` is relative to its own directory. */
export interface Link {
  name: string;
  to: string;
}

/** What stands in a tar archive besides files. */
export interface TarExtras {
  links?: readonly Link[];
  /** Directories of mode 0755, by name without a slash at the end. */
  directories?: readonly string[];
}

/** Two empty blocks, which say that nothing follows. */
const END_BYTES = 1024;

/** The archive's bytes: the same for the same entries in whatever order. */
export async function tarOf(entries: readonly Entry[], { links = [], directories = [] }: TarExtras = {}): Promise<Uint8Array> {
  const owner = { uid: 0, gid: 0, mtime: ENTRY_TIME };
  const members = [
    ...entries.map(({ name, content, executable }) => ({
      name,
      header: { ...owner, name, type: 'file' as const, size: content.length, mode: executable ? 0o755 : 0o644 },
      body: content,
    })),
    ...links.map(({ name, to }) => ({ name, header: { ...owner, name, type: 'symlink' as const, size: 0, mode: 0o777, linkname: to } })),
    ...directories.map((name) => ({ name, header: { ...owner, name: `${name}/`, type: 'directory' as const, size: 0, mode: 0o755 } })),
  ];
  return packTar(inOrder(members).map(({ name: _name, ...member }) => member));
}

/** The same, without its end: another part of the same archive follows. */
export async function tarPartOf(entries: readonly Entry[], extras: TarExtras = {}): Promise<Uint8Array> {
  const whole = await tarOf(entries, extras);
  const part = whole.subarray(0, whole.length - END_BYTES);
  if (whole.subarray(part.length).some((byte) => byte !== 0)) throw new Error('a tar archive that does not end with two empty blocks');
  return part;
}

/** The files of an npm package's archive whose names below the package's own directory are wanted. */
export async function membersOfPackage(archive: Uint8Array, wanted: (name: string) => boolean): Promise<Entry[]> {
  // npm's own archives have everything in "package/", those that were made otherwise in a directory of any name.
  const nameOf = (name: string): string => name.slice(name.indexOf('/') + 1);
  const found = await unpackTar(gunzipSync(archive), { filter: ({ name, type }) => (type ?? 'file') === 'file' && wanted(nameOf(name)) });
  return found.map(({ header, data }) => ({
    name: nameOf(header.name),
    content: data ?? new Uint8Array(),
    executable: ((header.mode ?? 0) & 0o100) !== 0,
  }));
}

/** The wanted files of an npm package's archive, in the order asked for. Throws when one is missing. */
export async function filesOfPackage(archive: Uint8Array, names: readonly string[]): Promise<Uint8Array[]> {
  const members = await membersOfPackage(archive, (name) => names.includes(name));
  return names.map((name) => {
    const member = members.find((one) => one.name === name);
    if (member === undefined) throw new Error(`the package holds no ${name}`);
    return member.content;
  });
}
