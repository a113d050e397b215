/** What is written, and the sessions that stand in the way. */
import type { Verb } from './verb.ts';

export const LOAD_VERBS: readonly Verb[] = [
  {
    form: 'write on <server:server> [<rate:rate>]',
    means: 'heartbeats, about twelve a second, and with a rate so much WAL besides, until told to stop',
    run(world, values) {
      const server = values.text('server');
      world.truth.beat(server, world.instance(server));
      const rate = values.maybeNumber('rate');
      if (rate !== undefined) world.load.start(server, world.instance(server), rate);
    },
  },
  {
    form: 'stop writing on <server:server>',
    means: 'done when the last transaction is committed',
    async run(world, values) {
      await Promise.all([world.load.stop(values.text('server')), world.truth.rest(values.text('server'))]);
    },
  },
  {
    form: 'burst <size:size> on <server:server>',
    means: 'so much WAL as fast as it can be written',
    run: (world, values) => world.load.burst(world.instance(values.text('server')), values.number('size')),
  },
  {
    form: 'open session <name:word> on <server:server>',
    means: 'a session that stays open, as superuser',
    run: (world, values) => world.sessions.open(values.text('name'), world.instance(values.text('server'))),
  },
  {
    form: 'session <name:word> runs <sql:text>',
    means: 'a statement in that session; waits for its end',
    run: (world, values) => world.sessions.run(values.text('name'), values.text('sql')),
  },
  {
    form: 'session <name:word> begins <sql:text>',
    means: 'a statement in that session whose end is not waited for: it may hang',
    run: (world, values) => world.sessions.send(values.text('name'), values.text('sql')),
  },
  {
    form: 'close session <name:word>',
    means: 'ends it, whatever it does',
    run: (world, values) => world.sessions.close(values.text('name')),
  },
  {
    form: 'hold snapshot on <server:server>',
    means: 'a repeatable-read transaction that has read, and stays',
    async run(world, values) {
      const name = `snapshot_${values.text('server')}`;
      await world.sessions.open(name, world.instance(values.text('server')));
      await world.sessions.run(name, 'BEGIN ISOLATION LEVEL REPEATABLE READ');
      await world.sessions.run(name, 'SELECT count(*) FROM pg_class');
    },
  },
  {
    form: 'release snapshot on <server:server>',
    means: 'ends that transaction',
    run: (world, values) => world.sessions.close(`snapshot_${values.text('server')}`),
  },
  {
    form: 'exhaust connections of <server:server>',
    means: 'takes every connection that a role without privileges can have',
    run: (world, values) => world.sessions.crowd(values.text('server'), world.instance(values.text('server'))),
  },
  {
    form: 'free connections of <server:server>',
    means: 'gives them back',
    run: (world, values) => world.sessions.disperse(values.text('server')),
  },
];
