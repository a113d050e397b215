/** What tests of the console need: a fake fleet, the interface over it, and a server with the collector's policy. */
export * from './fleet.ts';
export * from './mock-alerts.ts';
export * from './mock-api.ts';
export * from './mock-replication.ts';
export * from './serve.ts';
