/** A configuration with wrong rules: each mistake at its line, saying what to do. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EXIT, OperationalFailure, loadOptions } from '@tidemark/service';
import { describe, expect, onTestFinished, test } from 'vitest';
import { collectorOptions } from '../config.ts';

/** The lines of the refusal, without the path of the file. */
function mistakes(text: string): string[] {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-rules-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, 'collector.yaml');
  writeFileSync(file, text);
  try {
    loadOptions('tidemark-collector', collectorOptions, { flags: {}, environment: {}, defaultFile: file });
    return [];
  } catch (error) {
    if (!(error instanceof OperationalFailure) || error.exitCode !== EXIT.configuration) throw error;
    const lines = error.message.split('\n').slice(1, -1);
    return lines.map((line) => line.trim().replace(`${file}:`, ''));
  }
}
const own = (...lines: string[]): string =>
  ['rules:', '  - name: own', '    kind: threshold', '    metric: x_ratio', ...lines.map((line) => `    ${line}`)].join('\n');

test('the form of the documentation is taken', () => {
  const text = `
rules:
  - name: cpu-usage
    kind: threshold
    title: CPU
    metric: tidemark_cpu_usage_ratio
    labels: {mountpoint: ['/data*', '!/data/tmp']}
    where: {sites: [berlin], tags: {role: db}, nodes: ['db-*']}
    warning: {above: 0.70, clear: 0.65, for: 10m of 15m, clearAfter: 1m}
    critical: {above: 90%, clear: 0.85, for: 5m of 10m}
    suppressedBy: [node-silent]
    annotations: {summary: much}
    runbook: https://wiki.example/cpu
    enabled: true
  - {name: standby, kind: state, observation: {kind: postgres.replication, field: role}, critical: {isNot: [primary, replica]}}
  - {name: queue, kind: absent, metric: queue_length, warning: {for: 5m}}
  - {name: restarts, kind: event, metric: restarts_total, warning: {roseBy: 2}}
overrides:
  - {rule: cpu-usage, site: berlin, warning: {above: 0.8}}
  - {rule: cpu-usage, tag: role=db, critical: off}
  - {rule: disk-usage, node: backup-1, enabled: false}
  - {rule: disk-usage, node: 'db*', labels: {mountpoint: '!/backup'}}
`;
  expect(mistakes(text)).toEqual([]);
});

describe('one key', () => {
  test.each([
    [
      'rules:\n  - {nam: x}',
      ['2: rules: item 1: nam: there is no such key; did you mean name?', expect.stringContaining('name is missing')],
    ],
    [own('warning: {abvoe: 0.7}'), ['5: rules: item 1: warning: abvoe: there is no such key; did you mean above?']],
    [
      own('warning:', '  above: 0.7', '  for: 300'),
      ['7: rules: item 1: warning: for: must be a duration with its unit (90s, 5m, 1h30m), or "10m of 15m"; at most 24h (got 300)'],
    ],
    [own('warning: {above: 0.7, for: 3d}'), [expect.stringContaining('at most 24h (got "3d")')]],
    [own('warning: yes'), ['5: rules: item 1: warning: must be a bound such as {above: 80%, for: 5m}, or off (got "yes")']],
    [own('warning: {above: much}'), [expect.stringMatching(/^5: rules: item 1: warning: above: must be a number, a percentage \(70%\)/)]],
    [own('warning: {above: 0.7}', 'where: {site: x}'), ['6: rules: item 1: where: site: there is no such key; did you mean sites?']],
    [
      own('warning: {above: 0.7}', 'labels: {b-c: x}'),
      [expect.stringContaining('6: rules: item 1: labels: b-c: is no name that fits here')],
    ],
    [own('warning: {above: 0.7}', 'labels: {b: !nfs}'), [expect.stringMatching(/^6: .*!nfs.*has to stand in quotes/)]],
    [own('warning: {above: 0.7}', 'labels: {b: *x}'), [expect.stringMatching(/^6: .*"\*" has to stand in quotes/)]],
    ['rules:\n  - name: Own Rule', [expect.stringContaining('2: rules: item 1: name: must be a name of at most 63 small letters')]],
    ['overrides: {rule: x}', ['1: overrides: must be a list of overrides: - {rule: …, site: …}']],
    [
      'overrides:\n  - {rule: cpu-usage, tag: db, enabled: false}',
      ['2: overrides: item 1: tag: must be key=value, for example role=db (got "db")'],
    ],
  ])('%s', (text, expected) => {
    expect(mistakes(text)).toEqual(expected);
  });
});

describe('together', () => {
  test.each([
    [
      'no kind',
      'rules:\n  - {name: own, metric: m, warning: {above: 1}}',
      ['2: rules: own: kind is missing for a rule of your own: threshold, absent, state or event'],
    ],
    ['70 for a ratio', own('warning: {above: 70}'), ['5: rules: own: warning.above: 70 is no ratio from 0 to 1: write 70% or 0.7']],
    [
      'a size for a ratio',
      own('warning: {above: 1MiB}'),
      ['5: rules: own: warning.above: "1MiB" does not fit: the metric is in ratios, write a percentage (70%) or a number from 0 to 1'],
    ],
    [
      'clear on the wrong side',
      own('warning: {above: 70%, clear: 80%}'),
      ['5: rules: own: warning.clear: 80 %, is itself above 70 %: it has to be lower'],
    ],
    ['clear on the bound of atLeast', own('warning: {atLeast: 70%, clear: 70%}'), [expect.stringContaining('is itself at least 70 %')]],
    [
      'warning after critical',
      own('warning: {above: 95%}', 'critical: {above: 90%}'),
      ['5: rules: own: warning above 95 %, critical above 90 %: the warning has to come first; change one of them'],
    ],
    ['both sides', own('warning: {below: 10%}', 'critical: {above: 90%}'), [expect.stringContaining('both have to be on the same side')]],
    ['two bounds', own('warning: {above: 10%, below: 5%}'), [expect.stringContaining('above and below at once: keep one')]],
    [
      'X beyond Y',
      own('warning: {above: 10%, for: 15m of 10m}'),
      ['5: rules: own: warning.for: 15m do not fit into 10m: the longer time comes last'],
    ],
    ['no bound', own('warning: {for: 5m}'), ['5: rules: own: warning: it has no bound: give it above, atLeast, below, atMost']],
    ['no level', own('title: x'), ['2: rules: own: it has neither a warning nor a critical bound: give it one']],
    [
      "another kind's bound",
      own('warning: {roseBy: 1}'),
      ['5: rules: own: warning.roseBy does not belong to the kind threshold: use above, atLeast, below, atMost'],
    ],
    ['two subjects', own('of: node', 'warning: {above: 1%}'), [expect.stringContaining('is about a metric, not about metric and of')]],
    [
      'no subject',
      'rules:\n  - {name: own, kind: absent, warning: {missing: true}}',
      [expect.stringContaining('a metric, or "of: node": say which')],
    ],
    [
      'for of an event',
      'rules:\n  - {name: own, kind: event, metric: m, warning: {roseBy: 1, for: 5m}}',
      [expect.stringContaining('an event has no duration')],
    ],
    [
      'two of a name',
      `${own('warning: {above: 1%}')}\n  - {name: own, kind: event, metric: m}`,
      ['6: rules: own: there are two of this name (items 1 and 2): keep one'],
    ],
    [
      'another kind for a shipped one',
      'rules:\n  - {name: cpu-usage, kind: event}',
      ['2: rules: cpu-usage: the shipped rule of this name is a threshold: give yours another name'],
    ],
    [
      'clear of the layer below',
      'rules:\n  - name: cpu-usage\n    warning: {above: 50%}',
      ['3: rules: cpu-usage: warning.clear: the one in force (shipped), 65 %, is itself above 50 %: say clear too; it has to be lower'],
    ],
    [
      'an unknown rule',
      'overrides:\n  - {rule: cpu-usge, site: x, enabled: false}',
      ['2: overrides: there is no rule cpu-usge; did you mean cpu-usage?'],
    ],
    [
      'an unknown suppressor',
      own('warning: {above: 1%}', 'suppressedBy: node-silnt'),
      ['6: rules: own: suppressedBy: there is no rule node-silnt; did you mean node-silent?'],
    ],
    [
      'a circle',
      'rules:\n  - name: node-silent\n    suppressedBy: [cpu-usage]',
      [
        '3: rules: suppressedBy goes round in a circle (cpu-usage → node-silent → cpu-usage), and nobody would be told of any: take one out',
      ],
    ],
    [
      'for nobody',
      'overrides:\n  - {rule: cpu-usage, enabled: false}',
      [expect.stringContaining('for which site, tag or node? What is for all belongs under rules:')],
    ],
    [
      'twice the same',
      'overrides:\n  - {rule: cpu-usage, site: b, warning: {above: 80%}}\n  - {rule: cpu-usage, site: b, warning: {above: 85%}}',
      ["3: overrides: cpu-usage: warning's bound for site b is set twice (items 1 and 2): keep one"],
    ],
    [
      'two overrides that are right alone',
      'overrides:\n  - {rule: cpu-usage, site: b, warning: {above: 85%}}\n  - {rule: cpu-usage, tag: role=db, critical: {above: 80%, clear: 75%}}',
      [
        '3: overrides: cpu-usage: warning above 85 %, critical above 80 %: the warning has to come first; change one of them (for a node of site b and tag role=db)',
      ],
    ],
    [
      'a text for a number',
      "rules:\n  - {name: own, kind: state, metric: m, warning: {is: '0'}}",
      ['2: rules: own: warning.is: the values of a metric are numbers: write them without quotes'],
    ],
    [
      'two overrides that never meet',
      'overrides:\n  - {rule: cpu-usage, site: a, warning: {above: 85%}}\n  - {rule: cpu-usage, site: b, critical: {above: 80%, clear: 75%}}',
      [],
    ],
    [
      'too many',
      `rules:\n${Array.from({ length: 501 }, (_, i) => `  - {name: r${i}}`).join('\n')}`,
      ['1: rules: has 501 items, and may have 500'],
    ],
  ])('%s', (_, text, expected) => {
    expect(mistakes(text)).toEqual(expected);
  });

  test('a slip in the name of a shipped one', () => {
    expect(mistakes('rules:\n  - name: disk-usge\n    warning: {above: 80%}\noverrides:\n  - {rule: cpu-usage, sit: x}')).toEqual([
      '5: overrides: item 1: sit: there is no such key; did you mean site?',
      '2: rules: disk-usge: kind is missing for a rule of your own: or did you mean the shipped rule disk-usage?',
    ]);
  });

  test('all at once', () => {
    const text = `${own('warning: {above: 70}')}\noverrides:\n  - {rule: nothing-like-it, site: x}\nport: 5\n`;
    expect(mistakes(text)).toEqual([
      '8: port: there is no such option',
      '5: rules: own: warning.above: 70 is no ratio from 0 to 1: write 70% or 0.7',
      '7: overrides: there is no rule nothing-like-it; all of them: tidemark-collector rules list',
    ]);
  });
});
