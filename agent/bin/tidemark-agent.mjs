#!/usr/bin/env node
/** The name under which npm finds the agent in a checkout; it runs the one file that nodes get. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const bundle = fileURLToPath(new URL('../../installers/dist/tidemark-agent.cjs', import.meta.url));
if (existsSync(bundle)) createRequire(import.meta.url)(bundle);
else {
  process.stderr.write('tidemark-agent: it has not been built yet. In the checkout: npm run build\n');
  process.exitCode = 1;
}
