/**
 * The rules that come with Tidemark, in the form of the configuration file: what one says here, a file can say or
 * change, field by field. Why each has these bounds and durations: docs/explanation/default-thresholds.md.
 */
import type { RuleForm } from './schema.ts';

/** `inactiveBecause`: why it is declared and judges nothing yet. */
export interface ShippedRule extends RuleForm {
  readonly title: string;
  readonly inactiveBecause?: string;
}

/** A file system on another machine: its server watches it, and one full server is one alert, not one a client. */
const REMOTE = '9p afs beegfs ceph cifs davfs fuse.* gfs gfs2 glusterfs gpfs lustre ncpfs nfs* ocfs2 orangefs smb* vboxsf virtiofs vmhgfs';

const text = (summary: string, description: string): { annotations: Record<string, string> } => ({ annotations: { summary, description } });

export const SHIPPED_RULES: readonly ShippedRule[] = [
  {
    name: 'cpu-usage',
    kind: 'threshold',
    title: 'CPU usage',
    metric: 'tidemark_cpu_usage_ratio',
    warning: { above: '70%', clear: '65%', for: '10m of 15m', clearAfter: '5m' },
    critical: { above: '90%', clear: '85%', for: '10m of 15m', clearAfter: '5m' },
    suppressedBy: ['node-silent'],
    ...text(
      'The CPUs have been busy for most of the last quarter of an hour.',
      'Most likely one program: look for it first (top). Then a backup or another job that runs longer than usual, many waiting for a lock or a slow disk to end, a neighbour on the same host (steal).',
    ),
  },
  {
    name: 'memory-usage',
    kind: 'threshold',
    title: 'Memory usage',
    metric: 'tidemark_memory_usage_ratio',
    warning: { above: '75%', clear: '70%', for: '10m of 15m', clearAfter: '5m' },
    critical: { above: '90%', clear: '85%', for: '5m of 10m', clearAfter: '5m' },
    suppressedBy: ['node-silent'],
    ...text(
      'Little memory is left for programs. What the kernel caches is not counted.',
      'Look for the largest process first, and whether it grows. Then for more processes or connections than usual. When it runs out, the kernel kills one.',
    ),
  },
  {
    name: 'disk-usage',
    kind: 'threshold',
    title: 'Disk usage',
    metric: 'tidemark_filesystem_usage_ratio',
    labels: { fstype: REMOTE.split(' ').map((type) => `!${type}`) },
    warning: { above: '70%', clear: '68%', for: '10m of 15m', clearAfter: '10m' },
    critical: { above: '85%', clear: '83%', for: '10m of 15m', clearAfter: '10m' },
    suppressedBy: ['node-silent'],
    ...text(
      'A file system is filling up.',
      'Look at how fast it grows (its chart), then for what grew: logs, WAL kept by a replication slot or a failing archive command, backups that are not removed, deleted files that are still open.',
    ),
  },
  {
    name: 'response-time',
    kind: 'threshold',
    title: 'Response time',
    metric: 'tidemark_http_response_seconds',
    warning: { above: '2s', clear: '1500ms', for: '5m of 10m', clearAfter: '5m' },
    critical: { above: '5s', clear: '4s', for: '5m of 10m', clearAfter: '5m' },
    suppressedBy: ['node-silent', 'endpoint-down'],
    ...text(
      'An endpoint answers slowly.',
      'Look at which phase is slow: waiting for the first byte is the service or its database, connecting is the network or a full queue, looking up the name is DNS.',
    ),
  },
  {
    name: 'error-rate',
    kind: 'threshold',
    title: 'Error rate',
    metric: 'tidemark_http_error_ratio',
    // The ratio looks back five minutes by itself: one failure is seen in it for so long, and shorter times would make an alert of each.
    warning: { above: '1%', clear: '0.5%', for: '10m of 15m', clearAfter: '0s' },
    critical: { above: '5%', clear: '2.5%', for: '7m of 10m', clearAfter: '0s' },
    suppressedBy: ['node-silent', 'endpoint-down'],
    ...text(
      'Part of the requests to an endpoint fail.',
      "Look at the service's own log for the time it began, then at what was deployed or changed then, then at what it depends on: database, disk, another service.",
    ),
  },
  {
    name: 'endpoint-down',
    kind: 'state',
    title: 'Endpoint down',
    metric: 'tidemark_http_up',
    // Open until what it makes moot is over too: an outage that has ended is not to page again as its own error rate.
    warning: { is: 0, for: '1m of 2m', clearAfter: '6m' },
    critical: { is: 0, for: '2m of 3m', clearAfter: '6m' },
    suppressedBy: ['node-silent'],
    ...text(
      'An endpoint does not answer, or says that it is not healthy.',
      'Look first whether the service runs and what its log says last. Then whether it can be reached from the node that asks: name, route, firewall, certificate.',
    ),
  },
  {
    name: 'certificate-expiry',
    kind: 'threshold',
    title: 'Certificate expiry',
    metric: 'tidemark_http_certificate_expires_seconds',
    warning: { below: '14d', for: '10m', clearAfter: '10m' },
    critical: { below: '3d', for: '10m', clearAfter: '10m' },
    suppressedBy: ['node-silent'],
    ...text(
      'The certificate of an endpoint ends soon.',
      'Most likely the renewal fails: run it by hand and read what it says. Or it was renewed and the service was not told to read the new one.',
    ),
  },
  {
    name: 'replication-bytes-behind',
    kind: 'threshold',
    title: 'Replica behind',
    metric: 'tidemark_postgres_replica_bytes_behind',
    warning: { above: 104_857_600, clear: '50MiB', for: '5m of 10m', clearAfter: '5m' },
    suppressedBy: ['node-silent', 'postgres-down'],
    ...text(
      'A replica has not replayed more than 100 MiB that was sent to it.',
      'Look first whether something large is being written on the primary; then it catches up by itself. Then for a long query on the replica that holds replay back, a paused replay, a slow disk or a slow link there.',
    ),
  },
  {
    name: 'replication-lag',
    kind: 'threshold',
    title: 'Replication lag',
    // The lower bound, less a delay that is configured: nobody is woken by what may not be so.
    metric: 'tidemark_replication_lag_alarm_seconds',
    warning: { above: '1m', clear: '30s', for: '2m of 4m', clearAfter: '2m' },
    critical: { above: '5m', clear: '2m', for: '1m of 2m', clearAfter: '2m' },
    suppressedBy: ['node-silent', 'postgres-down', 'primary-lost', 'replication-disconnected', 'replication-diverged', 'split-brain'],
    ...text(
      'A replica shows what its primary was more than a minute ago, and that is what it is at least.',
      'Look first whether replay is paused (SELECT pg_get_wal_replay_pause_state()). Then for a long query on the replica that holds replay back (pg_stat_activity, pg_stat_database_conflicts), a large write on the primary, a slow disk or link. The replication page says whether WAL waits to be sent or to be replayed, and when it will have caught up.',
    ),
  },
  {
    name: 'replication-disconnected',
    kind: 'state',
    title: 'Replica disconnected',
    metric: 'tidemark_replication_state',
    labels: { state: ['disconnected'] },
    warning: { is: 1, for: '1m of 2m', clearAfter: '1m' },
    critical: { is: 1, for: '5m', clearAfter: '1m' },
    suppressedBy: ['node-silent', 'postgres-down', 'primary-lost'],
    ...text(
      'A replica receives nothing from the server it follows. Whatever that writes is not here.',
      'Look first whether the server it follows runs and can be reached from here: name, route, firewall, port. Then at the log of the replica: password, pg_hba.conf, a slot that is gone, WAL that has been removed (then it has to be built anew), another timeline.',
    ),
  },
  {
    name: 'replication-diverged',
    kind: 'state',
    title: 'Replica diverged',
    metric: 'tidemark_replication_state',
    labels: { state: ['diverged'] },
    critical: { is: 1, for: '30s', clearAfter: '30s' },
    suppressedBy: ['node-silent', 'postgres-down', 'split-brain'],
    ...text(
      'A server has written or replayed WAL that the primary never had. It cannot follow any more as it is.',
      'Most likely it was the primary before a failover and came back without pg_rewind. Save what only it has, if that matters, then pg_rewind it against the primary or build it anew with pg_basebackup.',
    ),
  },
  {
    name: 'replication-paused',
    kind: 'state',
    title: 'Replay paused',
    metric: 'tidemark_replication_state',
    labels: { state: ['paused'] },
    warning: { is: 1, for: '15m', clearAfter: '1m' },
    suppressedBy: ['node-silent', 'postgres-down'],
    ...text(
      'Replay has been paused on a replica for a quarter of an hour.',
      'Somebody called pg_wal_replay_pause() and may have forgotten it, or replay stopped because a setting is lower here than on the primary (the log of the replica says so). SELECT pg_wal_replay_resume() goes on.',
    ),
  },
  {
    name: 'split-brain',
    kind: 'state',
    title: 'Split brain',
    metric: 'tidemark_replication_split_brain',
    critical: { is: 1, clearAfter: '30s' },
    ...text(
      'Two servers of one cluster take writes. What one of them writes is lost to the other.',
      'This server is the one that should not be a primary: it was promoted, or came back after another one was. Keep clients away from it first (stop it, or take it out of the balancer), then decide which of the two is to stay; the other has to be rewound (pg_rewind) or built anew.',
    ),
  },
  {
    name: 'primary-lost',
    kind: 'threshold',
    title: 'Primary lost',
    metric: 'tidemark_replication_without_primary_seconds',
    // What follows from it takes a minute to be over, and must not be told on its own then.
    critical: { above: '50s', clear: '0s', clearAfter: '2m' },
    ...text(
      'Nothing shows that the cluster has a primary: no server says it is one, and no replica receives anything.',
      'Look at the server that was the primary (label lost_node): does the machine answer, does PostgreSQL run, what does its log say last? If it cannot come back soon, promote the replica that is furthest (the replication page says which, and what would be lost), and keep the old one from starting as a primary.',
    ),
  },
  {
    name: 'replication-slot-inactive',
    kind: 'state',
    title: 'Slot inactive',
    metric: 'tidemark_replication_slot_inactive',
    warning: { is: 1, for: '30m', clearAfter: '1m' },
    suppressedBy: ['node-silent', 'postgres-down', 'replication-slot-lost'],
    ...text(
      'Nobody has used a replication slot for half an hour, and the server keeps WAL for it.',
      'Most likely its replica or subscriber is down or was taken away. When it will not come back, drop the slot (SELECT pg_drop_replication_slot(...)): until then WAL grows until the disk is full.',
    ),
  },
  {
    name: 'replication-slot-at-risk',
    kind: 'state',
    title: 'Slot about to be lost',
    metric: 'tidemark_replication_slot_state',
    labels: { wal_status: ['unreserved'] },
    critical: { is: 1, clearAfter: '1m' },
    suppressedBy: ['node-silent', 'postgres-down'],
    ...text(
      'A replication slot keeps more WAL than max_slot_wal_keep_size allows: at the next checkpoint it may be lost, and its replica with it.',
      'Let its replica catch up now (is it down, paused, slow?), or raise max_slot_wal_keep_size while the disk has room (ALTER SYSTEM SET ...; SELECT pg_reload_conf()).',
    ),
  },
  {
    name: 'replication-slot-lost',
    kind: 'state',
    title: 'Slot lost',
    metric: 'tidemark_replication_slot_state',
    labels: { wal_status: ['lost'] },
    critical: { is: 1, clearAfter: '1m' },
    suppressedBy: ['node-silent', 'postgres-down'],
    ...text(
      'A replication slot is lost: WAL that its replica or subscriber needs has been removed, or the slot was invalidated.',
      'What used it cannot go on from it. Build the replica anew (or let it fetch the WAL from the archive), drop the slot and make it again. pg_replication_slots says why (invalidation_reason, from PostgreSQL 17).',
    ),
  },
  {
    name: 'replication-slot-fills-disk',
    kind: 'threshold',
    title: 'Slot fills the disk',
    metric: 'tidemark_replication_slot_disk_full_in_seconds',
    warning: { below: '1d', for: '10m of 15m', clearAfter: '10m' },
    critical: { below: '4h', for: '5m of 10m', clearAfter: '10m' },
    suppressedBy: ['node-silent', 'postgres-down'],
    ...text(
      'The WAL that a replication slot keeps will fill the disk at the present rate.',
      'Bring back what uses the slot, or drop the slot when nothing will (SELECT pg_drop_replication_slot(...)). Setting max_slot_wal_keep_size keeps this from ever taking the primary down.',
    ),
  },
  {
    name: 'sync-standby-missing',
    kind: 'threshold',
    title: 'Synchronous standby missing',
    metric: 'tidemark_replication_sync_standbys_missing',
    warning: { above: 0, for: '30s', clearAfter: '30s' },
    suppressedBy: ['node-silent', 'postgres-down', 'sync-commits-waiting'],
    ...text(
      'Fewer synchronous standbys are connected than commits need.',
      'Commits wait from now on, or will when the next one goes. Bring the standby back, or take it out of synchronous_standby_names (ALTER SYSTEM SET ...; SELECT pg_reload_conf()).',
    ),
  },
  {
    name: 'sync-commits-waiting',
    kind: 'threshold',
    title: 'Commits hang',
    metric: 'tidemark_replication_sync_waiting',
    critical: { above: 0, for: '5s', clearAfter: '15s' },
    suppressedBy: ['node-silent', 'postgres-down'],
    ...text(
      'Sessions hang in COMMIT: a synchronous standby that they wait for is not there.',
      'Bring the standby back, or take it out of synchronous_standby_names now: ALTER SYSTEM SET synchronous_standby_names = ...; SELECT pg_reload_conf(). The waiting commits go on at once.',
    ),
  },
  {
    name: 'archiver-failing',
    kind: 'state',
    title: 'Archiving fails',
    metric: 'tidemark_postgres_archiver_failing',
    warning: { is: 1, for: '5m of 10m', clearAfter: '2m' },
    critical: { is: 1, for: '30m of 45m', clearAfter: '2m' },
    suppressedBy: ['node-silent', 'postgres-down'],
    ...text(
      'PostgreSQL cannot archive its WAL: backups have a gap from here on, and WAL piles up in pg_wal.',
      'Run the archive command by hand as the user of PostgreSQL with the file that failed (pg_stat_archiver.last_failed_wal) and read what it says: a full or missing target, rights, credentials, a network that is down.',
    ),
  },
  {
    name: 'postgres-connections',
    kind: 'threshold',
    title: 'Connections used up',
    metric: 'tidemark_postgres_connections_used_ratio',
    warning: { above: '80%', clear: '75%', for: '5m of 10m', clearAfter: '5m' },
    critical: { above: '95%', clear: '90%', for: '2m of 5m', clearAfter: '5m' },
    suppressedBy: ['node-silent', 'postgres-down'],
    ...text(
      'A PostgreSQL server has few connections left. When they are used up, nobody gets in.',
      'Look who holds them (SELECT usename, application_name, state, count(*) FROM pg_stat_activity GROUP BY 1, 2, 3): an application without a pool, sessions idle in transaction, many that wait for one lock.',
    ),
  },
  {
    name: 'postgres-privilege',
    kind: 'state',
    title: 'Agent may not see',
    metric: 'tidemark_postgres_insufficient_privilege',
    warning: { is: 1, for: '10m', clearAfter: '1m' },
    suppressedBy: ['node-silent', 'postgres-down'],
    ...text(
      'The role that the agent uses lacks pg_monitor: replication and more of this server cannot be judged, and nothing of it is called healthy.',
      'GRANT pg_monitor TO the role, as a superuser; tidemark-agent postgres setup prints the statements.',
    ),
  },
  {
    name: 'replication-topology-changed',
    kind: 'event',
    title: 'Topology changed',
    metric: 'tidemark_replication_topology_changes_total',
    warning: { roseBy: 1, clearAfter: '10m' },
    // A planned switchover is nobody's alarm; who wants to be told of every one turns this on: docs/how-to/told-to-all-sites.md.
    enabled: false,
    ...text(
      'Another server of the cluster is primary now.',
      'GET /api/telemetry/replication/primary says who. Point clients that do not follow by themselves at it.',
    ),
  },
  {
    name: 'postgres-down',
    kind: 'state',
    title: 'PostgreSQL down',
    metric: 'pg_up',
    warning: { is: 0, for: '1m of 2m', clearAfter: '1m' },
    critical: { is: 0, for: '2m of 3m', clearAfter: '1m' },
    suppressedBy: ['node-silent', 'primary-lost'],
    ...text(
      'A PostgreSQL server takes no connections, or does not answer.',
      'Look first whether it runs and what its log says last: a full disk, no memory, recovery after a crash. Then whether the agent may still sign in: password, pg_hba.conf, too many connections.',
    ),
  },
  {
    name: 'node-silent',
    kind: 'absent',
    title: 'Node silent',
    of: 'node',
    warning: { missing: true, for: '1m', clearAfter: '1m' },
    critical: { missing: true, for: '5m', clearAfter: '1m' },
    suppressedBy: ['primary-lost'],
    ...text(
      'A node has stopped reporting. Nothing is known about it since.',
      'Look whether the machine answers at all (ping, console of its host). Then whether its agent runs, and whether it reaches the collector: name, route, firewall.',
    ),
  },
  {
    name: 'clock-off',
    kind: 'threshold',
    title: 'Clock off',
    metric: 'tidemark_node_clock_error_seconds',
    warning: { above: '2s', clear: '1s', for: '10m of 15m', clearAfter: '5m' },
    critical: { above: '1m', clear: '30s', for: '10m of 15m', clearAfter: '5m' },
    suppressedBy: ['node-silent'],
    ...text(
      "The clock of a node is not the collector's, before it or behind.",
      "Look whether the node's time service runs and reaches its servers (chronyc tracking, timedatectl). If many nodes show it at once, the collector's clock is the wrong one.",
    ),
  },
  {
    name: 'agent-losing-reports',
    kind: 'event',
    title: 'Agent losing reports',
    metric: 'tidemark_node_lost_reports_total',
    warning: { roseBy: 1, clearAfter: '15m' },
    ...text(
      'An agent had to give up reports that the collector had not taken: there are gaps in what is known.',
      'Most likely the collector or the way to it was away for longer than the agent can keep. Then a full disk on the node, or a data directory that it may not write to.',
    ),
  },
];
