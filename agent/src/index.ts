/** What tests of the whole may use of the agent. */
export { createPostgresProbes, type PostgresConfig, type PostgresProbeOptions } from './probes/postgres.ts';
export { ProbeRunner, type Collection } from './probes/runner.ts';
