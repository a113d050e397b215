/**
 * Where a collector has sent this agent: kept beside the spool, and in force while the configured address is still the one that it
 * came from. An address that a person configures anew wins.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { readForeignFile, writeFileAtomically } from '@tidemark/service';

const FILE = 'server.json';
const MOVE_BYTES_MAX = 16 * 1024;

export interface Move {
  /** The configured address; empty when an enrolment string told it. */
  readonly from: string;
  readonly to: string;
}

/** The address in force: where the configured one has moved to, else itself. */
export function readMove(dataDir: string, configured: URL | undefined): Move | undefined {
  try {
    const { from, to } = JSON.parse(readForeignFile(join(dataDir, FILE), MOVE_BYTES_MAX)) as Record<string, unknown>;
    if (typeof from !== 'string' || typeof to !== 'string' || from !== (configured?.href ?? '')) return undefined;
    return /^https?:$/.test(new URL(to).protocol) ? { from, to } : undefined;
  } catch {
    return undefined;
  }
}

export function keepMove(dataDir: string, move: Move): void {
  writeFileAtomically(join(dataDir, FILE), `${JSON.stringify(move)}\n`);
}

export function forgetMove(dataDir: string): void {
  rmSync(join(dataDir, FILE), { force: true });
}
