/**
 * The three forms of `check replication`: a page whose first line is a monitoring plugin's, JSON, and the "status" form, which
 * is that of a widely copied script to the letter, so that what reads the script's output reads this one's.
 */
import type { PostgresReplication } from '@tidemark/protocol';
import { bytesBehindOf, exitCodeOf, lagWords, placeOf, worstOf, type Judged, type Limits, type Role } from './check-judge.ts';
import { alignRows, duration, plural, printable } from './wording.ts';

const STATUS_COLUMNS = ['client_addr', 'state', 'sync_state', 'sent_lsn', 'write_lsn', 'flush_lsn', 'replay_lsn'] as const;
type Replica = PostgresReplication['replicas'][number];

/** As PostgreSQL's pg_size_pretty has it, to the letter. */
export function sizePretty(sizeBytes: number): string {
  if (sizeBytes < 10 * 1024) return `${sizeBytes} bytes`;
  let halves = Math.floor(sizeBytes / 512);
  const units = ['kB', 'MB', 'GB', 'TB'];
  for (const unit of units) {
    if (halves < 20 * 1024 - 1) return `${Math.floor((halves + 1) / 2)} ${unit}`;
    halves = Math.floor(halves / 1024);
  }
  return `${Math.floor((halves + 1) / 2)} PB`;
}

/** The table of the replicas as the script prints it: psql's, less the blank before the first column and the count below. */
export function statusTable(replicas: readonly Replica[]): string {
  const rows = replicas.map((one) => [one.clientAddr, one.state, one.syncState, one.sentLsn, one.writeLsn, one.flushLsn, one.replayLsn]);
  const cells = [[...STATUS_COLUMNS], ...rows.map((row) => row.map((cell) => printable(cell ?? '')))];
  const widths = STATUS_COLUMNS.map((_, i) => Math.max(...cells.map((row) => row[i]!.length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => (i === 0 ? `${cell.padEnd(widths[i]!)}  ` : ` ${cell.padEnd(widths[i]!)} `))
      .join('|')
      .trimEnd();
  const [header = [], ...rest] = cells;
  return `${[line(header), widths.map((width) => '-'.repeat(width + 2)).join('+'), ...rest.map(line)].join('\n')}\n`;
}

/** What the script says of one server. What it has no words for goes to standard error. */
export function statusForm(judged: Judged, wanted: Role | undefined): string {
  const { document, replica } = judged;
  if (document === undefined) return '';
  if (document.role === 'replica') {
    const lag = replica?.lag.seconds;
    const shown = lag === null || lag === undefined ? 'unknown' : lag.toFixed(3);
    return wanted === 'primary' ? 'is_replica: YES - This is a replica\n' : `is_replica: YES - This is a replica\nlag_seconds: ${shown}\n`;
  }
  return wanted === 'replica' ? 'is_replica: NO - This is a master!\n' : statusTable(document.replicas);
}

/** The page for people and for monitoring plugins. */
export function tableForm(all: readonly Judged[], limits: Limits): string {
  return `${[pluginLine(all, limits), ...all.map(section)].filter((part) => part !== '').join('\n\n')}\n`;
}

/** "REPLICATION OK - what is so | figures", on one line; a bar in it would begin the figures. */
export function pluginLine(all: readonly Judged[], limits: Limits): string {
  const level = worstOf(all.map((one) => one.level));
  const figures = all.flatMap((one) => performanceOf(one, limits, all.length > 1));
  return `REPLICATION ${level} - ${plain(headline(all))}${figures.length === 0 ? '' : ` | ${figures.join(' ')}`}`;
}

const plain = (text: string): string => printable(text).replaceAll('|', '/');

function headline(all: readonly Judged[]): string {
  const worst = worstOf(all.map((one) => one.level));
  const inTrouble = all.filter((one) => one.level !== 'OK');
  const first = all.find((one) => one.level === worst)!;
  const trouble = first.troubles.find((one) => one.level === first.level && one.level !== 'OK')?.text;
  const about = trouble === undefined || trouble === first.summary ? first.summary : `${trouble} (${first.summary})`;
  if (all.length === 1) return `${first.name}: ${about}`;
  if (inTrouble.length === 0) return `${plural(all.length, 'server')}: ${all.map((one) => `${one.name} ${one.summary}`).join('; ')}`;
  return `${inTrouble.length} of ${plural(all.length, 'server')} in trouble, first ${first.name}: ${about}`;
}

function performanceOf({ name, document, replica }: Judged, limits: Limits, several: boolean): string[] {
  const label = (what: string): string => `'${several ? `${plain(name).replaceAll(/['=]/g, '_')} ` : ''}${what}'`;
  const bounds = (warning: number, critical: number | undefined): string => `${warning};${critical ?? ''};0`;
  const bytesBounds = bounds(limits.warningBytes, limits.criticalBytes);
  if (document === undefined) return [];
  if (replica !== undefined) {
    const { lowerSeconds, bytes } = replica.lag;
    const lag = lowerSeconds === null ? 'U' : `${lowerSeconds.toFixed(3)}s`;
    return [
      `${label('lag_seconds')}=${lag};${bounds(limits.warningSeconds, limits.criticalSeconds)}`,
      `${label('bytes_behind')}=${bytes === null ? 'U' : `${bytes}B`};${bytesBounds}`,
    ];
  }
  if (document.insufficientPrivilege) return [];
  const behind = document.replicas.map((one) => bytesBehindOf(document, one)).filter((one) => one !== null);
  return [
    `${label('replicas')}=${document.replicas.filter(({ state }) => state !== 'backup').length};${limits.replicas}:;;0`,
    ...(behind.length === 0 ? [] : [`${label('bytes_behind')}=${Math.max(...behind)}B;${bytesBounds}`]),
  ];
}

function section(judged: Judged): string {
  const { name, address, document } = judged;
  const where = name === address ? printable(name) : `${printable(name)} (${printable(address)})`;
  const facts =
    document === undefined
      ? ['cannot be looked at']
      : [
          document.role ?? 'role unknown',
          `PostgreSQL ${document.version ?? '?'}`,
          document.timeline === null ? '' : `timeline ${document.timeline}`,
          document.currentLsn === null ? '' : `at ${document.currentLsn}`,
        ];
  const troubles = judged.troubles.map(({ level, text }) => `  ${level === 'OK' ? 'note' : level}: ${printable(text)}`).join('\n');
  const parts = [
    `${where}   ${facts.filter((fact) => fact !== '').join(', ')}`,
    troubles,
    replicaPart(judged),
    sendersPart(document),
    slotsPart(document),
  ];
  return parts.filter((part) => part !== '').join('\n');
}

function replicaPart({ document, replica, settings }: Judged): string {
  if (document === undefined || replica === undefined || document.receiver === null) return '';
  const { receiver } = document;
  const upstream = upstreamOf(document, settings);
  const heard = replica.silenceMs === null ? '' : `, heard from ${duration(replica.silenceMs)} ago`;
  const rows: [string, string][] = [
    ['is_replica', 'yes'],
    ['upstream', upstream === null ? 'unknown' : placeOf(upstream)],
    [
      'receiver',
      (replica.hearing === 'hidden' ? 'runs; more may not be seen' : (receiver.status ?? 'none')) +
        (receiver.slotName ? `, by slot ${printable(receiver.slotName)}` : ''),
    ],
    ['replay', receiver.pauseState ?? 'unknown'],
    ['sender_lsn', (receiver.latestEndLsn ?? '–') + heard],
    ['receive_lsn', receiver.receiveLsn ?? '–'],
    ['replay_lsn', receiver.replayLsn ?? '–'],
    ['bytes_behind', replica.lag.bytes === null ? 'unknown' : `${replica.lag.bytes} (${sizePretty(replica.lag.bytes)})`],
    ['lag', `${lagWords(replica.lag).replace(/^lag /, '')} – ${replica.lag.basis}`],
  ];
  return alignRows(rows.map(([key, value]) => [`  ${key}`, value]));
}

/** Whom it follows, or is told to follow while it does not. */
function upstreamOf(
  { receiver }: PostgresReplication,
  settings: Judged['settings'],
): { host: string | null; port: number | string | null } | null {
  if (receiver?.senderHost !== null && receiver?.senderHost !== undefined) return { host: receiver.senderHost, port: receiver.senderPort };
  return settings?.primary ?? null;
}

function sendersPart(document: PostgresReplication | undefined): string {
  if (document === undefined || document.replicas.length === 0) return '';
  const header = [
    '  client_addr',
    'application_name',
    'state',
    'sync_state',
    'sent_lsn',
    'write_lsn',
    'flush_lsn',
    'replay_lsn',
    'bytes_behind',
    '',
  ];
  const rows = document.replicas.map((one) => {
    const behind = bytesBehindOf(document, one);
    const texts = [
      // Where the role may not see the state, it may not see the address either.
      one.clientAddr ?? (one.state === null ? null : 'socket'),
      one.applicationName,
      one.state,
      one.syncState,
      one.sentLsn,
      one.writeLsn,
      one.flushLsn,
      one.replayLsn,
    ];
    return [
      ...texts.map((text, i) => `${i === 0 ? '  ' : ''}${printable(text ?? '–')}`),
      behind === null ? '–' : String(behind),
      behind === null ? '' : `(${sizePretty(behind)})`,
    ];
  });
  return alignRows([header, ...rows], [8]);
}

function slotsPart(document: PostgresReplication | undefined): string {
  if (document === undefined || document.slots.length === 0) return '';
  const state = (active: boolean | null): string => (active === null ? 'unknown' : active ? 'active' : 'inactive');
  const rows = document.slots.map((slot) => [
    `  ${printable(slot.name)}`,
    slot.type ?? '',
    state(slot.active),
    slot.walStatus ?? '–',
    slot.restartLsn ?? '–',
  ]);
  return alignRows([['  slot', 'type', '', 'wal_status', 'restart_lsn'], ...rows]);
}

/** For programs; its fields are documented in docs/how-to/check-replication.md. */
export function jsonForm(all: readonly Judged[]): string {
  const level = worstOf(all.map((one) => one.level));
  const servers = all.map(({ document, replica, settings, ...one }) => ({
    name: one.name,
    address: one.address,
    status: one.level,
    summary: one.summary,
    troubles: one.troubles,
    error: one.failure ?? null,
    ...(document !== undefined && {
      role: document.role,
      isReplica: document.role === 'replica',
      version: document.version,
      systemIdentifier: document.systemIdentifier,
      timeline: document.timeline,
      currentLsn: document.currentLsn,
      upstream: document.role === 'replica' ? upstreamOf(document, settings) : null,
      receiver: document.receiver,
      lag: replica?.lag ?? null,
      replicas: document.replicas.map((row) => {
        const behind = bytesBehindOf(document, row);
        return { ...row, bytesBehind: behind, bytesBehindPretty: behind === null ? null : sizePretty(behind) };
      }),
      slots: document.slots,
    }),
  }));
  return `${JSON.stringify({ status: level, exitCode: exitCodeOf(level), servers }, undefined, 2)}\n`;
}
