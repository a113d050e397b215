/** `tidemark-collector alerts …` and `silences …`: what is wrong, who looks after it, and what is kept quiet, asked of the running collector. */
import type { AlertDetail, AlertList, AlertView, SilenceList, SilenceView } from '@tidemark/protocol';
import { EXIT, OperationalFailure } from '@tidemark/service';
import { Option, type Command } from 'commander';
import { parseDuration } from '../rules/duration.ts';
import type { CollectorClient } from './client.ts';
import type { FleetCommandsContext } from './nodes.ts';
import { printable, table } from './table.ts';

type AddConnectOptions = (command: Command) => Command;

/** So many alerts are looked through for a short id. */
const PAGES_MAX = 10;
const PAGE = 500;
const FULL_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** The end of an id is what differs between alerts of the same minute. */
const SHORT_CHARS = 8;

const shortId = (id: string): string => id.slice(-SHORT_CHARS);
const shortTime = (iso: string): string => `${iso.slice(0, 16).replace('T', ' ')}Z`;

export function alertCommands(program: Command, context: FleetCommandsContext, connectOptions: AddConnectOptions): void {
  const alerts = program
    .command('alerts')
    .description('what is wrong: list, show, acknowledge, close')
    .addHelpText(
      'after',
      `
Examples:
  tidemark-collector alerts                          what is open
  tidemark-collector alerts --all --node db1         and what was
  tidemark-collector alerts show 9f3c21aa            one, and its story
  tidemark-collector alerts ack 9f3c21aa --note "disk is being replaced"

An id may be shortened to its beginning or its end.
`,
    );
  listCommand(alerts, context, connectOptions);
  showCommand(alerts, context, connectOptions);
  changeCommands(alerts, context, connectOptions);
}

function listCommand(alerts: Command, { out, err, connect }: FleetCommandsContext, connectOptions: AddConnectOptions): void {
  connectOptions(alerts.command('list', { isDefault: true }).description('list alerts, the newest first'))
    .option('--all', 'also those that are over')
    .option('--node <name>', 'only of this node')
    .option('--site <site>', 'only of this site')
    .option('--rule <rule>', 'only of this rule')
    .addOption(new Option('--level <level>', 'only of this level').choices(['warning', 'critical']))
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  tidemark-collector alerts\n  tidemark-collector alerts list --all --node db2\n  tidemark-collector alerts list --level critical --json\n',
    )
    .action(async (options: Record<string, string | true>, command: Command) => {
      const query = new URLSearchParams({ state: options['all'] ? 'all' : 'open', limit: String(PAGE) });
      for (const name of ['node', 'site', 'rule', 'level']) if (typeof options[name] === 'string') query.set(name, options[name]);
      const list = await connect(command).client.call<AlertList>('GET', `/api/alerts?${query.toString()}`);
      if (options['json']) return out(`${JSON.stringify(list, undefined, 2)}\n`);
      if (list.alerts.length === 0) return err(options['all'] ? 'There never was an alert like that.\n' : 'No alert is open.\n');
      const rows = list.alerts.map((a) => [shortId(a.id), a.level, shortTime(a.since), a.node, a.site || '-', subject(a), standing(a)]);
      out(`${table(['ID', 'LEVEL', 'SINCE', 'NODE', 'SITE', 'WHAT', 'STATE'], rows)}\n`);
      if (list.more) err('There are more: narrow it with --node, --site, --rule or --level.\n');
    });
}

function showCommand(alerts: Command, { out, connect }: FleetCommandsContext, connectOptions: AddConnectOptions): void {
  connectOptions(alerts.command('show <id>').description('one alert: why it fired, what happened, who was told'))
    .option('--json', 'as JSON')
    .addHelpText('after', '\nExample:\n  tidemark-collector alerts show 9f3c21aa\n')
    .action(async (id: string, options: { json?: true }, command: Command) => {
      const { client, url } = connect(command);
      const detail = await client.call<AlertDetail>('GET', `/api/alerts/${await fullId(client, id, 'all')}`);
      out(options.json ? `${JSON.stringify(detail, undefined, 2)}\n` : shown(detail, url));
    });
}

function changeCommands(alerts: Command, { err, connect }: FleetCommandsContext, connectOptions: AddConnectOptions): void {
  const change = async (command: Command, id: string, method: 'POST' | 'DELETE', step: string, body?: unknown): Promise<AlertView> => {
    const { client } = connect(command);
    return client.call<AlertView>(method, `/api/alerts/${await fullId(client, id, 'open')}/${step}`, body);
  };
  const name = (alert: AlertView): string => printable(`${alert.level} "${subject(alert)}" on ${alert.node}`);

  connectOptions(alerts.command('ack <id>').description('acknowledge: you look after it'))
    .option('--note <text>', 'what you are doing about it')
    .option('--by <name>', 'who you are')
    .addHelpText('after', '\nExample:\n  tidemark-collector alerts ack 9f3c21aa --by kim --note "disk is being replaced"\n')
    .action(async (id: string, options: { note?: string; by?: string }, command: Command) => {
      const alert = await change(command, id, 'POST', 'acknowledge', given(options, ['note', 'by']));
      err(`${name(alert)} is acknowledged by ${printable(alert.acknowledged?.by ?? '')}.\n`);
    });
  connectOptions(alerts.command('unack <id>').description('give it back: nobody looks after it'))
    .addHelpText('after', '\nExample:\n  tidemark-collector alerts unack 9f3c21aa\n')
    .action(async (id: string, _: unknown, command: Command) =>
      err(`${name(await change(command, id, 'DELETE', 'acknowledge'))} is nobody's now.\n`),
    );
  connectOptions(alerts.command('close <id>').description('close it by hand; if it is still true it opens again'))
    .option('--reason <text>', 'why')
    .option('--by <name>', 'who you are')
    .addHelpText('after', '\nExample:\n  tidemark-collector alerts close 9f3c21aa --reason "the disk was taken out"\n')
    .action(async (id: string, options: { reason?: string; by?: string }, command: Command) => {
      err(`${name(await change(command, id, 'POST', 'close', given(options, ['reason', 'by'])))} is closed.\n`);
    });
}

export function silenceCommands(program: Command, context: FleetCommandsContext, connectOptions: AddConnectOptions): void {
  const { out, err, connect } = context;
  const silences = program
    .command('silences')
    .description('what is kept quiet: list, add, end')
    .addHelpText(
      'after',
      `
Examples:
  tidemark-collector silences
  tidemark-collector silences add --node 'db*' --for 2h --reason "new disks"
  tidemark-collector silences end 41d0b7c2
`,
    );
  connectOptions(silences.command('list', { isDefault: true }).description('list silences, the newest first'))
    .option('--all', 'also those that are over')
    .option('--json', 'as JSON')
    .action(async (options: { all?: true; json?: true }, command: Command) => {
      const { silences: every } = await connect(command).client.call<SilenceList>('GET', '/api/silences');
      const list = options.all ? every : every.filter(({ active }) => active);
      if (options.json) return out(`${JSON.stringify({ silences: list }, undefined, 2)}\n`);
      if (list.length === 0) return err('Nothing is silenced.\n');
      const rows = list.map((s) => [
        shortId(s.id),
        s.active ? shortTime(s.endsAt) : 'over',
        matcherText(s.matcher),
        String(s.alerts),
        s.author,
        s.reason,
      ]);
      return out(`${table(['ID', 'UNTIL', 'WHAT', 'ALERTS', 'BY', 'REASON'], rows)}\n`);
    });
  addSilenceCommand(silences, context, connectOptions);
  connectOptions(silences.command('end <id>').description('end one before its time'))
    .addHelpText('after', '\nExample:\n  tidemark-collector silences end 41d0b7c2\n')
    .action(async (id: string, _: unknown, command: Command) => {
      const { client } = connect(command);
      const { silences: every } = await client.call<SilenceList>('GET', '/api/silences');
      const active = every.filter((silence) => silence.active).map((silence) => silence.id);
      const full = onlyOne(id, active, 'silence in force');
      await client.call('DELETE', `/api/silences/${full}`);
      err(`The silence ${shortId(full)} is over.\n`);
    });
}

function addSilenceCommand(silences: Command, { out, err, connect }: FleetCommandsContext, connectOptions: AddConnectOptions): void {
  connectOptions(
    silences.command('add').description('silence alerts for a while; all that is given has to fit, "*" stands for any characters'),
  )
    .option('--rule <rule>', "the rule's name")
    .option('--node <name>', "the node's name")
    .option('--site <site>', 'where the node stands')
    .addOption(new Option('--level <level>', 'only while it is').choices(['warning', 'critical']))
    .option('--label <name=value>', 'a label of the series; may be given several times', (pair: string, before: string[] | undefined) => [
      ...(before ?? []),
      pair,
    ])
    .requiredOption('--for <duration>', 'how long: 30m, 2h, 1d')
    .requiredOption('--reason <text>', 'why')
    .option('--by <name>', 'who you are')
    .addHelpText(
      'after',
      `
Examples:
  tidemark-collector silences add --node db1 --for 2h --reason "new disks"
  tidemark-collector silences add --rule disk-usage --label mountpoint=/backup --for 1d --reason "is being emptied"
`,
    )
    .action(async (options: SilenceOptions, command: Command) => {
      const body = {
        matcher: matcherOf(options),
        reason: options.reason,
        seconds: secondsOf(options.for),
        ...(options.by === undefined ? {} : { author: options.by }),
      };
      const silence = await connect(command).client.call<SilenceView>('POST', '/api/silences', body);
      out(`${silence.id}\n`);
      err(
        `Silenced until ${shortTime(silence.endsAt)}: ${printable(matcherText(silence.matcher))}. It covers ${silence.alerts} open alert${silence.alerts === 1 ? '' : 's'} now.\n`,
      );
    });
}

interface SilenceOptions {
  rule?: string;
  node?: string;
  site?: string;
  level?: string;
  label?: string[];
  for: string;
  reason: string;
  by?: string;
}

function matcherOf(options: SilenceOptions): object {
  const { label, ...named } = options;
  const wrong = label?.find((pair) => pair.indexOf('=') < 1);
  if (wrong !== undefined) throw new OperationalFailure(`--label ${printable(wrong)} is not of the form name=value.`, EXIT.usage);
  const labels = label?.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]);
  const matcher = {
    ...given(named, ['rule', 'node', 'site', 'level']),
    ...(labels === undefined ? {} : { labels: Object.fromEntries(labels) }),
  };
  if (Object.keys(matcher).length > 0) return matcher;
  throw new OperationalFailure(
    'Say what is to be silenced: --rule, --node, --site, --level or --label. For everything: --rule "*".',
    EXIT.usage,
  );
}

function secondsOf(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined)
    throw new OperationalFailure(`--for ${printable(text)} is not a duration; it looks like 30m, 2h or 1d.`, EXIT.usage);
  return Math.round(ms / 1_000);
}

/** Those of the options that were given. */
function given<T extends object>(options: T, names: readonly (keyof T)[]): Partial<T> {
  return Object.fromEntries(names.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]]))) as Partial<T>;
}

async function fullId(client: CollectorClient, id: string, state: 'open' | 'all'): Promise<string> {
  if (FULL_ID.test(id.toLowerCase())) return id.toLowerCase();
  const ids: string[] = [];
  for (let page = 0, more = true; more && page < PAGES_MAX; page++) {
    const before = ids.length === 0 ? '' : `&before=${ids.at(-1)!}`;
    const list = await client.call<AlertList>('GET', `/api/alerts?state=${state}&limit=${PAGE}${before}`);
    ids.push(...list.alerts.map((alert) => alert.id));
    more = list.more && list.alerts.length > 0;
  }
  return onlyOne(id, ids, state === 'open' ? 'open alert' : 'alert');
}

/** The one id that begins or ends so. */
function onlyOne(part: string, ids: readonly string[], what: string): string {
  const wanted = part.toLowerCase();
  const found = wanted === '' ? [] : ids.filter((id) => id.startsWith(wanted) || id.endsWith(wanted));
  if (found.length === 1) return found[0]!;
  if (found.length === 0) throw new OperationalFailure(`No ${what} has an id that begins or ends with ${JSON.stringify(printable(part))}.`);
  const some = found.slice(0, 5).join(', ');
  throw new OperationalFailure(
    `${found.length} ids begin or end with ${JSON.stringify(printable(part))}: ${some}. Give more of it.`,
    EXIT.usage,
  );
}

/** "Disk usage /var". */
function subject({ title, labels }: AlertView): string {
  const values = Object.values(labels);
  return values.length === 0 ? title : `${title} (${values.join(', ')})`;
}

const ENDED: Readonly<Record<NonNullable<AlertView['closeReason']>, string>> = {
  recovered: 'recovered',
  gone: 'no longer there',
  retired: 'node retired',
  rule_removed: 'rule removed',
  rule_changed: 'rule changed',
  closed_by_hand: 'closed by hand',
};

function standing(alert: AlertView): string {
  if (alert.state === 'closed') return `over: ${alert.closeReason === null ? '' : ENDED[alert.closeReason]}`;
  const marks = [
    alert.noData ? 'no data' : '',
    alert.acknowledged === null ? '' : `acknowledged by ${alert.acknowledged.by}`,
    alert.silencedBy === null ? '' : 'silenced',
    alert.suppressedBy === null ? '' : `moot (${shortId(alert.suppressedBy)})`,
  ].filter((mark) => mark !== '');
  return marks.length === 0 ? 'open' : marks.join(', ');
}

function matcherText({ labels, ...named }: SilenceView['matcher']): string {
  return Object.entries({ ...named, ...labels })
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');
}

function shown({ alert, events, telling }: AlertDetail, url: string): string {
  const facts: [string, string | null | undefined][] = [
    ['id', alert.id],
    ['state', `${alert.level}, ${standing(alert)}`],
    ['node', alert.site === '' ? alert.node : `${alert.node} (${alert.site})`],
    ['rule', alert.rule],
    ['series', alert.metric === null ? null : `${alert.metric} ${JSON.stringify(alert.labels)}`],
    ['since', alert.since],
    ['opened', alert.openedAt],
    ['closed', alert.closedAt],
    ['why', alert.why],
    ['note', alert.acknowledged?.note],
    // Of a shipped rule it is a page of the collector.
    ['runbook', alert.runbook?.startsWith('/') === true ? `${url.replace(/\/+$/, '')}${alert.runbook}` : alert.runbook],
  ];
  const width = Math.max(...facts.map(([name]) => name.length));
  const lines = [
    subject(alert),
    ...facts.flatMap(([name, value]) => (value === null || value === undefined || value === '' ? [] : `  ${name.padEnd(width)}  ${value}`)),
    'What happened:',
    ...events.map(({ at, text }) => `  ${at}  ${text}`),
    ...(telling.length === 0 ? [] : ['Who was told:', ...telling.map(({ channel, text }) => `  ${channel}: ${text}`)]),
  ];
  return `${lines.map(printable).join('\n')}\n`;
}
