/** A collector with one rule on the raw agents' load and one webhook, for the days on which that goes wrong. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { AlertList, AlertView } from '@tidemark/protocol';
import { startCollector, type RunningCollector } from '../programs.ts';
import { WebhookReceiver, type ReceivedAlert } from '../telling/webhook-receiver.ts';
import { LOAD_METRIC, addRawAgents, type RawAgent } from './raw-agent.ts';

export const QUIET = 10;
export const CROSSED = 95;

/** Judged on the first sample, so that a test need not wait. */
export const LOAD_RULE = {
  name: 'load',
  kind: 'threshold',
  title: 'Load',
  metric: LOAD_METRIC,
  critical: { above: 90, clear: 80, for: '0s', clearAfter: '0s' },
};

export interface Situation {
  rules?: readonly object[];
  overrides?: readonly object[];
  channels?: readonly object[];
  environment?: Record<string, string>;
}

export class AlertingCollector {
  readonly directory = mkdtempSync(join(tmpdir(), 'tidemark-alerts-'));
  readonly hook = new WebhookReceiver();
  readonly #file = join(this.directory, 'collector.yaml');
  readonly #secretFile = join(this.directory, 'secret');
  #situation: Situation;
  #listen = '127.0.0.1:0';
  collector!: RunningCollector;

  constructor(situation: Situation = {}) {
    this.#situation = situation;
  }

  async start(): Promise<this> {
    await this.hook.start();
    writeFileSync(this.#secretFile, this.hook.secret, { mode: 0o600 });
    this.configure({});
    await this.launch();
    return this;
  }

  /** Writes the configuration anew; what is not given stays as it was. */
  configure(changes: Situation): void {
    this.#situation = { ...this.#situation, ...changes };
    const { rules = [LOAD_RULE], overrides = [], channels = [] } = this.#situation;
    const hook = { name: 'hook', kind: 'webhook', url: this.hook.url, secretFile: this.#secretFile };
    writeFileSync(this.#file, JSON.stringify({ rules, overrides, channels: [hook, ...channels] }), { mode: 0o600 });
  }

  /** Writes something that is not a configuration. */
  spoil(text: string): void {
    writeFileSync(this.#file, text, { mode: 0o600 });
  }

  async launch(): Promise<void> {
    this.collector = await startCollector({
      dataDir: join(this.directory, 'collector'),
      listen: this.#listen,
      arguments: ['--config', this.#file],
      ...(this.#situation.environment === undefined ? {} : { environment: this.#situation.environment }),
    });
    this.#listen = new URL(this.collector.url).host;
  }

  async kill(): Promise<void> {
    this.collector.kill('SIGKILL');
    await this.collector.exited;
  }

  async stop(): Promise<void> {
    await this.collector?.stop();
    await this.hook.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }

  agents(names: readonly string[], intervalSeconds = 1): Promise<RawAgent[]> {
    return addRawAgents(this.collector, names, () => this.collector.url, intervalSeconds);
  }

  async alerts(query = 'state=open'): Promise<AlertView[]> {
    return (await this.collector.api<AlertList>('GET', `/api/alerts?${query}`)).alerts;
  }

  /** What the hook took of a node, in order: "firing critical". A message that says it may be a repetition counts once. */
  told(node: string, isOurs: (alert: ReceivedAlert) => boolean = ({ rule }) => rule === 'load'): string[] {
    const seen = new Set<string>();
    return this.hook.received.flatMap(({ id, status, alerts }) => {
      if (status === undefined || status >= 300 || seen.has(id)) return [];
      seen.add(id);
      return alerts.filter((alert) => alert.node === node && isOurs(alert)).map((alert) => `${alert.status} ${alert.level}`);
    });
  }
}

/** Takes one report of a load and sends it until it was answered somehow. */
export async function report(agent: RawAgent, load: number): Promise<void> {
  agent.take(load);
  while ((await agent.send()) === undefined) await pause(50);
}
