/**
 * What the kernel tells of listening sockets and of the processes that matter to discovery, read from /proc. Nothing is
 * started and nothing is connected to; what may not be read is left out.
 */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';

const PROCESSES_MAX = 50_000;
const DESCRIPTORS_MAX = 4_096;
/** __SO_ACCEPTCON: it listens. */
const LISTENS = 0x1_00_00;

export interface UnixListener {
  readonly path: string;
  readonly inode: string;
}
export interface TcpListener {
  /** "127.0.0.1", "::", as written by people. */
  readonly ip: string;
  readonly port: number;
  readonly uid: number;
  readonly inode: string;
}

export interface Postmaster {
  readonly pid: number;
  readonly uid: number;
  /** The inodes of its sockets; undefined when we may not look. */
  readonly sockets: ReadonlySet<string> | undefined;
  /** From postmaster.pid in its directory; undefined when we may not look. */
  readonly told: { readonly port: number; readonly socketDir: string | undefined; readonly listens: string | undefined } | undefined;
}

export interface PublishedPort {
  readonly hostPort: number;
  readonly containerPort: number;
}

export interface Processes {
  /** Servers in our own network; those in containers have ports of their own there. */
  readonly postmasters: Postmaster[];
  readonly published: PublishedPort[];
  /** Users whose listening sockets may as well be a connection pooler's. */
  readonly poolerUids: ReadonlySet<number>;
}

/** PostgreSQL's sockets in /proc/net/unix that listen. A path may have blanks in it. */
export function unixListenersIn(text: string): UnixListener[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\S+ \S+ \S+ ([0-9A-F]+) \S+ \S+ +(\d+) (\/.*\.s\.PGSQL\.\d+)$/i.exec(line);
    if (match === null || (Number.parseInt(match[1]!, 16) & LISTENS) === 0) return [];
    return [{ path: match[3]!, inode: match[2]! }];
  });
}

/** The listening sockets in /proc/net/tcp or /proc/net/tcp6. */
export function tcpListenersIn(text: string): TcpListener[] {
  return text.split('\n').flatMap((line) => {
    const words = line.trim().split(/\s+/);
    const match = /^([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})$/i.exec(words[1] ?? '');
    if (match === null || words[3] !== '0A') return [];
    return [{ ip: ipOf(match[1]!), port: Number.parseInt(match[2]!, 16), uid: Number(words[7]), inode: words[9] ?? '' }];
  });
}

/** The kernel writes addresses as words of the machine's byte order: little-endian wherever Node runs on Linux, save s390x. */
function ipOf(hex: string): string {
  const words = hex.match(/.{8}/g)!.map((word) =>
    word
      .match(/../g)!
      .toReversed()
      .map((byte) => Number.parseInt(byte, 16)),
  );
  if (words.length === 1) return words[0]!.join('.');
  const bytes = words.flat();
  if (bytes.every((byte) => byte === 0)) return '::';
  if (bytes.slice(0, 15).every((byte) => byte === 0) && bytes[15] === 1) return '::1';
  if (bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255) return bytes.slice(12).join('.');
  return Array.from({ length: 8 }, (_, i) => ((bytes[2 * i]! << 8) | bytes[2 * i + 1]!).toString(16)).join(':');
}

/** What docker-proxy was started with; undefined when it is not of TCP. */
export function publishedPortIn(cmdline: string): PublishedPort | undefined {
  const words = cmdline.split('\0');
  const after = (flag: string): string | undefined => words[words.indexOf(flag) + 1 || words.length];
  const [hostPort, containerPort] = [Number(after('-host-port')), Number(after('-container-port'))];
  return after('-proto') === 'tcp' && hostPort > 0 && containerPort > 0 ? { hostPort, containerPort } : undefined;
}

/** Lines 4 to 6 of postmaster.pid: port, first socket directory, first listen address. */
export function postmasterFileIn(text: string): Postmaster['told'] {
  const [, , , port = '', socketDir = '', listens = ''] = text.split('\n').map((line) => line.trim());
  if (!/^\d{1,5}$/.test(port)) return undefined;
  return { port: Number(port), socketDir: socketDir || undefined, listens: listens || undefined };
}

/** Walks over all processes once, reading of most nothing but their name. */
export function processesIn(procfs: string): Processes {
  const servers = new Map<string, number>();
  const published: PublishedPort[] = [];
  const poolerUids = new Set<number>();
  for (const pid of namesIn(procfs)
    .filter((name) => /^\d+$/.test(name))
    .slice(0, PROCESSES_MAX)) {
    const name = textIn(join(procfs, pid, 'comm'))?.trim();
    if (name === 'postgres' || name === 'postmaster') servers.set(pid, parentOf(procfs, pid));
    else if (name === 'docker-proxy') {
      const port = publishedPortIn(textIn(join(procfs, pid, 'cmdline')) ?? '');
      if (port !== undefined) published.push(port);
    } else if (name === 'pgbouncer' || name === 'odyssey' || name === 'pgcat') poolerUids.add(uidOf(procfs, pid) ?? -1);
  }
  const own = linkOf(join(procfs, 'self/ns/net'));
  const postmasters = [...servers].flatMap(([pid, parent]): Postmaster[] => {
    if (servers.has(String(parent))) return [];
    const network = linkOf(join(procfs, pid, 'ns/net'));
    const uid = uidOf(procfs, pid);
    if (uid === undefined || (network !== undefined && own !== undefined && network !== own)) return [];
    const told = postmasterFileIn(textIn(join(procfs, pid, 'cwd/postmaster.pid')) ?? '');
    return [{ pid: Number(pid), uid, sockets: socketsOf(procfs, pid), told }];
  });
  return { postmasters, published, poolerUids };
}

function parentOf(procfs: string, pid: string): number {
  // The name in it may have blanks and parentheses of its own.
  const stat = textIn(join(procfs, pid, 'stat')) ?? '';
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

function socketsOf(procfs: string, pid: string): ReadonlySet<string> | undefined {
  const directory = join(procfs, pid, 'fd');
  let names: string[];
  try {
    names = readdirSync(directory).slice(0, DESCRIPTORS_MAX);
  } catch {
    return undefined;
  }
  const links = names.map((name) => /^socket:\[(\d+)\]$/.exec(linkOf(join(directory, name)) ?? '')?.[1]);
  return new Set(links.filter((inode) => inode !== undefined));
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** undefined when it is not there or may not be read. */
export function textIn(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

function uidOf(procfs: string, pid: string): number | undefined {
  try {
    return statSync(join(procfs, pid)).uid;
  } catch {
    return undefined;
  }
}
