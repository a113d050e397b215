/**
 * `tidemark-agent confirm`: waits until the collector has confirmed a report of the agent that runs here, and says what is watched and
 * what is not. It asks the running agent's status file, not the collector: what counts is that the service itself gets through.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { EXIT, OperationalFailure } from '@tidemark/service';
import { agentConfig, type AgentConfig, type AgentOptionValues, type Surroundings } from '../config.ts';
import { holderOf } from '../spool/lock.ts';
import { readStatus, type AgentStatus } from '../status.ts';
import { approval } from './approval.ts';
import { alignRows, duration, plural, printable } from './wording.ts';

const TIMEOUT_SECONDS = 30;
const LOOK_MS = 200;

export interface ConfirmFlags {
  readonly since?: string | undefined;
  readonly timeout?: string | undefined;
  readonly json?: boolean | undefined;
}

type Verdict =
  | { readonly state: 'confirmed' | 'pending' | 'rejected'; readonly status: AgentStatus }
  /** Not yet; `why` is what stands in its way. */
  | { readonly state: 'waiting'; readonly why: string; readonly status: AgentStatus | undefined };

const EXIT_CODES = { confirmed: EXIT.ok, pending: EXIT.ok, rejected: EXIT.credentialRejected, waiting: EXIT.notConfirmed } as const;

/** What to print, and the exit code. */
export async function confirm(
  values: AgentOptionValues,
  flags: ConfirmFlags,
  surroundings: Surroundings,
): Promise<{ output: string; errors: string; exitCode: number }> {
  const since = numberOf(flags.since, '--since', 0, Number.MAX_SAFE_INTEGER) ?? 0;
  const timeoutMs = (numberOf(flags.timeout, '--timeout', 0, 3_600) ?? TIMEOUT_SECONDS) * 1000;
  const config = agentConfig(values, surroundings);
  const until = performance.now() + timeoutMs;
  let verdict = verdictOf(config, since, surroundings);
  while (verdict.state === 'waiting' && performance.now() < until) {
    await sleep(LOOK_MS);
    verdict = verdictOf(config, since, surroundings);
  }
  const exitCode = EXIT_CODES[verdict.state];
  if (flags.json === true) return { output: `${JSON.stringify(asJson(verdict, config))}\n`, errors: '', exitCode };
  const text = page(verdict, config, timeoutMs);
  return exitCode === EXIT.ok ? { output: text, errors: '', exitCode } : { output: '', errors: text, exitCode };
}

function numberOf(text: string | undefined, flag: string, least: number, most: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() !== '' && value >= least && value <= most) return value;
  throw new OperationalFailure(`${flag} must be a number from ${least} to ${most}.`, EXIT.usage);
}

function verdictOf({ dataDir }: AgentConfig, since: number, { platform }: Surroundings): Verdict {
  const pid = holderOf(dataDir);
  const status = readStatus(dataDir);
  const look =
    platform === 'win32' ? 'Get-Service TidemarkAgent, and its event log' : 'systemctl status tidemark-agent, journalctl -u tidemark-agent';
  if (pid === undefined) return { state: 'waiting', why: `no agent runs on ${dataDir} (look at: ${look})`, status: undefined };
  // An earlier process's words are nobody's.
  if (status?.pid !== pid) return { state: 'waiting', why: `the agent (process ${pid}) has just started`, status: undefined };
  if (status.startedAt < since)
    return {
      state: 'waiting',
      why: `the agent that runs is the one from ${duration(Date.now() - status.startedAt)} ago: it was not started again`,
      status,
    };
  const { phase, detail, lastAcknowledgedAt } = status.uplink;
  switch (phase) {
    case 'connected':
      if (lastAcknowledgedAt !== undefined && lastAcknowledgedAt >= since) return { state: 'confirmed', status };
      return { state: 'waiting', why: 'the collector answers, but has not confirmed a report yet', status };
    case 'node_pending':
      return { state: 'pending', status };
    case 'credential_missing':
    case 'credential_unknown':
    case 'node_revoked':
    case 'node_retired':
    case 'rejected':
      return { state: 'rejected', status };
    default:
      return { state: 'waiting', why: detail === '' ? 'the collector has not answered yet' : detail, status };
  }
}

interface Said {
  readonly name: string;
  readonly site: string;
  readonly where: string;
}

function saidOf({ uplink, server, hostname }: AgentStatus, { site }: AgentConfig): Said {
  const name = uplink.node?.name ?? hostname;
  const base = (uplink.server ?? server).replace(/\/+$/, '');
  return {
    name,
    site: uplink.node?.site ?? site ?? '',
    where: uplink.claim?.consoleUrl || `${base}/nodes/${encodeURIComponent(name)}`,
  };
}

function asJson(verdict: Verdict, config: AgentConfig): object {
  const { state, status } = verdict;
  if (status === undefined) return { state: 'not-confirmed', detail: verdict.state === 'waiting' ? verdict.why : '' };
  const { name, site, where } = saidOf(status, config);
  const { claim, phase, detail } = status.uplink;
  return {
    state: state === 'waiting' ? 'not-confirmed' : state,
    name,
    site,
    server: status.uplink.server ?? status.server,
    phase,
    detail: verdict.state === 'waiting' ? verdict.why : detail,
    ...(state === 'pending'
      ? { reason: claim?.reason ?? null, machineCode: claim?.machineCode ?? '', approveCommand: claim?.approveCommand ?? '' }
      : {}),
    consoleUrl: where,
    watched: {
      machine: probesOf(status, true),
      fileSystems: status.fileSystems ?? null,
      postgres: status.postgres,
      httpEndpoints: config.http.length,
    },
    failing: status.probes.filter((probe) => !probe.success).map((probe) => ({ probe: probe.name, trouble: probe.trouble ?? '' })),
    found: status.discovered ?? [],
  };
}

const MACHINE = ['cpu', 'memory', 'filesystem', 'disk', 'network'];

function probesOf({ probes }: AgentStatus, success: boolean): string[] {
  return probes.filter((probe) => MACHINE.includes(probe.name) && probe.success === success).map((probe) => probe.name);
}

function page(verdict: Verdict, config: AgentConfig, timeoutMs: number): string {
  const { state, status } = verdict;
  if (state === 'waiting')
    return `Not confirmed within ${duration(timeoutMs)}: ${printable(verdict.why)}.${status === undefined ? '' : `\n${waitingWords(status)}`}\n`;
  const { uplink, server } = status;
  const where = printable(uplink.server ?? server);
  if (state === 'rejected') return `The collector at ${where} does not take this node: ${printable(uplink.detail)}.\n`;
  const said = saidOf(status, config);
  const head =
    state === 'confirmed'
      ? `The collector at ${where} has confirmed a report of this node.`
      : [`"${printable(said.name)}" waits to be approved.`, ...waysToApprove(status)].join('\n');
  return `${head}\n\n${alignRows(rowsOf(status, config, said))}\n${notWatched(status)}`;
}

function waysToApprove({ uplink, spool }: AgentStatus): string[] {
  const { claim, detail } = uplink;
  const waiting = `  Until then its reports wait on this machine (${plural(spool.reports, 'report')} so far); nothing is lost.`;
  return claim === undefined ? [`  ${printable(detail)}`, waiting] : [...approval(claim), waiting];
}

function waitingWords({ spool }: AgentStatus): string {
  return `Until then its reports wait on this machine (${plural(spool.reports, 'report')} so far); nothing is lost.`;
}

function rowsOf(status: AgentStatus, config: AgentConfig, { name, site, where }: Said): [string, string][] {
  const well = probesOf(status, true);
  const count = status.fileSystems ?? 0;
  const words = { cpu: 'CPU', memory: 'memory', filesystem: plural(count, 'file system'), disk: 'disks', network: 'network' };
  const machine = MACHINE.filter((probe) => well.includes(probe)).map((probe) => words[probe as keyof typeof words]);
  return [
    ['node', printable(name)],
    ['site', site === '' ? '(none)' : printable(site)],
    ['watched', machine.join(', ')],
    ...status.postgres.map(({ instance, up, role, version, detail }): [string, string] => [
      'PostgreSQL',
      `${printable(instance)}: ${
        up
          ? [role, version, detail]
              .filter((part) => part !== null)
              .map(printable)
              .join(', ')
          : `down: ${printable(detail ?? 'no reason known')}`
      }`,
    ]),
    ...(config.http.length === 0 ? [] : [['HTTP', plural(config.http.length, 'endpoint')] as [string, string]]),
    ...status.probes
      .filter((probe) => !probe.success && !probe.name.startsWith('postgres'))
      .map((probe): [string, string] => ['failing', `${printable(probe.name)}: ${printable(probe.trouble ?? 'no reason known')}`]),
    ['every', duration(status.intervalSeconds * 1000)],
    ['to see', printable(where)],
  ];
}

function notWatched({ discovered = [] }: AgentStatus): string {
  if (discovered.length === 0) return '';
  const lines = discovered.map(({ address, command }) => `  ${printable(address)}\n    ${printable(command)}`);
  return `\nFound here and not watched:\n${lines.join('\n')}\nor all at once, as root: tidemark-agent postgres adopt\n`;
}
