/**
 * Bodies as they come: JSON, plain or gzip, each bounded on the wire and again once inflated, so that a
 * small request cannot become a large one, and in depth, so that nothing that walks through one can run
 * out of stack.
 */
import { isUtf8 } from 'node:buffer';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { LIMITS, ProblemError } from '@tidemark/protocol';
import { codeOf, sentenceOf } from '@tidemark/service';

const inflate = promisify(gunzip);

/** Far deeper than anything documented, and far from where JSON.stringify and PostgreSQL's jsonb give up. */
const DEPTH_MAX = 500;
/** No stack is exhausted by what fits in here, however it is nested. */
const HARMLESS_BYTES = 4_000;

export function jsonBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer', bodyLimit: LIMITS.bodyBytes },
    async (request: FastifyRequest, body: Buffer) => {
      const encoding = request.headers['content-encoding']?.toLowerCase();
      return parseJson(encoding === undefined || encoding === 'identity' ? body : await inflated(body, encoding));
    },
  );
}

async function inflated(body: Buffer, encoding: string): Promise<Buffer> {
  if (encoding !== 'gzip' && encoding !== 'x-gzip')
    throw new ProblemError('media_type_unsupported', `Content-Encoding ${JSON.stringify(encoding)} is not understood; send gzip or none.`);
  if (body.length === 0) throw new ProblemError('body_malformed', 'The body is empty.');
  try {
    return await inflate(body, { maxOutputLength: LIMITS.inflatedBytes });
  } catch (error) {
    if (codeOf(error) === 'ERR_BUFFER_TOO_LARGE')
      throw new ProblemError('body_too_large', `The body inflates to more than ${LIMITS.inflatedBytes} bytes.`, { cause: error });
    throw new ProblemError('encoding_invalid', `The body is not gzip, or is cut off: ${sentenceOf(error)}.`, { cause: error });
  }
}

function parseJson(body: Buffer): unknown {
  if (body.length === 0) throw new ProblemError('body_malformed', 'The body is empty.');
  if (!isUtf8(body)) throw new ProblemError('body_malformed', 'The body is not UTF-8.');
  if (isTooDeep(body)) throw new ProblemError('body_invalid', `body is nested more than ${DEPTH_MAX} deep.`);
  try {
    // "__proto__" becomes an ordinary own property here, and nothing ever merges these objects into others.
    return JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw new ProblemError('body_malformed', `${sentenceOf(error)}.`, { cause: error });
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Whether brackets outside of strings are nested too deep. A body too short to hurt, as most reports are, is not looked through. */
function isTooDeep(body: Buffer): boolean {
  if (body.length < HARMLESS_BYTES) return false;
  let depth = 0;
  for (let i = 0; i < body.length; i++) {
    const byte = body[i]!;
    if (byte === QUOTE) {
      i = endOfString(body, i);
      if (i < 0) return false;
      // "[" and "{" differ in one bit, as "]" and "}" do.
    } else if ((byte | 0x20) === 0x7b) {
      if (++depth > DEPTH_MAX) return true;
    } else if ((byte | 0x20) === 0x7d) depth--;
  }
  return false;
}

/** Where the string that begins at `start` ends, or -1. */
function endOfString(body: Buffer, start: number): number {
  let end = body.indexOf(QUOTE, start + 1);
  while (end > 0) {
    let before = end - 1;
    while (body[before] === BACKSLASH) before--;
    if ((end - before) % 2 === 1) return end;
    end = body.indexOf(QUOTE, end + 1);
  }
  return -1;
}
