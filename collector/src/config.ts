/** The collector's options, declared once: flags, environment, file, help and reference page all come from here. */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import {
  EXIT,
  LOG_LEVELS,
  OperationalFailure,
  codeOf,
  declareOptions,
  sentenceOf,
  type LoadedOptions,
  type Mistake,
  type OptionDeclaration,
  type OptionValues,
} from '@tidemark/service';
import { Type } from 'typebox';
import type { ListenAddress } from './http/listen.ts';
import { asciiName } from './http/tls-authority.ts';
import { channelsOption } from './notify/channels/index.ts';
import { overrideOptions, ruleOptions } from './rules/options.ts';

export const COLLECTOR_FILE = '/etc/tidemark/collector.yaml';

/** `host:port`, `[v6]:port`, `:port` or a port alone. */
const LISTEN = /^(?:(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]*)):)?([0-9]{1,5})$/;

function isListenAddress(text: string): boolean {
  const [matched, v6, , port] = LISTEN.exec(text) ?? [];
  return matched !== undefined && (v6 === undefined || isIP(v6) === 6) && Number(port) <= 65_535;
}

function isAddressOrNetwork(text: string): boolean {
  const [, address, bits] = /^([0-9a-fA-F:.]+)(?:\/([0-9]{1,3}))?$/.exec(text) ?? [];
  const family = isIP(address ?? '');
  return family !== 0 && (bits === undefined || Number(bits) <= (family === 4 ? 32 : 128));
}

/** An address without a user, a query or a fragment: links are made by adding to it. */
function isBaseUrl(text: string): boolean {
  return /^https?:\/\/[^/?#@\s]+(\/[^?#\s]*)?$/.test(text) && URL.canParse(text);
}

/** The sentence for a PostgreSQL URL with a password in it (as it is, percent-encoded, or as a parameter). */
function refusePassword(url: string): string | undefined {
  const inAuthority = /:\/\/[^/?#@:]*:[^?]+@/.test(url);
  const inQuery = /[?&](ssl)?password=[^&]/i.test(url);
  if (!inAuthority && !inQuery) return undefined;
  return 'a password on a command line can be read by every user of the machine: put the URL into TIDEMARK_DATABASE_URL, or into the configuration file with mode 0600';
}

/** What is only asked for with some kinds of TLS: given with another, it would silently do nothing. */
function onlyWith(option: string, kinds: readonly string[]): NonNullable<OptionDeclaration['check']> {
  return (values) => {
    const given = values[option];
    const { tls } = values;
    const isGiven = given !== undefined && !(Array.isArray(given) && given.length === 0);
    if (!isGiven || typeof tls !== 'string' || kinds.includes(tls)) return [];
    return [{ path: [], text: `does nothing with tls: ${tls}; set tls: ${kinds.join(' or tls: ')}, or leave this out` }];
  };
}

/** `tls: files` without its files. */
function needsFiles({ tls, tlsCert, tlsKey }: Readonly<Record<string, unknown>>): Mistake[] {
  const missing = [...(tlsCert === undefined ? ['tlsCert'] : []), ...(tlsKey === undefined ? ['tlsKey'] : [])];
  if (tls !== 'files' || missing.length === 0) return [];
  return [
    { path: [], text: `files needs a certificate and its key; ${missing.join(' and ')} ${missing.length === 1 ? 'is' : 'are'} not set` },
  ];
}

export const collectorOptions = declareOptions({
  listen: {
    // In a file a port alone is a number.
    schema: Type.Union([Type.Refine(Type.String(), isListenAddress), Type.Integer({ minimum: 0, maximum: 65_535 })], {
      wanted: 'host:port, :port or a port, for example 0.0.0.0:5000',
    }),
    description: 'address and port to listen on',
    value: 'address',
    default: '0.0.0.0:5000',
  },
  publicUrl: {
    schema: Type.Refine(Type.String({ wanted: 'an http:// or https:// address, for example https://monitor.example' }), isBaseUrl),
    description: 'what this collector is called from outside: the only address that is ever put into links and commands',
    value: 'url',
  },
  trustedProxies: {
    schema: Type.Array(
      Type.Refine(Type.String({ wanted: 'an address or a network, for example 127.0.0.1 or 10.0.0.0/8' }), isAddressOrNetwork),
      { maxItems: 50 },
    ),
    description: 'addresses of reverse proxies in front, whose X-Forwarded-For and X-Forwarded-Proto are believed',
    value: 'address',
    list: true,
    default: [],
  },
  enrollment: {
    schema: Type.Union([Type.Literal('open'), Type.Literal('approve'), Type.Literal('token')], { wanted: 'open, approve or token' }),
    description: 'machines that ask to join without an enrolment token: open lets them in, approve has a person decide, token refuses them',
    value: 'policy',
    default: 'approve',
  },
  movedTo: {
    schema: Type.Refine(Type.String({ wanted: 'an http:// or https:// address, for example https://new.example' }), isBaseUrl),
    description: 'where this collector has moved to: its agents are told, and report there once that address takes them',
    value: 'url',
  },
  tls: {
    schema: Type.Union([Type.Literal('off'), Type.Literal('files'), Type.Literal('self-made')], { wanted: 'off, files or self-made' }),
    description:
      'HTTPS: with the certificate of tlsCert and tlsKey, or with one signed by an authority of its own, which enrolment strings pin',
    value: 'kind',
    default: 'off',
    check: needsFiles,
  },
  tlsCert: {
    schema: Type.String({ minLength: 1 }),
    description: 'certificate chain as PEM; read again when it changes',
    value: 'file',
    check: onlyWith('tlsCert', ['files']),
  },
  tlsKey: {
    schema: Type.String({ minLength: 1 }),
    description: 'its private key as PEM',
    value: 'file',
    check: onlyWith('tlsKey', ['files']),
  },
  tlsNames: {
    schema: Type.Array(
      Type.Refine(
        Type.String({ wanted: 'a host name or an address, for example monitor.example' }),
        (name) => asciiName(name) !== undefined,
      ),
      { maxItems: 50 },
    ),
    description: 'further names and addresses of a self-made certificate (this machine’s own and that of --public-url are in it)',
    value: 'name',
    list: true,
    default: [],
    check: onlyWith('tlsNames', ['self-made']),
  },
  tlsClientCa: {
    schema: Type.String({ minLength: 1 }),
    description: 'authorities as PEM whose certificates agents must show (mutual TLS); people and programs need none',
    value: 'file',
    check: onlyWith('tlsClientCa', ['files', 'self-made']),
  },
  dataDir: {
    schema: Type.String({ minLength: 1 }),
    description: 'directory for the admin token and the embedded PostgreSQL',
    value: 'directory',
    default: './data',
  },
  databaseUrl: {
    schema: Type.String({ pattern: '^postgres(ql)?://', wanted: 'a postgresql:// address' }),
    description: 'PostgreSQL to store in, 15 or later; without it the collector runs one of its own',
    value: 'url',
    environment: ['DATABASE_URL'],
    secret: true,
    refuseAsFlag: refusePassword,
  },
  databaseUrlFile: {
    schema: Type.String({ minLength: 1 }),
    description: 'file that holds the URL of that PostgreSQL, for one with a password in it',
    value: 'file',
    check: ({ databaseUrl, databaseUrlFile }) =>
      databaseUrl === undefined || databaseUrlFile === undefined
        ? []
        : [{ path: [], text: 'and databaseUrl are both given; say one of them' }],
  },
  rawDays: {
    schema: Type.Integer({ minimum: 1, maximum: 3_650, wanted: 'a whole number of days from 1 to 3650' }),
    description: 'days that reports are kept',
    value: 'days',
    default: 30,
  },
  observationDays: {
    schema: Type.Integer({ minimum: 1, maximum: 3_650, wanted: 'a whole number of days from 1 to 3650' }),
    description: 'days that the history of observations is kept',
    value: 'days',
    default: 7,
  },
  channels: channelsOption,
  logLevel: {
    schema: Type.Union(
      LOG_LEVELS.map((level) => Type.Literal(level)),
      { wanted: `one of ${LOG_LEVELS.join(', ')}` },
    ),
    description: `least level of what is logged: ${LOG_LEVELS.join(', ')}`,
    value: 'level',
    default: 'info',
  },
  logFormat: {
    schema: Type.Union([Type.Literal('auto'), Type.Literal('json'), Type.Literal('text')], { wanted: 'auto, json or text' }),
    description: 'auto (text on a terminal, else JSON), json or text',
    value: 'format',
    default: 'auto',
  },
  rules: ruleOptions,
  overrides: overrideOptions,
});

export type CollectorConfig = OptionValues<typeof collectorOptions>;

/**
 * The configuration with the database's URL out of its file. Throws an OperationalFailure when there is none in it.
 * What the file holds is never shown: it comes with a password.
 */
export function withDatabaseUrl(loaded: LoadedOptions<CollectorConfig>): LoadedOptions<CollectorConfig> {
  const { databaseUrlFile: file } = loaded.values;
  if (file === undefined) return loaded;
  const fail = (why: string): OperationalFailure =>
    new OperationalFailure(
      `The database's URL cannot be read from ${file} (databaseUrlFile, ${loaded.sources['databaseUrlFile']}): ${why}.`,
      EXIT.configuration,
    );
  let text: string;
  try {
    text = readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw fail(
      codeOf(error) === 'EACCES' ? 'this user may not read it' : codeOf(error) === 'ENOENT' ? 'there is no such file' : sentenceOf(error),
    );
  }
  if (!/^postgres(ql)?:\/\/\S+$/.test(text) || !URL.canParse(text)) throw fail('it does not hold one postgresql:// address');
  return { ...loaded, values: { ...loaded.values, databaseUrl: text }, sources: { ...loaded.sources, databaseUrl: file } };
}

/** Takes a `listen` value apart; the schema has checked its form. */
export function parseListen(listen: string | number): ListenAddress {
  const [, v6, name, port] = LISTEN.exec(String(listen)) ?? [];
  return { host: v6 ?? (name || '0.0.0.0'), port: Number(port) };
}

/** The URL by which this machine reaches an address that is listened on. */
export function localUrl({ host, port }: ListenAddress, https: boolean): string {
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `${https ? 'https' : 'http'}://${isIP(reachable) === 6 ? `[${reachable}]` : reachable}:${port}`;
}
