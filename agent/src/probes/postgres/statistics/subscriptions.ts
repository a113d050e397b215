/**
 * Logical subscriptions of every database: the catalog of subscriptions is shared, that of their tables is not, so tables
 * are counted for the connected database alone. Where they get their data from stands in a connection string with a
 * password: it is read only when the role may see it anyway, and host and port are all that leaves this module.
 */
import type { PostgresReplication } from '@tidemark/protocol';
import { metric } from '../../recorder.ts';
import { primaryOf } from '../settings.ts';
import type { Statistics, StatisticsGroup, StatisticsRow } from './group.ts';
import { json } from './together.ts';

type Subscription = NonNullable<PostgresReplication['subscriptions']>[number];
type Publisher = ReturnType<typeof primaryOf>;

const SUBSCRIPTIONS_MAX = 200;
const SUBSCRIPTION = ['server', 'datname', 'subname'];

const enabled = metric(
  'tidemark_postgres_subscription_enabled',
  'gauge',
  '',
  '0 when the subscription is disabled: nothing is replicated.',
  SUBSCRIPTION,
);
const workerUp = metric(
  'tidemark_postgres_subscription_worker_up',
  'gauge',
  '',
  '1 when the worker that applies changes runs; 0 when it does not although the subscription is enabled.',
  SUBSCRIPTION,
);
const tablesNotReady = metric(
  'tidemark_postgres_subscription_tables_not_ready',
  'gauge',
  '',
  'Tables whose initial copy is not done. Only for subscriptions of the database that the agent is connected to.',
  SUBSCRIPTION,
);
const lastMessage = metric(
  'tidemark_postgres_subscription_last_message_seconds',
  'gauge',
  'seconds',
  'Since anything came from the publisher, be it only a sign of life.',
  SUBSCRIPTION,
);
const applyErrors = metric(
  'tidemark_postgres_subscription_apply_errors_total',
  'counter',
  '',
  'Errors while changes were applied.',
  SUBSCRIPTION,
);
const syncErrors = metric(
  'tidemark_postgres_subscription_sync_errors_total',
  'counter',
  '',
  'Errors during the initial copy of tables.',
  SUBSCRIPTION,
);
const conflicts = metric(
  'tidemark_postgres_subscription_conflicts_total',
  'counter',
  '',
  'Changes that met another one on the subscriber, by kind (pg_stat_subscription_stats). Since 18.',
  [...SUBSCRIPTION, 'conflict'],
);

const PARALLEL_WORKERS_SINCE = 160_000;

const sqlFor = (
  versionNumber: number,
): string => `SELECT s.subname, d.datname, s.subenabled, s.subslotname, w.pid, w.received_lsn, w.latest_end_lsn,
  extract(epoch FROM clock_timestamp() - w.last_msg_receipt_time),
  CASE WHEN d.datname = current_database() THEN (SELECT count(*) FROM pg_subscription_rel r WHERE r.srsubid = s.oid AND r.srsubstate <> 'r') END,
  to_json(t), has_column_privilege('pg_catalog.pg_subscription', 'subconninfo', 'SELECT')
FROM pg_subscription s
JOIN pg_database d ON d.oid = s.subdbid
LEFT JOIN pg_stat_subscription w ON w.subid = s.oid AND w.relid IS NULL${versionNumber >= PARALLEL_WORKERS_SINCE ? ' AND w.leader_pid IS NULL' : ''}
LEFT JOIN pg_stat_subscription_stats t ON t.subid = s.oid
ORDER BY d.datname, s.subname LIMIT ${SUBSCRIPTIONS_MAX}`;

/** Two groups: the subscriptions, and now and then, where the role may, their publishers. */
export function subscriptions(): StatisticsGroup[] {
  let publishers: ReadonlyMap<string, Publisher> = new Map();
  let publishersVisible = false;
  return [
    {
      name: 'subscriptions',
      everyMs: 60_000,
      // On a standby they are those of its primary, and nothing works on them.
      roles: ['primary'],
      right: 'SELECT on pg_subscription, which everybody has by default',
      statement: ({ versionNumber }) => sqlFor(versionNumber),
      read(rows, { server }): Statistics {
        publishersVisible = rows[0]?.[10] === 't';
        const seen = rows.map((row) => ({
          subscription: subscriptionFrom(row, publishers.get(keyOf(row)) ?? null),
          byKind: conflictsIn(json(row[9])),
        }));
        return {
          record(block) {
            for (const { subscription, byKind } of seen) {
              const labels = [server, subscription.database ?? '', subscription.name];
              block.add(enabled, subscription.enabled === true ? 1 : 0, ...labels);
              if (subscription.enabled === true) block.add(workerUp, subscription.workerPid === null ? 0 : 1, ...labels);
              if (subscription.tablesNotReady !== null) block.add(tablesNotReady, subscription.tablesNotReady, ...labels);
              if (subscription.lastMessageAgoMs !== null) block.add(lastMessage, subscription.lastMessageAgoMs / 1000, ...labels);
              block.add(applyErrors, subscription.applyErrors, ...labels);
              block.add(syncErrors, subscription.syncErrors, ...labels);
              for (const [kind, count] of byKind) block.add(conflicts, count, ...labels, kind);
            }
          },
          document: { subscriptions: seen.map(({ subscription }) => subscription) },
        };
      },
    },
    {
      name: 'publishers',
      everyMs: 300_000,
      roles: ['primary'],
      right: 'SELECT (subconninfo) ON pg_subscription',
      statement: () =>
        publishersVisible
          ? `SELECT s.subname, d.datname, s.subconninfo FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid LIMIT ${SUBSCRIPTIONS_MAX}`
          : undefined,
      read(rows): Statistics {
        publishers = new Map(rows.map((row) => [keyOf(row), primaryOf(row[2] ?? '')]));
        return {};
      },
    },
  ];
}

function keyOf([name, databaseName]: StatisticsRow): string {
  return JSON.stringify([name, databaseName]);
}

function subscriptionFrom(row: StatisticsRow, publisher: Publisher): Subscription {
  const [name, databaseName, isEnabled, slotName, pid, receivedLsn, latestEndLsn, lastMessageSeconds, notReady, stats] = row;
  const { apply_error_count: applyErrorCount, sync_error_count: syncErrorCount } = (json(stats) ?? {}) as Record<
    string,
    number | undefined
  >;
  return {
    name: name ?? '',
    database: databaseName ?? null,
    enabled: isEnabled === 't',
    slotName: slotName ?? null,
    workerPid: numberOf(pid),
    receivedLsn: receivedLsn ?? null,
    latestEndLsn: latestEndLsn ?? null,
    lastMessageAgoMs:
      lastMessageSeconds === null || lastMessageSeconds === undefined ? null : Math.max(0, Math.round(Number(lastMessageSeconds) * 1000)),
    tablesNotReady: numberOf(notReady),
    publisherHost: publisher?.host ?? null,
    publisherPort: publisher?.port ?? null,
    applyErrors: applyErrorCount ?? null,
    syncErrors: syncErrorCount ?? null,
  };
}

function conflictsIn(stats: unknown): [kind: string, count: number][] {
  return Object.entries((stats ?? {}) as Record<string, unknown>)
    .filter((entry): entry is [string, number] => entry[0].startsWith('confl_') && typeof entry[1] === 'number')
    .map(([column, count]) => [column.slice('confl_'.length), count]);
}

function numberOf(text: string | null | undefined): number | null {
  return text === null || text === undefined ? null : Number(text);
}
