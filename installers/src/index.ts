/** What puts the agent on a node: for now, the agent as one file with the flags it runs with. */
export { AGENT_FLAGS, bundleAgent, type BundleResult } from './bundle.ts';
export { npmPackages } from './commands/bundle.ts';
export { unpackRelease } from './release/archive.ts';
export { releaseFor } from './release/layout.ts';
export { findNpm } from './runtime/npm.ts';
