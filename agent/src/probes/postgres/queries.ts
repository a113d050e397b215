/**
 * The SQL of the PostgreSQL probe: one wide statement for every collection, the rest seldom; the narrow
 * one of the hot loop is in hot.ts. Everything is read from documented views and functions that pg_monitor may see; LSNs and the system identifier leave as text.
 */

import type { Values } from './session.ts';

/** By the names of the columns; every value as PostgreSQL writes it. */
export type Row = Readonly<Record<string, string | null>>;

/** Rows of one kind that a document takes at most: a server with more is not described whole, but it is described. */
const ROW_LIMIT = 150;

/** A statement whose columns have names, so that a row of it can be read by them. */
export interface Statement {
  readonly text: string;
  readonly columns: readonly string[];
}

/** The columns by their names, and what follows them. They are evaluated in this order. */
function statement(columns: Readonly<Record<string, string>>, rest = ''): Statement {
  const list = Object.entries(columns).map(([name, expression]) => `${expression} AS ${name}`);
  return { text: `SELECT ${list.join(',\n  ')}${rest === '' ? '' : `\n${rest}`}`, columns: Object.keys(columns) };
}

/** A row of a statement by the names of its columns. */
export function rowOf({ columns }: Statement, values: Values | undefined): Row {
  if (values === undefined) return {};
  return Object.fromEntries(columns.map((name, i) => [name, values[i] ?? null]));
}

/** Asked once a connection, understood by every version there is. */
export const IDENTITY = statement({
  version: 'version()',
  short_version: "current_setting('server_version')",
  version_number: "current_setting('server_version_num')",
  max_connections: "current_setting('max_connections')",
  superuser_reserved_connections: "current_setting('superuser_reserved_connections')",
  reserved_connections: "current_setting('reserved_connections', true)",
  max_wal_senders: "current_setting('max_wal_senders')",
  max_replication_slots: "current_setting('max_replication_slots')",
  cluster_name: "current_setting('cluster_name', true)",
  port: "current_setting('port')",
  database: 'current_database()',
  backend_pid: 'pg_backend_pid()',
  started_at: 'pg_postmaster_start_time()',
  // What was asked for when connecting: something in between may have kept it from the server.
  read_only: "current_setting('default_transaction_read_only')",
  statement_timeout: "current_setting('statement_timeout')",
});

/** `pg_stat_replication` has the lags as intervals; they are wanted as milliseconds. */
const lagMs = (column: string): string => `(extract(epoch FROM ${column}) * 1000)::float8`;

/**
 * Asked at every collection, one row. The target list is evaluated in its order: what follows is read before
 * what it follows (replay before receive, replicas before the current position, flush before insert), so that no
 * difference is negative only because time passed in between. One text for all versions: a slot is taken whole, as JSON.
 */
export const WIDE = statement({
  in_recovery: 'pg_is_in_recovery()',
  sees_all: "pg_has_role('pg_read_all_stats', 'USAGE')",
  config_loaded_at: 'pg_conf_load_time()',
  replicas: `(SELECT json_agg(json_build_array(r.pid, r.application_name, r.client_addr, r.state, r.sync_state, r.sent_lsn, r.write_lsn,
      r.flush_lsn, r.replay_lsn, (CASE WHEN r.sent_lsn >= r.replay_lsn THEN pg_wal_lsn_diff(r.sent_lsn, r.replay_lsn)
        WHEN r.sent_lsn < r.replay_lsn THEN 0 END)::text, s.slot_name, r.backend_start, s.slot_type, r.client_hostname, r.sync_priority,
      ${lagMs('r.write_lag')}, ${lagMs('r.flush_lag')}, ${lagMs('r.replay_lag')}, age(r.backend_xmin)) ORDER BY r.backend_start, r.pid)
    FROM (SELECT * FROM pg_stat_replication LIMIT ${ROW_LIMIT}) r
    LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid)`,
  slots: `(SELECT json_agg(json_build_array(to_jsonb(s) - '{xmin,catalog_xmin,safe_wal_size}'::text[], s.safe_wal_size::text,
      age(s.xmin), age(s.catalog_xmin)) ORDER BY s.slot_name)
    FROM (SELECT * FROM pg_replication_slots LIMIT ${ROW_LIMIT}) s)`,
  replay_lsn: 'pg_last_wal_replay_lsn()',
  receive_lsn: 'pg_last_wal_receive_lsn()',
  pause_state: 'CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() END',
  last_replayed_at: 'pg_last_xact_replay_timestamp()',
  receiver: `(SELECT json_build_array(w.status, w.sender_host, w.sender_port, w.slot_name, w.received_tli, w.latest_end_lsn,
      w.latest_end_time, w.pid, w.written_lsn, w.flushed_lsn,
      (extract(epoch FROM clock_timestamp() - w.last_msg_receipt_time) * 1000)::bigint,
      (SELECT a.backend_start FROM pg_stat_get_activity(w.pid) a))
    FROM pg_stat_wal_receiver w LIMIT 1)`,
  current_lsn: 'CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_lsn() END',
  timeline_hex: 'CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END',
  flush_lsn: 'CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn() END',
  insert_lsn: 'CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn() END',
  connections: `(SELECT json_agg(json_build_array(a.state, a.connections, a.waiting))
    FROM (SELECT CASE WHEN backend_type = 'client backend' THEN coalesce(state, 'unknown') END AS state, count(*) AS connections,
        count(*) FILTER (WHERE wait_event = 'SyncRep') AS waiting
      FROM pg_stat_activity GROUP BY 1) a)`,
  started_at: 'pg_postmaster_start_time()',
  server_time: 'clock_timestamp()',
});

/** Instead of the above on a server that does not understand it, or does not allow it. */
export const MINIMAL = statement({
  in_recovery: 'pg_is_in_recovery()',
  started_at: 'pg_postmaster_start_time()',
  server_time: 'clock_timestamp()',
});

/** Reads the control file, so not at every collection; after a promotion its timeline waits for the next checkpoint. */
export const CONTROL = statement(
  {
    system_identifier: 's.system_identifier',
    timeline: 'greatest(c.timeline_id, r.min_recovery_end_timeline)',
    checkpoint_timeline: 'c.timeline_id',
    previous_timeline: 'c.prev_timeline_id',
    min_recovery_end_timeline: 'r.min_recovery_end_timeline',
  },
  'FROM pg_control_system() s, pg_control_checkpoint() c, pg_control_recovery() r',
);

/** primary_conninfo is not among them: it holds a password. Those that a role may not see have no row. */
const SETTING_NAMES = [
  'archive_command',
  'archive_library',
  'archive_mode',
  'archive_timeout',
  'cluster_name',
  'data_checksums',
  'data_directory',
  'hot_standby',
  'hot_standby_feedback',
  'idle_replication_slot_timeout',
  'max_connections',
  'max_replication_slots',
  'max_slot_wal_keep_size',
  'max_standby_archive_delay',
  'max_standby_streaming_delay',
  'max_wal_senders',
  'max_wal_size',
  'port',
  'primary_slot_name',
  'recovery_min_apply_delay',
  'recovery_target_timeline',
  'reserved_connections',
  'restore_command',
  'superuser_reserved_connections',
  'sync_replication_slots',
  'synchronized_standby_slots',
  'synchronous_commit',
  'synchronous_standby_names',
  'wal_keep_size',
  'wal_level',
  'wal_log_hints',
  'wal_receiver_status_interval',
  'wal_receiver_timeout',
  'wal_segment_size',
  'wal_sender_timeout',
];

/** Commands hold passwords and paths: of these only whether they are set is read, as "set" or nothing. */
const COMMANDS = ['archive_command', 'archive_library', 'restore_command'];

/** `conninfo` never leaves the module that takes host and port from it. */
export const SETTINGS = statement(
  {
    settings: `json_agg(json_build_array(name,
      CASE WHEN name NOT IN (${COMMANDS.map((name) => `'${name}'`).join(', ')}) THEN setting
        WHEN setting IN ('', '(disabled)') THEN '' ELSE 'set' END, unit, source, pending_restart) ORDER BY name)
    FILTER (WHERE name <> 'primary_conninfo')`,
    sees_all: "pg_has_role('pg_read_all_settings', 'USAGE')",
    conninfo: "max(setting) FILTER (WHERE name = 'primary_conninfo')",
  },
  `FROM pg_settings WHERE name IN (${[...SETTING_NAMES, 'primary_conninfo'].map((name) => `'${name}'`).join(', ')})`,
);

/** Walks the files of every database: the dearest of all. */
export const DATABASE_SIZES = statement(
  { datname: 'datname', bytes: 'pg_database_size(oid)' },
  `FROM pg_database
WHERE datallowconn AND (has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE'))
ORDER BY datname LIMIT ${ROW_LIMIT}`,
);
