/**
 * Bodies as they come: JSON, plain or gzip, each bounded on the wire and again once inflated, so that a
 * small request cannot become a large one.
 */
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import type { FastifyInstance } from 'fastify';
import { LIMITS, ProblemError } from '@tidemark/protocol';
import { codeOf, sentenceOf } from '@tidemark/service';

const inflate = promisify(gunzip);

export function jsonBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer', bodyLimit: LIMITS.bodyBytes },
    async (request: { headers: Record<string, string | string[] | undefined> }, body: Buffer) => {
      const encoding = request.headers['content-encoding'];
      const text = encoding === undefined || encoding === 'identity' ? body : await inflated(body, encoding);
      return parseJson(text);
    },
  );
}

async function inflated(body: Buffer, encoding: string | string[]): Promise<Buffer> {
  if (encoding !== 'gzip')
    throw new ProblemError('media_type_unsupported', `Content-Encoding ${JSON.stringify(encoding)} is not understood; send gzip or none.`);
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
  try {
    // "__proto__" becomes an ordinary own property here, and nothing ever merges these objects into others.
    return JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw new ProblemError('body_malformed', `${sentenceOf(error)}.`, { cause: error });
  }
}
