/**
 * What agents say of PostgreSQL servers, as it may be believed: a document is what its schema says or it is not taken at
 * all. Nothing behind this has to ask again whether a field is there, whatever an agent sends.
 */
import {
  POSTGRES_REPLICATION,
  POSTGRES_SETTINGS,
  POSTGRES_TRACK,
  PostgresReplication,
  PostgresSettings,
  PostgresTrack,
  type Observation,
} from '@tidemark/protocol';
import { Compile } from 'typebox/compile';

export type PostgresSaid =
  | { readonly kind: 'replication'; readonly document: PostgresReplication }
  | { readonly kind: 'settings'; readonly document: PostgresSettings }
  | { readonly kind: 'track'; readonly document: PostgresTrack };

const replication = Compile(PostgresReplication);
const settings = Compile(PostgresSettings);
const track = Compile(PostgresTrack);
/** Anything else would be no more than a word that many could share. */
const SYSTEM_IDENTIFIER = /^\d{1,20}$/;

/** Undefined: it is about something else. `misfit`: it is none that can be read. */
export function readPostgres({ kind, document }: Observation): PostgresSaid | 'misfit' | undefined {
  if (kind === POSTGRES_REPLICATION) {
    if (!replication.Check(document) || !isIdentifier(document.systemIdentifier)) return 'misfit';
    return { kind: 'replication', document };
  }
  if (kind === POSTGRES_SETTINGS) return settings.Check(document) ? { kind: 'settings', document } : 'misfit';
  if (kind !== POSTGRES_TRACK) return undefined;
  return track.Check(document) && isIdentifier(document.systemIdentifier) ? { kind: 'track', document } : 'misfit';
}

const isIdentifier = (text: string | null): boolean => text === null || SYSTEM_IDENTIFIER.test(text);
