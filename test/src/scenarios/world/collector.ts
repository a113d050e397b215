/**
 * The one collector that all scenarios of a run report to: the real program with its embedded database. It is asked a
 * few times a second what it publishes, once for everybody, and every answer is a look that scenarios judge.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { AlertList, AlertView, Replication, ReplicationPrimary } from '@tidemark/protocol';
import { startCollector, type RunningCollector } from '../../programs.ts';

/** Between two looks. */
const LOOK_EVERY_MS = 400;

/**
 * The shipped rules about replication with a fifteenth of their times, so that scenarios can wait for them: a minute is four
 * seconds. Channels there are none: scenarios judge by what is open.
 */
export const SCALED_RULES: object = {
  rules: [
    {
      name: 'replication-lag',
      warning: { above: '4s', clear: '2500ms', for: '4s', clearAfter: '4s' },
      critical: { above: '20s', clear: '8s', for: '4s', clearAfter: '4s' },
    },
    {
      name: 'replication-disconnected',
      warning: { is: 1, for: '4s', clearAfter: '4s' },
      critical: { is: 1, for: '20s', clearAfter: '4s' },
    },
    { name: 'replication-diverged', critical: { is: 1, for: '2s', clearAfter: '2s' } },
    { name: 'replication-paused', warning: { is: 1, for: '5s', clearAfter: '4s' } },
    { name: 'primary-lost', critical: { above: '4s', clear: '0s', clearAfter: '1s' } },
    { name: 'sync-standby-missing', warning: { above: 0, for: '2s', clearAfter: '2s' } },
    { name: 'sync-commits-waiting', critical: { above: 0, for: '2s', clearAfter: '2s' } },
    { name: 'archiver-failing', warning: { is: 1, for: '5s', clearAfter: '4s' }, critical: { is: 1, for: '2m', clearAfter: '4s' } },
    { name: 'postgres-connections', warning: { above: '80%', clear: '75%', for: '4s', clearAfter: '4s' } },
    { name: 'postgres-privilege', warning: { is: 1, for: '4s', clearAfter: '4s' } },
    { name: 'postgres-down', warning: { is: 0, for: '4s', clearAfter: '4s' }, critical: { is: 0, for: '8s', clearAfter: '4s' } },
  ],
};

/** What a node's agent needs to report. */
export interface AgentAccess {
  readonly server: URL;
  readonly token: string;
}

/** Everything that was published at one moment. */
export interface Published {
  /** When it was asked for, on this process's steady clock. */
  readonly askedMs: number;
  readonly replication: Replication;
  readonly alerts: readonly AlertView[];
}

type Listener = (published: Published) => void;

export class WatchedCollector {
  readonly #directory: string;
  readonly #listeners = new Set<Listener>();
  readonly #program: RunningCollector;
  #looking: Promise<void> = Promise.resolve();
  #stopping = false;
  /** The failure of the last look; undefined when it went well. */
  #trouble: string | undefined;

  private constructor(program: RunningCollector, directory: string) {
    this.#program = program;
    this.#directory = directory;
  }

  /** Starts a collector. `configuration` is what its file says. */
  static async start(configuration: object = {}): Promise<WatchedCollector> {
    const directory = mkdtempSync(join(tmpdir(), 'tidemark-scenarios-'));
    const file = join(directory, 'collector.yaml');
    writeFileSync(file, JSON.stringify(configuration), { mode: 0o600 });
    try {
      const program = await startCollector({ dataDir: join(directory, 'data'), arguments: ['--config', file] });
      const watched = new WatchedCollector(program, directory);
      watched.#looking = watched.#look();
      return watched;
    } catch (error) {
      rmSync(directory, { recursive: true, force: true });
      throw error;
    }
  }

  get url(): string {
    return this.#program.url;
  }

  /** Calls with every look from now on, until the returned function is called. */
  subscribe(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** The next look that is begun after this moment. */
  async next(timeoutMs = 15_000): Promise<Published> {
    const from = performance.now();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        unsubscribe();
        reject(new Error(`The collector has not answered for ${timeoutMs} ms: ${this.#trouble ?? 'no reason is known'}`));
      }, timeoutMs);
      const unsubscribe = this.subscribe((published) => {
        if (published.askedMs < from) return;
        clearTimeout(timer);
        unsubscribe();
        resolve(published);
      });
    });
  }

  /** A new node of this name. */
  async addNode(name: string): Promise<AgentAccess> {
    const { token } = await this.#program.api<{ token: string }>('POST', '/api/telemetry/nodes', { name });
    return { server: new URL(this.#program.url), token };
  }

  /** It will not be missed. */
  async retireNode(name: string): Promise<void> {
    await this.#program.api('POST', `/api/telemetry/nodes/${encodeURIComponent(name)}/retire`);
  }

  /** What a balancer is told: 200 and the name while there is one, 503 while nobody can tell. */
  async primaryOf(systemIdentifier: string): Promise<ReplicationPrimary> {
    const { url, adminToken } = this.#program;
    const response = await fetch(`${url}/api/telemetry/replication/primary?cluster=${encodeURIComponent(systemIdentifier)}`, {
      headers: { authorization: `Bearer ${adminToken}`, accept: 'application/json' },
    });
    if (response.status !== 200 && response.status !== 503)
      throw new Error(`…/replication/primary: ${response.status} ${await response.text()}`);
    const primary = (await response.json()) as ReplicationPrimary;
    const isKnown = primary.certainty === 'sure' || primary.certainty === 'likely';
    if (isKnown !== (response.status === 200))
      throw new Error(`…/replication/primary answers ${response.status} with a primary that is ${primary.certainty}`);
    return primary;
  }

  metrics(): Promise<string> {
    return this.#program.text('/metrics');
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#looking;
    await this.#program.stop();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** The last lines it wrote, for a failure that nothing else explains. */
  output(): string {
    return this.#program.output().split('\n').slice(-30).join('\n');
  }

  async #look(): Promise<void> {
    while (!this.#stopping) {
      const askedMs = performance.now();
      if (this.#listeners.size > 0) {
        try {
          const [replication, { alerts }] = await Promise.all([
            this.#program.api<Replication>('GET', '/api/telemetry/replication'),
            this.#program.api<AlertList>('GET', '/api/alerts?state=open'),
          ]);
          this.#trouble = undefined;
          for (const listener of this.#listeners) listener({ askedMs, replication, alerts });
        } catch (error) {
          // One answer that is missing is missed by whoever waits for it; what they say then has the reason.
          this.#trouble = error instanceof Error ? error.message : String(error);
        }
      }
      await pause(Math.max(20, askedMs + LOOK_EVERY_MS - performance.now()));
    }
  }
}
