/**
 * What the parts of topology want to know of a watched member, worked out once a look: is what its agent says still so,
 * what is it, where is it, whom does it seek. Older knowledge never undoes newer: a document that is older than what is
 * remembered says where a server is, and no longer what it is.
 */
import { parseLsn, type PostgresReplication, type ReplicaView } from '@tidemark/protocol';
import type { InstanceId, MemberMemory, Sighting, TopologyInput } from './model.ts';
import { addressesOf, isLoopback, isSocket, normalHost, placeOf, type Address, type Place } from './topology-places.ts';

export type Role = MemberMemory['lastRole'];

export interface Subject {
  readonly id: InstanceId;
  readonly name: string;
  readonly sighting: Sighting;
  readonly memory: MemberMemory | undefined;
  /** The newest of when it was up. */
  readonly document: PostgresReplication | undefined;
  /** Its agent says now that it is up. */
  readonly current: boolean;
  /** The same, and sampled within two of its intervals. */
  readonly fresh: boolean;
  /** Subscribers are still what they look like here: primaries. */
  readonly role: Role;
  readonly timeline: number | undefined;
  /** How far it has come: written, or received or replayed. */
  readonly lsn: bigint | undefined;
  readonly place: Place;
  /** What its receiver calls itself unless it is told otherwise. */
  readonly applicationName: string;
  readonly seeks: Seeks;
  /** When its server began to run, on the collector's clock. */
  readonly startedAt: number | undefined;
  readonly receiverStartedAt: number | undefined;
  readonly rows: readonly SenderRow[];
}

/** Whom a replica follows, by its own account. */
export interface Seeks {
  /** Undefined: it cannot say (it is down, silent, or its agent may not see). */
  readonly streaming: boolean | undefined;
  readonly slot: string | undefined;
  readonly addresses: readonly Address[];
  /** The address is its receiver's own; else it is what is configured, or was. */
  readonly isConnected: boolean;
}

/** A row of its pg_stat_replication that somebody can be found by. */
export interface SenderRow {
  readonly index: number;
  readonly view: ReplicaView;
  readonly kind: 'physical' | 'logical';
  /** Undefined: over a socket, or not to be seen. */
  readonly address: string | undefined;
  readonly startedAt: number | undefined;
  readonly flushLsn: bigint | undefined;
}

const FRESH_INTERVALS = 2;
const RECEIVER_TIMEOUT_MS = 60_000;
export const DEFAULT_APPLICATION_NAME = 'walreceiver';
/** They take WAL and are no servers. */
const COLLECTORS_OF_WAL = /^(pg_basebackup|pg_receivewal|barman|wal-g|walg|pgbackrest|pg_rewind)/i;

/** In the order of the sightings. */
export function subjectsOf({ sightings, memory, now }: TopologyInput): Subject[] {
  const names = namesOf(sightings);
  return sightings.map((sighting) => subjectOf(sighting, names.get(sighting.id)!, memory[sighting.id], now));
}

function subjectOf(sighting: Sighting, name: string, memory: MemberMemory | undefined, now: number): Subject {
  const { document, upAt, newest } = sighting;
  const outdated = memory !== undefined && upAt !== undefined && upAt < memory.lastSeenAt;
  const current = newest.up && !sighting.silent && !outdated && document !== undefined;
  const offset = upAt === undefined ? undefined : offsetOf(document?.serverTime, upAt);
  const role = outdated ? memory.lastRole : (document?.role ?? memory?.lastRole ?? 'unknown');
  return {
    id: sighting.id,
    name,
    sighting,
    memory,
    document,
    current,
    fresh: current && upAt !== undefined && now - upAt <= FRESH_INTERVALS * sighting.intervalMs,
    role,
    timeline: outdated ? memory.timeline : timelineOf(document, memory),
    lsn: document === undefined ? undefined : furthestLsn(document),
    place: placeOf(sighting, document),
    applicationName: nonEmpty(document?.clusterName) ?? settingOf(sighting, 'cluster_name') ?? DEFAULT_APPLICATION_NAME,
    seeks: seeksOf(sighting, current),
    startedAt: momentOf(document?.startedAt, offset),
    receiverStartedAt: momentOf(document?.receiver?.startedAt, offset),
    rows: document === undefined ? [] : rowsOf(document, offset),
  };
}

/** In one run of a server its timeline never falls: without a receiver only the control file is left to say it, and that is late. */
function timelineOf(document: PostgresReplication | undefined, memory: MemberMemory | undefined): number | undefined {
  const said = document?.timeline ?? undefined;
  if (said === undefined) return memory?.timeline;
  const sameRun = memory?.startedAt !== undefined && memory.startedAt === document?.startedAt;
  return sameRun && document?.role === 'replica' && memory.lastRole === 'replica' ? Math.max(said, memory.timeline ?? 0) : said;
}

function furthestLsn(document: PostgresReplication): bigint | undefined {
  const { receiver } = document;
  const texts =
    document.role === 'primary'
      ? [document.flushLsn, document.currentLsn]
      : [receiver?.replayLsn, receiver?.receiveLsn, receiver?.flushedLsn];
  let furthest: bigint | undefined;
  for (const text of texts) {
    const lsn = parseLsn(text);
    if (lsn !== undefined && (furthest === undefined || lsn > furthest)) furthest = lsn;
  }
  return furthest;
}

function seeksOf(sighting: Sighting, current: boolean): Seeks {
  const { document, settings } = sighting;
  const receiver = document?.role === 'replica' ? document.receiver : null;
  const status = receiver?.status ?? null;
  const mayNotSee = document === undefined || (document.insufficientPrivilege && status === null);
  const timeoutMs = Number(settingOf(sighting, 'wal_receiver_timeout') ?? RECEIVER_TIMEOUT_MS);
  const isMute = timeoutMs > 0 && (receiver?.lastMessageAgoMs ?? 0) > timeoutMs;
  const host = status === null ? undefined : nonEmpty(receiver?.senderHost);
  const configured = addressesOf(settings?.primary?.host ?? null, settings?.primary?.port ?? null);
  return {
    streaming: !current || mayNotSee ? undefined : status === 'streaming' && !isMute,
    slot: status === null ? settingOf(sighting, 'primary_slot_name') : nonEmpty(receiver?.slotName),
    addresses: host === undefined ? configured : [{ host: normalHost(host), port: receiver?.senderPort ?? undefined }],
    isConnected: status !== null,
  };
}

/** A subscriber copies a table over a connection of its own, and is gone with it: pg_SUBSCRIPTION_sync_TABLE_SYSTEM. */
const TABLE_COPY = /^pg_\d+_sync_\d+_\d+$/;

function rowsOf(document: PostgresReplication, offset: number | undefined): SenderRow[] {
  const rows: SenderRow[] = [];
  document.replicas.forEach((view, index) => {
    const { applicationName, clientAddr, state } = view;
    // Without the right to see there is a pid and nothing else: that somebody is there, and not who.
    if (applicationName === null && clientAddr === null && state === null) return;
    const slotType = view.slotType ?? document.slots.find(({ name }) => name === view.slotName)?.type;
    const kind = slotType === 'logical' ? 'logical' : 'physical';
    if (kind === 'physical') {
      if (state === 'backup' || COLLECTORS_OF_WAL.test(applicationName ?? '')) return;
      // pg_receivewal by any name: it writes and never replays.
      if (view.writeLsn !== null && view.replayLsn === null) return;
    } else if (TABLE_COPY.test(applicationName ?? '')) return;
    rows.push({
      index,
      view,
      kind,
      address: clientAddr === null ? undefined : normalHost(clientAddr),
      startedAt: momentOf(view.backendStart, offset),
      flushLsn: parseLsn(view.flushLsn),
    });
  });
  return rows;
}

/** What to add to the server's own time to have the collector's. */
function offsetOf(serverTime: string | null | undefined, at: number): number | undefined {
  const said = Date.parse(serverTime ?? '');
  return Number.isNaN(said) ? undefined : at - said;
}

function momentOf(time: string | null | undefined, offset: number | undefined): number | undefined {
  if (offset === undefined || time === null || time === undefined) return undefined;
  const said = Date.parse(time);
  return Number.isNaN(said) ? undefined : said + offset;
}

/** As pg_settings has it, in its unit; undefined where it is empty or may not be seen. */
export function settingOf(sighting: Sighting, name: string): string | undefined {
  return nonEmpty(sighting.settings?.settings.find((setting) => setting.name === name)?.value);
}

function nonEmpty(text: string | null | undefined): string | undefined {
  return text === null || text === undefined || text === '' ? undefined : text;
}

/** The node's name; with the instance's where a node has several, and with the site's where two sites have a node of that name. */
function namesOf(sightings: readonly Sighting[]): Map<InstanceId, string> {
  const perNode = new Map<number, number>();
  const nodesOfName = new Map<string, Set<number>>();
  for (const { nodeId, nodeName } of sightings) {
    perNode.set(nodeId, (perNode.get(nodeId) ?? 0) + 1);
    const nodes = nodesOfName.get(nodeName) ?? new Set();
    nodesOfName.set(nodeName, nodes.add(nodeId));
  }
  return new Map(
    sightings.map(({ id, nodeId, nodeName, site, instance }) => {
      const node = nodesOfName.get(nodeName)!.size > 1 ? `${nodeName} (${site})` : nodeName;
      return [id, perNode.get(nodeId)! > 1 ? `${node}/${instance}` : node];
    }),
  );
}

/** How an unwatched client is called by where it comes from. */
export function rowAddress(row: SenderRow): string {
  return row.address ?? 'socket';
}

/** Whether an address says anything about a machine to somebody on another one. */
export function isPublic(host: string): boolean {
  return !isSocket(host) && !isLoopback(host);
}
