/**
 * What is better asked of the collector's own database: alerts, tables of what is not a number, and disks over weeks. All
 * statements read the views in the schema tidemark_views, which a role made for it may read and nothing else.
 */
import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { dashboard, postgresqlSource, sqlChoice } from './dashboard.ts';
import { BYTES_BEHIND, DISK, MEMORY, chart, stat, table } from './panel.ts';
import { POSTGRESQL, sqlLines, sqlRows } from './query.ts';

const CHOSEN = 'node IN (${node:sqlstring})';
const SITE_CHOSEN = `coalesce(nullif(site, ''), '(none)') IN (\${site:sqlstring})`;

/**
 * Of each node one report in each interval of the panel, and of that what is asked for: a month costs as many reads as
 * the panel has points, and not as many as there are reports.
 */
const sampled = (columns: string, metric: string, grouping = ''): string => `
SELECT s.at AS time, ${columns}
FROM tidemark_views.nodes n
CROSS JOIN generate_series($__timeFrom()::timestamptz, $__timeTo()::timestamptz, '$__interval'::interval) AS bin
CROSS JOIN LATERAL (
  SELECT r.at FROM tidemark_views.reports r
  WHERE r.node_id = n.node_id AND r.at >= bin AND r.at < bin + '$__interval'::interval AND r.at <= $__timeTo()::timestamptz
  ORDER BY r.at LIMIT 1
) moment
JOIN tidemark_views.samples s ON s.node_id = n.node_id AND s.at = moment.at AND s.metric = '${metric}'
WHERE n.${CHOSEN} AND n.state <> 'retired' AND $__timeFilter(s.at)
${grouping}ORDER BY 1, 2`;

const now = [
  stat({
    title: 'Nodes',
    description: 'Nodes of the fleet, without those that were retired.',
    queries: [sqlRows("SELECT count(*) AS nodes FROM tidemark_views.nodes WHERE state = 'approved'")],
    width: 4,
    plain: true,
    datasource: POSTGRESQL,
  }),
  stat({
    title: 'Waiting to be approved',
    description: 'Machines that asked to join: tidemark-collector nodes approve NAME.',
    queries: [sqlRows("SELECT count(*) AS nodes FROM tidemark_views.nodes WHERE state = 'pending'")],
    width: 4,
    bounds: { warning: 1 },
    datasource: POSTGRESQL,
  }),
  stat({
    title: 'Series',
    description: 'Series that nodes ever sent.',
    queries: [sqlRows('SELECT count(*) AS series FROM tidemark_views.series')],
    width: 4,
    plain: true,
    datasource: POSTGRESQL,
  }),
  stat({
    title: 'Newest report',
    description: 'How long ago the newest report in the store was taken.',
    queries: [sqlRows('SELECT extract(epoch FROM now() - max(last_report_at)) AS age FROM tidemark_views.nodes')],
    width: 4,
    unit: 's',
    decimals: 0,
    bounds: { warning: 120, critical: 600 },
    datasource: POSTGRESQL,
  }),
  stat({
    title: 'Reports in this time',
    description: 'Reports in the store that were taken in the range shown.',
    queries: [sqlRows(`SELECT count(*) AS reports FROM tidemark_views.reports WHERE $__timeFilter(at) AND ${CHOSEN}`)],
    width: 4,
    plain: true,
    datasource: POSTGRESQL,
  }),
  stat({
    title: 'Size of the store',
    description: 'Disk space of the database.',
    queries: [sqlRows('SELECT pg_database_size(current_database()) AS bytes')],
    width: 4,
    unit: 'bytes',
    plain: true,
    datasource: POSTGRESQL,
  }),
];

const LEVELS = { warning: { text: 'warning', color: 'orange' }, critical: { text: 'critical', color: 'red' } };
const alerts = [
  table({
    title: 'Open alerts',
    description: 'What is wrong now, as the collector judges it, the worst first.',
    queries: [
      sqlRows(`
SELECT level, title, node, site, why, opened_at, acknowledged_by
FROM tidemark_views.alerts
WHERE state = 'open' AND ${CHOSEN}
ORDER BY level, opened_at DESC`),
    ],
    width: 24,
    height: 7,
    datasource: POSTGRESQL,
    columns: [
      { field: 'level', title: 'Level', states: LEVELS, width: 100 },
      { field: 'title', title: 'What', width: 200 },
      { field: 'node', title: 'Node', width: 160 },
      { field: 'site', title: 'Site', width: 120 },
      { field: 'why', title: 'Why' },
      { field: 'opened_at', title: 'Opened', unit: 'dateTimeFromNow', width: 150 },
      { field: 'acknowledged_by', title: 'Acknowledged by', width: 150 },
    ],
    noValue: 'Nothing is wrong.',
  }),
  table({
    title: 'Alerts in this time',
    description: 'Alerts that opened in the range shown, the newest first, with how long they lasted and how they ended.',
    queries: [
      sqlRows(`
SELECT opened_at, level_max, title, node, site, why, extract(epoch FROM coalesce(closed_at, now()) - opened_at)::float8 AS lasted, state,
  close_reason
FROM tidemark_views.alerts
WHERE $__timeFilter(opened_at) AND ${CHOSEN}
ORDER BY opened_at DESC
LIMIT 500`),
    ],
    width: 24,
    height: 8,
    datasource: POSTGRESQL,
    columns: [
      { field: 'opened_at', title: 'Opened', unit: 'dateTimeAsIso', width: 170 },
      { field: 'level_max', title: 'Worst', states: LEVELS, width: 100 },
      { field: 'title', title: 'What', width: 200 },
      { field: 'node', title: 'Node', width: 160 },
      { field: 'site', title: 'Site', width: 120 },
      { field: 'why', title: 'Why' },
      { field: 'lasted', title: 'For', unit: 'dtdurations', decimals: 0, width: 130 },
      { field: 'state', title: 'State', width: 90 },
      { field: 'close_reason', title: 'Ended by', width: 120 },
    ],
    noValue: 'Nothing opened.',
  }),
];

const topology = [
  table({
    title: 'Replication: servers',
    description: 'PostgreSQL servers as their agents last saw them. A primary and its replicas have the same system identifier.',
    queries: [
      sqlRows(`
SELECT system_identifier, role, node, instance, site, up, version, timeline, replicas, sender_host, receiver_status, pause_state, reason, at
FROM tidemark_views.postgresql_servers
WHERE ${CHOSEN}
ORDER BY system_identifier, role, node, instance`),
    ],
    width: 24,
    height: 8,
    datasource: POSTGRESQL,
    columns: [
      { field: 'system_identifier', title: 'System', width: 190 },
      { field: 'role', title: 'Role' },
      { field: 'node', title: 'Node' },
      { field: 'instance', title: 'Instance' },
      { field: 'site', title: 'Site' },
      { field: 'up', title: 'Up', states: { false: { text: 'down', color: 'red' }, true: { text: 'up', color: 'green' } } },
      { field: 'version', title: 'Version' },
      { field: 'timeline', title: 'Timeline' },
      { field: 'replicas', title: 'Replicas' },
      { field: 'sender_host', title: 'Receives from' },
      { field: 'receiver_status', title: 'Receiver' },
      { field: 'pause_state', title: 'Replay' },
      { field: 'reason', title: 'Why not' },
      { field: 'at', title: 'Seen', unit: 'dateTimeFromNow' },
    ],
    noValue: '–',
  }),
  table({
    title: 'Replication: who follows whom',
    description: 'Replicas as the servers that send to them last saw them.',
    queries: [
      sqlRows(`
SELECT node, instance, application_name, client_addr, state, sync_state, slot_name, bytes_behind::float8 AS bytes_behind, connected_at, at
FROM tidemark_views.postgresql_replicas
WHERE ${CHOSEN}
ORDER BY bytes_behind DESC NULLS LAST, node, instance, application_name`),
    ],
    width: 24,
    height: 7,
    datasource: POSTGRESQL,
    columns: [
      { field: 'node', title: 'Node' },
      { field: 'instance', title: 'Instance' },
      { field: 'application_name', title: 'Replica' },
      { field: 'client_addr', title: 'Address' },
      { field: 'state', title: 'State' },
      { field: 'sync_state', title: 'Synchronous' },
      { field: 'slot_name', title: 'Slot' },
      { field: 'bytes_behind', title: 'Bytes behind', unit: 'bytes', bounds: BYTES_BEHIND },
      { field: 'connected_at', title: 'Connected', unit: 'dateTimeFromNow' },
      { field: 'at', title: 'Seen', unit: 'dateTimeFromNow' },
    ],
    noValue: 'No replica is connected to the servers shown.',
  }),
];

const disks = [
  chart({
    title: 'Disks over the time shown',
    description:
      'Used share of file systems, one report out of each interval. Reports are kept for 30 days unless --raw-days says otherwise. The lines are 70 % and 85 %.',
    queries: [
      sqlLines(
        sampled(
          "n.node || ' ' || (s.labels ->> 'mountpoint') AS metric, max(s.value) AS value",
          'tidemark_filesystem_usage_ratio',
          'GROUP BY 1, 2\n',
        ),
      ),
    ],
    width: 12,
    height: 10,
    unit: 'percentunit',
    min: 0,
    max: 1,
    bounds: DISK,
    datasource: POSTGRESQL,
  }),
  chart({
    title: 'Memory over the time shown',
    description: 'Share of the memory that programs cannot have, one report out of each interval. The lines are 75 % and 90 %.',
    queries: [sqlLines(sampled('n.node AS metric, s.value', 'tidemark_memory_usage_ratio'))],
    width: 12,
    height: 10,
    unit: 'percentunit',
    min: 0,
    max: 1,
    bounds: MEMORY,
    datasource: POSTGRESQL,
  }),
];

const things = [
  table({
    title: 'Inventory',
    description: 'What each machine is, as its agent saw it at its start and once a day since.',
    queries: [
      sqlRows(`
SELECT i.node, i.site, i.os, i.kernel, i.architecture, i.cpus, i.memory_bytes, i.virtualisation, i.product, i.addresses, i.timezone,
  n.agent_version, n.state, n.last_report_at
FROM tidemark_views.inventory i JOIN tidemark_views.nodes n USING (node_id)
WHERE i.${CHOSEN}
ORDER BY i.node`),
    ],
    width: 24,
    height: 10,
    datasource: POSTGRESQL,
    columns: [
      { field: 'node', title: 'Node' },
      { field: 'site', title: 'Site' },
      { field: 'state', title: 'State' },
      { field: 'os', title: 'System' },
      { field: 'kernel', title: 'Kernel' },
      { field: 'architecture', title: 'Architecture' },
      { field: 'cpus', title: 'CPUs' },
      { field: 'memory_bytes', title: 'Memory', unit: 'bytes' },
      { field: 'virtualisation', title: 'Kind' },
      { field: 'product', title: 'Product' },
      { field: 'addresses', title: 'Addresses' },
      { field: 'timezone', title: 'Time zone' },
      { field: 'agent_version', title: 'Agent' },
      { field: 'last_report_at', title: 'Last report', unit: 'dateTimeFromNow' },
    ],
    noValue: '–',
  }),
  table({
    title: 'Latest observations',
    description: 'What is not a number, as it is now, the newest change first. A value opens in full with the eye in its cell.',
    queries: [
      sqlRows(`
SELECT since, at, node, site, kind, instance, document::text AS document
FROM tidemark_views.observations
WHERE ${CHOSEN}
ORDER BY since DESC
LIMIT 500`),
    ],
    width: 24,
    height: 10,
    datasource: POSTGRESQL,
    overrides: { Document: [{ id: 'custom.inspect', value: true }] },
    columns: [
      { field: 'since', title: 'Since', unit: 'dateTimeAsIso', width: 170 },
      { field: 'at', title: 'Seen', unit: 'dateTimeFromNow', width: 130 },
      { field: 'node', title: 'Node', width: 160 },
      { field: 'site', title: 'Site', width: 120 },
      { field: 'kind', title: 'Kind', width: 160 },
      { field: 'instance', title: 'Instance', width: 140 },
      { field: 'document', title: 'Document' },
    ],
    noValue: '–',
  }),
];

export const store = (): Dashboard =>
  dashboard({
    uid: 'tidemark-store',
    title: 'Tidemark / Store',
    description: "The collector's own database: alerts, replication as it stands, disks over weeks, what each machine is.",
    variables: [
      postgresqlSource(),
      sqlChoice({
        name: 'site',
        label: 'Site',
        description: 'Sites of nodes.',
        statement: "SELECT DISTINCT coalesce(nullif(site, ''), '(none)') FROM tidemark_views.nodes WHERE state <> 'retired' ORDER BY 1",
      }),
      sqlChoice({
        name: 'node',
        label: 'Node',
        description: 'Nodes of these sites.',
        statement: `SELECT node FROM tidemark_views.nodes WHERE state <> 'retired' AND ${SITE_CHOSEN} ORDER BY 1`,
      }),
    ],
    from: 'now-7d',
    refresh: '5m',
    rows: [
      { title: '', panels: now },
      { title: 'Alerts', panels: alerts },
      { title: 'Replication', panels: topology },
      { title: 'Over time', panels: disks },
      { title: 'What there is', panels: things },
    ],
  });
