/** `tidemark-collector nodes …` and `tokens …`: who belongs to the fleet, asked of and told to the running collector. */
import { approveCommand, shellWord, type NodeList, type NodeSummary } from '@tidemark/protocol';
import { EXIT, OperationalFailure } from '@tidemark/service';
import { Option, type Command } from 'commander';
import { parseDuration } from '../rules/duration.ts';
import type { CollectorClient } from './client.ts';
import { printable, table } from './table.ts';

/** Where commands write: results to standard output, everything else to standard error. */
export interface Terminal {
  out: (text: string) => void;
  err: (text: string) => void;
  /** What this machine is called. */
  hostname: string;
}

export interface FleetCommandsContext extends Terminal {
  /** The running collector, and what it is called from outside. */
  connect: (command: Command) => { client: CollectorClient; url: string };
}

interface WithToken {
  node: NodeSummary;
  token: string;
}

const nodePath = (name: string, step: string): string => `/api/telemetry/nodes/${encodeURIComponent(name)}/${step}`;

/** Adds `--server` and the like to a command that speaks to the running collector. */
export type AddConnectOptions = (command: Command) => Command;

export function nodeCommands(program: Command, context: FleetCommandsContext, connectOptions: AddConnectOptions): void {
  const { out, err, connect } = context;
  const nodes = program
    .command('nodes')
    .description('the fleet: add, list, rename, approve, deny, revoke, retire')
    .addHelpText('after', '\nExamples:\n  tidemark-collector nodes add db2 --site hamburg\n  tidemark-collector nodes list\n');

  connectOptions(nodes.command('add <name>').description('add a node and print its token'))
    .option('--site <site>', 'where it stands')
    .option('--tag <key=value>', 'a tag; may be given several times', collect)
    .addHelpText('after', '\nExample:\n  tidemark-collector nodes add db2 --site hamburg --tag role=db > db2.token\n')
    .action(async (name: string, options: { site?: string; tag?: string[] }, command: Command) => {
      const { client, url } = connect(command);
      const tags = tagsOf(options.tag ?? []);
      const { token } = await client.call<WithToken>('POST', '/api/telemetry/nodes', {
        name,
        ...(options.site === undefined ? {} : { site: options.site }),
        tags,
      });
      tellToken(context, name, token, url);
    });

  connectOptions(nodes.command('token <name>').description('make a new token for a node; the old one ends'))
    .option('--overlap <duration>', 'how long the old one holds when the new one is not used before', '0s')
    .addHelpText(
      'after',
      '\nExamples:\n  tidemark-collector nodes token db2 > db2.token\n  tidemark-collector nodes token db2 --overlap 24h > db2.token\n',
    )
    .action(async (name: string, options: { overlap: string }, command: Command) => {
      const overlapSeconds = overlapOf(options.overlap);
      const { client, url } = connect(command);
      const { token } = await client.call<WithToken>('POST', nodePath(name, 'token'), { overlapSeconds });
      tellToken(context, name, token, url);
    });

  connectOptions(nodes.command('list').description('list the nodes'))
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      '\nExample:\n  tidemark-collector nodes list --server https://monitor.example --token-file ./admin-token --json\n',
    )
    .action(async (options: { json?: true }, command: Command) => {
      const { client } = connect(command);
      const list = await client.call<NodeList>('GET', '/api/telemetry/nodes');
      if (options.json) return out(`${JSON.stringify(list, undefined, 2)}\n`);
      if (list.nodes.length === 0)
        return err('There are no nodes yet. What to run on the first machine is said by: tidemark-collector enroll\n');
      const rows = list.nodes.map((n) => [
        n.name,
        n.state,
        n.site || '-',
        n.lastSeenAt ?? 'never',
        n.agentVersion ?? '-',
        Object.entries(n.tags)
          .map(([k, v]) => `${k}=${v}`)
          .join(' '),
      ]);
      out(`${table(['NAME', 'STATE', 'SITE', 'LAST SEEN', 'AGENT', 'TAGS'], rows)}\n`);
      return err(whoAsks(list.nodes));
    });

  connectOptions(nodes.command('rename <old> <new>').description('give a node another name; its history stays'))
    .addHelpText('after', '\nExample:\n  tidemark-collector nodes rename db2 db-hamburg\n')
    .action(async (from: string, to: string, _: unknown, command: Command) => {
      await connect(command).client.call('POST', nodePath(from, 'rename'), { name: to });
      err(`${printable(from)} is now ${printable(to)}.\n`);
    });

  const steps: [string, string, string][] = [
    [
      'revoke',
      "take a node's credential away; its history stays",
      'may no longer report. A new token: tidemark-collector nodes approve, then nodes token',
    ],
    ['retire', 'take a node out for good; its history stays, its name is free', 'is retired'],
  ];
  decidingCommands(nodes, context, connectOptions);
  for (const [step, description, done] of steps) {
    connectOptions(nodes.command(`${step} <name>`).description(description))
      .addHelpText('after', `\nExample:\n  tidemark-collector nodes ${step} db2\n`)
      .action(async (name: string, _: unknown, command: Command) => {
        await connect(command).client.call('POST', nodePath(name, step));
        err(`${printable(name)} ${done}.\n`);
      });
  }
}

/** `approve` and `deny`: what was seen is what is decided about, also when another machine asks a moment later. */
function decidingCommands(nodes: Command, { err, connect }: FleetCommandsContext, connectOptions: AddConnectOptions): void {
  const find = async (client: CollectorClient, name: string): Promise<NodeSummary | undefined> => {
    const list = await client.call<NodeList>('GET', '/api/telemetry/nodes');
    return list.nodes.find((node) => node.name === name && node.state !== 'retired');
  };
  const decided = (machine: string | undefined): object | undefined => (machine === undefined ? undefined : { machineCode: machine });

  connectOptions(nodes.command('approve <name>').description('let a node report, or the machine that asks be the node'))
    .option('--machine <code>', 'the machine that is meant, as `nodes list` and the installer on it show it')
    .addHelpText(
      'after',
      '\nExamples:\n  tidemark-collector nodes approve db2\n  tidemark-collector nodes approve db2 --machine 4F2A-91C0\n',
    )
    .action(async (name: string, options: { machine?: string }, command: Command) => {
      const { client } = connect(command);
      const node = await find(client, name);
      const claim = node?.claim ?? undefined;
      if (node !== undefined && claim !== undefined && options.machine === undefined && mustBeNamed(node))
        throw new OperationalFailure(
          `${QUESTIONS[claim.reason]} A machine (${describeClaim(claim)}) asks to be ${printable(name)}, which is a node already. ${CONSEQUENCES[claim.reason]}:\n  ${approveLine(node)}\nTo send it away:\n  tidemark-collector nodes deny ${shellWord(printable(name))}`,
        );
      await client.call('POST', nodePath(name, 'approve'), decided(options.machine ?? claim?.machineCode));
      err(
        claim === undefined
          ? `${printable(name)} may report now.\n`
          : `${printable(name)} may report now: ${WHAT[claim.reason]} (${describeClaim(claim)}). ${AFTERWARDS[claim.reason]}\n`,
      );
    });

  connectOptions(nodes.command('deny <name>').description('send away the machine that asks to be a node'))
    .option('--machine <code>', 'the machine that is meant, as `nodes list` shows it')
    .addHelpText('after', '\nExample:\n  tidemark-collector nodes deny db2\n')
    .action(async (name: string, options: { machine?: string }, command: Command) => {
      const { client } = connect(command);
      const node = await find(client, name);
      const claim = node?.claim ?? undefined;
      await client.call('POST', nodePath(name, 'deny'), decided(options.machine ?? claim?.machineCode));
      const who = claim === undefined ? 'The machine' : `The machine (${describeClaim(claim)})`;
      err(
        node?.state === 'pending'
          ? `${who} was not approved as ${printable(name)}. The name is free.\n`
          : `${who} was not approved as ${printable(name)}. The node goes on as it was.\n`,
      );
    });
}

type ClaimOf = NonNullable<NodeSummary['claim']>;

const QUESTIONS: Readonly<Record<ClaimOf['reason'], string>> = {
  new: 'A new machine.',
  'same-machine': 'The same machine, installed anew?',
  'clone-or-replacement': 'Clone or replacement?',
};
const WHAT: Readonly<Record<ClaimOf['reason'], string>> = {
  new: 'a new machine',
  'same-machine': 'the same machine, installed anew',
  'clone-or-replacement': 'another machine',
};
const CONSEQUENCES: Readonly<Record<ClaimOf['reason'], string>> = {
  new: 'To let it in',
  'same-machine': 'To let it in',
  'clone-or-replacement': 'If it is to be the node from now on, in place of the machine that is it now',
};
const AFTERWARDS: Readonly<Record<ClaimOf['reason'], string>> = {
  new: 'What it has gathered meanwhile comes with its next report.',
  'same-machine': 'Its former secret ends when the new one is used, at the latest in 24 hours.',
  'clone-or-replacement': 'The machine that was it before may no longer report.',
};

/** Where a wrong guess would give one machine's name and history to another. */
const mustBeNamed = ({ claim, state }: NodeSummary): boolean => claim?.reason === 'clone-or-replacement' || state === 'revoked';

const describeClaim = ({ machineCode, address, platform, askedAt }: ClaimOf): string =>
  printable(`machine ${machineCode}, from ${address}${platform === null ? '' : `, ${platform}`}, asked ${askedAt}`);

const approveLine = ({ name, claim }: NodeSummary): string => approveCommand(printable(name), claim?.machineCode ?? '');

/** The machines that wait for a person, with the command for each. Empty when none does. */
function whoAsks(nodes: readonly NodeSummary[]): string {
  const asking = nodes.filter(({ claim, state }) => claim && state !== 'retired');
  if (asking.length === 0) return '';
  const lines = asking.map((node) => {
    const { name, claim } = node;
    return `  ${printable(name)}: ${QUESTIONS[claim!.reason]} ${describeClaim(claim!)}\n    ${approveLine(node)}\n    tidemark-collector nodes deny ${shellWord(printable(name))} --machine ${claim!.machineCode}`;
  });
  return `\n${asking.length === 1 ? 'One machine asks' : `${asking.length} machines ask`} to be approved:\n${lines.join('\n')}\n`;
}

/** Seconds. */
function overlapOf(text: string): number {
  const ms = parseDuration(text);
  if (ms !== undefined && ms <= 30 * 86_400_000) return ms / 1_000;
  throw new OperationalFailure(`--overlap ${printable(text)} is not a duration up to 30d, for example 24h.`, EXIT.usage);
}

/** The address as another machine needs it: this machine's own name in place of "this machine". */
export function fromElsewhere(url: string, hostname: string): string {
  const address = new URL(url);
  if (['127.0.0.1', '[::1]', 'localhost'].includes(address.hostname)) address.hostname = hostname;
  return address.href.replace(/\/$/, '');
}

function tellToken({ out, err, hostname }: FleetCommandsContext, name: string, token: string, url: string): void {
  out(`${token}\n`);
  err(`
This is the token of ${printable(name)}. It is shown this once.
On the node, put it into a file that only the agent's user can read, and run:

  umask 077; cat > token        # paste the token, Enter, Ctrl-D
  tidemark-agent run --server ${shellWord(fromElsewhere(url, hostname))} --hostname ${shellWord(name)} --token-file ./token
`);
}

/** Commander hands on what was collected so far, which is nothing at first. */
export function collect(pair: string, before: string[] | undefined): string[] {
  return [...(before ?? []), pair];
}

export function tagsOf(pairs: readonly string[]): Record<string, string> {
  const wrong = pairs.find((pair) => pair.indexOf('=') < 1);
  if (wrong !== undefined) throw new OperationalFailure(`--tag ${printable(wrong)} is not of the form key=value.`, EXIT.usage);
  return Object.fromEntries(pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]));
}

export function tokenCommands(program: Command, { out, err, connect }: FleetCommandsContext, connectOptions: AddConnectOptions): void {
  const tokens = program
    .command('tokens')
    .description('tokens of programs that ask the collector (Prometheus, scripts)')
    .addHelpText(
      'after',
      '\nExamples:\n  tidemark-collector tokens add prometheus --role read\n  tidemark-collector tokens remove prometheus\n',
    );
  connectOptions(tokens.command('add <name>').description('make a token and print it'))
    .addOption(new Option('--role <role>', 'what it may do').choices(['read', 'admin']).default('read'))
    .addHelpText('after', '\nExample:\n  tidemark-collector tokens add prometheus --role read > /etc/prometheus/tidemark-token\n')
    .action(async (name: string, options: { role: string }, command: Command) => {
      const { token } = await connect(command).client.call<{ token: string }>('POST', '/api/tokens', { name, role: options.role });
      out(`${token}\n`);
      err('It is shown this once. Programs send it as "Authorization: Bearer TOKEN".\n');
    });
  connectOptions(tokens.command('list').description('list them, without the tokens themselves')).action(
    async (_: unknown, command: Command) => {
      const { tokens: list } = await connect(command).client.call<{ tokens: { name: string; role: string; createdAt: string }[] }>(
        'GET',
        '/api/tokens',
      );
      out(
        list.length === 0
          ? ''
          : `${table(
              ['NAME', 'ROLE', 'MADE'],
              list.map((t) => [t.name, t.role, t.createdAt]),
            )}\n`,
      );
    },
  );
  connectOptions(tokens.command('remove <name>').description('end a token')).action(async (name: string, _: unknown, command: Command) => {
    await connect(command).client.call('DELETE', `/api/tokens/${encodeURIComponent(name)}`);
    err(`The token ${printable(name)} is worth nothing from now on.\n`);
  });
}
