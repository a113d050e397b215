/**
 * By which address this collector is written into scripts: the public URL where one is given, or else the Host by which the request
 * itself came, which its sender chose and nobody else gets to see (scripts are never stored by caches). Either only in a plain form.
 */
import { ProblemError } from '@tidemark/protocol';
import type { FastifyRequest } from 'fastify';

const NAME = '[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?';
const HOST = `(?:${NAME}|\\[[0-9a-fA-F:.]{2,45}\\])(?::[0-9]{1,5})?`;
const PLAIN_HOST = new RegExp(`^${HOST}$`);
const PLAIN_ADDRESS = new RegExp(`^https?://${HOST}(?:/[A-Za-z0-9._~%-]+)*$`);
const MAX_ADDRESS_CHARS = 500;

/** Whether an address without a slash at its end has nothing in it that a quote of any shell would not hold. */
export const isPlainAddress = (text: string): boolean => text.length <= MAX_ADDRESS_CHARS && PLAIN_ADDRESS.test(text);

/** The address for a request's answer, without a slash at its end. Throws a ProblemError when there is none that is safe. */
export function addressFor(request: Pick<FastifyRequest, 'headers' | 'protocol'>, publicUrl: URL | undefined, local: () => URL): string {
  const given = publicUrl ?? (request.headers.host === undefined ? local() : undefined);
  if (given !== undefined) {
    const address = given.href.replace(/\/+$/, '');
    if (isPlainAddress(address)) return address;
    throw new ProblemError(
      'downloads_unavailable',
      'The --public-url of this collector has characters that cannot safely be written into scripts.',
    );
  }
  // The scheme may come from a trusted proxy's header, which says whatever it says.
  const address = `${request.protocol}://${request.headers.host}`;
  if (PLAIN_HOST.test(request.headers.host!) && isPlainAddress(address)) return address;
  throw new ProblemError('request_malformed', 'The Host header is not a host name or address with a port.');
}
