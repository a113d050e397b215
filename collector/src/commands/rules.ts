/** `tidemark-collector rules …` and `reload`: what is judged, where that comes from, and reading the configuration again. */
import type { RuleLevel, RuleList, RuleView } from '@tidemark/protocol';
import { EXIT } from '@tidemark/service';
import type { Command } from 'commander';
import { boundText, holdText } from '../rules/bound-text.ts';
import type { Reloaded } from '../settings/routes.ts';
import type { CollectorClient } from './client.ts';
import type { Terminal } from './nodes.ts';
import { printable, table } from './table.ts';

export interface RuleCommandsContext extends Terminal {
  /** The running collector. */
  connect: (command: Command) => { client: CollectorClient; url: string };
  exit: (code: number) => void;
}

type AppliedRule = RuleView & { applies: boolean };

/** "above 70 %, for 10 min of the last 15 min". */
function levelText(level: RuleLevel | null, unit: string): string {
  if (level === null) return '';
  return `${boundText(level.trigger, unit)}${level.trueForSeconds === 0 ? '' : `, ${holdText({ trueForMs: level.trueForSeconds * 1_000, ofLastMs: level.ofLastSeconds * 1_000 })}`}`;
}

function standing(rule: RuleView): string {
  if (!rule.enabled) return 'off';
  return rule.inactiveBecause === null ? '' : 'inactive';
}

function listText(rules: readonly (RuleView & { applies?: boolean })[]): string {
  return table(
    ['RULE', 'WARNING', 'CRITICAL', ''],
    rules.map((rule) => [
      rule.name,
      levelText(rule.warning, rule.unit),
      levelText(rule.critical, rule.unit),
      rule.applies === false && standing(rule) === '' ? 'not here' : standing(rule),
    ]),
  );
}

/** One rule on one node, layer by layer. */
function explanation(rule: AppliedRule, node: string): string {
  const lines = [
    `${rule.name}: ${rule.title} (${rule.kind}${rule.metric === null ? '' : ` of ${rule.metric}`})`,
    rule.applies ? `Applies to ${node}.` : `Judges nothing on ${node}${rule.inactiveBecause === null ? '' : `: ${rule.inactiveBecause}`}.`,
    `  warning   ${levelText(rule.warning, rule.unit) || 'none'}`,
    `  critical  ${levelText(rule.critical, rule.unit) || 'none'}`,
    '',
    'From the least to the most specific; the last that says a thing counts:',
    ...rule.layers.map(
      ({ layer, selector, source, sets }) =>
        `  ${[selector || layer, `(${source})`].join(' ')}${sets.map((set) => `\n      ${set}`).join('')}`,
    ),
  ];
  return lines
    .flatMap((line) => line.split('\n'))
    .map(printable)
    .join('\n');
}

export function ruleCommands(program: Command, context: RuleCommandsContext, connectOptions: (command: Command) => Command): void {
  const { out, connect } = context;
  const rules = program.command('rules').description('what is judged, and by which bounds');

  connectOptions(rules.command('list').description('the rules in force, for the whole fleet or for one node'))
    .option('--node <name>', 'as they are for this node')
    .option('--json', 'as JSON')
    .addHelpText('after', '\nExamples:\n  tidemark-collector rules list\n  tidemark-collector rules list --node db1\n')
    .action(async ({ node, json }: { node?: string; json?: true }, command: Command) => {
      const { client } = connect(command);
      const path = node === undefined ? '/api/rules' : `/api/rules/applies?node=${encodeURIComponent(node)}`;
      const answer = await client.call<RuleList>('GET', path);
      out(json ? `${JSON.stringify(answer, undefined, 2)}\n` : `${listText(answer.rules)}\n`);
    });

  connectOptions(rules.command('explain <rule>').description('how one rule stands for one node, and from which layers'))
    .requiredOption('--node <name>', 'the node')
    .addHelpText('after', '\nExample:\n  tidemark-collector rules explain disk-usage --node backup1\n')
    .action(async (rule: string, { node }: { node: string }, command: Command) => {
      const { client } = connect(command);
      const query = `node=${encodeURIComponent(node)}&rule=${encodeURIComponent(rule)}`;
      const { rules: found } = await client.call<{ rules: AppliedRule[] }>('GET', `/api/rules/applies?${query}`);
      for (const one of found) out(`${explanation(one, node)}\n`);
    });

  connectOptions(program.command('reload').description('have the running collector read its configuration file again: rules and channels'))
    .addHelpText(
      'after',
      '\nA file with mistakes changes nothing, and each is named with its line.\n\nExample:\n  tidemark-collector reload\n',
    )
    .action(async (_: unknown, command: Command) => {
      const { client } = connect(command);
      const { rules: changes, channels, needRestart } = await client.call<Reloaded>('POST', '/api/reload');
      const said = (['added', 'changed', 'removed'] as const).flatMap((what) =>
        changes[what].length === 0 ? [] : [`${what}: ${changes[what].join(', ')}`],
      );
      out(`Rules ${said.length === 0 ? 'as before' : said.join('; ')}. Channels: ${channels.join(', ') || 'none'}.\n`);
      if (needRestart.length > 0) context.err(`Take effect when the collector is started again: ${needRestart.join(', ')}.\n`);
      context.exit(EXIT.ok);
    });
}
