/** What travels between agent, collector and those who ask: one schema gives types, validation and the OpenAPI description. */
export * from './acknowledgement.ts';
export * from './alert.ts';
export * from './enrolment.ts';
export * from './inventory.ts';
export * from './layout.ts';
export * from './limits.ts';
export * from './lsn.ts';
export * from './number.ts';
export * from './postgres-activity.ts';
export * from './postgres-discovered.ts';
export * from './postgres.ts';
export * from './problem.ts';
export * from './query.ts';
export * from './replication.ts';
export * from './report.ts';
export * from './rule.ts';
export * from './synchronous.ts';
