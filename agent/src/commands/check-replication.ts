/**
 * `tidemark-agent check replication`: how replication stands, asked of the servers themselves. It needs no collector and no
 * agent that runs, changes nothing, and ends like a monitoring plugin: 0 OK, 1 warning, 2 critical, 3 unknown.
 */
import { OperationalFailure, systemClock, type Clock } from '@tidemark/service';
import { refusePassword, type Surroundings } from '../config.ts';
import { discoverServers, urlOf } from '../probes/postgres/discovery.ts';
import { targetsOf, type PostgresConfig } from '../probes/postgres/target.ts';
import { exitCodeOf, judge, tellsEnough, worstOf, type Judged, type Limits, type Role } from './check-judge.ts';
import { lookAt, type LookOptions } from './check-look.ts';
import { jsonForm, statusForm, tableForm } from './check-page.ts';
import { printable } from './wording.ts';

export const CHECK_UNKNOWN = 3;
const FORMATS = ['table', 'json', 'status'] as const;
type Format = (typeof FORMATS)[number];
const ROLES: Readonly<Record<string, Role>> = { primary: 'primary', master: 'primary', replica: 'replica', standby: 'replica' };

/** As the command line has them. */
export interface CheckFlags {
  readonly url?: string | undefined;
  readonly name?: string | undefined;
  readonly passwordFile?: string | undefined;
  readonly format?: string | undefined;
  readonly warningSeconds?: string | undefined;
  readonly criticalSeconds?: string | undefined;
  readonly warningBytes?: string | undefined;
  readonly criticalBytes?: string | undefined;
  readonly replicas?: string | undefined;
}

export interface CheckContext {
  readonly surroundings: Surroundings;
  /** The servers of the configuration file; asked for when no URL is given. */
  readonly configured: () => readonly PostgresConfig[];
  readonly clock?: Clock | undefined;
  readonly look?: Pick<LookOptions, 'deadlineMs' | 'betweenMs'> | undefined;
}

export interface Said {
  readonly output: string;
  readonly errors: string;
  readonly exitCode: number;
}

/** Looks and tells. Whatever keeps it from looking is UNKNOWN (3), never an exit code that means something else. */
export async function checkReplication(roleWord: string | undefined, flags: CheckFlags, context: CheckContext): Promise<Said> {
  try {
    const format = formatOf(flags.format ?? 'table');
    const wanted = roleOf(roleWord);
    const limits = limitsOf(flags);
    const { configs, found } = await serversOf(flags, context);
    const targets = targetsOf(configs, context.surroundings.environment['PGPASSFILE']);
    const options: LookOptions = { clock: context.clock ?? systemClock, enough: tellsEnough, ...context.look };
    const judged = await Promise.all(targets.map(async (target) => judge(await lookAt(target, options), limits, wanted)));
    const said = formed(format, judged, limits, wanted);
    if (found && judged.some(({ failure }) => failure?.reason === 'authentication'))
      said[format === 'table' ? 'output' : 'errors'] += HOW_TO_LOG_IN;
    return { ...said, exitCode: exitCodeOf(worstOf(judged.map((one) => one.level))) };
  } catch (error) {
    if (!(error instanceof OperationalFailure)) throw error;
    if (flags.format === 'json')
      return {
        output: `${JSON.stringify({ status: 'UNKNOWN', exitCode: CHECK_UNKNOWN, error: error.message, servers: [] }, undefined, 2)}\n`,
        errors: '',
        exitCode: CHECK_UNKNOWN,
      };
    const sentence = `REPLICATION UNKNOWN - ${error.message}\n`;
    return flags.format === 'status'
      ? { output: '', errors: sentence, exitCode: CHECK_UNKNOWN }
      : { output: sentence, errors: '', exitCode: CHECK_UNKNOWN };
  }
}

function formed(format: Format, judged: readonly Judged[], limits: Limits, wanted: Role | undefined): { output: string; errors: string } {
  if (format === 'json') return { output: jsonForm(judged), errors: '' };
  if (format === 'table') return { output: tableForm(judged, limits), errors: '' };
  const troubles = judged.flatMap(({ name, troubles: all }) =>
    all.filter(({ level }) => level !== 'OK').map(({ level, text }) => `${level}: ${printable(name)}: ${printable(text)}\n`),
  );
  const several = judged.length > 1;
  const output = judged.map((one) => `${several ? `# ${printable(one.name)}\n` : ''}${statusForm(one, wanted)}`).join(several ? '\n' : '');
  return { output, errors: troubles.join('') };
}

const HOW_TO_LOG_IN =
  '\nThese servers were found on this machine, and asked as the system user who runs this. Run it as the user postgres (sudo -u postgres …), or make a\n' +
  'role for it (tidemark-agent postgres setup) and name the server with --url.\n';

/** `found`: they are not configured, but were found on this machine. */
async function serversOf(
  { url, name, passwordFile }: CheckFlags,
  { configured }: CheckContext,
): Promise<{ configs: PostgresConfig[]; found: boolean }> {
  if (url !== undefined) {
    const refusal = refusePassword(url);
    if (refusal !== undefined) throw new OperationalFailure(`--url: ${refusal}`);
    return { configs: [{ url, name, passwordFile }], found: false };
  }
  const listed = configured();
  if (name !== undefined) {
    const chosen = listed.filter((one) => targetsOf([one])[0]!.name === name);
    if (chosen.length === 0)
      throw new OperationalFailure(
        `No server in the configuration is called "${printable(name)}"${listed.length === 0 ? ' (there is none at all)' : `; there are: ${listed.map((one) => targetsOf([one])[0]!.name).join(', ')}`}.`,
      );
    return { configs: chosen, found: false };
  }
  if (listed.length > 0) return { configs: [...listed], found: false };
  const found = await discoverServers({ platform: process.platform });
  if (found.length === 0)
    throw new OperationalFailure(
      'Which server? None is configured and none was found on this machine: name it with --url postgresql://ROLE@HOST:5432/postgres.',
    );
  return { configs: found.map((server) => ({ url: urlOf(server), name: server.address, passwordFile })), found: true };
}

function formatOf(text: string): Format {
  const format = FORMATS.find((one) => one === text);
  if (format === undefined) throw new OperationalFailure(`--format must be one of ${FORMATS.join(', ')}, not "${printable(text)}".`);
  return format;
}

function roleOf(word: string | undefined): Role | undefined {
  if (word === undefined) return undefined;
  if (!Object.hasOwn(ROLES, word))
    throw new OperationalFailure(`The role must be primary (or master) or replica, not "${printable(word)}".`);
  return ROLES[word];
}

function limitsOf(flags: CheckFlags): Limits {
  const limits = {
    warningSeconds: secondsOf('--warning-seconds', flags.warningSeconds ?? '60'),
    criticalSeconds: secondsOf('--critical-seconds', flags.criticalSeconds ?? '300'),
    warningBytes: bytesOf('--warning-bytes', flags.warningBytes ?? '100MiB'),
    criticalBytes: flags.criticalBytes === undefined ? undefined : bytesOf('--critical-bytes', flags.criticalBytes),
    replicas: countOf('--replicas', flags.replicas ?? '1'),
  };
  if (limits.criticalSeconds < limits.warningSeconds)
    throw new OperationalFailure('--critical-seconds must not be less than --warning-seconds.');
  return limits;
}

const TIME_UNITS: Readonly<Record<string, number>> = { '': 1, s: 1, m: 60, min: 60, h: 3600 };
const SIZE_UNITS: Readonly<Record<string, number>> = { '': 1, B: 1, kB: 1e3, MB: 1e6, GB: 1e9, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

function amountOf(flag: string, text: string, units: Readonly<Record<string, number>>, form: string): number {
  const match = /^(\d+(?:\.\d+)?) ?([a-zA-Z]*)$/.exec(text);
  const unit = match === null || !Object.hasOwn(units, match[2]!) ? undefined : units[match[2]!];
  if (match === null || unit === undefined) throw new OperationalFailure(`${flag} must be ${form}, not "${printable(text)}".`);
  return Number(match[1]) * unit;
}

const secondsOf = (flag: string, text: string): number => amountOf(flag, text, TIME_UNITS, 'a number of seconds, or like 90s, 5m, 2h');
const bytesOf = (flag: string, text: string): number => amountOf(flag, text, SIZE_UNITS, 'a number of bytes, or like 500kB, 100MiB, 2GB');
const countOf = (flag: string, text: string): number => Math.floor(amountOf(flag, text, { '': 1 }, 'a whole number'));
