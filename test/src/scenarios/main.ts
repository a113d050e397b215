/** `npm run scenarios`: replication scenarios on real clusters, with agents and a collector; what they show is written as JSON. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { codeOf, EXIT, OperationalFailure, runProgram, sentenceOf } from '@tidemark/service';
import { PostgresCluster, POSTGRES_VERSIONS, type PostgresVersion } from '../postgres/cluster.ts';
import { planOf, runBatch } from './batch.ts';
import { readScenarios, selectScenarios } from './files.ts';
import { describeForm } from './language/forms.ts';
import { showSeconds } from './language/units.ts';
import { reportOf, type ScenarioReport } from './report.ts';
import type { AnyScenario, ScenarioResult } from './run.ts';
import { SCENARIO_TABLE, tablePage } from './table.ts';
import { CONDITIONS } from './conditions/index.ts';
import { VERBS } from './verbs/index.ts';
import { SCALED_RULES, WatchedCollector } from './world/collector.ts';

const HELP = `Runs replication scenarios on real PostgreSQL clusters (A with B and D behind it, C behind B), each with its agents, against
one collector, and measures meanwhile how far every replica really is behind.

  npm run scenarios -- --postgres 18
  npm run scenarios -- --postgres 15,18 --only replay-paused --only 'promot*'
  npm run scenarios -- --postgres 18 --json run.json
  npm run scenarios -- --unscaled-idle
  npm run scenarios -- --table run-15.json run-18.json

  --postgres V       PostgreSQL major versions, by commas (default: the newest that is installed)
  --only NAME        this scenario; * stands for anything; may be given several times
  --seed N           the same seed, the same moments of reports and heartbeats (default 7)
  --json FILE        write what came out as JSON
  --at-once N        scenarios that run at the same time (default 3)
  --no-compare       do not ask postgres_exporter meanwhile
  --trace DIR        write everything that the collector published there, as JSON lines
  --unscaled-idle    the idle quarter of an hour, unscaled
  --list             name the scenarios and leave
  --words            what a scenario file can say
  --table            write ${SCENARIO_TABLE} from the JSON files that are named
  --help             this text

A scenario is a file in test/src/scenarios/cases; the README there says how to write one. Exit code 1: one has failed.
`;

interface Settings {
  versions: PostgresVersion[];
  only: string[];
  seed: number;
  json: string | undefined;
  atOnce: number;
  compare: boolean;
  trace: string | undefined;
  unscaled: boolean;
}

const say = (text: string): void => void process.stdout.write(`${text}\n`);
const progress = (text: string): void => void process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`);

async function main(): Promise<number> {
  const { values, positionals } = readArguments();
  if (values.help === true) {
    process.stdout.write(HELP);
    return EXIT.ok;
  }
  if (values.words === true) {
    say(words());
    return EXIT.ok;
  }
  if (values.table === true) {
    writeFileSync(SCENARIO_TABLE, tablePage(positionals.map(readReport)));
    say(`Wrote ${SCENARIO_TABLE}.`);
    return EXIT.ok;
  }
  const all = readScenarios();
  if (values.list === true) {
    for (const scenario of all) say(`${scenario.name.padEnd(28)} ${scenario.versions.join(' ').padEnd(12)} ${scenario.title}`);
    return EXIT.ok;
  }
  const settings = settingsOf(values);
  const chosen =
    settings.only.length > 0 ? selectScenarios(all, settings.only) : all.filter(({ unscaled }) => unscaled === settings.unscaled);
  return run(chosen, settings);
}

async function run(chosen: readonly AnyScenario[], settings: Settings): Promise<number> {
  const planned = planOf(chosen, settings.versions);
  if (planned.length === 0)
    throw new OperationalFailure(`None of these scenarios is for PostgreSQL ${settings.versions.join(', ')}.`, EXIT.usage);
  progress(`${planned.length} scenarios, ${settings.atOnce} at a time; starting a collector`);
  const stopping = new AbortController();
  const stop = (): void => {
    if (!stopping.signal.aborted) progress('stopping: what was built is taken down');
    stopping.abort(new Error('stopped'));
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stop);
  const collector = await WatchedCollector.start(settings.unscaled ? {} : SCALED_RULES);
  let results: ScenarioResult[];
  try {
    results = await runBatch({ ...settings, planned, collector, progress, signal: stopping.signal });
  } finally {
    await collector.stop();
  }
  const report = reportOf(results, settings);
  if (settings.json !== undefined) writeFileSync(settings.json, `${JSON.stringify(report, undefined, 2)}\n`);
  say(`\n${summaryOf(report, results)}`);
  return results.every(({ passed }) => passed) && !stopping.signal.aborted ? EXIT.ok : EXIT.failed;
}

function summaryOf(report: ScenarioReport, results: readonly ScenarioResult[]): string {
  const lines = results.map((result) => {
    const verdict = result.skipped === undefined ? (result.passed ? 'passed' : 'FAILED') : 'skipped';
    const detected = result.detectedSeconds === null ? '' : showSeconds(result.detectedSeconds);
    const why =
      result.skipped ?? (result.failure === undefined ? '' : `line ${result.failure.line}: ${result.failure.text} — ${result.failure.why}`);
    const { within, outside, idleWithin, idleOutside } = result.truth;
    return `${verdict}  ${result.name.padEnd(26)} ${String(result.postgres).padEnd(3)} ${detected.padStart(7)}  truth ${within}/${within + outside}, idle ${idleWithin}/${idleWithin + idleOutside}  ${why}`;
  });
  const percent = (share: number | null): string => (share === null ? 'nothing to judge' : `${(share * 100).toFixed(2)} %`);
  const failed = results.filter(({ passed }) => !passed).length;
  return [
    ...lines,
    '',
    `truth within the bounds      ${percent(report.truthWithinBounds)} of ${report.truthSamples} samples (reach: 99.5 %)`,
    `  of idle stretches          ${percent(report.idleWithinBounds)} of ${report.idleSamples}`,
    `  not to be judged           ${report.undecidedSamples}`,
    `width of the bounds, median  ${report.boundsWidthSecondsMedian ?? 'open'} s (reach: 2.5 s)`,
    ...results.flatMap(({ name, postgres, truth }) =>
      truth.examples.slice(0, 3).map((example) => `  outside: ${name} (${postgres}): ${example}`),
    ),
    '',
    `${results.length - failed} passed, ${failed} failed`,
  ].join('\n');
}

function words(): string {
  const list = (title: string, forms: readonly { form: string; means: string }[]): string =>
    `${title}\n${forms.map(({ form, means }) => `  ${describeForm(form)}\n      ${means}`).join('\n')}`;
  return `${list('What can be done (at <time> …, then …)', VERBS)}\n\n${list('What can be expected (expect, detect within <time> …; hold for <time> …; never …)', CONDITIONS)}`;
}

function readReport(file: string): ScenarioReport {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as ScenarioReport;
  } catch (error) {
    throw new OperationalFailure(`${file} cannot be read (${codeOf(error) ?? sentenceOf(error)}). Make it with --json.`, EXIT.usage);
  }
}

// eslint-disable-next-line @typescript-eslint/explicit-function-return-type
function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        postgres: { type: 'string' },
        only: { type: 'string', multiple: true, default: [] },
        seed: { type: 'string', default: '7' },
        json: { type: 'string' },
        'at-once': { type: 'string', default: '3' },
        trace: { type: 'string' },
        'no-compare': { type: 'boolean', default: false },
        'unscaled-idle': { type: 'boolean', default: false },
        list: { type: 'boolean' },
        words: { type: 'boolean' },
        table: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    throw new OperationalFailure(`${sentenceOf(error)} See --help.`, EXIT.usage);
  }
}

function traceDirectory(directory: string | undefined): string | undefined {
  if (directory !== undefined) mkdirSync(directory, { recursive: true });
  return directory;
}

function settingsOf(values: ReturnType<typeof readArguments>['values']): Settings {
  const number = (name: string, given: string, low: number, high: number): number => {
    const value = Number(given);
    if (given.trim() === '' || !(Number.isInteger(value) && value >= low && value <= high))
      throw new OperationalFailure(`--${name} takes a number from ${low} to ${high}, not ${JSON.stringify(given)}.`, EXIT.usage);
    return value;
  };
  const installed = PostgresCluster.versions();
  const versions = (values.postgres ?? String(installed.at(-1))).split(',').map((text) => {
    const version = POSTGRES_VERSIONS.find((known) => String(known) === text.trim());
    if (version === undefined || !installed.includes(version))
      throw new OperationalFailure(`--postgres takes some of ${installed.join(', ')}, not ${JSON.stringify(text)}.`, EXIT.usage);
    return version;
  });
  return {
    versions,
    only: values.only,
    seed: number('seed', values.seed, 0, 2 ** 31),
    json: values.json,
    atOnce: number('at-once', values['at-once'], 1, 16),
    compare: !values['no-compare'],
    trace: traceDirectory(values.trace),
    unscaled: values['unscaled-idle'],
  };
}

void runProgram('tidemark-scenarios', main);
