#!/usr/bin/env node
/** tidemark-collector: the one place that reads arguments, environment and this installation's paths. */
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { fileURLToPath } from 'node:url';
import { runProgram } from '@tidemark/service';
import { runCommandLine } from './commands/program.ts';

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));
const { version } = JSON.parse(readFileSync(path('../package.json'), 'utf8')) as { version: string };

await runProgram('tidemark-collector', () =>
  runCommandLine(
    {
      version,
      hostname: hostname(),
      environment: process.env,
      migrationsDir: path('../migrations'),
      consoleDir: path('../../packages/console/dist'),
      runbooksDir: path('../../docs/runbooks'),
      dashboardsDir: path('../../dashboards/json'),
      installersDir: path('../../installers'),
      out: (text) => void process.stdout.write(text),
      err: (text) => void process.stderr.write(text),
      tellParent: (message) => void process.send?.(message),
    },
    process.argv.slice(2),
  ),
);
