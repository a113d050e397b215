/**
 * Finds the PostgreSQL servers of this machine: by what the kernel tells of sockets and processes, and by asking the ports that
 * may be one's. No child process, nothing beyond loopback, and no log-in: to watch a server is a person's decision.
 */
import { existsSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { answersAsPostgres } from './discovery-handshake.ts';
import {
  processesIn,
  tcpListenersIn,
  textIn,
  unixListenersIn,
  type Postmaster,
  type Processes,
  type TcpListener,
} from './discovery-kernel.ts';

const DEFAULT_PORT = 5432;
const SOCKET_DIRECTORIES = ['/run/postgresql', '/var/run/postgresql', '/tmp'];
const SERVERS_MAX = 50;
const ASKED_MAX = 20;

export type FoundBy = 'socket' | 'postmaster.pid' | 'port' | 'published port';

export interface Endpoint {
  /** A socket's directory, or an address of this machine. */
  readonly host: string;
  readonly port: number;
}

export interface DiscoveredServer {
  /** The path of a socket, or "127.0.0.1:5432". */
  readonly address: string;
  readonly how: FoundBy;
  /** The one to connect to first. */
  readonly endpoints: readonly [Endpoint, ...Endpoint[]];
}

export interface DiscoveryOptions {
  readonly platform: NodeJS.Platform;
  /** "/proc" unless told. */
  readonly procfs?: string | undefined;
  /** Where sockets are looked for on systems without /proc. */
  readonly socketDirectories?: readonly string[] | undefined;
  readonly asks?: typeof answersAsPostgres | undefined;
}

/** All servers found, watched or not, in the order of their addresses. Takes as long as one handshake, half a second at most. */
export async function discoverServers(options: DiscoveryOptions): Promise<DiscoveredServer[]> {
  const { platform, procfs = '/proc', asks = answersAsPostgres } = options;
  const found = new Found();
  const tcp = platform === 'linux' ? lookThroughKernel(procfs, found) : [];
  if (platform !== 'linux' && platform !== 'win32') {
    for (const path of socketsIn(options.socketDirectories ?? SOCKET_DIRECTORIES)) found.add('socket', [endpointOf(path)]);
  }
  const toAsk = [...new Map(tcp.map((one) => [one.port, one])).values()].filter(({ port }) => !found.hasPort(port)).slice(0, ASKED_MAX);
  if (!found.hasPort(DEFAULT_PORT) && !toAsk.some(({ port }) => port === DEFAULT_PORT))
    toAsk.push({ host: '127.0.0.1', port: DEFAULT_PORT, how: 'port' });
  const answers = await Promise.all(toAsk.map(async ({ host, port }) => await asks(host, port)));
  toAsk.forEach(({ host, port, how }, i) => {
    if (answers[i] === true) found.add(how, [{ host, port }]);
  });
  return found.all();
}

interface Candidate extends Endpoint {
  readonly how: FoundBy;
}

class Found {
  readonly #servers = new Map<string, DiscoveredServer>();

  add(how: FoundBy, endpoints: readonly Endpoint[]): void {
    const [first, ...rest] = endpoints;
    if (first === undefined || this.#servers.size >= SERVERS_MAX) return;
    const address = addressOf(first);
    if (!this.#servers.has(address)) this.#servers.set(address, { address, how, endpoints: [first, ...rest] });
  }

  /** Whether a server that listens on this port over TCP, or may, is among them. */
  hasPort(port: number): boolean {
    return [...this.#servers.values()].some(({ endpoints }) => endpoints.some((one) => one.port === port && !one.host.startsWith('/')));
  }

  all(): DiscoveredServer[] {
    return [...this.#servers.values()].toSorted((a, b) => (a.address < b.address ? -1 : 1));
  }
}

/** Adds what needs no asking, and returns what does. */
function lookThroughKernel(procfs: string, found: Found): Candidate[] {
  const processes = processesIn(procfs);
  const unix = unixListenersIn(textIn(join(procfs, 'net/unix')) ?? '').filter(({ path }) => isOfPostgres(path));
  const tcp = ['net/tcp', 'net/tcp6'].flatMap((name) => tcpListenersIn(textIn(join(procfs, name)) ?? ''));
  const claimed = new Set<string>();
  for (const { sockets, told } of processes.postmasters) {
    if (sockets === undefined) continue;
    const mine = [...unix, ...tcp].filter(({ inode }) => sockets.has(inode));
    for (const { inode } of mine) claimed.add(inode);
    const endpoints = mine.map((one) => ('path' in one ? endpointOf(one.path) : { host: reachable(one.ip), port: one.port }));
    found.add(howOf(endpoints), distinct(endpoints.length > 0 ? endpoints : toldEndpoints(told)));
  }
  const restTcp = tcp.filter(({ inode }) => !claimed.has(inode));
  const restUnix = unix.filter(({ inode }) => !claimed.has(inode));
  addOthers(
    processes,
    restUnix.map(({ path }) => endpointOf(path)),
    restTcp,
    found,
  );
  return candidatesIn(processes, restTcp);
}

/** Those whose process we may not look into: sockets that share a port, and a listener of the server's user on it, are one server. */
function addOthers(processes: Processes, sockets: readonly Endpoint[], tcp: readonly TcpListener[], found: Found): void {
  const uids = serverUids(processes);
  for (const port of new Set(sockets.map((one) => one.port))) {
    const listening = tcp.filter((one) => one.port === port && uids.has(one.uid)).map(({ ip }) => ({ host: reachable(ip), port }));
    found.add('socket', distinct([...sockets.filter((one) => one.port === port), ...listening]));
  }
  for (const { sockets: seen, told } of processes.postmasters) {
    const endpoints = toldEndpoints(told);
    const known = endpoints.some((one) => sockets.some((other) => other.host === one.host && other.port === one.port));
    if (seen === undefined && !known) found.add('postmaster.pid', endpoints);
  }
}

/** Ports that are to be asked: a server's user listens on them, or a container has published them, or it is the usual one. */
function candidatesIn(processes: Processes, tcp: readonly TcpListener[]): Candidate[] {
  const uids = serverUids(processes);
  const published = new Set(
    processes.published.filter(({ containerPort }) => containerPort === DEFAULT_PORT).map(({ hostPort }) => hostPort),
  );
  return tcp.flatMap(({ ip, port, uid }): Candidate[] => {
    const host = reachable(ip);
    if (published.has(port)) return [{ host, port, how: 'published port' }];
    // A pooler of the same user answers as PostgreSQL does.
    const isServers = uids.has(uid) && !processes.poolerUids.has(uid);
    return isServers || port === DEFAULT_PORT ? [{ host, port, how: 'port' }] : [];
  });
}

/** Users under whom servers run whose descriptors are hidden from us. Root runs none: it is somebody else's number by mistake. */
function serverUids({ postmasters }: Processes): ReadonlySet<number> {
  return new Set(postmasters.filter(({ sockets, uid }) => sockets === undefined && uid !== 0).map(({ uid }) => uid));
}

function toldEndpoints(told: Postmaster['told']): Endpoint[] {
  if (told === undefined) return [];
  const { port, socketDir, listens } = told;
  return [
    ...(socketDir === undefined || !socketDir.startsWith('/') ? [] : [{ host: realDirectory(socketDir), port }]),
    ...(listens === undefined ? [] : [{ host: listens === '*' ? '127.0.0.1' : reachable(listens), port }]),
  ];
}

function howOf(endpoints: readonly Endpoint[]): FoundBy {
  if (endpoints.length === 0) return 'postmaster.pid';
  return endpoints[0]!.host.startsWith('/') ? 'socket' : 'port';
}

/** How to reach from here what listens there. */
function reachable(ip: string): string {
  return ip === '0.0.0.0' || ip === '::' || ip === 'localhost' ? '127.0.0.1' : ip;
}

function distinct(endpoints: readonly Endpoint[]): Endpoint[] {
  return [...new Map(endpoints.map((one) => [addressOf(one), one])).values()];
}

function endpointOf(socketPath: string): Endpoint {
  return { host: realDirectory(dirname(socketPath)), port: Number(basename(socketPath).slice('.s.PGSQL.'.length)) };
}

function realDirectory(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function addressOf({ host, port }: Endpoint): string {
  if (host.startsWith('/')) return `${host}/.s.PGSQL.${port}`;
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** PgBouncer's socket has a name of the same form, but PostgreSQL alone keeps a lock file beside it. */
function isOfPostgres(path: string): boolean {
  try {
    return statSync(path).isSocket() && existsSync(`${path}.lock`);
  } catch {
    return false;
  }
}

function socketsIn(directories: readonly string[]): string[] {
  return directories.flatMap((directory) => {
    let names: string[];
    try {
      names = readdirSync(directory);
    } catch {
      return [];
    }
    return names
      .filter((name) => /^\.s\.PGSQL\.\d+$/.test(name))
      .map((name) => join(directory, name))
      .filter(isOfPostgres);
  });
}

/** Those that are not among the watched. `isHere` says of a host's name whether it is this machine. */
export function notWatched(
  servers: readonly DiscoveredServer[],
  watched: readonly Endpoint[],
  isHere: (host: string) => boolean,
): DiscoveredServer[] {
  const sockets = new Set(
    watched.filter(({ host }) => host.startsWith('/')).map(({ host, port }) => addressOf({ host: realDirectory(host), port })),
  );
  const ports = new Set(watched.filter(({ host }) => !host.startsWith('/') && isHere(host)).map(({ port }) => port));
  return servers.filter(({ endpoints }) => {
    const listensOnTcp = endpoints.some(({ host }) => !host.startsWith('/'));
    return !endpoints.some((one) => {
      if (one.host.startsWith('/')) return sockets.has(addressOf(one)) || (!listensOnTcp && ports.has(one.port));
      return ports.has(one.port);
    });
  });
}

/** A URL for it; without a role it is that of the user who runs the program, as everywhere with PostgreSQL. */
export function urlOf({ endpoints: [endpoint] }: DiscoveredServer, role = ''): string {
  return urlTo(endpoint, role, 'postgres');
}

/** It can stand between single quotes in a shell, whatever is in the names. */
export function urlTo({ host, port }: Endpoint, role: string, database: string): string {
  const user = role === '' ? '' : `${encoded(role)}@`;
  if (!host.startsWith('/')) return `postgresql://${user}${host.includes(':') ? `[${host}]` : host}:${port}/${encoded(database)}`;
  const place = encoded(host).replaceAll('%2F', '/');
  return `postgresql://${user}/${encoded(database)}?host=${place}${port === DEFAULT_PORT ? '' : `&port=${port}`}`;
}

function encoded(text: string): string {
  return encodeURIComponent(text.toWellFormed()).replaceAll("'", '%27');
}

/** What to run to have it watched. */
export function setupCommand(server: DiscoveredServer): string {
  return `tidemark-agent postgres setup --url '${urlOf(server, 'postgres')}'`;
}
