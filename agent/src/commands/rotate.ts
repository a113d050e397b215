/**
 * `tidemark-agent rotate`: a new secret in place of the one that is used. The collector takes the old one until the new one was used,
 * so neither an answer that is lost nor an agent that is restarted late locks the node out.
 */
import { existsSync, rmSync } from 'node:fs';
import { EXIT, OperationalFailure } from '@tidemark/service';
import { agentConfig, readToken, type AgentOptionValues } from '../config.ts';
import { applicantOf } from '../enrolment/applicant.ts';
import { enrol, type Enrolment } from '../enrolment/enrol.ts';
import { membershipServer } from '../enrolment/joining.ts';
import { makeSecret, writeSecret } from '../enrolment/secret.ts';
import { patienceOf, type EnrollContext } from './enroll.ts';
import { printable } from './wording.ts';

export interface RotateFlags {
  readonly secretFile?: string | undefined;
  readonly timeout?: string | undefined;
  readonly json?: boolean | undefined;
}

/** Returns what to print. Throws an OperationalFailure with the exit code of what went wrong; the old secret is in its file then. */
export async function rotate(values: AgentOptionValues, flags: RotateFlags, context: Omit<EnrollContext, 'file'>): Promise<string> {
  const { secretFile } = flags;
  if (secretFile === undefined || !existsSync(secretFile))
    throw new OperationalFailure(
      'Which secret? Name the file that holds it with --secret-file, for example /etc/tidemark/agent.token.',
      EXIT.usage,
    );
  const config = agentConfig(values, context.surroundings);
  const { server, route } = membershipServer(config);
  const old = readToken(secretFile);
  const applicant = await applicantOf(config, context);
  const asking = { server, route, applicant, string: undefined, patience: patienceOf(flags.timeout, context.random) };
  // Asked without the credential, which would rename a node that was renamed on the collector.
  const { node } = await approved({ ...asking, secret: old, known: false }, secretFile);
  const fresh = makeSecret();
  // A disk that is full is noticed while nothing has happened yet; whatever happens later, the old one holds until the new one was used.
  const beside = `${secretFile}.new`;
  writeSecret(beside, fresh);
  try {
    await approved({ ...asking, applicant: { ...applicant, name: node.name }, secret: fresh, known: false, credential: old }, secretFile);
    writeSecret(secretFile, fresh);
  } finally {
    rmSync(beside, { force: true });
  }
  if (flags.json === true) return `${JSON.stringify({ state: 'rotated', name: node.name, secretFile })}\n`;
  return (
    `"${printable(node.name)}" has a new secret, in ${secretFile}. The old one holds until the new one was used.\n` +
    'An agent that reads that file takes it up by itself; one that systemd handed it to is to be restarted: systemctl restart tidemark-agent\n'
  );
}

async function approved(enrolment: Enrolment, secretFile: string): ReturnType<typeof enrol> {
  const answer = await enrol(enrolment);
  if (answer.state === 'approved') return answer;
  throw new OperationalFailure(
    `The collector does not know the secret in ${secretFile} as that of an approved node: this machine waits to be approved. ${answer.approveCommand}`,
    EXIT.credentialRejected,
  );
}
