/** A server for tests: the real one with routes of every access, over credentials that the test makes up, on a clock that the test moves. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { ProblemError, ReportRequest, type NodeState } from '@tidemark/protocol';
import { ManualClock } from '@tidemark/service';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { Type } from 'typebox';
import { onTestFinished } from 'vitest';
import type { NodeRecord } from '../fleet/node.ts';
import { AdminToken } from './admin-token.ts';
import type { AgentCredential, Credentials } from './authenticate.ts';
import { buildServer, type ServerOptions } from './server.ts';

export const AGENT_TOKEN = 'tma_agent';
export const READ_TOKEN = 'tmt_read';
export const ADMIN_TOKEN = 'tmt_admin';

export const nodeRecord = (name: string, state: NodeState = 'approved'): NodeRecord => ({
  id: 1,
  name,
  state,
  site: '',
  tags: {},
  createdAt: 0,
  agentVersion: null,
  intervalSeconds: null,
});

export interface TestServer {
  app: FastifyInstance;
  clock: ManualClock;
  dataDir: string;
  /** The admin token as its file has it. */
  adminToken: () => string;
  agents: Map<string, AgentCredential>;
  /** Everything that was logged. */
  logged: () => string;
  /** Signs in and returns the cookie. */
  signIn: () => Promise<string>;
}

/** Closed when the test is over. */
export async function testServer(options: Partial<ServerOptions> & { routes?: (app: FastifyInstance) => void } = {}): Promise<TestServer> {
  const dataDir = mkdtempSync(join(tmpdir(), 'tidemark-http-'));
  const clock = new ManualClock();
  const agents = new Map<string, AgentCredential>([[AGENT_TOKEN, { node: nodeRecord('db1'), revoked: false }]]);
  const credentials: Credentials = {
    findByToken: (token) => agents.get(token),
    findApiToken: (token) =>
      token === READ_TOKEN ? { name: 'r', role: 'read' } : token === ADMIN_TOKEN ? { name: 'a', role: 'admin' } : undefined,
  };
  let log = '';
  const stream = new Writable({ write: (chunk: Buffer, _, done) => ((log += chunk.toString()), done()) });
  const app = await buildServer({
    log: pino({ level: 'debug' }, stream),
    version: '0.0.0',
    credentials,
    adminToken: new AdminToken(dataDir, clock),
    clock,
    publicUrl: undefined,
    ...options,
  });
  addRoutes(app);
  options.routes?.(app);
  onTestFinished(async () => {
    await app.close();
    rmSync(dataDir, { recursive: true, force: true });
  });
  const adminToken = (): string => readFileSync(join(dataDir, 'admin-token'), 'utf8').trim();
  return {
    app,
    clock,
    dataDir,
    adminToken,
    agents,
    logged: () => log,
    async signIn() {
      const answer = await app.inject({ method: 'POST', url: '/api/session', payload: { token: adminToken() } });
      return String(answer.headers['set-cookie']).split(';')[0]!;
    },
  };
}

function addRoutes(app: FastifyInstance): void {
  app.post('/agent', {
    config: { access: 'agent' },
    schema: { body: ReportRequest },
    handler: async (request) => ({ node: request.principal?.kind === 'agent' ? request.principal.node.name : '' }),
  });
  app.post('/echo', { config: { access: 'agent' }, handler: async (request) => request.body });
  app.get('/read', async () => ({ read: true }));
  app.get<{ Params: { name: string } }>('/things/:name', { config: { access: 'read' }, handler: async ({ params }) => params });
  app.post('/change', {
    schema: {
      body: Type.Object({
        size: Type.Integer({ maximum: 9 }),
        word: Type.Optional(Type.String({ pattern: '^a', description: 'a word that begins with a' })),
      }),
    },
    handler: async ({ body }) => body,
  });
  app.delete('/change', async () => ({ deleted: true }));
  app.get('/broken', async () => {
    throw new Error('the secret inside');
  });
  app.get('/away', async () => {
    throw new ProblemError('database_away', 'Not now.', { retryAfterSeconds: 5 });
  });
}
