/** What the bench, the simulated fleet and later tests use of the end-to-end ground. */
export * from './postgres/cluster.ts';
