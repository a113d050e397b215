/** What is done to replication: replay, links, slots, promotions. */
import { waitUntil } from '../../postgres/cluster.ts';
import type { Verb } from './verb.ts';

export const REPLICATION_VERBS: readonly Verb[] = [
  {
    form: 'pause replay on <server:server>',
    means: 'pg_wal_replay_pause(); done when it stands still',
    run: (world, values) => world.cluster.pauseReplay(world.instance(values.text('server'))),
  },
  {
    form: 'resume replay on <server:server>',
    means: 'pg_wal_replay_resume()',
    run: (world, values) => world.cluster.resumeReplay(world.instance(values.text('server'))),
  },
  {
    form: 'cut link of <server:server>',
    means: 'primary_conninfo to a port where nobody listens, and a reload',
    run: (world, values) => world.connectTo(values.text('server'), undefined),
  },
  {
    form: 'mend link of <server:server>',
    means: 'primary_conninfo to its upstream again',
    run: (world, values) => world.connectTo(values.text('server'), world.upstreamOf(values.text('server'))),
  },
  {
    form: 'point <server:server> at <upstream:server>',
    means: 'primary_conninfo of a running replica to another upstream',
    async run(world, values) {
      const server = values.text('server');
      await world.cluster.configure(world.instance(server), { primary_slot_name: '' });
      await world.connectTo(server, values.text('upstream'));
      world.noteFollows(server, values.text('upstream'));
    },
  },
  {
    form: 'make <server:server> follow <upstream:server>',
    means: 'a stopped server gets standby.signal and the upstream; it is not started and its files stay as they are',
    async run(world, values) {
      const [server, upstream] = [values.text('server'), values.text('upstream')];
      await world.cluster.demote(world.instance(server), world.instance(upstream), { applicationName: server.toLowerCase() });
      world.noteFollows(server, upstream);
    },
  },
  {
    form: 'promote <server:server>',
    means: 'pg_promote(); done when it is a primary',
    async run(world, values) {
      await world.cluster.promote(world.instance(values.text('server')));
      world.noteFollows(values.text('server'), undefined);
    },
  },
  {
    form: 'create slot <slot:word> on <server:server>',
    means: 'a physical slot that keeps WAL from now on and that nobody uses',
    async run(world, values) {
      await world.cluster.sql(world.instance(values.text('server')), 'SELECT pg_create_physical_replication_slot($1, true)', [
        values.text('slot'),
      ]);
    },
  },
  {
    form: 'drop slot <slot:word> on <server:server>',
    means: 'pg_drop_replication_slot()',
    async run(world, values) {
      await world.cluster.sql(world.instance(values.text('server')), 'SELECT pg_drop_replication_slot($1)', [values.text('slot')]);
    },
  },
  {
    form: 'checkpoint <server:server>',
    means: 'CHECKPOINT',
    async run(world, values) {
      await world.cluster.sql(world.instance(values.text('server')), 'CHECKPOINT');
    },
  },
  {
    form: 'switch wal on <server:server>',
    means: 'pg_switch_wal()',
    async run(world, values) {
      await world.cluster.sql(world.instance(values.text('server')), 'SELECT pg_switch_wal()');
    },
  },
  {
    form: 'freeze walreceiver of <server:server>',
    means: 'SIGSTOP to that one process: its connection stays, and nothing comes of it',
    run: (world, values) => world.cluster.freezeProcess(world.instance(values.text('server')), 'walreceiver'),
  },
  {
    form: 'thaw everything',
    means: 'SIGCONT to whatever was frozen',
    run: (world) => world.cluster.thaw(),
  },
  {
    form: 'wait until <server:server> has replayed everything',
    means: 'done when it has replayed what its root has flushed at this moment',
    async run(world, values) {
      const server = values.text('server');
      const root = world.instance(world.rootAt(server, performance.now()));
      const [row] = await world.cluster.sql<{ lsn: string }>(root, 'SELECT pg_current_wal_flush_lsn()::text AS lsn');
      await waitUntil(
        async () => {
          const [there] = await world.cluster.sql<{ there: boolean }>(
            world.instance(server),
            'SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn AS there',
            [row!.lsn],
          );
          return there?.there;
        },
        { what: `${server} to replay ${row!.lsn}`, timeoutMs: 60_000 },
      );
    },
  },
];
