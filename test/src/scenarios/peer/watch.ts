/**
 * What postgres_exporter says of the same servers meanwhile: the real program where it is installed, with its two ways to
 * compute a lag, else their documented statements. Asked on the primary and on the server that the scenario is about.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { waitUntil, type PostgresInstance } from '../../postgres/cluster.ts';
import type { World } from '../world/world.ts';
import { EXPORTER_ROLE } from './role.ts';

const PROGRAM = '/usr/bin/prometheus-postgres-exporter';
const ASK_EVERY_MS = 1_000;

/** As its source has it since 0.12 ("0 when all that was received is replayed"), and as it was shipped before. */
const IDIOM = `CASE WHEN NOT pg_is_in_recovery() THEN 0 WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0 ELSE GREATEST(0, EXTRACT(EPOCH FROM (now() - pg_last_xact_replay_timestamp()))) END`;
const SINCE_REPLAY =
  'CASE WHEN NOT pg_is_in_recovery() THEN 0 ELSE GREATEST(0, EXTRACT(EPOCH FROM (now() - pg_last_xact_replay_timestamp()))) END';

/** One look. Null: the series is not there. */
export interface PeerLook {
  /** Seconds since the scenario's exporters were first asked. */
  readonly atSeconds: number;
  readonly up: number | null;
  /** pg_replication_lag_seconds of the server, "0 if receive = replay". */
  readonly idiomSeconds: number | null;
  /** pg_replication_lag as shipped before: now − last replayed commit. */
  readonly sinceReplaySeconds: number | null;
  /** pg_stat_replication_pg_wal_lsn_diff on the primary, of this server. */
  readonly walDiffBytes: number | null;
}

export interface PeerSaid {
  readonly program: string;
  readonly server: string;
  /** When Tidemark had said what was expected of it; the last look when nothing was. */
  readonly atDetection: PeerLook | null;
  readonly last: PeerLook | null;
  readonly idiomSecondsMax: number | null;
  readonly sinceReplaySecondsMax: number | null;
}

type Figures = Omit<PeerLook, 'atSeconds'>;
interface Asked {
  ask(): Promise<Figures>;
  stop(): Promise<void>;
}

export class PeerWatch {
  readonly #server: string;
  readonly #program: string;
  readonly #asked: Asked;
  readonly #looks: PeerLook[] = [];
  readonly #from = performance.now();
  #marked: PeerLook | null = null;
  #stopping = false;
  #loop: Promise<void>;

  private constructor(server: string, program: string, asked: Asked) {
    this.#server = server;
    this.#program = program;
    this.#asked = asked;
    this.#loop = this.#ask();
  }

  static async start(world: World, server: string): Promise<PeerWatch> {
    const root = world.instance(world.rootAt(server, performance.now()));
    const subject = { letter: server, instance: world.instance(server) };
    const [program, asked] = isInstalled()
      ? (['prometheus-postgres-exporter', await Exporters.start(root, subject)] as const)
      : (['its documented statements', statements(world, root, subject)] as const);
    return new PeerWatch(server, program, asked);
  }

  /** The look that is nearest to a moment on the steady clock. */
  nearest(steadyMs: number): PeerLook | null {
    const seconds = (steadyMs - this.#from) / 1000;
    const distance = (look: PeerLook): number => Math.abs(look.atSeconds - seconds);
    return this.#looks.reduce<PeerLook | null>((best, look) => (best === null || distance(look) < distance(best) ? look : best), null);
  }

  /** What was expected has just been published. */
  mark(): void {
    this.#marked = this.#looks.at(-1) ?? null;
  }

  async stop(): Promise<PeerSaid> {
    this.#stopping = true;
    await this.#loop;
    await this.#asked.stop();
    const max = (pick: (look: PeerLook) => number | null): number | null => {
      const values = this.#looks.map(pick).filter((value) => value !== null);
      return values.length === 0 ? null : Math.max(...values);
    };
    const last = this.#looks.at(-1) ?? null;
    return {
      program: this.#program,
      server: this.#server,
      atDetection: this.#marked ?? last,
      last,
      idiomSecondsMax: max(({ idiomSeconds }) => idiomSeconds),
      sinceReplaySecondsMax: max(({ sinceReplaySeconds }) => sinceReplaySeconds),
    };
  }

  async #ask(): Promise<void> {
    while (!this.#stopping) {
      const from = performance.now();
      const figures = await this.#asked.ask();
      this.#looks.push({ atSeconds: Math.round((performance.now() - this.#from) / 100) / 10, ...figures });
      await pause(Math.max(50, from + ASK_EVERY_MS - performance.now()));
    }
  }
}

function isInstalled(): boolean {
  try {
    accessSync(PROGRAM, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

interface Subject {
  readonly letter: string;
  readonly instance: PostgresInstance;
}

const GONE: Figures = { up: null, idiomSeconds: null, sinceReplaySeconds: null, walDiffBytes: null };

/** Two exporters, one on each server, as one would run them. */
class Exporters implements Asked {
  readonly #directory = mkdtempSync(join(tmpdir(), 'tidemark-exporter-'));
  readonly #children: ChildProcess[] = [];
  readonly #subject: Subject;
  #ports: { root: number; subject: number } = { root: 0, subject: 0 };

  private constructor(subject: Subject) {
    this.#subject = subject;
  }

  static async start(root: PostgresInstance, subject: Subject): Promise<Exporters> {
    const exporters = new Exporters(subject);
    exporters.#ports = { root: await exporters.#launch(root), subject: await exporters.#launch(subject.instance) };
    await waitUntil(() => exporters.#page(exporters.#ports.subject), { what: 'the exporter to answer' });
    return exporters;
  }

  async ask(): Promise<Figures> {
    const [root, subject] = await Promise.all([this.#page(this.#ports.root), this.#page(this.#ports.subject)]);
    const value = (page: string, start: RegExp): number | null => {
      const line = page.split('\n').find((candidate) => start.test(candidate));
      return line === undefined ? null : Number(line.slice(line.lastIndexOf(' ') + 1));
    };
    return {
      up: value(subject, /^pg_up /),
      idiomSeconds: value(subject, /^pg_replication_lag_seconds[{ ]/),
      sinceReplaySeconds: value(subject, /^pg_replication_lag[{ ]/),
      walDiffBytes: value(
        root,
        new RegExp(`^pg_stat_replication_pg_wal_lsn_diff\\{.*application_name="${this.#subject.letter.toLowerCase()}"`),
      ),
    };
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.#children.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        child.kill('SIGTERM');
        await new Promise((resolve) => child.once('exit', resolve));
      }),
    );
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async #launch(instance: PostgresInstance): Promise<number> {
    const port = await freePort();
    const queries = join(this.#directory, 'queries.json');
    const gauge = (name: string): object[] => [{ [name]: { usage: 'GAUGE', description: 'lag' } }];
    // YAML is a superset of JSON.
    writeFileSync(
      queries,
      JSON.stringify({
        pg_replication_lag: { query: `SELECT ${IDIOM} AS seconds`, master: true, metrics: gauge('seconds') },
        pg_replication: { query: `SELECT ${SINCE_REPLAY} AS lag`, master: true, metrics: gauge('lag') },
      }),
    );
    const child = spawn(PROGRAM, [`--web.listen-address=127.0.0.1:${port}`, `--extend.query-path=${queries}`], {
      stdio: 'ignore',
      env: { DATA_SOURCE_NAME: `postgresql://${EXPORTER_ROLE}@127.0.0.1:${instance.port}/postgres?sslmode=disable&connect_timeout=2` },
    });
    this.#children.push(child);
    return port;
  }

  async #page(port: number): Promise<string> {
    try {
      const response = await fetch(`http://127.0.0.1:${port}/metrics`, { signal: AbortSignal.timeout(5_000) });
      return await response.text();
    } catch {
      return '';
    }
  }
}

function statements(world: World, root: PostgresInstance, { letter, instance }: Subject): Asked {
  return {
    async ask() {
      const ofSubject = world.cluster
        .sql<{ idiom: string; since: string }>(instance, `SELECT ${IDIOM} AS idiom, ${SINCE_REPLAY} AS since`)
        .catch(() => []);
      const ofRoot = world.cluster
        .sql<{ diff: string }>(
          root,
          'SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) AS diff FROM pg_stat_replication WHERE application_name = $1',
          [letter.toLowerCase()],
        )
        .catch(() => []);
      const [[subject], [sender]] = await Promise.all([ofSubject, ofRoot]);
      if (subject === undefined) return { ...GONE, up: 0, walDiffBytes: sender === undefined ? null : Number(sender.diff) };
      return {
        up: 1,
        idiomSeconds: Number(subject.idiom),
        sinceReplaySeconds: Number(subject.since),
        walDiffBytes: sender === undefined ? null : Number(sender.diff),
      };
    },
    stop: async () => {},
  };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => (address !== null && typeof address === 'object' ? resolve(address.port) : reject(new Error('no port'))));
    });
  });
}
