/**
 * Compression by 7-Zip compiled to WebAssembly: the bytes depend on that one pinned package, and neither on what the machine has
 * nor on the zlib of the Node.js that runs (decision 0018). It works in this thread until it is done, telling its progress.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EXIT, OperationalFailure } from '@tidemark/service';
import sevenZip, { type SevenZipModuleFactory } from '7z-wasm';
import { withTemporaryDirectory, writing } from '../files.ts';

/**
 * Part of every cache key: raise it with every change of what the bytes depend on. The dictionary of 8 MB costs half a percent of
 * the size and spares a small node 56 MB of memory while it unpacks.
 */
export const PACKER = '7z-wasm 1.2.0, xz mx=5 d=8m, gzip mx=5, entries 1';

// Its types call it an ES module; Node.js gives the function itself.
const startSevenZip = sevenZip as unknown as SevenZipModuleFactory;

const ARGUMENTS = {
  xz: ['-txz', '-mx=5', '-m0=LZMA2:d=8m', '-mmt=1'],
  /** For what is packed already: a twentieth of the time, and not a byte more. */
  quickXz: ['-txz', '-mx=1', '-m0=LZMA2:d=64k', '-mmt=1'],
  gzip: ['-tgzip', '-mx=5'],
} as const;

/** A stream of deflate, and what stands beside it in gzip and zip. */
export interface Deflated {
  bytes: Uint8Array;
  crc32: number;
}

export type OnPercent = (percent: number) => void;

/** The bytes as .xz. */
export function xz(content: Uint8Array, onPercent: OnPercent = () => {}, isPackedAlready = false): Promise<Uint8Array> {
  return squeeze(content, isPackedAlready ? 'quickXz' : 'xz', onPercent);
}

/** The bytes as .gz, without a name and without a time. */
export async function gzip(content: Uint8Array, onPercent: OnPercent = () => {}): Promise<Uint8Array> {
  const { bytes, crc32 } = await deflate(content, onPercent);
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(crc32, 0);
  trailer.writeUInt32LE(content.length % 2 ** 32, 4);
  // Deflate, no flags, no time, greatest compression, system unknown.
  return Buffer.concat([Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255]), bytes, trailer]);
}

/** The bytes as a bare stream of deflate. */
export async function deflate(content: Uint8Array, onPercent: OnPercent = () => {}): Promise<Deflated> {
  const made = await squeeze(content, 'gzip', onPercent);
  // 7-Zip writes the file's name and time: ten bytes, and the name up to its zero.
  const start = (made[3]! & 0x08) === 0 ? 10 : made.indexOf(0, 10) + 1;
  const end = made.length - 8;
  return { bytes: made.subarray(start, end), crc32: Buffer.from(made.buffer, made.byteOffset + end, 4).readUInt32LE(0) };
}

function squeeze(content: Uint8Array, form: keyof typeof ARGUMENTS, onPercent: OnPercent): Promise<Uint8Array> {
  return withTemporaryDirectory(async (directory) => {
    await writing(directory, () => writeFile(join(directory, 'in'), content));
    let words = '';
    let complaint = '';
    const program = await startSevenZip({
      stdout: (character) => {
        words = (words + String.fromCharCode(character)).slice(-12);
        const percent = /(\d{1,2})% $/.exec(words)?.[1];
        if (percent !== undefined) onPercent(Number(percent));
      },
      stderr: (character) => void (complaint = (complaint + String.fromCharCode(character)).slice(-2000)),
    });
    program.FS.mkdir('/files');
    program.FS.mount(program.NODEFS, { root: directory }, '/files');
    try {
      program.callMain(['a', ...ARGUMENTS[form], '-bsp1', '-bso0', '-y', '/files/out', '/files/in']);
    } catch (error) {
      throw new OperationalFailure(
        `Packing failed in ${directory}: ${complaint.replaceAll(/\s+/g, ' ').trim() || String(error)}. Is there room there, and memory of 200 MB?`,
        EXIT.noRoom,
        { cause: error },
      );
    }
    onPercent(100);
    return await readFile(join(directory, `out.${form === 'gzip' ? 'gz' : 'xz'}`));
  });
}
