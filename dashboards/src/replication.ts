/** Replication of PostgreSQL as Tidemark measures it: true lag with its bounds, states, when replicas will have caught up, slots and what they endanger. */
import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import {
  LINE_TO_POSTGRESQL,
  TO_NODE,
  dashboard,
  instanceChoice,
  jobChoice,
  postgresNodeChoice,
  prometheusSource,
  siteChoice,
} from './dashboard.ts';
import { NONE_AT_ALL, chart, stat, table, timeline, type Bounds } from './panel.ts';
import { FLEET, INSTANCE, instant, range, rows } from './query.ts';

const SERVER = '{{node}} {{server}} {{replica}}';
const SLOT = '{{node}} {{slot_name}}';
const LAG: Bounds = { warning: 60, critical: 300 };
const NO_REPLICA = 'None of the servers shown is a replica.';
const NO_SLOT = 'The servers shown have no replication slots.';
/** In the order of REPLICATION_STATES. */
const STATES = [
  { state: 'running', text: 'Primary', color: 'blue' },
  { state: 'streaming', text: 'Streaming', color: 'green' },
  { state: 'catching_up', text: 'Catching up', color: 'yellow' },
  { state: 'stalled', text: 'Stalled', color: 'orange' },
  { state: 'paused', text: 'Paused', color: 'purple' },
  { state: 'delayed', text: 'Delayed', color: 'light-green' },
  { state: 'archive_recovery', text: 'From the archive', color: 'light-blue' },
  { state: 'disconnected', text: 'Disconnected', color: 'red' },
  { state: 'diverged', text: 'Diverged', color: 'dark-red' },
  { state: 'starting', text: 'Starting', color: 'light-yellow' },
  { state: 'down', text: 'Down', color: 'dark-red' },
  { state: 'insufficient_privilege', text: 'May not see', color: 'light-orange' },
  { state: 'unknown', text: 'Not heard', color: 'text' },
] as const;
/** One lane a server: which of its states is 1, as a number. */
const STATE_NUMBER = STATES.map(
  ({ state }, i) => `max by (node, server, replica) (tidemark_replication_state{${INSTANCE},state="${state}"} == 1) * ${i + 1}`,
).join(' or ');
const STATE_WORDS = Object.fromEntries(STATES.map(({ text, color }, i) => [String(i + 1), { text, color }]));

const now = [
  stat({
    title: 'Longest lag',
    description:
      'The replica that is furthest behind, by the likeliest value. 0 when all have replayed all there was, however long nothing was written.',
    queries: [range(`max(tidemark_replication_lag_seconds{${INSTANCE}})`)],
    width: 4,
    unit: 's',
    bounds: LAG,
    spark: true,
    noValue: 'no replica',
  }),
  stat({
    title: 'Not streaming',
    description: 'Replicas that are disconnected, diverged or down.',
    queries: [instant(`count(tidemark_replication_state{${INSTANCE},state=~"disconnected|diverged|down"} == 1) or vector(0)`)],
    width: 4,
    bounds: NONE_AT_ALL,
  }),
  stat({
    title: 'Split brain',
    description: 'Servers that are primary and should not be, while another one of the same cluster is.',
    queries: [instant(`sum(tidemark_replication_split_brain{${INSTANCE}}) or vector(0)`)],
    width: 4,
    bounds: NONE_AT_ALL,
  }),
  stat({
    title: 'Without a primary',
    description: 'For how long a cluster has shown no primary, where it is longest.',
    queries: [instant(`max(tidemark_replication_without_primary_seconds{${FLEET}}) or vector(0)`)],
    width: 4,
    unit: 's',
    bounds: { warning: 10, critical: 50 },
  }),
  stat({
    title: 'Would be lost now',
    description: 'WAL that no replica has flushed, of the cluster with the most: what is gone if its primary is lost at this moment.',
    queries: [range(`max(tidemark_replication_rpo_bytes{${INSTANCE}}) or vector(0)`)],
    width: 4,
    unit: 'bytes',
    spark: true,
  }),
  stat({
    title: 'Slots at risk or lost',
    description: 'Replication slots that are lost, or will be at a checkpoint.',
    queries: [instant(`count(tidemark_replication_slot_state{${INSTANCE},wal_status=~"unreserved|lost"} == 1) or vector(0)`)],
    width: 4,
    bounds: NONE_AT_ALL,
  }),
];

const replicas = table({
  title: 'Servers',
  description:
    'Each server of the clusters, and replicas that only their upstream knows. Lag lies between the two bounds; alarms are judged on the lower one.',
  queries: [
    rows(STATE_NUMBER),
    rows(`max by (node, server, replica) (tidemark_replication_lag_seconds{${INSTANCE}})`),
    rows(`max by (node, server, replica) (tidemark_replication_lag_seconds_lower{${INSTANCE}})`),
    rows(`max by (node, server, replica) (tidemark_replication_lag_seconds_upper{${INSTANCE}})`),
    rows(`max by (node, server, replica) (tidemark_replication_lag_bytes{${INSTANCE}})`),
    rows(`max by (node, server, replica) (tidemark_replication_transport_bytes{${INSTANCE}})`),
    rows(`max by (node, server, replica) (tidemark_replication_replay_bytes{${INSTANCE}})`),
    rows(`max by (node, server, replica) (tidemark_replication_catchup_seconds{${INSTANCE}})`),
  ],
  width: 24,
  height: 8,
  columns: [
    { field: 'node', title: 'Node', link: TO_NODE },
    { field: 'server', title: 'Instance' },
    { field: 'replica', title: 'Replica' },
    { field: 'Value #A', title: 'State', states: STATE_WORDS },
    { field: 'Value #B', title: 'Lag', unit: 's', bounds: LAG },
    { field: 'Value #C', title: 'at least', unit: 's' },
    { field: 'Value #D', title: 'at most', unit: 's' },
    { field: 'Value #E', title: 'Behind', unit: 'bytes' },
    { field: 'Value #F', title: 'Not received', unit: 'bytes' },
    { field: 'Value #G', title: 'Not replayed', unit: 'bytes' },
    { field: 'Value #H', title: 'Caught up in', unit: 'dtdurations', decimals: 0 },
  ],
  sortBy: { title: 'Lag', descending: true },
  noValue: '–',
});

const lag = [
  chart({
    title: 'Lag',
    description: 'The age of the oldest WAL that a replica has not replayed. The lines are a minute and five.',
    queries: [range(`tidemark_replication_lag_seconds{${INSTANCE}}`, SERVER)],
    width: 12,
    height: 9,
    unit: 's',
    min: 0,
    bounds: LAG,
    noValue: NO_REPLICA,
    link: LINE_TO_POSTGRESQL,
  }),
  chart({
    title: 'Lag, at least and at most',
    description: 'The bounds. Wide bounds are honest ones: the primary is not heard, or reports were lost.',
    queries: [
      range(`tidemark_replication_lag_seconds_lower{${INSTANCE}}`, `${SERVER} at least`),
      range(`tidemark_replication_lag_seconds_upper{${INSTANCE}} < +Inf`, `${SERVER} at most`),
    ],
    width: 12,
    height: 9,
    unit: 's',
    min: 0,
    noValue: NO_REPLICA,
  }),
  timeline({
    title: 'State',
    description: 'What each server is doing.',
    queries: [range(STATE_NUMBER, SERVER)],
    width: 24,
    height: 8,
    states: STATE_WORDS,
  }),
  chart({
    title: 'Not received',
    description: 'WAL that the server upstream has and the replica has not: the link, or the sender.',
    queries: [range(`tidemark_replication_transport_bytes{${INSTANCE}}`, SERVER)],
    width: 8,
    unit: 'bytes',
    min: 0,
    noValue: NO_REPLICA,
  }),
  chart({
    title: 'Not replayed',
    description: 'WAL that the replica has and has not replayed: a query, a lock, a pause, a slow disk.',
    queries: [range(`tidemark_replication_replay_bytes{${INSTANCE}}`, SERVER)],
    width: 8,
    unit: 'bytes',
    min: 0,
    noValue: NO_REPLICA,
  }),
  chart({
    title: 'Behind its own upstream',
    description: 'Of each link by itself. In a cascade the lag behind the primary is the sum of its links.',
    queries: [range(`tidemark_replication_edge_lag_seconds{${INSTANCE}}`, SERVER)],
    width: 8,
    unit: 's',
    min: 0,
    noValue: NO_REPLICA,
  }),
];

const slots = [
  chart({
    title: 'Kept for slots',
    description: 'WAL that a server keeps for each slot.',
    queries: [range(`tidemark_replication_slot_retained_bytes{${INSTANCE}}`, SLOT)],
    width: 8,
    unit: 'bytes',
    min: 0,
    noValue: NO_SLOT,
  }),
  chart({
    title: 'Age of what is kept',
    description: 'The age of the oldest WAL that a slot keeps; of logical slots also of what is not confirmed.',
    queries: [
      range(`tidemark_replication_slot_held_seconds{${INSTANCE}}`, SLOT),
      range(`tidemark_replication_slot_lag_seconds{${INSTANCE}}`, `${SLOT} not confirmed`),
    ],
    width: 8,
    unit: 's',
    min: 0,
    noValue: NO_SLOT,
  }),
  chart({
    title: 'Until a slot is lost, or the disk is full',
    description: 'At the present rate of writing. Nothing is drawn for a slot that is in no danger.',
    queries: [
      range(`tidemark_replication_slot_lost_in_seconds{${INSTANCE}}`, `${SLOT} lost`),
      range(`tidemark_replication_slot_disk_full_in_seconds{${INSTANCE}}`, `${SLOT} disk full`),
    ],
    width: 8,
    unit: 's',
    min: 0,
    noValue: 'No slot is in danger.',
  }),
];

const happened = [
  chart({
    title: 'What happened',
    description: 'Replication events an hour, by kind. The console and the API say in words what each was.',
    queries: [range(`sum by (kind) (increase(tidemark_replication_events_total{${FLEET}}[1h]))`, '{{kind}}')],
    width: 12,
    min: 0,
    noValue: 'Nothing has happened.',
  }),
  chart({
    title: 'Synchronous standbys missing, commits waiting',
    description: 'Fewer than commits need; and sessions that wait for one.',
    queries: [
      range(`tidemark_replication_sync_standbys_missing{${INSTANCE}}`, '{{node}} missing'),
      range(`tidemark_replication_sync_waiting{${INSTANCE}}`, '{{node}} waiting'),
    ],
    width: 12,
    min: 0,
    noValue: 'None of the servers shown commits synchronously.',
  }),
];

export const replication = (): Dashboard =>
  dashboard({
    uid: 'tidemark-replication',
    title: 'Tidemark / Replication',
    description: 'PostgreSQL replication: true lag, states, slots.',
    variables: [prometheusSource(), jobChoice(), siteChoice(), postgresNodeChoice(), instanceChoice()],
    from: 'now-6h',
    refresh: '30s',
    alertsOf: 'node=~"$node",tidemark_rule=~"replication.*|split-brain|primary-lost|sync-.*"',
    rows: [
      { title: '', panels: [...now, replicas] },
      { title: 'Lag', panels: lag },
      { title: 'Slots', panels: slots },
      { title: 'Events and commits', panels: happened },
    ],
  });
