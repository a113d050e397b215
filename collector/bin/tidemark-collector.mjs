#!/usr/bin/env node
/** The name under which npm finds the collector in a checkout; it is there before anything was built. */
import { existsSync } from 'node:fs';

const main = new URL('../dist/main.js', import.meta.url);
if (existsSync(main)) await import(main.href);
else {
  process.stderr.write('tidemark-collector: it has not been built yet. In the checkout: npm run build\n');
  process.exitCode = 1;
}
