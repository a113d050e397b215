/** How a process of ours runs: options, lifecycle, log, clock, backoff, files. */
export * from './backoff.ts';
export * from './clock.ts';
export * from './configure.ts';
export * from './failure.ts';
export * from './files.ts';
export * from './lifecycle.ts';
export * from './log.ts';
export * from './nearest.ts';
export * from './options.ts';
export * from './schema-mistakes.ts';
export * from './terminal.ts';
export * from './ticker.ts';
