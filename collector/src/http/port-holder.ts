/** Which program listens on a port of this machine: what the kernel lists, and whose open files it is among. Linux only. */
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';

export interface PortHolder {
  pid: number;
  /** "nginx" */
  name: string;
  /** Its command line, shortened; it may hold what its author should not have put there, so nothing beyond the first words. */
  command: string;
}

const LISTEN = '0A';
const COMMAND_CHARS_MAX = 80;

/** The inodes of the sockets that listen on a port, from the text of /proc/net/tcp or tcp6. */
export function listeningInodes(table: string, port: number): string[] {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  return table.split('\n').flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    return fields[3] === LISTEN && fields[1]?.split(':')[1] === wanted && fields[9] !== undefined ? [fields[9]] : [];
  });
}

/** Undefined when nobody does, or when this user may not see who. */
export function findPortHolder(port: number): PortHolder | undefined {
  const inodes = ['tcp', 'tcp6'].flatMap((name) => listeningInodes(textOf(`/proc/net/${name}`), port));
  const sockets = new Set(inodes.map((inode) => `socket:[${inode}]`));
  if (sockets.size === 0) return undefined;
  for (const name of namesIn('/proc').filter((entry) => /^\d+$/.test(entry)))
    if (namesIn(`/proc/${name}/fd`).some((fd) => sockets.has(linkOf(`/proc/${name}/fd/${fd}`)))) return describe(Number(name));
  return undefined;
}

function describe(pid: number): PortHolder {
  const [program = '', first = ''] = textOf(`/proc/${pid}/cmdline`).split('\0');
  return {
    pid,
    name: textOf(`/proc/${pid}/comm`).trim() || 'a program',
    command: `${program} ${first}`.trim().slice(0, COMMAND_CHARS_MAX),
  };
}

// Processes come and go while they are looked at.
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
