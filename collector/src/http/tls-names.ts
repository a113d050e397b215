/** What this machine can be called by those who connect to it: names and addresses for a self-made certificate, and whether anybody but itself can. */
import { networkInterfaces } from 'node:os';
import { isIP } from 'node:net';
import type { TlsKind } from './tls.ts';

/** Every address of this machine that others can use, and those by which it reaches itself. */
export function machineNames(hostname: string, interfaces: typeof networkInterfaces = networkInterfaces): string[] {
  const addresses = Object.values(readable(interfaces))
    .flatMap((list) => list ?? [])
    // A link-local address means nothing without the interface it is of.
    .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
    .map(({ address }) => address);
  return [hostname, 'localhost', '127.0.0.1', '::1', ...addresses];
}

/** A service that was locked in too tightly may not ask for them; its certificate has names all the same. */
function readable(interfaces: typeof networkInterfaces): ReturnType<typeof networkInterfaces> {
  try {
    return interfaces();
  } catch {
    return {};
  }
}

const isLoopback = (host: string): boolean => host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));

/** What to say, once, when credentials travel a network as they are; undefined when there is nothing to say. */
export function plainHttpWarning({ tls, host, publicUrl }: { tls: TlsKind; host: string; publicUrl: URL | undefined }): string | undefined {
  // With https outside, somebody in front of this collector ends it.
  if (tls !== 'off' || isLoopback(host) || publicUrl?.protocol === 'https:') return undefined;
  return 'plain HTTP: whoever is on the network between can read reports and credentials. On a network that is not trusted: --tls self-made, or --tls files with a certificate (docs/how-to/https.md)';
}
