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
    metric: 'tidemark_postgres_replication_lag_seconds',
    warning: { above: '1m', clear: '30s', for: '5m of 10m', clearAfter: '5m' },
    critical: { above: '5m', clear: '2m', for: '5m of 10m', clearAfter: '5m' },
    suppressedBy: ['node-silent', 'postgres-down'],
    inactiveBecause:
      'No true lag is measured yet: the age of the last replayed transaction grows whenever nothing is written, and would page for an idle primary. It becomes active with a true measure.',
    ...text(
      'A replica shows what its primary was some time ago.',
      'Look at the bytes it is behind, then for a long query on the replica that holds replay back, a paused replay, a slow disk or link.',
    ),
  },
  {
    name: 'postgres-down',
    kind: 'state',
    title: 'PostgreSQL down',
    metric: 'pg_up',
    warning: { is: 0, for: '1m of 2m', clearAfter: '1m' },
    critical: { is: 0, for: '2m of 3m', clearAfter: '1m' },
    suppressedBy: ['node-silent'],
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
