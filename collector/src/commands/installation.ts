/**
 * What installing a collector, upgrading it and going back are made of, each a command of its own for scripts and for
 * people: its configuration, its port, its backups, and whether it has come up.
 */
import { networkInterfaces } from 'node:os';
import { EXIT, OperationalFailure, addOptions, codeOf, configureFile, createLog, systemClock, type LoadedOptions } from '@tidemark/service';
import type { Command } from 'commander';
import {
  BACKUP_DIRECTORY,
  keepNewest,
  listBackups,
  makeBackup,
  megabytes,
  planBackup,
  readBackup,
  restoreBackup,
} from '../backup/index.ts';
import { COLLECTOR_FILE, collectorOptions, localUrl, parseListen, type CollectorConfig } from '../config.ts';
import { adminTokenFile } from '../http/admin-token.ts';
import { ensureListenable } from '../http/listen.ts';
import { findPortHolder } from '../http/port-holder.ts';
import type { Terminal } from './nodes.ts';
import { table } from './table.ts';
import { waitUntilHealthy } from './wait.ts';
import { welcome } from './welcome.ts';

export interface InstallationContext extends Terminal {
  version: string;
  load: (command: Command) => LoadedOptions<CollectorConfig>;
}

const FILE_HEADER = `# Tidemark's collector. Every option: tidemark-collector run --help. After a change: systemctl restart tidemark-collector
`;
const FILE_MODE = 0o640;
const PROGRESS_MS = 3_000;
const WAIT_SECONDS = 300;

export function installationCommands(program: Command, config: Command, context: InstallationContext): void {
  configureCommand(program, context);
  listenCommand(config, context);
  backupCommands(program, context);
  waitCommand(program, context);
}

function configureCommand(program: Command, { out, err }: InstallationContext): void {
  addOptions(
    program.command('configure').description('change options in the configuration file; everything else in it stays'),
    collectorOptions,
  )
    .option('--json', 'print what changed as JSON')
    .addHelpText('after', '\nExample:\n  tidemark-collector configure --listen 0.0.0.0:5055 --public-url http://monitor.example:5055\n')
    .action((_: unknown, command: Command) => {
      const flags = command.opts<{ config?: string; json?: true }>();
      const file = flags.config ?? COLLECTOR_FILE;
      let changed;
      try {
        changed = configureFile('tidemark-collector', collectorOptions, { file, flags, mode: FILE_MODE, header: FILE_HEADER });
      } catch (error) {
        if (codeOf(error) === undefined) throw error;
        const why = codeOf(error) === 'ENOENT' ? 'its directory does not exist' : `${codeOf(error)}; this needs root`;
        throw new OperationalFailure(`${file} cannot be written: ${why}.`, EXIT.noRights, { cause: error });
      }
      if (flags.json) return out(`${JSON.stringify({ file, changed })}\n`);
      const shown = (value: unknown): string => (value === undefined ? 'not set' : JSON.stringify(value));
      for (const { option, before, after } of changed) out(`${option}: ${shown(after)} (was ${shown(before)})\n`);
      if (changed.length === 0) err(`Nothing to change in ${file}.\n`);
    });
}

function listenCommand(config: Command, { out, load }: InstallationContext): void {
  addOptions(config.command('listen').description('check that the collector can listen where it is told to, and say who has the port'), {
    listen: collectorOptions.listen,
  })
    .addHelpText('after', '\nExample:\n  tidemark-collector config listen --listen 0.0.0.0:5000\n')
    .action(async (_: unknown, command: Command) => {
      const listen = parseListen(load(command).values.listen);
      try {
        await ensureListenable(listen);
      } catch (error) {
        const holder = codeOf((error as Error).cause) === 'EADDRINUSE' ? findPortHolder(listen.port) : undefined;
        if (holder === undefined) throw error;
        throw new OperationalFailure(
          `Port ${listen.port} is taken by ${holder.name} (process ${holder.pid}${holder.command === '' ? '' : `: ${holder.command}`}). Choose another, for example --listen ${await freePortNear(listen)}, and tell agents with --public-url http://THIS-MACHINE:PORT; or stop that program.`,
          EXIT.portInUse,
          { cause: error },
        );
      }
      out(`${listen.host.includes(':') ? `[${listen.host}]` : listen.host}:${listen.port} is free.\n`);
    });
}

/** 5055 for 5000, as the documents have it; else the next ones. */
async function freePortNear({ host, port }: { host: string; port: number }): Promise<string> {
  for (const other of [port === 5_000 ? 5_055 : port + 1, port + 2, port + 3, port + 4]) {
    try {
      await ensureListenable({ host, port: other });
      return `${host.includes(':') ? `[${host}]` : host}:${other}`;
    } catch {
      // Taken as well.
    }
  }
  return `${host}:PORT`;
}

interface BackupFlags {
  to: string;
  check?: true;
  of?: string;
}

function backupCommands(program: Command, context: InstallationContext): void {
  const { out, err, load } = context;
  const log = (config: CollectorConfig): ReturnType<typeof createLog> => createLog('tidemark-collector', 'warn', config.logFormat);
  const dataOptions = { dataDir: collectorOptions.dataDir };

  addOptions(
    program.command('backup').description('copy the data of a stopped collector: embedded database, keys, admin token'),
    dataOptions,
  )
    .option('--to <directory>', 'where backups lie', BACKUP_DIRECTORY)
    .option('--check', 'only say how much it is and whether there is room; the collector may run')
    .option('--of <version>', 'the version whose data it is (default: this one)')
    .addHelpText(
      'after',
      '\nExample:\n  systemctl stop tidemark-collector && tidemark-collector backup && systemctl start tidemark-collector\n',
    )
    .action(async (flags: BackupFlags, command: Command) => {
      const { values } = load(command);
      if (flags.check) {
        const { sizeBytes } = planBackup({ dataDir: values.dataDir, backupDir: flags.to });
        return err(`A backup of ${values.dataDir} takes ${megabytes(sizeBytes)}; ${flags.to} has room for it.\n`);
      }
      const database = values.databaseUrl === undefined && values.databaseUrlFile === undefined ? 'embedded' : 'external';
      const { directory, manifest } = await makeBackup({
        dataDir: values.dataDir,
        backupDir: flags.to,
        version: flags.of ?? context.version,
        database,
        clock: systemClock,
        log: log(values),
        onProgress: progress(err, 'copied'),
      });
      err(`Backup of ${megabytes(manifest.sizeBytes)} in ${directory}.\n`);
      if (database === 'external') err('The database itself is not in it: it is an external one, and its backup is its operator’s.\n');
      out(`${directory}\n`);
    });

  addOptions(program.command('backups').description('list the backups of this collector, newest first'), dataOptions)
    .option('--to <directory>', 'where backups lie', BACKUP_DIRECTORY)
    .option('--keep <count>', 'remove all but the newest')
    .addHelpText('after', '\nExamples:\n  tidemark-collector backups\n  tidemark-collector backups --keep 2\n')
    .action((flags: { to: string; keep?: string }, command: Command) => {
      const { dataDir } = load(command).values;
      if (flags.keep !== undefined) {
        if (!/^[1-9]\d{0,3}$/.test(flags.keep))
          throw new OperationalFailure(`--keep ${flags.keep}: a number from 1 to 9999 is needed.`, EXIT.usage);
        for (const { directory } of keepNewest(flags.to, dataDir, Number(flags.keep))) err(`Removed ${directory}.\n`);
      }
      const rows = listBackups(flags.to, dataDir).map(({ directory, manifest: { version, madeAt, sizeBytes } }) => [
        madeAt,
        version,
        megabytes(sizeBytes),
        directory,
      ]);
      if (rows.length === 0) err(`No backups in ${flags.to}.\n`);
      else out(`${table(['MADE AT', 'VERSION', 'SIZE', 'DIRECTORY'], rows)}\n`);
    });

  addOptions(program.command('restore <backup>').description('put a backup in the place of the data of a stopped collector'), dataOptions)
    .addHelpText(
      'after',
      '\nExample:\n  tidemark-collector restore /var/backups/tidemark/20261121T154309Z-0.1.0\n\nAn installed collector is better restored by its installer, which stops it, goes back to the version of the backup and starts it:\n  sudo /opt/tidemark-collector/current/collector-install-linux.sh --restore BACKUP\n',
    )
    .action(async (path: string, _: unknown, command: Command) => {
      const { values } = load(command);
      const backup = readBackup(path);
      await restoreBackup({ backup, dataDir: values.dataDir, log: log(values), onProgress: progress(err, 'restored') });
      err(`${values.dataDir} is what it was at ${backup.manifest.madeAt}, of Tidemark ${backup.manifest.version}.\n`);
      if (backup.manifest.database === 'external') err('The external database was not in this backup and is as it is.\n');
    });
}

/** A line every few seconds: a copy of many gigabytes takes minutes. */
function progress(err: (text: string) => void, what: string): (doneBytes: number, sizeBytes: number) => void {
  let saidMs = performance.now();
  return (doneBytes, sizeBytes) => {
    if (performance.now() - saidMs < PROGRESS_MS) return;
    saidMs = performance.now();
    err(`  ${megabytes(doneBytes)} of ${megabytes(sizeBytes)} ${what}\n`);
  };
}

function waitCommand(program: Command, { out, err, load }: InstallationContext): void {
  addOptions(program.command('wait').description('wait until the collector of this machine is healthy'), {
    listen: collectorOptions.listen,
    tls: collectorOptions.tls,
    publicUrl: collectorOptions.publicUrl,
    dataDir: collectorOptions.dataDir,
  })
    .option('--timeout <seconds>', 'how long', String(WAIT_SECONDS))
    .option('--since <seconds>', 'it must have been started after this time (seconds since 1970)')
    .option('--welcome', 'then say where it is, how to sign in and how the first node is added')
    .addHelpText('after', '\nExample:\n  tidemark-collector wait --timeout 60\n')
    .action(async (flags: { timeout: string; since?: string; welcome?: true }, command: Command) => {
      for (const [name, value] of [
        ['--timeout', flags.timeout],
        ['--since', flags.since ?? '0'],
      ] as const)
        if (!/^\d{1,12}$/.test(value)) throw new OperationalFailure(`${name} ${value}: a whole number of seconds is needed.`, EXIT.usage);
      const { values } = load(command);
      const listen = parseListen(values.listen);
      const url = localUrl(listen, values.tls !== 'off');
      const waited = await waitUntilHealthy({
        url,
        timeoutMs: Number(flags.timeout) * 1_000,
        sinceMs: Number(flags.since ?? '0') * 1_000,
        clock: systemClock,
        say: err,
      });
      if (waited !== undefined)
        throw new OperationalFailure(`The collector is not healthy after ${flags.timeout} s: ${waited}.`, EXIT.serviceNotStarted);
      if (!flags.welcome) return err(`The collector at ${url} is healthy.\n`);
      const addresses = Object.values(networkInterfaces())
        .flatMap((list) => list ?? [])
        .filter(({ internal, family, address }) => !internal && family === 'IPv4' && !address.startsWith('169.254.'))
        .map(({ address }) => address);
      out(
        welcome({
          listen,
          https: values.tls !== 'off',
          selfMade: values.tls === 'self-made',
          publicUrl: values.publicUrl,
          addresses,
          adminTokenFile: adminTokenFile(values.dataDir),
          enrollment: values.enrollment,
          isWindows: process.platform === 'win32',
        }),
      );
    });
}
