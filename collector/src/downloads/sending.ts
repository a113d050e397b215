/**
 * A file of the bundle as an answer: streamed from disk, in part when a part is asked for (a cut download is taken up again),
 * and only when it is still the file that was checked.
 */
import { open, type FileHandle } from 'node:fs/promises';
import { Socket } from 'node:net';
import { ProblemError } from '@tidemark/protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { stampOf, type BundleFile } from './bundle.ts';

/** A whole fleet that upgrades at once; who comes later is told to come back. Each holds one open file. */
const MAX_AT_ONCE = 256;
const READ_BYTES = 256 * 1024;
/** A client that takes nothing for so long has gone, or means no good. */
export const STALLED_MS = 60_000;

export class FileSender {
  #underWay = 0;
  readonly #stalledMs: number;

  constructor(stalledMs: number) {
    this.#stalledMs = stalledMs;
  }

  /**
   * Begins to send the file, or the asked part of it. Resolves with false, and nothing sent, when it is not the file that was checked
   * any more. (Never with the reply: it can be awaited itself, which is until all is sent.)
   */
  async send(request: FastifyRequest, reply: FastifyReply, file: BundleFile): Promise<boolean> {
    const { sizeBytes } = file;
    const tag = `"${file.sha256}"`;
    const headers = { 'content-type': 'application/octet-stream', 'cache-control': 'no-cache', 'accept-ranges': 'bytes', etag: tag };
    if (tagsIn(request.headers['if-none-match']).includes(tag)) {
      void reply.code(304).headers(headers).send(null);
      return true;
    }
    const { range, 'if-range': ifRange } = request.headers;
    // A part of an older file must not be joined to this one; a date is never ours.
    const part = range === undefined || (ifRange !== undefined && ifRange !== tag) ? undefined : partOf(range, sizeBytes);
    if (part === 'beyond') {
      void reply.header('content-range', `bytes */${sizeBytes}`);
      throw new ProblemError('range_unsatisfiable', `${file.name} has ${sizeBytes} bytes.`);
    }
    if (this.#underWay >= MAX_AT_ONCE)
      throw new ProblemError('overloaded', `${MAX_AT_ONCE} downloads are under way.`, { retryAfterSeconds: 10 });
    const handle = await openChecked(file);
    if (handle === undefined) return false;
    const { start, end } = part ?? { start: 0, end: sizeBytes - 1 };
    void reply.headers({ ...headers, 'content-length': String(end - start + 1) });
    if (part !== undefined) void reply.code(206).header('content-range', `bytes ${start}-${end}/${sizeBytes}`);
    if (request.method === 'HEAD' || sizeBytes === 0) {
      await handle.close();
      void reply.send(null);
      return true;
    }
    const stream = handle.createReadStream({ start, end, highWaterMark: READ_BYTES });
    this.#underWay += 1;
    // The file's end and not the answer's, which may have come before: the client had gone while this was made ready.
    stream.once('close', () => (this.#underWay -= 1));
    // Without a listener of its own the server ends such a connection; for the next request it sets its own bound again.
    if (request.raw.socket instanceof Socket) request.raw.socket.setTimeout(this.#stalledMs);
    void reply.send(stream);
    return true;
  }
}

async function openChecked(file: BundleFile): Promise<FileHandle | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(file.path, 'r');
  } catch {
    return undefined;
  }
  if (stampOf(await handle.stat()) === file.stamp) return handle;
  await handle.close();
  return undefined;
}

const tagsIn = (header: string | undefined): string[] => (header ?? '').split(',').map((tag) => tag.trim().replace(/^W\//, ''));

/** One range of bytes; undefined for what is to be answered with the whole (several, or no range that HTTP knows). */
export function partOf(header: string, sizeBytes: number): { start: number; end: number } | 'beyond' | undefined {
  const [, from, to] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header.trim()) ?? [];
  if (from === undefined || to === undefined || (from === '' && to === '')) return undefined;
  if (from === '') {
    const last = Number(to);
    return last === 0 || sizeBytes === 0 ? 'beyond' : { start: Math.max(sizeBytes - last, 0), end: sizeBytes - 1 };
  }
  const start = Number(from);
  if (to !== '' && Number(to) < start) return undefined;
  if (start >= sizeBytes) return 'beyond';
  return { start, end: to === '' ? sizeBytes - 1 : Math.min(Number(to), sizeBytes - 1) };
}
