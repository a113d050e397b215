/**
 * Who belongs to the fleet, in memory: agents and programs are known by their tokens even while the
 * database is away. It is read at start, after each change made here, and every few seconds for changes
 * made through another collector. A node keeps its one record object for as long as it exists.
 */
import type { ReportRequest } from '@tidemark/protocol';
import { ProblemError } from '@tidemark/protocol';
import type { Clock, Log } from '@tidemark/service';
import type { NodeRecord } from './node.ts';
import type { ApiTokenRow, FleetStore } from './store.ts';
import { hashToken } from './token.ts';

const REFRESH_MS = 10_000;

export type ApiToken = Pick<ApiTokenRow, 'name' | 'role' | 'createdAt'>;

export class FleetDirectory {
  readonly #store: FleetStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #byId = new Map<number, NodeRecord>();
  #byName = new Map<string, NodeRecord>();
  #byToken = new Map<string, { node: NodeRecord; revoked: boolean }>();
  #apiTokens = new Map<string, ApiToken>();
  #timer: NodeJS.Timeout | undefined;
  /** Nodes whose agent said something new that is not in the store yet. */
  readonly #unsaved = new Set<NodeRecord>();

  constructor(store: FleetStore, clock: Clock, log: Log) {
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
  }

  async start(): Promise<void> {
    await this.refresh();
    const tick = (): void => {
      this.#timer = setTimeout(() => void this.#keepUp().finally(tick), REFRESH_MS);
      this.#timer.unref();
    };
    tick();
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#save().catch(() => {});
  }

  /** All nodes but retired ones. */
  all(): Iterable<NodeRecord> {
    return this.#byName.values();
  }

  byId(id: number): NodeRecord | undefined {
    return this.#byId.get(id);
  }

  /** A node that is not retired, by its name. */
  byName(name: string): NodeRecord | undefined {
    return this.#byName.get(name);
  }

  /** Every node there ever was, retired ones too. */
  everyone(): Iterable<NodeRecord> {
    return this.#byId.values();
  }

  /** The node of an agent's token. The look-up is by SHA-256, so its time says nothing about the token. */
  findByToken(token: string): { node: NodeRecord; revoked: boolean } | undefined {
    return this.#byToken.get(hashToken(token).toString('base64'));
  }

  findApiToken(token: string): ApiToken | undefined {
    return this.#apiTokens.get(hashToken(token).toString('base64'));
  }

  apiTokens(): ApiToken[] {
    return [...this.#apiTokens.values()];
  }

  /** What an agent says about itself. A site or tags it gives replace the operator's; what it does not give stays. */
  agentSeen(node: NodeRecord, agent: ReportRequest['agent']): void {
    const site = agent.site ?? node.site;
    const tags = agent.tags ?? node.tags;
    const same =
      node.agentVersion === agent.version &&
      node.intervalSeconds === agent.intervalSeconds &&
      node.site === site &&
      (agent.tags === undefined || JSON.stringify(node.tags) === JSON.stringify(tags));
    if (same) return;
    Object.assign(node, { agentVersion: agent.version, intervalSeconds: agent.intervalSeconds, site, tags });
    this.#unsaved.add(node);
  }

  /** Reads the fleet again. */
  async refresh(): Promise<void> {
    const rows = await this.#store.readAll();
    const byName = new Map<string, NodeRecord>();
    for (const row of rows.nodes) {
      const known = this.#byId.get(row.id);
      // What the agent said since is newer than what the store has.
      const record = known === undefined ? row : Object.assign(known, this.#unsaved.has(known) ? { name: row.name, state: row.state } : row);
      this.#byId.set(row.id, record);
      if (record.state !== 'retired') byName.set(record.name, record);
    }
    this.#byName = byName;
    this.#byToken = new Map(rows.nodeTokens.map(({ hash, nodeId, revoked }) => [hash.toString('base64'), { node: this.#byId.get(nodeId)!, revoked }]));
    this.#apiTokens = new Map(rows.apiTokens.map(({ hash, ...token }) => [hash.toString('base64'), token]));
  }

  /** After a change made through this collector: it is in force when the answer is sent. */
  async changed(): Promise<void> {
    await this.refresh();
  }

  async #keepUp(): Promise<void> {
    try {
      await this.#save();
      await this.refresh();
    } catch (error) {
      if (!(error instanceof ProblemError)) this.#log.error({ err: error }, 'the fleet cannot be read again');
    }
  }

  async #save(): Promise<void> {
    for (const node of this.#unsaved) {
      const { agentVersion, intervalSeconds, site, tags } = node;
      await this.#store.saveAgent(node.id, { agentVersion, intervalSeconds, site, tags });
      this.#unsaved.delete(node);
    }
  }

  /** The time that changes are stamped with. */
  now(): Date {
    return new Date(this.#clock.wallMs());
  }
}
