/**
 * What a running agent says about itself, in a file of its data directory that `tidemark-agent status`
 * reads: written whole or not at all, soon after something changed that matters, else every ten seconds.
 */
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PostgresDiscovered } from '@tidemark/protocol';
import { readForeignFile, sentenceOf, type Log } from '@tidemark/service';
import type { ProbeState } from './probes/runner.ts';
import type { SpoolState } from './spool/spool.ts';
import type { UplinkState } from './uplink/uplink.ts';

const FILE = 'status.json';
/** Some hundred kilobytes where very much is watched. */
const STATUS_BYTES_MAX = 8 * 1024 * 1024;
/** When nothing changed but times and counts. */
const ROUTINE_MS = 10_000;
/** When something did; a report taken and its acknowledgement are one write. */
const SOON_MS = 200;

/** What an agent knows of a PostgreSQL server it watches. */
export interface PostgresStatus {
  instance: string;
  up: boolean;
  role: string | null;
  version: string | null;
  /** Why it is not up, or what the agent may not see. */
  detail: string | null;
}

/** Times are wall time in milliseconds. */
export interface AgentStatus {
  version: string;
  pid: number;
  startedAt: number;
  writtenAt: number;
  server: string;
  hostname: string;
  intervalSeconds: number;
  lastReportAt: number | undefined;
  uplink: UplinkState;
  spool: SpoolState;
  probes: readonly ProbeState[];
  postgres: PostgresStatus[];
  /** PostgreSQL servers of this machine that are not watched; earlier agents did not look for them. */
  discovered?: PostgresDiscovered['servers'];
  /** File systems that are watched; earlier agents did not say. */
  fileSystems?: number | undefined;
}

/** The status a running agent wrote last, or undefined when there is none that can be read. Root asks too, and the directory is the agent's. */
export function readStatus(dataDir: string): AgentStatus | undefined {
  try {
    const status = JSON.parse(readForeignFile(join(dataDir, FILE), STATUS_BYTES_MAX)) as AgentStatus;
    return typeof status.pid === 'number' && typeof status.uplink === 'object' && typeof status.spool === 'object' ? status : undefined;
  } catch {
    return undefined;
  }
}

/** Keeps the file. It is not synced to disk: after a power cut it would be about a process that is gone. */
export class StatusFile {
  readonly #path: string;
  readonly #status: () => AgentStatus;
  readonly #log: Log;
  #timer: NodeJS.Timeout | undefined;
  #matters = '';
  #writtenMs = Number.NEGATIVE_INFINITY;
  #writing: Promise<void> = Promise.resolve();
  #failing = false;

  constructor(dataDir: string, status: () => AgentStatus, log: Log) {
    this.#path = join(dataDir, FILE);
    this.#status = status;
    this.#log = log;
  }

  /** Something may have changed. What matters to a person is in the file at once, the rest within ten seconds. */
  changed(): void {
    const matters = whatMatters(this.#status());
    const soon = matters !== this.#matters;
    this.#matters = matters;
    if (this.#timer !== undefined && !soon) return;
    clearTimeout(this.#timer);
    const routine = this.#writtenMs + ROUTINE_MS - performance.now();
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#writing = this.#write();
      },
      soon ? SOON_MS : Math.max(SOON_MS, routine),
    );
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#writing;
    await this.#write();
  }

  async #write(): Promise<void> {
    this.#writtenMs = performance.now();
    const temporary = `${this.#path}.tmp`;
    try {
      await writeFile(temporary, JSON.stringify(this.#status()), { mode: 0o600 });
      await rename(temporary, this.#path);
      this.#failing = false;
    } catch (error) {
      if (!this.#failing) this.#log.warn({ trouble: sentenceOf(error) }, 'the status file cannot be written');
      this.#failing = true;
    }
  }
}

function whatMatters({ uplink, spool, probes, postgres, discovered = [] }: AgentStatus): string {
  const failing = probes.filter((probe) => !probe.success).map((probe) => probe.name);
  const servers = postgres.map((server) => [server.instance, server.up, server.role]);
  const { phase, detail, newAddress, moveTrouble, server } = uplink;
  const confirmed = uplink.lastAcknowledgedAt !== undefined;
  return JSON.stringify([
    phase,
    detail,
    confirmed,
    newAddress,
    moveTrouble,
    server,
    spool.lost,
    spool.trouble,
    spool.reports > 1,
    failing,
    servers,
    discovered,
  ]);
}
