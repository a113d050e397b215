/** The observation "postgres.discovered" (version 1): PostgreSQL servers of a machine that its agent found and does not watch. */
import { Type, type Static } from 'typebox';

export const POSTGRES_DISCOVERED = 'postgres.discovered';

/** Said every ten minutes, and with no server in it when there is none (any more). One with `watched: true` is never in it today. */
export const PostgresDiscovered = Type.Object({
  servers: Type.Array(
    Type.Object({
      address: Type.String({ description: 'The path of a socket, or an address and a port of this machine.' }),
      how: Type.String({ description: 'By what it was found: "socket", "postmaster.pid", "port", "published port" (in a container).' }),
      watched: Type.Boolean(),
      command: Type.String({ description: 'What to run on the machine to have it watched.' }),
    }),
    { maxItems: 50 },
  ),
});
export type PostgresDiscovered = Static<typeof PostgresDiscovered>;
