/** What looking at replication costs, as a program of its own: reads a plan from its argument and prints its figures. See replication.ts. */
import { ReplicationView, Tracks, type ArrivedReport, type NodeRecord } from '@tidemark/collector';
import { formatLsn, type Observation, type PostgresReplication, type PostgresTrack } from '@tidemark/protocol';
import { ManualClock } from '@tidemark/service';
import { seeded } from '../bad-days/raw-agent.ts';
import type { ReplicationFigures, ReplicationPlan } from './replication.ts';

const plan = JSON.parse(process.argv[2]!) as ReplicationPlan;
const WARM_UP_ROUNDS = 20;
const HOT_MS = 2_000;
const PORT = 5_432;

const random = seeded(plan.seed);
const clock = new ManualClock();
const records = new Map<number, NodeRecord>();
for (let id = 1; id <= plan.clusters * plan.instancesPerCluster; id++)
  records.set(id, {
    id,
    name: `db-${id}`,
    state: 'approved',
    site: `site${id % 5}`,
    tags: {},
    createdAt: 0,
    agentVersion: '1',
    intervalSeconds: plan.intervalSeconds,
  });

const view = new ReplicationView({
  clock,
  tracks: new Tracks(),
  keeper: {
    memoryOf: () => ({ topology: {}, changes: undefined }),
    save: () => {},
    record: () => new Set(),
    recent: () => [],
    counts: () => new Map(),
    clusterOf: () => undefined,
  },
  fleet: { byId: (id) => records.get(id) },
  liveness: () => 'up',
});

/** A primary, standbys of it, and the last one behind the last but one. */
class Cluster {
  readonly systemIdentifier: string;
  readonly #first: number;
  /** Positions of the last minute, the newest last: what was written two seconds apart. */
  readonly #positions: bigint[] = [];

  constructor(n: number) {
    this.systemIdentifier = String(7_400_000_000_000_000_000n + BigInt(n));
    this.#first = n * plan.instancesPerCluster + 1;
    let lsn = 0x3000000n;
    for (let i = 0; i < 60; i++) this.#positions.push((lsn += BigInt(Math.floor(random() * 1e6))));
  }

  /** Writes on for an interval; every fourth cluster is idle. */
  advance(steps: number): void {
    for (let i = 0; i < steps; i++) {
      const last = this.#positions.at(-1)!;
      this.#positions.push(Number(this.systemIdentifier.slice(-2)) % 4 === 0 ? last : last + BigInt(Math.floor(random() * 1e6)));
      this.#positions.shift();
    }
  }

  reportOf(member: number, steps: number): ArrivedReport {
    const node = records.get(this.#first + member)!;
    const isPrimary = member === 0;
    const behind = (back: number): string => formatLsn(this.#positions.at(-1 - member - back) ?? this.#positions[0]!);
    const samples: PostgresTrack['runs'][number]['samples'] = Array.from({ length: steps }, (_, i) => {
      const back = steps - 1 - i;
      const head = behind(back);
      return [back * HOT_MS, head, isPrimary ? null : head, isPrimary ? null : head, isPrimary ? null : back * HOT_MS];
    });
    const track: PostgresTrack = {
      systemIdentifier: this.systemIdentifier,
      errorMs: 3,
      runs: [{ role: isPrimary ? 'primary' : 'replica', timeline: 1, samples }],
    };
    const observe = (kind: string, document: unknown): Observation => ({ kind, version: 1, instance: 'main', document });
    const at = clock.wallMs();
    return {
      node,
      bootId: '00000000-0000-4000-8000-000000000000',
      sequence: 1,
      at,
      steadyAt: at,
      receivedAt: at,
      live: true,
      partial: false,
      blocks: [],
      observations: [observe('postgres.replication', this.#documentOf(member, behind(0))), observe('postgres.track', track)],
    };
  }

  #documentOf(member: number, lsn: string): PostgresReplication {
    const isPrimary = member === 0;
    const last = plan.instancesPerCluster - 1;
    const upstream = member === last && member > 1 ? member - 1 : 0;
    const followers = Array.from({ length: last }, (_, i) => i + 1).filter((i) => (i === last && i > 1 ? i - 1 : 0) === member);
    const addressOf = (i: number): string => `10.0.${(this.#first + i) >> 8}.${(this.#first + i) & 255}`;
    return {
      up: true,
      reason: null,
      detail: null,
      role: isPrimary ? 'primary' : 'replica',
      version: '18.1',
      versionNumber: 180_001,
      systemIdentifier: this.systemIdentifier,
      timeline: 1,
      serverTime: null,
      startedAt: null,
      currentLsn: isPrimary ? lsn : null,
      flushLsn: isPrimary ? lsn : null,
      insufficientPrivilege: false,
      reachedAt: { host: '127.0.0.1', port: PORT },
      machine: { hostname: `db-${this.#first + member}`, addresses: [addressOf(member)], port: PORT },
      replicas: followers.map((i) => ({
        pid: 100 + i,
        applicationName: 'walreceiver',
        clientAddr: addressOf(i),
        state: 'streaming',
        syncState: 'async',
        sentLsn: lsn,
        writeLsn: lsn,
        flushLsn: lsn,
        replayLsn: lsn,
        bytesBehind: '0',
        slotName: `slot_${i}`,
        backendStart: '2026-01-01T00:00:00Z',
        slotType: 'physical',
      })),
      receiver: isPrimary
        ? null
        : {
            receiveLsn: lsn,
            replayLsn: lsn,
            lastReplayedTransactionAt: null,
            pauseState: 'not paused',
            status: 'streaming',
            senderHost: addressOf(upstream),
            senderPort: PORT,
            slotName: `slot_${member}`,
            receivedTimeline: 1,
            latestEndLsn: lsn,
            latestEndTime: null,
            pid: 50,
            flushedLsn: lsn,
            writtenLsn: lsn,
            lastMessageAgoMs: 100,
          },
      slots: followers.map((i) => ({
        name: `slot_${i}`,
        type: 'physical',
        active: true,
        activePid: 100 + i,
        restartLsn: lsn,
        confirmedFlushLsn: null,
        walStatus: 'reserved',
      })),
    };
  }
}

const clusters = Array.from({ length: plan.clusters }, (_, n) => new Cluster(n));
const steps = Math.ceil((plan.intervalSeconds * 1_000) / HOT_MS);
const round = (): { reports: ArrivedReport[][]; cpuMs: number } => {
  clock.advance(plan.intervalSeconds * 1_000);
  const reports = clusters.map((cluster) => {
    cluster.advance(steps);
    return Array.from({ length: plan.instancesPerCluster }, (_, member) => cluster.reportOf(member, steps));
  });
  const before = process.cpuUsage();
  for (const ofCluster of reports) for (const report of ofCluster) view.accept(report);
  const { user, system } = process.cpuUsage(before);
  return { reports, cpuMs: (user + system) / 1_000 };
};

for (let i = 0; i < WARM_UP_ROUNDS; i++) round();
const spent: number[] = [];
for (let i = 0; i < plan.rounds; i++) spent.push(round().cpuMs);
const median = spent.toSorted((a, b) => a - b)[Math.floor(spent.length / 2)]!;
const page = view.page();
const streaming = page.clusters.flatMap(({ instances }) => instances).filter(({ state }) => state === 'streaming').length;
const figures: ReplicationFigures = {
  corePercent: (median / (plan.intervalSeconds * 1_000)) * 100,
  microsecondsPerReport: (median * 1_000) / (plan.clusters * plan.instancesPerCluster),
  streaming,
};
process.stdout.write(JSON.stringify(figures));
