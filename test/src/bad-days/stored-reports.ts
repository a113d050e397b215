/** What the store holds of each run of each node, and how that compares with what was sent. */
import type { QueryResultRow } from 'pg';
import { expect } from 'vitest';
import type { RawAgent } from './raw-agent.ts';

export type Ask = <Row extends QueryResultRow>(statement: string) => Promise<Row[]>;

export interface StoredRun {
  node: string;
  bootId: string;
  /** Ascending, one entry a row: a report stored twice is there twice. */
  sequences: number[];
  /** True when some row holds the values of another report. */
  mixedUp: boolean;
}

export async function storedRuns(ask: Ask): Promise<StoredRun[]> {
  const rows = await ask<{ node: string; boot_id: string; sequences: number[]; mixed_up: boolean }>(
    `SELECT n.name AS node, b.boot_id, array_agg(r.sequence ORDER BY r.sequence) AS sequences,
            bool_or(array_length(r.values, 1) = 2 AND r.values[2] <> r.sequence) AS mixed_up
     FROM reports r JOIN boots b ON b.id = r.boot JOIN nodes n ON n.id = r.node_id AND n.id = b.node_id GROUP BY 1, 2`,
  );
  return rows.map((row) => ({ node: row.node, bootId: row.boot_id, sequences: row.sequences, mixedUp: row.mixed_up }));
}

/** Nothing acknowledged is missing, nothing is there twice, no row holds another's values. */
export async function expectNothingLost(
  ask: Ask,
  agents: readonly { name: string; bootId: string; acknowledged: ReadonlySet<number> }[],
): Promise<void> {
  // What was acknowledged until now; what is acknowledged while the store is asked does not count.
  const promised = agents.map(({ name, bootId, acknowledged }) => ({ name, bootId, sequences: [...acknowledged] }));
  const runs = await storedRuns(ask);
  for (const { name, bootId, sequences } of promised) {
    const stored = runs.find((run) => run.bootId === bootId);
    const distinct = new Set(stored?.sequences ?? []);
    expect({ name, missing: sequences.filter((sequence) => !distinct.has(sequence)) }).toEqual({ name, missing: [] });
    expect({ name, twice: (stored?.sequences.length ?? 0) - distinct.size }).toEqual({ name, twice: 0 });
    expect({ name, mixedUp: stored?.mixedUp ?? false }).toEqual({ name, mixedUp: false });
  }
}

/** The store holds everything that these agents ever took, once. */
export async function expectEverythingOnce(ask: Ask, agents: readonly RawAgent[]): Promise<void> {
  await expectNothingLost(ask, agents);
  const runs = await storedRuns(ask);
  for (const { name, bootId, taken } of agents)
    expect({ name, stored: runs.find((run) => run.bootId === bootId)?.sequences }).toEqual({ name, stored: upTo(taken) });
}

export const upTo = (last: number): number[] => Array.from({ length: last }, (_, i) => i + 1);
