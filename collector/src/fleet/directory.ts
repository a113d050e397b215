/**
 * Who belongs to the fleet, in memory: agents and programs are known by their tokens even while the
 * database is away. It is read at start, after each change made here, and every few seconds for changes
 * made through another collector. A node keeps its one record object for as long as it exists.
 */
import { ProblemError, TagName, TagValue, type ReportRequest, type Tags } from '@tidemark/protocol';
import type { Clock, Log } from '@tidemark/service';
import { Value } from 'typebox/value';
import { hashToken } from '../http/token.ts';
import type { NodeRecord } from './node.ts';
import type { ApiTokenRow, FleetStore } from './store.ts';

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
  #reading: Promise<void> = Promise.resolve();

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
    const site = agent.site === undefined ? node.site : storable(agent.site);
    const tags = agent.tags === undefined || sameTags(node.tags, agent.tags) ? node.tags : storableTags(agent.tags);
    const version = storable(agent.version);
    const same =
      node.agentVersion === version && node.intervalSeconds === agent.intervalSeconds && node.site === site && sameTags(node.tags, tags);
    if (same) return;
    Object.assign(node, { agentVersion: version, intervalSeconds: agent.intervalSeconds, site, tags });
    this.#unsaved.add(node);
  }

  /** Reads the fleet again, one reading after the other: an earlier one that took longer must not undo a later one. */
  refresh(): Promise<void> {
    this.#reading = this.#reading.catch(() => {}).then(() => this.#read());
    return this.#reading;
  }

  async #read(): Promise<void> {
    const rows = await this.#store.readAll();
    const byName = new Map<string, NodeRecord>();
    for (const row of rows.nodes) {
      const known = this.#byId.get(row.id);
      // What the agent said since is newer than what the store has.
      const record =
        known === undefined ? row : Object.assign(known, this.#unsaved.has(known) ? { name: row.name, state: row.state } : row);
      this.#byId.set(row.id, record);
      if (record.state !== 'retired') byName.set(record.name, record);
    }
    this.#byName = byName;
    this.#byToken = new Map();
    for (const { hash, nodeId, revoked } of rows.nodeTokens) {
      const node = this.#byId.get(nodeId);
      // Made between the two readings by another collector: the next reading has both.
      if (node !== undefined) this.#byToken.set(hash.toString('base64'), { node, revoked });
    }
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
      try {
        await this.#store.saveAgent(node.id, { agentVersion, intervalSeconds, site, tags });
      } catch (error) {
        if (error instanceof ProblemError) throw error;
        // One node's oddity keeps no other's from being saved.
        this.#log.error({ err: error, node: node.name }, 'what an agent says of itself cannot be stored');
      }
      // What the agent said while this was written is written next time.
      const unchanged =
        node.agentVersion === agentVersion && node.intervalSeconds === intervalSeconds && node.site === site && node.tags === tags;
      if (unchanged) this.#unsaved.delete(node);
    }
  }

  /** The time that changes are stamped with. */
  now(): Date {
    return new Date(this.#clock.wallMs());
  }
}

/** PostgreSQL stores no NUL. */
function storable(text: string): string {
  return text.includes('\0') ? text.replaceAll('\0', '\uFFFD') : text;
}

/** The tags that have the documented form; an agent's others are no reason to refuse its reports. */
function storableTags(tags: Tags): Tags {
  const names = Object.keys(tags).filter((name) => Value.Check(TagName, name) && Value.Check(TagValue, tags[name]));
  return Object.fromEntries(names.map((name) => [name, storable(tags[name]!)]));
}

/** The store gives tags back in an order of its own. */
function sameTags(a: Tags, b: Tags): boolean {
  if (a === b) return true;
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}
