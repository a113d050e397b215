/**
 * Sessions: who waits and for what, how old the oldest transactions are and what they hold back, and whether commits wait
 * for a synchronous standby. One pass over pg_stat_activity, summed up on the server: a thousand sessions are some ten rows.
 */
import { parseSynchronousStandbyNames, POSTGRES_LOCKS, type PostgresLocks } from '@tidemark/protocol';
import { metric, type BlockRecorder } from '../../recorder.ts';
import type { LockWatch } from './locks.ts';
import type { Statistics, StatisticsGroup, StatisticsRow } from './group.ts';

const maxTransaction = metric(
  'pg_stat_activity_max_tx_duration',
  'gauge',
  'seconds',
  'Age of the oldest transaction of a client in this state.',
  ['server', 'state'],
);
const transactions = metric(
  'pg_long_running_transactions',
  'gauge',
  '',
  'Open transactions, however old, without those of autovacuum: the name is of postgres_exporter.',
  ['server'],
);
const oldestTransaction = metric(
  'pg_long_running_transactions_oldest_timestamp_seconds',
  'gauge',
  'seconds',
  'Age of the oldest open transaction, without those of autovacuum; 0 when there is none.',
  ['server'],
);
const idleInTransaction = metric(
  'tidemark_postgres_idle_in_transaction_seconds',
  'gauge',
  'seconds',
  'For how long the session that is longest idle in a transaction has been idle; 0 when there is none.',
  ['server'],
);
const xminAge = metric(
  'tidemark_postgres_oldest_xmin_age',
  'gauge',
  '',
  'Transactions since the oldest snapshot that is held by sessions, or by replicas with hot_standby_feedback and without a slot. Vacuum cannot remove what was deleted since.',
  ['server', 'holder'],
);
const waiting = metric(
  'tidemark_postgres_sessions_waiting',
  'gauge',
  '',
  'Clients that are in the middle of a statement and wait, by what they wait for.',
  ['server', 'wait_event_type'],
);
const lockWaiters = metric('tidemark_postgres_lock_waiters', 'gauge', '', 'Processes that wait for a lock of another one.', ['server']);
const longestWait = metric(
  'tidemark_postgres_lock_wait_seconds',
  'gauge',
  'seconds',
  'For how long the longest waiting process has waited for a lock; 0 when none waits.',
  ['server'],
);
const waitingForSync = metric('tidemark_postgres_waiting_for_sync', 'gauge', '', 'Sessions whose commit waits for a synchronous standby.', [
  'server',
]);
const syncRequired = metric(
  'tidemark_postgres_sync_standbys_required',
  'gauge',
  '',
  'Standbys that a commit waits for, by synchronous_standby_names; 0 when none is synchronous.',
  ['server'],
);
const syncPresent = metric(
  'tidemark_postgres_sync_standbys_present',
  'gauge',
  '',
  'Standbys that stream and count for commits (sync or quorum). Fewer than required: commits hang.',
  ['server'],
);

const STATES = ['active', 'idle in transaction', 'idle in transaction (aborted)'];
const WAITS = ['Lock', 'LWLock', 'IO', 'IPC', 'BufferPin', 'Client', 'Timeout', 'Extension'];

const SQL = `SELECT CASE WHEN backend_type IN ('client backend', 'walsender', 'autovacuum worker') THEN backend_type ELSE 'other' END,
  state, wait_event_type, count(*), count(xact_start),
  max(extract(epoch FROM clock_timestamp() - xact_start)), max(extract(epoch FROM clock_timestamp() - state_change)),
  max(age(backend_xmin)), count(*) FILTER (WHERE wait_event = 'SyncRep'),
  current_setting('synchronous_standby_names'),
  (SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state IN ('sync', 'quorum'))
FROM pg_stat_activity WHERE pid <> pg_backend_pid() GROUP BY 1, 2, 3`;

interface Sessions {
  readonly kind: string;
  readonly state: string | null;
  readonly waitsFor: string | null;
  readonly count: number;
  readonly transactions: number;
  readonly transactionSeconds: number;
  readonly stateSeconds: number;
  readonly xminAge: number;
  readonly waitForSync: number;
}

export function sessions(locks: LockWatch): StatisticsGroup {
  return {
    name: 'sessions',
    everyMs: 10_000,
    right: 'pg_monitor',
    // Without the right, states and waits are hidden: what could be counted would be wrong.
    statement: (facts) => (facts.seesAll ? SQL : undefined),
    read(rows, { server, role }): Statistics {
      const all = rows.map(sessionsFrom);
      const waiters = sum(all.filter(({ waitsFor }) => waitsFor === 'Lock').map(({ count }) => count));
      const ended = locks.seen(waiters);
      const nobody: PostgresLocks = { waiting: [], blockers: [] };
      const required = parseSynchronousStandbyNames(rows[0]?.[9] ?? '')?.required ?? 0;
      const present = Number(rows[0]?.[10] ?? 0);
      return {
        record(block) {
          recordSessions(block, server, all);
          block.add(lockWaiters, waiters, server);
          block.add(longestWait, locks.longestSeconds, server);
          if (role !== 'primary') return;
          block.add(waitingForSync, sum(all.map(({ waitForSync }) => waitForSync)), server);
          block.add(syncRequired, required, server);
          block.add(syncPresent, present, server);
        },
        observations: ended ? [{ kind: POSTGRES_LOCKS, version: 1, document: nobody }] : [],
      };
    },
  };
}

function recordSessions(block: BlockRecorder, server: string, all: readonly Sessions[]): void {
  const clients = all.filter(({ kind }) => kind === 'client backend');
  const inState = (state: string): Sessions[] => clients.filter((some) => some.state === state);
  for (const state of STATES) block.add(maxTransaction, max(inState(state).map((some) => some.transactionSeconds)), server, state);
  const open = all.filter(({ kind, state }) => kind !== 'autovacuum worker' && state !== 'idle');
  block.add(transactions, sum(open.map((some) => some.transactions)), server);
  block.add(oldestTransaction, max(open.map((some) => some.transactionSeconds)), server);
  block.add(
    idleInTransaction,
    max(
      STATES.slice(1)
        .flatMap(inState)
        .map((some) => some.stateSeconds),
    ),
    server,
  );
  const byReplicas = all.filter(({ kind }) => kind === 'walsender');
  block.add(xminAge, max(all.filter(({ kind }) => kind !== 'walsender').map((some) => some.xminAge)), server, 'session');
  block.add(xminAge, max(byReplicas.map((some) => some.xminAge)), server, 'replica');
  const active = inState('active');
  for (const type of WAITS)
    block.add(waiting, sum(active.filter(({ waitsFor }) => waitsFor === type).map(({ count }) => count)), server, type);
}

function sessionsFrom(row: StatisticsRow): Sessions {
  const [kind, state, waitsFor, count, withTransaction, transactionSeconds, stateSeconds, xmin, waitForSync] = row;
  return {
    kind: kind ?? '',
    state: state ?? null,
    waitsFor: waitsFor ?? null,
    count: Number(count),
    transactions: Number(withTransaction),
    transactionSeconds: Number(transactionSeconds ?? 0),
    stateSeconds: Number(stateSeconds ?? 0),
    xminAge: Number(xmin ?? 0),
    waitForSync: Number(waitForSync),
  };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}

function max(numbers: readonly number[]): number {
  return Math.max(0, ...numbers);
}
