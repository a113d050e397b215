/**
 * The one place that knows the collector's addresses. Every call ends within its time and with an `Answer`, never
 * with an exception: a page is drawn from failures just as from figures.
 */
import type {
  Acknowledge,
  AlertDetail,
  AlertList,
  ChannelList,
  ChannelTest,
  MadeEnrollment,
  NewEnrollment,
  NewSilence,
  NodeDetail,
  NodeList,
  NodeSummary,
  Overview,
  Replication,
  ReplicationEvent,
  RuleList,
  SeriesResponse,
  Settings,
  SilenceList,
} from '@tidemark/protocol';
import { readEvents, type LiveEvent } from './events.ts';
import type { Answer } from './failure.ts';
import { createTransport, document, failureOf, isRecord, nothing, notTheForm, signOfLife, type Question } from './transport.ts';

export interface Session {
  role: string;
  /** ISO 8601; null for a token, which does not expire. */
  expiresAt: string | null;
}

/** What to ask of the alerts; what is not given says nothing. */
export interface AlertQuery {
  state: 'open' | 'closed' | 'all';
  node?: string;
  rule?: string;
  site?: string;
  level?: string;
  limit?: number;
  /** The last id of the page before. */
  before?: string;
}

/** The token is told this once. */
export interface NodeWithToken {
  node: NodeSummary;
  token: string;
}
export type NodeStep = 'approve' | 'deny' | 'revoke' | 'retire';

export interface Api {
  session(signal?: AbortSignal): Promise<Answer<Session>>;
  signIn(token: string): Promise<Answer<void>>;
  signOut(): Promise<Answer<void>>;
  overview(signal?: AbortSignal): Promise<Answer<Overview>>;
  node(name: string, signal?: AbortSignal): Promise<Answer<NodeDetail>>;
  /** Whether the collector answers at all; cheap, and needs no session. */
  alive(signal?: AbortSignal): Promise<Answer<void>>;
  /** What happens, as it happens. Ends when the stream does: ok when the collector ended it. */
  events(onEvent: (event: LiveEvent) => void, signal: AbortSignal): Promise<Answer<void>>;

  alerts(query: AlertQuery, signal?: AbortSignal): Promise<Answer<AlertList>>;
  alert(id: string, signal?: AbortSignal): Promise<Answer<AlertDetail>>;
  acknowledge(id: string, body: Acknowledge): Promise<Answer<void>>;
  unacknowledge(id: string): Promise<Answer<void>>;
  /** `by` and `reason` when they are known. */
  closeAlert(id: string, body: { by?: string; reason?: string }): Promise<Answer<void>>;
  silences(signal?: AbortSignal): Promise<Answer<SilenceList>>;
  addSilence(body: NewSilence): Promise<Answer<void>>;
  endSilence(id: string): Promise<Answer<void>>;

  /** `query` as `GET /api/telemetry/series` has it. */
  series(query: URLSearchParams, signal?: AbortSignal): Promise<Answer<SeriesResponse>>;
  /** Of all clusters, or of those that a system identifier, a cluster's, a server's or a node's name stands for. */
  replication(cluster: string | undefined, signal?: AbortSignal): Promise<Answer<Replication>>;
  /** The newest first; `before` is the time of the last one known. */
  replicationEvents(query: {
    cluster?: string;
    kind?: string;
    before?: string;
    limit: number;
  }): Promise<Answer<{ events: ReplicationEvent[] }>>;
  rules(signal?: AbortSignal): Promise<Answer<RuleList>>;
  /** As they stand for one node, every layer applied. */
  rulesFor(node: string, signal?: AbortSignal): Promise<Answer<RulesOfNode>>;
  channels(signal?: AbortSignal): Promise<Answer<ChannelList>>;
  testChannel(name: string): Promise<Answer<ChannelTest>>;
  settings(signal?: AbortSignal): Promise<Answer<Settings>>;

  nodes(signal?: AbortSignal): Promise<Answer<NodeList>>;
  /** The string in the answer is told this once. */
  makeEnrollment(wanted: NewEnrollment): Promise<Answer<MadeEnrollment>>;
  newToken(name: string): Promise<Answer<NodeWithToken>>;
  renameNode(name: string, to: string): Promise<Answer<void>>;
  /** @param machineCode the machine that is approved or denied: nothing happens when another one asks by now */
  stepNode(name: string, step: NodeStep, machineCode?: string): Promise<Answer<void>>;
}

/** A rule as it stands for one node; `applies` is false when it judges nothing there. */
export type RuleOfNode = RuleList['rules'][number] & { applies?: boolean };
export interface RulesOfNode {
  rules: RuleOfNode[];
}

export interface ApiOptions {
  fetch: typeof fetch;
  /** After this a question counts as unanswered. */
  timeoutMs: number;
  /** The same for `alive`, on which "connection lost" hangs. */
  aliveTimeoutMs: number;
}

/** A channel's other side may take its time, and the collector waits for it. */
const CHANNEL_TEST_MS = 60_000;

const isOverview = (body: unknown): body is Overview => isRecord(body) && typeof body['at'] === 'string' && Array.isArray(body['nodes']);
const isNode = (body: unknown): body is NodeDetail =>
  isRecord(body) && typeof body['name'] === 'string' && Array.isArray(body['latest']) && Array.isArray(body['observations']);
const isSession = (body: unknown): body is Session => isRecord(body) && typeof body['role'] === 'string';
const isAlerts = (body: unknown): body is AlertList => isRecord(body) && Array.isArray(body['alerts']);
const isAlert = (body: unknown): body is AlertDetail =>
  isRecord(body) && isRecord(body['alert']) && Array.isArray(body['events']) && Array.isArray(body['telling']);
const isSilences = (body: unknown): body is SilenceList => isRecord(body) && Array.isArray(body['silences']);
const isSeries = (body: unknown): body is SeriesResponse => isRecord(body) && Array.isArray(body['series']);
const isReplication = (body: unknown): body is Replication => isRecord(body) && Array.isArray(body['clusters']);
const isReplicationEvents = (body: unknown): body is { events: ReplicationEvent[] } => isRecord(body) && Array.isArray(body['events']);
const isRules = (body: unknown): body is RuleList => isRecord(body) && Array.isArray(body['rules']);
const isRulesOfNode = (body: unknown): body is RulesOfNode => isRecord(body) && Array.isArray(body['rules']);
const isChannels = (body: unknown): body is ChannelList => isRecord(body) && Array.isArray(body['channels']);
const isChannelTest = (body: unknown): body is ChannelTest => isRecord(body) && typeof body['delivered'] === 'boolean';
const isSettings = (body: unknown): body is Settings =>
  isRecord(body) && typeof body['version'] === 'string' && isRecord(body['storage']) && Array.isArray(body['options']);
const isNodes = (body: unknown): body is NodeList => isRecord(body) && Array.isArray(body['nodes']);
const isEnrollment = (body: unknown): body is MadeEnrollment =>
  isRecord(body) && typeof body['string'] === 'string' && isRecord(body['enrollment']);
const isWithToken = (body: unknown): body is NodeWithToken => isRecord(body) && typeof body['token'] === 'string';

/** A query string of what is given. */
export function queryOf(parts: Record<string, string | number | undefined>): string {
  const given = Object.entries(parts).flatMap(([name, value]): [string, string][] =>
    value === undefined || value === '' ? [] : [[name, String(value)]],
  );
  return given.length === 0 ? '' : `?${new URLSearchParams(given).toString()}`;
}

/** Makes the client. It holds no state: the session is the browser's cookie. */
export function createApi(options: ApiOptions): Api {
  const transport = createTransport(options);
  const ask = <T>(question: Question<T>): Promise<Answer<T>> => transport.ask(question);
  const get = <T>(path: string, isForm: (body: unknown) => body is T, signal?: AbortSignal): Promise<Answer<T>> =>
    ask({ path, signal, read: document(isForm) });
  const post = <T>(path: string, isForm: (body: unknown) => body is T, body?: unknown, timeoutMs?: number): Promise<Answer<T>> =>
    ask({ method: 'POST', path, body, ...(timeoutMs === undefined ? {} : { timeoutMs }), read: document(isForm) });
  const act = (method: 'POST' | 'DELETE', path: string, body?: unknown): Promise<Answer<void>> =>
    ask({ method, path, body, read: nothing });
  const nodePath = (name: string): string => `/api/telemetry/nodes/${encodeURIComponent(name)}`;
  const alertPath = (id: string): string => `/api/alerts/${encodeURIComponent(id)}`;

  return {
    session: (signal) => get('/api/session', isSession, signal),
    signIn: (token) => act('POST', '/api/session', { token }),
    signOut: () => act('DELETE', '/api/session'),
    overview: (signal) => get('/api/telemetry/overview', isOverview, signal),
    node: (name, signal) => get(nodePath(name), isNode, signal),
    alive: (signal) => ask({ path: '/health', signal, timeoutMs: options.aliveTimeoutMs, read: signOfLife }),
    events: (onEvent, signal) =>
      ask<void>({
        path: '/api/events',
        signal,
        timeoutMs: null,
        async read(response) {
          if (!response.ok) return { ok: false, failure: await failureOf(response) };
          if (response.body === null || !/^text\/event-stream\b/i.test(response.headers.get('content-type') ?? ''))
            return { ok: false, failure: notTheForm(response.status) };
          await readEvents(response.body, onEvent);
          return { ok: true, value: undefined };
        },
      }),

    alerts: (query, signal) => get(`/api/alerts${queryOf({ ...query })}`, isAlerts, signal),
    alert: (id, signal) => get(alertPath(id), isAlert, signal),
    acknowledge: (id, body) => act('POST', `${alertPath(id)}/acknowledge`, body),
    unacknowledge: (id) => act('DELETE', `${alertPath(id)}/acknowledge`),
    closeAlert: (id, body) => act('POST', `${alertPath(id)}/close`, body),
    silences: (signal) => get('/api/silences', isSilences, signal),
    addSilence: (body) => act('POST', '/api/silences', body),
    endSilence: (id) => act('DELETE', `/api/silences/${encodeURIComponent(id)}`),

    series: (query, signal) => get(`/api/telemetry/series?${query.toString()}`, isSeries, signal),
    replication: (cluster, signal) => get(`/api/telemetry/replication${queryOf({ cluster })}`, isReplication, signal),
    replicationEvents: (query) => get(`/api/telemetry/replication/events${queryOf({ ...query })}`, isReplicationEvents),
    rules: (signal) => get('/api/rules', isRules, signal),
    rulesFor: (node, signal) => get(`/api/rules/applies${queryOf({ node })}`, isRulesOfNode, signal),
    channels: (signal) => get('/api/channels', isChannels, signal),
    testChannel: (name) => post(`/api/channels/${encodeURIComponent(name)}/test`, isChannelTest, undefined, CHANNEL_TEST_MS),
    settings: (signal) => get('/api/settings', isSettings, signal),

    nodes: (signal) => get('/api/telemetry/nodes', isNodes, signal),
    makeEnrollment: (wanted) => post('/api/telemetry/enrollments', isEnrollment, wanted),
    newToken: (name) => post(`${nodePath(name)}/token`, isWithToken),
    renameNode: (name, to) => act('POST', `${nodePath(name)}/rename`, { name: to }),
    stepNode: (name, step, machineCode) =>
      act('POST', `${nodePath(name)}/${step}`, machineCode === undefined ? undefined : { machineCode }),
  };
}
