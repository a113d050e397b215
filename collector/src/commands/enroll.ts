/** `tidemark-collector enroll …`: tokens that let machines in. The string goes to standard output alone, so that it can go into a file unseen. */
import { formatEnrolment, installCommands, parseEnrolment, type EnrollmentList, type MadeEnrollment } from '@tidemark/protocol';
import { EXIT, OperationalFailure } from '@tidemark/service';
import type { Command } from 'commander';
import { durationText, parseDuration } from '../rules/duration.ts';
import { collect, fromElsewhere, tagsOf, type AddConnectOptions, type FleetCommandsContext } from './nodes.ts';
import { printable, table } from './table.ts';

interface EnrollFlags {
  ttl: string;
  uses: string;
  site?: string;
  tag?: string[];
  url?: string;
  json?: true;
}

const ENROLLMENTS = '/api/telemetry/enrollments';

export function enrollCommands(program: Command, context: FleetCommandsContext, connectOptions: AddConnectOptions): void {
  const { out, err, connect } = context;
  const enroll = connectOptions(program.command('enroll'))
    .description('let machines in: make an enrolment token, and print what to run on them')
    .option('--ttl <duration>', 'how long it is good for, for example 30m, 24h, 7d', '24h')
    .option('--uses <number>', 'how many machines it is good for', '1')
    .option('--site <site>', 'where they stand')
    .option('--tag <key=value>', 'a tag; may be given several times', collect)
    .option('--url <url>', "the collector's address as these machines reach it (default: --public-url)")
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      `
Examples:
  tidemark-collector enroll
  tidemark-collector enroll --uses 40 --ttl 7d --site hamburg --tag role=db
  (umask 077; tidemark-collector enroll > enrolment-token)
  tidemark-collector enroll list
  tidemark-collector enroll revoke 3
`,
    )
    .action(async (flags: EnrollFlags, command: Command) => {
      const body = {
        ttlSeconds: ttlOf(flags.ttl),
        uses: usesOf(flags.uses),
        tags: tagsOf(flags.tag ?? []),
        ...(flags.site === undefined ? {} : { site: flags.site }),
        ...(flags.url === undefined ? {} : { url: flags.url }),
      };
      const { client, url } = connect(command);
      const made = await client.call<MadeEnrollment>('POST', ENROLLMENTS, body);
      const parsed = parseEnrolment(made.string);
      // Asked over this machine's own address the collector knows no better one; on another machine that one leads nowhere.
      const address = flags.url ?? fromElsewhere(isLoopback(parsed?.url) ? url : (parsed?.url ?? url), context.hostname);
      const string = parsed === undefined ? made.string : formatEnrolment({ ...parsed, url: address });
      const commands = installCommands(address, string);
      if (flags.json) return out(`${JSON.stringify({ enrollment: made.enrollment, string, commands }, undefined, 2)}\n`);
      out(`${string}\n`);
      const { uses, id } = made.enrollment;
      const guessed =
        flags.url === undefined && new URL(address).hostname === context.hostname
          ? `\nThe machines must know the collector as ${context.hostname}, which is what this machine calls itself. Another address: --url URL, or publicUrl in the configuration for good.\n`
          : '';
      return err(`
This lets ${uses === 1 ? 'one machine' : `${uses} machines`} in, for ${durationText(body.ttlSeconds * 1_000)}. It is shown this once (to end it: tidemark-collector enroll revoke ${id}).
${guessed}
Linux:
${indented(commands.linux)}

Windows, in PowerShell as administrator:
${indented(commands.windows)}
`);
    });

  connectOptions(enroll.command('list').description('list the tokens, without the tokens themselves'))
    .option('--json', 'as JSON')
    .addHelpText('after', '\nExample:\n  tidemark-collector enroll list\n')
    .action(async (flags: { json?: true }, command: Command) => {
      const list = await connect(command).client.call<EnrollmentList>('GET', ENROLLMENTS);
      if (flags.json) return out(`${JSON.stringify(list, undefined, 2)}\n`);
      if (list.enrollments.length === 0) return err('There are no enrolment tokens: tidemark-collector enroll\n');
      const rows = list.enrollments.map(({ id, state, used, uses, expiresAt, site, tags }) => [
        String(id),
        state,
        `${used} of ${uses}`,
        expiresAt,
        site || '-',
        Object.entries(tags)
          .map(([key, value]) => `${key}=${value}`)
          .join(' '),
      ]);
      return out(`${table(['ID', 'STATE', 'USED', 'EXPIRES', 'SITE', 'TAGS'], rows)}\n`);
    });

  connectOptions(enroll.command('revoke <id>').description('end a token; machines that it let in stay'))
    .addHelpText('after', '\nExample:\n  tidemark-collector enroll revoke 3\n')
    .action(async (id: string, _: unknown, command: Command) => {
      if (!/^[0-9]{1,9}$/.test(id))
        throw new OperationalFailure(`${printable(id)} is not the id of a token: tidemark-collector enroll list`, EXIT.usage);
      await connect(command).client.call('DELETE', `${ENROLLMENTS}/${id}`);
      err(`The enrolment token ${id} is worth nothing from now on.\n`);
    });
}

const isLoopback = (url: string | undefined): boolean => url !== undefined && /^(localhost|127\..*|\[::1\])$/.test(new URL(url).hostname);

const indented = (lines: string): string => lines.replaceAll(/^/gm, '  ');

/** Seconds. */
function ttlOf(text: string): number {
  const ms = parseDuration(text);
  if (ms !== undefined && ms >= 60_000 && ms <= 365 * 86_400_000) return ms / 1_000;
  throw new OperationalFailure(`--ttl ${printable(text)} is not a duration from 1m to 365d, for example 24h.`, EXIT.usage);
}

function usesOf(text: string): number {
  if (/^[1-9][0-9]{0,5}$/.test(text) && Number(text) <= 100_000) return Number(text);
  throw new OperationalFailure(`--uses ${printable(text)} is not a whole number from 1 to 100000.`, EXIT.usage);
}
