/**
 * From reports to people: rules judge, the journal keeps what was decided, channels are told. Wired here so that each
 * part knows only the one before it; what a part cannot do is said by its line in the collector's health.
 */
import { randomBytes } from 'node:crypto';
import { ProblemError, type ChannelView } from '@tidemark/protocol';
import { OperationalFailure, type Clock, type LoadedOptions, type Log } from '@tidemark/service';
import { Counter, Gauge, type Registry } from 'prom-client';
import type { CollectorConfig } from './config.ts';
import type { Database } from './db/pool.ts';
import type { FleetDirectory } from './fleet/directory.ts';
import type { EventHub } from './events/hub.ts';
import type { Components } from './health/components.ts';
import { aboutOf, type RecordedEntry } from './incidents/book.ts';
import type { IncidentRecorder } from './incidents/entry.ts';
import { openIncidents, type Incidents } from './incidents/open.ts';
import { alertView } from './incidents/view.ts';
import { Evaluator, type EvaluatorOptions } from './alerts/evaluator.ts';
import type { LiveView } from './live/live-view.ts';
import type { ReportReader } from './series/reread.ts';
import type { ReportStream } from './stream/stream.ts';
import { Notifier, createChannels, type NotifyChannel } from './notify/index.ts';
import { createRuleSource, type RuleBook, type RulesConfig } from './rules/source.ts';
import type { Reloaded } from './settings/routes.ts';

export interface AlertingOptions {
  configuration: LoadedOptions<CollectorConfig>;
  reread: () => LoadedOptions<CollectorConfig>;
  clock: Clock;
  log: Log;
  database: Database;
  directory: FleetDirectory;
  view: LiveView;
  stream: ReportStream;
  /** Reads reports back out of the store. */
  reader: ReportReader;
  /** Where this collector is reached from outside, without a slash at the end. */
  collectorUrl: () => string;
  explain: NonNullable<EvaluatorOptions['explain']>;
}

export interface Alerting {
  evaluator: Evaluator;
  rules: RuleBook;
  incidents: Incidents;
  notifier: Notifier;
  /** Reads the configuration again: all of it takes effect, or, with a mistake anywhere, nothing. Throws an OperationalFailure. */
  reload(): Promise<Reloaded>;
  /** The newest value judged of an open alert. */
  latestOf(incidentId: string): number | undefined;
  /** Tells open pages of what is recorded. */
  tellPages(hub: EventHub): void;
  stop(): Promise<void>;
}

const ALERTS_TOLD_MAX = 500;
/** No further back than the shipped rules look: a start is not to wait for a day of a thousand nodes. */
const REPLAY_MS_MAX = 15 * 60_000;
/** The snapshot has the collector's time, reports have their agents'. What comes twice counts once. */
const REPLAY_OVERLAP_MS = 120_000;

const rulesOf = ({ values, file, placeOf }: LoadedOptions<CollectorConfig>): RulesConfig => ({
  rules: values.rules,
  overrides: values.overrides,
  file,
  placeOf,
});

/**
 * Ends alerts whose node is not in this database, or is younger than they are: the journal was written beside another one,
 * and node ids begin anew in each.
 */
export async function closeStrangers(
  recorder: IncidentRecorder,
  directory: { byId(id: number): { readonly createdAt: number } | undefined },
  now: number,
): Promise<void> {
  const strangers = [...recorder.book.incidents()].filter(({ closedAt, nodeId, openedAt }) => {
    const node = directory.byId(nodeId);
    return closedAt === null && (node === undefined || node.createdAt > openedAt);
  });
  await recorder.record(
    strangers.map(({ incidentId, value }) => ({
      kind: 'closed',
      at: now,
      incidentId,
      reason: 'retired',
      value,
      why: 'Its node is not in the database that the collector uses now.',
    })),
  );
}

/** What was judged and stored after the timers were last written down, so that they run on as if nothing had been. */
async function replaySince(
  savedAt: number | undefined,
  evaluator: Evaluator,
  { clock, directory, reader, log }: AlertingOptions,
): Promise<void> {
  const now = clock.wallMs();
  const from = Math.max((savedAt ?? Number.NEGATIVE_INFINITY) - REPLAY_OVERLAP_MS, now - REPLAY_MS_MAX);
  const nodes = [...directory.all()].filter(({ state }) => state === 'approved').map(({ id }) => id);
  if (nodes.length === 0) return;
  try {
    for await (const report of reader.between(from, now + 1, nodes)) evaluator.replay(report);
  } catch (error) {
    if (!(error instanceof ProblemError)) throw error;
    log.warn('the database is away: durations that were running may begin anew');
  }
}

/** Options that take effect without a new start. */
const RELOADED: ReadonlySet<string> = new Set(['rules', 'overrides', 'channels']);

function needRestart(before: CollectorConfig, after: CollectorConfig): string[] {
  return Object.keys(after).filter((key) => {
    const name = key as keyof CollectorConfig;
    return !RELOADED.has(key) && JSON.stringify(before[name]) !== JSON.stringify(after[name]);
  });
}

/** Throws an OperationalFailure when the configuration cannot be put in force, ProblemError `database_away` when nothing tells what is open. */
export async function startAlerting(options: AlertingOptions): Promise<Alerting> {
  const { configuration, clock, log, database, directory, view, stream } = options;
  const ruleLog = log.child({ component: 'rules' });
  const rules = createRuleSource({ config: rulesOf(configuration), clock, log: ruleLog });
  const channels = createChannels(configuration.values.channels);
  const incidents = await openIncidents({
    dataDir: configuration.values.dataDir,
    database,
    clock,
    log: log.child({ component: 'incidents' }),
  });
  await closeStrangers(incidents.recorder, directory, clock.wallMs());
  const evaluator = new Evaluator({
    rules,
    recorder: incidents.recorder,
    view,
    fleet: directory,
    clock,
    random: randomBytes,
    log: log.child({ component: 'evaluation' }),
    dataDir: configuration.values.dataDir,
    elsewhere: incidents.evaluatorState,
    explain: options.explain,
  });
  const { from } = await evaluator.open();
  await replaySince(from, evaluator, options);
  stream.subscribe(evaluator);
  evaluator.start();
  const notifier = new Notifier({
    recorder: incidents.recorder,
    clock,
    random: Math.random,
    randomBytes,
    nodeOf: (id) => directory.byId(id),
    collectorUrl: options.collectorUrl,
    log: log.child({ component: 'notify' }),
    channels,
  });

  const latestOf = (incidentId: string): number | undefined => {
    const value = evaluator.latest(incidentId)?.value;
    return typeof value === 'number' ? value : undefined;
  };
  /** One after the other: two at once would each undo a part of the other. */
  let reloading: Promise<unknown> = Promise.resolve();
  const reload = async (): Promise<Reloaded> => {
    let fresh: LoadedOptions<CollectorConfig>;
    let made: NotifyChannel[];
    try {
      fresh = options.reread();
      made = createChannels(fresh.values.channels);
    } catch (error) {
      if (error instanceof OperationalFailure) rules.refuse(error.message);
      throw error;
    }
    const { added, changed, removed } = rules.reload(rulesOf(fresh));
    await notifier.reload(made);
    return {
      rules: { added: [...added], changed: [...changed], removed: [...removed] },
      channels: made.map(({ name }) => name),
      needRestart: needRestart(configuration.values, fresh.values),
    };
  };
  notifier.start();
  return {
    evaluator,
    rules,
    incidents,
    notifier,
    reload: () => {
      const mine = reloading.then(reload);
      reloading = mine.catch(() => {});
      return mine;
    },
    latestOf,
    tellPages(hub) {
      const { book } = incidents.recorder;
      incidents.recorder.onRecorded((entries) => {
        const changed = new Set<string>();
        for (const entry of entries) {
          if (entry.kind === 'silenced' || entry.kind === 'unsilenced') {
            hub.tell('changed', { what: 'silences' });
            // Whether it covers them shows on each of them; in a storm the pages ask for themselves.
            const open = [...book.incidents()].filter(({ closedAt }) => closedAt === null);
            if (open.length <= ALERTS_TOLD_MAX) for (const { incidentId } of open) changed.add(incidentId);
          }
          for (const id of aboutOf(entry as RecordedEntry)) changed.add(id);
        }
        for (const id of changed) {
          const incident = book.incident(id);
          if (incident !== undefined)
            hub.tell('alert', alertView(incident, { book, now: clock.wallMs(), nodeOf: (node) => directory.byId(node), latestOf }));
        }
      });
      notifier.onChange(() => hub.tell('changed', { what: 'channels' }));
      rules.onChange(() => hub.tell('changed', { what: 'rules' }));
    },
    async stop() {
      await evaluator.stop();
      await notifier.stop();
      await incidents.stop();
    },
  };
}

/** Their lines in the collector's health. */
export function registerAlerting(components: Components, { evaluator, rules, incidents, notifier }: Alerting): void {
  components.register('evaluation', false, () => {
    const { refused } = rules.state();
    const count = rules.current.views().filter(({ enabled, inactiveBecause }) => enabled && inactiveBecause === null).length;
    if (refused === undefined) return { status: 'healthy', detail: `${count} rules are judged, ${evaluator.counts.open} alerts are open` };
    const detail = `the configuration file has mistakes; the ${count} rules of before are judged. ${refused.mistakes}`;
    return { status: 'degraded', detail, since: refused.at };
  });
  components.register('incidents', false, () => incidents.health());
  components.register('notification', false, () => notifier.reading());
}

/** What is counted of all this, for the collector's own page of metrics. */
export function countAlerting(
  registry: Registry,
  { recorder, channels, waiting }: { recorder: IncidentRecorder; channels: () => readonly ChannelView[]; waiting: () => number },
): void {
  const registers = [registry];
  const open: Gauge<'rule' | 'level'> = new Gauge({
    name: 'tidemark_collector_alerts_open',
    help: 'Alerts that are open.',
    labelNames: ['rule', 'level'],
    registers,
    collect() {
      open.reset();
      for (const { closedAt, rule, level } of recorder.book.incidents()) if (closedAt === null) open.inc({ rule, level });
    },
  });
  const transitions = new Counter({
    name: 'tidemark_collector_alert_transitions_total',
    help: 'Alerts that were opened, changed their level, or were closed.',
    labelNames: ['kind'],
    registers,
  });
  for (const kind of TRANSITIONS) transitions.inc({ kind }, 0);
  const messages = new Counter({
    name: 'tidemark_collector_messages_total',
    help: 'Attempts to tell a channel, by what the other side answered: delivered, retry, refused or gone.',
    labelNames: ['channel', 'outcome'],
    registers,
  });
  recorder.onRecorded((entries) => {
    for (const entry of entries) {
      if (entry.kind === 'answered') messages.inc({ channel: entry.channel, outcome: entry.outcome });
      else if (TRANSITIONS.some((kind) => kind === entry.kind)) transitions.inc({ kind: entry.kind });
    }
  });
  const undelivered: Gauge<'channel'> = new Gauge({
    name: 'tidemark_collector_messages_waiting',
    help: 'Messages that a channel has not been delivered yet.',
    labelNames: ['channel'],
    registers,
    collect() {
      undelivered.reset();
      for (const { name, waiting: count } of channels()) undelivered.set({ channel: name }, count);
    },
  });
  const entries: Gauge = new Gauge({
    name: 'tidemark_collector_journal_entries_waiting',
    help: 'Entries of the journal that the database does not have yet.',
    registers,
    collect: () => entries.set(waiting()),
  });
}

const TRANSITIONS = ['opened', 'level', 'closed'] as const;
