/** What other workspaces (the tests) use of the collector. */
export * from './db/embedded/index.ts';
export { TestAuthority, testCertificate, type IssuedCertificate } from './http/tls-testing.ts';
export { assembleApi, type AssembledApi } from './openapi.ts';
export { Evaluator } from './alerts/evaluator.ts';
export type { NodeRecord } from './fleet/node.ts';
export { IncidentBook } from './incidents/book.ts';
export { LiveView } from './live/live-view.ts';
export { compileRules } from './rules/compile.ts';
export { LayeredRules } from './rules/rule-set.ts';
export type { AcceptedReport, BlockLayout, SeriesInfo } from './stream/stream.ts';
export type { ArrivedReport } from './reports/intake.ts';
export { Tracks } from './replication/tracks.ts';
export { ReplicationView } from './replication/view.ts';
export { clusterTopology } from './replication/topology.ts';
export type { ClusterTopology, MemberMemory, Sighting } from './replication/model.ts';
export { REPLICATION_SERIES } from './replication/series.ts';
export { DOWNLOADS_STYLE, downloadsPage, type DownloadsPage } from './downloads/page.ts';
