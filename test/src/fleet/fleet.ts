/**
 * A simulated fleet: the real agent's code, one instance a node, with simulated probes and a spool in memory.
 * Its first machines in every ten are a PostgreSQL primary and its standby. What a seed makes is always the same.
 */
import { createAgent, MemorySpool, type Agent, type AgentFigures, type Probe } from '@tidemark/agent';
import { phaseOf, type Clock, type Log } from '@tidemark/service';
import { Machine } from './machine.ts';
import { PostgresPair } from './postgres-pair.ts';
import { simulatedProbes, type SimulatedPostgres } from './probes.ts';
import { randomOf } from './random.ts';

export const SCENARIOS = {
  calm: 'everything is well',
  'disk-fills': 'the second disk of every twentieth node is full after five minutes',
  silent: 'every twentieth node falls silent for a minute out of two',
  'replica-stops': 'every second standby stops to replay after half a minute, while its primary writes on',
} as const;
export type Scenario = keyof typeof SCENARIOS;

const DATABASES_EVERY = 10;
const TROUBLED_EVERY = 20;
const DISK_FULL_IN_MS = 5 * 60_000;
const SILENT_FOR_MS = 60_000;
const REPLAY_STOPS_AFTER_MS = 30_000;
/** Small: a thousand of them share a process. */
const SPOOL_BOUNDS = { sizeBytesMax: 512 * 1024, ageMsMax: 3_600_000 };

export interface FleetOptions {
  nodes: number;
  intervalMs: number;
  seed: number;
  scenario: Scenario;
  server: URL;
  clock: Clock;
  log: Log;
}

/** A node as it is to be registered, and what it will report. */
export interface FleetNode {
  readonly name: string;
  readonly machine: Machine;
  readonly probes: (figures: AgentFigures) => Probe[];
}

export interface FleetCounts {
  /** Reports that the collector has committed since the start. */
  acknowledged: number;
  /** Reports that wait in the spools. */
  waiting: number;
  /** Reports given up. */
  lost: number;
  /** Nodes that are up and whose last exchange did not end well, by what the uplink calls it. */
  troubled: Map<string, number>;
  silent: number;
}

export function simulateNodes({ nodes, seed, scenario, clock }: Pick<FleetOptions, 'nodes' | 'seed' | 'scenario' | 'clock'>): FleetNode[] {
  const startedAt = clock.wallMs();
  const digits = Math.max(4, String(nodes).length);
  const nameOf = (i: number): string => `sim-${String(i + 1).padStart(digits, '0')}`;
  const fleet: FleetNode[] = [];
  let pair: PostgresPair | undefined;
  for (let i = 0; i < nodes; i++) {
    const name = nameOf(i);
    const place = i % DATABASES_EVERY;
    const isPrimary = place === 0 && i + 1 < nodes;
    const isStandby = place === 1;
    if (isPrimary) {
      const stops = scenario === 'replica-stops' && (i / DATABASES_EVERY) % 2 === 0;
      pair = new PostgresPair({
        random: randomOf(seed, `${name} postgres`),
        standby: nameOf(i + 1),
        startedAt,
        replayStopsAt: stops ? startedAt + REPLAY_STOPS_AFTER_MS : undefined,
      });
    }
    const machine = new Machine({
      random: randomOf(seed, name),
      name,
      isDatabase: isPrimary || isStandby,
      startedAt,
      diskFullInMs: scenario === 'disk-fills' && i % TROUBLED_EVERY === 0 ? DISK_FULL_IN_MS : undefined,
    });
    const watched = pair;
    const role = isPrimary ? 'primary' : 'replica';
    const postgres: SimulatedPostgres | undefined =
      watched === undefined || !(isPrimary || isStandby)
        ? undefined
        : {
            reading: (now) => (isPrimary ? watched.primary(now) : watched.standby(now)),
            track: (from, now) => watched.track(role, from, now),
          };
    fleet.push({ name, machine, probes: (figures) => simulatedProbes({ machine, figures, postgres }) });
  }
  return fleet;
}

export class Fleet {
  readonly #options: FleetOptions;
  readonly #members: {
    node: FleetNode;
    token: string;
    agent: Agent;
    spool: MemorySpool;
    timer: NodeJS.Timeout | undefined;
    silent: boolean;
  }[] = [];
  /** Of agents that have ended. */
  #past = { acknowledged: 0, lost: 0 };
  #stopping = false;

  constructor(options: FleetOptions, nodes: readonly FleetNode[], tokens: readonly string[]) {
    this.#options = options;
    nodes.forEach((node, i) => {
      const token = tokens[i]!;
      this.#members.push({ node, token, ...this.#createAgent(node, token), timer: undefined, silent: false });
    });
  }

  /** Starts every agent at its place in the interval: a fleet does not come up at one moment. */
  start(): void {
    const { intervalMs, scenario } = this.#options;
    this.#members.forEach((member, i) => {
      member.timer = setTimeout(
        () => {
          member.agent.start();
          if (scenario === 'silent' && i % TROUBLED_EVERY === 0) this.#planSilence(i);
        },
        phaseOf(member.node.name, intervalMs),
      );
    });
  }

  counts(): FleetCounts {
    const counts: FleetCounts = { ...this.#past, waiting: 0, troubled: new Map(), silent: 0 };
    for (const { agent, silent } of this.#members) {
      if (silent) counts.silent++;
      const { sequence, spool, uplink } = agent.state();
      counts.waiting += spool.reports;
      counts.lost += spool.lost;
      counts.acknowledged += sequence - spool.reports - spool.lost;
      if (!silent && uplink.phase !== 'connected' && uplink.phase !== 'starting')
        counts.troubled.set(uplink.phase, (counts.troubled.get(uplink.phase) ?? 0) + 1);
    }
    return counts;
  }

  /** Every agent sends what it can within its two seconds. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const { timer } of this.#members) clearTimeout(timer);
    await Promise.all(this.#members.map(async ({ agent }) => agent.stop()));
  }

  #planSilence(i: number): void {
    const member = this.#members[i]!;
    member.timer = setTimeout(() => void this.#toggle(i), SILENT_FOR_MS);
  }

  async #toggle(i: number): Promise<void> {
    const member = this.#members[i]!;
    if (!member.silent) {
      member.silent = true;
      await member.agent.stop();
    } else {
      const { sequence, spool } = member.agent.state();
      this.#past.acknowledged += sequence - spool.reports - spool.lost;
      this.#past.lost += spool.lost + spool.reports;
      Object.assign(member, this.#createAgent(member.node, member.token), { silent: false });
      if (!this.#stopping) member.agent.start();
    }
    if (!this.#stopping) this.#planSilence(i);
  }

  #createAgent({ name, machine, probes }: FleetNode, token: string): { agent: Agent; spool: MemorySpool } {
    const { server, clock, log, intervalMs, seed } = this.#options;
    const spool = new MemorySpool(SPOOL_BOUNDS, clock);
    const agent = createAgent({
      identity: {
        version: 'simulated',
        platform: 'linux-x64',
        hostname: name,
        site: machine.site,
        tags: { role: machine.role },
        intervalMs,
      },
      server,
      token: () => token,
      probes,
      spool,
      clock,
      random: randomOf(seed, `${name} uplink`),
      log,
    });
    return { agent, spool };
  }
}
