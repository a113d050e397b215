/** A real database with the real way in, for tests of what is read back out of it. */
import { randomUUID } from 'node:crypto';
import { layoutHash, type Layout, type Observation, type Report, type SeriesDescription } from '@tidemark/protocol';
import { ManualClock } from '@tidemark/service';
import { pino } from 'pino';
import { Partitions } from '../db/partitions.ts';
import type { Database } from '../db/pool.ts';
import { createTestDatabase } from '../db/testing.ts';
import type { NodeRecord } from '../fleet/node.ts';
import { ReportIntake } from '../reports/intake.ts';
import { ReportWriter } from '../reports/writer.ts';
import { ReportStream, type AcceptedReport } from '../stream/stream.ts';

export const NOW = Date.UTC(2026, 5, 1, 12);
const log = pino({ level: 'silent' });

export function blockOf(probe: string, series: readonly Partial<SeriesDescription>[], instance = ''): Layout {
  const layout = {
    probe,
    instance,
    series: series.map((one) => ({ name: 'm', labels: [], unit: 'bytes', type: 'gauge' as const, help: 'Help.', ...one })),
  };
  return { hash: layoutHash(layout), ...layout };
}

export interface Taken {
  sequence: number;
  at: number;
  blocks: readonly (readonly [Layout, readonly unknown[]])[];
  observations?: Observation[];
  bootId?: string;
}

export class StoredFleet {
  readonly database: Database;
  readonly clock = new ManualClock(NOW);
  readonly published: AcceptedReport[] = [];
  readonly nodes: NodeRecord[] = [];
  readonly #writer: ReportWriter;
  readonly #intake: ReportIntake;
  readonly #boots = new Map<NodeRecord, string>();

  static async create(): Promise<StoredFleet> {
    return new StoredFleet((await createTestDatabase()).database);
  }

  constructor(database: Database) {
    const { clock, published } = this;
    this.database = database;
    const stream = new ReportStream();
    stream.subscribe({ name: 'test', accept: (report) => void published.push(report) });
    const tables = [
      { name: 'reports' as const, keepDays: 30 },
      { name: 'observations' as const, keepDays: 30 },
      { name: 'tracks' as const, keepDays: 2 },
    ];
    const partitions = new Partitions(database, tables, clock, log);
    const metrics = { batchCommitted() {}, reports() {}, samples() {} };
    this.#writer = new ReportWriter({ database, partitions, clock, log, metrics, onStoreChanged() {}, gatherMs: 1 });
    this.#intake = new ReportIntake({ database, stream, writer: this.#writer, clock, log, metrics, onHeard() {} });
  }

  all(): Iterable<NodeRecord> {
    return this.nodes;
  }

  byName(name: string): NodeRecord | undefined {
    return this.nodes.find((node) => node.name === name && node.state !== 'retired');
  }

  byId(id: number): NodeRecord | undefined {
    return this.nodes.find((node) => node.id === id);
  }

  async addNode(name: string, site = ''): Promise<NodeRecord> {
    const sql = 'INSERT INTO nodes (name, site, created_at, state_changed_at) VALUES ($1, $2, now(), now()) RETURNING id';
    const [row] = await this.database.query<{ id: number }>(sql, [name, site]);
    const node: NodeRecord = {
      id: row!.id,
      name,
      site,
      state: 'approved',
      tags: {},
      createdAt: NOW,
      agentVersion: '1',
      intervalSeconds: 15,
    };
    this.nodes.push(node);
    return node;
  }

  /** Sends reports as an agent does whose clock is right, and throws when one is not committed. */
  async take(node: NodeRecord, taken: readonly Taken[]): Promise<void> {
    const known = this.#boots.get(node) ?? randomUUID();
    this.#boots.set(node, known);
    for (let first = 0; first < taken.length; first += 500) {
      const chunk = taken.slice(first, first + 500);
      const sentAt = this.clock.wallMs();
      const reports = chunk.map(({ sequence, at, blocks, observations = [], bootId = known }): Report => ({
        bootId,
        sequence,
        takenAt: at,
        monotonicMs: at - NOW + 1e9,
        blocks: blocks.map(([layout, values]) => ({ layout: layout.hash, values: [...values] })),
        observations,
      }));
      const layouts = [...new Set(chunk.flatMap(({ blocks }) => blocks.map(([layout]) => layout)))];
      const bootId = chunk.at(-1)!.bootId ?? known;
      const agent = { version: '1', intervalSeconds: 15 };
      const answer = await this.#intake.take(node, { agent, bootId, sentAt, sentMonotonicMs: sentAt - NOW + 1e9, layouts, reports });
      const count = answer.committed.reduce((sum, { sequences }) => sum + sequences.length, 0);
      if (count !== chunk.length) throw new Error(`not all committed: ${JSON.stringify(answer)}`);
    }
  }

  async close(): Promise<void> {
    await this.#writer.stop();
  }
}
