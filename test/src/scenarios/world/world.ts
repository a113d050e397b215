/**
 * The servers of one running scenario, fresh ones, each with its agent, and what is measured of them. It knows what really
 * is: who follows whom, and who writes. Everything it makes is gone when it is closed.
 */
import { waitUntil, PostgresCluster, type PostgresInstance, type PostgresVersion } from '../../postgres/cluster.ts';
import { randomOf } from '../../fleet/random.ts';
import type { Form } from '../language/forms.ts';
import type { Scenario, ServerPlan } from '../language/scenario.ts';
import { EXPORTER_ROLE } from '../peer/role.ts';
import { TruthRecorder } from '../truth/record.ts';
import { ServerAgent } from './agent.ts';
import type { WatchedCollector } from './collector.ts';
import { Load } from './load.ts';
import { Sessions } from './sessions.ts';

export const MONITOR = 'tidemark_monitor';
/** A port on which nobody listens. */
const NOWHERE = 'host=127.0.0.1 port=1 user=postgres connect_timeout=2';
/** Walsenders and receivers notice each other's silence within seconds; WAL is switched and checkpointed by nobody but the scenario. */
const QUICK: Readonly<Record<string, string>> = {
  wal_sender_timeout: '5s',
  wal_receiver_timeout: '5s',
  wal_receiver_status_interval: '1s',
  checkpoint_timeout: '30min',
  wal_log_hints: 'on',
  track_commit_timestamp: 'off',
};

export interface WorldOptions {
  readonly scenario: Scenario<Form, Form>;
  readonly version: PostgresVersion;
  readonly seed: number;
  readonly collector: WatchedCollector;
}

interface Member {
  readonly letter: string;
  readonly instance: PostgresInstance;
  readonly agent: ServerAgent;
  readonly node: string;
  readonly slot: string | undefined;
}

export class World {
  readonly cluster = new PostgresCluster();
  readonly load = new Load();
  readonly sessions = new Sessions();
  readonly truth: TruthRecorder;
  readonly random: () => number;
  readonly #options: WorldOptions;
  readonly #members = new Map<string, Member>();
  /** Who really follows whom, by letter, and since when. */
  readonly #follows: { at: number; letter: string; upstream: string | undefined }[] = [];
  #systemIdentifier = '';
  #archive: string | undefined;

  private constructor(options: WorldOptions) {
    this.#options = options;
    this.random = randomOf(options.seed, `${options.scenario.name} ${options.version}`);
    this.truth = new TruthRecorder(this.random);
  }

  /** Builds the servers and starts their agents; resolves when all replicas stream and every agent was heard. */
  static async build(options: WorldOptions): Promise<World> {
    const world = new World(options);
    try {
      for (const plan of options.scenario.servers) await world.#addPlanned(plan);
      await world.#untilReported();
      return world;
    } catch (error) {
      await world.close();
      throw error;
    }
  }

  get systemIdentifier(): string {
    return this.#systemIdentifier;
  }

  get letters(): string[] {
    return [...this.#members.keys()];
  }

  get collector(): WatchedCollector {
    return this.#options.collector;
  }

  get version(): PostgresVersion {
    return this.#options.version;
  }

  instance(letter: string): PostgresInstance {
    return this.#member(letter).instance;
  }

  agent(letter: string): ServerAgent {
    return this.#member(letter).agent;
  }

  /** The name of its node; what is published calls the server so. */
  nodeOf(letter: string): string {
    return this.#member(letter).node;
  }

  letterOf(node: string): string | undefined {
    return [...this.#members.values()].find((member) => member.node === node)?.letter;
  }

  /** A text of the collector's with the letters of the scenario instead of the nodes' names. */
  inLetters(text: string): string {
    return [...this.#members.values()].reduce((said, { node, letter }) => said.replaceAll(node, letter), text);
  }

  /** The directory that stands for {archive} in settings. */
  archive(): string {
    this.#archive ??= this.cluster.makeDirectory('archive');
    return this.#archive;
  }

  /** Whom it really follows at the end of its chain at that moment; itself when it writes. Undefined: that has just changed. */
  rootAt(letter: string, steadyMs: number): string {
    const upstreamOf = (of: string): string | undefined =>
      this.#follows.findLast(({ at, letter: who }) => who === of && at <= steadyMs)?.upstream;
    let root = letter;
    for (let next = upstreamOf(root), hops = 0; next !== undefined && hops < 10; next = upstreamOf(root), hops++) root = next;
    return root;
  }

  /** Notes that it follows somebody else from now on, or nobody. */
  noteFollows(letter: string, upstream: string | undefined): void {
    this.#follows.push({ at: performance.now(), letter, upstream });
  }

  upstreamOf(letter: string): string | undefined {
    return this.#follows.findLast(({ letter: who }) => who === letter)?.upstream;
  }

  /** Points the receiver of a running replica at a server, or nowhere. */
  async connectTo(letter: string, upstream: string | undefined): Promise<void> {
    const conninfo = upstream === undefined ? NOWHERE : this.cluster.conninfo(this.instance(upstream), letter.toLowerCase());
    await this.cluster.configure(this.instance(letter), { primary_conninfo: conninfo });
  }

  /** A copy of a server's disk as a server of its own. It has an agent, and nobody told it that it is a copy. */
  async clone(letter: string, as: string): Promise<void> {
    const instance = await this.cluster.cloneFiles(this.instance(letter), as.toLowerCase());
    await this.#join(as, instance, undefined);
    await this.cluster.start(instance);
    this.agent(as).start();
  }

  async close(): Promise<void> {
    const undo = [
      () => this.truth.stop(),
      () => this.load.stopAll(),
      () => this.sessions.closeAll(),
      ...[...this.#members.values()].map(
        ({ agent }) =>
          () =>
            agent.stop(),
      ),
      () => this.cluster.stopAll(),
      ...[...this.#members.values()].map(
        ({ node }) =>
          () =>
            this.collector.retireNode(node).catch(() => {}),
      ),
    ];
    this.cluster.thaw();
    for (const step of undo) await step();
  }

  async #addPlanned({ name, from, slot, settings }: ServerPlan): Promise<void> {
    const filled = Object.fromEntries(
      Object.entries({ ...QUICK, ...settings }).map(([key, value]) => [
        key,
        value.includes('{archive}') ? value.replaceAll('{archive}', this.archive()) : value,
      ]),
    );
    const own = name.toLowerCase();
    if (from === undefined) {
      const instance = await this.cluster.startPrimary({ version: this.version, name: own, settings: filled });
      await this.cluster.sql(instance, `CREATE ROLE ${MONITOR} LOGIN CONNECTION LIMIT 3`);
      await this.cluster.sql(instance, `GRANT pg_monitor TO ${MONITOR}`);
      await this.cluster.sql(instance, `CREATE ROLE ${EXPORTER_ROLE} LOGIN IN ROLE pg_monitor`);
      if (this.version >= 16) await this.cluster.sql(instance, `GRANT pg_use_reserved_connections TO ${MONITOR}`);
      await TruthRecorder.prepare(instance);
      const rows = await this.cluster.sql<{ id: string }>(instance, 'SELECT system_identifier::text AS id FROM pg_control_system()');
      this.#systemIdentifier = rows[0]!.id;
      await this.#join(name, instance, undefined);
    } else {
      const upstream = this.instance(from);
      const instance = await this.cluster.addStandby(upstream, {
        name: own,
        from: upstream,
        settings: filled,
        ...(slot === undefined ? {} : { slot }),
      });
      await this.#join(name, instance, slot);
      this.noteFollows(name, from);
    }
    this.agent(name).start();
  }

  async #join(letter: string, instance: PostgresInstance, slot: string | undefined): Promise<void> {
    const { scenario, collector } = this.#options;
    const node = `${letter.toLowerCase()}.${scenario.name}-${this.version}`;
    const access = await collector.addNode(node);
    const agent = new ServerAgent({
      node,
      access,
      postgresUrl: `postgresql://${MONITOR}@${instance.host}:${instance.port}/postgres`,
      intervalMs: scenario.intervalMs,
      phaseMs: Math.floor(this.random() * scenario.intervalMs),
      random: this.random,
    });
    this.#members.set(letter, { letter, instance, agent, node, slot });
    this.truth.watch(letter, instance);
  }

  async #untilReported(): Promise<void> {
    await waitUntil(
      async () => {
        const { replication } = await this.collector.next();
        const cluster = replication.clusters.find(({ systemIdentifier }) => systemIdentifier === this.#systemIdentifier);
        const known = new Set(cluster?.instances.filter(({ seenAt }) => seenAt !== null).map(({ node }) => node));
        return [...this.#members.values()].every(({ node }) => known.has(node));
      },
      { what: 'every agent to be heard', timeoutMs: 30_000 },
    );
  }

  #member(letter: string): Member {
    const member = this.#members.get(letter);
    if (member === undefined) throw new Error(`There is no server ${letter} (yet)`);
    return member;
  }
}
