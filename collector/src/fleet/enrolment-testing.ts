/** A collector's side of enrolment for tests: the real routes over a real database, and machines that ask. */
import { createHash, randomBytes } from 'node:crypto';
import type { EnrollAnswer, EnrollRequest, MadeEnrollment, NodeSummary, Problem } from '@tidemark/protocol';
import { parseEnrolment } from '@tidemark/protocol';
import type { FastifyInstance, LightMyRequestResponse } from 'fastify';
import { ManualClock, createLog, type Log } from '@tidemark/service';
import type { TestDatabase } from '../db/testing.ts';
import { testServer } from '../http/testing.ts';
import { FleetDirectory } from './directory.ts';
import type { EnrolmentPolicy } from './enrolment-decision.ts';
import { enrolmentRoutes } from './enrolment-routes.ts';
import { EnrolmentStore } from './enrolment-store.ts';
import type { NodeRecord } from './node.ts';
import { fleetRoutes } from './routes.ts';
import { FleetStore } from './store.ts';

/** A machine with an agent on it: its id's hash, and the secret that its agent made. */
export class Machine {
  readonly id: string | undefined;
  secret: string;

  constructor(id: string | undefined = randomBytes(32).toString('hex')) {
    this.id = id;
    this.secret = newSecret();
  }

  get hash(): string {
    return createHash('sha256').update(this.secret).digest('base64url');
  }

  /** As it is after the agent was installed anew. */
  reinstalled(): Machine {
    return new Machine(this.id);
  }

  request(name: string, more: Partial<EnrollRequest> = {}): EnrollRequest {
    return {
      name,
      secretHash: this.hash,
      version: '1.0.0',
      platform: 'linux-x64',
      ...(this.id === undefined ? {} : { machine: this.id }),
      ...more,
    };
  }
}

export const newSecret = (): string => `tma_${randomBytes(32).toString('base64url')}`;

export interface EnrolmentWorld {
  app: FastifyInstance;
  clock: ManualClock;
  directory: FleetDirectory;
  /** What an administrator asks. */
  ask: (
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    payload?: object,
    headers?: Record<string, string>,
  ) => Promise<LightMyRequestResponse>;
  /** A machine asks to be a node: the answer, or the problem. `bearer` is the secret that it shows. */
  enroll: (machine: Machine, name: string, more?: Partial<EnrollRequest>, bearer?: string) => Promise<EnrollAnswer | Problem>;
  /** The same in a word: `approved`, a reason for which it waits, or a problem's code. */
  verdict: (machine: Machine, name: string, more?: Partial<EnrollRequest>, bearer?: string) => Promise<string>;
  /** Makes an enrolment token and returns it alone, with its id. */
  token: (more?: object) => Promise<{ id: number; token: string }>;
  /** A step of a node's life: the state afterwards, or the problem's code. */
  step: (name: string, what: string, payload?: object) => Promise<string>;
  /** What an agent hears that reports with this secret: 200 and the node, or a problem's code. */
  report: (secret: string) => Promise<string>;
  nodes: () => Promise<NodeSummary[]>;
}

export interface EnrolmentWorldOptions {
  policy?: EnrolmentPolicy;
  publicUrl?: string;
  fingerprint?: string;
  clock?: ManualClock;
  log?: Log;
}

/** One collector on the database; a second call is a second collector, or the same after a restart. */
export async function enrolmentWorld(
  { database }: Pick<TestDatabase, 'database'>,
  options: EnrolmentWorldOptions = {},
): Promise<EnrolmentWorld> {
  const { policy = 'approve', clock = new ManualClock(), log = createLog('test', 'silent') } = options;
  const publicUrl = options.publicUrl === undefined ? undefined : new URL(options.publicUrl);
  const enrolments = new EnrolmentStore(database);
  const store = new FleetStore(database);
  const directory = new FleetDirectory(store, enrolments, clock, log);
  await directory.refresh();
  const summarise = (node: NodeRecord): NodeSummary => summaryOf(node);
  const { app, adminToken } = await testServer({
    credentials: directory,
    routes(a) {
      fleetRoutes(a, { directory, store, enrolments, summarise });
      a.post('/whoami', {
        config: { access: 'agent' },
        handler: async ({ principal }) => ({ node: principal?.kind === 'agent' ? principal.node.name : '' }),
      });
      enrolmentRoutes(a, { directory, enrolments, policy, publicUrl, fingerprint: options.fingerprint, summarise, log });
    },
  });
  const ask: EnrolmentWorld['ask'] = (method, url, payload, headers = {}) =>
    app.inject({
      method,
      url,
      headers: { authorization: `Bearer ${adminToken()}`, ...headers },
      ...(payload === undefined ? {} : { payload }),
    });
  const enroll: EnrolmentWorld['enroll'] = async (machine, name, more = {}, bearer) => {
    const answer = await app.inject({
      method: 'POST',
      url: '/api/telemetry/v1/enroll',
      payload: machine.request(name, more),
      ...(bearer === undefined ? {} : { headers: { authorization: `Bearer ${bearer}` } }),
    });
    return answer.json();
  };
  return {
    app,
    clock,
    directory,
    ask,
    enroll,
    async verdict(...asking) {
      const answer = await enroll(...asking);
      return 'code' in answer ? answer.code : (answer.reason ?? answer.state);
    },
    async token(more = {}) {
      const { enrollment, string } = (
        await ask('POST', '/api/telemetry/enrollments', { url: 'http://collector.example:5000', ...more })
      ).json<MadeEnrollment>();
      return { id: enrollment.id, token: parseEnrolment(string)!.token };
    },
    async step(name, what, payload) {
      const answer = await ask('POST', `/api/telemetry/nodes/${encodeURIComponent(name)}/${what}`, payload);
      return answer.statusCode < 300 ? (answer.json<Partial<NodeSummary>>().state ?? 'done') : answer.json<Problem>().code;
    },
    async report(secret) {
      const answer = await app.inject({ method: 'POST', url: '/whoami', headers: { authorization: `Bearer ${secret}` }, payload: {} });
      return answer.statusCode === 200 ? `200 ${answer.json<{ node: string }>().node}` : answer.json<Problem>().code;
    },
    nodes: async () => (await ask('GET', '/api/telemetry/nodes')).json<{ nodes: NodeSummary[] }>().nodes,
  };
}

function summaryOf({ id, name, site, tags, state, createdAt, agentVersion, intervalSeconds, claim }: NodeRecord): NodeSummary {
  return {
    id,
    name,
    site,
    tags,
    state,
    createdAt: new Date(createdAt).toISOString(),
    lastSeenAt: null,
    agentVersion,
    intervalSeconds,
    claim: claim ?? null,
  };
}
