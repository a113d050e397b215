/** The shipped rules, the channels and the settings of a collector that does not exist, in the form the collector serves them. */
import type { Bound, ChannelView, OverviewNode, RuleLevel, RuleList, RuleView, Settings } from '@tidemark/protocol';

const MINUTE = 60;

function level(trigger: Bound, clear: number | null, trueForSeconds: number, rest: Partial<RuleLevel> = {}): RuleLevel {
  return { trigger, clear, trueForSeconds, ofLastSeconds: trueForSeconds, clearAfterSeconds: trueForSeconds, ...rest };
}

type Given = Pick<RuleView, 'name' | 'title'> & Partial<RuleView>;
function rule(given: Given): RuleView {
  return {
    kind: 'threshold',
    metric: null,
    observation: null,
    labels: {},
    unit: '',
    where: {},
    warning: null,
    critical: null,
    suppressedBy: ['node-silent'],
    enabled: true,
    inactiveBecause: null,
    annotations: {},
    runbook: `/runbooks/${given.name}`,
    layers: [{ layer: 'shipped', source: 'shipped', selector: '', sets: [] }],
    ...given,
  };
}

export const MOCK_RULES: readonly RuleView[] = [
  rule({
    name: 'cpu-usage',
    title: 'CPU usage',
    metric: 'tidemark_cpu_usage_ratio',
    unit: 'ratio',
    warning: level({ above: 0.7 }, 0.6, 10 * MINUTE, { ofLastSeconds: 15 * MINUTE, clearAfterSeconds: 5 * MINUTE }),
    critical: level({ above: 0.9 }, 0.8, 10 * MINUTE, { ofLastSeconds: 15 * MINUTE, clearAfterSeconds: 5 * MINUTE }),
    annotations: { summary: 'The processors are busy most of the time.' },
    layers: [
      { layer: 'shipped', source: 'shipped', selector: '', sets: ['warning.above = 0.7', 'critical.above = 0.9'] },
      {
        layer: 'tag',
        source: '/etc/tidemark/collector.yaml:41',
        selector: 'tag role=batch',
        sets: ['warning = none', 'critical.above = 0.98'],
      },
    ],
  }),
  rule({
    name: 'memory-usage',
    title: 'Memory usage',
    metric: 'tidemark_memory_usage_ratio',
    unit: 'ratio',
    warning: level({ above: 0.75 }, 0.7, 5 * MINUTE),
    critical: level({ above: 0.9 }, 0.85, 5 * MINUTE),
    layers: [{ layer: 'shipped', source: 'shipped', selector: '', sets: ['warning.above = 0.75', 'critical.above = 0.9'] }],
  }),
  rule({
    name: 'disk-usage',
    title: 'Disk usage',
    metric: 'tidemark_filesystem_usage_ratio',
    unit: 'ratio',
    labels: { fstype: ['!tmpfs', '!nfs*'] },
    warning: level({ above: 0.7 }, 0.68, 5 * MINUTE),
    critical: level({ above: 0.85 }, 0.83, 5 * MINUTE),
    annotations: { summary: 'A file system fills up. When it is full, writes fail and databases stop.' },
    layers: [
      { layer: 'shipped', source: 'shipped', selector: '', sets: ['warning.above = 0.7', 'critical.above = 0.85'] },
      { layer: 'file', source: '/etc/tidemark/collector.yaml:28', selector: '', sets: ['warning.for = 5m'] },
      { layer: 'site', source: '/etc/tidemark/collector.yaml:35', selector: 'site lisbon', sets: ['warning.above = 0.8'] },
    ],
  }),
  rule({
    name: 'replication-bytes-behind',
    title: 'Replica behind',
    metric: 'tidemark_postgres_replica_bytes_behind',
    unit: 'bytes',
    warning: level({ above: 104_857_600 }, 52_428_800, 2 * MINUTE),
    layers: [{ layer: 'shipped', source: 'shipped', selector: '', sets: ['warning.above = 104857600'] }],
  }),
  rule({
    name: 'replication-lag',
    title: 'Replication lag',
    metric: 'tidemark_replication_lag_alarm_seconds',
    unit: 'seconds',
    warning: level({ above: 60 }, 30, MINUTE),
    critical: level({ above: 300 }, 60, MINUTE),
    layers: [{ layer: 'shipped', source: 'shipped', selector: '', sets: ['warning.above = 60', 'critical.above = 300'] }],
  }),
  rule({
    name: 'replication-slot-fills-disk',
    title: 'Slot fills the disk',
    metric: 'tidemark_replication_slot_disk_full_in_seconds',
    unit: 'seconds',
    warning: level({ below: 86_400 }, null, 10 * MINUTE),
    critical: level({ below: 14_400 }, null, 5 * MINUTE),
    layers: [{ layer: 'shipped', source: 'shipped', selector: '', sets: ['warning.below = 86400', 'critical.below = 14400'] }],
  }),
  rule({
    name: 'node-silent',
    title: 'Node silent',
    kind: 'absent',
    critical: level({ missing: true }, null, 60, { clearAfterSeconds: 0 }),
    suppressedBy: [],
    annotations: { summary: 'No report has come from this node.' },
    layers: [{ layer: 'shipped', source: 'shipped', selector: '', sets: ['critical.for = 60s'] }],
  }),
  rule({
    name: 'postgres-down',
    title: 'PostgreSQL down',
    kind: 'state',
    observation: { kind: 'postgres.replication', field: 'up' },
    critical: level({ is: [false] }, null, 60),
    layers: [{ layer: 'shipped', source: 'shipped', selector: '', sets: ['critical.is = false'] }],
  }),
  rule({
    name: 'clock-off',
    title: 'Clock off',
    metric: 'tidemark_node_clock_error_seconds',
    unit: 'seconds',
    warning: level({ above: 5 }, 2, 5 * MINUTE),
    enabled: false,
    layers: [
      { layer: 'shipped', source: 'shipped', selector: '', sets: ['warning.above = 5'] },
      { layer: 'file', source: '/etc/tidemark/collector.yaml:52', selector: '', sets: ['enabled = false'] },
    ],
  }),
  rule({
    name: 'agent-losing-reports',
    title: 'Agent losing reports',
    kind: 'event',
    metric: 'tidemark_node_lost_reports_total',
    warning: level({ roseBy: 1 }, null, 0, { clearAfterSeconds: 10 * MINUTE }),
    layers: [{ layer: 'shipped', source: 'shipped', selector: '', sets: ['warning.roseBy = 1'] }],
  }),
];

export function mockRuleList(atMs: number): RuleList {
  return { file: '/etc/tidemark/collector.yaml', loadedAt: new Date(atMs - 3_600_000).toISOString(), rules: [...MOCK_RULES] };
}

export function mockChannels(atMs: number): ChannelView[] {
  return [
    {
      name: 'on-call',
      kind: 'webhook',
      destination: 'hooks.example.net',
      only: 'critical alone',
      state: 'working',
      detail: '200 OK',
      waiting: 0,
      lastDeliveredAt: new Date(atMs - 14 * 60_000).toISOString(),
    },
    {
      name: 'team-mail',
      kind: 'email',
      destination: 'operations@example.net by mail.example.net:587',
      only: '',
      state: 'retrying',
      detail: '451 4.7.1 Greylisting in action, please come back later',
      waiting: 3,
      lastDeliveredAt: new Date(atMs - 26 * 3_600_000).toISOString(),
    },
    {
      name: 'old-pager',
      kind: 'webhook',
      destination: 'pager.example.net',
      only: 'site faro',
      state: 'disabled',
      detail: 'It answered 410 Gone: it asks never to be told again. Change its options or remove it.',
      waiting: 0,
      lastDeliveredAt: new Date(atMs - 40 * 86_400_000).toISOString(),
    },
  ];
}

export function mockSettings(): Settings {
  return {
    version: '0.1.0',
    configurationFile: '/etc/tidemark/collector.yaml',
    publicUrl: 'https://tidemark.example.net',
    retention: { reportDays: 30, observationDays: 90 },
    storage: {
      database: 'embedded',
      usedBytes: 38 * 2 ** 30,
      reportsBytesPerDay: 2.1 * 2 ** 30,
      expectedBytes: 63 * 2 ** 30,
      diskAvailableBytes: 18 * 2 ** 30,
      fullInDays: 8.6,
    },
    options: [
      { name: 'listen', value: '0.0.0.0:5000', source: 'default' },
      { name: 'publicUrl', value: 'https://tidemark.example.net', source: '/etc/tidemark/collector.yaml' },
      { name: 'database.url', value: '(embedded)', source: 'default' },
      { name: 'dataDirectory', value: '/var/lib/tidemark', source: 'environment' },
      { name: 'retention.reportDays', value: '30', source: 'default' },
      { name: 'retention.observationDays', value: '90', source: '/etc/tidemark/collector.yaml' },
      { name: 'adminToken', value: '(secret)', source: 'file' },
      { name: 'log.level', value: 'info', source: 'command line' },
    ],
  };
}

/** The rules as they stand for one node: the layers that are for it, and the one bound that the site's layer changes. */
export function rulesOfNode(node: OverviewNode | undefined): (RuleView & { applies: boolean })[] {
  return MOCK_RULES.map((each) => {
    const layers = each.layers.filter(({ layer, selector }) => {
      if (layer === 'site') return selector === `site ${node?.site}`;
      if (layer === 'tag') return Object.entries(node?.tags ?? {}).some(([name, value]) => selector === `tag ${name}=${value}`);
      return true;
    });
    const raised = layers.some(({ layer, sets }) => layer === 'site' && sets.includes('warning.above = 0.8'));
    const warning = raised && each.warning !== null ? { ...each.warning, trigger: { above: 0.8 } } : each.warning;
    return { ...each, layers, warning, applies: each.enabled && each.inactiveBecause === null };
  });
}
