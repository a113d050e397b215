/** A whole collector for tests, in this process and on a database that the test brings, and its command line beside it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OperationalFailure, loadOptions, type LoadedOptions } from '@tidemark/service';
import { pino } from 'pino';
import { onTestFinished } from 'vitest';
import { startCollector, type StartedCollector } from './collector.ts';
import { runCommandLine } from './commands/program.ts';
import { collectorOptions, type CollectorConfig } from './config.ts';
import type { DatabaseAddress } from './db/pool.ts';

const MIGRATIONS = fileURLToPath(new URL('../migrations', import.meta.url));

/** An address as a user would write it. */
export function urlOf(address: DatabaseAddress, changes: { password?: string; database?: string; user?: string } = {}): string {
  if ('url' in address) return address.url;
  const { host, port, user, password, database } = { ...address, ...changes };
  return `postgresql://${user}:${encodeURIComponent(password)}@localhost/${database}?host=${encodeURIComponent(host)}&port=${port}`;
}

/** A directory that is gone when the test is over. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-collector-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export interface TestCollector extends StartedCollector {
  stop: () => Promise<void>;
}

export interface TestCollectorOptions {
  dataDir: string;
  databaseUrl: string;
  listen?: string;
  publicUrl?: string;
  /** The configuration file. */
  file?: string;
  installersDir?: string;
}

/** Starts a collector, as `run` does; what it began is undone when it is stopped, when the start fails, and when the test is over. */
export async function startTestCollector({
  listen = '127.0.0.1:0',
  dataDir,
  databaseUrl,
  publicUrl,
  file,
  installersDir,
}: TestCollectorOptions): Promise<TestCollector> {
  const steps: (() => Promise<void> | void)[] = [];
  const state = { stopping: false };
  const stop = async (): Promise<void> => {
    state.stopping = true;
    for (let step = steps.pop(); step !== undefined; step = steps.pop()) await step();
  };
  onTestFinished(stop);
  const load = (): LoadedOptions<CollectorConfig> =>
    loadOptions('tidemark-collector', collectorOptions, {
      flags: { listen, dataDir, ...(publicUrl === undefined ? {} : { publicUrl }), ...(file === undefined ? {} : { config: file }) },
      environment: { DATABASE_URL: databaseUrl },
    });
  try {
    const started = await startCollector({
      configuration: load(),
      reread: load,
      version: '0.0.0',
      migrationsDir: MIGRATIONS,
      consoleDir: join(dataDir, 'no-console'),
      runbooksDir: join(dataDir, 'no-runbooks'),
      dashboardsDir: join(dataDir, 'no-dashboards'),
      installersDir: installersDir ?? join(dataDir, 'no-installers'),
      log: pino({ level: 'silent' }),
      lifecycle: {
        onStop: (_, step) => void steps.push(step),
        onReload: () => {},
        get stopping() {
          return state.stopping;
        },
      },
    });
    return { ...started, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

export interface CommandResult {
  code: number;
  out: string;
  err: string;
}

/** Runs the command line as main.ts does. Anything but an OperationalFailure is a defect and is thrown. */
export async function commandLine(argv: readonly string[], environment: Record<string, string> = {}): Promise<CommandResult> {
  const result = { code: 0, out: '', err: '' };
  try {
    result.code = await runCommandLine(
      {
        version: '0.0.0',
        hostname: 'collector.example',
        environment: { TIDEMARK_CONFIG: '/dev/null', ...environment },
        migrationsDir: MIGRATIONS,
        consoleDir: '/nonexistent',
        runbooksDir: '/nonexistent',
        dashboardsDir: '/nonexistent',
        installersDir: '/nonexistent',
        out: (text) => void (result.out += text),
        err: (text) => void (result.err += text),
        tellParent: () => {},
      },
      argv,
    );
  } catch (error) {
    if (!(error instanceof OperationalFailure)) throw error;
    result.err += `${error.message}\n`;
    result.code = error.exitCode;
  }
  return result;
}
