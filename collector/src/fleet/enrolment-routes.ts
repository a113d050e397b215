/**
 * The way in for machines: they ask without a credential, or with the secret they have, and administrators make the tokens that let
 * them in and decide about those that wait. Nothing secret is ever logged: names, addresses, machine codes and ids are.
 */
import {
  ENROLL_PATH,
  EnrollAnswer,
  EnrollRequest,
  EnrollmentList,
  EnrollmentView,
  MadeEnrollment,
  NewEnrollment,
  NodeSummary,
  ProblemError,
  approveCommand,
  formatEnrolment,
  machineCode,
  parseEnrolment,
} from '@tidemark/protocol';
import type { Log } from '@tidemark/service';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Type, type Static } from 'typebox';
import { hashToken, newToken } from '../http/token.ts';
import type { FleetDirectory } from './directory.ts';
import type { EnrolmentPolicy } from './enrolment-decision.ts';
import type { EnrolmentOutcome } from './asking-store.ts';
import type { EnrolmentStore } from './enrolment-store.ts';
import type { NodeRecord } from './node.ts';
import { storable, storableTags } from './storable.ts';
import { enrollmentState, type Enrollment } from './token-store.ts';

export interface EnrolmentRoutesOptions {
  directory: FleetDirectory;
  enrolments: EnrolmentStore;
  policy: EnrolmentPolicy;
  /** What the collector is called from outside, as it was configured: the only address that is put into links. */
  publicUrl: URL | undefined;
  /** SHA-256 of the certificate of the collector's own authority, when it has one. */
  fingerprint: string | undefined;
  summarise: (node: NodeRecord) => NodeSummary;
  log: Log;
}

const DAY_SECONDS = 86_400;
/** A request with 32 of the longest tags and the longest names is half of this. */
const BODY_BYTES = 64 * 1024;
/** Of one address, which may be a proxy with hundreds of machines behind it that wait. */
const REQUESTS_PER_MINUTE = 600;
/** Nothing that a shell, PowerShell or a page would take for more than an address. */
const PLAIN_ADDRESS = /^https?:\/\/([\w.-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?(\/[\w.~%+,=/-]*)?$/;
const tags = ['enrolment'];
const IdParams = Type.Object({ id: Type.String({ pattern: '^[0-9]{1,9}$', description: 'the id of an enrolment token' }) });
const NodeParams = Type.Object({ name: Type.String() });
const Decided = Type.Union([
  Type.Object(
    {
      machineCode: Type.Optional(
        Type.String({ maxLength: 20, description: 'The machine that is meant; when another one asks by now, nothing is decided.' }),
      ),
    },
    { additionalProperties: false },
  ),
  Type.Null(),
]);

export function enrolmentRoutes(app: FastifyInstance, options: EnrolmentRoutesOptions): void {
  askingRoute(app, options);
  tokenRoutes(app, options);
  decidingRoutes(app, options);
}

function askingRoute(app: FastifyInstance, options: EnrolmentRoutesOptions): void {
  const { directory, enrolments, policy, log } = options;
  app.post<{ Body: EnrollRequest }>(ENROLL_PATH, {
    bodyLimit: BODY_BYTES,
    config: { access: 'public', rateLimit: { max: REQUESTS_PER_MINUTE, timeWindow: '1 minute' } },
    schema: {
      tags,
      summary: 'A machine asks to be a node',
      description:
        'Answers the same when it is asked again with the same secretHash. With "Authorization: Bearer SECRET" of an approved node it renames the node, or replaces its secret: the former one ends when the new one is first used.',
      body: EnrollRequest,
      response: { 200: EnrollAnswer },
    },
    handler: async (request) => {
      const { body, ip } = request;
      const secretHash = Buffer.from(body.secretHash, 'base64url');
      let outcome: EnrolmentOutcome;
      try {
        outcome = await enrolments.enroll(
          {
            request: body,
            secretHash,
            tokenHash: body.token === undefined ? undefined : hashToken(body.token),
            bearerHash: bearerOf(request),
            address: ip,
            policy,
            heard: (id) => (directory.byId(id)?.agentVersion ?? null) !== null,
          },
          directory.now(),
        );
      } catch (error) {
        if (error instanceof ProblemError && error.code !== 'database_away')
          log.info(
            { node: body.name, address: ip, machine: machineCode(body.machine), code: error.code },
            'a machine asked to join and was refused',
          );
        throw error;
      }
      if (
        (outcome.decision !== 'already' && outcome.decision !== 'waits') ||
        !directory.knows(secretHash) ||
        outcome.formerName !== undefined
      )
        await directory.changed();
      sayWhoAsked(outcome, request, log);
      return answerOf(outcome, body, options.publicUrl);
    },
  });
}

function bearerOf({ headers }: FastifyRequest): Buffer | undefined {
  const secret = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1];
  return secret === undefined ? undefined : hashToken(secret);
}

const SAID: Readonly<Record<EnrolmentOutcome['decision'], string>> = {
  already: 'a node enrolled again with the secret that it has',
  waits: 'a machine that waits to be approved asked again',
  add: 'a machine joined',
  pend: 'a machine asks to join and waits to be approved',
  take: "a node's machine enrolled anew; its former secret ends when the new one is used",
  claim: 'a machine asks to be a node that there is, and waits to be approved',
  change: 'a node changed its name or its secret',
};

function sayWhoAsked(outcome: EnrolmentOutcome, { body, ip }: FastifyRequest<{ Body: EnrollRequest }>, log: Log): void {
  const { decision, node, reason, formerName, displaced } = outcome;
  const line = {
    node: node.name,
    address: ip,
    machine: machineCode(body.machine),
    ...(reason === null ? {} : { reason }),
    ...(formerName === undefined ? {} : { formerName }),
    ...(displaced === undefined ? {} : { inPlaceOf: displaced }),
  };
  if (decision === 'already' || decision === 'waits') log.debug(line, SAID[decision]);
  else log.info(line, SAID[decision]);
}

function answerOf({ state, node, reason }: EnrolmentOutcome, { machine }: EnrollRequest, publicUrl: URL | undefined): EnrollAnswer {
  const code = machineCode(machine);
  return {
    state,
    node: { name: node.name, site: node.site },
    machineCode: code,
    reason,
    approveCommand: state === 'approved' ? '' : approveCommand(node.name, reason === 'new' ? undefined : code),
    consoleUrl: publicUrl === undefined ? '' : `${withoutSlash(publicUrl.href)}/nodes/${encodeURIComponent(node.name)}`,
  };
}

const withoutSlash = (url: string): string => url.replace(/\/+$/, '');

function tokenRoutes(app: FastifyInstance, options: EnrolmentRoutesOptions): void {
  const { directory, enrolments, log } = options;
  app.post<{ Body: NewEnrollment }>('/api/telemetry/enrollments', {
    config: { access: 'admin' },
    schema: { tags, summary: 'Make an enrolment token', body: NewEnrollment, response: { 201: MadeEnrollment } },
    handler: async (request, reply) => {
      const { ttlSeconds = DAY_SECONDS, uses = 1, site = '', tags: nodeTags = {}, url } = request.body;
      const wrong = Object.keys(nodeTags).find((name) => !(name in storableTags({ [name]: nodeTags[name]! })));
      if (wrong !== undefined) throw new ProblemError('body_invalid', `body.tags: ${JSON.stringify(wrong)} is no name of a tag.`);
      const token = newToken('enrolment');
      // Before anything is stored: an address that no agent could read is refused.
      const text = enrolmentString(token, url, request, options);
      const made = await enrolments.addEnrollment(
        { tokenHash: hashToken(token), ttlMs: ttlSeconds * 1_000, uses, site: storable(site), tags: storableTags(nodeTags) },
        directory.now(),
      );
      log.info({ enrolment: made.id, uses, expiresAt: made.expiresAt, by: whoIs(request) }, 'an enrolment token was made');
      return reply.code(201).send({ enrollment: enrollmentView(made, directory.now()), string: text });
    },
  });

  app.get('/api/telemetry/enrollments', {
    config: { access: 'admin' },
    schema: { tags, summary: 'Enrolment tokens, newest first, without the tokens themselves', response: { 200: EnrollmentList } },
    handler: async () => {
      const now = directory.now();
      return { enrollments: (await enrolments.enrollments(now)).map((row) => enrollmentView(row, now)) };
    },
  });

  app.delete<{ Params: { id: string } }>('/api/telemetry/enrollments/:id', {
    config: { access: 'admin' },
    schema: { tags, summary: 'End an enrolment token; machines that it let in stay', params: IdParams, response: { 204: Type.Null() } },
    handler: async (request, reply) => {
      const id = Number(request.params.id);
      if (!(await enrolments.revokeEnrollment(id, directory.now())))
        throw new ProblemError('enrollment_unknown', `There is no enrolment token ${id}.`);
      log.info({ enrolment: id, by: whoIs(request) }, 'an enrolment token was revoked');
      return reply.code(204).send(null);
    },
  });
}

/** The address is the one that was asked for, else the public one, else the one by which the administrator got here. */
function enrolmentString(
  token: string,
  wanted: string | undefined,
  request: FastifyRequest,
  { publicUrl, fingerprint }: EnrolmentRoutesOptions,
): string {
  const url = withoutSlash(wanted ?? publicUrl?.href ?? `${request.protocol}://${request.headers.host ?? ''}`);
  const text = formatEnrolment({ token, url, fingerprint: url.startsWith('https:') ? fingerprint : undefined });
  if (PLAIN_ADDRESS.test(url) && parseEnrolment(text)?.url === url) return text;
  throw new ProblemError(
    'body_invalid',
    `${JSON.stringify(url)} is not an address that an agent could use; it looks like https://monitor.example, without a user, a query or a fragment.`,
  );
}

function enrollmentView(row: Enrollment, now: Date): EnrollmentView {
  const { id, createdAt, expiresAt, uses, used, site, tags: nodeTags } = row;
  return {
    id,
    createdAt: createdAt.toISOString(),
    expiresAt: expiresAt.toISOString(),
    uses,
    used,
    site,
    tags: nodeTags,
    state: enrollmentState(row, now),
  };
}

function whoIs({ principal }: FastifyRequest): string {
  return principal?.kind === 'program' ? principal.name : 'a person at the console';
}

function decidingRoutes(app: FastifyInstance, { directory, enrolments, summarise, log }: EnrolmentRoutesOptions): void {
  const steps = [
    ['approve', 'Let a node report, or a machine that asks be the node', 'a machine was approved'],
    ['deny', 'Send away the machine that asks; its name is free when it was nobody else’s', 'a machine was denied'],
  ] as const;
  for (const [step, summary, said] of steps) {
    app.post<{ Params: { name: string }; Body: Static<typeof Decided> }>(`/api/telemetry/nodes/:name/${step}`, {
      config: { access: 'admin' },
      schema: { tags, summary, params: NodeParams, body: Decided, response: { 200: NodeSummary } },
      handler: async (request) => {
        const node = directory.byName(request.params.name);
        if (node === undefined) throw new ProblemError('node_unknown', `There is no node ${JSON.stringify(request.params.name)}.`);
        const claim = await enrolments[step](node.id, request.body?.machineCode, directory.now());
        await directory.changed();
        log.info(
          {
            node: node.name,
            ...(claim === undefined ? {} : { reason: claim.reason, machine: claim.machineCode, address: claim.address }),
            by: whoIs(request),
          },
          said,
        );
        return summarise(node);
      },
    });
  }
}
