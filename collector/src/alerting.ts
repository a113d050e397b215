/**
 * From reports to people: rules judge, the journal keeps what was decided, channels are told. Wired here so that each
 * part knows only the one before it; what a part cannot do is said by its line in the collector's health.
 */
import { randomBytes } from 'node:crypto';
import { OperationalFailure, type Clock, type LoadedOptions, type Log } from '@tidemark/service';
import type { CollectorConfig } from './config.ts';
import type { Database } from './db/pool.ts';
import type { FleetDirectory } from './fleet/directory.ts';
import type { EventHub } from './events/hub.ts';
import type { Components } from './health/components.ts';
import type { Entry, Incident } from './incidents/entry.ts';
import { openIncidents, type Incidents } from './incidents/open.ts';
import { alertView } from './incidents/view.ts';
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
  /** Where this collector is reached from outside, without a slash at the end. */
  collectorUrl: () => string;
}

export interface Alerting {
  rules: RuleBook;
  incidents: Incidents;
  notifier: Notifier;
  /** Reads the configuration again: all of it takes effect, or, with a mistake anywhere, nothing. Throws an OperationalFailure. */
  reload(): Promise<Reloaded>;
  /** Somebody closed an alert: it is judged anew. */
  closedByHand(incident: Incident): void;
  /** Tells open pages of what is recorded. */
  tellPages(hub: EventHub): void;
  stop(): Promise<void>;
}

const rulesOf = ({ values, file, placeOf }: LoadedOptions<CollectorConfig>): RulesConfig => ({
  rules: values.rules,
  overrides: values.overrides,
  file,
  placeOf,
});

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
  const { configuration, clock, log, database, directory } = options;
  const ruleLog = log.child({ component: 'rules' });
  const rules = createRuleSource({ config: rulesOf(configuration), clock, log: ruleLog });
  const channels = createChannels(configuration.values.channels);
  const incidents = await openIncidents({
    dataDir: configuration.values.dataDir,
    database,
    clock,
    log: log.child({ component: 'incidents' }),
  });
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
  return {
    rules,
    incidents,
    notifier,
    reload: () => {
      const mine = reloading.then(reload);
      reloading = mine.catch(() => {});
      return mine;
    },
    closedByHand: () => {},
    tellPages(hub) {
      const { book } = incidents.recorder;
      incidents.recorder.onRecorded((entries) => {
        const changed = new Set<string>();
        for (const entry of entries) {
          if (entry.kind === 'silenced' || entry.kind === 'unsilenced') hub.tell('changed', { what: 'silences' });
          else for (const id of alertsOf(entry)) changed.add(id);
        }
        for (const id of changed) {
          const incident = book.incident(id);
          if (incident !== undefined)
            hub.tell('alert', alertView(incident, { book, now: clock.wallMs(), nodeOf: (node) => directory.byId(node) }));
        }
      });
      notifier.onChange(() => hub.tell('changed', { what: 'channels' }));
      rules.onChange(() => hub.tell('changed', { what: 'rules' }));
    },
    async stop() {
      await notifier.stop();
      await incidents.stop();
    },
  };
}

/** The alerts that an entry says something of. */
function alertsOf(entry: Entry): readonly string[] {
  switch (entry.kind) {
    case 'opened':
      return [entry.opening.incidentId];
    case 'attempted':
      return entry.items.map(({ incidentId }) => incidentId);
    case 'answered':
    case 'silenced':
    case 'unsilenced':
      return [];
    default:
      return [entry.incidentId];
  }
}

/** Their lines in the collector's health. */
export function registerAlerting(components: Components, { rules, incidents, notifier }: Alerting): void {
  components.register('evaluation', false, () => {
    const { refused } = rules.state();
    const count = rules.current.views().filter(({ enabled, inactiveBecause }) => enabled && inactiveBecause === null).length;
    if (refused === undefined) return { status: 'healthy', detail: `${count} rules are judged` };
    const detail = `the configuration file has mistakes; the ${count} rules of before are judged. ${refused.mistakes}`;
    return { status: 'degraded', detail, since: refused.at };
  });
  components.register('incidents', false, () => incidents.health());
  components.register('notification', false, () => notifier.reading());
}
