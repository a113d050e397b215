/** Zip archives out of entries: of one fixed time and nothing of the machine, which no kept library's deflate would give. */
import { crc32 as crc32Of } from 'node:zlib';
import { ENTRY_TIME, inOrder, type Entry } from './entry.ts';
import { deflate, type Deflated, type OnPercent } from './squeeze.ts';

const VERSION_NEEDED = 20;
/** Made on Unix, so that the modes below count. */
const MADE_BY = (3 << 8) | VERSION_NEEDED;
const NAME_IN_UTF8 = 0x0800;
const STORED = 0;
const DEFLATED = 8;
/** What would not become smaller. */
const PACKED = /\.(?:gz|xz|zip)$/;
const MAX_BYTES = 0xffff_fffe;

/** The archive's bytes: the same for the same entries in whatever order. */
export async function zipOf(
  entries: readonly Entry[],
  onPercent: OnPercent = () => {},
  deflated: (content: Uint8Array, onPercent: OnPercent) => Promise<Deflated> = deflate,
): Promise<Uint8Array> {
  const ordered = inOrder(entries);
  const totalBytes = Math.max(
    1,
    ordered.reduce((sum, { content }) => sum + content.length, 0),
  );
  const pieces: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let offset = 0;
  let doneBytes = 0;
  const add = (piece: Uint8Array): void => {
    pieces.push(piece);
    offset += piece.length;
  };
  for (const { name, content, executable } of ordered) {
    const isStored = PACKED.test(name);
    const { bytes, crc32 } = isStored
      ? { bytes: content, crc32: crc32Of(content) }
      : await deflated(content, (percent) => onPercent(((doneBytes + (content.length * percent) / 100) / totalBytes) * 100));
    doneBytes += content.length;
    const encodedName = Buffer.from(name);
    const shared = sharedHeader(isStored ? STORED : DEFLATED, crc32, bytes.length, content.length, encodedName.length);
    directory.push(directoryHeader(shared, executable, offset), encodedName);
    add(Buffer.concat([Buffer.from('PK\x03\x04'), shared, Buffer.alloc(2), encodedName]));
    add(bytes);
    if (offset > MAX_BYTES) throw new Error('too large for a zip archive');
  }
  const directoryBytes = Buffer.concat(directory);
  return Buffer.concat([...pieces, directoryBytes, endOf(ordered.length, directoryBytes.length, offset)]);
}

/** What the header before a file and the one in the directory have in common. */
function sharedHeader(method: number, crc32: number, packedBytes: number, sizeBytes: number, nameBytes: number): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt16LE(VERSION_NEEDED, 0);
  header.writeUInt16LE(NAME_IN_UTF8, 2);
  header.writeUInt16LE(method, 4);
  header.writeUInt16LE((ENTRY_TIME.getUTCHours() << 11) | (ENTRY_TIME.getUTCMinutes() << 5), 6);
  header.writeUInt16LE(((ENTRY_TIME.getUTCFullYear() - 1980) << 9) | ((ENTRY_TIME.getUTCMonth() + 1) << 5) | ENTRY_TIME.getUTCDate(), 8);
  header.writeUInt32LE(crc32, 10);
  header.writeUInt32LE(packedBytes, 14);
  header.writeUInt32LE(sizeBytes, 18);
  header.writeUInt16LE(nameBytes, 22);
  return header;
}

function directoryHeader(shared: Buffer, executable: boolean, offset: number): Buffer {
  const before = Buffer.from('PK\x01\x02\0\0');
  before.writeUInt16LE(MADE_BY, 4);
  // No extra field, no comment, first disk, no internal attributes; then the mode and the place of the file.
  const after = Buffer.alloc(16);
  after.writeUInt32LE(((executable ? 0o100755 : 0o100644) << 16) >>> 0, 8);
  after.writeUInt32LE(offset, 12);
  return Buffer.concat([before, shared, after]);
}

function endOf(count: number, directoryBytes: number, directoryOffset: number): Buffer {
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 0, 'latin1');
  end.writeUInt16LE(count, 8);
  end.writeUInt16LE(count, 10);
  end.writeUInt32LE(directoryBytes, 12);
  end.writeUInt32LE(directoryOffset, 16);
  return end;
}
