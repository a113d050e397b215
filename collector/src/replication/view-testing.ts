/**
 * A replication view for tests, with agents that report a small world of servers (topology-testing) to it: what it is told
 * is what real agents say, what it keeps goes through JSON, and it can be started anew on what was kept.
 */
import { formatLsn, type Observation, type PostgresTrack, type ReplicationCluster, type ReplicationEventKind } from '@tidemark/protocol';
import { ManualClock } from '@tidemark/service';
import type { NodeRecord } from '../fleet/node.ts';
import type { Liveness } from '../live/live-view.ts';
import type { ArrivedReport, DerivedBlock } from '../reports/intake.ts';
import type { ChangeMemory, InstanceId, MemberMemory, ReplicationChange } from './model.ts';
import { START, SYSTEM_IDENTIFIER, World, type Server } from './topology-testing.ts';
import { Tracks } from './tracks.ts';
import { ReplicationView, type ReplicationKeeper } from './view.ts';

const HOT_MS = 2_000;

type Kept = { topology: Readonly<Record<InstanceId, MemberMemory>>; changes: ChangeMemory | undefined };

/** What is kept over a restart, as JSON. */
export class MemoryKeeper implements ReplicationKeeper {
  readonly #kept = new Map<string, string>();
  readonly events = new Map<string, ReplicationChange>();
  readonly #counts = new Map<string, Map<ReplicationEventKind, number>>();
  readonly #clusterOf = new Map<InstanceId, string>();

  memoryOf(systemIdentifier: string): Kept {
    const kept = this.#kept.get(systemIdentifier);
    return kept === undefined ? { topology: {}, changes: undefined } : (JSON.parse(kept) as Kept);
  }
  save(systemIdentifier: string, topology: Kept['topology'], changes: ChangeMemory): void {
    this.#kept.set(systemIdentifier, JSON.stringify({ topology, changes }));
    for (const id of Object.keys(topology)) this.#clusterOf.set(id, systemIdentifier);
  }
  record(changes: readonly ReplicationChange[]): ReadonlySet<string> {
    const added = new Set<string>();
    for (const change of changes) {
      if (!this.events.has(change.key)) added.add(change.key);
      this.events.set(change.key, change);
      const counts = this.#counts.get(change.systemIdentifier) ?? new Map<ReplicationEventKind, number>();
      this.#counts.set(change.systemIdentifier, counts.set(change.kind, (counts.get(change.kind) ?? 0) + 1));
    }
    return added;
  }
  recent(systemIdentifier: string, limit: number): ReplicationCluster['events'] {
    return [...this.events.values()]
      .filter((event) => event.systemIdentifier === systemIdentifier)
      .slice(-limit)
      .map(({ key, kind, at, severity, text, details, instanceId, instanceName }) => ({
        id: key,
        kind,
        at: new Date(at).toISOString(),
        systemIdentifier,
        instance: instanceName ?? null,
        instanceId: instanceId ?? null,
        severity,
        text,
        details: { ...details },
      }));
  }
  counts(systemIdentifier: string): ReadonlyMap<string, number> {
    return this.#counts.get(systemIdentifier) ?? new Map();
  }
  clusterOf(id: InstanceId): string | undefined {
    return this.#clusterOf.get(id);
  }
}

export interface ReportOptions {
  readonly live?: boolean;
  /** Milliseconds since it was taken. */
  readonly agoMs?: number;
  /** Other documents than the server's own. */
  readonly observations?: readonly Observation[];
}

export class ViewWorld {
  readonly world = new World();
  readonly clock = new ManualClock(START);
  readonly keeper = new MemoryKeeper();
  readonly records = new Map<number, NodeRecord>();
  readonly misfits: string[] = [];
  /** Nodes that are not heard. */
  readonly silent = new Set<number>();
  tracks = new Tracks();
  view = this.#start();
  #sequence = 0;
  readonly #latest = new Map<string, { node: NodeRecord; observation: Observation; at: number }>();

  #start(): ReplicationView {
    return new ReplicationView({
      clock: this.clock,
      tracks: this.tracks,
      keeper: this.keeper,
      fleet: { byId: (id) => this.records.get(id) },
      liveness: ({ id }): Liveness => (this.silent.has(id) ? 'silent' : 'up'),
      onMisfit: ({ name }, { kind }) => this.misfits.push(`${name} ${kind}`),
    });
  }

  /** A collector that knows nothing but what was kept: memories, and what each server said last. */
  restart(): void {
    this.tracks = new Tracks();
    this.view = this.#start();
    for (const { node, observation: said, at } of this.#latest.values()) this.view.restore(node, said, at);
  }

  pass(ms: number): void {
    this.world.pass(ms);
    this.clock.advance(ms);
  }

  /** Each server's agent reports. Returns the blocks by server. */
  round(ms = 10_000): Map<string, DerivedBlock[]> {
    this.pass(ms);
    return new Map(
      [...this.world.servers.values()]
        .filter(({ agent }) => agent)
        .map((server) => [server.name, this.view.accept(this.reportOf(server, ms))]),
    );
  }

  recordOf({ node, options }: Server): NodeRecord {
    let record = this.records.get(node.id);
    if (record === undefined) {
      const intervalSeconds = (options.intervalMs ?? 10_000) / 1_000;
      record = {
        id: node.id,
        name: node.name,
        state: 'approved',
        site: options.site ?? '',
        tags: {},
        createdAt: 0,
        agentVersion: '1',
        intervalSeconds,
      };
      this.records.set(node.id, record);
    }
    return record;
  }

  /** As it would be taken now. */
  reportOf(server: Server, spanMs = 10_000, { live = true, agoMs = 0, observations }: ReportOptions = {}): ArrivedReport {
    const node = this.recordOf(server);
    const at = this.clock.wallMs() - agoMs;
    const said = observations ?? [
      observation('postgres.replication', server.instance, this.world.document(server)),
      ...(server.running ? [observation('postgres.track', server.instance, trackOf(server, spanMs))] : []),
    ];
    if (live)
      for (const one of said)
        if (one.kind !== 'postgres.track') this.#latest.set(`${node.id} ${one.kind} ${one.instance}`, { node, observation: one, at });
    return {
      node,
      bootId: '00000000-0000-4000-8000-000000000000',
      sequence: ++this.#sequence,
      at,
      steadyAt: at,
      receivedAt: this.clock.wallMs(),
      live,
      partial: false,
      blocks: [],
      observations: said,
    };
  }

  get cluster(): ReplicationCluster {
    const [cluster] = this.view.find(SYSTEM_IDENTIFIER);
    if (cluster === undefined) throw new Error('There is no cluster.');
    return cluster;
  }

  kinds(): string[] {
    return [...this.keeper.events.values()].map(({ kind }) => kind);
  }
}

export const observation = (kind: string, instance: string, document: unknown): Observation => ({
  kind,
  version: 1,
  instance,
  document: JSON.parse(JSON.stringify(document)) as unknown,
});

/** It stood where it stands, all the time. */
export function trackOf(server: Server, spanMs: number): PostgresTrack {
  const lsn = formatLsn(server.lsn);
  const isPrimary = server.role === 'primary';
  return {
    systemIdentifier: SYSTEM_IDENTIFIER,
    errorMs: 3,
    runs: [
      {
        role: server.role,
        timeline: server.timeline,
        samples: [Math.max(0, spanMs - HOT_MS), 0].map((agoMs) => [
          agoMs,
          lsn,
          isPrimary ? null : lsn,
          isPrimary ? null : lsn,
          isPrimary ? null : agoMs,
        ]),
      },
    ],
  };
}

/** The value of a series of a block; undefined when it has none such. */
export function valueOf(
  blocks: readonly DerivedBlock[] | undefined,
  metric: string,
  labels: Readonly<Record<string, string>> = {},
): number | null | undefined {
  for (const { layout, values } of blocks ?? []) {
    const position = layout.series.findIndex(
      (series) =>
        series.name === metric &&
        Object.entries(labels).every(([name, value]) => series.labels.some(([key, text]) => key === name && text === value)),
    );
    if (position !== -1) return values[position];
  }
  return undefined;
}
