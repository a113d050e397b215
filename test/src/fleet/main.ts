/** `npm run fleet`: a simulated fleet as a program. It registers its nodes, reports until Ctrl-C, and says every few seconds how that goes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { codeOf, createLog, EXIT, OperationalFailure, runProgram, runUntilStopped, sentenceOf, systemClock } from '@tidemark/service';
import { Fleet, SCENARIOS, simulateNodes, type FleetCounts, type FleetOptions, type Scenario } from './fleet.ts';
import { registerNodes } from './registration.ts';

const SAY_EVERY_MS = 5_000;
const STOP_TIMEOUT_MS = 20_000;
const NODES_MAX = 20_000;

const HELP = `Simulates a fleet: the real agent's code with simulated machines, reporting to a running collector.

  npm run fleet -- --nodes 1000 --interval 5 --seed 7
  npm run fleet -- --nodes 50 --scenario replica-stops
  npm run fleet -- --server http://collector:5000 --token-file admin-token --seconds 60

  --nodes N          nodes, sim-0001 and on; the first two of every ten are a PostgreSQL pair (default 100)
  --interval S       seconds between a node's reports (default 5)
  --seed N           the same seed makes the same machines (default 7)
  --scenario NAME    ${Object.entries(SCENARIOS)
    .map(([name, what]) => `${name}: ${what}`)
    .join('\n                     ')}
  --server URL       the collector (default http://127.0.0.1:5000)
  --data-dir DIR     the collector's data directory, whose admin token adds the nodes (default TIDEMARK_DATA_DIR, else ./data)
  --token-file FILE  an admin token from elsewhere
  --seconds S        stop by itself after so long
  --help             this text

Nodes that are there already get new tokens. Ctrl-C stops; nodes stay in the collector and fall silent.
`;

interface Settings extends Omit<FleetOptions, 'clock' | 'log'> {
  tokenFile: string;
  seconds: number | undefined;
}

/** The settings of a command line, or undefined when it asks for help. Throws an OperationalFailure for what cannot be. */
function readSettings(argv: readonly string[], environment: NodeJS.ProcessEnv): Settings | undefined {
  const text = (fallback?: string): { type: 'string'; default?: string } => ({
    type: 'string',
    ...(fallback === undefined ? {} : { default: fallback }),
  });
  let values;
  try {
    ({ values } = parseArgs({
      args: [...argv],
      options: {
        nodes: text('100'),
        interval: text('5'),
        seed: text('7'),
        scenario: text('calm'),
        server: text('http://127.0.0.1:5000'),
        'data-dir': text(environment['TIDEMARK_DATA_DIR'] ?? 'data'),
        'token-file': text(),
        seconds: text(),
        help: { type: 'boolean', short: 'h' },
      },
    }));
  } catch (error) {
    throw new OperationalFailure(`${sentenceOf(error)} See --help.`, EXIT.usage);
  }
  if (values.help === true) return undefined;
  const number = (name: string, given: string, low: number, high: number): number => {
    const value = Number(given);
    if (given.trim() === '' || !(value >= low && value <= high))
      throw new OperationalFailure(`--${name} takes a number from ${low} to ${high}, not ${JSON.stringify(given)}.`, EXIT.usage);
    return value;
  };
  if (!Object.hasOwn(SCENARIOS, values.scenario!))
    throw new OperationalFailure(`--scenario is one of ${Object.keys(SCENARIOS).join(', ')}.`, EXIT.usage);
  if (!URL.canParse(values.server!) || !/^https?:$/.test(new URL(values.server!).protocol))
    throw new OperationalFailure('--server looks like http://collector:5000.', EXIT.usage);
  return {
    nodes: Math.floor(number('nodes', values.nodes!, 1, NODES_MAX)),
    intervalMs: Math.round(number('interval', values.interval!, 0.1, 3_600) * 1000),
    seed: number('seed', values.seed!, 0, 2 ** 32),
    scenario: values.scenario as Scenario,
    server: new URL(values.server!),
    tokenFile: values['token-file'] ?? join(values['data-dir']!, 'admin-token'),
    seconds: values.seconds === undefined ? undefined : number('seconds', values.seconds, 1, 1e6),
  };
}

function readAdminToken(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new OperationalFailure(
      `The admin token ${file} cannot be read (${codeOf(error) ?? sentenceOf(error)}). Start the collector first (npm start), or name the file with --token-file.`,
      EXIT.configuration,
    );
  }
}

const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** One line about what happened since the last one. */
function lineOf(nodes: number, counts: FleetCounts, perSecond: number): string {
  const { waiting, lost, silent, troubled } = counts;
  const trouble = [...troubled].map(([phase, count]) => `${count} ${phase.replaceAll('_', ' ')}`);
  return [
    `${new Date().toISOString().slice(11, 19)}  ${nodes - silent} nodes, ${perSecond.toFixed(1)} reports/s acknowledged, ${waiting} waiting, ${lost} lost`,
    ...(silent > 0 ? [`${silent} silent`] : []),
    ...trouble,
  ].join(', ');
}

async function main(): Promise<number> {
  const settings = readSettings(process.argv.slice(2), process.env);
  if (settings === undefined) {
    process.stdout.write(HELP);
    return EXIT.ok;
  }
  const { nodes: count, server, tokenFile, seconds } = settings;
  const adminToken = readAdminToken(tokenFile);
  const log = createLog('tidemark-fleet', 'error', 'text');
  const clock = systemClock;
  return runUntilStopped({ log, stopTimeoutMs: STOP_TIMEOUT_MS }, async (lifecycle) => {
    const nodes = simulateNodes({ ...settings, clock });
    say(`Adding ${count} nodes to ${server.href}`);
    const tokens = await registerNodes({
      server,
      adminToken,
      nodes: nodes.map(({ name, machine: { site, role } }) => ({ name, site, tags: { role } })),
      stopping: () => lifecycle.stopping,
    });
    if (lifecycle.stopping) return;
    const fleet = new Fleet({ ...settings, clock, log }, nodes, tokens);
    lifecycle.onStop('fleet', async () => {
      await fleet.stop();
      const { acknowledged, waiting, lost } = fleet.counts();
      say(`Stopped: ${acknowledged} reports acknowledged, ${waiting} not delivered, ${lost} lost.`);
    });
    fleet.start();
    let last = { acknowledged: 0, atMs: clock.monotonicMs() };
    const timer = setInterval(() => {
      const counts = fleet.counts();
      const atMs = clock.monotonicMs();
      say(lineOf(count, counts, ((counts.acknowledged - last.acknowledged) * 1000) / (atMs - last.atMs)));
      last = { acknowledged: counts.acknowledged, atMs };
    }, SAY_EVERY_MS);
    lifecycle.onStop('lines', () => clearInterval(timer));
    if (seconds !== undefined) {
      const end = setTimeout(() => lifecycle.stop('time is up'), seconds * 1000);
      lifecycle.onStop('end', () => clearTimeout(end));
    }
  });
}

void runProgram('tidemark-fleet', main);
