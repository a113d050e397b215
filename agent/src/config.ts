/** The agent's options, each declared once: flag, environment, file, help and reference page follow from here. */
import { readFileSync, statSync } from 'node:fs';
import { homedir, hostname } from 'node:os';
import { join } from 'node:path';
import { NodeName, Tags } from '@tidemark/protocol';
import { codeOf, declareOptions, EXIT, LOG_LEVELS, OperationalFailure, type OptionValues } from '@tidemark/service';
import { Type } from 'typebox';
import { HttpEndpointOption, type HttpEndpointConfig } from './probes/http/target.ts';
import type { PostgresConfig } from './probes/postgres.ts';
import type { Route } from './uplink/connections.ts';

const TAG_FORM = 'key=value, the key of letters, digits, "_", ".", "-" and beginning with a letter';
const POSTGRES_URL = '^postgres(ql)?://';

/** The sentence for a PostgreSQL URL that may not stand on a command line, where every user of the machine can read it. */
export function refusePassword(url: string): string | undefined {
  const inAuthority = /^[a-z]+:\/\/[^/?#@:]*:[^@/?#]+@/i.test(url);
  const inQuery = /[?&]password=[^&]/i.test(url);
  if (!inAuthority && !inQuery) return undefined;
  return (
    'a password on the command line can be read by every user of this machine: leave it out of the URL and put it into a file of mode 0600, ' +
    'named in the configuration file (postgres: [{url: …, passwordFile: …}]), or into ~/.pgpass (or the file that PGPASSFILE names)'
  );
}

/** The sentence for an endpoint's URL with a password in it. */
export function refuseHttpPassword(url: string): string | undefined {
  if (!/^[a-z]+:\/\/[^/?#@]*:[^@/?#]+@/i.test(url)) return undefined;
  return (
    'a password on the command line can be read by every user of this machine: put a line "Authorization: …" into a file of mode 0600, ' +
    'named in the configuration file (http: [{url: …, headersFile: …}])'
  );
}

const PostgresServer = Type.Union(
  [
    Type.String({ pattern: POSTGRES_URL }),
    Type.Object(
      {
        url: Type.String({ pattern: POSTGRES_URL }),
        name: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
        passwordFile: Type.Optional(Type.String({ minLength: 1 })),
      },
      { additionalProperties: false },
    ),
  ],
  { wanted: 'postgres://user@host:port/database, or in the file {url, name, passwordFile}' },
);

export const AGENT_OPTIONS = declareOptions({
  server: {
    schema: Type.String({ pattern: '^https?://[^/?#@]+(/[^?#]*)?$', wanted: "the collector's address: http://HOST:PORT or https://HOST" }),
    description: 'address of the collector',
    value: 'url',
  },
  hostname: {
    schema: Type.Intersect([NodeName], { wanted: '1 to 253 printable characters without a slash' }),
    description: "what this node is called (default: the machine's name)",
    value: 'name',
  },
  interval: {
    schema: Type.Number({ minimum: 1, maximum: 3600, wanted: 'a number of seconds from 1 to 3600' }),
    description: 'seconds between two reports',
    value: 'seconds',
    default: 15,
  },
  site: { schema: Type.String({ minLength: 1, maxLength: 100 }), description: 'where this node stands', value: 'name' },
  tag: {
    // The wire lets other keys pass for the sake of later versions; a person's slip is to be said.
    schema: Type.Unsafe<Tags>({ ...Tags, additionalProperties: false, wanted: TAG_FORM }),
    description: 'a tag of this node; may be repeated (in the file: a map)',
    value: 'key=value',
    pairs: true,
    default: {},
  },
  tokenFile: {
    schema: Type.String({ minLength: 1 }),
    description:
      "file with this node's token, or with an enrolment string, which is used once and deleted; without it the agent makes a secret of its own",
    value: 'file',
  },
  postgres: {
    schema: Type.Array(PostgresServer, { maxItems: 100 }),
    description: 'a PostgreSQL server to watch, without a password; may be repeated (in the file also {url, name, passwordFile})',
    value: 'url',
    list: true,
    default: [],
    refuseAsFlag: refusePassword,
  },
  http: {
    schema: Type.Array(HttpEndpointOption, { maxItems: 100 }),
    description:
      'an HTTP endpoint to watch; may be repeated (in the file also {url, name, expectStatus, …}: docs/how-to/http-endpoints.md)',
    value: 'url',
    list: true,
    default: [],
    refuseAsFlag: refuseHttpPassword,
  },
  caFile: {
    schema: Type.String({ minLength: 1 }),
    description: "certificate authorities as PEM that vouch for the collector, in place of the machine's own",
    value: 'file',
  },
  certFile: {
    schema: Type.String({ minLength: 1 }),
    description: 'certificate as PEM that this agent shows, for mutual TLS',
    value: 'file',
    check: ({ certFile, keyFile }) =>
      certFile !== undefined && keyFile === undefined ? [{ path: [], text: 'needs keyFile beside it: its private key' }] : [],
  },
  keyFile: {
    schema: Type.String({ minLength: 1 }),
    description: 'its private key as PEM',
    value: 'file',
    check: ({ certFile, keyFile }) =>
      keyFile !== undefined && certFile === undefined ? [{ path: [], text: 'needs certFile beside it: the certificate of this key' }] : [],
  },
  proxy: {
    schema: Type.String({ pattern: '^http://[^/?#@\\s]+/?$', wanted: 'http://HOST:PORT' }),
    description: 'HTTP proxy between this node and the collector',
    value: 'url',
  },
  dataDir: { schema: Type.String({ minLength: 1 }), description: 'where reports wait until they are stored', value: 'dir' },
  spoolMegabytes: {
    schema: Type.Number({ minimum: 1, maximum: 102_400, wanted: 'a number of megabytes from 1 to 102400' }),
    description: 'size at which the oldest waiting reports are given up',
    value: 'megabytes',
    default: 64,
  },
  spoolHours: {
    schema: Type.Number({ minimum: 0.1, maximum: 168, wanted: 'a number of hours from 0.1 to 168' }),
    description: 'age at which waiting reports are given up',
    value: 'hours',
    default: 24,
  },
  logLevel: {
    schema: Type.Union(
      LOG_LEVELS.map((level) => Type.Literal(level)),
      { wanted: `one of ${LOG_LEVELS.join(', ')}` },
    ),
    description: 'how much is logged',
    value: 'level',
    default: 'info',
  },
  logFormat: {
    schema: Type.Union([Type.Literal('auto'), Type.Literal('json'), Type.Literal('text')], { wanted: 'auto, json or text' }),
    description: 'auto writes lines for people on a terminal and JSON otherwise',
    value: 'format',
    default: 'auto',
  },
});
export type AgentOptionValues = OptionValues<typeof AGENT_OPTIONS>;

/** What a program knows of its surroundings; read in main.ts alone. */
export interface Surroundings {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly platform: NodeJS.Platform;
  /** User id; undefined where there is none. */
  readonly uid: number | undefined;
}

export interface AgentConfig {
  readonly server: URL | undefined;
  readonly hostname: string;
  readonly intervalMs: number;
  readonly site: string | undefined;
  readonly tags: Readonly<Record<string, string>>;
  readonly tokenFile: string | undefined;
  /** How the collector is reached. */
  readonly route: Route;
  readonly postgres: readonly PostgresConfig[];
  readonly http: readonly HttpEndpointConfig[];
  readonly dataDir: string;
  readonly spoolBytesMax: number;
  readonly spoolAgeMsMax: number;
}

/** The file read when no other is named. */
export function defaultConfigFile({ platform, environment }: Surroundings): string {
  return platform === 'win32'
    ? join(environment['ProgramData'] ?? 'C:\\ProgramData', 'Tidemark', 'agent.yaml')
    : '/etc/tidemark/agent.yaml';
}

function defaultDataDir({ platform, environment, uid }: Surroundings): string {
  if (platform === 'win32') return join(environment['ProgramData'] ?? 'C:\\ProgramData', 'Tidemark', 'agent');
  if (uid === 0) return '/var/lib/tidemark/agent';
  return join(environment['XDG_STATE_HOME'] ?? join(homedir(), '.local', 'state'), 'tidemark-agent');
}

/** The options in the form the program works with. */
export function agentConfig(values: AgentOptionValues, surroundings: Surroundings): AgentConfig {
  return {
    server: values.server === undefined ? undefined : new URL(values.server),
    hostname: values.hostname ?? hostname(),
    intervalMs: Math.round(values.interval * 1000),
    site: values.site,
    tags: values.tag,
    tokenFile: values.tokenFile ?? credentialFile(surroundings),
    route: {
      caFile: values.caFile,
      certFile: values.certFile,
      keyFile: values.keyFile,
      proxy: values.proxy === undefined ? undefined : new URL(values.proxy),
    },
    postgres: values.postgres.map((server) => (typeof server === 'string' ? { url: server } : server)),
    http: values.http.map((endpoint) => (typeof endpoint === 'string' ? { url: endpoint } : endpoint)),
    dataDir: values.dataDir ?? defaultDataDir(surroundings),
    spoolBytesMax: Math.round(values.spoolMegabytes * 1024 * 1024),
    spoolAgeMsMax: Math.round(values.spoolHours * 3_600_000),
  };
}

/** The token as systemd hands it over (LoadCredential=token:…), when it does. */
function credentialFile({ environment }: Surroundings): string | undefined {
  const directory = environment['CREDENTIALS_DIRECTORY'];
  if (directory === undefined) return undefined;
  const file = join(directory, 'token');
  try {
    return statSync(file).isFile() ? file : undefined;
  } catch {
    return undefined;
  }
}

/** The token in a file. Throws an OperationalFailure that says what is wrong with it. */
export function readToken(file: string): string {
  let text: string;
  try {
    text = readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new OperationalFailure(`The token file ${file} cannot be read (${codeOf(error) ?? String(error)}).`, EXIT.configuration, {
      cause: error,
    });
  }
  if (text === '') throw new OperationalFailure(`The token file ${file} is empty: put the token of this node into it.`, EXIT.configuration);
  if (!/^[\x21-\x7e]+$/.test(text))
    throw new OperationalFailure(`The token file ${file} must hold one token and nothing else.`, EXIT.configuration);
  return text;
}

/** True when others than the owner may read a file; false where that cannot be told. */
export function isReadableByOthers(file: string, platform: NodeJS.Platform): boolean {
  if (platform === 'win32') return false;
  try {
    return (statSync(file).mode & 0o004) !== 0;
  } catch {
    return false;
  }
}
