/**
 * Topology out of what real agents see of real servers, all on one machine: no configuration, no names agreed upon. A→B→C
 * and D off A; then everything that parts their histories.
 */
import { createPostgresProbes, ProbeRunner } from '@tidemark/agent';
import { clusterTopology, type ClusterTopology, type MemberMemory, type Sighting } from '@tidemark/collector';
import type { PostgresReplication, PostgresSettings } from '@tidemark/protocol';
import { createLog, systemClock } from '@tidemark/service';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { PostgresCluster, waitUntil, type PostgresInstance } from './postgres/cluster.ts';

const INTERVAL_MS = 1_000;
const VERSION = PostgresCluster.versions().at(-1)!;

/** Agents and what the collector would know by them. */
class Watch {
  readonly #runners = new Map<string, ProbeRunner>();
  readonly #sightings = new Map<string, Sighting>();
  readonly #nodes: readonly { readonly name: string; readonly servers: readonly PostgresInstance[] }[];
  #memory: Readonly<Record<string, MemberMemory>> = {};

  constructor(nodes: Watch['nodes'], passFile: string) {
    this.#nodes = nodes;
    for (const { name, servers } of nodes) {
      const configs = servers.map((server) => ({ url: server.url, name: server.name }));
      const probes = createPostgresProbes(configs, { hostname: name, passFile, deadlineMs: 3_000 });
      this.#runners.set(name, new ProbeRunner(probes, systemClock, createLog('test', 'silent')));
    }
  }

  get nodes(): readonly { readonly name: string; readonly servers: readonly PostgresInstance[] }[] {
    return this.#nodes;
  }

  /** Every agent reports once, or those named; then one look. */
  async look(only?: readonly string[]): Promise<ClusterTopology> {
    for (const [i, { name }] of this.#nodes.entries()) if (only?.includes(name) ?? true) await this.#report(name, i + 1);
    const now = Date.now();
    const sightings = [...this.#sightings.values()];
    const systemIdentifier = sightings.find(({ document }) => document !== undefined)?.document?.systemIdentifier ?? '';
    const { cluster, memory } = clusterTopology({ systemIdentifier, sightings, memory: this.#memory, now });
    this.#memory = JSON.parse(JSON.stringify(memory)) as typeof memory;
    return cluster;
  }

  /** Looks until it is so, or gives up and says what it was last. */
  until(what: string, condition: (cluster: ClusterTopology) => boolean): Promise<ClusterTopology> {
    return waitUntil(
      async () => {
        const cluster = await this.look();
        if (condition(cluster)) return cluster;
        throw new Error(`${drawn(cluster)}; ${cluster.primary.why}; ${cluster.members.map(({ diverged }) => diverged?.why).join(' ')}`);
      },
      { what },
    );
  }

  async #report(node: string, nodeId: number): Promise<void> {
    const { observations } = await this.#runners.get(node)!.collect();
    const at = Date.now();
    for (const { kind, instance, document } of observations) {
      const id = `${nodeId}/${instance}`;
      const before = this.#sightings.get(id);
      if (kind === 'postgres.settings' && before !== undefined)
        this.#sightings.set(id, { ...before, settings: document as PostgresSettings });
      if (kind !== 'postgres.replication') continue;
      const newest = document as PostgresReplication;
      this.#sightings.set(id, {
        id,
        nodeId,
        nodeName: node,
        site: 'default',
        instance,
        reportedAt: at,
        intervalMs: INTERVAL_MS,
        silent: false,
        newest,
        document: newest.up ? newest : before?.document,
        upAt: newest.up ? at : before?.upAt,
        settings: before?.settings,
      });
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#runners.values()].map((runner) => runner.close()));
  }
}

function drawn(cluster: ClusterTopology): string {
  const names = new Map(cluster.members.map(({ id, name }) => [id, name]));
  return cluster.members
    .filter(({ upstream }) => upstream !== undefined)
    .map(({ name, upstream }) => `${name}${upstream!.connected ? '<' : '~'}${upstream!.id === undefined ? '?' : names.get(upstream!.id)!}`)
    .join(' ');
}

const namesOf = (cluster: ClusterTopology, ids: readonly string[] | undefined): string[] | undefined =>
  ids?.map((id) => cluster.members.find((member) => member.id === id)!.name);

const member = (cluster: ClusterTopology, name: string): ClusterTopology['members'][number] =>
  cluster.members.find((one) => one.name === name)!;

let servers: PostgresCluster;
let a: PostgresInstance;
let b: PostgresInstance;
let c: PostgresInstance;
let d: PostgresInstance;
let watch: Watch;
const write = (server: PostgresInstance): Promise<unknown> => servers.sql(server, 'INSERT INTO written SELECT generate_series(1, 1000)');

beforeAll(async () => {
  servers = new PostgresCluster();
  a = await servers.startPrimary({ version: VERSION, name: 'a' });
  await servers.sql(a, 'CREATE TABLE written (n int)');
  b = await servers.addStandby(a, { name: 'b', slot: 'for_b' });
  c = await servers.addStandby(a, { name: 'c', from: b });
  d = await servers.addStandby(a, { name: 'd', applicationName: 'walreceiver' });
});
afterAll(() => servers.stopAll());
afterEach(() => watch.close());

describe(`PostgreSQL ${VERSION}`, () => {
  const each = (): Watch =>
    new Watch(
      [a, b, c, d].map((server) => ({ name: `node-${server.name}`, servers: [server] })),
      servers.directory,
    );

  test('one agent for all: who follows whom, by slot, process or address', async () => {
    watch = new Watch([{ name: 'box', servers: [a, b, c, d] }], servers.directory);
    const cluster = await watch.until('all edges', (seen) => drawn(seen) === 'box/b<box/a box/c<box/b box/d<box/a');
    expect(cluster.members).toHaveLength(4);
    expect(namesOf(cluster, [cluster.primary.id!])).toEqual(['box/a']);
    expect(cluster.primary.certainty).toBe('sure');
    expect(member(cluster, 'box/b').upstream?.by).toBe('slot');
    // Nobody told D's sender what D is called: that both processes began together tells.
    expect(member(cluster, 'box/d').upstream?.by).toBe('process');
    expect(member(cluster, 'box/d').seenBy?.upstream).toBe(member(cluster, 'box/a').id);
    expect(new Map(member(cluster, 'box/a').slotUsers).get('for_b')).toBe(member(cluster, 'box/b').id);
  });

  test('an agent for each; nobody watches B: it is in the middle all the same', async () => {
    watch = new Watch(
      [a, c, d].map((server) => ({ name: `node-${server.name}`, servers: [server] })),
      servers.directory,
    );
    const cluster = await watch.until('B as seen by A', (seen) => seen.members.length === 4);
    const relay = cluster.members.find(({ sighting }) => sighting === undefined)!;
    expect(relay).toMatchObject({ name: 'b', role: 'replica', root: member(cluster, 'node-a').id });
    expect(new Map(member(cluster, 'node-a').slotUsers).get('for_b')).toBe(relay.id);
    expect(member(cluster, 'node-d').upstream).toMatchObject({ id: member(cluster, 'node-a').id, connected: true });
  });

  test('what parts their histories', async () => {
    watch = each();
    await watch.until('all edges', (seen) => drawn(seen) === 'node-b<node-a node-c<node-b node-d<node-a' && seen.members.length === 4);

    // D is promoted beside A.
    await servers.promote(d);
    await write(a);
    await write(d);
    const beside = await watch.until('split brain', ({ splitBrain }) => splitBrain !== undefined);
    expect(namesOf(beside, beside.splitBrain?.primaries)).toEqual(['node-d', 'node-a']);
    expect(beside.splitBrain?.forkLsn).toBeDefined();
    expect(beside.primary.certainty).toBe('disputed');

    // D is stopped, and A dies: B takes over. A failover is no split brain.
    await servers.stop(d);
    const alone = await watch.until('A alone', ({ primary }) => primary.certainty === 'sure');
    expect(alone.splitBrain).toBeUndefined();
    await servers.kill(a);
    await servers.promote(b);
    const over = await watch.until('B as primary, C behind it', (seen) => {
      expect(seen.splitBrain).toBeUndefined();
      return seen.primary.certainty === 'sure' && drawn(seen).startsWith('node-c<node-b');
    });
    expect(namesOf(over, [over.primary.id!])).toEqual(['node-b']);
    expect(member(over, 'node-c').timeline).toBe(2);

    // The old A comes back as what it was.
    await servers.start(a);
    await write(a);
    await write(b);
    const back = await watch.until('the old primary beside the new', ({ splitBrain }) => splitBrain !== undefined);
    expect(namesOf(back, back.splitBrain?.primaries)).toEqual(['node-a', 'node-b']);

    // Then as a standby that nobody rewound. So is D, whose branch has B's number.
    await servers.stop(a);
    await servers.demote(a, b);
    await servers.start(a);
    await servers.demote(d, b);
    await servers.start(d);
    const parted = await watch.until('A and D as parted', (seen) =>
      ['node-a', 'node-d'].every((name) => member(seen, name).diverged !== undefined),
    );
    expect(parted.splitBrain).toBeUndefined();
    expect(namesOf(parted, [parted.primary.id!])).toEqual(['node-b']);
    expect(member(parted, 'node-c').diverged).toBeUndefined();
    expect(member(parted, 'node-a').diverged?.forkLsn).toBe(back.splitBrain?.forkLsn);
  });
});
