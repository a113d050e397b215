/** What other workspaces (the tests) use of the collector. */
export * from './db/embedded/index.ts';
export { assembleApi, type AssembledApi } from './openapi.ts';
