/** The description of the API without a running collector: the real routes over parts that are made and never started. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ManualClock, OperationalFailure, createLog, type Clock, type Log } from '@tidemark/service';
import type { FastifyInstance } from 'fastify';
import { addRoutes, type Parts } from './collector.ts';
import { Partitions } from './db/partitions.ts';
import { Database } from './db/pool.ts';
import { EventHub } from './events/hub.ts';
import { FleetDirectory } from './fleet/directory.ts';
import { EnrolmentStore } from './fleet/enrolment-store.ts';
import { FleetStore } from './fleet/store.ts';
import { Components } from './health/components.ts';
import { AdminToken } from './http/admin-token.ts';
import { buildServer } from './http/server.ts';
import { NO_TLS } from './http/tls.ts';
import { IncidentBook } from './incidents/book.ts';
import { Recorder } from './incidents/recorder.ts';
import { IncidentStore } from './incidents/store.ts';
import { LiveView } from './live/live-view.ts';
import { FleetOverview } from './live/overview.ts';
import { OwnMetrics } from './live/own-metrics.ts';
import { Notifier } from './notify/index.ts';
import { ReportIntake } from './reports/intake.ts';
import { ReportWriter } from './reports/writer.ts';
import { ReplicationEvents } from './replication/event-store.ts';
import { Tracks } from './replication/tracks.ts';
import { ReplicationView } from './replication/view.ts';
import { createRuleSource } from './rules/source.ts';
import { ReportStream } from './stream/stream.ts';

export interface AssembledApi {
  /** Every route is there and answers as far as it can without a database. */
  app: FastifyInstance;
  adminToken: string;
  close: () => Promise<void>;
}

/** Puts the server together with all its routes. Nothing is connected to; the caller closes it. */
export async function assembleApi(version: string): Promise<AssembledApi> {
  const clock = new ManualClock();
  const log = createLog('tidemark-collector', 'silent');
  const dataDir = mkdtempSync(join(tmpdir(), 'tidemark-api-'));
  // Nothing listens on port 1: whatever asks the database hears that it is away.
  const database = new Database({ address: { url: 'postgresql://nobody@127.0.0.1:1/none' }, clock, log });
  const store = new FleetStore(database);
  const enrolments = new EnrolmentStore(database);
  const directory = new FleetDirectory(store, enrolments, clock, log);
  const view = new LiveView(clock);
  const own = new OwnMetrics({
    version,
    gauges: { databaseUp: () => false, reportsWaiting: () => 0, liveSeries: () => 0 },
    processMetrics: false,
  });
  const writer = new ReportWriter({
    database,
    partitions: new Partitions(database, [], clock, log),
    clock,
    log,
    metrics: own,
    onStoreChanged: () => {},
  });
  const intake = new ReportIntake({ database, stream: new ReportStream(), writer, clock, log, metrics: own, onHeard: () => {} });
  const adminToken = new AdminToken(dataDir);
  const app = await buildServer({ log, version, credentials: directory, adminToken, clock, publicUrl: undefined });
  const overview = new FleetOverview(view, directory, clock);
  const parts = {
    clock,
    database,
    store,
    enrolments,
    directory,
    view,
    own,
    intake,
    overview,
    components: new Components(clock),
    hub: new EventHub({ clock, view, overview, nodes: () => [] }),
    alerting: unstartedAlerting(database, clock, log),
    replication: unstartedReplication(database, directory, clock, log),
    tls: NO_TLS,
  };
  addRoutes(app, parts, {
    consoleDir: join(dataDir, 'none'),
    dashboardsDir: join(dataDir, 'none'),
    lifecycle: { stopping: false },
    baseUrl: () => new URL('http://127.0.0.1'),
    runbooksDir: join(dataDir, 'none'),
    downloads: { installersDir: join(dataDir, 'none'), version, dataDir, clock, log, publicUrl: undefined, policy: 'approve' },
    enrolment: { policy: 'approve', publicUrl: undefined, log },
    settings: {
      version,
      file: undefined,
      publicUrl: undefined,
      retention: { reportDays: 1, observationDays: 1 },
      database: 'none',
      embeddedDirectory: undefined,
      options: () => [],
    },
  });
  await app.ready();
  return {
    app,
    adminToken: readFileSync(adminToken.file, 'utf8').trim(),
    close: async () => {
      await app.close();
      await database.close();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

function unstartedReplication(database: Database, fleet: FleetDirectory, clock: Clock, log: Log): Parts['replication'] {
  const events = new ReplicationEvents({ database, clock, log, random: Math.random });
  return { events, view: new ReplicationView({ clock, tracks: new Tracks(), keeper: events, fleet, liveness: () => 'unknown' }) };
}

/** Shipped rules, no channels, and a book that nothing is written into. */
function unstartedAlerting(database: Database, clock: Clock, log: Log): Parts['alerting'] {
  const rules = createRuleSource({
    config: { rules: [], overrides: [], file: undefined, placeOf: (key, path) => [key, ...path].join('.') },
    clock,
    log,
  });
  const recorder = new Recorder({ book: new IncidentBook(), epoch: 0, clock, random: randomBytes, log: { append: async () => {} } });
  const notifier = new Notifier({
    recorder,
    clock,
    log,
    randomBytes,
    random: Math.random,
    channels: [],
    nodeOf: () => undefined,
    collectorUrl: () => 'http://127.0.0.1',
  });
  return {
    rules,
    notifier,
    incidents: { recorder, store: new IncidentStore(database), localEntries: async () => [] },
    latestOf: () => undefined,
    reload: () => Promise.reject(new OperationalFailure('This collector was never started.')),
  };
}

/** The OpenAPI document, as it is kept in docs/reference/openapi.json. */
export async function describeApi(version: string): Promise<string> {
  const { app, close } = await assembleApi(version);
  try {
    return `${JSON.stringify(app.swagger(), undefined, 2)}\n`;
  } finally {
    await close();
  }
}
