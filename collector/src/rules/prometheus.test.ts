/** The rules in force as Prometheus judges them: promtool takes the file, and each shipped rule fires beyond its bound after its time, never on it, below it or sooner. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RuleView } from '@tidemark/protocol';
import { parse } from 'yaml';
import { describe, expect, onTestFinished, test } from 'vitest';
import { boundValue } from './bound-text.ts';
import { compileRules, type RulesFragment } from './compile.ts';
import type { NodeFacts } from './layers.ts';
import { alertName, prometheusRules } from './prometheus.ts';
import { LayeredRules } from './rule-set.ts';

const node = (name: string, site = '', tags: Record<string, string> = {}): NodeFacts => ({ name, site, tags });

function rulesOf(fragment: Partial<RulesFragment> = {}): LayeredRules {
  const { declared, mistakes } = compileRules({ rules: [], overrides: [], ...fragment });
  expect(mistakes).toEqual([]);
  return new LayeredRules(declared, () => 'test');
}

const textOf = (fragment: Partial<RulesFragment> = {}, nodes: NodeFacts[] = []): string =>
  prometheusRules({ rules: rulesOf(fragment), nodes, baseUrl: 'https://monitor.example' });

interface WrittenRule {
  alert: string;
  expr: string;
  for?: string;
  keep_firing_for?: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
}
const writtenIn = (text: string): WrittenRule[] => (parse(text) as { groups: { rules: WrittenRule[] }[] }).groups[0]!.rules;
const written = (fragment: Partial<RulesFragment>, name: string, nodes: NodeFacts[] = []): WrittenRule[] =>
  writtenIn(textOf(fragment, nodes)).filter(({ labels }) => labels['tidemark_rule'] === name);

/** Runs promtool over files; throws with what it printed when it is not content. */
function promtool(command: 'check' | 'test', files: Record<string, string>, last: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-rules-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
  try {
    return execFileSync('promtool', [command, 'rules', last], { cwd: directory, encoding: 'utf8', stdio: 'pipe' });
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`${stdout}\n${stderr}`, { cause: error });
  }
}

const STEP = 15;
interface Series {
  series: string;
  /** A value each 15 seconds; null for none. */
  values: readonly (number | null)[];
}
interface Expectation {
  atSeconds: number;
  alert: string;
  severity: string;
  firing: number;
}
interface Case {
  name: string;
  series: readonly Series[];
  expected: readonly Expectation[];
}

/** A test file for promtool: what fires when. */
function testFile(cases: readonly Case[]): string {
  return JSON.stringify({
    rule_files: ['rules.yml'],
    evaluation_interval: `${STEP}s`,
    tests: cases.map(({ name, series, expected }) => ({
      name,
      interval: `${STEP}s`,
      input_series: series.map((one) => ({ series: one.series, values: one.values.map((value) => value ?? '_').join(' ') })),
      promql_expr_test: expected.map(({ atSeconds, alert, severity, firing }) => ({
        expr: `count(ALERTS{alertname="${alert}",severity="${severity}",alertstate="firing"}) or vector(0)`,
        eval_time: `${atSeconds}s`,
        exp_samples: [{ labels: '{}', value: firing }],
      })),
    })),
  });
}

const lasting = (value: number, seconds: number): number[] => Array.from({ length: Math.ceil(seconds / STEP) + 1 }, () => value);

/** How a rule's series looks on the page, and values of it around a bound. */
interface Shape {
  series: string;
  exact?: (bound: number) => number;
}
const SHAPES: Readonly<Record<string, Shape>> = {
  'cpu-usage': { series: 'tidemark_cpu_usage_ratio{node="n",job="j",instance="n"}' },
  'memory-usage': { series: 'tidemark_memory_usage_ratio{node="n",job="j",instance="n"}' },
  'disk-usage': { series: 'tidemark_filesystem_usage_ratio{node="n",mountpoint="/",device="/dev/sda1",fstype="ext4"}' },
  'response-time': { series: 'tidemark_http_response_seconds{node="n",endpoint="shop"}' },
  'error-rate': { series: 'tidemark_http_error_ratio{node="n",endpoint="shop"}' },
  'endpoint-down': { series: 'tidemark_http_up{node="n",endpoint="shop"}' },
  'certificate-expiry': { series: 'tidemark_http_certificate_expires_seconds{node="n",endpoint="shop"}' },
  'replication-bytes-behind': { series: 'tidemark_postgres_replica_bytes_behind{node="n",server="main",application_name="r"}' },
  'replication-lag': { series: 'tidemark_replication_lag_alarm_seconds{node="n",server="main",cluster="7"}' },
  'replication-disconnected': { series: 'tidemark_replication_state{node="n",server="main",cluster="7",state="disconnected"}' },
  'replication-diverged': { series: 'tidemark_replication_state{node="n",server="main",cluster="7",state="diverged"}' },
  'replication-paused': { series: 'tidemark_replication_state{node="n",server="main",cluster="7",state="paused"}' },
  'split-brain': { series: 'tidemark_replication_split_brain{node="n",server="main",cluster="7"}' },
  'primary-lost': { series: 'tidemark_replication_without_primary_seconds{node="n",cluster="7",lost_node="m"}' },
  'replication-slot-inactive': { series: 'tidemark_replication_slot_inactive{node="n",server="main",cluster="7",slot_name="s"}' },
  'replication-slot-at-risk': {
    series: 'tidemark_replication_slot_state{node="n",server="main",cluster="7",slot_name="s",wal_status="unreserved"}',
  },
  'replication-slot-lost': {
    series: 'tidemark_replication_slot_state{node="n",server="main",cluster="7",slot_name="s",wal_status="lost"}',
  },
  'replication-slot-fills-disk': {
    series: 'tidemark_replication_slot_disk_full_in_seconds{node="n",server="main",cluster="7",slot_name="s"}',
  },
  'sync-standby-missing': { series: 'tidemark_replication_sync_standbys_missing{node="n",server="main",cluster="7"}' },
  'sync-commits-waiting': { series: 'tidemark_replication_sync_waiting{node="n",server="main",cluster="7"}' },
  'archiver-failing': { series: 'tidemark_postgres_archiver_failing{node="n",server="main"}' },
  'postgres-connections': { series: 'tidemark_postgres_connections_used_ratio{node="n",server="main"}' },
  'postgres-privilege': { series: 'tidemark_postgres_insufficient_privilege{node="n",server="main"}' },
  'postgres-down': { series: 'pg_up{node="n",server="main"}' },
  'node-silent': { series: 'tidemark_node_up{node="n"}' },
  'clock-off': { series: 'tidemark_node_clock_offset_seconds{node="n"}' },
  'agent-losing-reports': { series: 'tidemark_agent_reports_lost_total{node="n"}' },
};

/** On the bound, within it and beyond it. */
function valuesAround(trigger: NonNullable<RuleView['warning']>['trigger']): { beyond: number; harmless: number[] } {
  const bound = boundValue(trigger);
  if (bound === undefined) return 'is' in trigger && trigger.is.includes(1) ? { beyond: 1, harmless: [0] } : { beyond: 0, harmless: [1] };
  const rises = 'above' in trigger;
  if (bound === 0) return { beyond: 1, harmless: [0] };
  return { beyond: rises ? bound * 1.001 : bound * 0.999, harmless: [bound, rises ? bound * 0.9 : bound * 1.1] };
}

function casesOf(view: RuleView, severity: 'warning' | 'critical'): Case[] {
  const level = view[severity]!;
  const { series } = SHAPES[view.name]!;
  const alert = alertName(view.name);
  const { beyond, harmless } = valuesAround(level.trigger);
  const { trueForSeconds: hold, ofLastSeconds: of } = level;
  const at = (atSeconds: number, firing: number): Expectation => ({ atSeconds, alert, severity, firing });
  const calm = harmless[harmless.length - 1]!;
  // One step for the evaluation that follows a sample, and one for where the time looked at begins.
  const enough = hold + 2 * STEP;
  return [
    ...harmless.map((value) => ({
      name: `${view.name} ${severity} ${value}`,
      series: [{ series, values: lasting(value, 3_600) }],
      expected: [at(3_600, 0)],
    })),
    {
      name: `${view.name} ${severity} beyond`,
      series: [{ series, values: lasting(beyond, 3_600) }],
      expected: [...(hold > 2 * STEP ? [at(hold - 2 * STEP, 0)] : []), at(enough, 1), at(3_600, 1)],
    },
    // Nothing that lasts for less than a few steps can be seen to be too short.
    ...(hold <= 3 * STEP
      ? []
      : [
          {
            name: `${view.name} ${severity} too short`,
            series: [{ series, values: [...lasting(beyond, hold - 3 * STEP), ...lasting(calm, 3_600)] }],
            expected: [hold - STEP, hold, enough, hold + of].map((seconds) => at(seconds, 0)),
          },
        ]),
    {
      name: `${view.name} ${severity} over`,
      series: [{ series, values: [...lasting(beyond, enough), ...lasting(calm, 7_200)] }],
      expected: [at(enough, 1), at(enough + of + level.clearAfterSeconds + 4 * STEP, 0)],
    },
    ...(of > hold
      ? [
          {
            name: `${view.name} ${severity} with an interruption`,
            series: [{ series, values: [...lasting(beyond, hold / 2), ...lasting(calm, (of - hold) / 2), ...lasting(beyond, 3_600)] }],
            expected: [at(hold / 2 + (of - hold) / 2, 0), at(of, 1)],
          },
        ]
      : []),
  ];
}

describe('the shipped rules', () => {
  const text = textOf();

  test('are taken by promtool, each with its levels', () => {
    const views = rulesOf()
      .views()
      .filter(({ inactiveBecause, enabled }) => inactiveBecause === null && enabled);
    const levels = views.reduce((sum, { warning, critical }) => sum + Number(warning !== null) + Number(critical !== null), 0);
    expect(promtool('check', { 'rules.yml': text }, 'rules.yml')).toContain(`SUCCESS: ${levels} rules found`);
    expect(views.map(({ name }) => name).toSorted()).toEqual(Object.keys(SHAPES).toSorted());
  });

  test('the lines for Alertmanager are YAML, and name what the rules say makes others moot', () => {
    const lines = text.split('\n').filter((line) => /^# {3}/.test(line));
    const { inhibit_rules: rules } = parse(lines.map((line) => line.slice(4)).join('\n')) as {
      inhibit_rules: { source_matchers: string[]; target_matchers: string[]; equal: string[] }[];
    };
    expect(rules.map(({ source_matchers: [source], equal }) => [source, equal.slice(0, 3)])).toEqual([
      ['severity="critical"', ['alertname', 'node', 'mountpoint']],
      ['alertname="TidemarkNodeSilent"', ['node']],
      ['alertname="TidemarkEndpointDown"', ['node', 'server', 'endpoint']],
      ['alertname="TidemarkPostgresDown"', ['node', 'server', 'endpoint']],
      ['alertname="TidemarkPrimaryLost"', ['cluster']],
      ['alertname="TidemarkReplicationDisconnected"', ['node', 'server', 'endpoint']],
      ['alertname="TidemarkReplicationDiverged"', ['node', 'server', 'endpoint']],
      ['alertname="TidemarkSplitBrain"', ['node', 'server', 'endpoint']],
      ['alertname="TidemarkReplicationSlotLost"', ['node', 'server', 'slot_name']],
      ['alertname="TidemarkSyncCommitsWaiting"', ['node', 'server', 'endpoint']],
    ]);
    expect(rules[2]!.target_matchers).toEqual(['alertname=~"TidemarkResponseTime|TidemarkErrorRate"']);
  });

  test('what is shipped switched off is said', () => {
    expect(text).toMatch(/# replication-topology-changed: switched off\./);
    expect(text).not.toContain('alert: TidemarkReplicationTopologyChanged');
  });

  describe.each(
    rulesOf()
      .views()
      .filter(({ name, kind }) => SHAPES[name] !== undefined && kind !== 'event')
      .map((view) => [view.name, view] as const),
  )('%s', (_, view) => {
    test.each((['warning', 'critical'] as const).filter((severity) => view[severity] !== null))(
      '%s: on the bound, within it, beyond it for long enough and too short, and over again',
      (severity) => {
        expect(promtool('test', { 'rules.yml': text, 'test.yml': testFile(casesOf(view, severity)) }, 'test.yml')).toContain('SUCCESS');
      },
    );
  });

  test('a counter that rises is told once it rose, and for as long as the rule says', () => {
    const view = rulesOf()
      .views()
      .find(({ name }) => name === 'agent-losing-reports')!;
    const { series } = SHAPES[view.name]!;
    const at = (atSeconds: number, firing: number): Expectation => ({
      atSeconds,
      alert: alertName(view.name),
      severity: 'warning',
      firing,
    });
    const clear = view.warning!.clearAfterSeconds;
    const cases = [
      { name: 'still', series: [{ series, values: lasting(7, 3_600) }], expected: [at(3_600, 0)] },
      {
        name: 'rose',
        series: [{ series, values: [...lasting(7, 600), ...lasting(8, 7_200)] }],
        expected: [at(600, 0), at(645, 1), at(600 + clear - STEP, 1), at(600 + clear + 6 * STEP, 0)],
      },
    ];
    expect(promtool('test', { 'rules.yml': text, 'test.yml': testFile(cases) }, 'test.yml')).toContain('SUCCESS');
  });

  test('a clock that is behind is off as well', () => {
    const cases = [
      {
        name: 'behind',
        series: [{ series: SHAPES['clock-off']!.series, values: lasting(-61, 3_600) }],
        expected: (['warning', 'critical'] as const).map((severity) => ({
          atSeconds: 1_800,
          alert: alertName('clock-off'),
          severity,
          firing: 1,
        })),
      },
    ];
    expect(promtool('test', { 'rules.yml': text, 'test.yml': testFile(cases) }, 'test.yml')).toContain('SUCCESS');
  });

  test('between the clear value and the bound it goes on; a file system of another machine is nobody’s', () => {
    const disk = (fstype: string): string => `tidemark_filesystem_usage_ratio{node="n",mountpoint="/x",device="d",fstype="${fstype}"}`;
    const at = (atSeconds: number, firing: number): Expectation => ({
      atSeconds,
      alert: alertName('disk-usage'),
      severity: 'warning',
      firing,
    });
    const cases: Case[] = [
      {
        name: 'hysteresis',
        series: [{ series: disk('xfs'), values: [...lasting(0.71, 870), ...lasting(0.69, 3_600)] }],
        // Ten minutes are crossed; for five more the last fifteen still hold them.
        expected: [at(870, 1), at(870 + 240, 1)],
      },
      {
        name: 'remote',
        series: ['nfs4', 'cifs', 'fuse.sshfs'].map((type) => ({ series: disk(type), values: lasting(0.99, 3_600) })),
        expected: [at(3_600, 0)],
      },
    ];
    expect(promtool('test', { 'rules.yml': text, 'test.yml': testFile(cases) }, 'test.yml')).toContain('SUCCESS');
  });

  test('a fleet that is scraped both ways pages once', () => {
    const both = ['job="tidemark",instance="collector:5000"', 'job="node",instance="n"'];
    const cases = [
      {
        name: 'both',
        series: both.map((labels) => ({ series: `tidemark_cpu_usage_ratio{node="n",${labels}}`, values: lasting(0.95, 1_800) })),
        expected: [{ atSeconds: 1_800, alert: alertName('cpu-usage'), severity: 'critical', firing: 1 }],
      },
    ];
    expect(promtool('test', { 'rules.yml': text, 'test.yml': testFile(cases) }, 'test.yml')).toContain('SUCCESS');
  });

  test('what is told reads well', () => {
    const [warning] = written({}, 'disk-usage');
    const file = {
      rule_files: ['rules.yml'],
      evaluation_interval: '15s',
      tests: [
        {
          interval: '15s',
          input_series: [
            {
              series: 'tidemark_filesystem_usage_ratio{node="db1",site="berlin",mountpoint="/data",device="/dev/sda1",fstype="ext4"}',
              values: '0.7312+0x120',
            },
          ],
          alert_rule_test: [
            {
              eval_time: '20m',
              alertname: 'TidemarkDiskUsage',
              exp_alerts: [
                {
                  exp_labels: {
                    node: 'db1',
                    site: 'berlin',
                    mountpoint: '/data',
                    device: '/dev/sda1',
                    fstype: 'ext4',
                    severity: 'warning',
                    tidemark_rule: 'disk-usage',
                  },
                  exp_annotations: {
                    ...warning!.annotations,
                    summary: 'db1 /data: Disk usage 73.12%, above 70 % for 10 min of the last 15 min',
                    runbook_url: 'https://monitor.example/runbooks/disk-usage',
                  },
                },
              ],
            },
          ],
        },
      ],
    };
    expect(promtool('test', { 'rules.yml': text, 'test.yml': JSON.stringify(file) }, 'test.yml')).toContain('SUCCESS');
    expect(warning!.annotations['tidemark']).toBe(
      'Tidemark holds it open until the value is back at 68 % and has been for 10m; Prometheus does so only while the last 15m still show the crossing. When the node falls silent, Tidemark keeps it open without data; Prometheus ends it.',
    );
  });
});

describe('rules and overrides of one’s own', () => {
  const fleet = [node('db1', 'berlin', { role: 'db' }), node('db2', 'hamburg', { role: 'db' }), node('app1', 'berlin')];

  test('an override makes an alert of its own for its nodes, and takes them out of the first', () => {
    const rules = written({ overrides: [{ rule: 'cpu-usage', tag: 'role=db', warning: { above: '80%' } }] }, 'cpu-usage', fleet);
    expect(rules.map(({ labels, expr }) => [labels['severity'], /\{[^}]*\}/.exec(expr)![0], /bool ([\d.]+)/.exec(expr)![1]])).toEqual([
      ['warning', '{node!~"db1|db2"}', '0.7'],
      ['critical', '{node!~"db1|db2"}', '0.9'],
      ['warning', '{node=~"db1|db2"}', '0.8'],
      ['critical', '{node=~"db1|db2"}', '0.9'],
    ]);
    expect(rules.map(({ labels }) => labels['tidemark_override'])).toEqual([undefined, undefined, 'tag role=db', 'tag role=db']);
  });

  test('a rule that is switched off for a site leaves its nodes out; switched off altogether it is said', () => {
    const rules = written({ overrides: [{ rule: 'cpu-usage', site: 'hamburg', enabled: false }] }, 'cpu-usage', fleet);
    expect(rules.every(({ expr }) => expr.includes('{node!="db2"}'))).toBe(true);
    expect(textOf({ rules: [{ name: 'cpu-usage', enabled: false }] }, fleet)).toContain('# cpu-usage: switched off.');
  });

  test('a rule for some nodes names those that there are', () => {
    const fragment = {
      rules: [{ name: 'only-berlin', kind: 'threshold' as const, metric: 'm', where: { sites: 'berlin' }, warning: { above: 1 } }],
    };
    expect(written(fragment, 'only-berlin', fleet)[0]!.expr).toContain('{node=~"app1|db1"}');
    expect(textOf(fragment, [])).toContain('# only-berlin: no node is selected by it now.');
  });

  test.each<[string, Partial<RulesFragment>]>([
    [
      'a name and text full of signs',
      {
        rules: [
          {
            name: 'odd',
            kind: 'threshold',
            metric: 'm',
            title: 'A "title": {{ .X }} # \\',
            annotations: { summary: '{{ end }}\n"' },
            warning: { above: 1 },
          },
        ],
      },
    ],
    [
      'labels with patterns',
      {
        rules: [
          { name: 'labels', kind: 'threshold', metric: 'm', labels: { a: ['x*', 'y.z'], b: ['!q"', '!r\\*'] }, warning: { below: -1.5 } },
        ],
      },
    ],
    [
      'a series that is missing',
      {
        rules: [
          {
            name: 'gone',
            kind: 'absent',
            metric: 'm',
            warning: { missing: true, for: '5m' },
            critical: { missing: true, for: '5m of 10m' },
          },
        ],
      },
    ],
    [
      'several states',
      {
        rules: [
          { name: 'states', kind: 'state', metric: 'm', warning: { is: [2, 3], for: '1m of 2m' }, critical: { isNot: [0, 1], for: '1m' } },
        ],
      },
    ],
    ['nodes with odd names', { overrides: [{ rule: 'cpu-usage', tag: 'odd=yes', warning: { above: '80%' } }] }],
  ])('%s: promtool takes it', (_, fragment) => {
    const text = textOf(fragment, [...fleet, node('a.b"c\\d', '', { odd: 'yes' }), node('x|y', '', { odd: 'yes' })]);
    expect(promtool('check', { 'rules.yml': text }, 'rules.yml')).toContain('SUCCESS');
  });

  test('what people write is no template', () => {
    const [odd] = written(
      {
        rules: [
          { name: 'odd', kind: 'threshold', metric: 'm', title: '{{ .X }}', annotations: { summary: 'a {{ b }}' }, warning: { above: 1 } },
        ],
      },
      'odd',
    );
    expect(odd!.annotations['summary']).toContain(': {{ "{{" }} .X }} ');
    expect(odd!.annotations['description']).toBe('a {{ "{{" }} b }}');
  });

  test('words are no values of series: said and left out, should a rule ever ask for one', () => {
    const rules = rulesOf({ rules: [{ name: 'words', kind: 'state', metric: 'm', warning: { is: 1 } }] });
    const [view] = rules.views().filter(({ name }) => name === 'words');
    const words: RuleView = { ...view!, warning: { ...view!.warning!, trigger: { is: ['on'] } } };
    const text = prometheusRules({ rules: { views: () => [words], for: () => [], explain: () => undefined }, nodes: [], baseUrl: '' });
    expect(text).toContain('# words (warning): Prometheus has no such values: is on.');
    expect(promtool('check', { 'rules.yml': text }, 'rules.yml')).toContain('SUCCESS: 0 rules found');
  });

  test('is the same text for the same rules, in whatever order the nodes come', () => {
    const fragment = { overrides: [{ rule: 'cpu-usage', tag: 'role=db', warning: { above: '80%' } }] };
    expect(textOf(fragment, fleet.toReversed())).toBe(textOf(fragment, fleet));
  });
});
