/**
 * The path below which a reverse proxy has this collector: that of the public URL. The proxy may cut it off or leave it on, and
 * both come to the same, for no address of the collector's own begins as the prefix does.
 */
import { EXIT, OperationalFailure } from '@tidemark/service';
import type { FastifyInstance } from 'fastify';

/** "/tidemark", without a slash at its end; empty when the collector stands at the root. */
export const prefixOf = (publicUrl: URL | undefined): string => publicUrl?.pathname.replace(/\/+$/, '') ?? '';

/** A request's address as the routes know it. What only begins like the prefix ("/tidemarks") is another address. */
export function withoutPrefix(url: string, prefix: string): string {
  if (prefix === '' || !url.startsWith(prefix)) return url;
  const rest = url.slice(prefix.length);
  if (rest === '' || rest.startsWith('?')) return `/${rest}`;
  return rest.startsWith('/') ? rest : url;
}

/** Throws an OperationalFailure when a proxy that cuts the prefix off could ask for what then looks as if it were still there. */
export function refuseAmbiguousPrefix({ methodsByUrl }: Pick<FastifyInstance, 'methodsByUrl'>, prefix: string): void {
  const [, first] = prefix.split('/');
  if (first === undefined || ![...methodsByUrl.keys()].some((url) => url.split('/')[1] === first)) return;
  throw new OperationalFailure(
    `--public-url must not have the path ${prefix}: /${first} is an address of the collector's own. Choose another, for example /tidemark.`,
    EXIT.configuration,
  );
}
