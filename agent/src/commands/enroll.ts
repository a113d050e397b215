/**
 * `tidemark-agent enroll`: makes this machine a node. Its secret is made here and stays here; a token file is deleted once it was used,
 * and what an enrolment string tells beside its token (the collector's address and authority) goes into the configuration file.
 */
import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EnrollAnswer, EnrolmentString } from '@tidemark/protocol';
import { EXIT, OperationalFailure } from '@tidemark/service';
import { agentConfig, type AgentConfig, type AgentOptionValues, type Surroundings } from '../config.ts';
import { applicantOf } from '../enrolment/applicant.ts';
import { enrol, pinAuthority, Refusal, refuseUnpinned, serverKnown, tokenIn } from '../enrolment/enrol.ts';
import type { Patience } from '../enrolment/exchange.ts';
import { keepSecret, makeSecret, writeSecret } from '../enrolment/secret.ts';
import { approval } from './approval.ts';
import { changeConfig } from './config-file.ts';
import { printable } from './wording.ts';

const TIMEOUT_SECONDS = 15;

export interface EnrollFlags {
  readonly secretFile?: string | undefined;
  readonly tokenFile?: string | undefined;
  readonly timeout?: string | undefined;
  readonly json?: boolean | undefined;
}

export interface EnrollContext {
  readonly version: string;
  readonly surroundings: Surroundings;
  /** The configuration file, when there is one. */
  readonly file: string | undefined;
  /** [0, 1) */
  readonly random: () => number;
}

/** Returns what to print. Throws an OperationalFailure with the exit code of what went wrong. */
export async function enroll(values: AgentOptionValues, flags: EnrollFlags, context: EnrollContext): Promise<string> {
  const { secretFile } = flags;
  if (secretFile === undefined)
    throw new OperationalFailure(
      'Where is the secret kept? Name a file with --secret-file, for example /etc/tidemark/agent.token.',
      EXIT.usage,
    );
  const config = agentConfig(values, context.surroundings);
  const patience = patienceOf(flags.timeout, context.random);
  const given = flags.tokenFile === undefined ? undefined : tokenIn(flags.tokenFile);
  const string = typeof given === 'object' ? given : undefined;
  const server = serverOf(config, string);
  refuseUnpinned(server, string);
  const caFile = await trusted(config, server, string, context.file, patience);
  // A credential that a person was given for this node is its secret, once the collector knows it: the one before may be the right one.
  const kept = typeof given === 'string' ? { secret: given, made: false } : keepSecret(secretFile);
  const asking = { server, route: { ...config.route, caFile }, applicant: await applicantOf(config, context), string, patience };
  let { made } = kept;
  const answer = await enrol({ ...asking, secret: kept.secret, known: !made }).catch(async (error: unknown) => {
    // A secret that has ended is not taken back by any token; whoever brings one wants this machine to be a node again.
    if (made || !(error instanceof Refusal) || !error.code.startsWith('node_')) throw error;
    if (string === undefined) throw new OperationalFailure(`${error.message} The secret is in ${secretFile}.`, error.exitCode);
    const secret = makeSecret();
    const fresh = await enrol({ ...asking, secret, known: false });
    writeSecret(secretFile, secret);
    made = true;
    return fresh;
  });
  if (typeof given === 'string') writeSecret(secretFile, given);
  if (flags.tokenFile !== undefined && flags.tokenFile !== secretFile) rmSync(flags.tokenFile, { force: true });
  return flags.json === true ? `${JSON.stringify(asJson(answer))}\n` : page(answer, server, secretFile, made);
}

export function patienceOf(timeout: string | undefined, random: () => number, fallbackSeconds = TIMEOUT_SECONDS): Patience {
  const seconds = timeout === undefined ? fallbackSeconds : Number(timeout);
  if (!(seconds >= 0 && seconds <= 3_600))
    throw new OperationalFailure('--timeout must be a number of seconds from 0 to 3600.', EXIT.usage);
  return { timeoutMs: seconds * 1000, random, now: () => performance.now(), sleep: (ms) => sleep(ms) };
}

function serverOf(config: AgentConfig, string: EnrolmentString | undefined): URL {
  const server = serverKnown(config, string);
  if (server !== undefined) return server;
  throw new OperationalFailure(
    'Which collector? Name it with server: in the configuration file, or give an enrolment string with --token-file.',
    EXIT.configuration,
  );
}

/** The file whose authorities are trusted. What the string tells is written down, so that the agent finds the same collector. */
async function trusted(
  config: AgentConfig,
  server: URL,
  string: EnrolmentString | undefined,
  file: string | undefined,
  patience: Patience,
): Promise<string | undefined> {
  const beside = file === undefined ? config.dataDir : dirname(file);
  const pinned = await pinAuthority({ server, route: config.route, string, patience }, join(beside, 'ca.pem'));
  const flags = {
    ...(config.server === undefined ? { server: server.href.replace(/\/$/, '') } : {}),
    ...(pinned === undefined || pinned.caFile === config.route.caFile ? {} : { caFile: pinned.caFile }),
  };
  if (file !== undefined && Object.keys(flags).length > 0) changeConfig({ file, flags });
  return pinned?.caFile ?? config.route.caFile;
}

/** One flat object, for scripts without a JSON parser to speak of. */
function asJson({ state, node, reason, machineCode, approveCommand, consoleUrl }: EnrollAnswer): object {
  return { state, name: node.name, site: node.site, reason, machineCode, approveCommand, consoleUrl };
}

function page(answer: EnrollAnswer, server: URL, secretFile: string, made: boolean): string {
  const name = printable(answer.node.name);
  const site = answer.node.site === '' ? '' : `, site ${printable(answer.node.site)}`;
  const lines =
    answer.state === 'approved'
      ? [`"${name}"${site} is a node of ${server.href}.`]
      : [`"${name}"${site} waits to be approved.`, ...approval(answer), '  Until then its reports wait on this machine; nothing is lost.'];
  return `${[...lines, `Its secret is ${made ? 'new, and ' : ''}in ${secretFile} (mode 0600).`].join('\n')}\n`;
}
