/** `tidemark-agent status`: what the agent of a data directory does, since when, and what troubles it. */
import { agentConfig, type AgentOptionValues, type Surroundings } from '../config.ts';
import { holderOf } from '../spool/lock.ts';
import { readStatus, type AgentStatus } from '../status.ts';
import { alignRows, bytes, duration, plural, printable } from './wording.ts';

export const STATUS_EXIT = { fine: 0, troubled: 1, notRunning: 3 } as const;
/** Reports late by more than this many intervals are a trouble. */
const LATE_INTERVALS = 3;
/** The file is that much behind at most. */
const WRITTEN_LATE_MS = 15_000;
const CLOCK_OFFSET_MS = 2_000;

/** What to print, and the exit code. */
export function status(
  values: AgentOptionValues,
  surroundings: Surroundings,
  now: number,
  json: boolean,
): { output: string; exitCode: number } {
  const { dataDir } = agentConfig(values, surroundings);
  const pid = holderOf(dataDir);
  const written = readStatus(dataDir);
  if (pid === undefined) {
    const last =
      written === undefined
        ? ''
        : ` It last said something ${duration(now - written.writtenAt)} ago, and ${plural(written.spool.reports, 'report')} waited then.`;
    const output = json
      ? `${JSON.stringify({ running: false, troubles: ['not running'], last: written })}\n`
      : `No agent runs on ${dataDir}.${last}\n`;
    return { output, exitCode: STATUS_EXIT.notRunning };
  }
  if (written === undefined || written.pid !== pid) {
    const output = json
      ? `${JSON.stringify({ running: true, pid, troubles: ['starting'] })}\n`
      : `The agent (process ${pid}) has just started and has said nothing yet.\n`;
    return { output, exitCode: STATUS_EXIT.troubled };
  }
  const troubles = troublesOf(written, now);
  const exitCode = troubles.length === 0 ? STATUS_EXIT.fine : STATUS_EXIT.troubled;
  return {
    output: json ? `${JSON.stringify({ running: true, troubles, ...written }, undefined, 2)}\n` : statusPage(written, troubles, now),
    exitCode,
  };
}

/** Everything that is not as it should be, one sentence each. */
export function troublesOf(written: AgentStatus, now: number): string[] {
  const { uplink, spool, probes, postgres } = written;
  const troubles: string[] = [];
  const lateMs = now - (written.lastReportAt ?? written.startedAt);
  if (lateMs > LATE_INTERVALS * written.intervalSeconds * 1000 + WRITTEN_LATE_MS)
    troubles.push(`no report was taken for ${duration(lateMs)}`);
  if (uplink.phase !== 'connected') {
    const detail = uplink.detail === '' ? 'no answer from the collector yet' : uplink.detail;
    troubles.push(`${uplink.phase.replaceAll('_', ' ')} since ${duration(now - uplink.since)}: ${detail}`);
  }
  if (uplink.newAddress !== undefined)
    troubles.push(
      `the collector is moving to ${uplink.newAddress}${uplink.moveTrouble === undefined ? '' : `, which does not take reports yet: ${printable(uplink.moveTrouble)}`}`,
    );
  if (spool.trouble !== undefined) troubles.push(`reports are not on disk: ${spool.trouble}`);
  if (spool.lost > 0) troubles.push(`${plural(spool.lost, 'report')} lost since the start`);
  if (uplink.clockOffsetMs !== undefined && Math.abs(uplink.clockOffsetMs) > CLOCK_OFFSET_MS)
    troubles.push(`the clock of this machine is ${clockWords(uplink.clockOffsetMs)}`);
  for (const probe of probes) if (!probe.success) troubles.push(`probe ${probe.name}: ${probe.trouble ?? 'failed'}`);
  for (const server of postgres)
    if (!server.up) troubles.push(`PostgreSQL ${server.instance} is down: ${server.detail ?? 'no reason known'}`);
  return troubles;
}

function clockWords(offsetMs: number): string {
  return `${duration(Math.abs(offsetMs))} ${offsetMs > 0 ? 'ahead of' : 'behind'} the collector's`;
}

function statusPage(written: AgentStatus, troubles: readonly string[], now: number): string {
  const { uplink, spool, postgres, probes, discovered = [] } = written;
  const ago = (at: number | undefined): string => (at === undefined ? 'never' : `${duration(now - at)} ago`);
  const name =
    uplink.node === undefined || uplink.node.name === written.hostname
      ? written.hostname
      : `${uplink.node.name} (calls itself ${written.hostname})`;
  const rows: [string, string][] = [
    [
      'node',
      name + (uplink.node === undefined ? '' : `, ${uplink.node.state}${uplink.node.site === '' ? '' : `, site ${uplink.node.site}`}`),
    ],
    ['agent', `${written.version}, process ${written.pid}, up ${duration(now - written.startedAt)}`],
    ['collector', `${uplink.server ?? written.server}: ${uplink.phase.replaceAll('_', ' ')} since ${duration(now - uplink.since)}`],
    ...(uplink.server === undefined || uplink.server === written.server ? [] : [['moved from', written.server] as [string, string]]),
    [
      'reports',
      `every ${duration(written.intervalSeconds * 1000)}; last taken ${ago(written.lastReportAt)}, last acknowledged ${ago(uplink.lastAcknowledgedAt)}`,
    ],
    [
      'waiting',
      spool.reports === 0
        ? 'nothing'
        : `${plural(spool.reports, 'report')}, ${bytes(spool.sizeBytes)}, the oldest from ${ago(spool.oldestTakenAt)}`,
    ],
    ['lost', spool.lost === 0 ? 'nothing' : plural(spool.lost, 'report')],
    ['clock', uplink.clockOffsetMs === undefined ? 'not compared yet' : clockWords(uplink.clockOffsetMs)],
    ['probes', `${probes.filter((probe) => probe.success).length} of ${probes.length} well`],
    ...postgres.map((server): [string, string] => [
      'PostgreSQL',
      `${server.instance}: ${server.up ? ['up', server.role, server.version, server.detail].filter((part) => part !== null).join(', ') : 'down'}`,
    ]),
  ];
  const found = discovered.map(({ address, command }) => `  - ${printable(address)}: ${printable(command)}`);
  const notWatched =
    found.length === 0 ? '' : `\n\n${plural(found.length, 'PostgreSQL server')} found here and not watched; to watch:\n${found.join('\n')}`;
  const said =
    troubles.length === 0
      ? 'All is well.'
      : `${plural(troubles.length, 'trouble')}:\n${troubles.map((trouble) => `  - ${printable(trouble)}`).join('\n')}`;
  return `${alignRows(rows.map((row) => row.map(printable)))}\n\n${said}${notWatched}\n`;
}
