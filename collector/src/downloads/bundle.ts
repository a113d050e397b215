/**
 * What lies in the bundle's directory, believed only after every file was hashed: names come from its own lists, and a file
 * that is not what SHA256SUMS says is known as faulty from then on.
 */
import { createHash } from 'node:crypto';
import { createReadStream, type Stats } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, sentenceOf } from '@tidemark/service';
import { Type, type Static } from 'typebox';
import { Value } from 'typebox/value';

export const SUMS = 'SHA256SUMS';
export const SIGNATURE = 'SHA256SUMS.sig';
export const RELEASE = 'release.json';
export const FILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
export const VERSION = /^\d{1,5}\.\d{1,5}\.\d{1,5}(?:-[0-9A-Za-z.-]{1,60})?$/;
/** The lists are a few kilobytes; what is larger is not one. */
const MAX_LIST_BYTES = 1024 * 1024;
const READ_BYTES = 1024 * 1024;

const ReleaseDocument = Type.Object({
  version: Type.String({ pattern: VERSION.source }),
  node: Type.String({ pattern: VERSION.source }),
  files: Type.Record(
    Type.String(),
    Type.Object({ sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }), sizeBytes: Type.Integer({ minimum: 0 }) }),
  ),
});

export interface BundleFile {
  readonly name: string;
  readonly path: string;
  readonly sha256: string;
  readonly sizeBytes: number;
  /** What the file system said of it when it was hashed. */
  readonly stamp: string;
  /** Why it is not served, as the end of a sentence that begins with its name. */
  readonly fault: string | undefined;
}

export interface Bundle {
  /** Of the agent. */
  readonly version: string;
  /** Of the Node.js runtime. */
  readonly node: string;
  readonly files: ReadonlyMap<string, BundleFile>;
  /** The exact bytes of SHA256SUMS and of release.json. */
  readonly sums: Buffer;
  readonly release: Buffer;
}

export type BundleReading =
  | { kind: 'whole'; bundle: Bundle }
  /** Nothing there, or not everything: it may be made. `what` is a sentence's end. */
  | { kind: 'incomplete'; what: string }
  /** There, and not to be believed. */
  | { kind: 'damaged'; what: string };

export const stampOf = ({ ino, size, mtimeMs }: Stats): string => `${ino} ${size} ${mtimeMs}`;

/** Changes whenever the bundle does; undefined when there is none. */
export async function identityOf(directory: string): Promise<string | undefined> {
  try {
    const lists = await Promise.all([SUMS, RELEASE].map((name) => stat(join(directory, name))));
    return lists.map(stampOf).join(', ');
  } catch {
    return undefined;
  }
}

/** Reads the lists and hashes every file. `onProgress` hears a share from 0 to 1. Rejects only when `signal` is aborted. */
export async function readBundle(directory: string, onProgress: (share: number) => void, signal: AbortSignal): Promise<BundleReading> {
  let lists: [Buffer, Buffer];
  try {
    lists = [await readList(join(directory, SUMS)), await readList(join(directory, RELEASE))];
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return { kind: 'incomplete', what: `${directory} holds no bundle` };
    return { kind: 'damaged', what: `the lists in ${directory} cannot be read: ${sentenceOf(error)}` };
  }
  const [sums, release] = lists;
  const agreed = agree(sums, release);
  if (typeof agreed === 'string') return { kind: 'damaged', what: `${agreed} (${directory})` };
  const totalBytes = Object.values(agreed.files).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) || 1;
  let readBytes = 0;
  const files = new Map<string, BundleFile>();
  for (const [name, { sha256, sizeBytes }] of Object.entries(agreed.files)) {
    const path = join(directory, name);
    const found = await hashFile(
      path,
      (bytes) => {
        readBytes += bytes;
        onProgress(Math.min(readBytes / totalBytes, 1));
      },
      signal,
    );
    if (typeof found === 'string') return { kind: 'incomplete', what: `${name} is not in ${directory} or cannot be read (${found})` };
    const right = found.sha256 === sha256 && found.sizeBytes === sizeBytes;
    files.set(name, { name, path, sha256, sizeBytes, stamp: found.stamp, fault: right ? undefined : 'is not what SHA256SUMS says' });
  }
  return { kind: 'whole', bundle: { version: agreed.version, node: agreed.node, files, sums, release } };
}

async function readList(path: string): Promise<Buffer> {
  const { size } = await stat(path);
  if (size > MAX_LIST_BYTES) throw new Error(`${path} is larger than any list of files`);
  return readFile(path);
}

/** release.json and SHA256SUMS have to say the same; a string is what stands against that. */
function agree(sums: Buffer, release: Buffer): Static<typeof ReleaseDocument> | string {
  let document: unknown;
  try {
    document = JSON.parse(release.toString('utf8'));
  } catch {
    return `${RELEASE} is not JSON`;
  }
  if (!Value.Check(ReleaseDocument, document)) return `${RELEASE} does not have its form`;
  const rows = parseSums(sums.toString('utf8'));
  if (typeof rows === 'string') return rows;
  const names = Object.keys(document.files);
  const strange = names.find((name) => !FILE_NAME.test(name) || [SUMS, SIGNATURE, RELEASE].includes(name));
  if (strange !== undefined) return `${RELEASE} names ${JSON.stringify(strange)}, which is no name of a download`;
  const own = rows.get(RELEASE);
  if (own !== undefined && own !== createHash('sha256').update(release).digest('hex')) return `${RELEASE} is not what ${SUMS} says`;
  const differs = names.find((name) => rows.get(name) !== document.files[name]!.sha256);
  if (differs !== undefined) return `${SUMS} and ${RELEASE} say different things about ${differs}`;
  const unknown = [...rows.keys()].find((name) => name !== RELEASE && !Object.hasOwn(document.files, name));
  if (unknown !== undefined) return `${SUMS} names ${unknown}, and ${RELEASE} does not`;
  return document;
}

function parseSums(text: string): Map<string, string> | string {
  const rows = new Map<string, string>();
  for (const line of text.split('\n').slice(0, -1)) {
    const [, sha256, name] = /^([0-9a-f]{64}) [ *](\S+)$/.exec(line) ?? [];
    if (sha256 === undefined || name === undefined || !FILE_NAME.test(name)) return `${SUMS} has a row that is not a sum and a name`;
    rows.set(name, sha256);
  }
  return rows.size === 0 || !text.endsWith('\n') ? `${SUMS} is empty or cut off` : rows;
}

interface Hashed {
  sha256: string;
  sizeBytes: number;
  stamp: string;
}

async function hashFile(path: string, onBytes: (bytes: number) => void, signal: AbortSignal): Promise<Hashed | string> {
  try {
    const before = await stat(path);
    if (!before.isFile()) return 'it is not a file';
    const hash = createHash('sha256');
    let sizeBytes = 0;
    for await (const chunk of createReadStream(path, { highWaterMark: READ_BYTES, signal }) as AsyncIterable<Buffer>) {
      hash.update(chunk);
      sizeBytes += chunk.length;
      onBytes(chunk.length);
    }
    return { sha256: hash.digest('hex'), sizeBytes, stamp: stampOf(before) };
  } catch (error) {
    signal.throwIfAborted();
    return codeOf(error) ?? sentenceOf(error);
  }
}
