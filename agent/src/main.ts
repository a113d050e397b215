#!/usr/bin/env node
/** The program `tidemark-agent`: its command line, and the only place of the agent that reads arguments and environment. */
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { uptime } from 'node:os';
import { addOptions, EXIT, loadOptions, runProgram, type LoadedOptions } from '@tidemark/service';
import { Command, CommanderError } from 'commander';
import type { AdoptFlags } from './commands/postgres-adopt.ts';
import type { CheckFlags } from './commands/check-replication.ts';
import { addInstalling } from './commands/installing.ts';
import type { SetupFlags } from './commands/postgres-setup.ts';
import { AGENT_OPTIONS, agentConfig, defaultConfigFile, type AgentOptionValues, type Surroundings } from './config.ts';
import type { PostgresConfig } from './probes/postgres.ts';

// Dead network mounts hold a thread each: there must be others for the disk and for DNS. Read by libuv at its first use.
process.env['UV_THREADPOOL_SIZE'] ??= '16';

/** Put in by the bundler. */
declare const TIDEMARK_VERSION: string | undefined;
const version =
  typeof TIDEMARK_VERSION === 'string'
    ? TIDEMARK_VERSION
    : (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }).version;

const surroundings: Surroundings = { environment: process.env, platform: process.platform, uid: process.getuid?.() };

async function main(): Promise<number> {
  let exitCode: number = EXIT.ok;
  const options = (command: Command): AgentOptionValues =>
    loadOptions('tidemark-agent', AGENT_OPTIONS, {
      flags: command.opts(),
      environment: process.env,
      defaultFile: defaultConfigFile(surroundings),
    }).values;
  const say = ({ output, errors = '', exitCode: code }: { output: string; errors?: string; exitCode: number }): void => {
    process.stderr.write(errors);
    process.stdout.write(output);
    exitCode = code;
  };
  const program = new Command('tidemark-agent')
    .description('Watches this machine and its PostgreSQL servers and reports to a Tidemark collector.')
    .version(version)
    .helpCommand(false)
    .showHelpAfterError('(see --help)')
    .exitOverride();
  addOptions(program.command('run').description('report to a collector until stopped'), AGENT_OPTIONS)
    .addHelpText('after', RUN_EXAMPLES)
    .action(async (_flags, command: Command) => {
      const { run } = await import('./commands/run.ts');
      exitCode = await run(options(command), { version, surroundings, uptimeSeconds: uptime });
    });
  addOptions(program.command('collect').description('take one report and print it; needs no collector'), AGENT_OPTIONS)
    .option('--json', 'for programs: every series and observation')
    .addHelpText('after', COLLECT_EXAMPLES)
    .action(async (_flags, command: Command) => {
      const { collect } = await import('./commands/collect.ts');
      say(await collect(options(command), surroundings, command.opts()['json'] === true, version));
    });
  addOptions(program.command('status').description('what the running agent does, since when, and what troubles it'), AGENT_OPTIONS)
    .option('--json', 'for programs')
    .addHelpText('after', STATUS_EXAMPLES)
    .action(async (_flags, command: Command) => {
      const { status } = await import('./commands/status.ts');
      say(status(options(command), surroundings, Date.now(), command.opts()['json'] === true));
    });
  addCheck(program, say);
  addPostgres(program, (output) => say({ output, exitCode: EXIT.ok }));
  addInstalling(program, { version, surroundings, random: () => randomInt(2 ** 32) / 2 ** 32, load: loadConfigured, say });
  try {
    await program.parseAsync(process.argv);
  } catch (error) {
    // Commander has said what was wrong, or printed the help that was asked for.
    if (!(error instanceof CommanderError)) throw error;
    // Of a monitoring plugin 2 means that something is critical, so a slip on its command line is 3.
    return error.exitCode === 0 ? EXIT.ok : process.argv[2] === 'check' ? PLUGIN_UNKNOWN : EXIT.usage;
  }
  return exitCode;
}

const PLUGIN_UNKNOWN = 3;

function addCheck(program: Command, say: (said: { output: string; errors: string; exitCode: number }) => void): void {
  const check = program.command('check').description('look at something once and end like a monitoring plugin').helpCommand(false);
  check
    .command('replication')
    .description('how replication stands, asked of the PostgreSQL servers themselves; needs no collector')
    .argument('[role]', 'what the server should be: primary (or master), or replica')
    .option('--url <url>', 'the server, without a password (default: those of the configuration file, else those found on this machine)')
    .option('--name <name>', 'what to call it; without --url: the one of this name in the configuration file')
    .option('--password-file <file>', 'file whose first line is the password (else PGPASSFILE or ~/.pgpass)')
    .option('--format <format>', 'table, json or status (default "table")')
    .option('--warning-seconds <seconds>', 'lag of a replica, also like 90s or 5m (default 60)')
    .option('--critical-seconds <seconds>', 'lag of a replica (default 300)')
    .option('--warning-bytes <bytes>', 'WAL that a replica has not replayed, also like 500MB (default 100MiB)')
    .option('--critical-bytes <bytes>', 'the same, critical (default: none)')
    .option('--replicas <count>', 'a primary with fewer replicas is a warning (default 1)')
    .option('--config <file>', 'configuration file of the agent (environment: TIDEMARK_CONFIG)')
    .addHelpText('after', CHECK_EXAMPLES)
    .action(async (role: string | undefined, flags: CheckFlags, command: Command) => {
      const { checkReplication } = await import('./commands/check-replication.ts');
      const configured = (): readonly PostgresConfig[] => configuredServers(command.opts());
      say(await checkReplication(role, flags, { surroundings, configured }));
    });
}

function addPostgres(program: Command, say: (output: string) => void): void {
  const postgres = program.command('postgres').description('make a PostgreSQL server ready to be watched').helpCommand(false);
  postgres
    .command('setup')
    .description('the role by which the agent watches a server, with the least rights: prints what to run, or runs it')
    .option('--url <url>', 'the server, as a superuser, without a password (default: the only one found on this machine)')
    .option('--role <role>', 'name of the role (default "tidemark")')
    .option('--password-file <file>', "file for the role's password; made, with a new password, when it is not there")
    .option('--apply', 'do it, instead of printing it')
    .addHelpText('after', SETUP_EXAMPLES)
    .action(async (flags: SetupFlags) => {
      const { postgresSetup } = await import('./commands/postgres-setup.ts');
      say(await postgresSetup(flags, surroundings));
    });
  postgres
    .command('adopt')
    .description('have the servers of this machine watched that are not yet, where the rights for it exist')
    .option('--config <file>', 'configuration file to add them to (environment: TIDEMARK_CONFIG)')
    .option('--yes', 'do it, instead of saying what would be done')
    .option('--owner <user>', "the system's user that the agent runs as (default tidemark-agent)")
    .option('--json', 'for programs')
    .addHelpText('after', ADOPT_EXAMPLES)
    .action(async (flags: AdoptFlags & { config?: string }) => {
      const { postgresAdopt } = await import('./commands/postgres-adopt.ts');
      const { values, file } = loadConfigured(flags.config);
      say(await postgresAdopt(values, flags, { surroundings, file: file ?? defaultConfigFile(surroundings) }));
    });
}

/** The options of the configuration file and the environment. */
function loadConfigured(config: string | undefined): LoadedOptions<AgentOptionValues> {
  return loadOptions('tidemark-agent', AGENT_OPTIONS, {
    flags: config === undefined ? {} : { config },
    environment: process.env,
    defaultFile: defaultConfigFile(surroundings),
  });
}

/** The PostgreSQL servers that are configured. */
function configuredServers({ config }: { config?: string }): readonly PostgresConfig[] {
  return agentConfig(loadConfigured(config).values, surroundings).postgres;
}

const CHECK_EXAMPLES = `
Exits with 0 (OK), 1 (warning), 2 (critical) or 3 (unknown: it could not look). Lag is judged by
its lower bound. See docs/how-to/check-replication.md.

Examples:
  tidemark-agent check replication
  tidemark-agent check replication replica --url postgresql://tidemark@db2:5432/postgres
  tidemark-agent check replication --format status
  tidemark-agent check replication --format json | jq '.servers[].lag.seconds'`;
const SETUP_EXAMPLES = `
What it prints is a script for psql. The superuser's own password, where one is asked for, comes from
PGPASSFILE or ~/.pgpass. A role that is there already is brought up to date.

Examples:
  tidemark-agent postgres setup
  sudo -u postgres tidemark-agent postgres setup --apply --password-file /var/lib/postgresql/tidemark-password
  tidemark-agent postgres setup --url postgresql://postgres@db1:5432/postgres --apply --password-file ./password`;
const ADOPT_EXAMPLES = `
As root it logs in to each server over its socket as the server's own system user, and makes a role
named as the agent's user, with pg_monitor. Where pg_hba.conf lets that user in (peer) no password is
needed; else one is made, in a file beside the configuration. Exits with 0 and says of each server what
was done, or why it could not be, and what to run instead.

Examples:
  sudo tidemark-agent postgres adopt
  sudo tidemark-agent postgres adopt --yes`;
const RUN_EXAMPLES = `
Every option can also stand in the configuration file (/etc/tidemark/agent.yaml unless --config names
another) under its name in camel case, or in the environment as TIDEMARK_NAME. Flags win over the
environment, the environment over the file. Without a token the agent asks to join, and its reports
wait until a person has approved it; tidemark-agent status says how.

Examples:
  tidemark-agent run --server http://collector:5000
  tidemark-agent run --server https://tidemark.example --token-file token --site berlin --tag role=db \\
    --postgres postgres://monitor@localhost:5432/postgres --http http://localhost:8080/actuator/health`;
const COLLECT_EXAMPLES = `
Exits with 0, or with 1 when a probe failed.

Examples:
  tidemark-agent collect
  tidemark-agent collect --postgres postgres://monitor@localhost:5432/postgres
  tidemark-agent collect --http https://shop.example/health
  tidemark-agent collect --json | jq '.series[] | select(.metric == "tidemark_cpu_usage_ratio").value'`;
const STATUS_EXAMPLES = `
Exits with 0 when all is well, 1 when something troubles the agent, 3 when none is running.

Examples:
  tidemark-agent status
  tidemark-agent status --data-dir /var/lib/tidemark/agent --json`;

void runProgram('tidemark-agent', main);
