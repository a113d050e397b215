/** How a cluster that does not exist is made out of the little that is told of it: everything else is as when all is well. */
import type { ReplicationCluster, ReplicationEvent, ReplicationInstance, ReplicationLag, ReplicationSlot } from '@tidemark/protocol';

const MIB = 2 ** 20;
const HOUR = 3_600;

export interface Making {
  nowMs: number;
  iso: (secondsAgo: number) => string;
}

export function lagOf(
  { iso }: Making,
  seconds: number,
  lower: number,
  upper: number | null,
  more: Partial<ReplicationLag> = {},
): ReplicationLag {
  return { seconds, lowerSeconds: lower, upperSeconds: upper, bytes: 0, source: 'primary', at: iso(1), unknownSince: null, ...more };
}

export type Sketch = Partial<ReplicationInstance> & Pick<ReplicationInstance, 'name'>;

function instanceOf(making: Making, sketch: Sketch): ReplicationInstance {
  const isPrimary = sketch.role === 'primary';
  const watched = sketch.watched ?? true;
  const lag = sketch.lag === undefined ? (isPrimary ? null : lagOf(making, 0, 0, 1.6)) : sketch.lag;
  return {
    id: `${sketch.name}/main`,
    node: watched ? sketch.name : null,
    site: watched ? 'lisbon' : '',
    instance: watched ? 'main' : null,
    watched,
    role: 'replica',
    state: isPrimary ? 'running' : 'streaming',
    since: making.iso(9 * 24 * HOUR),
    why: isPrimary ? 'It is not in recovery and its WAL position moves.' : 'Its receiver streams and what comes is replayed.',
    version: watched ? '17.6' : null,
    timeline: 3,
    upstream: null,
    upstreamId: sketch.upstream === undefined || sketch.upstream === null ? null : `${sketch.upstream}/main`,
    upstreamBy: sketch.upstream === undefined ? null : 'slot',
    upstreamAddress: null,
    syncState: isPrimary ? null : 'async',
    lag,
    edgeLag: sketch.edgeLag === undefined ? lag : sketch.edgeLag,
    transportBytes: lag === null ? null : 0,
    replayBytes: lag === null ? null : 0,
    catchupSeconds: null,
    slotLostInSeconds: null,
    diskFullInSeconds: null,
    catchup: isPrimary || lag === null ? 'unknown' : 'caught_up',
    delaySeconds: null,
    walBytesPerSecond: 2.4 * MIB,
    lsn: '3A/5C0000D8',
    seenAt: making.iso(2),
    ...sketch,
  };
}

export function slotOf(instance: string, name: string, more: Partial<ReplicationSlot> = {}): ReplicationSlot {
  return {
    name,
    instance,
    instanceId: `${instance}/main`,
    type: 'physical',
    database: null,
    active: true,
    usedBy: null,
    walStatus: 'reserved',
    invalidationReason: null,
    inactiveSince: null,
    retainedBytes: 4 * MIB,
    heldSeconds: 2,
    lag: null,
    safeBytes: null,
    lostInSeconds: null,
    diskFullInSeconds: null,
    ...more,
  };
}

type EventSketch = Partial<ReplicationEvent> & Pick<ReplicationEvent, 'kind' | 'text'> & { ago: number };

export interface ClusterSketch {
  id: number;
  name: string;
  primary: string | null;
  certainty?: ReplicationCluster['primary']['certainty'];
  why?: string;
  instances: Sketch[];
  slots?: ReplicationSlot[];
  events?: EventSketch[];
  more?: Partial<ReplicationCluster>;
}

export function clusterOf(making: Making, sketch: ClusterSketch): ReplicationCluster {
  const systemIdentifier = `74251010933244${String(10_000 + sketch.id)}`;
  const instances = sketch.instances.map((each) => instanceOf(making, each));
  const primary = instances.find(({ name }) => name === sketch.primary);
  return {
    systemIdentifier,
    name: sketch.name,
    primary: {
      name: primary?.name ?? null,
      id: primary?.id ?? null,
      node: primary?.node ?? null,
      instance: primary?.instance ?? null,
      certainty: sketch.certainty ?? 'sure',
      why: sketch.why ?? 'Its agent reports it as one, and nobody else is.',
      since: primary?.since ?? null,
      timeline: primary?.timeline ?? null,
    },
    splitBrain: false,
    withoutPrimarySeconds: null,
    rpoBytes: 0,
    syncStandbysRequired: null,
    syncStandbysPresent: null,
    instances,
    slots: sketch.slots ?? [],
    events: (sketch.events ?? []).map(({ ago, ...event }, place) => ({
      id: `${systemIdentifier}-${place}`,
      at: making.iso(ago),
      systemIdentifier,
      instance: null,
      instanceId: event.instance === undefined || event.instance === null ? null : `${event.instance}/main`,
      severity: 'info',
      details: {},
      ...event,
    })),
    ...sketch.more,
  };
}
