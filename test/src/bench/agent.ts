/** What the agent costs: the bundle with the flags it ships with, against a collector that does nothing but acknowledge. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import type { Acknowledgement, ReportRequest } from '@tidemark/protocol';
import { cpuMs, memoryOf, reapedChildFaults } from './processes.ts';

const BUNDLE = fileURLToPath(new URL('../../../installers/dist/tidemark-agent.cjs', import.meta.url));
const FLAGS = fileURLToPath(new URL('../../../installers/dist/tidemark-agent.flags.json', import.meta.url));

export interface BenchedAgent {
  readonly pid: number;
  /** Reports acknowledged so far. */
  readonly reports: () => number;
  stop(): Promise<void>;
}

export interface BenchedAgentOptions {
  intervalSeconds: number;
  postgres?: { url: string; passwordFile?: string; name: string };
  /** The bundle to run; the one that was built unless told. */
  bundle?: string;
}

/** Starts the agent's bundle and a collector for it that acknowledges everything at once. */
export async function startBenchedAgent(options: BenchedAgentOptions): Promise<BenchedAgent> {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-bench-agent-'));
  let reports = 0;
  const server = createServer((request, response) => {
    void buffer(request).then((body) => {
      const sent = JSON.parse((request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body).toString()) as ReportRequest;
      reports += sent.reports.length;
      const acknowledgement: Acknowledgement = {
        serverTime: Date.now(),
        node: { name: 'bench', state: 'approved', site: '' },
        committed: sent.reports.map(({ bootId, sequence }) => ({ bootId, sequences: [sequence] })),
        refused: [],
        layoutsMissing: [],
        thresholds: [],
        newAddress: null,
      };
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(acknowledgement));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  writeFileSync(join(directory, 'token'), 'tma_bench', { mode: 0o600 });
  const config = {
    server: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    hostname: 'bench',
    interval: options.intervalSeconds,
    tokenFile: join(directory, 'token'),
    dataDir: join(directory, 'data'),
    postgres: options.postgres === undefined ? [] : [options.postgres],
  };
  // YAML is a superset of JSON.
  writeFileSync(join(directory, 'agent.yaml'), JSON.stringify(config), { mode: 0o600 });
  const flags = JSON.parse(readFileSync(FLAGS, 'utf8')) as string[];
  const child = spawn(process.execPath, [...flags, options.bundle ?? BUNDLE, 'run', '--config', join(directory, 'agent.yaml')], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, UV_THREADPOOL_SIZE: '16' },
  });
  return { pid: child.pid!, reports: () => reports, stop: () => stopAll(child, server, directory) };
}

async function stopAll(child: ChildProcess, server: Server, directory: string): Promise<void> {
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await exited;
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(directory, { recursive: true, force: true });
}

export interface AgentWindow {
  cpuMsPerCollection: number;
  collections: number;
}

/** CPU per collection between two moments. */
export function openWindow(agent: BenchedAgent): () => AgentWindow {
  const before = { cpu: cpuMs(agent.pid), reports: agent.reports() };
  return () => {
    const collections = agent.reports() - before.reports;
    return { cpuMsPerCollection: (cpuMs(agent.pid) - before.cpu) / collections, collections };
  };
}

export { memoryOf, reapedChildFaults };
