/**
 * `tidemark-agent postgres setup`: the role by which an agent watches a PostgreSQL server, with the least rights that see all of
 * replication. It prints what to run, or with --apply runs it; either may be done again and again. No password is ever shown.
 */
import { unlinkSync } from 'node:fs';
import { resolve } from 'node:path';
import { codeOf, EXIT, OperationalFailure } from '@tidemark/service';
import { Client, escapeIdentifier, escapeLiteral } from 'pg';
import { refusePassword, type Surroundings } from '../config.ts';
import { discoverServers, setupCommand, urlOf, urlTo } from '../probes/postgres/discovery.ts';
import { failureOf } from '../probes/postgres/failure.ts';
import { targetsOf, type Target } from '../probes/postgres/target.ts';
import { makePassword, readPassword, scramVerifier } from './postgres-password.ts';
import { printable } from './wording.ts';

export const CONNECT_TIMEOUT_MS = 5_000;
const CONNECTIONS = 3;
/** Bytes of a name, as PostgreSQL cuts them. */
const NAME_BYTES_MAX = 63;
/** For who makes a role. */
export const SESSION = '-c statement_timeout=10s -c lock_timeout=5s -c search_path=pg_catalog';
/** The verifier, and no password, is in the statement; a log need not have that either. */
const UNLOGGED = [
  "log_statement = 'none'",
  'log_min_duration_statement = -1',
  "log_min_error_statement = 'panic'",
  "pg_stat_statements.track = 'none'",
];

export interface SetupFlags {
  readonly url?: string | undefined;
  readonly role?: string | undefined;
  readonly passwordFile?: string | undefined;
  readonly apply?: boolean | undefined;
}

interface Plan {
  readonly target: Target;
  readonly role: string;
  /** Absolute. */
  readonly passwordFile: string | undefined;
  /** How the agent is to reach it. */
  readonly watchUrl: string;
  readonly surroundings: Surroundings;
}

/** Returns what to print. Throws an OperationalFailure that says what to do. */
export async function postgresSetup(flags: SetupFlags, surroundings: Surroundings): Promise<string> {
  const url = flags.url ?? (await onlyServer());
  const refusal = refusePassword(url);
  if (refusal !== undefined) throw new OperationalFailure(`--url: ${refusal}`, EXIT.usage);
  const role = flags.role ?? 'tidemark';
  if (role === '' || Buffer.byteLength(role) > NAME_BYTES_MAX || /\p{Cc}|\$setup\$/u.test(role) || role.startsWith('pg_'))
    throw new OperationalFailure(`--role must be a name of 1 to ${NAME_BYTES_MAX} bytes that does not begin with pg_.`, EXIT.usage);
  const [target] = targetsOf([{ url }], surroundings.environment['PGPASSFILE']);
  const passwordFile = flags.passwordFile === undefined ? undefined : resolve(flags.passwordFile);
  const plan: Plan = { target: target!, role, passwordFile, watchUrl: watchUrlOf(url, target!, role), surroundings };
  return flags.apply === true ? await apply(plan) : script(plan);
}

async function onlyServer(): Promise<string> {
  const servers = await discoverServers({ platform: process.platform });
  const [only] = servers;
  if (only !== undefined && servers.length === 1) return urlOf(only, 'postgres');
  const which =
    only === undefined
      ? 'none was found on this machine: name it with --url postgresql://postgres@HOST:5432/postgres'
      : `${servers.length} were found on this machine; one of:\n${servers.map((server) => `  ${setupCommand(server)}`).join('\n')}`;
  throw new OperationalFailure(`For which PostgreSQL server? ${which}`, EXIT.usage);
}

/** The given URL with the monitoring role for its user. What it says of TLS stays. */
function watchUrlOf(url: string, { reached, reachedAt }: Target, role: string): string {
  const parameters = new URLSearchParams(/\?(.*)$/.exec(url)?.[1] ?? '');
  for (const name of ['host', 'port', 'user', 'dbname', 'database']) parameters.delete(name);
  const base = urlTo(reachedAt, role, reached.database);
  const more = parameters.toString().replaceAll("'", '%27');
  return more === '' ? base : `${base}${base.includes('?') ? '&' : '?'}${more}`;
}

/** A script for psql, in which all that is not SQL is a comment. */
function script({ target, role, passwordFile, watchUrl }: Plan): string {
  const name = escapeIdentifier(role);
  const asText = escapeLiteral(role);
  const lines = [
    `-- The role by which Tidemark watches PostgreSQL at ${printable(target.reached.address)}. Run this as a superuser on the primary (replicas`,
    '-- get it by themselves), for example by piping it into psql, or add --apply and it is done. Doing it again changes nothing.',
    'DO $setup$',
    'BEGIN',
    `  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = ${asText}) THEN`,
    `    CREATE ROLE ${name};`,
    '  END IF;',
    "  IF current_setting('server_version_num')::int >= 160000 THEN",
    `    GRANT pg_use_reserved_connections TO ${name};`,
    '  END IF;',
    'END',
    '$setup$;',
    `ALTER ROLE ${name} LOGIN CONNECTION LIMIT ${CONNECTIONS};`,
    `GRANT pg_monitor TO ${name};`,
    '',
    '-- Its password, unless it logs in without one (peer on the socket): in psql',
    `--   \\password ${name}`,
    `-- and the same into a file of mode 0600 that only the agent may read. With --apply --password-file FILE both are done for you.`,
    '',
    ...hbaLines(target, role).map((line) => `-- ${printable(line)}`),
    '',
    ...configurationLines(watchUrl, passwordFile).map((line) => `-- ${printable(line)}`),
  ];
  return `${lines.join('\n').replaceAll(/ +$/gm, '')}\n`;
}

/** What pg_hba.conf must say for the role. */
export function hbaLines({ reached: { database }, reachedAt: { host } }: Target, role: string): string[] {
  const word = (text: string): string => (/^[a-z_][a-z0-9_]*$/.test(text) ? text : `"${text.replaceAll('"', '""')}"`);
  const local = host.startsWith('127.') || host === 'localhost' || host === '::1';
  const from = host === '::1' ? '::1/128' : local ? '127.0.0.1/32' : 'ADDRESS-OF-THE-AGENT/32';
  const entry = host.startsWith('/')
    ? `local  ${word(database)}  ${word(role)}  scram-sha-256`
    : `host  ${word(database)}  ${word(role)}  ${from}  scram-sha-256`;
  return [
    'pg_hba.conf must let it in. If no line there does, add this before those that refuse, and SELECT pg_reload_conf():',
    `  ${entry}`,
  ];
}

function configurationLines(watchUrl: string, passwordFile: string | undefined): string[] {
  return [
    "Then in the agent's configuration file (/etc/tidemark/agent.yaml):",
    '  postgres:',
    `    - url: ${watchUrl}`,
    ...(passwordFile === undefined ? [] : [`      passwordFile: ${JSON.stringify(passwordFile)}`]),
    ...(passwordFile === undefined ? [`or on its command line, when no password is asked for: --postgres '${watchUrl}'`] : []),
    `and look: tidemark-agent check replication --url '${watchUrl}'${passwordFile === undefined ? '' : ` --password-file '${passwordFile.replaceAll("'", `'\\''`)}'`}`,
  ];
}

async function apply(plan: Plan): Promise<string> {
  const { target, role, passwordFile, surroundings } = plan;
  const known = passwordFile === undefined ? undefined : readPassword(passwordFile, surroundings.platform);
  const client = new Client({
    ...target.clientConfig(),
    options: SESSION,
    application_name: 'tidemark-agent setup',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  });
  client.on('error', () => {});
  let made = false;
  try {
    await client.connect();
    await refuseReplica(client, target);
    const password = passwordFile === undefined ? undefined : (known ?? makePassword(passwordFile));
    made = password !== undefined && known === undefined;
    const done = await makeRole(client, role, password);
    made = false;
    const said = [
      done,
      ...(passwordFile === undefined
        ? []
        : [
            known === undefined
              ? `Its password is new, and in ${passwordFile} (mode 0600): the agent's user must own that file.`
              : `Its password is the one in ${passwordFile}.`,
          ]),
    ];
    const refused = await tryLogIn(plan);
    return `${[...said, ...(refused === undefined ? [`It can log in at ${target.reached.address}.`] : [`But it cannot log in yet: ${refused}`, ...hbaLines(target, role)]), '', ...configurationLines(plan.watchUrl, passwordFile)].join('\n')}\n`;
  } catch (error) {
    // A password that no role has is of no use, and would be taken for one.
    if (made) unlinkSync(passwordFile!);
    if (error instanceof OperationalFailure) throw error;
    throw new OperationalFailure(trouble(error, plan), EXIT.failed, { cause: error });
  } finally {
    await client.end().catch(() => {});
  }
}

function trouble(error: unknown, { target, role }: Plan): string {
  if (codeOf(error) === '42501')
    return `Role "${target.reached.user}" may not make role "${role}" (${(error as Error).message}): log in as a superuser, for example --url with postgres@.`;
  const { reason, detail } = failureOf(error, target.reached);
  const hint =
    reason === 'authentication' && target.reachedAt.host.startsWith('/')
      ? ` On the socket PostgreSQL usually lets in only the system user of the same name: sudo -u ${printable(target.reached.user)} tidemark-agent postgres setup …`
      : '';
  return `${detail}${hint}`;
}

/** Throws an OperationalFailure when it is one. */
async function refuseReplica(client: Client, target: Target): Promise<void> {
  const follows = await replicaOf(client);
  if (follows === undefined) return;
  throw new OperationalFailure(`${target.reached.address} is a replica${follows}: run this on the primary, the role comes over by itself.`);
}

/** Of a replica, whom it follows in words, as far as is known; undefined of a primary. */
export async function replicaOf(client: Client): Promise<string | undefined> {
  const { rows } = await client.query<{ replica: boolean; upstream: string | null }>(
    `SELECT pg_is_in_recovery() AS replica, (SELECT coalesce(sender_host, '') || ':' || coalesce(sender_port, 0) FROM pg_stat_wal_receiver) AS upstream`,
  );
  const [row] = rows;
  if (row?.replica !== true) return undefined;
  return row.upstream === null ? '' : ` (it follows ${printable(row.upstream)})`;
}

/** Everything or nothing. Tells what was done. */
export async function makeRole(client: Client, role: string, password: string | undefined): Promise<string> {
  const name = escapeIdentifier(role);
  const { rows } = await client.query<{ exists: boolean; super: boolean; me_super: boolean; version: number }>(
    `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1) AS exists, EXISTS (SELECT FROM pg_roles WHERE rolname = $1 AND rolsuper) AS super,
      (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS me_super, current_setting('server_version_num')::int AS version`,
    [role],
  );
  const { exists, super: isSuper, me_super: meSuper, version } = rows[0]!;
  await client.query('BEGIN');
  if (password !== undefined && meSuper) for (const setting of UNLOGGED) await client.query(`SET LOCAL ${setting}`);
  if (!exists) await client.query(`CREATE ROLE ${name}`);
  const secret = password === undefined ? '' : ` PASSWORD ${escapeLiteral(scramVerifier(password))}`;
  await client.query(`ALTER ROLE ${name} LOGIN CONNECTION LIMIT ${CONNECTIONS}${secret}`);
  await client.query(`GRANT pg_monitor TO ${name}`);
  if (version >= 160_000) await client.query(`GRANT pg_use_reserved_connections TO ${name}`);
  await client.query('COMMIT');
  const warning = isSuper ? ' It is a superuser: it needs not be, and should not.' : '';
  const rights = version >= 160_000 ? 'pg_monitor and pg_use_reserved_connections' : 'pg_monitor';
  return `Role ${name} ${exists ? 'was there and' : 'is made; it'} may log in, ${CONNECTIONS} times at once, with ${rights}.${warning}`;
}

/** As the agent will. Returns why it could not. */
async function tryLogIn({ watchUrl, passwordFile, surroundings }: Plan): Promise<string | undefined> {
  const [target] = targetsOf([{ url: watchUrl, passwordFile }], surroundings.environment['PGPASSFILE']);
  const client = new Client({ ...target!.clientConfig(), connectionTimeoutMillis: CONNECT_TIMEOUT_MS });
  client.on('error', () => {});
  try {
    await client.connect();
    return undefined;
  } catch (error) {
    return failureOf(error, target!.reached).detail;
  } finally {
    await client.end().catch(() => {});
  }
}
