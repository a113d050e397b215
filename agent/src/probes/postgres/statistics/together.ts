/**
 * Several things that cost a server next to nothing, asked in one statement: a statement of its own for each would cost
 * agent and server more than what is in them. Each is a subquery with one JSON value, and its reader.
 */
import type { ServerFacts, Statistics, StatisticsGroup } from './group.ts';

export interface Part {
  /** A scalar subquery (in parentheses) that gives JSON; undefined when there is nothing to ask of this server. */
  sql(facts: ServerFacts): string | undefined;
  /** `value` is what the subquery gave; null for SQL's NULL, which json_agg gives for no rows. */
  read(value: unknown, facts: ServerFacts): Statistics;
}

export function together(of: Pick<StatisticsGroup, 'name' | 'everyMs' | 'right'>, parts: readonly Part[]): StatisticsGroup {
  return {
    ...of,
    statement(facts) {
      const columns = parts.map((part) => part.sql(facts)).filter((sql) => sql !== undefined);
      return columns.length === 0 ? undefined : `SELECT ${columns.join(',\n')}`;
    },
    read([row = []], facts) {
      return merged(parts.filter((part) => part.sql(facts) !== undefined).map((part, i) => part.read(json(row[i]), facts)));
    },
  };
}

/** What subqueries put together; null where they had nothing. */
export function json(text: string | null | undefined): unknown {
  return text === null || text === undefined ? null : JSON.parse(text);
}

function merged(all: readonly Statistics[]): Statistics {
  return {
    record(block) {
      for (const statistics of all) statistics.record?.(block);
    },
    document: Object.assign({}, ...all.map(({ document }) => document)),
    observations: all.flatMap(({ observations }) => observations ?? []),
    missingRights: all.flatMap(({ missingRights }) => missingRights ?? []),
  };
}
