/** Whether a database can be used, before anything else is built on it: reachable, not too old, brought to this version's schema. Whatever stands against that is one sentence and an exit code. */
import { ProblemError } from '@tidemark/protocol';
import { EXIT, OperationalFailure, codeOf, sentenceOf, type Log } from '@tidemark/service';
import { migrate, type Migration } from './migrate.ts';
import type { Database } from './pool.ts';

/** The oldest that its makers still mend, and that is tested here. */
const SERVER_VERSION_MIN = 15;

const EXTERNAL_HINT =
  'Check TIDEMARK_DATABASE_URL (or DATABASE_URL, or databaseUrl in the file), and that the server runs and lets this machine in.';
const EMBEDDED_HINT = 'It is the one in the data directory; its own messages are in the log above.';

/** What a database in operation may answer: wrong credentials, no such database or schema, not allowed, no resources, an operator's intervention, a full disk. */
const OPERATIONAL = /^(28|3[DF]|42501|53|57|58)/;

/** Resolves with the names of the migrations it applied. Rejects with an OperationalFailure for everything that an operator can mend. */
export async function makeUsable(database: Database, migrations: readonly Migration[], log: Log, embedded: boolean): Promise<string[]> {
  const hint = embedded ? EMBEDDED_HINT : EXTERNAL_HINT;
  let version: string;
  try {
    [{ version }] = (await database.query<{ version: string }>("SELECT current_setting('server_version') AS version")) as [
      { version: string },
    ];
  } catch (error) {
    // Connecting fails in a hundred ways (names, certificates, methods of authentication), all of them outside of this program.
    throw failureOf(error, hint);
  }
  if (Number.parseInt(version, 10) < SERVER_VERSION_MIN) {
    throw new OperationalFailure(
      `The database is PostgreSQL ${version}; Tidemark needs ${SERVER_VERSION_MIN} or later. Upgrade the server, or store in another one.`,
      EXIT.databaseAway,
    );
  }
  return whileStarting(() => migrate(database, migrations, log), hint);
}

/** Runs a step of the start; a database that goes away meanwhile is one sentence, too. */
export async function whileStarting<T>(step: () => Promise<T>, hint = EXTERNAL_HINT): Promise<T> {
  try {
    return await step();
  } catch (error) {
    const code = codeOf(error instanceof Error && error.cause !== undefined && codeOf(error) === undefined ? error.cause : error);
    const isOperational =
      (error instanceof ProblemError && error.code === 'database_away') || (code !== undefined && OPERATIONAL.test(code));
    throw isOperational ? failureOf(error, hint) : error;
  }
}

function failureOf(error: unknown, hint: string): OperationalFailure {
  const cause = error instanceof ProblemError ? (error.cause ?? error) : error;
  // The message of a refused connection to a name with several addresses is empty.
  const why = (sentenceOf(cause) || (codeOf(cause) ?? 'unknown reason')).replace(/\.$/, '');
  return new OperationalFailure(`The database cannot be used: ${why}. ${hint}`, EXIT.databaseAway, { cause: error });
}
