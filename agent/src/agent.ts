/**
 * An agent: on its schedule it runs the probes, makes a report of what they saw, has the spool put it on
 * disk, and then lets the uplink send it. It keeps no state outside of itself: a simulated fleet runs
 * hundreds of them in one process.
 */
import { createHash, randomUUID } from 'node:crypto';
import type { Agent as HttpAgent } from 'node:http';
import {
  HEADLINE,
  LIMITS,
  POSTGRES_DISCOVERED,
  POSTGRES_REPLICATION,
  type Layout,
  type Observation,
  type PostgresDiscovered,
} from '@tidemark/protocol';
import { phaseOf, Ticker, type BackoffBounds, type Clock, type Log } from '@tidemark/service';
import type { Probe } from './probes/probe.ts';
import { ProbeRunner, wireBlocks, type Collection, type ProbeState } from './probes/runner.ts';
import type { Spool, SpoolState } from './spool/spool.ts';
import type { PostgresStatus } from './status.ts';
import type { Route } from './uplink/connections.ts';
import type { PostTimeouts } from './uplink/http-post.ts';
import type { Joining } from './uplink/join.ts';
import { Uplink, type UplinkState } from './uplink/uplink.ts';

/** An observation that stays the same is left out of reports for so long. */
const OBSERVATION_REPEAT_MS = 3_600_000;
/** What stopping may take for sending what is left. */
const FLUSH_TIMEOUT_MS = 2_000;

/** What an agent says about itself with every request. */
export interface AgentIdentity {
  readonly version: string;
  readonly platform: string;
  readonly hostname: string;
  readonly site?: string | undefined;
  readonly tags?: Readonly<Record<string, string>> | undefined;
  readonly intervalMs: number;
}

/** An agent's figures, for the probe that reports them. */
export interface AgentFigures {
  /** The agent's clock less the collector's in milliseconds; undefined while not measured. */
  readonly clockOffset: () => number | undefined;
  readonly reportsLost: () => number;
  readonly spoolBytes: () => number;
}

export interface AgentOptions {
  readonly identity: AgentIdentity;
  readonly server: URL;
  readonly route?: Route | undefined;
  readonly onMoved?: ((to: URL) => void) | undefined;
  readonly joining?: Joining | undefined;
  /** The credential, read for every request; undefined when there is none. */
  readonly token: () => string | undefined;
  /** Makes the probes; they may ask for the agent's own figures. */
  readonly probes: (figures: AgentFigures) => readonly Probe[];
  /** The agent closes it when it stops. */
  readonly spool: Spool;
  readonly clock: Clock;
  /** [0, 1) */
  readonly random: () => number;
  readonly log: Log;
  readonly connections?: HttpAgent | undefined;
  readonly timeouts?: PostTimeouts | undefined;
  readonly backoff?: BackoffBounds | undefined;
  /** Where in the interval the ticks fall; the host's own place unless told. */
  readonly phaseMs?: number | undefined;
  /** Something that `state()` tells has changed. */
  readonly onChange?: (() => void) | undefined;
}

export interface ReportRequestOptions {
  /** Out of turn: something could not wait for the interval. */
  readonly urgent?: boolean;
}

export interface AgentState {
  readonly bootId: string;
  readonly startedAt: number;
  /** Reports taken since the start. */
  readonly sequence: number;
  readonly lastReportAt: number | undefined;
  readonly uplink: UplinkState;
  readonly spool: SpoolState;
  readonly probes: readonly ProbeState[];
  readonly postgres: PostgresStatus[];
  /** PostgreSQL servers of this machine that are not watched. */
  readonly discovered: PostgresDiscovered['servers'];
  /** File systems in the last report that had any; undefined before the first. */
  readonly fileSystems: number | undefined;
}

export interface Agent {
  readonly bootId: string;
  /** Takes a report at once and then at its interval. */
  start(): void;
  /** Takes a report now. Resolves when it is in the spool. */
  reportNow(options?: ReportRequestOptions): Promise<void>;
  state(): AgentState;
  /** Sends what can be sent within two seconds; the rest stays in the spool. */
  stop(): Promise<void>;
}

export function createAgent(options: AgentOptions): Agent {
  return new RunningAgent(options);
}

class RunningAgent implements Agent {
  readonly bootId = randomUUID();
  readonly #options: AgentOptions;
  readonly #runner: ProbeRunner;
  readonly #uplink: Uplink;
  readonly #ticker: Ticker;
  readonly #observations: ObservationFilter;
  readonly #startedAt: number;
  #sequence = 0;
  #lastReportAt: number | undefined;
  #postgres: PostgresStatus[] = [];
  #discovered: PostgresDiscovered['servers'] = [];
  #fileSystems: number | undefined;
  #turn: Promise<void> = Promise.resolve();
  #stopping = false;

  constructor(options: AgentOptions) {
    const { identity, spool, clock, log } = options;
    this.#options = options;
    this.#startedAt = clock.wallMs();
    this.#observations = new ObservationFilter(clock);
    const { bootId } = this;
    this.#uplink = new Uplink({ ...options, bootId, describeAgent: () => this.#describe() });
    this.#runner = new ProbeRunner(
      options.probes({
        clockOffset: () => this.#uplink.clockOffsetMs(),
        reportsLost: () => spool.state().lost,
        spoolBytes: () => spool.state().sizeBytes,
      }),
      clock,
      log,
    );
    this.#ticker = new Ticker({
      clock,
      intervalMs: identity.intervalMs,
      phaseMs: options.phaseMs ?? phaseOf(identity.hostname, identity.intervalMs),
      tick: () => this.reportNow(),
    });
  }

  start(): void {
    this.#ticker.start();
    // What an earlier process left comes after the first report of this one: how things are now goes first.
    void this.#turn.then(() => this.#uplink.start());
  }

  reportNow({ urgent = false }: ReportRequestOptions = {}): Promise<void> {
    this.#turn = this.#turn.then(() => (this.#stopping ? undefined : this.#report(urgent)));
    return this.#turn;
  }

  state(): AgentState {
    return {
      bootId: this.bootId,
      startedAt: this.#startedAt,
      sequence: this.#sequence,
      lastReportAt: this.#lastReportAt,
      uplink: this.#uplink.state(),
      spool: this.#options.spool.state(),
      probes: this.#runner.states(),
      postgres: this.#postgres,
      discovered: this.#discovered,
      fileSystems: this.#fileSystems,
    };
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    // A collection under way may still become a report; a probe that hangs is not waited for.
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, FLUSH_TIMEOUT_MS / 2);
    });
    await Promise.race([Promise.all([this.#ticker.stop(), this.#turn]), late]);
    clearTimeout(timer);
    await this.#uplink.stop(FLUSH_TIMEOUT_MS / 2);
    await this.#runner.close();
    await this.#options.spool.close();
  }

  async #report(urgent: boolean): Promise<void> {
    const { clock, spool, onChange } = this.#options;
    // Of the beginning: what a slow probe delays is not when the others looked.
    const takenAt = Math.round(clock.wallMs());
    const monotonicMs = Math.round(clock.monotonicMs() * 1000) / 1000;
    const collection = await this.#runner.collect(monotonicMs);
    this.#notePostgres(collection.observations);
    this.#noteFileSystems(collection);
    const sequence = ++this.#sequence;
    const observations = this.#observations.select(collection.observations, spool.state().lost);
    const parts = [
      `{"bootId":"${this.bootId}","sequence":${sequence},"takenAt":${takenAt},"monotonicMs":${monotonicMs}`,
      urgent ? ',"urgent":true' : '',
      `,"blocks":${JSON.stringify(wireBlocks(collection.blocks))}`,
      observations.length === 0 ? '' : `,"observations":[${observations.join(',')}]`,
      '}',
    ];
    await spool.append({ bootId: this.bootId, sequence, takenAt, json: parts.join(''), layouts: layoutsOf(collection) });
    this.#lastReportAt = takenAt;
    this.#uplink.reportSpooled();
    onChange?.();
  }

  #describe(): string {
    const { version, platform, hostname, site, tags, intervalMs } = this.#options.identity;
    const lostReports = this.#options.spool.state().lost;
    return JSON.stringify({ version, platform, hostname, site, tags, intervalSeconds: intervalMs / 1000, lostReports });
  }

  #noteFileSystems({ blocks }: Collection): void {
    const [layout] = blocks.filter((block) => block.layout.probe === 'filesystem').map((block) => block.layout);
    if (layout !== undefined) this.#fileSystems = layout.series.filter(({ name }) => name === HEADLINE.filesystemSizeBytes).length;
  }

  #notePostgres(observations: readonly Observation[]): void {
    for (const { kind, instance, document } of observations) {
      if (kind === POSTGRES_DISCOVERED) this.#discovered = (document as PostgresDiscovered).servers;
      if (kind !== POSTGRES_REPLICATION) continue;
      const { up, role, version, detail, insufficientPrivilege } = document as Record<string, unknown>;
      const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);
      const status = {
        instance,
        up: up === true,
        role: text(role),
        version: text(version),
        detail: text(detail) ?? (insufficientPrivilege === true ? 'its role lacks pg_monitor: not everything can be seen' : null),
      };
      const at = this.#postgres.findIndex((known) => known.instance === instance);
      if (at < 0) this.#postgres.push(status);
      else this.#postgres[at] = status;
    }
  }
}

function layoutsOf(collection: Collection): Layout[] {
  return collection.blocks.map((block) => block.layout);
}

/**
 * Leaves out observations that did not change: each goes with the first report, when it changes, once an
 * hour, and after reports were lost, for one of them may have carried it.
 */
class ObservationFilter {
  readonly #clock: Clock;
  readonly #said = new Map<string, { digest: string; atMs: number }>();
  #lost = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The observations to report, as JSON. */
  select(observations: readonly Observation[], lost: number): string[] {
    if (lost !== this.#lost) this.#said.clear();
    this.#lost = lost;
    const now = this.#clock.monotonicMs();
    const selected: string[] = [];
    for (const observation of observations) {
      const json = JSON.stringify(observation);
      if (json.length > LIMITS.observationChars || selected.length >= LIMITS.observationsPerReport) continue;
      const key = `${observation.kind}\0${observation.instance}`;
      const digest = createHash('sha1').update(json).digest('base64');
      const said = this.#said.get(key);
      if (said !== undefined && said.digest === digest && now - said.atMs < OBSERVATION_REPEAT_MS) continue;
      this.#said.set(key, { digest, atMs: now });
      selected.push(json);
    }
    return selected;
  }
}
