/**
 * Who waits for whom. Finding out takes the lock manager exclusively for a moment: it is asked only after `sessions` saw
 * somebody wait, at most every ten seconds, and for fifty waiters at most. No query text is read: it may hold data.
 */
import { POSTGRES_LOCKS, type PostgresLocks } from '@tidemark/protocol';
import type { Statistics, StatisticsGroup } from './group.ts';
import { json } from './together.ts';

const WAITERS_MAX = 50;
const BLOCKERS_MAX = 100;

const SQL = `WITH waiting AS MATERIALIZED (
  SELECT pid, usename, datname, application_name, wait_event, pg_blocking_pids(pid) AS blocked_by
  FROM (SELECT * FROM pg_stat_activity WHERE wait_event_type = 'Lock' ORDER BY query_start LIMIT ${WAITERS_MAX}) a),
since AS MATERIALIZED (SELECT pid, min(waitstart) AS at FROM pg_locks WHERE NOT granted GROUP BY pid)
SELECT (SELECT json_agg(json_build_array(w.pid, w.usename, w.datname, w.application_name, w.wait_event,
    extract(epoch FROM clock_timestamp() - s.at), w.blocked_by[1:${BLOCKERS_MAX}]) ORDER BY s.at)
  FROM waiting w LEFT JOIN since s USING (pid)),
(SELECT json_agg(json_build_array(b.pid, b.usename, b.datname, b.application_name, b.state,
    extract(epoch FROM clock_timestamp() - b.xact_start), extract(epoch FROM clock_timestamp() - b.state_change)) ORDER BY b.xact_start)
  FROM (SELECT * FROM pg_stat_activity
    WHERE pid IN (SELECT unnest(blocked_by) FROM waiting) AND wait_event_type IS DISTINCT FROM 'Lock' ORDER BY xact_start LIMIT ${WAITERS_MAX}) b)`;

type WaitingRow = [
  pid: number,
  user: string | null,
  database: string | null,
  applicationName: string | null,
  lock: string | null,
  seconds: number | null,
  blockedBy: number[] | null,
];
type BlockerRow = [
  pid: number,
  user: string | null,
  database: string | null,
  applicationName: string | null,
  state: string | null,
  transactionSeconds: number | null,
  stateSeconds: number | null,
];

/** What the two groups tell each other. */
export class LockWatch {
  #waiters = 0;
  #longestSeconds: number | null = null;
  #told = false;

  get needed(): boolean {
    return this.#waiters > 0;
  }

  /** For how long the longest waiting one has waited; null while somebody waits and nobody knows since when. */
  get longestSeconds(): number | null {
    return this.needed ? this.#longestSeconds : 0;
  }

  /** True when somebody was told to wait before, and now nobody does. */
  seen(waiters: number): boolean {
    this.#waiters = waiters;
    const ended = this.#told && waiters === 0;
    if (waiters === 0) {
      this.#longestSeconds = null;
      this.#told = false;
    }
    return ended;
  }

  told({ waiting }: PostgresLocks): void {
    this.#told = true;
    this.#longestSeconds = Math.max(...waiting.map(({ waitSeconds }) => waitSeconds ?? 0));
  }
}

export function locks(watch: LockWatch): StatisticsGroup {
  return {
    name: 'locks',
    everyMs: 10_000,
    right: 'pg_monitor',
    statement: ({ seesAll }) => (seesAll && watch.needed ? SQL : undefined),
    read([row = []]): Statistics {
      const document = documentFrom(json(row[0]), json(row[1]));
      // They may have got their locks since they were counted.
      if (document.waiting.length === 0) return {};
      watch.told(document);
      return { observations: [{ kind: POSTGRES_LOCKS, version: 1, document }] };
    },
  };
}

function documentFrom(waiting: unknown, blockers: unknown): PostgresLocks {
  return {
    waiting: ((waiting ?? []) as WaitingRow[]).map(([pid, user, database, applicationName, lock, seconds, blockedBy]) => ({
      pid,
      user,
      database,
      applicationName,
      lock,
      waitSeconds: rounded(seconds),
      // A parallel query's workers make its leader appear several times.
      blockedBy: [...new Set(blockedBy)],
    })),
    blockers: ((blockers ?? []) as BlockerRow[]).map(([pid, user, database, applicationName, state, transactionSeconds, stateSeconds]) => ({
      pid,
      user,
      database,
      applicationName,
      state,
      transactionSeconds: rounded(transactionSeconds),
      stateSeconds: rounded(stateSeconds),
    })),
  };
}

function rounded(seconds: number | null): number | null {
  return seconds === null ? null : Math.max(0, Math.round(seconds * 10) / 10);
}
