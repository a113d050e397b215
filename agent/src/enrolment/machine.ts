/**
 * What tells this machine from others: a hash of the id that its operating system gave it at its installation. The id itself never
 * leaves the machine. Looked up at enrolment only, for on Windows that takes a child process.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const LINUX_FILES = ['/etc/machine-id', '/var/lib/dbus/machine-id'];
const REG_TIMEOUT_MS = 5_000;
const GUID = /\bMachineGuid\s+REG_SZ\s+([0-9a-f-]{36})\b/i;

export interface MachineOptions {
  readonly platform: NodeJS.Platform;
  /** Where Linux keeps it; the first that holds one counts. */
  readonly files?: readonly string[] | undefined;
  /** `reg.exe`, by its whole path where that is known. */
  readonly reg?: string | undefined;
}

/** SHA-256 of the machine's id with a salt of our own, as 64 hexadecimal digits; undefined where it has none that can be read. */
export async function machineHash({ platform, files = LINUX_FILES, reg = 'reg.exe' }: MachineOptions): Promise<string | undefined> {
  const id = platform === 'linux' ? await idInFiles(files) : platform === 'win32' ? await idInRegistry(reg) : undefined;
  return id === undefined ? undefined : createHash('sha256').update(`tidemark:${id.toLowerCase()}`).digest('hex');
}

async function idInFiles(files: readonly string[]): Promise<string | undefined> {
  for (const file of files) {
    const text = (await readFile(file, 'utf8').catch(() => '')).trim();
    // A golden image may have it empty, or "uninitialized", until its first boot.
    if (/^[0-9a-f]{32}$/i.test(text) && !/^0+$/.test(text)) return text;
  }
  return undefined;
}

async function idInRegistry(reg: string): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)(
      reg,
      ['query', 'HKLM\\SOFTWARE\\Microsoft\\Cryptography', '/v', 'MachineGuid', '/reg:64'],
      {
        timeout: REG_TIMEOUT_MS,
        windowsHide: true,
      },
    );
    return GUID.exec(stdout)?.[1];
  } catch {
    return undefined;
  }
}

/** The registry's program by its whole path: what a search path leads to may be another. */
export function regProgram(systemRoot: string | undefined): string {
  return systemRoot === undefined ? 'reg.exe' : join(systemRoot, 'System32', 'reg.exe');
}
