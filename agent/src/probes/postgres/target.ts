/**
 * Where a PostgreSQL server is and how to log in: from the configured URL, as the pg library reads it. A
 * password is looked up anew for every connection, so that a changed one needs no restart, and goes nowhere else.
 */
import { readFile, stat } from 'node:fs/promises';
import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';
import { EXIT, OperationalFailure, codeOf, sentenceOf } from '@tidemark/service';
import { Client, type ClientConfig } from 'pg';
import { Refusal, type Reached } from './failure.ts';

export interface PostgresConfig {
  /** `postgres://user@host:port/database?sslmode=…`, or `postgres:///database?host=/directory/of/the/socket`. */
  url: string;
  /** How to call the server; its host and port unless told. */
  name?: string | undefined;
  /** A file whose first line is the password. */
  passwordFile?: string | undefined;
}

export interface Target {
  readonly name: string;
  readonly reached: Reached;
  /** A host, or a socket's directory, and the port. */
  readonly reachedAt: { readonly host: string; readonly port: number };
  /** What to give to a pg Client. Throws when a certificate that the URL names cannot be read. */
  clientConfig(): ClientConfig;
}

const NAME_CHARS = 200;
/** In the order of design: bounded statements and waits, nothing written, nothing found by a search path. */
const SESSION_SETTINGS = {
  statement_timeout: '3s',
  lock_timeout: '250ms',
  idle_in_transaction_session_timeout: '5s',
  default_transaction_read_only: 'on',
  jit: 'off',
  search_path: 'pg_catalog',
  DateStyle: 'ISO',
  TimeZone: 'UTC',
};
const SESSION_OPTIONS = Object.entries(SESSION_SETTINGS)
  .map(([name, value]) => `-c ${name}=${value}`)
  .join(' ');
const KEEP_ALIVE_AFTER_MS = 10_000;

/** Throws an OperationalFailure when the configuration cannot be meant: no such URL, or one name twice. */
export function targetsOf(configs: readonly PostgresConfig[], passFile = defaultPassFile()): Target[] {
  const targets = configs.map((config) => targetOf(config, passFile));
  const seen = new Set<string>();
  for (const { name } of targets) {
    if (seen.has(name)) {
      throw new OperationalFailure(
        `Two PostgreSQL servers are called "${name}". Give each a name of its own in the configuration.`,
        EXIT.configuration,
      );
    }
    seen.add(name);
  }
  return targets;
}

/** Where libpq looks for passwords unless PGPASSFILE says otherwise. */
export function defaultPassFile(): string {
  return process.platform === 'win32' ? join(homedir(), 'AppData', 'Roaming', 'postgresql', 'pgpass.conf') : join(homedir(), '.pgpass');
}

function targetOf(config: PostgresConfig, passFile: string): Target {
  const client = parse(config.url);
  const isSocket = client.host.startsWith('/');
  const port = client.port;
  const user = client.user || userInfo().username;
  const database = client.database || user;
  const host = isSocket ? 'localhost' : client.host.includes(':') ? `[${client.host}]` : client.host;
  const name = config.name ?? `${host}:${port}`;
  if (name === '' || name.length > NAME_CHARS) {
    throw new OperationalFailure(`A PostgreSQL server's name must have 1 to ${NAME_CHARS} characters.`, EXIT.configuration);
  }
  const reached = { address: isSocket ? `${client.host}/.s.PGSQL.${port}` : `${host}:${port}`, user, database };
  return {
    name,
    reached,
    reachedAt: { host: client.host, port },
    clientConfig() {
      // Parsed anew, so that renewed certificates are read. What comes out is given piece by piece: a
      // connection string would override the password with its own, even when it has none.
      const { host: asParsed, ssl, password: found } = parse(config.url);
      // The library also takes PGPASSWORD: what stands in an environment is read by every process of its user.
      const password = hasPassword(config.url) ? found : undefined;
      const entry = { hosts: isSocket ? [asParsed, 'localhost'] : [asParsed], port, database, user };
      return {
        host: asParsed,
        port,
        user,
        database,
        ssl,
        password:
          password && config.passwordFile === undefined ? password : () => findPassword(config.passwordFile, passFile, entry, reached),
        application_name: 'tidemark-agent',
        options: SESSION_OPTIONS,
        keepAlive: true,
        keepAliveInitialDelayMillis: KEEP_ALIVE_AFTER_MS,
      };
    },
  };
}

const hasPassword = (url: string): boolean => /^[a-z]+:\/\/[^/?#@:]*:[^@/?#]+@/i.test(url) || /[?&]password=[^&]/.test(url);

/** Lets the pg library read the URL. A Client that is not connected holds nothing open. */
function parse(url: string): Client {
  // The library takes anything for a path below its own default URL; what nobody can mean is refused here.
  if (!/^(postgres(ql)?|socket):\/\/|^\//.test(url)) {
    throw new OperationalFailure('A PostgreSQL URL must begin with postgres:// (postgres://user@host:5432/database).', EXIT.configuration);
  }
  try {
    return new Client({ connectionString: url });
  } catch (error) {
    // Its message may quote the URL only where Node does; the URL's own text is never repeated.
    const why = codeOf(error) === 'ERR_INVALID_URL' ? 'it is not a URL' : sentenceOf(error);
    throw new OperationalFailure(`Cannot use a PostgreSQL URL: ${why}.`, EXIT.configuration);
  }
}

interface PassEntry {
  readonly hosts: readonly string[];
  readonly port: number;
  readonly database: string;
  readonly user: string;
}

/** Called when the server asks for a password, and not before: with peer or trust there need not be one. */
async function findPassword(passwordFile: string | undefined, passFile: string, wanted: PassEntry, reached: Reached): Promise<string> {
  if (passwordFile !== undefined) {
    const [first = ''] = (await readSecret(passwordFile)).split(/\r?\n/, 1);
    if (first === '') throw new Refusal('authentication', `The password file ${passwordFile} is empty.`);
    return first;
  }
  const listed = await listedPassword(passFile, wanted);
  if (listed === undefined) {
    throw new Refusal(
      'authentication',
      `${reached.address} asks for the password of role "${reached.user}" and none is configured: set passwordFile in the configuration, or add a line to ${passFile}.`,
    );
  }
  return listed;
}

async function listedPassword(passFile: string, wanted: PassEntry): Promise<string | undefined> {
  const found = await stat(passFile).catch(() => undefined);
  if (found === undefined) return undefined;
  if (process.platform !== 'win32' && (found.mode & 0o077) !== 0) {
    throw new Refusal('authentication', `${passFile} can be read by others, so it is not used: chmod 600 ${passFile}.`);
  }
  return passwordIn(await readSecret(passFile), wanted);
}

async function readSecret(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new Refusal('authentication', `Cannot read the password from ${path} (${codeOf(error) ?? 'error'}).`);
  }
}

/** The first line of a .pgpass file (host:port:database:user:password, `*` for any) that fits. */
export function passwordIn(content: string, wanted: PassEntry): string | undefined {
  for (const line of content.split(/\r?\n/)) {
    if (line.startsWith('#')) continue;
    const fields = [...line.matchAll(/(?:^|:)((?:\\.|[^\\:])*)/g)].map((match) => match[1]!.replace(/\\(.)/g, '$1'));
    if (fields.length < 5) continue;
    const [host = '', port, database, user, password = ''] = fields;
    const fits = (field: string | undefined, value: string): boolean => field === '*' || field === value;
    if (
      (host === '*' || wanted.hosts.includes(host)) &&
      fits(port, String(wanted.port)) &&
      fits(database, wanted.database) &&
      fits(user, wanted.user)
    ) {
      return password;
    }
  }
  return undefined;
}
