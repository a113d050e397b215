/** The body of a request, put together from the spool's own bytes: no report is parsed or written again on its way out. */
import { promisify } from 'node:util';
import { gzip, gzipSync } from 'node:zlib';
import { LIMITS } from '@tidemark/protocol';

const compress = promisify(gzip);
/** Below this many bytes to compress at once costs less than to hand it to another thread. */
const AT_ONCE_BYTES = 32 * 1024;
/** Reports are small: a window of 8 KB and little state compress them as well as zlib's defaults, for a tenth of the memory. */
const GZIP = { level: 6, windowBits: 13, memLevel: 6 };

export interface BodyParts {
  /** JSON of the request's `agent`. */
  agent: string;
  bootId: string;
  sentAt: number;
  sentMonotonicMs: number;
  layouts: readonly Buffer[];
  reports: readonly Buffer[];
}

export function joinBody({ agent, bootId, sentAt, sentMonotonicMs, layouts, reports }: BodyParts): Buffer {
  const head = `{"agent":${agent},"bootId":"${bootId}","sentAt":${sentAt},"sentMonotonicMs":${sentMonotonicMs}`;
  const parts: Buffer[] = [Buffer.from(head)];
  if (layouts.length > 0) parts.push(Buffer.from(',"layouts":['), ...separated(layouts), Buffer.from(']'));
  parts.push(Buffer.from(',"reports":['), ...separated(reports), Buffer.from(']}'));
  return Buffer.concat(parts);
}

const COMMA = Buffer.from(',');
function separated(items: readonly Buffer[]): Buffer[] {
  return items.flatMap((item, i) => (i === 0 ? [item] : [COMMA, item]));
}

/** The body as it travels, and the header that says so. */
export async function encodeBody(body: Buffer): Promise<{ body: Buffer; headers: Record<string, string> }> {
  if (body.length <= LIMITS.gzipAboveBytes) return { body, headers: {} };
  return {
    body: body.length <= AT_ONCE_BYTES ? gzipSync(body, GZIP) : await compress(body, GZIP),
    headers: { 'content-encoding': 'gzip' },
  };
}
