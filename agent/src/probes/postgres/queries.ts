/**
 * The SQL of the PostgreSQL probe: one wide statement for every collection, the rest seldom. Everything is
 * read from documented views and functions that pg_monitor may see; LSNs and the system identifier leave as text.
 */

/** Rows of one kind that a document takes at most: a server with more is not described whole, but it is described. */
const ROW_LIMIT = 200;

export interface Statement {
  /** Names the prepared statement, which lives as long as the connection. */
  readonly name: string;
  readonly text: string;
}

/** Asked once a connection, understood by every version there is. */
export const IDENTITY: Statement = {
  name: 'tidemark_identity',
  text: `SELECT version() AS version,
  current_setting('server_version') AS short_version,
  current_setting('server_version_num') AS version_number,
  current_setting('max_connections') AS max_connections,
  current_setting('superuser_reserved_connections') AS superuser_reserved_connections,
  current_setting('reserved_connections', true) AS reserved_connections,
  current_setting('max_wal_senders') AS max_wal_senders,
  current_setting('max_replication_slots') AS max_replication_slots`,
};

/**
 * Asked at every collection, one row. The target list is evaluated in its order: what follows is read before
 * what it follows (replay before receive, replicas before the current position), so that no difference is
 * negative only because time passed in between.
 */
export const HOT: Statement = {
  name: 'tidemark_hot',
  text: `SELECT pg_is_in_recovery() AS in_recovery,
  pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all,
  (SELECT json_agg(json_build_array(r.pid, r.application_name, r.client_addr, r.state, r.sync_state, r.sent_lsn, r.write_lsn,
      r.flush_lsn, r.replay_lsn, (CASE WHEN r.sent_lsn >= r.replay_lsn THEN pg_wal_lsn_diff(r.sent_lsn, r.replay_lsn)
        WHEN r.sent_lsn < r.replay_lsn THEN 0 END)::text, s.slot_name, r.backend_start) ORDER BY r.backend_start, r.pid)
    FROM (SELECT * FROM pg_stat_replication LIMIT ${ROW_LIMIT}) r
    LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid) AS replicas,
  (SELECT json_agg(json_build_array(s.slot_name, s.slot_type, s.active, s.restart_lsn, s.confirmed_flush_lsn, s.wal_status, s.temporary)
      ORDER BY s.slot_name)
    FROM (SELECT * FROM pg_replication_slots LIMIT ${ROW_LIMIT}) s) AS slots,
  pg_last_wal_replay_lsn() AS replay_lsn,
  pg_last_wal_receive_lsn() AS receive_lsn,
  CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() END AS pause_state,
  pg_last_xact_replay_timestamp() AS last_replayed_at,
  (SELECT json_build_array(w.status, w.sender_host, w.sender_port, w.slot_name, w.received_tli, w.latest_end_lsn, w.latest_end_time)
    FROM pg_stat_wal_receiver w LIMIT 1) AS receiver,
  CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_lsn() END AS current_lsn,
  CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END AS timeline_hex,
  (SELECT json_object_agg(a.state, a.connections)
    FROM (SELECT coalesce(state, 'unknown') AS state, count(*) AS connections
      FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1) a) AS connections,
  pg_postmaster_start_time() AS started_at,
  clock_timestamp() AS server_time`,
};

/** Instead of the above on a server that does not understand it, or does not allow it. */
export const MINIMAL: Statement = {
  name: 'tidemark_minimal',
  text: 'SELECT pg_is_in_recovery() AS in_recovery, pg_postmaster_start_time() AS started_at, clock_timestamp() AS server_time',
};

/** Reads the control file, so not at every collection; after a promotion its timeline waits for the next checkpoint. */
export const CONTROL: Statement = {
  name: 'tidemark_control',
  text: `SELECT s.system_identifier::text AS system_identifier,
  greatest(c.timeline_id, r.min_recovery_end_timeline)::text AS timeline
FROM pg_control_system() s, pg_control_checkpoint() c, pg_control_recovery() r`,
};

/** primary_conninfo is not among them: it holds a password. Those that a role may not see have no row. */
const SETTING_NAMES = [
  'archive_mode',
  'cluster_name',
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
  'primary_slot_name',
  'recovery_min_apply_delay',
  'reserved_connections',
  'superuser_reserved_connections',
  'synchronous_commit',
  'synchronous_standby_names',
  'wal_keep_size',
  'wal_level',
  'wal_receiver_status_interval',
  'wal_receiver_timeout',
  'wal_segment_size',
  'wal_sender_timeout',
];

/** `conninfo` never leaves the module that takes host and port from it. */
export const SETTINGS: Statement = {
  name: 'tidemark_settings',
  text: `SELECT json_agg(json_build_array(name, setting, unit, source, pending_restart) ORDER BY name)
    FILTER (WHERE name <> 'primary_conninfo') AS settings,
  pg_has_role('pg_read_all_settings', 'USAGE') AS sees_all,
  max(setting) FILTER (WHERE name = 'primary_conninfo') AS conninfo
FROM pg_settings WHERE name IN (${[...SETTING_NAMES, 'primary_conninfo'].map((name) => `'${name}'`).join(', ')})`,
};

/** Walks the files of every database: the dearest of all. */
export const DATABASE_SIZES: Statement = {
  name: 'tidemark_database_sizes',
  text: `SELECT datname, pg_database_size(oid)::text AS bytes FROM pg_database
WHERE datallowconn AND (has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE'))
ORDER BY datname LIMIT ${ROW_LIMIT}`,
};
