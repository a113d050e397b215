/** A real Prometheus for tests: scrapes a collector as one target and through its service discovery, answers queries, checks pages. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { waitUntil } from './postgres/cluster.ts';

export interface PrometheusSample {
  metric: Record<string, string>;
  value: number;
}

export interface RunningPrometheus {
  readonly url: string;
  /** An instant query. */
  query(expression: string): Promise<PrometheusSample[]>;
  /** What `promtool check metrics` says of a page, without its remarks on names that node_exporter and postgres_exporter chose. */
  promtool(page: string): Promise<string[]>;
  stop(): Promise<void>;
}

export interface PrometheusOptions {
  directory: string;
  collectorUrl: string;
  token: string;
  /** A rule file's text. */
  rules?: string;
}

/** Names that are not ours to change. */
const INHERITED = /^(node|pg|process|nodejs)_/;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export async function startPrometheus({ directory, collectorUrl, token, rules }: PrometheusOptions): Promise<RunningPrometheus> {
  mkdirSync(directory, { recursive: true });
  const tokenFile = join(directory, 'token');
  writeFileSync(tokenFile, token, { mode: 0o600 });
  const rulesFile = join(directory, 'rules.yml');
  if (rules !== undefined) writeFileSync(rulesFile, rules);
  // Prometheus 2.42 forgets its own default type where service discovery asks.
  const credentials = { type: 'Bearer', credentials_file: tokenFile };
  const config = {
    global: { scrape_interval: '1s', scrape_timeout: '1s' },
    ...(rules === undefined ? {} : { rule_files: [rulesFile] }),
    scrape_configs: [
      { job_name: 'tidemark', authorization: credentials, static_configs: [{ targets: [new URL(collectorUrl).host] }] },
      {
        job_name: 'node',
        authorization: credentials,
        http_sd_configs: [{ url: `${collectorUrl}/api/telemetry/prometheus/targets`, refresh_interval: '1s', authorization: credentials }],
      },
    ],
  };
  // YAML is a superset of JSON.
  const file = join(directory, 'prometheus.yml');
  writeFileSync(file, JSON.stringify(config, undefined, 1));
  const port = await freePort();
  const child = spawn(
    'prometheus',
    [`--config.file=${file}`, `--storage.tsdb.path=${join(directory, 'data')}`, `--web.listen-address=127.0.0.1:${port}`],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let output = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (output = (output + chunk).slice(-20_000)));
  const url = `http://127.0.0.1:${port}`;
  try {
    await waitUntil(async () => (await fetch(`${url}/-/ready`)).ok, { what: 'Prometheus to be ready' });
  } catch (error) {
    child.kill('SIGKILL');
    throw new Error(`Prometheus did not start:\n${output}`, { cause: error });
  }
  return { url, query: (expression) => query(url, expression), promtool: checkPage, stop: () => stop(child) };
}

async function query(url: string, expression: string): Promise<PrometheusSample[]> {
  const response = await fetch(`${url}/api/v1/query?query=${encodeURIComponent(expression)}`);
  const answer = (await response.json()) as {
    status: string;
    error?: string;
    data: { result: { metric: Record<string, string>; value: [number, string] }[] };
  };
  if (answer.status !== 'success') throw new Error(`${expression}: ${answer.error}`);
  return answer.data.result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
}

async function stop(child: ChildProcess): Promise<void> {
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await exited;
}

/** What `promtool check metrics` says of a page, without its remarks on inherited names. */
export async function checkPage(page: string): Promise<string[]> {
  const child = spawn('promtool', ['check', 'metrics'], { stdio: ['pipe', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.stdin.end(page);
  await exited;
  return output.split('\n').filter((line) => line !== '' && !INHERITED.test(line));
}
