/**
 * The observations "postgres.locks" and "postgres.statements" (version 1): who waits for whom on a PostgreSQL server, and
 * what the statements behind the numbers of pg_stat_statements are. No query text of a session is in them: it may hold data.
 */
import { Type, type Static } from 'typebox';

const MaybeString = Type.Union([Type.String(), Type.Null()]);
const MaybeNumber = Type.Union([Type.Number(), Type.Null()]);

export const POSTGRES_LOCKS = 'postgres.locks';

/** Said while sessions wait for locks, and once more, with nobody in it, when nobody waits any longer. */
export const PostgresLocks = Type.Object({
  waiting: Type.Array(
    Type.Object({
      pid: Type.Integer(),
      user: MaybeString,
      database: MaybeString,
      applicationName: MaybeString,
      lock: Type.Union([Type.String(), Type.Null()], {
        description: 'What is locked, as wait_event has it: "relation", "transactionid", "tuple".',
      }),
      waitSeconds: MaybeNumber,
      blockedBy: Type.Array(Type.Integer(), {
        maxItems: 100,
        description: 'Sessions that hold the lock, or wait for it in front; 0 is a prepared transaction.',
      }),
    }),
    { maxItems: 50, description: 'The longest waiting first.' },
  ),
  blockers: Type.Array(
    Type.Object({
      pid: Type.Integer(),
      user: MaybeString,
      database: MaybeString,
      applicationName: MaybeString,
      state: MaybeString,
      transactionSeconds: MaybeNumber,
      stateSeconds: Type.Union([Type.Number(), Type.Null()], { description: 'For how long it has been in this state.' }),
    }),
    { maxItems: 50, description: 'Those of them that wait for no lock themselves: the roots of the tree. The oldest transaction first.' },
  ),
});
export type PostgresLocks = Static<typeof PostgresLocks>;

export const POSTGRES_STATEMENTS = 'postgres.statements';

/** Said when the set of statements that are followed changes, and now and then. Constants are replaced in the texts by $1, $2 (PostgreSQL does). */
export const PostgresStatements = Type.Object({
  statements: Type.Array(
    Type.Object({
      queryId: Type.String({ description: "pg_stat_statements' queryid, a signed number of 64 bits." }),
      user: Type.String(),
      database: Type.String(),
      text: Type.Union([Type.String({ maxLength: 500 }), Type.Null()], {
        description: 'The first 500 characters; null when it is not known.',
      }),
    }),
    { maxItems: 60 },
  ),
});
export type PostgresStatements = Static<typeof PostgresStatements>;
