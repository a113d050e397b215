/** What is done to agents: their processes, networks, clocks and rights. */
import { MONITOR } from '../world/world.ts';
import type { Verb } from './verb.ts';

export const AGENT_VERBS: readonly Verb[] = [
  {
    form: 'stop agent of <server:server>',
    means: 'its process ends; the server goes on',
    run: (world, values) => world.agent(values.text('server')).stop(),
  },
  {
    form: 'start agent of <server:server>',
    means: 'it is there again',
    run: (world, values) => world.agent(values.text('server')).start(),
  },
  {
    form: 'cut network of agent of <server:server>',
    means: 'its reports wait in its spool',
    run: (world, values) => world.agent(values.text('server')).cutNetwork(),
  },
  {
    form: 'mend network of agent of <server:server>',
    means: 'what waited is delivered late',
    run: (world, values) => world.agent(values.text('server')).mendNetwork(),
  },
  {
    form: 'skew clock of agent of <server:server> by <how:duration>',
    means: 'from now on its wall clock is so far ahead; nobody sets its steady clock',
    run: (world, values) => world.agent(values.text('server')).skew(values.number('how')),
  },
  {
    form: 'put back clock of agent of <server:server> by <how:duration>',
    means: 'from now on its wall clock is so far behind',
    run: (world, values) => world.agent(values.text('server')).skew(-values.number('how')),
  },
  {
    form: 'set right clock of agent of <server:server>',
    means: 'its wall clock is right again',
    run: (world, values) => world.agent(values.text('server')).skew(0),
  },
  {
    form: 'revoke pg_monitor on <server:server>',
    means: 'the monitoring role loses its rights, on a primary and so on all of its replicas',
    async run(world, values) {
      await world.cluster.sql(world.instance(values.text('server')), `REVOKE pg_monitor FROM ${MONITOR}`);
    },
  },
  {
    form: 'grant pg_monitor on <server:server>',
    means: 'and gets them back',
    async run(world, values) {
      await world.cluster.sql(world.instance(values.text('server')), `GRANT pg_monitor TO ${MONITOR}`);
    },
  },
];
