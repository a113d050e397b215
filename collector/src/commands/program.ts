/** The collector's command line, put together. It reads nothing by itself: arguments, environment and streams are given. */
import { Command, CommanderError } from 'commander';
import {
  EXIT,
  OperationalFailure,
  addOptions,
  createLog,
  loadOptions,
  printOptions,
  runUntilStopped,
  systemClock,
  type LoadedOptions,
} from '@tidemark/service';
import { startCollector } from '../collector.ts';
import { COLLECTOR_FILE, collectorOptions, localUrl, parseListen, withDatabaseUrl, type CollectorConfig } from '../config.ts';
import { readMigrations } from '../db/migrate.ts';
import { Database } from '../db/pool.ts';
import { makeUsable } from '../db/usable.ts';
import { adminTokenFile, resetAdminToken } from '../http/admin-token.ts';
import { authorityFile } from '../http/tls-authority.ts';
import { checkTlsFiles, localTrust } from '../http/tls.ts';
import { alertCommands, silenceCommands } from './alerts.ts';
import { enrollCommands } from './enroll.ts';
import { connectTo, type CollectorAddress } from './client.ts';
import { healthCommand } from './health.ts';
import { installationCommands } from './installation.ts';
import { nodeCommands, tokenCommands, type Terminal } from './nodes.ts';
import { notifyCommands } from './notify.ts';
import { ruleCommands } from './rules.ts';

export interface ProgramContext extends Terminal {
  version: string;
  environment: Record<string, string | undefined>;
  migrationsDir: string;
  consoleDir: string;
  runbooksDir: string;
  dashboardsDir: string;
  installersDir: string;
  /** Tells the process that started this one that it is ready, when there is one. */
  tellParent: (message: object) => void;
  /** Takes the exit code of what was run. */
  exit: (code: number) => void;
}

const STOP_TIMEOUT_MS = 45_000;

export function buildProgram(context: ProgramContext): Command {
  const program = new Command('tidemark-collector')
    .description("Tidemark's collector: takes in what agents report, stores it, and answers who asks.")
    .version(context.version)
    .exitOverride()
    // A command that has commands of its own (`enroll`) leaves them their options.
    .enablePositionalOptions()
    .configureOutput({ writeOut: context.out, writeErr: context.err })
    .showHelpAfterError('(--help shows what there is)');
  const load = (command: Command): LoadedOptions<CollectorConfig> =>
    withDatabaseUrl(
      loadOptions('tidemark-collector', collectorOptions, {
        flags: command.opts(),
        environment: context.environment,
        defaultFile: COLLECTOR_FILE,
      }),
    );

  addOptions(program.command('run').description('run the collector'), collectorOptions)
    .addHelpText(
      'after',
      `
Every option can also be given as TIDEMARK_… in the environment or as a line of the file.

Examples:
  tidemark-collector run
  tidemark-collector run --listen 127.0.0.1:5055 --public-url https://monitor.example
  TIDEMARK_DATABASE_URL='postgresql://tidemark:…@db/tidemark' tidemark-collector run --data-dir /var/lib/tidemark
`,
    )
    .action(async (_: unknown, command: Command) => context.exit(await run(() => load(command), context)));

  addOptions(program.command('migrate').description("bring an external database to this version's schema, and leave"), collectorOptions)
    .addHelpText('after', "\nExample:\n  TIDEMARK_DATABASE_URL='postgresql://owner:…@db/tidemark' tidemark-collector migrate\n")
    .action(async (_: unknown, command: Command) => migrateOnly(load(command).values, context));

  const config = program.command('config').description('the configuration');
  addOptions(config.command('check').description('check the configuration and print what is in force'), collectorOptions)
    .addHelpText('after', '\nExample:\n  tidemark-collector config check --config /etc/tidemark/collector.yaml\n')
    .action((_: unknown, command: Command) => {
      const loaded = load(command);
      checkTlsFiles(loaded.values, systemClock);
      context.out(`${printOptions(collectorOptions, loaded)}\n`);
    });

  installationCommands(program, config, { ...context, load });

  const token = program.command('token').description('the admin token');
  addOptions(token.command('reset').description('make a new admin token; a running collector takes it up, and all sessions end'), {
    dataDir: collectorOptions.dataDir,
  })
    .option('--show', 'print the token itself to standard output')
    .addHelpText('after', '\nExample:\n  tidemark-collector token reset --data-dir /var/lib/tidemark\n')
    .action((options: { show?: true }, command: Command) => {
      const { dataDir } = load(command).values;
      const fresh = resetAdminToken(dataDir);
      if (options.show) context.out(`${fresh}\n`);
      context.err(
        `The new admin token is in ${adminTokenFile(dataDir)}. The old one, and every session made with it, is worth nothing from now on.\n`,
      );
    });

  const connectOptions = (command: Command): Command =>
    command
      .option('--server <url>', 'the running collector (default: this machine, the port of --listen; environment: TIDEMARK_SERVER)')
      .option(
        '--token-file <file>',
        'file with an admin token (default: admin-token in the data directory; environment: TIDEMARK_API_TOKEN_FILE)',
      )
      .option('--ca-file <file>', 'authority as PEM that is trusted besides the public ones (environment: TIDEMARK_CA_FILE)')
      .option('--data-dir <directory>', "the collector's data directory")
      .option('--listen <address>', 'where the collector listens')
      .option('--config <file>', "the collector's YAML file");
  const addressOf = (command: Command): CollectorAddress & { tokenFile: string; publicUrl: string | undefined } => {
    const flags = command.opts<Partial<Record<'server' | 'tokenFile' | 'caFile' | 'dataDir' | 'listen' | 'config', string>>>();
    const { values } = loadOptions('tidemark-collector', collectorOptions, {
      flags: {
        ...(flags.dataDir && { dataDir: flags.dataDir }),
        ...(flags.listen && { listen: flags.listen }),
        ...(flags.config && { config: flags.config }),
      },
      environment: context.environment,
      defaultFile: COLLECTOR_FILE,
    });
    const named = flags.server ?? context.environment['TIDEMARK_SERVER'];
    const url = named ?? localUrl(parseListen(values.listen), values.tls !== 'off');
    if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
      throw new OperationalFailure(`--server ${JSON.stringify(url)} is not an address; it looks like http://collector:5000.`, EXIT.usage);
    const caFile = flags.caFile ?? context.environment['TIDEMARK_CA_FILE'];
    // A collector that was started with flags has left its authority there; public ones count besides.
    const local = localTrust(values) ?? { file: authorityFile(values.dataDir), exact: false };
    const trust = caFile !== undefined ? { file: caFile, exact: false } : named === undefined || !local.exact ? local : undefined;
    const tokenFile = flags.tokenFile ?? context.environment['TIDEMARK_API_TOKEN_FILE'] ?? adminTokenFile(values.dataDir);
    return { url: url.replace(/\/+$/, ''), trust, tokenFile, publicUrl: values.publicUrl };
  };
  const connect = (command: Command): { client: ReturnType<typeof connectTo>; url: string } => {
    const address = addressOf(command);
    return { client: connectTo(address), url: address.publicUrl ?? address.url };
  };
  healthCommand(program, { ...context, addressOf }, connectOptions);
  enrollCommands(program, { ...context, connect }, connectOptions);
  nodeCommands(program, { ...context, connect }, connectOptions);
  alertCommands(program, { ...context, connect }, connectOptions);
  silenceCommands(program, { ...context, connect }, connectOptions);
  ruleCommands(program, { ...context, connect }, connectOptions);
  notifyCommands(program, { ...context, connect }, connectOptions);
  tokenCommands(program, { ...context, connect }, connectOptions);
  return program;
}

async function run(load: () => LoadedOptions<CollectorConfig>, context: ProgramContext): Promise<number> {
  const configuration = load();
  const config = configuration.values;
  const log = createLog('tidemark-collector', config.logLevel, config.logFormat);
  return runUntilStopped({ log, stopTimeoutMs: STOP_TIMEOUT_MS }, async (lifecycle) => {
    // Windows has no SIGTERM: its service host says so by closing standard input.
    if (context.environment['TIDEMARK_STOP_WITH_STDIN'] === '1')
      process.stdin.resume().once('close', () => lifecycle.stop('standard input was closed'));
    const {
      url,
      listen,
      adminTokenFile: file,
      trust,
      embedded,
    } = await startCollector({
      configuration,
      reread: load,
      version: context.version,
      migrationsDir: context.migrationsDir,
      consoleDir: context.consoleDir,
      runbooksDir: context.runbooksDir,
      dashboardsDir: context.dashboardsDir,
      installersDir: context.installersDir,
      runtimeDir: context.environment['XDG_RUNTIME_DIR'],
      log,
      lifecycle,
    });
    context.tellParent({
      kind: 'ready',
      url,
      listen,
      dataDir: config.dataDir,
      adminTokenFile: file,
      ...(trust === undefined ? {} : { trust }),
      ...(embedded === undefined ? {} : { agentPostgres: embedded.agentAccess }),
    });
  });
}

async function migrateOnly(config: CollectorConfig, context: ProgramContext): Promise<void> {
  if (config.databaseUrl === undefined) {
    context.err('No database is configured. The embedded one is brought up to date when the collector starts.\n');
    return;
  }
  // What goes wrong is said once, as the failure's sentence.
  const log = createLog('tidemark-collector', 'error', config.logFormat);
  const database = new Database({ address: { url: config.databaseUrl }, clock: systemClock, log });
  try {
    const applied = await makeUsable(database, readMigrations(context.migrationsDir), log, false);
    context.out(applied.length === 0 ? 'The database is up to date.\n' : `Applied: ${applied.join(', ')}.\n`);
  } finally {
    await database.close();
  }
}

/** Runs the command line. Resolves with the exit code. */
export async function runCommandLine(context: Omit<ProgramContext, 'exit'>, argv: readonly string[]): Promise<number> {
  let code: number = EXIT.ok;
  try {
    await buildProgram({ ...context, exit: (given) => void (code = given) }).parseAsync([...argv], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  }
  return code;
}
