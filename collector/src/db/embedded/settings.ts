/**
 * The embedded server's settings: durable, silent on the network, and small, since it shares a machine with
 * what it watches over. They are arguments of the server, so no file can drift from them.
 */

/** Settings for a server whose only way in is a socket in `socketDir`. */
export function embeddedSettings(socketDir: string): Record<string, string> {
  return {
    listen_addresses: '',
    unix_socket_directories: socketDir,
    port: '5432',
    password_encryption: 'scram-sha-256',

    // Memory: every backend adds its own, so few of them, and nothing that multiplies them.
    max_connections: '20',
    shared_buffers: '40MB',
    work_mem: '4MB',
    maintenance_work_mem: '32MB',
    autovacuum_work_mem: '16MB',
    effective_cache_size: '256MB',
    wal_buffers: '1MB',
    huge_pages: 'off',
    jit: 'off',
    io_method: 'sync',
    max_worker_processes: '2',
    max_parallel_workers: '0',
    max_parallel_workers_per_gather: '0',
    max_parallel_maintenance_workers: '0',
    autovacuum_max_workers: '1',
    autovacuum_worker_slots: '2',
    max_wal_senders: '2',
    max_replication_slots: '2',
    max_logical_replication_workers: '0',
    max_locks_per_transaction: '128',

    // Durability: what was acknowledged stays.
    fsync: 'on',
    synchronous_commit: 'on',
    full_page_writes: 'on',
    wal_level: 'replica',
    min_wal_size: '64MB',
    max_wal_size: '256MB',
    checkpoint_timeout: '15min',
    random_page_cost: '1.1',

    autovacuum: 'on',
    timezone: 'UTC',
    log_timezone: 'UTC',
    lc_messages: 'C',
    // The log goes through the collector's own. Statements stay out of it: they may hold a password.
    logging_collector: 'off',
    log_destination: 'stderr',
    log_line_prefix: '',
    log_min_messages: 'warning',
    log_min_error_statement: 'panic',
    log_checkpoints: 'off',
    log_autovacuum_min_duration: '-1',
  };
}
