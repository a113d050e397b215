/** What people and programs can ask the collector: the documents behind `/api/telemetry/*`, as schemas that also make the OpenAPI description. */
import { Type, type Static } from 'typebox';
import { Claim } from './enrolment.ts';
import { Labels } from './layout.ts';
import { Tags } from './report.ts';

const Maybe = <T extends import('typebox').TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
/** ISO 8601 in UTC. */
const Time = Type.String({ description: 'ISO 8601, UTC' });

export const NodeState = Type.Union([Type.Literal('pending'), Type.Literal('approved'), Type.Literal('revoked'), Type.Literal('retired')]);
export type NodeState = Static<typeof NodeState>;

export const Health = Type.Object({
  status: Type.Union([Type.Literal('healthy'), Type.Literal('unhealthy')]),
  timestamp: Time,
  uptime: Type.Number({ description: 'Seconds since the collector started.' }),
  reasons: Type.Optional(Type.Array(Type.String())),
});
export type Health = Static<typeof Health>;

export const ComponentStatus = Type.Union([
  Type.Literal('healthy'),
  Type.Literal('degraded'),
  Type.Literal('unhealthy'),
  Type.Literal('inactive'),
]);
export const ComponentHealth = Type.Object({
  name: Type.String({ description: 'database, ingest, evaluation, notification or agents' }),
  status: ComponentStatus,
  detail: Type.String(),
  since: Time,
});
export type ComponentHealth = Static<typeof ComponentHealth>;
export const TelemetryHealth = Type.Object({ status: ComponentStatus, components: Type.Array(ComponentHealth) });
export type TelemetryHealth = Static<typeof TelemetryHealth>;

export const OverviewMount = Type.Object({
  mountpoint: Type.String(),
  usageRatio: Maybe(Type.Number()),
  sizeBytes: Maybe(Type.Number()),
  availableBytes: Maybe(Type.Number()),
  readOnly: Maybe(Type.Boolean()),
  deviceError: Maybe(Type.Boolean()),
});
export const OverviewReplica = Type.Object({ name: Type.String(), state: Type.String(), bytesBehind: Maybe(Type.Number()) });
export const OverviewPostgres = Type.Object({
  instance: Type.String(),
  role: Maybe(Type.Union([Type.Literal('primary'), Type.Literal('replica')])),
  up: Maybe(Type.Boolean()),
  replicas: Type.Array(OverviewReplica),
});
export const OverviewNode = Type.Object({
  name: Type.String(),
  site: Type.String(),
  tags: Tags,
  state: NodeState,
  up: Type.Boolean({ description: 'Heard from within its grace.' }),
  lastSeenAt: Maybe(Time),
  clockOffsetSeconds: Maybe(Type.Number({ description: "Agent's clock less the collector's." })),
  cpu: Type.Object({ usageRatio: Maybe(Type.Number()) }),
  memory: Type.Object({ usageRatio: Maybe(Type.Number()), totalBytes: Maybe(Type.Number()) }),
  disk: Type.Object({ usageRatio: Maybe(Type.Number({ description: 'Of the fullest file system.' })), mounts: Type.Array(OverviewMount) }),
  uptimeSeconds: Maybe(Type.Number()),
  postgres: Type.Array(OverviewPostgres),
  postgresFound: Type.Optional(
    Type.Integer({
      description: 'PostgreSQL servers of its machine that its agent found and does not watch; left out when there is none.',
    }),
  ),
  claim: Type.Optional(Claim),
});
export type OverviewNode = Static<typeof OverviewNode>;
export const Overview = Type.Object({ at: Time, nodes: Type.Array(OverviewNode) });
export type Overview = Static<typeof Overview>;

export const NodeSummary = Type.Object({
  id: Type.Integer(),
  name: Type.String(),
  site: Type.String(),
  tags: Tags,
  state: NodeState,
  createdAt: Time,
  lastSeenAt: Maybe(Time),
  agentVersion: Maybe(Type.String()),
  intervalSeconds: Maybe(Type.Number()),
  claim: Type.Optional(Maybe(Claim)),
});
export type NodeSummary = Static<typeof NodeSummary>;
export const NodeList = Type.Object({ nodes: Type.Array(NodeSummary) });
export type NodeList = Static<typeof NodeList>;

export const ObservationView = Type.Object({
  kind: Type.String(),
  version: Type.Integer(),
  instance: Type.String(),
  at: Time,
  since: Time,
  document: Type.Unknown(),
});
export type ObservationView = Static<typeof ObservationView>;
export const SeriesLatest = Type.Object({
  metric: Type.String(),
  labels: Labels,
  unit: Type.String(),
  type: Type.String(),
  value: Maybe(Type.Union([Type.Number(), Type.String()])),
});
export const NodeDetail = Type.Intersect([
  NodeSummary,
  Type.Object({
    up: Type.Boolean(),
    lostReports: Maybe(Type.Integer()),
    clockOffsetSeconds: Maybe(Type.Number()),
    latest: Type.Array(SeriesLatest),
    observations: Type.Array(ObservationView),
  }),
]);
export type NodeDetail = Static<typeof NodeDetail>;

/** A point is [epoch milliseconds, value or null]; values that JSON has no number for are the wire's words. */
export const SeriesPoint = Type.Tuple([Type.Number(), Maybe(Type.Union([Type.Number(), Type.String()]))]);
export const SeriesResult = Type.Object({
  metric: Type.String(),
  labels: Type.Record(Type.String(), Type.String()),
  unit: Type.String(),
  type: Type.String(),
  points: Type.Array(SeriesPoint),
  extremes: Type.Optional(
    Type.Array(Type.Tuple([Maybe(Type.Number()), Maybe(Type.Number())]), {
      description: 'With `extremes=true`: the least and the greatest sample of each point of a gauge, in the order of the points.',
    }),
  ),
});
export type SeriesResult = Static<typeof SeriesResult>;
export const SeriesResponse = Type.Object({
  from: Time,
  to: Time,
  stepSeconds: Maybe(Type.Number()),
  series: Type.Array(SeriesResult),
  truncated: Type.Boolean({ description: 'More series matched than are returned.' }),
});
export type SeriesResponse = Static<typeof SeriesResponse>;

/** The names of the metrics that the collector itself reads, and so the only ones it has to know. */
export const HEADLINE = {
  cpuUsageRatio: 'tidemark_cpu_usage_ratio',
  memoryUsageRatio: 'tidemark_memory_usage_ratio',
  memoryTotalBytes: 'node_memory_MemTotal_bytes',
  filesystemUsageRatio: 'tidemark_filesystem_usage_ratio',
  filesystemSizeBytes: 'node_filesystem_size_bytes',
  filesystemAvailableBytes: 'node_filesystem_avail_bytes',
  filesystemReadOnly: 'node_filesystem_readonly',
  filesystemDeviceError: 'node_filesystem_device_error',
  uptimeSeconds: 'tidemark_uptime_seconds',
  postgresUp: 'pg_up',
} as const;
