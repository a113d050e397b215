/** What the tests of the installer have around their machines: a real collector, and a gate before it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NodeDetail } from '@tidemark/protocol';
import type { Outcome } from '../programs.ts';
import { startCollector, type RunningCollector } from '../programs.ts';
import { Gate } from './gate.ts';
import { Lab, Machine, type MachineOptions } from './machine.ts';

export const SCRIPT = '/documentation/downloads/agent-install-linux.sh';

export class Site {
  readonly lab: Lab;
  readonly collector: RunningCollector;
  readonly gate: Gate;
  readonly #directory: string;
  readonly #machines: Machine[] = [];

  private constructor(lab: Lab, collector: RunningCollector, gate: Gate, directory: string) {
    this.lab = lab;
    this.collector = collector;
    this.gate = gate;
    this.#directory = directory;
  }

  static async open(args: readonly string[] = []): Promise<Site> {
    const lab = await Lab.open();
    const directory = mkdtempSync(join(tmpdir(), 'tidemark-site-'));
    const collector = await startCollector({ dataDir: join(directory, 'collector'), listen: `${lab.address}:0`, arguments: args });
    return new Site(lab, collector, await Gate.open(lab.address, collector), directory);
  }

  async machine(options: Omit<MachineOptions, 'gateway'>): Promise<Machine> {
    const machine = await Machine.start({ ...options, gateway: this.lab });
    this.#machines.push(machine);
    return machine;
  }

  /** Fetches the script as a person would, with what the machine has, and runs it. */
  async install(machine: Machine, args: string, { url = this.gate.url, environment = {}, shell = 'sh' } = {}): Promise<Outcome> {
    const fetched = await this.fetchScript(machine, url);
    if (fetched.code !== 0) return fetched;
    return machine.run(`${shell} /srv/agent-install-linux.sh ${args}`, environment);
  }

  fetchScript(machine: Machine, url = this.gate.url): Promise<Outcome> {
    const address = `${url}${SCRIPT}`;
    return machine.run(
      `cd /srv && if command -v curl >/dev/null; then curl -fsS -o agent-install-linux.sh ${address}; else wget -q -O agent-install-linux.sh ${address}; fi`,
    );
  }

  /** Undefined when the collector knows none of this name. */
  async node(name: string): Promise<NodeDetail | undefined> {
    try {
      return await this.collector.api<NodeDetail>('GET', `/api/telemetry/nodes/${encodeURIComponent(name)}`);
    } catch (error) {
      if (String(error).includes(': 404 ')) return undefined;
      throw error;
    }
  }

  approve(name: string): Promise<unknown> {
    return this.collector.api('POST', `/api/telemetry/nodes/${encodeURIComponent(name)}/approve`, {});
  }

  async enrolment(options: object = {}): Promise<string> {
    const made = await this.collector.api<{ string: string }>('POST', '/api/telemetry/enrollments', { url: this.gate.url, ...options });
    return made.string;
  }

  async close(): Promise<void> {
    await Promise.all(this.#machines.map((machine) => machine.stop()));
    await this.gate.close();
    await this.collector.stop();
    await this.lab.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** Waits for what a test expects to come true by itself. */
export async function until<T>(what: string, look: () => Promise<T | undefined>, timeoutMs = 30_000): Promise<T> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > end) throw new Error(`not within ${timeoutMs / 1000} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
