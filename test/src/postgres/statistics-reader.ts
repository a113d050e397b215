/**
 * Reads the agent's statistics of a real server without their paces, so that a reading is one call and not a minute. Every
 * reading follows the schemas, names no series twice and does not hold the tests' secret.
 */
import { BlockRecorder, statisticsGroups, type ServerFacts, type Statistics } from '@tidemark/agent';
import {
  POSTGRES_LOCKS,
  POSTGRES_STATEMENTS,
  PostgresLocks,
  PostgresReplication,
  PostgresStatements,
  type Observation,
  type WireValue,
} from '@tidemark/protocol';
import type { Client } from 'pg';
import { Value } from 'typebox/value';
import { expect } from 'vitest';
import { waitUntil } from './cluster.ts';

/** Put wherever a password can stand; no reading may have it. */
export const SECRET = 'hunter2';

export interface Reading {
  readonly values: Map<string, WireValue>;
  readonly document: Partial<PostgresReplication>;
  readonly observations: Pick<Observation, 'kind' | 'document'>[];
  readonly missingRights: string[];
  /** Names of the groups that asked something. */
  readonly asked: string[];
}

export interface Reader {
  read(): Promise<Reading>;
  /** Reads until the condition holds: counters reach the views a moment after what they count. */
  until(condition: (reading: Reading) => boolean, what: string): Promise<Reading>;
}

/** Reads all groups of a server, one after the other, as the agent does when all are due. `client` is this reader's alone. */
export async function readStatistics(client: Client): Promise<Reader> {
  await client.query('SET search_path TO pg_catalog; SET default_transaction_read_only TO on; SET timezone TO UTC; SET jit TO off');
  const facts = await factsOf(client);
  const groups = statisticsGroups();
  const recorder = new BlockRecorder('postgres', 'main');

  async function read(): Promise<Reading> {
    const all: Statistics[] = [];
    const asked: string[] = [];
    for (const group of groups) {
      if (group.roles?.includes(facts.role) === false) continue;
      const text = group.statement(facts);
      if (text === undefined) continue;
      expect(group.statement(facts)).toBe(text);
      const types = { getTypeParser: () => (value: string) => value };
      const { rows } = await client.query<(string | null)[]>({ text, rowMode: 'array', types });
      all.push(await group.read(rows, facts));
      asked.push(group.name);
    }
    for (const statistics of all) statistics.record?.(recorder);
    return checked(recorder, all, asked);
  }

  return {
    read,
    until(condition, what) {
      const ask = async (): Promise<Reading | false> => {
        const reading = await read();
        return condition(reading) && reading;
      };
      return waitUntil(ask, { what });
    },
  };
}

async function factsOf(client: Client): Promise<ServerFacts> {
  const { rows } = await client.query<{ version: string; replica: boolean; all: boolean }>(
    `SELECT current_setting('server_version_num') AS version, pg_is_in_recovery() AS replica, pg_has_role('pg_read_all_stats', 'USAGE') AS all`,
  );
  const { version, replica, all } = rows[0]!;
  return {
    server: 'main',
    versionNumber: Number(version),
    role: replica ? 'replica' : 'primary',
    seesAll: all,
    database: 'postgres',
    local: true,
  };
}

/** What was read, once it is sure that it follows the schemas, names no series twice and holds no secret. */
function checked(recorder: BlockRecorder, all: readonly Statistics[], asked: string[]): Reading {
  const recorded = recorder.take();
  const values = new Map<string, WireValue>();
  recorded?.layout.series.forEach(({ name, labels }, i) => {
    expect(labels[0]).toEqual(['server', 'main']);
    const rest = labels.slice(1).map((pair) => pair.join('='));
    values.set(rest.length === 0 ? name : `${name}{${rest.join(',')}}`, recorded.values[i]!);
  });
  expect(values.size).toBe(recorded?.layout.series.length ?? 0);
  const document = Object.assign({}, ...all.map((statistics) => statistics.document ?? {})) as Partial<PostgresReplication>;
  for (const field of ['archiver', 'wal', 'subscriptions'] as const)
    if (field in document) expect([...Value.Errors(PostgresReplication.properties[field], document[field])]).toEqual([]);
  const observations = all.flatMap((statistics) => statistics.observations ?? []);
  for (const { kind, document: said } of observations)
    expect([...Value.Errors(kind === POSTGRES_LOCKS ? PostgresLocks : PostgresStatements, said)]).toEqual([]);
  expect(JSON.stringify([[...values], document, observations])).not.toContain(SECRET);
  return { values, document, observations, missingRights: all.flatMap((statistics) => statistics.missingRights ?? []), asked };
}

export function locksIn({ observations }: Reading): PostgresLocks | undefined {
  return observations.find(({ kind }) => kind === POSTGRES_LOCKS)?.document as PostgresLocks | undefined;
}

export function statementsIn({ observations }: Reading): PostgresStatements | undefined {
  return observations.findLast(({ kind }) => kind === POSTGRES_STATEMENTS)?.document as PostgresStatements | undefined;
}
