/**
 * Where a server can be reached, as far as its agent can know: addresses, names, ports, and which machine it is on. An
 * address is evidence and no more: NAT, virtual addresses and containers make it fit several servers, or none.
 */
import type { PostgresReplication } from '@tidemark/protocol';
import type { Sighting } from './model.ts';

export interface Place {
  /** Of the network, without loopback. */
  readonly addresses: ReadonlySet<string>;
  readonly names: readonly string[];
  readonly ports: readonly number[];
  /** What tells machines apart; `all` is every address as one word, undefined where they are not known. */
  readonly machine: { readonly host: string; readonly addresses: ReadonlySet<string>; readonly all: string | undefined };
}

/** Where somebody connects to. A host that begins with "/" is a socket's directory. */
export interface Address {
  readonly host: string;
  readonly port: number | undefined;
}

const DEFAULT_PORT = 5432;
const NOBODY: ReadonlySet<string> = new Set();

/** Without brackets, zone, prefix length and the IPv4 in IPv6 clothing; in lower case. */
export function normalHost(host: string): string {
  if (host.startsWith('/')) return host;
  let plain = host.toLowerCase();
  if (plain.startsWith('[')) plain = plain.slice(1, plain.indexOf(']') === -1 ? undefined : plain.indexOf(']'));
  const cut = plain.search(/[%/]/);
  if (cut !== -1) plain = plain.slice(0, cut);
  return plain.startsWith('::ffff:') && plain.includes('.') ? plain.slice(7) : plain;
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}

export function isSocket(host: string): boolean {
  return host.startsWith('/') || host.startsWith('@');
}

/** Of an instance, from the newest of its documents that say where it is. */
export function placeOf(sighting: Sighting, document: PostgresReplication | undefined): Place {
  const machine = document?.machine ?? sighting.newest.machine;
  const reached = document?.reachedAt ?? sighting.newest.reachedAt ?? reachedByName(sighting.instance);
  const ports = [...new Set([reached?.port, machine?.port ?? undefined].filter((port) => port !== undefined))];
  const own = new Set((machine?.addresses ?? []).map(normalHost).filter((address) => !isLoopback(address)));
  const hostname = machine === undefined ? undefined : machine.hostname.toLowerCase();
  const host = reached === undefined ? undefined : normalHost(reached.host);
  const isHere =
    host === undefined || isSocket(host) || isLoopback(host) || own.has(host) || (hostname !== undefined && sameName(host, hostname));
  if (!isHere) {
    // The agent watches it from elsewhere: what its machine is called says nothing of where the server is.
    return { addresses: new Set([host]), names: [host], ports, machine: { host: `at ${host}`, addresses: NOBODY, all: undefined } };
  }
  const names = [hostname, sighting.nodeName.toLowerCase()].filter((name) => name !== undefined && name !== '' && !isLoopback(name));
  return {
    addresses: own,
    names: names as string[],
    ports,
    machine: {
      host: hostname ?? `node ${sighting.nodeId}`,
      addresses: own,
      all: hostname === undefined ? undefined : [...own].sort().join(' '),
    },
  };
}

/**
 * Two agents of one machine may call it by two names, and two machines share an address that means nothing outside (a
 * container bridge's): one name needs an address in common, two names need all. Who has no address at all can only be
 * reached from the same machine.
 */
export function onOneMachine(one: Place, other: Place): boolean {
  if (one === other) return true;
  const [a, b] = [one.machine, other.machine];
  if (a.all !== undefined && a.all === b.all) return true;
  if (a.host !== b.host) return false;
  if (a.addresses.size === 0 || b.addresses.size === 0) return a.all === b.all;
  for (const address of a.addresses) if (b.addresses.has(address)) return true;
  return false;
}

/** Whether somebody at `from` who connects to `address` may well mean the server at `to`. */
export function leadsTo(address: Address, from: Place, to: Place): boolean {
  const port = address.port ?? DEFAULT_PORT;
  if (to.ports.length > 0 && !to.ports.includes(port)) return false;
  if (isSocket(address.host) || isLoopback(address.host)) return onOneMachine(from, to);
  return to.addresses.has(address.host) || to.names.some((name) => sameName(name, address.host));
}

/** "db1" and "db1.example.com" are one; "db1.here" and "db1.there" are two. */
export function sameName(one: string, other: string): boolean {
  if (one === other) return true;
  if (isLoopback(one) || isLoopback(other)) return false;
  const [short, long] = one.length < other.length ? [one, other] : [other, one];
  return !short.includes('.') && !short.includes(':') && long.startsWith(`${short}.`);
}

/** Hosts and ports as a connection string has them: several are separated by commas, and one port is everybody's. */
export function addressesOf(hosts: string | null, ports: string | null): Address[] {
  if (hosts === null || hosts === '') return [];
  const listed = (ports ?? '').split(',');
  return hosts.split(',').map((host, i) => {
    const port = Number((listed.length === 1 ? listed[0] : listed[i]) || DEFAULT_PORT);
    return { host: normalHost(host.trim()), port: Number.isInteger(port) ? port : DEFAULT_PORT };
  });
}

/** "10.0.0.1:5432", "[fd00::1]:5432", "/run/postgresql:5432". */
export function addressText({ host, port }: Address): string {
  const shown = host.includes(':') ? `[${host}]` : host;
  return port === undefined ? shown : `${shown}:${port}`;
}

/** An agent too old to say where it reaches a server calls it by that, unless it was given a name. */
function reachedByName(instance: string): { host: string; port: number } | undefined {
  const match = /^(.+):(\d{1,5})$/.exec(instance);
  return match === null ? undefined : { host: match[1]!, port: Number(match[2]) };
}
