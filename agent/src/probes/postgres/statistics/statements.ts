/**
 * pg_stat_statements: the twenty statements that took most of the server's time, where the extension is in the connected
 * database. A choice stands for ten readings, so that series do not come and go. Texts are read seldom and only of what
 * has its constants replaced: a password in ALTER ROLE stays where it is.
 */
import { POSTGRES_STATEMENTS, type PostgresStatements } from '@tidemark/protocol';
import { metric } from '../../recorder.ts';
import type { Statistics, StatisticsGroup, StatisticsRow } from './group.ts';

const STATEMENT = ['server', 'user', 'datname', 'queryid'];
const calls = metric('pg_stat_statements_calls_total', 'counter', '', 'Number of times executed.', STATEMENT);
const seconds = metric(
  'pg_stat_statements_seconds_total',
  'counter',
  'seconds',
  'Total time spent in the statement, in seconds.',
  STATEMENT,
);
const rowsTotal = metric(
  'pg_stat_statements_rows_total',
  'counter',
  '',
  'Total number of rows retrieved or affected by the statement.',
  STATEMENT,
);

const FOLLOWED_MAX = 20;
/** Read to choose from: those with most time since the statistics were reset. */
const READ_MAX = 300;
const READINGS_PER_CHOICE = 10;
const TEXT_CHARS = 500;
const TEXTS_KEPT_MAX = 1_000;

interface Counted {
  readonly key: string;
  readonly queryId: string;
  readonly user: string;
  readonly database: string;
  readonly calls: number;
  readonly milliseconds: number;
  readonly rows: number;
}

/** What the three groups tell each other. */
class Followed {
  /** Quoted schema of the extension, when it is there and can be used. */
  schema: string | undefined;
  #chosen: readonly string[] = [];
  #atChoice: ReadonlyMap<string, number> | undefined;
  #readings = 0;
  #statements: readonly Counted[] = [];
  /** null: asked for and not to be had. */
  readonly texts = new Map<string, string | null>();

  /** The followed ones among what was read, and whether they were chosen just now. */
  choose(all: readonly Counted[]): { statements: readonly Counted[]; anew: boolean } {
    // The first choice knows only totals, the second what happened since; from then on each stands for a while.
    const anew = this.#readings <= 1 || this.#readings % READINGS_PER_CHOICE === 1;
    if (anew) {
      this.#chosen = chooseStatements(all, this.#atChoice, this.#chosen);
      this.#atChoice = new Map(all.map(({ key, milliseconds }) => [key, milliseconds]));
    }
    this.#readings++;
    const byKey = new Map(all.map((one) => [one.key, one]));
    this.#statements = this.#chosen.map((key) => byKey.get(key)).filter((one) => one !== undefined);
    return { statements: this.#statements, anew };
  }

  get lacksText(): boolean {
    return this.#statements.some(({ queryId }) => !this.texts.has(queryId));
  }

  learn(texts: ReadonlyMap<string, string | null>): void {
    if (this.texts.size > TEXTS_KEPT_MAX) this.texts.clear();
    for (const { queryId } of this.#statements) this.texts.set(queryId, texts.get(queryId) ?? null);
  }

  document(): PostgresStatements {
    return {
      statements: this.#statements.map(({ queryId, user, database }) => ({
        queryId,
        user,
        database,
        text: this.texts.get(queryId) ?? null,
      })),
    };
  }
}

/**
 * Keys of the statements to follow, in a stable order: those that took most time since `since` (their total time then), or
 * of all times without it. Those followed `before` stay while nobody else took any time.
 */
export function chooseStatements(
  all: readonly Pick<Counted, 'key' | 'milliseconds'>[],
  since: ReadonlyMap<string, number> | undefined,
  before: readonly string[],
): string[] {
  const stays = new Set(before);
  const spent = all.map(({ key, milliseconds }) => {
    const then = since?.get(key) ?? 0;
    // Less than then: the statistics were reset.
    return { key, milliseconds: milliseconds < then ? milliseconds : milliseconds - then };
  });
  spent.sort((a, b) => b.milliseconds - a.milliseconds || Number(stays.has(b.key)) - Number(stays.has(a.key)));
  return spent
    .slice(0, FOLLOWED_MAX)
    .map(({ key }) => key)
    .toSorted();
}

/**
 * As much of a statement's text as holds no data. Of what has its constants replaced (SELECT, INSERT, ...) it ends before
 * the first literal that is left nevertheless; of anything else it is the first two words: PostgreSQL keeps those texts
 * whole, passwords included.
 */
export function withoutData(text: string): string {
  const bare = text.replace(/^(?:\s+|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/|\()+/, '');
  if (!/^(?:select|insert|update|delete|merge|with|values|table)\b/i.test(bare)) {
    const [first, second] = bare.match(/^[a-z]+\s+[a-z]+\b|^[a-z]+/i)?.[0].split(/\s+/) ?? [];
    return [first, second, '…'].filter((word) => word !== undefined).join(' ');
  }
  const literal = bare.search(/'|\$(?!\d)/);
  return literal === -1 ? bare : `${bare.slice(0, literal)}…`;
}

const EXTENSION = `SELECT quote_ident(n.nspname), e.extversion, current_setting('pg_stat_statements.max', true), has_schema_privilege(n.oid, 'USAGE')
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'`;

/** The first version of the extension with total_exec_time; an extension can be older than its server. */
const OLDEST_VERSION = 8;

export function statements(): StatisticsGroup[] {
  const followed = new Followed();
  return [
    {
      name: 'statements_extension',
      everyMs: 300_000,
      right: 'pg_monitor',
      // Without the right, other people's statements have no identity.
      statement: ({ seesAll }) => (seesAll ? EXTENSION : undefined),
      read([row]): Statistics {
        const [schema, version, preloaded, maySee] = row ?? [];
        const usable = preloaded !== null && Number(/^1\.(\d+)$/.exec(version ?? '')?.[1] ?? 0) >= OLDEST_VERSION;
        followed.schema = usable && maySee === 't' ? (schema ?? undefined) : undefined;
        return { missingRights: usable && maySee === 'f' ? [`USAGE ON SCHEMA ${schema}`] : [] };
      },
    },
    {
      name: 'statements',
      everyMs: 60_000,
      right: 'SELECT on pg_stat_statements, which everybody has by default',
      statement: ({ seesAll }) =>
        seesAll && followed.schema !== undefined
          ? `SELECT s.queryid, s.userid, s.dbid, pg_get_userbyid(s.userid), d.datname, s.calls, s.milliseconds, s.rows
FROM (SELECT queryid, userid, dbid, sum(calls) AS calls, sum(total_exec_time) AS milliseconds, sum(rows) AS rows
  FROM ${followed.schema}.pg_stat_statements(false) WHERE queryid IS NOT NULL GROUP BY 1, 2, 3 ORDER BY 5 DESC LIMIT ${READ_MAX}) s
JOIN pg_database d ON d.oid = s.dbid`
          : undefined,
      read(rows, { server }): Statistics {
        const { statements: shown, anew } = followed.choose(rows.map(countedFrom));
        return {
          record(block) {
            for (const one of shown) {
              const labels = [server, one.user, one.database, one.queryId];
              block.add(calls, one.calls, ...labels);
              block.add(seconds, one.milliseconds / 1000, ...labels);
              block.add(rowsTotal, one.rows, ...labels);
            }
          },
          // Also when they are the same: a report may have been lost.
          observations: anew && !followed.lacksText ? [observation(followed.document())] : [],
        };
      },
    },
    {
      name: 'statement_texts',
      everyMs: 60_000,
      right: 'SELECT on pg_stat_statements, which everybody has by default',
      statement: ({ seesAll }) =>
        seesAll && followed.schema !== undefined && followed.lacksText
          ? `SELECT queryid, left(query, ${TEXT_CHARS}) FROM ${followed.schema}.pg_stat_statements(true) WHERE queryid IS NOT NULL
ORDER BY total_exec_time DESC LIMIT ${2 * READ_MAX}`
          : undefined,
      read(rows): Statistics {
        followed.learn(
          new Map(rows.map(([queryId, text]) => [queryId ?? '', text === null || text === undefined ? null : withoutData(text)])),
        );
        return { observations: [observation(followed.document())] };
      },
    },
  ];
}

function observation(document: PostgresStatements): NonNullable<Statistics['observations']>[number] {
  return { kind: POSTGRES_STATEMENTS, version: 1, document };
}

function countedFrom([queryId, userId, databaseId, user, databaseName, callCount, milliseconds, rowCount]: StatisticsRow): Counted {
  return {
    key: `${databaseId}/${userId}/${queryId}`,
    queryId: queryId ?? '',
    user: user ?? '',
    database: databaseName ?? '',
    calls: Number(callCount),
    milliseconds: Number(milliseconds),
    rows: Number(rowCount),
  };
}
