/**
 * The collector's interface as the console sees it, over a fake fleet: same addresses, same problem documents.
 * Whoever drives it can make it wrong in each way the console has to show.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import type { Problem, ProblemCode } from '@tidemark/protocol';
import { fakeFleet, type FakeFleet, type FakeFleetOptions } from './fleet.ts';
import { MockAlerts, type AlertScene, type MockReply } from './mock-alerts.ts';
import { MockEvents, type MockStream } from './mock-events.ts';
import { MockNodes } from './mock-nodes.ts';
import { mockReplication, mockReplicationEvents, type MockHost, type ReplicationScene } from './mock-replication.ts';
import { mockChannels, mockRuleList, mockSettings, rulesOfNode } from './mock-rules.ts';

/** `hang` takes requests and never answers; `cut` closes the connection; a problem answers with its document. */
export type MockTrouble =
  | { kind: 'none' }
  | { kind: 'hang' }
  | { kind: 'cut' }
  | { kind: 'problem'; status: number; code: ProblemCode; detail: string; retryAfterSeconds?: number; only?: string };

export interface MockApiOptions extends FakeFleetOptions {
  token: string;
  /** Without it the session comes from signing in. */
  signedIn?: boolean;
  now?: () => number;
  /** What the alerts shall be; none, without it. */
  alerts?: AlertScene;
  /** Which PostgreSQL clusters there are; none, without it. */
  replication?: ReplicationScene;
  /** How the event stream behaves; open, without it. */
  stream?: MockStream;
}

export interface MockApi {
  /** Answers a request to the interface; false when the address is not one of its. */
  handle(request: IncomingMessage, response: ServerResponse): boolean;
  setTrouble(trouble: MockTrouble): void;
  setFleet(options: FakeFleetOptions): void;
  /** Forgets every session, as a restart with a new secret would. */
  endSessions(): void;
  /** Sets other alerts; open pages learn of it as from a collector that was started anew. */
  setAlerts(scene: AlertScene): void;
  /** Other clusters; open pages are told that something changed. */
  setReplication(scene: ReplicationScene): void;
  setStream(stream: MockStream): void;
  /** What the signed-in may: "read" may look, not change. */
  setRole(role: 'admin' | 'read'): void;
  readonly alerts: MockAlerts;
  readonly events: MockEvents;
  /** Whole fleets told: asked for, or as a stream's first event. */
  readonly overviewsServed: number;
  /** How often replication was asked for. */
  readonly replicationsServed: number;
}

const SESSION_MS = 12 * 3_600_000;

function sendProblem(response: ServerResponse, status: number, code: ProblemCode, detail: string, retryAfterSeconds?: number): void {
  const body: Problem = { type: `urn:tidemark:problem:${code}`, title: code.replaceAll('_', ' '), status, code, detail };
  const retry = retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) };
  response.writeHead(status, { 'content-type': 'application/problem+json', ...retry }).end(JSON.stringify(body));
}

function sendJson(request: IncomingMessage, response: ServerResponse, body: unknown, status = 200): void {
  const text = JSON.stringify(body);
  const packed = text.length > 1_024 && /\bgzip\b/.test(request.headers['accept-encoding']?.toString() ?? '');
  const encoding = packed ? { 'content-encoding': 'gzip' } : {};
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store', ...encoding });
  response.end(packed ? gzipSync(text, { level: 1 }) : text);
}

function readBody(request: IncomingMessage, done: (text: string) => void): void {
  const chunks: Buffer[] = [];
  let length = 0;
  request.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length < 65_536) chunks.push(chunk);
  });
  request.on('end', () => done(Buffer.concat(chunks).toString('utf8')));
}

/** Makes the fake interface. Its sessions live as long as it does. */
export function mockApi(options: MockApiOptions): MockApi {
  const now = options.now ?? Date.now;
  const sessions = new Set<string>();
  let everyone = options.signedIn === true;
  let fleet: FakeFleet = fakeFleet(options, now());
  let trouble: MockTrouble = { kind: 'none' };
  let overviewsServed = 0;
  let replicationsServed = 0;
  let replication: ReplicationScene = options.replication ?? 'none';
  let role: 'admin' | 'read' = 'admin';
  let stream: MockStream = options.stream ?? 'open';
  const nodes = new MockNodes(now);
  const overview = () => nodes.overview(fleet.overview(now()));
  const events = new MockEvents(overview);
  const alerts = new MockAlerts(
    now,
    (alert) => events.tell('alert', alert),
    () => events.tell('changed', { what: 'silences' }),
  );
  alerts.set(options.alerts ?? 'none', overview());

  const signedIn = (request: IncomingMessage): boolean => {
    const cookie = /(?:^|;\s*)tidemark_session=([0-9a-f]+)/.exec(request.headers.cookie ?? '')?.[1];
    return everyone || (cookie !== undefined && sessions.has(cookie));
  };

  const signIn = (request: IncomingMessage, response: ServerResponse): void =>
    readBody(request, (text) => {
      let token: unknown;
      try {
        token = (JSON.parse(text) as { token?: unknown }).token;
      } catch {
        return sendProblem(response, 400, 'body_malformed', 'The body is not valid JSON.');
      }
      if (token !== options.token) return sendProblem(response, 401, 'credential_unknown', 'This token is not known here.');
      const id = randomBytes(16).toString('hex');
      sessions.add(id);
      response.writeHead(204, { 'set-cookie': `tidemark_session=${id}; HttpOnly; SameSite=Strict; Path=/` }).end();
    });

  /** Databases that report, replicas last, so that the links of the clusters lead to their nodes. */
  const hosts = (): MockHost[] => {
    const standing = overview().nodes.filter(({ up, postgres }) => up && postgres.some((server) => server.up === true));
    const of = (wanted: 'primary' | 'replica') => standing.filter(({ postgres }) => postgres.some((server) => server.role === wanted));
    return [...of('primary').slice(0, 1), ...of('replica').slice(0, 3)];
  };

  const elsewhere = (method: string, url: URL, text: string): MockReply => {
    let body: Record<string, unknown>;
    try {
      body = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
    } catch {
      return { status: 400, body: 'body_malformed' };
    }
    const [, , kind = '', id, verb] = url.pathname.split('/').map(decodeURIComponent);
    const ok = (value: unknown): MockReply => (value === undefined ? { status: 404, body: 'alert_unknown' } : { status: 200, body: value });
    switch (`${method} ${kind}${id === undefined ? '' : '/X'}${verb === undefined ? '' : `/${kind === 'telemetry' ? 'X' : verb}`}`) {
      case 'GET alerts':
        return ok(alerts.list(url.searchParams));
      case 'GET alerts/X':
        return ok(alerts.detail(id ?? ''));
      case 'POST alerts/X/acknowledge':
        return alerts.acknowledge(id ?? '', body);
      case 'DELETE alerts/X/acknowledge':
        return alerts.unacknowledge(id ?? '');
      case 'POST alerts/X/close':
        return alerts.close(id ?? '');
      case 'GET silences':
        return ok(alerts.silences());
      case 'POST silences':
        return alerts.silence(body as Parameters<typeof alerts.silence>[0]);
      case 'DELETE silences/X':
        return alerts.endSilence(id ?? '');
      case 'GET rules':
        return ok(mockRuleList(now()));
      case 'GET rules/X':
        return ok({ rules: rulesOfNode(overview().nodes.find((node) => node.name === url.searchParams.get('node'))) });
      case 'GET channels':
        return ok({ channels: mockChannels(now()) });
      case 'POST channels/X/test':
        return ok(
          id === 'team-mail'
            ? { delivered: false, answer: '451 4.7.1 Greylisting in action, please come back later', milliseconds: 812 }
            : { delivered: true, answer: '200 OK: {"status":"queued"}', milliseconds: 143 },
        );
      case 'GET settings':
        return ok(mockSettings());
      case 'GET telemetry/X':
        return ok(nodes.list(fleet.overview(now())));
      case 'POST telemetry/X':
        return { status: 201, body: nodes.enroll(body) };
      case 'POST telemetry/X/X': {
        const [, , , , name = '', step = ''] = url.pathname.split('/').map(decodeURIComponent);
        return nodes.act(fleet.overview(now()), name, step, body);
      }
      default:
        return { status: 404, body: 'not_found' };
    }
  };

  const answer = (request: IncomingMessage, response: ServerResponse, path: string): void => {
    if (path === '/health') return sendJson(request, response, { status: 'ok' });
    if (path === '/api/session' && request.method === 'POST') return signIn(request, response);
    if (!signedIn(request)) return sendProblem(response, 401, 'credential_missing', 'Sign in first.');
    if (path === '/api/session' && request.method === 'DELETE') {
      sessions.clear();
      everyone = false;
      response.writeHead(204, { 'set-cookie': 'tidemark_session=; Max-Age=0; Path=/' }).end();
      return;
    }
    if (path === '/api/session') return sendJson(request, response, { role, expiresAt: new Date(now() + SESSION_MS).toISOString() });
    if (path === '/api/telemetry/overview') {
      overviewsServed += 1;
      return sendJson(request, response, overview());
    }
    if (path === '/api/events' && stream !== 'absent') {
      overviewsServed += 1;
      return events.join(response, stream === 'held');
    }
    if (path === '/api/telemetry/replication/events') {
      const { searchParams } = new URL(request.url ?? '/', 'http://mock');
      return sendJson(request, response, { events: mockReplicationEvents(mockReplication(replication, now(), hosts()), searchParams) });
    }
    if (path === '/api/telemetry/replication') {
      replicationsServed += 1;
      const all = mockReplication(replication, now(), hosts());
      const of = new URL(request.url ?? '/', 'http://mock').searchParams.get('cluster');
      const clusters = all.clusters.filter(
        ({ systemIdentifier, name, instances }) =>
          of === null || [systemIdentifier, name].includes(of) || instances.some(({ node }) => node === of),
      );
      if (clusters.length > 0 || of === null) return sendJson(request, response, { at: all.at, clusters });
      return sendProblem(response, 404, 'cluster_unknown', 'There is no such cluster, server or node here.');
    }
    if (request.method !== 'GET' || !/^\/api\/telemetry\/(?:overview|nodes\/|series)/.test(path)) {
      if (role === 'read' && (request.method !== 'GET' || path === '/api/settings'))
        return sendProblem(response, 403, 'role_insufficient', 'This credential may look, but not change anything.');
      return readBody(request, (text) => {
        const reply = elsewhere(request.method ?? 'GET', new URL(request.url ?? '/', 'http://mock'), text);
        if (reply.status < 300)
          return reply.status === 204 ? void response.writeHead(204).end() : sendJson(request, response, reply.body, reply.status);
        sendProblem(response, reply.status, String(reply.body) as ProblemCode, `The mock says ${String(reply.body).replaceAll('_', ' ')}.`);
      });
    }
    if (path === '/api/telemetry/series') {
      const series = fleet.series(new URL(request.url ?? '/', 'http://mock').searchParams, now());
      if (series !== undefined) return sendJson(request, response, series);
      return sendProblem(response, 404, 'node_unknown', 'There is no such node.');
    }
    const name = /^\/api\/telemetry\/nodes\/([^/]+)$/.exec(path)?.[1];
    const detail = name === undefined ? undefined : fleet.detail(decodeURIComponent(name), now());
    if (detail !== undefined) return sendJson(request, response, detail);
    sendProblem(response, 404, name === undefined ? 'not_found' : 'node_unknown', 'There is no such node.');
  };

  return {
    handle(request, response) {
      const path = new URL(request.url ?? '/', 'http://mock').pathname;
      if (!path.startsWith('/api/') && path !== '/health') return false;
      if (trouble.kind === 'hang') return true;
      if (trouble.kind === 'cut') {
        request.socket.destroy();
        return true;
      }
      // Who may not have the whole fleet may not have it as a stream either.
      const asked = path === '/api/events' ? '/api/telemetry/overview' : path;
      if (trouble.kind === 'problem' && (trouble.only === undefined || trouble.only === asked || trouble.only === path))
        sendProblem(response, trouble.status, trouble.code, trouble.detail, trouble.retryAfterSeconds);
      else answer(request, response, path);
      return true;
    },
    setTrouble(next) {
      trouble = next;
      events.silent = next.kind === 'hang';
      if (next.kind === 'cut' || next.kind === 'problem') events.end();
    },
    setFleet(next) {
      fleet = fakeFleet(next, now());
      events.end();
    },
    endSessions() {
      sessions.clear();
      everyone = false;
      events.end();
    },
    setAlerts(scene) {
      alerts.set(scene, overview());
      events.end();
    },
    setReplication(next) {
      replication = next;
      events.tell('changed', { what: 'replication' });
    },
    setStream(next) {
      stream = next;
      events.end();
    },
    setRole(next) {
      role = next;
    },
    alerts,
    events,
    get overviewsServed() {
      return overviewsServed;
    },
    get replicationsServed() {
      return replicationsServed;
    },
  };
}
