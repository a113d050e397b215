/** What runs on a node, for its dashboard: PostgreSQL servers, endpoints that its agent asks, and the agent itself. */
import { ENDPOINT_STATES, ERRORS, RESPONSE_SECONDS, SERVER_STATES, chart, leastBounds, table, timeline } from './panel.ts';
import { NODE, range, rate, rows } from './query.ts';

export const postgresql = [
  table({
    title: 'PostgreSQL servers',
    description: 'What the agent of this node watches.',
    queries: [
      rows(`max by (server) (pg_up{${NODE}})`),
      rows(`max by (server) (pg_replication_is_replica{${NODE}})`),
      rows(`max by (server) (tidemark_postgres_connections_used_ratio{${NODE}})`),
      rows(`max by (server) (tidemark_postgres_replicas{${NODE}})`),
    ],
    width: 24,
    height: 5,
    columns: [
      {
        field: 'server',
        title: 'Instance',
        link: {
          title: 'Open the instance',
          url: '/d/tidemark-postgresql?${__url_time_range}&${datasource:queryparam}&${job:queryparam}&${node:queryparam}&var-instance=${__value.text}',
        },
      },
      { field: 'Value #A', title: 'State', states: SERVER_STATES },
      {
        field: 'Value #B',
        title: 'Role',
        states: { '0': { text: 'primary', color: 'text' }, '1': { text: 'replica', color: 'text' } },
      },
      { field: 'Value #C', title: 'Connections', unit: 'percentunit', decimals: 0, bounds: { warning: 0.8, critical: 0.95 }, gauge: true },
      { field: 'Value #D', title: 'Replicas' },
    ],
    noValue: 'The agent of this node watches no PostgreSQL.',
  }),
];

const NO_ENDPOINT = 'The agent of this node asks no HTTP endpoint.';

export const endpoints = [
  table({
    title: 'HTTP endpoints',
    description: 'What the agent of this node asks for. "Errors" is the share of the requests of the last minutes that failed.',
    queries: [
      rows(`max by (endpoint) (tidemark_http_up{${NODE}})`),
      rows(`max by (endpoint) (tidemark_http_status_code{${NODE}})`),
      rows(`max by (endpoint) (tidemark_http_response_seconds{${NODE}})`),
      rows(`max by (endpoint) (tidemark_http_error_ratio{${NODE}})`),
      rows(`max by (endpoint) (tidemark_http_certificate_expires_seconds{${NODE}})`),
    ],
    width: 24,
    height: 6,
    columns: [
      { field: 'endpoint', title: 'Endpoint' },
      { field: 'Value #A', title: 'State', states: ENDPOINT_STATES, width: 110 },
      { field: 'Value #B', title: 'Status', width: 90 },
      { field: 'Value #C', title: 'Took', unit: 's', bounds: RESPONSE_SECONDS, width: 120 },
      { field: 'Value #D', title: 'Errors', unit: 'percentunit', decimals: 1, bounds: ERRORS, width: 120 },
      { field: 'Value #E', title: 'Certificate ends in', unit: 'dtdurations', decimals: 0, width: 200 },
    ],
    overrides: {
      'Certificate ends in': [...leastBounds(14 * 86_400, 3 * 86_400), { id: 'custom.cellOptions', value: { type: 'color-text' } }],
    },
    noValue: NO_ENDPOINT,
  }),
  timeline({
    title: 'Endpoints',
    description: 'Whether an endpoint answered in time as wanted.',
    queries: [range(`max by (endpoint) (tidemark_http_up{${NODE}})`, '{{endpoint}}')],
    width: 8,
    states: ENDPOINT_STATES,
    noValue: NO_ENDPOINT,
  }),
  chart({
    title: 'Response time',
    description: 'From the beginning of a request to the end of its answer. The lines are 2 s and 5 s.',
    queries: [range(`max by (endpoint) (tidemark_http_response_seconds{${NODE}})`, '{{endpoint}}')],
    width: 8,
    unit: 's',
    min: 0,
    bounds: RESPONSE_SECONDS,
    noValue: NO_ENDPOINT,
  }),
  chart({
    title: 'Errors',
    description: 'Share of the requests of the last minutes that failed. The lines are 1 % and 5 %.',
    queries: [range(`max by (endpoint) (tidemark_http_error_ratio{${NODE}})`, '{{endpoint}}')],
    width: 8,
    unit: 'percentunit',
    min: 0,
    bounds: ERRORS,
    noValue: NO_ENDPOINT,
  }),
];

export const agent = [
  chart({
    title: "The agent's CPU",
    description: 'Share of one CPU.',
    queries: [range(`max(${rate('tidemark_agent_cpu_seconds_total')})`, 'CPU')],
    width: 6,
    unit: 'percentunit',
    min: 0,
  }),
  chart({
    title: "The agent's memory",
    description: 'Resident memory.',
    queries: [range(`max(tidemark_agent_resident_memory_bytes{${NODE}})`, 'resident')],
    width: 6,
    unit: 'bytes',
    min: 0,
  }),
  chart({
    title: 'Waiting on the node',
    description: 'Reports that the collector has not confirmed yet, as they lie on the disk of the node.',
    queries: [range(`max(tidemark_agent_spool_bytes{${NODE}})`, 'spool')],
    width: 6,
    unit: 'bytes',
    min: 0,
  }),
  chart({
    title: 'Reports lost',
    description: 'Reports that the agent had to give up. Anything but 0 is a gap in the history.',
    queries: [range(`max(increase(tidemark_agent_reports_lost_total{${NODE}}[$__rate_interval]))`, 'lost')],
    width: 6,
    min: 0,
  }),
];
