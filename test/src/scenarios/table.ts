/** The page that sets side by side what Tidemark and postgres_exporter said in each scenario; made of the JSON of real runs, never by hand. */
import { showBytes, showSeconds } from './language/units.ts';
import type { PeerLook } from './peer/watch.ts';
import type { ReportedScenario, ScenarioReport } from './report.ts';

export const SCENARIO_TABLE = 'docs/explanation/replication-scenarios.md';

/** Less is what any replica is behind. */
const WORTH_TELLING_SECONDS = 2;

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

const seconds = (value: number | null): string => (value === null ? 'gone' : showSeconds(value));

function peerCell(look: PeerLook | null | undefined, server: string): string {
  if (look === null || look === undefined) return 'not asked';
  // A is nobody's replica at first: that nobody has bytes of it to send says nothing.
  if (server === 'A' && look.walDiffBytes === null) return `${seconds(look.idiomSeconds)} · ${seconds(look.sinceReplaySeconds)}`;
  const walDiff = look.walDiffBytes === null ? 'gone' : showBytes(look.walDiffBytes);
  const up = look.up === 1 ? '' : look.up === null ? 'no answer; ' : '`pg_up` 0; ';
  return `${up}${seconds(look.idiomSeconds)} · ${seconds(look.sinceReplaySeconds)} · ${walDiff}`;
}

/** What was so, what Tidemark published of that moment, and what the exporter said at it. */
function worstCell({ worst, peer: asked }: ReportedScenario): string {
  if (worst === null || worst === undefined || worst.truth[0] < WORTH_TELLING_SECONDS) {
    const most = Math.max(asked?.idiomSecondsMax ?? 0, asked?.sinceReplaySecondsMax ?? 0);
    return most < WORTH_TELLING_SECONDS ? '–' : `${asked!.server} was never behind. postgres_exporter: up to ${showSeconds(most)}`;
  }
  const { server, truth, published, peer } = worst;
  const upper = published.upper === null ? 'more' : showSeconds(published.upper);
  return `${server} was ${showSeconds(truth[0])} behind. Tidemark: ${showSeconds(published.lower)} to ${upper}. postgres_exporter: ${peerCell(peer, server)}`;
}

function row(name: string, runs: readonly ReportedScenario[]): string {
  const shown = runs.findLast(({ detected }) => detected !== undefined) ?? runs.at(-1)!;
  const took = runs
    .filter(({ detectedSeconds }) => detectedSeconds !== null)
    .map(({ detectedSeconds, postgres }) => `${postgres}: ${showSeconds(detectedSeconds!)}`);
  const said = shown.detected === undefined ? 'nothing, as it should' : shown.detected.said;
  const failed = runs.filter(({ passed }) => !passed).map(({ postgres }) => postgres);
  const verdict = failed.length === 0 ? '' : ` **Not as expected on ${failed.join(', ')}.**`;
  return `| ${shown.design.join(', ') || '–'} | ${cell(shown.title)} (\`${name}\`) | ${cell(said)}${verdict} | ${took.join('<br>') || '–'} | ${cell(peerCell(shown.peer?.atDetection, shown.peer?.server ?? ''))} | ${cell(worstCell(shown))} |`;
}

/** The page. `reports` are of different versions, or of later runs, which replace what the earlier said. */
export function tablePage(reports: readonly ScenarioReport[]): string {
  const runs = new Map<string, Map<number, ReportedScenario>>();
  for (const scenario of reports.flatMap(({ scenarios }) => scenarios)) {
    if (scenario.skipped !== undefined) continue;
    const of = runs.get(scenario.name) ?? new Map<number, ReportedScenario>();
    runs.set(scenario.name, of.set(scenario.postgres, scenario));
  }
  const rows = [...runs]
    .map(([name, of]) => ({ name, all: [...of.values()].toSorted((a, b) => a.postgres - b.postgres) }))
    .toSorted((a, b) => (a.all[0]!.design[0] ?? 99) - (b.all[0]!.design[0] ?? 99) || a.name.localeCompare(b.name));
  const percent = (share: number | null): string => (share === null ? '–' : `${(share * 100).toFixed(2)} %`);
  return `# What is said about replication, and what is true

<!-- Made by \`npm run scenarios -- --table\` from the JSON of real runs. Changes by hand are lost. -->

Each line is a scenario that ran on real PostgreSQL servers: A is the primary, B and D follow it, C follows B. An agent watches
each, and one collector takes their reports. A report is sent every two seconds here; times that are a matter of minutes are
scaled down. The seconds are from the deed to the moment at which the collector published what was expected.

The column after that is what postgres_exporter said of the same server at that moment: its lag as "0 when all that was received
is replayed" · its lag as "now less the last replayed commit" · bytes behind as the primary sees them. "Gone" means that the
series was not there. The last column is the moment at which the server was furthest behind in truth, and what both said of it.

| # | Scenario | Tidemark said | after | postgres_exporter said | at the worst moment |
|---|---|---|---|---|---|
${rows.map(({ name, all }) => row(name, all)).join('\n')}

## How near to the truth

In every scenario the primary commits a heartbeat about twelve times a second, and every replica is asked twenty times a second
which one it shows. So the true lag is known at any moment to about a tenth of a second, and each published value is judged by
it. Where nothing is written there is no heartbeat: then the positions of both servers decide, and these samples are counted apart.

| PostgreSQL | samples | truth within the bounds | width of the bounds, median | idle samples | of them right | not to be judged |
|---|---|---|---|---|---|---|
${reports
  .map((report) => {
    const versions = [...new Set(report.scenarios.map(({ postgres }) => postgres))].join(', ');
    return `| ${versions} | ${report.truthSamples} | ${percent(report.truthWithinBounds)} | ${report.boundsWidthSecondsMedian ?? 'open'} s | ${report.idleSamples} | ${percent(report.idleWithinBounds)} | ${report.undecidedSamples} |`;
  })
  .join('\n')}

"Not to be judged" are moments at which the truth itself was not known: a replica that was down or restarting, or a root that had
just changed.

To see it for yourself: \`npm run scenarios -- --postgres 18\`. A scenario is a file in
[test/src/scenarios/cases](../../test/src/scenarios/cases/README.md); the README there says how to write another one.
`;
}
