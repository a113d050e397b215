/**
 * The collector's wiring, readable from top to bottom: database, who belongs to the fleet, the way in,
 * the ways out. Everything it starts is stopped in the reverse order: no request is cut, what waits is
 * written, and the database goes last.
 */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { NodeSummary } from '@tidemark/protocol';
import {
  OperationalFailure,
  describeOptions,
  ensureDirectory,
  systemClock,
  type Clock,
  type Lifecycle,
  type LoadedOptions,
  type Log,
} from '@tidemark/service';
import type { FastifyInstance } from 'fastify';
import { schedule } from 'node-cron';
import { countAlerting, registerAlerting, startAlerting, type Alerting } from './alerting.ts';
import { refuseHalfRestored } from './backup/index.ts';
import { collectorOptions, localUrl, parseListen, type CollectorConfig } from './config.ts';
import { startEmbeddedPostgres, type EmbeddedPostgres } from './db/embedded/index.ts';
import { readMigrations } from './db/migrate.ts';
import { Partitions } from './db/partitions.ts';
import { Database, type DatabaseAddress } from './db/pool.ts';
import { makeUsable, whileStarting } from './db/usable.ts';
import { downloadRoutes, type DownloadRoutesOptions } from './downloads/routes.ts';
import { EventHub } from './events/hub.ts';
import { eventRoutes } from './events/routes.ts';
import { FleetDirectory } from './fleet/directory.ts';
import { enrolmentRoutes, type EnrolmentRoutesOptions } from './fleet/enrolment-routes.ts';
import { EnrolmentStore } from './fleet/enrolment-store.ts';
import { fleetRoutes } from './fleet/routes.ts';
import type { NodeRecord } from './fleet/node.ts';
import { FleetStore } from './fleet/store.ts';
import { grafanaRoutes } from './grafana/routes.ts';
import { Components } from './health/components.ts';
import { healthRoutes } from './health/routes.ts';
import { AdminToken } from './http/admin-token.ts';
import { consoleFiles } from './http/console-files.ts';
import { ensureListenable, listenOn, stopListening, type ListenAddress } from './http/listen.ts';
import { prefixOf, refuseAmbiguousPrefix } from './http/prefix.ts';
import { buildServer } from './http/server.ts';
import { machineNames, plainHttpWarning } from './http/tls-names.ts';
import { NO_TLS, localTrust, openTls, type CollectorTls, type LocalTrust } from './http/tls.ts';
import { LiveView } from './live/live-view.ts';
import { MetricsPage } from './live/metrics-page.ts';
import { FleetOverview, isUp } from './live/overview.ts';
import { OwnMetrics } from './live/own-metrics.ts';
import { liveRoutes } from './live/routes.ts';
import { watchForStalls } from './live/stall-watch.ts';
import { ReportIntake } from './reports/intake.ts';
import { reportRoutes } from './reports/routes.ts';
import { ReportWriter } from './reports/writer.ts';
import { prometheusRuleRoutes } from './rules/prometheus-routes.ts';
import { alertRoutes } from './incidents/routes.ts';
import { ruleRoutes } from './rules/routes.ts';
import { runbookRoutes } from './runbooks/routes.ts';
import { channelRoutes } from './notify/index.ts';
import { replicationRoutes } from './replication/routes.ts';
import { countReplication, registerReplication, startReplication, type Replicating } from './replicating.ts';
import { ReportReader } from './series/reread.ts';
import { restoreLiveView } from './series/restore.ts';
import { nodeSummary, seriesRoutes } from './series/routes.ts';
import { SeriesStore } from './series/store.ts';
import { settingsRoutes, type SettingsRoutesOptions } from './settings/routes.ts';
import { SettingsStore } from './settings/store.ts';
import { ReportStream } from './stream/stream.ts';

export interface CollectorOptions {
  /** As it was loaded, with where everything comes from. */
  configuration: LoadedOptions<CollectorConfig>;
  /** Loads it again. Throws an OperationalFailure that names every mistake. */
  reread: () => LoadedOptions<CollectorConfig>;
  version: string;
  migrationsDir: string;
  consoleDir: string;
  runbooksDir: string;
  /** Grafana's dashboards, as generated files. */
  dashboardsDir: string;
  /** The installers' templates, and below it the bundle for agents, or what makes it. */
  installersDir: string;
  /** $XDG_RUNTIME_DIR, where there is one. */
  runtimeDir?: string | undefined;
  clock?: Clock;
  log: Log;
  lifecycle: Pick<Lifecycle, 'onStop' | 'onReload' | 'stopping'>;
}

export interface StartedCollector {
  /** The address by which this machine reaches it. */
  url: string;
  listen: ListenAddress;
  adminTokenFile: string;
  /** What a client on this machine has to trust, when this collector speaks HTTPS. */
  trust: LocalTrust | undefined;
  embedded: EmbeddedPostgres | undefined;
}

/** What the routes stand on. */
export interface Parts {
  clock: Clock;
  database: Database;
  store: FleetStore;
  enrolments: EnrolmentStore;
  directory: FleetDirectory;
  view: LiveView;
  own: OwnMetrics;
  intake: ReportIntake;
  components: Components;
  alerting: Pick<Alerting, 'rules' | 'notifier' | 'reload' | 'latestOf'> & {
    incidents: Pick<Alerting['incidents'], 'recorder' | 'store' | 'localEntries'>;
  };
  replication: Pick<Replicating, 'view' | 'events'>;
  hub: EventHub;
  overview: FleetOverview;
  tls: CollectorTls;
}

const PARTITION_SCHEDULE = '7 * * * *';
/** What the LSN history of a day is rebuilt from, wherever in its day that begins. */
const TRACK_DAYS = 2;

/** Starts a collector. Rejects with an OperationalFailure that says what to do when something it needs is not to be had. */
export async function startCollector(options: CollectorOptions): Promise<StartedCollector> {
  const { log, lifecycle } = options;
  const config = options.configuration.values;
  const clock = options.clock ?? systemClock;
  const listen = parseListen(config.listen);
  await ensureListenable(listen);
  ensureDirectory(config.dataDir, "the collector's data");
  refuseHalfRestored(config.dataDir);
  const adminToken = new AdminToken(config.dataDir);
  const publicUrl = config.publicUrl === undefined ? undefined : new URL(config.publicUrl);
  const tls = openTls({
    ...config,
    clock,
    random: randomBytes,
    hostname: hostname(),
    names: () => [...(publicUrl === undefined ? [] : [publicUrl.hostname]), ...config.tlsNames, ...machineNames(hostname())],
    publicHost: publicUrl?.hostname,
    log: log.child({ component: 'tls' }),
  });
  if (tls !== undefined) lifecycle.onStop('tls', tls.watch());
  const embedded = config.databaseUrl === undefined ? await startEmbedded(options) : undefined;
  const database = await openDatabase(embedded?.connection ?? { url: config.databaseUrl! }, options, clock);
  const partitions = await keepPartitions(database, options, clock);

  const store = new FleetStore(database);
  const enrolments = new EnrolmentStore(database);
  const directory = new FleetDirectory(store, enrolments, clock, log.child({ component: 'fleet' }));
  await whileStarting(() => directory.start());
  lifecycle.onStop('fleet', () => directory.stop());

  const view = new LiveView(clock);
  const own: OwnMetrics = new OwnMetrics({
    version: options.version,
    gauges: { databaseUp: () => database.state.up, reportsWaiting: () => writer.depth, liveSeries: () => view.seriesCount() },
  });
  const stream = new ReportStream();
  stream.subscribe(view);
  const ingestLog = log.child({ component: 'ingest' });
  const writer: ReportWriter = new ReportWriter({
    database,
    partitions,
    clock,
    log: ingestLog,
    metrics: own,
    onStoreChanged: () => intake.forgetStore(),
  });
  const reader = new ReportReader(database, (id) => directory.byId(id));
  await whileStarting(() => restoreLiveView(view, reader, directory.all(), clock));
  const replication = await whileStarting(() => startReplication({ clock, log, database, directory, view }));
  lifecycle.onStop('replication', () => replication.stop());
  countReplication(own.registry, replication);
  const intake: ReportIntake = new ReportIntake({
    database,
    stream,
    writer,
    clock,
    log: ingestLog,
    metrics: own,
    onHeard: (node, agent, clockOffsetMs) => {
      directory.agentSeen(node, agent);
      view.heard(node, agent, clockOffsetMs);
    },
    derive: (report) => replication.view.accept(report),
    movedTo: config.movedTo?.replace(/\/+$/, ''),
  });
  lifecycle.onStop('writer', () => writer.stop());
  const stalls = watchForStalls(clock, () => {
    view.settle();
    own.stalled();
  });
  lifecycle.onStop('stall watch', () => stalls.stop());

  const baseUrl = (): URL => publicUrl ?? new URL(localUrl(listen, tls !== undefined));
  const alerting = await startAlerting({
    ...options,
    clock,
    database,
    directory,
    view,
    stream,
    reader,
    collectorUrl: () => baseUrl().href.replace(/\/+$/, ''),
    explain: (nodeId, metric, labels) => replication.view.explain(nodeId, metric, labels),
  });
  lifecycle.onStop('alerting', () => alerting.stop());
  countAlerting(own.registry, {
    recorder: alerting.incidents.recorder,
    channels: () => alerting.notifier.views(),
    waiting: () => alerting.incidents.waiting(),
  });
  lifecycle.onReload(() => void reloadOnSignal(alerting, log));
  const overview = new FleetOverview(view, directory, clock);
  const hub = new EventHub({ clock, view, overview, nodes: () => directory.all() });
  alerting.tellPages(hub);
  replication.tellPages(hub);

  const app = await buildServer({
    // Fastify announces its address by itself; the collector does that in its own words.
    log: log.child({ component: 'http' }, { level: log.isLevelEnabled('debug') ? 'debug' : 'warn' }),
    version: options.version,
    credentials: directory,
    adminToken,
    clock,
    trustedProxies: config.trustedProxies,
    publicUrl,
    tls,
    onAnswered: ({ method, routeOptions }, status, seconds) => {
      if (routeOptions.config.access === 'agent') own.acknowledged(seconds);
      else own.requestAnswered(method, routeOptions.url ?? 'none', status, seconds);
    },
  });
  const components = registerComponents({ clock, database, directory, view, writer, replication }, alerting);
  if (tls !== undefined) components.register('tls', false, () => tls.health());
  lifecycle.onStop('component watch', components.watch());
  addRoutes(
    app,
    {
      clock,
      database,
      store,
      enrolments,
      directory,
      view,
      own,
      intake,
      components,
      alerting,
      replication,
      hub,
      overview,
      tls: tls ?? NO_TLS,
    },
    {
      ...options,
      baseUrl,
      settings: settingsOf(options, embedded),
      enrolment: { policy: config.enrollment, publicUrl, log: log.child({ component: 'enrolment' }) },
      downloads: {
        installersDir: options.installersDir,
        version: options.version,
        dataDir: config.dataDir,
        clock,
        log: log.child({ component: 'downloads' }),
        publicUrl,
        policy: config.enrollment,
      },
    },
  );
  lifecycle.onStop('http', () => stopListening(app));
  listen.port = await listenOn(app, listen);
  log.info({ listen: config.listen, port: listen.port, nodes: [...directory.all()].length }, 'the collector listens');
  const warning = plainHttpWarning({ tls: config.tls, host: listen.host, publicUrl });
  if (warning !== undefined) log.warn(warning);
  return {
    url: localUrl(listen, tls !== undefined),
    listen,
    adminTokenFile: adminToken.file,
    trust: localTrust(config),
    embedded,
  };
}

export interface RouteOptions extends Pick<CollectorOptions, 'consoleDir' | 'dashboardsDir' | 'runbooksDir'> {
  lifecycle: Pick<Lifecycle, 'stopping'>;
  /** Where this collector is reached from outside. */
  baseUrl: () => URL;
  enrolment: Pick<EnrolmentRoutesOptions, 'policy' | 'publicUrl' | 'log'>;
  settings: Omit<SettingsRoutesOptions, 'clock' | 'store' | 'reload'>;
  downloads: Omit<DownloadRoutesOptions, 'baseUrl'>;
}

/** Every address of the collector, but for what the HTTP server has by itself (sign-in, description). */
export function addRoutes(
  app: FastifyInstance,
  { clock, database, store, enrolments, directory, view, own, intake, components, alerting, replication, hub, overview, tls }: Parts,
  options: RouteOptions,
): void {
  healthRoutes(app, { components, clock, stopping: () => options.lifecycle.stopping });
  reportRoutes(app, {
    intake,
    nodeOf: (request) => (request.principal?.kind === 'agent' ? request.principal.node : undefined),
  });
  const summarise = (node: NodeRecord): NodeSummary => nodeSummary(node, view.node(node.id)?.lastSeenAt);
  fleetRoutes(app, { directory, store, enrolments, summarise });
  enrolmentRoutes(app, { ...options.enrolment, directory, enrolments, fingerprint: tls.fingerprint, summarise });
  liveRoutes(app, {
    fleet: directory,
    overview,
    page: new MetricsPage(view, directory, own.registry),
    baseUrl: options.baseUrl,
  });
  seriesRoutes(app, { fleet: directory, view, store: new SeriesStore(database), clock });
  replicationRoutes(app, { view: replication.view, events: replication.events });
  alertRoutes(app, {
    recorder: alerting.incidents.recorder,
    store: alerting.incidents.store,
    fleet: directory,
    clock,
    random: randomBytes,
    tellingOf: (incident) => alerting.notifier.tellingOf(incident),
    localEntries: () => alerting.incidents.localEntries(),
    latestOf: (id) => alerting.latestOf(id),
  });
  ruleRoutes(app, { source: alerting.rules, fleet: directory });
  prometheusRuleRoutes(app, { source: alerting.rules, fleet: directory, baseUrl: options.baseUrl });
  channelRoutes(app, { notifier: alerting.notifier });
  eventRoutes(app, { hub });
  settingsRoutes(app, { ...options.settings, clock, store: new SettingsStore(database), reload: () => alerting.reload() });
  const prefix = prefixOf(options.downloads.publicUrl);
  runbookRoutes(app, options.runbooksDir, prefix);
  grafanaRoutes(app, options);
  const authority = tls.caPem === undefined ? undefined : { pem: tls.caPem, fingerprint: tls.fingerprint! };
  downloadRoutes(app, { ...options.downloads, baseUrl: options.baseUrl, authority });
  consoleFiles(app, options.consoleDir, prefix);
  refuseAmbiguousPrefix(app, prefix);
}

type Watched = Pick<Parts, 'clock' | 'database' | 'directory' | 'view' | 'replication'> & { writer: ReportWriter };

function registerComponents({ clock, database, directory, view, writer, replication }: Watched, alerting: Alerting): Components {
  const components = new Components(clock);
  components.register('database', true, () => {
    const { up, since, detail } = database.state;
    return up ? { status: 'healthy', detail: 'answers', since } : { status: 'unhealthy', detail: detail || 'does not answer', since };
  });
  components.register('ingest', true, () => {
    if (!database.state.up) return { status: 'degraded', detail: 'reports are judged but not stored; the agents keep them' };
    if (writer.trouble !== undefined) return { status: 'unhealthy', detail: `reports are judged but not stored: ${writer.trouble}` };
    return { status: 'healthy', detail: `${writer.depth} reports wait to be stored` };
  });
  registerAlerting(components, alerting);
  registerReplication(components, replication);
  components.register('agents', false, () => {
    const approved = [...directory.all()].filter(({ state }) => state === 'approved');
    const silent = approved.filter((node) => !isUp(view, node));
    const status = silent.length === 0 ? 'healthy' : 'degraded';
    return { status, detail: silent.length === 0 ? `${approved.length} report` : `${silent.length} of ${approved.length} are silent` };
  });
  return components;
}

async function reloadOnSignal(alerting: Alerting, log: Log): Promise<void> {
  try {
    const { rules, channels, needRestart } = await alerting.reload();
    log.info({ rules, channels, needRestart }, 'the configuration was read again');
  } catch (error) {
    // Said by the rules' own log and by health; what was in force stays.
    if (!(error instanceof OperationalFailure)) throw error;
  }
}

function settingsOf({ configuration, version }: CollectorOptions, embedded: EmbeddedPostgres | undefined): RouteOptions['settings'] {
  const { values, file } = configuration;
  const database = values.databaseUrl === undefined ? 'embedded' : new URL(values.databaseUrl).host || 'a local socket';
  return {
    version,
    file,
    publicUrl: values.publicUrl,
    retention: { reportDays: values.rawDays, observationDays: values.observationDays },
    database,
    embeddedDirectory: embedded === undefined ? undefined : values.dataDir,
    // Rules and channels are shown as what they are, not as text.
    options: () =>
      describeOptions(collectorOptions, configuration).filter(
        ({ name }) => !('fileOnly' in collectorOptions[name as keyof typeof collectorOptions]),
      ),
  };
}

async function startEmbedded({ configuration, log, lifecycle, runtimeDir }: CollectorOptions): Promise<EmbeddedPostgres> {
  const embedded = await startEmbeddedPostgres({
    dataDir: configuration.values.dataDir,
    log: log.child({ component: 'postgres' }),
    ...(runtimeDir === undefined ? {} : { runtimeDir }),
  });
  lifecycle.onStop('embedded PostgreSQL', () => embedded.stop());
  return embedded;
}

async function openDatabase(
  address: DatabaseAddress,
  { configuration, log, lifecycle, migrationsDir }: CollectorOptions,
  clock: Clock,
): Promise<Database> {
  const databaseLog = log.child({ component: 'database' });
  // Until it has been usable once, what goes wrong is said by the failure's sentence alone.
  databaseLog.level = log.isLevelEnabled('error') ? 'error' : log.level;
  const database = new Database({ address, clock, log: databaseLog });
  lifecycle.onStop('database', () => database.close());
  await makeUsable(
    database,
    readMigrations(migrationsDir),
    log.child({ component: 'migrate' }),
    configuration.values.databaseUrl === undefined,
  );
  databaseLog.level = log.level;
  return database;
}

async function keepPartitions(database: Database, { configuration, log, lifecycle }: CollectorOptions, clock: Clock): Promise<Partitions> {
  const config = configuration.values;
  const partitionLog = log.child({ component: 'partitions' });
  const partitions = new Partitions(
    database,
    [
      { name: 'reports', keepDays: config.rawDays },
      { name: 'observations', keepDays: config.observationDays },
      { name: 'tracks', keepDays: TRACK_DAYS },
    ],
    clock,
    partitionLog,
  );
  await whileStarting(() => partitions.maintain());
  const job = schedule(PARTITION_SCHEDULE, async () => {
    try {
      await partitions.maintain();
    } catch (error) {
      partitionLog.warn({ err: error }, 'partitions could not be looked after; in an hour again');
    }
  });
  lifecycle.onStop('partitions', async () => job.destroy());
  return partitions;
}
