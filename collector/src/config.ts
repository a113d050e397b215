/** The collector's options, declared once: flags, environment, file, help and reference page all come from here. */
import { isIP } from 'node:net';
import { LOG_LEVELS, declareOptions, type OptionValues } from '@tidemark/service';
import { Type } from 'typebox';

export const COLLECTOR_FILE = '/etc/tidemark/collector.yaml';

/** `host:port`, `[v6]:port`, `:port` or a port alone. */
const PORT = '([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])';
const LISTEN = `^(\\[[0-9a-fA-F:.]+\\]:|[A-Za-z0-9.-]*:)?${PORT}$`;

export const collectorOptions = declareOptions({
  listen: {
    // In a file a port alone is a number.
    schema: Type.Union([Type.String({ pattern: LISTEN }), Type.Integer({ minimum: 0, maximum: 65_535 })], {
      wanted: 'host:port, :port or a port, for example 0.0.0.0:5000',
    }),
    description: 'address and port to listen on',
    value: 'address',
    default: '0.0.0.0:5000',
  },
  publicUrl: {
    schema: Type.String({ pattern: '^https?://[^/?#]+(/[^?#]*)?$', wanted: 'an http:// or https:// address' }),
    description: 'what this collector is called from outside: the only address that is ever put into links and commands',
    value: 'url',
  },
  dataDir: {
    schema: Type.String({ minLength: 1 }),
    description: 'directory for the admin token and the embedded PostgreSQL',
    value: 'directory',
    default: './data',
  },
  databaseUrl: {
    schema: Type.String({ pattern: '^postgres(ql)?://', wanted: 'a postgresql:// address' }),
    description: 'PostgreSQL to store in; without it the collector runs one of its own',
    value: 'url',
    environment: ['DATABASE_URL'],
    secret: true,
    refuseAsFlag: (url: string) =>
      /:\/\/[^/@]*:[^/@]*@/.test(url)
        ? 'a password on a command line can be read by every user of the machine: put the URL into TIDEMARK_DATABASE_URL or a file of mode 0600'
        : undefined,
  },
  rawDays: {
    schema: Type.Integer({ minimum: 1, maximum: 3_650 }),
    description: 'days that reports are kept',
    value: 'days',
    default: 30,
  },
  observationDays: {
    schema: Type.Integer({ minimum: 1, maximum: 3_650 }),
    description: 'days that the history of observations is kept',
    value: 'days',
    default: 7,
  },
  logLevel: {
    schema: Type.Union(LOG_LEVELS.map((level) => Type.Literal(level))),
    description: `least level of what is logged: ${LOG_LEVELS.join(', ')}`,
    value: 'level',
    default: 'info',
  },
  logFormat: {
    schema: Type.Union([Type.Literal('auto'), Type.Literal('json'), Type.Literal('text')]),
    description: 'auto (text on a terminal, else JSON), json or text',
    value: 'format',
    default: 'auto',
  },
});

export type CollectorConfig = OptionValues<typeof collectorOptions>;

export interface ListenAddress {
  host: string;
  port: number;
}

/** Takes a `listen` value apart; the schema has checked its form. */
export function parseListen(value: string | number): ListenAddress {
  const listen = String(value);
  const at = listen.lastIndexOf(':');
  const host = at < 0 ? '' : listen.slice(0, at).replace(/^\[|\]$/g, '');
  return { host: host === '' ? '0.0.0.0' : host, port: Number(listen.slice(at + 1)) };
}

/** The URL by which this machine reaches an address that is listened on. */
export function localUrl({ host, port }: ListenAddress): string {
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${isIP(reachable) === 6 ? `[${reachable}]` : reachable}:${port}`;
}
