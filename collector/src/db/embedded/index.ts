/** The embedded PostgreSQL, and the parts of it that the cluster harness of the tests is made of. */
export { chooseAccount, identityOf, thisMachine, type Account, type Machine } from './account.ts';
export { embeddedBinaries, findPackagedBinaries, materialiseBinaries, type PackagedBinaries } from './binaries.ts';
export { initialiseDataDirectory } from './data-directory.ts';
export { writeFresh } from './fresh-file.ts';
export { holdIdleDataDirectory } from './idle.ts';
export { lockDataDirectory } from './lock.ts';
export { launchPostgres, type PostgresExit, type PostgresProcess, type StopMode } from './postgres-process.ts';
export { startEmbeddedPostgres, type EmbeddedPostgres, type EmbeddedPostgresOptions } from './server.ts';
