/**
 * `npm run docs`: writes the generated pages of docs/reference and Grafana's dashboards, each from what the programs themselves declare.
 * With `--check` it writes nothing, names the pages that are out of date and exits with 1. It runs on the built
 * programs: npm run build first.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { AGENT_OPTIONS } from '../agent/dist/config.js';
import { createProbes } from '../agent/dist/probes/index.js';
import { createPostgresProbes } from '../agent/dist/probes/postgres.js';
import { declaredMetrics } from '../agent/dist/probes/recorder.js';
import { ProbeRunner } from '../agent/dist/probes/runner.js';
import { countAlerting } from '../collector/dist/alerting.js';
import { buildProgram } from '../collector/dist/commands/program.js';
import { COLLECTOR_FILE, collectorOptions } from '../collector/dist/config.js';
import { LiveView } from '../collector/dist/live/live-view.js';
import { MetricsPage } from '../collector/dist/live/metrics-page.js';
import { OwnMetrics } from '../collector/dist/live/own-metrics.js';
import { describeApi } from '../collector/dist/openapi.js';
import { REPLICATION_SERIES } from '../collector/dist/replication/series.js';
import { countReplication } from '../collector/dist/replicating.js';
import { rulesReference } from '../collector/dist/rules/reference.js';
import { DASHBOARDS, dashboardJson } from '../dashboards/dist/index.js';
import { PROBLEMS } from '../packages/protocol/dist/index.js';
import { EXIT, ManualClock, createLog, environmentOf, flagOf, systemClock } from '../packages/service/dist/index.js';

const path = (relative) => fileURLToPath(new URL(`../${relative}`, import.meta.url));
const { version } = JSON.parse(readFileSync(path('collector/package.json'), 'utf8'));

const GENERATED = '<!-- Written by npm run docs from what the programs declare; changes made here are lost. -->\n';
const code = (text) => `\`${text}\``;
const cell = (text) => String(text).replaceAll('|', '\\|').replaceAll('\n', ' ');
const table = (heads, rows) => [heads, heads.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n');
const page = (...parts) => `${GENERATED}\n${parts.join('\n\n')}\n`;

// Configuration and commands

function formOf({ schema }) {
  if (schema.wanted !== undefined) return schema.wanted;
  if (schema.type === 'string') return 'text';
  if (schema.type === 'array') return 'list';
  return schema.type ?? '';
}

function optionTable(declarations) {
  return table(
    ['in the file', 'flag', 'in the environment', 'form', 'default', 'meaning'],
    Object.entries(declarations).map(([key, option]) => [
      code(key),
      option.flag === false || option.fileOnly ? '' : code(`${flagOf(key)}${option.value === undefined ? '' : ` <${option.value}>`}`),
      option.fileOnly ? '' : [environmentOf(key), ...(option.environment ?? [])].map(code).join(', '),
      formOf(option),
      option.default === undefined || (typeof option.default === 'object' && Object.keys(option.default).length === 0)
        ? ''
        : code(option.default),
      option.description,
    ]),
  );
}

/** A command's help as a user sees it, in 80 columns. */
function helpOf(command) {
  let text = '';
  command.configureOutput({ writeOut: (piece) => (text += piece), getOutHelpWidth: () => 80, getOutHasColors: () => false });
  command.outputHelp();
  return text.trimEnd();
}

/** The names of the agent's commands that do something, as its help lists them. */
function agentCommands(above = []) {
  const listed = agentHelpOf(above.join(' ')).split('\nCommands:\n')[1] ?? '';
  const names = [...listed.split('\n\n')[0].matchAll(/^ {2}([a-z][a-z-]*)/gm)].map(([, name]) => name).filter((name) => name !== 'help');
  return names.length === 0 ? [above.join(' ')] : names.flatMap((name) => agentCommands([...above, name]));
}

/** The agent's command line exists in its main file alone, so it is asked. */
function agentHelpOf(name) {
  const environment = { ...process.env, NO_COLOR: '1' };
  delete environment.FORCE_COLOR;
  return execFileSync(process.execPath, [path('agent/dist/main.js'), ...name.split(' ').filter((word) => word !== ''), '--help'], {
    encoding: 'utf8',
    env: environment,
  }).trimEnd();
}

/** Those that do something, each with its whole name. */
function commandsOf(command, name = command.name()) {
  const below = command.commands.filter((one) => one.name() !== 'help');
  // A command that does something by itself has options of its own, and may have others below it.
  const itself = below.length === 0 || command.options.length > 0 ? [{ name, command }] : [];
  return [...(command.parent === null ? [] : itself), ...below.flatMap((one) => commandsOf(one, `${name} ${one.name()}`))];
}

const helpSection = (name, help) => `### ${code(name)}\n\n\`\`\`text\n${help}\n\`\`\``;

const EXIT_MEANINGS = {
  ok: 'all went well, or it was stopped as asked',
  failed: 'it failed; the sentence on standard error says why (a stack trace instead of it is a defect)',
  usage: 'the command line was not understood',
  databaseAway: 'the database cannot be reached, or not be used',
  dataDirectory: 'the data directory cannot be used',
  portInUse: 'the address to listen on is taken or not allowed',
  alreadyRunning: 'another one runs on this data directory',
  databaseNewer: 'the database was made by another, newer version',
  configuration: 'the configuration has mistakes; each is named with its place',
  software: 'a migration of the database failed and was undone',
  unsupportedSystem: 'this system is not supported, a tool is missing, or the runtime does not run here',
  glibcTooOld: 'the C library is older than glibc 2.28, or is musl',
  noRoom: 'there is not enough room',
  noRights: 'this needs root, or the file system cannot be written',
  downloadFailed: 'the download failed',
  checksumWrong: 'a wrong checksum',
  signatureWrong: 'a wrong signature, or another key than the one that is remembered',
  nameUnknown: "the collector's name is unknown to DNS",
  connectionRefused: 'no connection to the collector (TCP)',
  tlsFailed: 'TLS to the collector failed',
  notACollector: 'what answers there is not a Tidemark collector (HTTP)',
  serviceNotStarted: 'the service did not start',
  notConfirmed: 'the collector has not confirmed a report in time; the agent goes on trying',
  rolledBack: 'the new version did not work, the version before was put back',
  credentialRejected: 'the collector rejects the enrolment string or the secret',
  installationUnderWay: 'another installation is under way',
};

function meaningOf(name) {
  if (EXIT_MEANINGS[name] === undefined) throw new Error(`the exit code ${name} has no meaning here`);
  return EXIT_MEANINGS[name];
}

function configurationPage() {
  const nothing = () => {};
  const program = buildProgram({ version, environment: {}, out: nothing, err: nothing, hostname: '', tellParent: nothing, exit: nothing });
  return page(
    '# Configuration and commands',
    `Every option can be given as a flag, as an environment variable, or as a line of a YAML file; a flag goes before the
environment, the environment before the file, the file before the default. All mistakes are reported at once, each with its
place. A password is refused on a command line, where every user of the machine could read it.`,
    "## The collector's options",
    `The file is \`${COLLECTOR_FILE}\`, or the one that \`--config\` or \`TIDEMARK_CONFIG\` names. \`tidemark-collector config check\` prints
what is in force, and where each value comes from.`,
    optionTable(collectorOptions),
    "## The agent's options",
    `The file is \`/etc/tidemark/agent.yaml\` (on Windows \`%ProgramData%\\Tidemark\\agent.yaml\`), or the one that \`--config\` or
\`TIDEMARK_CONFIG\` names.`,
    optionTable(AGENT_OPTIONS),
    '## Exit codes',
    table(
      ['code', 'meaning'],
      Object.entries(EXIT)
        .toSorted(([, a], [, b]) => a - b)
        .map(([name, value]) => [value, meaningOf(name)]),
    ),
    'Codes from 10 to 34 are those of installing and enrolling; [more on them](installer.md#exit-codes).',
    "## The collector's commands",
    ...commandsOf(program).map(({ name, command }) => helpSection(name, helpOf(command))),
    "## The agent's commands",
    ...agentCommands().map((name) => helpSection(`tidemark-agent ${name}`, agentHelpOf(name))),
  );
}

// Problems

function problemsPage() {
  return page(
    '# Problem codes',
    `Every error over HTTP is a problem document ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)) of the type
\`application/problem+json\`. Its \`code\` is stable: programs may rely on it. \`title\` is the same for every occurrence of a code, \`detail\`
says what was wrong this time and what to do. With 429 and 503 \`Retry-After\` says when to come back.`,
    `\`\`\`json
${JSON.stringify({ type: 'urn:tidemark:problem:node_unknown', title: PROBLEMS.node_unknown.title, status: 404, code: 'node_unknown', detail: 'There is no node "db9".' }, undefined, 2)}
\`\`\``,
    table(
      ['code', 'status', 'title'],
      Object.entries(PROBLEMS)
        .toSorted(([a, x], [b, y]) => x.status - y.status || (a < b ? -1 : 1))
        .map(([name, { status, title }]) => [code(name), status, title]),
    ),
    'Codes of the reports in an acknowledgement (`refused`, `notStored`) are of the same list.',
  );
}

// Metrics

/** What the agent's probes declare, and what they name after the fields of a kernel (here a recorded one). */
async function agentMetrics() {
  const machine = path('agent/src/probes/fixtures/small-vm');
  const options = { clockOffset: () => undefined, reportsLost: () => 0, spoolBytes: () => 0, clock: new ManualClock() };
  const linux = {
    platform: 'linux',
    procfs: `${machine}/proc`,
    sysfs: `${machine}/sys`,
    statfs: () => Promise.reject(new Error('not asked')),
  };
  // Imported, it has declared what it measures.
  createPostgresProbes([]);
  // The inventory asks this machine, which is not the recorded one, and measures nothing.
  const probes = createProbes({ ...options, ...linux }).filter(({ name }) => name !== 'inventory');
  const { blocks } = await new ProbeRunner(probes, systemClock, createLog('docs', 'silent')).collect();
  for (const probe of probes) await probe.close?.();
  const recorded = new Set(blocks.flatMap(({ layout }) => layout.series.map(({ name }) => name)));
  // For a field of /proc/meminfo two names are declared, and the kernel's unit decides.
  return declaredMetrics().filter(({ name }) => !name.startsWith('node_memory_') || recorded.has(name));
}

const ownMetrics = () =>
  new OwnMetrics({ version, gauges: { databaseUp: () => true, reportsWaiting: () => 0, liveSeries: () => 0 }, processMetrics: false });

function collectorMetrics() {
  const { registry } = ownMetrics();
  countAlerting(registry, { recorder: { book: { incidents: () => [] }, onRecorded() {} }, channels: () => [], waiting: () => 0 });
  countReplication(registry, { view: { counts: { instances: 0, clusters: 0 } }, tracks: { sizeBytes: 0 } });
  return registry.getMetricsAsArray().map(({ name, help, type, labelNames = [] }) => ({ name, help, type, labels: labelNames }));
}

/** What the collector says of each node on its own metrics page, read off that page. */
async function nodeMetrics() {
  const clock = new ManualClock();
  const view = new LiveView(clock);
  const node = { id: 1, name: 'n', state: 'approved', site: '', tags: {}, createdAt: 0, agentVersion: null, intervalSeconds: 15 };
  view.heard(node, { version, intervalSeconds: 15 }, 0);
  const metrics = new MetricsPage(view, { all: () => [node], byName: () => node }, ownMetrics().registry);
  let text = '';
  for await (const piece of metrics.one(node)) text += piece;
  return [...text.matchAll(/^# HELP (\S+) (.*)$/gm)].map(([, name, help]) => ({
    name,
    help,
    type: new RegExp(`^# TYPE ${name} (\\w+)$`, 'm').exec(text)[1],
    labels: ['node', 'site'],
  }));
}

async function metricsPage() {
  const rows = (metrics, withUnit) =>
    metrics.map(({ name, type, unit, labels, help }) => [code(name), type, ...(withUnit ? [unit] : []), labels.map(code).join(', '), help]);
  return page(
    '# Metrics',
    `What \`/metrics\` shows, and what \`/api/telemetry/series?metric=\` can be asked for. Metrics that node_exporter or postgres_exporter
have keep those names and meanings; ours begin with \`tidemark_\`. Every series of a node has the labels \`node\` and \`site\` besides its own.
A value that was not measured is left out; ratios are from 0 to 1.`,
    '## Of each node, by its agent',
    `Which of them a node has depends on its system: fields that its kernel does not tell are not there. Those of \`/proc/meminfo\`,
\`/proc/net/sockstat\` and the like are named after the kernel's fields; listed are those of one recorded machine.`,
    table(['name', 'type', 'unit', 'labels', 'meaning'], rows(await agentMetrics(), true)),
    '## Of each node, by the collector',
    table(['name', 'type', 'labels', 'meaning'], rows(await nodeMetrics(), false)),
    '## Of PostgreSQL replication, by the collector',
    `Worked out from the reports of all servers of a cluster, and told by the node of the server they are about ([how](../explanation/replication-lag.md)).
\`cluster\` is the system identifier, \`server\` what its agent calls it; a replica that no agent watches is told by its upstream, with \`replica\`.`,
    table(
      ['name', 'type', 'unit', 'meaning'],
      REPLICATION_SERIES.map(({ name, type, unit, help }) => [code(name), type, unit, help]),
    ),
    '## Of the collector itself',
    `Besides these it shows what prom-client tells of every Node.js process (\`process_*\`, \`nodejs_*\`). With \`/metrics?node=\` these are left out.`,
    table(['name', 'type', 'labels', 'meaning'], rows(collectorMetrics(), false)),
  );
}

const pages = {
  'docs/reference/openapi.json': await describeApi(version),
  'docs/reference/configuration.md': configurationPage(),
  'docs/reference/problems.md': problemsPage(),
  'docs/reference/metrics.md': await metricsPage(),
  'docs/reference/rules.md': page(rulesReference()),
  ...Object.fromEntries(Object.keys(DASHBOARDS).map((name) => [`dashboards/json/${name}.json`, dashboardJson(name)])),
};

const read = (file) => {
  try {
    return readFileSync(path(file), 'utf8');
  } catch {
    return undefined;
  }
};
const stale = Object.entries(pages).filter(([file, text]) => read(file) !== text);
if (process.argv.includes('--check')) {
  for (const [file] of stale) process.stdout.write(`${file} is out of date: npm run docs\n`);
  process.exitCode = stale.length === 0 ? 0 : 1;
} else {
  for (const [file, text] of stale) {
    writeFileSync(path(file), text);
    process.stdout.write(`${file} written\n`);
  }
}
