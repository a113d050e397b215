/**
 * How well a standby fits a server that may send to it, and one row of that server's pg_stat_replication. Points, so that
 * many weak signs never outweigh a slot and a sign that fits two is worth little. Facts that cannot be exclude.
 */
import { parseLsn } from '@tidemark/protocol';
import type { EdgeBasis } from './model.ts';
import { isLoopback, isSocket, leadsTo, onOneMachine, sameName } from './topology-places.ts';
import { DEFAULT_APPLICATION_NAME, isPublic, settingOf, type SenderRow, type Subject } from './topology-subject.ts';

/** What is the same for every pair: how many members an application name or an address may mean. */
export interface Crowd {
  readonly subjects: readonly Subject[];
  readonly applicationNames: ReadonlyMap<string, number>;
  /** Whom a standby's addresses may mean. */
  readonly meant: ReadonlyMap<Subject, readonly Subject[]>;
  /** Of processes that send: whose they are, and when each began. */
  readonly processes: readonly { readonly sender: Subject; readonly startedAt: number }[];
}

export interface Fit {
  readonly points: number;
  /** The strongest sign. */
  readonly by: EdgeBasis;
}

const CANNOT_BE: Fit = { points: Number.NEGATIVE_INFINITY, by: 'address' };
const PROCESS_WITHIN_MS = 2_500;
const PROCESS_BEYOND_MS = 60_000;
const STARTED_SLACK_MS = 10_000;
const LATER_MS = 2_500;
/** A name that is nobody else's. */
const OWN_NAME = 8;

/** Worked out once a look. */
export function crowdOf(subjects: readonly Subject[]): Crowd {
  const applicationNames = new Map<string, number>();
  for (const { applicationName } of subjects) applicationNames.set(applicationName, (applicationNames.get(applicationName) ?? 0) + 1);
  const meant = new Map(
    subjects.map((standby) => [
      standby,
      subjects.filter((one) => one !== standby && standby.seeks.addresses.some((address) => leadsTo(address, standby.place, one.place))),
    ]),
  );
  const processes = subjects.flatMap((sender) =>
    sender.rows.flatMap(({ kind, startedAt }) => (kind !== 'physical' || startedAt === undefined ? [] : [{ sender, startedAt }])),
  );
  return { subjects, applicationNames, meant, processes };
}

/** By the address that the standby connects to. */
export function fitOfAddress(standby: Subject, sender: Subject, crowd: Crowd): Fit {
  const by = standby.seeks.isConnected ? 'address' : 'conninfo';
  const meant = crowd.meant.get(standby)!;
  const known = standby.memory?.lastUpstream === sender.id ? 1 : 0;
  if (meant.includes(sender)) return { points: (meant.length === 1 ? 20 : 8) + known, by };
  // It says somebody else's address; several of them, or a configured one only, is less of a word.
  return { points: (meant.length === 1 && standby.seeks.isConnected ? -12 : 0) + known, by };
}

/** By the sender's row alone; −Infinity for one that cannot be this standby's. */
export function fitOfRow(standby: Subject, sender: Subject, row: SenderRow, crowd: Crowd): Fit {
  const slot = fitOfSlot(standby, row);
  const began = fitOfProcess(standby, row);
  if (slot === undefined || began === undefined || isTooFar(standby, sender, row)) return CANNOT_BE;
  const address = fitOfClient(standby, sender, row, crowd);
  const name = fitOfName(standby, row, crowd);
  const hasOther = slot > 0 || address > 0 || name >= OWN_NAME || isExpectedAt(standby, sender, crowd);
  const process = began > 0 && !hasOther && !isTheOnly(standby, sender, row, crowd) ? 0 : began;
  const by: EdgeBasis = slot > 0 ? 'slot' : process > 0 ? 'process' : address >= name ? 'address' : 'application_name';
  return { points: slot + process + address + name, by };
}

function fitOfSlot(standby: Subject, row: SenderRow): number | undefined {
  const { slot, isConnected } = standby.seeks;
  const used = row.view.slotName ?? undefined;
  if (slot !== undefined && slot === used) return 40;
  if (standby.seeks.streaming !== true) return slot === undefined || used === undefined ? 0 : -10;
  // It says what it uses now, and so does the row.
  return isConnected && slot !== used ? undefined : 0;
}

/** A sender's process begins with its receiver's, whatever lies between them. */
function fitOfProcess(standby: Subject, row: SenderRow): number | undefined {
  if (standby.seeks.streaming !== true || row.startedAt === undefined) return 0;
  if (standby.startedAt !== undefined && row.startedAt < standby.startedAt - STARTED_SLACK_MS) return undefined;
  if (standby.receiverStartedAt === undefined) return 0;
  const apart = Math.abs(row.startedAt - standby.receiverStartedAt);
  if (apart > PROCESS_BEYOND_MS) return undefined;
  return isWithin(row.startedAt, standby.receiverStartedAt) ? 24 : 0;
}

/** It connects to an address of that server, or streamed from there before. */
function isExpectedAt(standby: Subject, sender: Subject, crowd: Crowd): boolean {
  return standby.memory?.lastUpstream === sender.id || crowd.meant.get(standby)!.includes(sender);
}

/**
 * Where a whole site connects anew, everybody's processes begin at one moment, and that one of them began with a receiver says
 * little: unless they all are at one sender, as many as receivers began.
 */
function isTheOnly(standby: Subject, sender: Subject, row: SenderRow, crowd: Crowd): boolean {
  const near = crowd.processes.filter((one) => one.sender !== standby && isWithin(one.startedAt, standby.receiverStartedAt!));
  const receivers = crowd.subjects.filter(
    (one) =>
      one !== sender &&
      one.seeks.streaming === true &&
      one.receiverStartedAt !== undefined &&
      isWithin(one.receiverStartedAt, row.startedAt!),
  );
  return near.length === receivers.length && near.every((one) => one.sender === sender);
}

const isWithin = (one: number, other: number): boolean => Math.abs(one - other) <= PROCESS_WITHIN_MS;

/** A standby does not stream from a server whose timeline it is ahead of, and has by now what it had confirmed before. */
function isTooFar(standby: Subject, sender: Subject, row: SenderRow): boolean {
  if (standby.seeks.streaming !== true || !sender.current) return false;
  const later = standby.sighting.upAt! - sender.sighting.upAt!;
  const received = standby.document?.receiver?.receivedTimeline ?? undefined;
  if (later < -LATER_MS && received !== undefined && sender.timeline !== undefined && received > sender.timeline) return true;
  if (later <= LATER_MS || row.flushLsn === undefined) return false;
  const { flushedLsn, receiveLsn } = standby.document!.receiver!;
  const has = parseLsn(flushedLsn ?? receiveLsn);
  return has !== undefined && has < row.flushLsn;
}

/** By where the row's client comes from. */
function fitOfClient(standby: Subject, sender: Subject, row: SenderRow, crowd: Crowd): number {
  const together = onOneMachine(standby.place, sender.place);
  const seeks = standby.seeks.addresses[0]?.host;
  const overSocket = seeks === undefined || !standby.seeks.isConnected ? undefined : isSocket(seeks);
  if (row.address === undefined) {
    if (overSocket === false || !together) return -15;
    return overSocket === true ? 6 : 2;
  }
  if (overSocket === true) return -15;
  if (isLoopback(row.address)) return together ? sharedBy(crowd, sender, row.address) : -2;
  if (standby.place.addresses.has(row.address)) return sharedBy(crowd, sender, row.address);
  // The sender's own machine may be what translates addresses.
  if (sender.place.addresses.has(row.address)) return -1;
  return crowd.subjects.some(({ place }) => place.addresses.has(row.address!)) ? -8 : -1;
}

function sharedBy(crowd: Crowd, sender: Subject, address: string): number {
  let owners = 0;
  for (const one of crowd.subjects) {
    if (one === sender || one.role === 'primary') continue;
    if (isPublic(address) ? one.place.addresses.has(address) : onOneMachine(one.place, sender.place)) owners += 1;
  }
  return owners <= 1 ? 10 : 4;
}

function fitOfName(standby: Subject, row: SenderRow, crowd: Crowd): number {
  const name = row.view.applicationName ?? '';
  if (name === standby.applicationName) {
    if (name === DEFAULT_APPLICATION_NAME) return 1;
    return crowd.applicationNames.get(name) === 1 ? 12 : 3;
  }
  const lower = name.toLowerCase();
  const { sighting, place } = standby;
  if (name !== '' && (lower === sighting.instance.toLowerCase() || place.names.some((own) => sameName(own, lower)))) return OWN_NAME;
  if (name === settingOf(sighting, 'primary_slot_name')) return 3;
  if (name !== DEFAULT_APPLICATION_NAME && crowd.applicationNames.has(name)) return -10;
  return standby.applicationName === DEFAULT_APPLICATION_NAME ? -1 : -3;
}
