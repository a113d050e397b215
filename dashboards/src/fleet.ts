/** The fleet at a glance: what is wrong first, then every node in a table that leads to its own dashboard, then who uses most. */
import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { LINE_TO_NODE, LINE_TO_POSTGRESQL, TO_NODE, dashboard, jobChoice, prometheusSource, siteChoice } from './dashboard.ts';
import {
  BYTES_BEHIND,
  CPU,
  DISK,
  ENDPOINT_STATES,
  MEMORY,
  NONE,
  NONE_AT_ALL,
  UP_STATES,
  bars,
  chart,
  stat,
  table,
  timeline,
} from './panel.ts';
import { FLEET, instant, range, rows } from './query.ts';

const BY_NODE = '{{node}}';
/** How many of a vector are there, and 0 for none. */
const howMany = (vector: string): string => `count(${vector}) or vector(0)`;
const FULLEST_DISK = `max by (node, site) (tidemark_filesystem_usage_ratio{${FLEET}})`;
const CPUS = `count by (node, site) (node_cpu_seconds_total{${FLEET},mode="idle"})`;

const wrong = [
  stat({
    title: 'Nodes reporting',
    description: 'Nodes that were heard from within their grace.',
    queries: [instant(`sum(tidemark_node_up{${FLEET}})`)],
    width: 3,
    plain: true,
  }),
  stat({
    title: 'Silent nodes',
    description: 'Nodes that should report and do not.',
    queries: [instant(howMany(`tidemark_node_up{${FLEET}} == 0`))],
    width: 3,
    bounds: NONE_AT_ALL,
  }),
  stat({
    title: 'CPU above 70 %',
    description: 'Nodes whose CPUs have been busy for more than 70 % of the last five minutes.',
    queries: [instant(howMany(`avg_over_time(tidemark_cpu_usage_ratio{${FLEET}}[5m]) > ${CPU.warning}`))],
    width: 3,
    bounds: NONE,
  }),
  stat({
    title: 'Memory above 75 %',
    description: 'Nodes that use more than 75 % of their memory; caches do not count.',
    queries: [instant(howMany(`tidemark_memory_usage_ratio{${FLEET}} > ${MEMORY.warning}`))],
    width: 3,
    bounds: NONE,
  }),
  stat({
    title: 'Disks above 70 %',
    description: 'File systems that are used by more than 70 %.',
    queries: [instant(howMany(`tidemark_filesystem_usage_ratio{${FLEET}} > ${DISK.warning}`))],
    width: 3,
    bounds: NONE,
  }),
  stat({
    title: 'Disks above 85 %',
    description: 'File systems that are used by more than 85 %.',
    queries: [instant(howMany(`tidemark_filesystem_usage_ratio{${FLEET}} > ${DISK.critical}`))],
    width: 3,
    bounds: NONE_AT_ALL,
  }),
  stat({
    title: 'PostgreSQL down',
    description: 'PostgreSQL servers that an agent watches and that do not answer.',
    queries: [instant(howMany(`pg_up{${FLEET}} == 0`))],
    width: 3,
    bounds: NONE_AT_ALL,
  }),
  stat({
    title: 'Replicas behind',
    description: 'Replicas with more than 100 MiB of WAL sent and not replayed.',
    queries: [instant(howMany(`tidemark_postgres_replica_bytes_behind{${FLEET}} > ${BYTES_BEHIND.warning}`))],
    width: 3,
    bounds: NONE,
  }),
];

const nodes = table({
  title: 'Nodes',
  description: 'Every node now. A silent node has no figures: what it last said would be no news. Click a name to open the node.',
  queries: [
    rows(`max by (node, site) (tidemark_node_up{${FLEET}})`),
    rows(`max by (node, site) (tidemark_cpu_usage_ratio{${FLEET}})`),
    rows(`max by (node, site) (tidemark_memory_usage_ratio{${FLEET}})`),
    rows(FULLEST_DISK),
    rows(`max by (node, site) (node_load5{${FLEET}}) / ${CPUS}`),
    rows(`count by (node, site) (pg_up{${FLEET}})`),
    rows(`max by (node, site) (tidemark_uptime_seconds{${FLEET}})`),
    rows(`time() - max by (node, site) (tidemark_node_last_seen_timestamp_seconds{${FLEET}})`),
  ],
  width: 24,
  height: 12,
  columns: [
    { field: 'node', title: 'Node', link: TO_NODE },
    { field: 'site', title: 'Site' },
    { field: 'Value #A', title: 'State', states: UP_STATES, width: 110 },
    { field: 'Value #B', title: 'CPU', unit: 'percentunit', decimals: 0, bounds: CPU, gauge: true },
    { field: 'Value #C', title: 'Memory', unit: 'percentunit', decimals: 0, bounds: MEMORY, gauge: true },
    { field: 'Value #D', title: 'Fullest disk', unit: 'percentunit', decimals: 0, bounds: DISK, gauge: true },
    { field: 'Value #E', title: 'Load per CPU', decimals: 2, width: 120 },
    { field: 'Value #F', title: 'PostgreSQL', width: 110 },
    { field: 'Value #G', title: 'Up for', unit: 'dtdurations', decimals: 0, width: 150 },
    { field: 'Value #H', title: 'Last heard', unit: 'dtdurations', decimals: 0, width: 130 },
  ],
  sortBy: { title: 'State', descending: false },
  noValue: '–',
});

const most = [
  bars({
    title: 'Fullest disks',
    description: 'The ten file systems with the least room, of all nodes.',
    queries: [instant(`topk(10, tidemark_filesystem_usage_ratio{${FLEET}})`, '{{node}} {{mountpoint}}')],
    width: 8,
    height: 10,
    unit: 'percentunit',
    min: 0,
    max: 1,
    bounds: DISK,
    link: LINE_TO_NODE,
  }),
  bars({
    title: 'Busiest CPUs',
    description: 'The ten busiest nodes, by the mean of the last five minutes.',
    queries: [instant(`topk(10, avg_over_time(tidemark_cpu_usage_ratio{${FLEET}}[5m]))`, BY_NODE)],
    width: 8,
    height: 10,
    unit: 'percentunit',
    min: 0,
    max: 1,
    bounds: CPU,
    link: LINE_TO_NODE,
  }),
  bars({
    title: 'Most memory',
    description: 'The ten nodes with the least memory left.',
    queries: [instant(`topk(10, tidemark_memory_usage_ratio{${FLEET}})`, BY_NODE)],
    width: 8,
    height: 10,
    unit: 'percentunit',
    min: 0,
    max: 1,
    bounds: MEMORY,
    link: LINE_TO_NODE,
  }),
];

/** With hundreds of nodes lines are a carpet: at each moment the twenty highest are drawn. */
const highest = (series: string): string => `topk(20, ${series})`;

const past = [
  chart({
    title: 'CPU usage',
    description: 'Busy share of all CPUs; at each moment the twenty highest nodes.',
    queries: [range(highest(`tidemark_cpu_usage_ratio{${FLEET}}`), BY_NODE)],
    width: 12,
    height: 9,
    unit: 'percentunit',
    min: 0,
    max: 1,
    bounds: CPU,
    link: LINE_TO_NODE,
  }),
  chart({
    title: 'Memory usage',
    description: 'Share of the memory that programs cannot have; the twenty highest nodes.',
    queries: [range(highest(`tidemark_memory_usage_ratio{${FLEET}}`), BY_NODE)],
    width: 12,
    height: 9,
    unit: 'percentunit',
    min: 0,
    max: 1,
    bounds: MEMORY,
    link: LINE_TO_NODE,
  }),
  chart({
    title: 'Fullest disk of each node',
    description: 'The file system with the least room of each node; the twenty highest.',
    queries: [range(highest(FULLEST_DISK), BY_NODE)],
    width: 12,
    height: 9,
    unit: 'percentunit',
    min: 0,
    max: 1,
    bounds: DISK,
    link: LINE_TO_NODE,
  }),
  chart({
    title: 'PostgreSQL replicas: bytes behind',
    description: 'WAL that was sent to a replica and is not replayed there. The line is 100 MiB.',
    queries: [range(highest(`tidemark_postgres_replica_bytes_behind{${FLEET}}`), '{{node}} → {{application_name}} {{client_addr}}')],
    width: 12,
    height: 9,
    unit: 'bytes',
    min: 0,
    bounds: BYTES_BEHIND,
    link: LINE_TO_POSTGRESQL,
    noValue: 'No replica is watched.',
  }),
  timeline({
    title: 'Silence',
    description: 'Nodes that did not report at some time of the range shown.',
    queries: [range(`tidemark_node_up{${FLEET}} and min_over_time(tidemark_node_up{${FLEET}}[$__range]) == 0`, BY_NODE)],
    width: 12,
    height: 7,
    states: UP_STATES,
    noValue: 'Every node reported throughout.',
    link: LINE_TO_NODE,
  }),
];

const endpoints = timeline({
  title: 'HTTP endpoints that were down',
  description: 'Endpoints that did not answer as wanted at some time of the range shown.',
  queries: [range(`tidemark_http_up{${FLEET}} and min_over_time(tidemark_http_up{${FLEET}}[$__range]) == 0`, '{{endpoint}} from {{node}}')],
  width: 12,
  height: 7,
  states: ENDPOINT_STATES,
  noValue: 'Every endpoint answered throughout, or none is asked.',
  link: LINE_TO_NODE,
});

const collector = [
  chart({
    title: 'Reports',
    description: 'What the collector made of the reports of agents. Only where Prometheus scrapes its /metrics without ?node=.',
    queries: [range('sum by (result) (rate(tidemark_collector_reports_total[$__rate_interval]))', '{{result}}')],
    width: 8,
    unit: 'reqps',
    min: 0,
    noValue: 'The collector itself is not scraped.',
  }),
  chart({
    title: 'Waiting to be stored',
    description: 'Reports that the database has not committed yet. It grows while the database is away; agents keep what is not stored.',
    queries: [range('max(tidemark_collector_reports_waiting)', 'reports'), range('max(tidemark_collector_database_up)', 'database up')],
    width: 8,
    min: 0,
    noValue: 'The collector itself is not scraped.',
  }),
  chart({
    title: 'Answers to agents',
    description: 'From the request of an agent to the answer: half of them and all but one in a hundred were faster.',
    queries: [0.5, 0.99].map((quantile) =>
      range(
        `histogram_quantile(${quantile}, sum by (le) (rate(tidemark_collector_acknowledgement_duration_seconds_bucket[$__rate_interval])))`,
        `${quantile * 100} %`,
      ),
    ),
    width: 8,
    unit: 's',
    min: 0,
    noValue: 'The collector itself is not scraped.',
  }),
];

export const fleet = (): Dashboard =>
  dashboard({
    uid: 'tidemark-fleet',
    title: 'Tidemark / Fleet',
    description: 'All nodes: what is wrong first, then everything.',
    variables: [prometheusSource(), jobChoice(), siteChoice()],
    from: 'now-6h',
    refresh: '30s',
    rows: [
      { title: '', panels: [...wrong, nodes] },
      { title: 'Who uses most', panels: most },
      { title: 'Over time', panels: [...past, endpoints] },
      { title: 'The collector', panels: collector },
    ],
  });
