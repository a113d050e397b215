/** The agent as a library: for the simulated fleet and for tests, which run it with probes of their own. */
export * from './agent.ts';
export type { Probe, ProbeContext } from './probes/probe.ts';
export { noData } from './probes/probe.ts';
export { BlockRecorder, metric, type Metric } from './probes/recorder.ts';
export { CPU_USAGE_RATIO, MEMORY_TOTAL_BYTES, MEMORY_USAGE_RATIO, recordFilesystem, UPTIME_SECONDS } from './probes/headline.ts';
export { createProbes, type ProbeOptions } from './probes/index.ts';
export { createPostgresProbes, type PostgresConfig, type PostgresProbeOptions } from './probes/postgres.ts';
export { answersAsPostgres } from './probes/postgres/discovery-handshake.ts';
export type { Identity, Reading } from './probes/postgres/reading.ts';
export { recordUp, ReplicaNames } from './probes/postgres/series.ts';
export type { ServerFacts, Statistics, StatisticsGroup } from './probes/postgres/statistics/group.ts';
export { statisticsGroups } from './probes/postgres/statistics/index.ts';
export { ProbeRunner, type Collection } from './probes/runner.ts';
export { openDiskSpool, type DiskSpoolOptions } from './spool/disk-spool.ts';
export { MemorySpool } from './spool/memory-spool.ts';
export type { NewReport, Spool, SpoolBounds, SpooledReport, SpoolState } from './spool/spool.ts';
export { createConnections } from './uplink/http-post.ts';
export type { UplinkPhase, UplinkState } from './uplink/uplink.ts';
