/**
 * The observation "postgres.settings" out of pg_settings. primary_conninfo holds a password in clear: host
 * and port are taken from it here, and the rest is forgotten.
 */
import type { PostgresSettings } from '@tidemark/protocol';
import type { Row } from './queries.ts';

type SettingRow = [name: string, value: string | null, unit: string | null, source: string | null, pendingRestart: boolean];

export function settingsFrom(row: Row): PostgresSettings {
  const settings = row['settings'];
  return {
    insufficientPrivilege: row['sees_all'] !== 't',
    settings: (typeof settings === 'string' ? (JSON.parse(settings) as SettingRow[]) : []).map(
      ([name, value, unit, source, pendingRestart]) => ({
        name,
        value,
        unit,
        source,
        pendingRestart,
      }),
    ),
    primary: primaryOf(row['conninfo'] ?? ''),
  };
}

/** Host and port as primary_conninfo names them, in either of libpq's two forms; several are separated by commas. */
export function primaryOf(conninfo: string): PostgresSettings['primary'] {
  const uri = /^postgres(?:ql)?:\/\/(?:[^@/?]*@)?([^/?]*)(?:\/[^?]*)?(?:\?(.*))?$/.exec(conninfo.trim());
  const named = uri === null ? keywordsOf(conninfo) : new Map(new URLSearchParams(uri[2] ?? ''));
  let host = named.get('host') ?? named.get('hostaddr') ?? null;
  let port = named.get('port') ?? null;
  const listed = (uri?.[1] ?? '').split(',').map((entry) => /^(\[.*\]|[^:]*)(?::(\d*))?$/.exec(entry));
  if (uri !== null && uri[1] !== '' && listed.every((entry) => entry !== null)) {
    host ??= listed.map((entry) => decoded(entry[1]!)).join(',');
    if (listed.some((entry) => entry[2])) port ??= listed.map((entry) => entry[2] ?? '').join(',');
  }
  return host === null && port === null ? null : { host, port };
}

/** `key = value` pairs; a value may be quoted, and a backslash takes the next character as it is. */
function keywordsOf(conninfo: string): Map<string, string> {
  const pairs = conninfo.matchAll(/([a-z_]+)\s*=\s*(?:'((?:\\.|[^'\\])*)'|((?:\\.|[^\s\\])*))/gs);
  return new Map([...pairs].map(([, key, quoted, plain]) => [key!, (quoted ?? plain ?? '').replace(/\\(.)/gs, '$1')]));
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
