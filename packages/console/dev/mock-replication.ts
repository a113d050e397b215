/**
 * Clusters that do not exist, in every state that the console has to show: calm, paused, cut off for days, with two
 * primaries, with a lost slot. A pure function of scene and time; names may be those of the fake fleet's databases.
 */
import type { Replication, ReplicationCluster, ReplicationEvent } from '@tidemark/protocol';
import { clusterOf, lagOf, slotOf, type Making, type Sketch } from './mock-cluster.ts';

const MINUTE = 60;
const HOUR = 3_600;
const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** `calm`: one cluster that is well. `pair`: it and one in trouble. `mixed`: one of each kind of trouble. `many`: sixty. */
export type ReplicationScene = 'none' | 'calm' | 'pair' | 'mixed' | 'many';

/** A node that an instance may be put on, so that its links lead somewhere. */
export interface MockHost {
  name: string;
  site: string;
}

/** A→B→C, and D off A. */
function calm(making: Making, hosts: readonly MockHost[]): ReplicationCluster {
  const [a, b, c, d] = ['shop-db-1', 'shop-db-2', 'shop-db-3', 'shop-db-4'].map((name, place) => hosts[place] ?? { name, site: 'lisbon' });
  const cascade = lagOf(making, 3.4, 2.1, 4.3, { bytes: 1.3 * MIB });
  return clusterOf(making, {
    id: 1,
    name: 'shop',
    primary: a!.name,
    instances: [
      { name: a!.name, site: a!.site, role: 'primary' },
      { name: b!.name, site: b!.site, upstream: a!.name, syncState: 'sync', lag: lagOf(making, 0, 0, 0) },
      {
        name: c!.name,
        site: c!.site,
        upstream: b!.name,
        lag: cascade,
        edgeLag: lagOf(making, 3.1, 1.9, 4, { source: 'sender' }),
        transportBytes: 0.2 * MIB,
        replayBytes: 1.1 * MIB,
      },
      { name: d!.name, site: d!.site, upstream: a!.name, lag: lagOf(making, 0, 0, 1.6) },
    ],
    slots: [
      slotOf(a!.name, 'shop_b', { usedBy: b!.name }),
      slotOf(a!.name, 'shop_d', { usedBy: d!.name, retainedBytes: 6 * MIB }),
      slotOf(b!.name, 'shop_c', { usedBy: c!.name, heldSeconds: 4 }),
    ],
    events: [
      { kind: 'replica_added', ago: 3 * 24 * HOUR, instance: d!.name, text: `${d!.name} began to stream from ${a!.name}.` },
      {
        kind: 'switchover',
        ago: 9 * 24 * HOUR,
        instance: a!.name,
        text: `${a!.name} took over from ${b!.name}, which had shut down in order; nothing was lost.`,
        details: { lostBytes: 0, withoutPrimarySeconds: 4, timeline: 3 },
      },
    ],
    more: { syncStandbysRequired: 1, syncStandbysPresent: 1 },
  });
}

function paused(making: Making): ReplicationCluster {
  const own = lagOf(making, 252, 251, 253.4, { bytes: 612 * MIB });
  return clusterOf(making, {
    id: 2,
    name: 'billing',
    primary: 'billing-1',
    instances: [
      { name: 'billing-1', role: 'primary' },
      {
        name: 'billing-2',
        site: 'porto',
        upstream: 'billing-1',
        state: 'paused',
        since: making.iso(252),
        why: 'pg_wal_replay_pause() was called: WAL comes in and is not replayed.',
        lag: own,
        replayBytes: 612 * MIB,
        catchup: 'unknown',
        walBytesPerSecond: 0,
      },
      {
        name: 'billing-3',
        site: 'porto',
        upstream: 'billing-2',
        lag: own,
        edgeLag: lagOf(making, 0, 0, 1.2, { source: 'sender' }),
        catchup: 'unknown',
      },
      {
        name: 'billing-4',
        site: 'faro',
        upstream: 'billing-1',
        state: 'catching_up',
        since: making.iso(400),
        why: 'It was away for six minutes and replays faster than is written.',
        lag: lagOf(making, 194, 193, 195.2, { bytes: 480 * MIB }),
        transportBytes: 410 * MIB,
        replayBytes: 70 * MIB,
        catchup: 'converging',
        catchupSeconds: 171,
        walBytesPerSecond: 5.1 * MIB,
      },
    ],
    slots: [
      slotOf('billing-1', 'billing_2', { usedBy: 'billing-2' }),
      slotOf('billing-1', 'cdc', {
        type: 'logical',
        database: 'billing',
        retainedBytes: 900 * MIB,
        heldSeconds: 380,
        lag: lagOf(making, 380, 379, 381),
        safeBytes: 3.1 * GIB,
        lostInSeconds: 22 * MINUTE,
        usedBy: null,
      }),
    ],
    events: [{ kind: 'slot_active', ago: 410, instance: 'billing-1', text: 'Slot billing_4 on billing-1 is in use again.' }],
  });
}

function cutOff(making: Making): ReplicationCluster {
  const since = making.iso(40 * HOUR + 12 * MINUTE);
  const lag = lagOf(making, 40 * HOUR + 12 * MINUTE, 40 * HOUR + 12 * MINUTE, null, {
    unknownSince: since,
    source: 'standby',
    bytes: null,
  });
  return clusterOf(making, {
    id: 3,
    name: 'ledger',
    primary: 'ledger-1',
    certainty: 'likely',
    why: 'ledger-1 was one when it was last seen, and nobody has taken over.',
    instances: [
      {
        name: 'ledger-1',
        role: 'primary',
        state: 'down',
        since,
        why: 'Nothing has come from its agent since, and no replica hears from it.',
        seenAt: since,
        walBytesPerSecond: null,
      },
      {
        name: 'ledger-2',
        site: 'porto',
        upstream: 'ledger-1',
        state: 'disconnected',
        since,
        why: 'Its receiver is gone: "could not connect to the primary server: Connection refused".',
        lag,
        transportBytes: null,
        catchup: 'unknown',
        walBytesPerSecond: 0,
      },
    ],
    events: [
      {
        kind: 'primary_lost',
        ago: 40 * HOUR + 12 * MINUTE,
        instance: 'ledger-1',
        severity: 'critical',
        text: 'ledger-1 is not heard from any more: neither by its agent nor by its replicas.',
        details: { rpoBytes: 1.2 * GIB },
      },
    ],
    more: { withoutPrimarySeconds: 40 * HOUR + 12 * MINUTE, rpoBytes: 1.2 * GIB },
  });
}

function splitBrain(making: Making): ReplicationCluster {
  const since = making.iso(9 * MINUTE);
  return clusterOf(making, {
    id: 4,
    name: 'accounts',
    primary: null,
    certainty: 'disputed',
    why: 'accounts-1 and accounts-2 both write, and accounts-2 was a replica of accounts-1.',
    instances: [
      { name: 'accounts-1', role: 'primary' },
      { name: 'accounts-2', role: 'primary', site: 'porto', timeline: 4, since, why: 'It was promoted while accounts-1 went on.' },
      { name: 'accounts-3', site: 'faro', upstream: 'accounts-1' },
      { name: 'accounts-4', site: 'porto', timeline: 4, upstream: 'accounts-2' },
      {
        name: 'accounts-5',
        site: 'porto',
        timeline: 3,
        upstream: 'accounts-2',
        state: 'diverged',
        since,
        why: 'It has replayed WAL of timeline 3 beyond the fork at 3A/5B000060: it can follow accounts-2 only after pg_rewind.',
        lag: null,
        catchup: 'unknown',
      },
    ],
    events: [
      {
        kind: 'split_brain',
        ago: 9 * MINUTE,
        severity: 'critical',
        text: 'accounts-2 was promoted while accounts-1 went on writing: two primaries of one cluster.',
        details: { forkLsn: '3A/5B000060', bytesWrittenOld: 48 * MIB, bytesWrittenNew: 3 * MIB },
      },
      {
        kind: 'diverged',
        ago: 8 * MINUTE,
        severity: 'critical',
        instance: 'accounts-5',
        text: 'accounts-5 has WAL that accounts-2 does not have.',
      },
    ],
    more: { splitBrain: true, rpoBytes: null },
  });
}

function lostSlot(making: Making): ReplicationCluster {
  return clusterOf(making, {
    id: 5,
    name: 'events',
    primary: 'events-1',
    instances: [
      { name: 'events-1', role: 'primary', walBytesPerSecond: 31 * MIB },
      {
        name: 'events-2',
        site: 'madeira',
        upstream: 'events-1',
        state: 'catching_up',
        since: making.iso(50 * MINUTE),
        why: 'It replays 19 MiB/s while 31 MiB/s are written.',
        lag: lagOf(making, 20 * MINUTE, 1_199, 1_201, { bytes: 36 * GIB }),
        transportBytes: 35 * GIB,
        replayBytes: 1 * GIB,
        catchup: 'never',
        walBytesPerSecond: 19 * MIB,
      },
    ],
    slots: [
      slotOf('events-1', 'events_2', {
        usedBy: 'events-2',
        retainedBytes: 36 * GIB,
        heldSeconds: 20 * MINUTE,
        diskFullInSeconds: 3.2 * HOUR,
      }),
      slotOf('events-1', 'ghost', {
        active: false,
        walStatus: 'lost',
        invalidationReason: 'wal_removed',
        inactiveSince: making.iso(6 * HOUR),
        retainedBytes: null,
        heldSeconds: null,
      }),
      slotOf('events-1', 'old_reports', {
        active: false,
        inactiveSince: making.iso(26 * HOUR),
        retainedBytes: 41 * GIB,
        heldSeconds: 26 * HOUR,
      }),
    ],
    events: [
      {
        kind: 'slot_lost',
        ago: 3 * HOUR,
        severity: 'critical',
        instance: 'events-1',
        text: 'Slot ghost on events-1 is lost: wal_removed.',
      },
      {
        kind: 'slot_unreserved',
        ago: 3.1 * HOUR,
        severity: 'warning',
        instance: 'events-1',
        text: 'Slot ghost on events-1 may be lost at any checkpoint.',
      },
      {
        kind: 'slot_inactive',
        ago: 6 * HOUR,
        severity: 'warning',
        instance: 'events-1',
        text: 'Nobody uses slot ghost on events-1 any more.',
      },
    ],
    more: { rpoBytes: 35 * GIB },
  });
}

function fromArchive(making: Making): ReplicationCluster {
  return clusterOf(making, {
    id: 6,
    name: 'archive-fed',
    primary: 'maps-1',
    instances: [
      { name: 'maps-1', role: 'primary', version: '15.18' },
      {
        name: 'maps-2',
        version: '15.18',
        site: 'faro',
        state: 'archive_recovery',
        since: making.iso(5 * HOUR),
        why: 'It has no primary_conninfo and restores what restore_command finds.',
        lag: lagOf(making, 41, 12, 73, { bytes: 16 * MIB }),
        transportBytes: 16 * MIB,
        catchup: 'unknown',
      },
      {
        name: 'maps-3',
        version: '15.18',
        upstream: 'maps-1',
        state: 'delayed',
        why: 'recovery_min_apply_delay is 5 min.',
        delaySeconds: 300,
        lag: lagOf(making, 301.2, 300.4, 302.2, { bytes: 700 * MIB }),
        replayBytes: 700 * MIB,
        catchup: 'unknown',
      },
    ],
    events: [
      {
        kind: 'archiver_failing',
        ago: 31 * MINUTE,
        severity: 'warning',
        instance: 'maps-1',
        text: 'archive_command has failed 34 times; 12 segments wait',
      },
    ],
  });
}

function unwatched(making: Making): ReplicationCluster {
  return clusterOf(making, {
    id: 7,
    name: 'search',
    primary: 'search-1',
    instances: [
      { name: 'search-1', role: 'primary', version: '18.1' },
      { name: 'search-2', version: '18.1', upstream: 'search-1' },
      {
        name: '10.20.7.13',
        watched: false,
        upstream: 'search-1',
        upstreamBy: 'process',
        why: 'search-1 sends to it; no agent watches it.',
        lag: lagOf(making, 0.4, 0, 2.2, { source: 'sender' }),
        seenAt: making.iso(2),
      },
      {
        name: 'reports-warehouse',
        role: 'subscriber',
        upstream: 'search-1',
        upstreamBy: 'subscription',
        timeline: null,
        why: 'Its subscription reports to slot warehouse.',
        lag: lagOf(making, 6, 5.2, 7.2),
      },
    ],
    slots: [slotOf('search-1', 'warehouse', { type: 'logical', database: 'search', usedBy: 'reports-warehouse', retainedBytes: 22 * MIB })],
  });
}

function withoutSync(making: Making): ReplicationCluster {
  return clusterOf(making, {
    id: 8,
    name: 'payments',
    primary: 'payments-1',
    instances: [
      { name: 'payments-1', role: 'primary' },
      {
        name: 'payments-2',
        upstreamAddress: '10.20.4.250:5432',
        state: 'disconnected',
        since: making.iso(3 * MINUTE),
        why: 'Its receiver tries 10.20.4.250:5432, where nobody answers.',
        lag: lagOf(making, 178, 176.4, 181, { bytes: 34 * MIB }),
        transportBytes: 34 * MIB,
        catchup: 'unknown',
      },
      {
        name: 'payments-3',
        site: 'porto',
        upstream: 'payments-1',
        state: 'insufficient_privilege',
        why: 'The role of its agent lacks pg_monitor.',
        lag: null,
      },
    ],
    events: [
      {
        kind: 'sync_commits_waiting',
        ago: 2 * MINUTE,
        severity: 'critical',
        instance: 'payments-1',
        text: '12 sessions wait for a synchronous standby that is not there.',
        details: { waiting: 12 },
      },
      {
        kind: 'sync_standby_missing',
        ago: 3 * MINUTE,
        severity: 'warning',
        instance: 'payments-1',
        text: 'No synchronous standby of payments-1 is connected.',
      },
    ],
    more: { syncStandbysRequired: 1, syncStandbysPresent: 0, rpoBytes: 34 * MIB },
  });
}

function quiet(making: Making, place: number): ReplicationCluster {
  const name = `tenant-${String(place).padStart(2, '0')}`;
  return clusterOf(making, {
    id: 100 + place,
    name,
    primary: `${name}-a`,
    instances: [
      { name: `${name}-a`, role: 'primary' },
      ...Array.from({ length: 1 + (place % 3) }, (_, replica): Sketch => ({
        name: `${name}-${'bcd'[replica] ?? 'e'}`,
        site: ['porto', 'faro', 'lisbon'][replica] ?? 'porto',
        upstream: `${name}-a`,
        lag: lagOf(making, 0, 0, 0.4 + (place % 4) * 0.5),
      })),
    ],
    slots: [slotOf(`${name}-a`, `${name.replace('-', '_')}_b`, { usedBy: `${name}-b` })],
    events: [{ kind: 'replica_added', ago: place * HOUR, instance: `${name}-b`, text: `${name}-b began to stream from ${name}-a.` }],
  });
}

/** The document as `GET /api/telemetry/replication` has it. */
export function mockReplication(scene: ReplicationScene, nowMs: number, hosts: readonly MockHost[] = []): Replication {
  const making: Making = { nowMs, iso: (secondsAgo) => new Date(nowMs - secondsAgo * 1_000).toISOString() };
  const kinds = [paused, cutOff, splitBrain, lostSlot, fromArchive, unwatched, withoutSync];
  const clusters =
    scene === 'none'
      ? []
      : [
          calm(making, hosts),
          ...(scene === 'calm' ? [] : scene === 'pair' ? [paused(making)] : kinds.map((make) => make(making))),
          ...(scene === 'many' ? Array.from({ length: 60 - 1 - kinds.length }, (_, place) => quiet(making, place + 1)) : []),
        ];
  return { at: making.iso(0), clusters };
}

/** The record of events as `GET /api/telemetry/replication/events` has it: what the document tells of, and a year before that. */
export function mockReplicationEvents(known: Replication, query: URLSearchParams): ReplicationEvent[] {
  const [cluster, kind, before] = [query.get('cluster'), query.get('kind'), query.get('before')];
  const record = known.clusters.flatMap(({ systemIdentifier, name, events }) => [
    ...events,
    ...Array.from({ length: 150 }, (_, place): ReplicationEvent => ({
      id: `${systemIdentifier}-old-${place}`,
      kind: place % 3 === 0 ? 'slot_inactive' : 'slot_active',
      at: new Date(Date.parse(known.at) - (10 + place * 2) * 24 * HOUR * 1_000).toISOString(),
      systemIdentifier,
      instance: null,
      instanceId: null,
      severity: place % 3 === 0 ? 'warning' : 'info',
      text: `A slot of ${name}, long ago: ${place}.`,
      details: {},
    })),
  ]);
  return record
    .filter(
      (event) =>
        (cluster === null || event.systemIdentifier === cluster) &&
        (kind === null || event.kind === kind) &&
        (before === null || event.at < before),
    )
    .toSorted((a, b) => b.at.localeCompare(a.at))
    .slice(0, Number(query.get('limit') ?? 100));
}
