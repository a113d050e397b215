/**
 * Who belongs to the fleet, in memory: agents and programs are known by their tokens even while the
 * database is away. It is read at start, after each change made here, and every few seconds for changes
 * made through another collector. A node keeps its one record object for as long as it exists.
 */
import { ProblemError, machineCode, type Claim, type ReportRequest, type Tags } from '@tidemark/protocol';
import type { Clock, Log } from '@tidemark/service';
import type { AgentCredential } from '../http/authenticate.ts';
import { hashToken } from '../http/token.ts';
import type { EnrolmentStore } from './enrolment-store.ts';
import type { NodeRecord } from './node.ts';
import { storable, storableTags } from './storable.ts';
import type { ApiTokenRow, ClaimRow, FleetRows, FleetStore } from './store.ts';

const REFRESH_MS = 10_000;

/** Machines that wait are looked through this often, for the first time an hour after the start: they had time to be heard. */
const TIDY_EVERY_MS = 3_600_000;
/** A machine that waits and was not heard of for so long is dropped. */
const SILENT_MS = 7 * 86_400_000;

export type ApiToken = Pick<ApiTokenRow, 'name' | 'role' | 'createdAt'>;

/** A secret as this directory knows it. */
interface KnownCredential extends AgentCredential {
  revoked: boolean;
  readonly hash: Buffer;
  /** Milliseconds since 1970 at which it ends by itself. */
  readonly expiresAt: number | undefined;
  /** The secrets that end when this one is used. */
  predecessors: KnownCredential[];
}

export class FleetDirectory {
  readonly #store: FleetStore;
  readonly #enrolments: EnrolmentStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #byId = new Map<number, NodeRecord>();
  #byName = new Map<string, NodeRecord>();
  #byToken = new Map<string, KnownCredential>();
  #apiTokens = new Map<string, ApiToken>();
  #timer: NodeJS.Timeout | undefined;
  /** Nodes whose agent said something new that is not in the store yet. */
  readonly #unsaved = new Set<NodeRecord>();
  /** Secrets whose successor was used, until the store knows. */
  readonly #ended = new Map<string, Buffer>();
  /** Secrets of machines that wait and were heard of, until the store knows. */
  readonly #asked = new Map<string, Buffer>();
  #tidiedAtMs: number;
  #reading: Promise<void> = Promise.resolve();
  #nextReading: Promise<void> | undefined;

  constructor(store: FleetStore, enrolments: EnrolmentStore, clock: Clock, log: Log) {
    this.#store = store;
    this.#enrolments = enrolments;
    this.#tidiedAtMs = clock.monotonicMs();
    this.#clock = clock;
    this.#log = log;
  }

  async start(): Promise<void> {
    await this.refresh();
    const tick = (): void => {
      this.#timer = setTimeout(() => void this.keepUp().finally(tick), REFRESH_MS);
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
  findByToken(token: string): AgentCredential | undefined {
    return this.#standing(this.#byToken.get(keyOf(hashToken(token))));
  }

  /** Whether an agent's secret is known, whatever it is worth. */
  knows(hash: Buffer): boolean {
    return this.#byToken.has(keyOf(hash));
  }

  #standing(credential: KnownCredential | undefined): KnownCredential | undefined {
    if (credential?.expiresAt !== undefined && credential.expiresAt <= this.#clock.wallMs()) credential.revoked = true;
    return credential;
  }

  /** An agent came with a credential: the one that it replaces is over, and one that waits is there still. */
  agentCame(came: AgentCredential): void {
    const credential = came as KnownCredential;
    if (credential.asks === true) {
      this.#asked.set(keyOf(credential.hash), credential.hash);
      return;
    }
    if (credential.predecessors.length === 0 || credential.revoked || credential.node.state !== 'approved') return;
    for (const former of credential.predecessors) {
      former.revoked = true;
      this.#ended.set(keyOf(former.hash), former.hash);
    }
    credential.predecessors = [];
    this.#log.info({ node: credential.node.name }, "the node's new secret is in use; the former one has ended");
  }

  findApiToken(token: string): ApiToken | undefined {
    return this.#apiTokens.get(keyOf(hashToken(token)));
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

  /**
   * Reads the fleet again, one reading after the other: an earlier one that took longer must not undo a later one.
   * One that has not begun yet serves everyone who asks meanwhile, so that a fleet that enrols at once is not read once a machine.
   */
  refresh(): Promise<void> {
    this.#nextReading ??= this.#reading = this.#reading
      .catch(() => {})
      .then(() => {
        this.#nextReading = undefined;
        return this.#read();
      });
    return this.#nextReading;
  }

  async #read(): Promise<void> {
    const rows = await this.#store.readAll();
    const claims = new Map(rows.claims.map((claim) => [claim.nodeId, toClaim(claim)]));
    const byName = new Map<string, NodeRecord>();
    for (const stored of rows.nodes) {
      const row = { ...stored, claim: claims.get(stored.id) ?? null };
      const known = this.#byId.get(row.id);
      const { name, state, machine, claim } = row;
      // What the agent said since is newer than what the store has.
      const record = known === undefined ? row : Object.assign(known, this.#unsaved.has(known) ? { name, state, machine, claim } : row);
      this.#byId.set(row.id, record);
      if (record.state !== 'retired') byName.set(record.name, record);
    }
    this.#forgetGone(rows.nodes);
    this.#byName = byName;
    this.#readTokens(rows);
    this.#apiTokens = new Map(rows.apiTokens.map(({ hash, ...token }) => [keyOf(hash), token]));
  }

  /** A machine that was never approved leaves nothing behind. */
  #forgetGone(there: readonly NodeRecord[]): void {
    if (there.length === this.#byId.size) return;
    const ids = new Set(there.map(({ id }) => id));
    for (const [id, node] of this.#byId) {
      if (ids.has(id)) continue;
      node.state = 'retired';
      this.#unsaved.delete(node);
      this.#byId.delete(id);
    }
  }

  #readTokens({ nodeTokens, claims }: FleetRows): void {
    const byToken = new Map<string, KnownCredential>();
    const expiring = new Map<number, KnownCredential[]>();
    for (const { hash, nodeId, revoked, endedAs, expiresAt } of nodeTokens) {
      const node = this.#byId.get(nodeId);
      // Made between the two readings by another collector: the next reading has both.
      if (node === undefined) continue;
      const key = keyOf(hash);
      const credential: KnownCredential = {
        node,
        hash,
        expiresAt,
        predecessors: [],
        revoked: revoked || this.#ended.has(key),
        ...(endedAs === null ? {} : { endedAs }),
      };
      byToken.set(key, credential);
      if (expiresAt === undefined || credential.revoked) continue;
      const others = expiring.get(nodeId);
      if (others === undefined) expiring.set(nodeId, [credential]);
      else others.push(credential);
    }
    for (const credential of byToken.values())
      if (credential.expiresAt === undefined && !credential.revoked) credential.predecessors = expiring.get(credential.node.id) ?? [];
    for (const { hash, nodeId } of claims) {
      const node = this.#byId.get(nodeId);
      if (node !== undefined) byToken.set(keyOf(hash), { node, hash, expiresAt: undefined, predecessors: [], revoked: false, asks: true });
    }
    this.#byToken = byToken;
  }

  /** After a change made through this collector: it is in force when the answer is sent. */
  async changed(): Promise<void> {
    await this.refresh();
  }

  /** One round: what is not in the store goes there, and what others wrote there is read. */
  async keepUp(): Promise<void> {
    try {
      await this.#save();
      await this.#tidy();
      await this.refresh();
    } catch (error) {
      if (!(error instanceof ProblemError)) this.#log.error({ err: error }, 'the fleet cannot be read again');
    }
  }

  /** Drops machines that wait and are not heard of any more, when it is time to look. */
  async #tidy(): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#tidiedAtMs < TIDY_EVERY_MS) return;
    const dropped = await this.#enrolments.dropSilent(new Date(this.#clock.wallMs() - SILENT_MS));
    this.#tidiedAtMs = nowMs;
    for (const { name, reason } of dropped)
      this.#log.info({ node: name, reason }, 'a machine that waited to be approved was not heard of for a week; it is no longer listed');
  }

  async #save(): Promise<void> {
    await settle(this.#ended, (hashes) => this.#enrolments.endTokens(hashes, this.now()));
    await settle(this.#asked, (hashes) => this.#enrolments.noteAsked(hashes, this.now()));
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

/** The store gives tags back in an order of its own. */
function sameTags(a: Tags, b: Tags): boolean {
  if (a === b) return true;
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}

const keyOf = (hash: Buffer): string => hash.toString('base64');

/** Hands over what waits; what came meanwhile waits for the next time. */
async function settle(waiting: Map<string, Buffer>, save: (hashes: Buffer[]) => Promise<void>): Promise<void> {
  if (waiting.size === 0) return;
  const taken = [...waiting];
  await save(taken.map(([, hash]) => hash));
  for (const [key] of taken) waiting.delete(key);
}

function toClaim({ reason, machine, address, askedAt, platform, agentVersion }: ClaimRow): Claim {
  return {
    reason,
    machineCode: machineCode(machine ?? undefined),
    address,
    askedAt: new Date(askedAt).toISOString(),
    platform,
    agentVersion,
  };
}
