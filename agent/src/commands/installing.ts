/**
 * The commands that installers use, and whoever installs by hand: their names, options and examples. What they do is loaded when it is
 * asked for, so that the agent that runs carries none of it.
 */
import { addOptions, EXIT, type LoadedOptions } from '@tidemark/service';
import type { Command } from 'commander';
import { AGENT_OPTIONS, type AgentOptionValues, type Surroundings } from '../config.ts';
import type { ConfigureFlags } from './configure.ts';
import type { ConfirmFlags } from './confirm.ts';
import type { EnrollFlags } from './enroll.ts';
import type { RotateFlags } from './rotate.ts';

export interface CommandContext {
  readonly version: string;
  readonly surroundings: Surroundings;
  /** [0, 1) */
  readonly random: () => number;
  /** The options of the configuration file (named by `config`, else the usual one) and the environment. */
  readonly load: (config: string | undefined) => LoadedOptions<AgentOptionValues>;
  readonly say: (said: { output: string; errors?: string; exitCode: number }) => void;
}

const CONFIG = 'configuration file (default: /etc/tidemark/agent.yaml; environment: TIDEMARK_CONFIG)';

export function addInstalling(program: Command, context: CommandContext): void {
  const { load, say, surroundings } = context;
  addOptions(
    program.command('configure').description('put options into the configuration file; the rest of it stays as it is'),
    AGENT_OPTIONS,
  )
    .option('--unset <option>', 'take an option out; may be repeated', (name: string, before: string[] | undefined) => [
      ...(before ?? []),
      name,
    ])
    .option('--json', 'for programs')
    .addHelpText('after', CONFIGURE_EXAMPLES)
    .action(async (flags: ConfigureFlags) => {
      const { configure } = await import('./configure.ts');
      say({ output: configure(flags, surroundings), exitCode: EXIT.ok });
    });
  program
    .command('check-config')
    .description('what is wrong with the configuration, the files that it names included')
    .option('--config <file>', CONFIG)
    .addHelpText('after', CHECK_EXAMPLES)
    .action(async ({ config }: { config?: string }) => {
      const { checkConfig } = await import('./check-config.ts');
      say({ output: checkConfig(load(config), surroundings), exitCode: EXIT.ok });
    });
  program
    .command('enroll')
    .description('make this machine a node of a collector')
    .option('--config <file>', CONFIG)
    .option('--secret-file <file>', "file for this agent's secret; made (mode 0600) when it is not there")
    .option('--token-file <file>', 'file with an enrolment string; deleted once it was used')
    .option('--timeout <seconds>', 'how long to try where the collector cannot be reached (default 15)')
    .option('--json', 'for programs')
    .addHelpText('after', ENROLL_EXAMPLES)
    .action(async ({ config, ...flags }: EnrollFlags & { config?: string }) => {
      const { enroll } = await import('./enroll.ts');
      const { values, file } = load(config);
      say({ output: await enroll(values, flags, { ...context, file }), exitCode: EXIT.ok });
    });
  program
    .command('rotate')
    .description("replace this agent's secret; the old one holds until the new one was used")
    .option('--config <file>', CONFIG)
    .option('--secret-file <file>', 'file that holds the secret')
    .option('--timeout <seconds>', 'how long to try where the collector cannot be reached (default 15)')
    .option('--json', 'for programs')
    .addHelpText('after', ROTATE_EXAMPLES)
    .action(async ({ config, ...flags }: RotateFlags & { config?: string }) => {
      const { rotate } = await import('./rotate.ts');
      say({ output: await rotate(load(config).values, flags, context), exitCode: EXIT.ok });
    });
  program
    .command('confirm')
    .description('wait until the collector has confirmed a report of the running agent, and say what is watched')
    .option('--config <file>', CONFIG)
    .option('--since <milliseconds>', 'only an agent started, and a report confirmed, after this moment (since 1970)')
    .option('--timeout <seconds>', 'how long to wait (default 30)')
    .option('--json', 'for programs')
    .addHelpText('after', CONFIRM_EXAMPLES)
    .action(async ({ config, ...flags }: ConfirmFlags & { config?: string }) => {
      const { confirm } = await import('./confirm.ts');
      say(await confirm(load(config).values, flags, surroundings));
    });
}

const CONFIGURE_EXAMPLES = `
What is given is changed; comments, order and the rest stay. Tags, PostgreSQL servers and HTTP
endpoints are added to those that are there. The file is made when it is missing (mode 0640), and
nothing is written when something is wrong.

Examples:
  tidemark-agent configure --server https://tidemark.example --site berlin --tag role=db
  tidemark-agent configure --config ./agent.yaml --interval 60 --unset proxy --json`;
const CHECK_EXAMPLES = `
Prints every option and where it comes from. Exits with 0, or with 78 and every mistake.

Examples:
  tidemark-agent check-config
  tidemark-agent check-config --config ./agent.yaml`;
const ENROLL_EXAMPLES = `
The secret is made on this machine and never shown; the collector gets its hash. Without an enrolment
string the node waits until a person approves it, unless the collector lets everybody in. Run again it
changes nothing. The string's fingerprint pins the collector's own certificate authority.

Exits with 0 when the node is approved, and when it waits to be; 20 when the collector's name is not
known, 21 when it cannot be reached, 22 when its certificate is not to be trusted, 23 when it does not
answer as a collector, 33 when it refuses this machine or this token.

Examples:
  tidemark-agent enroll --secret-file /etc/tidemark/agent.token
  tidemark-agent enroll --secret-file /etc/tidemark/agent.token --token-file ./enrolment --json`;
const ROTATE_EXAMPLES = `
Exits like enroll. When it fails, the secret that was in the file is still there and still good.

Examples:
  tidemark-agent rotate --secret-file /etc/tidemark/agent.token && systemctl restart tidemark-agent
  tidemark-agent rotate --secret-file /var/lib/tidemark/agent/token`;
const CONFIRM_EXAMPLES = `
Exits with 0 when a report is confirmed, and when the node waits to be approved (--json says which),
31 when nothing was confirmed in time, 33 when the collector refuses the node.

Examples:
  tidemark-agent confirm
  tidemark-agent confirm --since "$(date +%s000)" --timeout 60 --json`;
