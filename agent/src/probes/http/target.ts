/** An endpoint as the configuration declares it, made into what a request needs. What is secret in it is never in its name. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { codeOf, EXIT, OperationalFailure } from '@tidemark/service';
import { Type, type Static } from 'typebox';
import { isHealthPath } from './health.ts';

const URL_PATTERN = '^https?://[^\\s]+$';
const STATUS_CLASS = /^([1-5])xx$/;

const StatusWanted = Type.Union([Type.Integer({ minimum: 100, maximum: 599 }), Type.String({ pattern: '^[1-5]xx$' })]);

export const HttpEndpointOption = Type.Union(
  [
    Type.String({ pattern: URL_PATTERN, maxLength: 2_000 }),
    Type.Object(
      {
        url: Type.String({ pattern: URL_PATTERN, maxLength: 2_000 }),
        name: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
        method: Type.Optional(Type.Union([Type.Literal('GET'), Type.Literal('HEAD')])),
        timeoutSeconds: Type.Optional(Type.Number({ minimum: 0.1, maximum: 60 })),
        expectStatus: Type.Optional(Type.Union([StatusWanted, Type.Array(StatusWanted, { minItems: 1, maxItems: 20 })])),
        expectBody: Type.Optional(Type.String({ minLength: 1, maxLength: 1_000 })),
        health: Type.Optional(Type.Boolean()),
        headersFile: Type.Optional(Type.String({ minLength: 1 })),
        caFile: Type.Optional(Type.String({ minLength: 1 })),
        windowMinutes: Type.Optional(Type.Number({ minimum: 1, maximum: 60 })),
      },
      { additionalProperties: false },
    ),
  ],
  {
    wanted:
      'http://HOST/PATH or https://HOST/PATH, or in the file {url, name, method, timeoutSeconds, expectStatus, expectBody, health, headersFile, caFile, windowMinutes}',
  },
);
export type HttpEndpointOption = Static<typeof HttpEndpointOption>;
export type HttpEndpointConfig = Exclude<HttpEndpointOption, string>;

export interface EndpointTarget {
  /** The `endpoint` label. */
  readonly name: string;
  readonly url: URL;
  readonly method: 'GET' | 'HEAD';
  readonly timeoutMs: number;
  readonly wantsStatus: (status: number) => boolean;
  /** For people. */
  readonly wantedStatus: string;
  readonly wantedBody: string | undefined;
  readonly readsHealth: boolean;
  /** Read anew for each request: a token in the file may be replaced. */
  readonly headers: () => Readonly<Record<string, string>>;
  readonly ca: string | undefined;
  readonly windowMs: number;
}

/** Throws an OperationalFailure for what cannot be meant: two of one name, a file that cannot be read. */
export function targetsOf(configs: readonly HttpEndpointConfig[], version: string): EndpointTarget[] {
  const targets = configs.map((config) => targetOf(config, version));
  const names = new Set<string>();
  for (const { name } of targets) {
    if (names.has(name))
      throw new OperationalFailure(
        `Two HTTP endpoints are called ${JSON.stringify(name)}: give one of them another name (http: [{url: …, name: …}]).`,
        EXIT.configuration,
      );
    names.add(name);
  }
  return targets;
}

function targetOf(config: HttpEndpointConfig, version: string): EndpointTarget {
  if (!URL.canParse(config.url))
    throw new OperationalFailure(`${JSON.stringify(shown(config.url))} is not an address.`, EXIT.configuration);
  const url = new URL(config.url);
  const credentials = url.username === '' && url.password === '' ? undefined : basic(url);
  url.username = url.password = url.hash = '';
  const { expectStatus = '2xx', headersFile, caFile } = config;
  const wanted = [expectStatus].flat();
  const target: EndpointTarget = {
    name: config.name ?? `${url.origin}${url.pathname}`,
    url,
    method: config.method ?? 'GET',
    timeoutMs: (config.timeoutSeconds ?? 10) * 1_000,
    wantsStatus: (status) =>
      wanted.some((one) => one === status || STATUS_CLASS.exec(String(one))?.[1] === String(Math.floor(status / 100))),
    wantedStatus: wanted.join(' or '),
    wantedBody: config.expectBody,
    readsHealth: config.health ?? isHealthPath(url.pathname),
    headers: () => ({
      'user-agent': `tidemark-agent/${version}`,
      ...(credentials === undefined ? {} : { authorization: credentials }),
      ...(headersFile === undefined ? {} : readHeaders(headersFile)),
    }),
    ca: caFile === undefined ? undefined : readCertificates(caFile),
    windowMs: (config.windowMinutes ?? 5) * 60_000,
  };
  if (target.method === 'HEAD' && (config.expectBody !== undefined || config.health === true))
    throw new OperationalFailure(
      `The HTTP endpoint ${JSON.stringify(target.name)} is asked with HEAD, which has no body to look at: use GET.`,
      EXIT.configuration,
    );
  // A mistake in a file is said at the start, not at night.
  target.headers();
  return target;
}

function basic({ username, password }: URL): string {
  return `Basic ${Buffer.from(`${decoded(username)}:${decoded(password)}`).toString('base64')}`;
}

/** As it is written when it is not percent-encoded; the text itself is a secret and stands in no message. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Checked here: TLS takes a file without a certificate for an empty list, and then trusts nobody. */
function readCertificates(file: string): string {
  const text = readText(file, 'certificates');
  const blocks = text.match(/-----BEGIN (?:TRUSTED )?CERTIFICATE-----[^-]+-----END (?:TRUSTED )?CERTIFICATE-----/g) ?? [];
  const wrong = (why: string): OperationalFailure =>
    new OperationalFailure(`${file} ${why}: caFile names a file of certificates in PEM form.`, EXIT.configuration);
  if (blocks.length === 0) throw wrong('holds no certificate');
  try {
    for (const block of blocks) void new X509Certificate(block);
  } catch {
    throw wrong('holds a certificate that cannot be read');
  }
  return text;
}

/** Lines of "Name: value"; empty lines and those that begin with # say nothing. */
function readHeaders(file: string): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [i, line] of readText(file, 'headers').split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const [, name, value] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t]*)$/.exec(line) ?? [];
    if (name === undefined)
      throw new OperationalFailure(`${file}:${i + 1}: a header is written as "Name: value", in ASCII.`, EXIT.configuration);
    headers[name.toLowerCase()] = value!.trim();
  }
  return headers;
}

function readText(file: string, what: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new OperationalFailure(`The ${what} in ${file} cannot be read (${codeOf(error) ?? String(error)}).`, EXIT.configuration, {
      cause: error,
    });
  }
}

const shown = (url: string): string => url.replace(/\/\/[^/@]*@/, '//***@').replace(/\?.*$/, '');
