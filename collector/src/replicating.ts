/**
 * Replication, wired: what was kept is loaded before the first report is taken, the history of positions follows in the
 * background, and whatever a report brings goes through one view.
 */
import { sentenceOf, type Clock, type Log } from '@tidemark/service';
import { ProblemError } from '@tidemark/protocol';
import { Gauge, type Registry } from 'prom-client';
import type { Database } from './db/pool.ts';
import type { EventHub } from './events/hub.ts';
import type { FleetDirectory } from './fleet/directory.ts';
import type { Components } from './health/components.ts';
import type { LiveView } from './live/live-view.ts';
import { ReplicationEvents } from './replication/event-store.ts';
import { restoreHistory, restoreReplication } from './replication/restore.ts';
import { Tracks } from './replication/tracks.ts';
import { ReplicationView } from './replication/view.ts';

export interface ReplicatingOptions {
  clock: Clock;
  log: Log;
  database: Database;
  directory: FleetDirectory;
  view: LiveView;
}

export interface Replicating {
  view: ReplicationView;
  events: ReplicationEvents;
  tracks: Tracks;
  tellPages(hub: EventHub): void;
  stop(): Promise<void>;
}

/** Said once for each node and kind. */
const MISFITS_MAX = 1_000;
/** Pages are told at most this often that there is something new; they ask for it themselves. */
const TELL_EVERY_MS = 2_000;

/** Throws ProblemError `database_away` when what was kept cannot be read. */
export async function startReplication({ clock, log, database, directory, view: live }: ReplicatingOptions): Promise<Replicating> {
  const replicationLog = log.child({ component: 'replication' });
  const events = new ReplicationEvents({ database, clock, log: replicationLog, random: Math.random });
  await events.start();
  const tracks = new Tracks();
  const misfits = new Set<string>();
  const view = new ReplicationView({
    clock,
    tracks,
    keeper: events,
    fleet: directory,
    liveness: (record) => live.liveness(record),
    onMisfit: (node, { kind }) => {
      const what = `${node.name} ${kind}`;
      if (misfits.has(what) || misfits.size >= MISFITS_MAX) return;
      misfits.add(what);
      replicationLog.warn(
        { node: node.name, kind },
        'an agent says something of its PostgreSQL that cannot be read; it is set aside: are both of one version?',
      );
    },
  });
  await restoreReplication(view, database, (id) => directory.byId(id));
  let stopped = false;
  const history = restoreHistory(tracks, database, clock, () => stopped).then(
    (reports) => replicationLog.debug({ reports }, 'positions of the last day were read back'),
    (error: unknown) => {
      // What is missing makes bounds wider, and fills up by itself.
      if (!(error instanceof ProblemError)) throw error;
      replicationLog.warn({ trouble: sentenceOf(error) }, 'the positions of the last day could not be read back');
    },
  );
  view.start();
  return {
    view,
    events,
    tracks,
    tellPages(hub) {
      let toldMs = Number.NEGATIVE_INFINITY;
      view.onLook(() => {
        const now = clock.monotonicMs();
        if (now - toldMs < TELL_EVERY_MS) return;
        toldMs = now;
        hub.tell('changed', { what: 'replication' });
      });
    },
    async stop() {
      stopped = true;
      view.stop();
      await history;
      await events.stop();
    },
  };
}

/** Its line in the collector's health. */
export function registerReplication(components: Components, { view, events }: Pick<Replicating, 'view' | 'events'>): void {
  components.register('replication', false, () => {
    const { instances, clusters } = view.counts;
    if (instances === 0) return { status: 'inactive', detail: 'no PostgreSQL server is watched' };
    const { trouble } = events;
    if (trouble !== undefined) return { status: 'degraded', detail: trouble };
    return { status: 'healthy', detail: `${instances} PostgreSQL servers in ${clusters} clusters` };
  });
}

/** What is counted of it, for the collector's own page of metrics. */
export function countReplication(registry: Registry, { view, tracks }: Pick<Replicating, 'view' | 'tracks'>): void {
  const registers = [registry];
  const instances: Gauge = new Gauge({
    name: 'tidemark_collector_postgres_servers',
    help: 'PostgreSQL servers whose replication is followed.',
    registers,
    collect: () => instances.set(view.counts.instances),
  });
  const bytes: Gauge = new Gauge({
    name: 'tidemark_collector_replication_history_bytes',
    help: 'Memory that the positions of the last day take.',
    registers,
    collect: () => bytes.set(tracks.sizeBytes),
  });
}
