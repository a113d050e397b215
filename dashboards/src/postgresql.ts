/** PostgreSQL servers: who is up and in which role, how far replicas are behind, connections, WAL and what slots hold back. */
import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { TO_NODE, dashboard, instanceChoice, jobChoice, postgresNodeChoice, prometheusSource, siteChoice } from './dashboard.ts';
import { BYTES_BEHIND, NONE_AT_ALL, SERVER_STATES, chart, colour, stat, table, timeline } from './panel.ts';
import { INSTANCE, instant, range, rows } from './query.ts';

const SERVER = '{{node}} {{server}}';
const REPLICA = '{{node}} → {{application_name}} {{client_addr}}';
const SLOT = '{{node}} {{slot_name}}';
const CONNECTIONS = { warning: 0.8, critical: 0.95 };
const ROLES = { '0': { text: 'primary', color: 'blue' }, '1': { text: 'replica', color: 'purple' } };
const NO_REPLICA = 'No replica is connected to the servers shown.';

const now = [
  stat({
    title: 'Servers up',
    description: 'PostgreSQL servers that take connections and answer.',
    queries: [instant(`sum(pg_up{${INSTANCE}})`)],
    width: 4,
    plain: true,
  }),
  stat({
    title: 'Servers down',
    description: 'PostgreSQL servers that do not answer.',
    queries: [instant(`count(pg_up{${INSTANCE}} == 0) or vector(0)`)],
    width: 4,
    bounds: NONE_AT_ALL,
  }),
  stat({
    title: 'Replicas connected',
    description: 'Replicas that the servers shown send to, in whatever state.',
    queries: [instant(`sum(tidemark_postgres_replicas{${INSTANCE}})`)],
    width: 4,
    plain: true,
  }),
  stat({
    title: 'Most bytes behind',
    description: 'The replica with the most WAL sent and not replayed.',
    queries: [range(`max(tidemark_postgres_replica_bytes_behind{${INSTANCE}}) or vector(0)`)],
    width: 4,
    unit: 'bytes',
    bounds: BYTES_BEHIND,
    spark: true,
  }),
  stat({
    title: 'Fullest of connections',
    description: 'Client connections as a share of max_connections, where it is highest.',
    queries: [range(`max(tidemark_postgres_connections_used_ratio{${INSTANCE}})`)],
    width: 4,
    unit: 'percentunit',
    decimals: 0,
    bounds: CONNECTIONS,
    spark: true,
  }),
  stat({
    title: 'Slots without a reader',
    description: 'Replication slots that nobody reads. Each holds WAL back until the disk is full.',
    queries: [instant(`count(pg_replication_slot_slot_is_active{${INSTANCE}} == 0) or vector(0)`)],
    width: 4,
    bounds: { warning: 1 },
  }),
];

const servers = table({
  title: 'Servers',
  description: 'Every server that an agent watches. "Instance" is the name that the agent knows it by.',
  queries: [
    rows(`max by (node, site, server) (pg_up{${INSTANCE}})`),
    rows(`max by (node, site, server) (pg_replication_is_replica{${INSTANCE}})`),
    rows(`max by (node, site, server) (tidemark_postgres_connections_used_ratio{${INSTANCE}})`),
    rows(`max by (node, site, server) (pg_settings_max_connections{${INSTANCE}})`),
    rows(`max by (node, site, server) (tidemark_postgres_replicas{${INSTANCE}})`),
    rows(`max by (node, site, server) (time() - pg_postmaster_start_time_seconds{${INSTANCE}})`),
    rows(`max by (node, site, server, short_version) (pg_static{${INSTANCE}})`),
  ],
  width: 24,
  height: 7,
  columns: [
    { field: 'node', title: 'Node', link: TO_NODE },
    { field: 'server', title: 'Instance' },
    { field: 'site', title: 'Site' },
    { field: 'Value #A', title: 'State', states: SERVER_STATES },
    { field: 'Value #B', title: 'Role', states: ROLES },
    { field: 'short_version', title: 'Version' },
    { field: 'Value #C', title: 'Connections', unit: 'percentunit', decimals: 0, bounds: CONNECTIONS, gauge: true },
    { field: 'Value #D', title: 'of at most' },
    { field: 'Value #E', title: 'Replicas' },
    { field: 'Value #F', title: 'Up for', unit: 'dtdurations', decimals: 0 },
  ],
  sortBy: { title: 'State', descending: false },
  noValue: '–',
});

const replication = [
  chart({
    title: 'Bytes behind',
    description: 'WAL that was sent to a replica and is not replayed there. The line is 100 MiB.',
    queries: [range(`tidemark_postgres_replica_bytes_behind{${INSTANCE}}`, REPLICA)],
    width: 12,
    height: 9,
    unit: 'bytes',
    min: 0,
    bounds: BYTES_BEHIND,
    noValue: NO_REPLICA,
  }),
  chart({
    title: 'Behind the primary, sent or not',
    description: 'From the position of the server to what the replica has replayed. It also grows while nothing is sent.',
    queries: [range(`pg_stat_replication_pg_wal_lsn_diff{${INSTANCE}}`, REPLICA)],
    width: 12,
    height: 9,
    unit: 'bytes',
    min: 0,
    noValue: NO_REPLICA,
  }),
  timeline({
    title: 'Streaming',
    description:
      'Whether a replica streams; it does not while it starts, catches up or stops. A lane that ends is a replica that went away.',
    queries: [range(`tidemark_postgres_replica_streaming{${INSTANCE}}`, REPLICA)],
    width: 12,
    height: 7,
    states: { '0': { text: 'Not streaming', color: 'orange' }, '1': { text: 'Streaming', color: 'green' } },
    noValue: NO_REPLICA,
  }),
  timeline({
    title: 'Role',
    description: 'Primary or replica. A change of colour is a switchover.',
    queries: [range(`pg_replication_is_replica{${INSTANCE}}`, SERVER)],
    width: 12,
    height: 7,
    states: ROLES,
  }),
  chart({
    title: 'Received and not replayed',
    description: 'On replicas: WAL that is there and waits to be replayed. It grows while replay is paused or a query holds it up.',
    queries: [range(`tidemark_postgres_replay_backlog_bytes{${INSTANCE}}`, SERVER)],
    width: 8,
    unit: 'bytes',
    min: 0,
    noValue: 'None of the servers shown is a replica.',
  }),
  timeline({
    title: 'Receiver',
    description: 'On replicas: whether WAL comes in.',
    queries: [range(`tidemark_postgres_receiver_up{${INSTANCE}}`, SERVER)],
    width: 8,
    states: { '0': { text: 'Not receiving', color: 'red' }, '1': { text: 'Receiving', color: 'green' } },
    noValue: 'None of the servers shown is a replica.',
  }),
  timeline({
    title: 'Replay paused',
    description: 'On replicas: whether somebody has paused replay.',
    queries: [range(`tidemark_postgres_replay_paused{${INSTANCE}}`, SERVER)],
    width: 8,
    states: { '0': { text: 'Replaying', color: 'green' }, '1': { text: 'Paused', color: 'orange' } },
    noValue: 'None of the servers shown is a replica.',
  }),
];

const activity = [
  chart({
    title: 'WAL written',
    description: 'Bytes of WAL a second that primaries write.',
    queries: [range(`rate(tidemark_postgres_wal_bytes_total{${INSTANCE},position="current"}[$__rate_interval])`, SERVER)],
    width: 8,
    unit: 'Bps',
    min: 0,
  }),
  chart({
    title: 'WAL replayed',
    description: 'Bytes of WAL a second that replicas replay.',
    queries: [range(`rate(tidemark_postgres_wal_bytes_total{${INSTANCE},position="replay"}[$__rate_interval])`, SERVER)],
    width: 8,
    unit: 'Bps',
    min: 0,
    noValue: 'None of the servers shown is a replica.',
  }),
  chart({
    title: 'Connections used',
    description: 'Client connections as a share of max_connections.',
    queries: [range(`tidemark_postgres_connections_used_ratio{${INSTANCE}}`, SERVER)],
    width: 8,
    unit: 'percentunit',
    min: 0,
    max: 1,
    bounds: CONNECTIONS,
  }),
  chart({
    title: 'Connections by state',
    description: 'Of all servers shown. "Idle in transaction" keeps old rows from being cleaned away.',
    queries: [range(`sum by (state) (pg_stat_activity_count{${INSTANCE}})`, '{{state}}')],
    width: 12,
    min: 0,
    stacked: true,
    overrides: {
      active: colour('blue'),
      idle: colour('light-blue'),
      'idle in transaction': colour('orange'),
      'idle in transaction (aborted)': colour('red'),
    },
  }),
  chart({
    title: 'Size of databases',
    description: 'Disk space, looked at every quarter of an hour.',
    queries: [range(`pg_database_size_bytes{${INSTANCE}}`, '{{node}} {{datname}}')],
    width: 12,
    unit: 'bytes',
    min: 0,
  }),
];

const slots = [
  chart({
    title: 'Held back by slots',
    description: 'WAL that a server keeps because a slot has not confirmed it.',
    queries: [range(`tidemark_postgres_slot_retained_bytes{${INSTANCE}}`, SLOT)],
    width: 12,
    unit: 'bytes',
    min: 0,
    noValue: 'The servers shown have no replication slots.',
  }),
  timeline({
    title: 'Slots read',
    description: 'Whether somebody reads the slot.',
    queries: [range(`pg_replication_slot_slot_is_active{${INSTANCE}}`, SLOT)],
    width: 12,
    states: { '0': { text: 'Nobody reads', color: 'orange' }, '1': { text: 'Read', color: 'green' } },
    noValue: 'The servers shown have no replication slots.',
  }),
];

export const postgresql = (): Dashboard =>
  dashboard({
    uid: 'tidemark-postgresql',
    title: 'Tidemark / PostgreSQL',
    description: 'PostgreSQL servers and their replication.',
    variables: [prometheusSource(), jobChoice(), siteChoice(), postgresNodeChoice(), instanceChoice()],
    from: 'now-6h',
    refresh: '30s',
    alertsOf: 'node=~"$node",tidemark_rule=~"postgres.*|replication.*"',
    rows: [
      { title: '', panels: [...now, servers] },
      { title: 'Replication', panels: replication },
      { title: 'Activity', panels: activity },
      { title: 'Replication slots', panels: slots },
    ],
  });
