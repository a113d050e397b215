/** What is done to servers: stopped, started, killed, copied, rewound, set otherwise, asked. */
import { accessSync, constants } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { waitUntil, type PostgresVersion } from '../../postgres/cluster.ts';
import type { Verb } from './verb.ts';

/** Debian's, installed or unpacked by `npm test`: the packages of the test's servers have none. */
const rewindPrograms = (version: PostgresVersion): string[] =>
  ['/', join(tmpdir(), `tidemark-debian-postgresql-${version}`)].map((root) => join(root, `usr/lib/postgresql/${version}/bin/pg_rewind`));

function rewindProgram(version: PostgresVersion): string | undefined {
  return rewindPrograms(version).find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Whether a program that a scenario names under "needs" is here, for that version. */
export function hasProgram(name: string, version: PostgresVersion): boolean {
  return name === 'pg_rewind' && rewindProgram(version) !== undefined;
}

export const SERVER_VERBS: readonly Verb[] = [
  {
    form: 'stop <server:server> [<mode:fast|immediate|smart>]',
    means: 'as pg_ctl stop; fast unless told',
    run: (world, values) =>
      world.cluster.stop(world.instance(values.text('server')), {
        mode: (values.maybeText('mode') ?? 'fast') as 'fast' | 'immediate' | 'smart',
      }),
  },
  {
    form: 'start <server:server>',
    means: 'starts a stopped server; done when it takes connections',
    run: (world, values) => world.cluster.start(world.instance(values.text('server'))),
  },
  {
    form: 'restart <server:server> [<mode:fast|immediate|smart>]',
    means: 'stops and starts',
    run: (world, values) =>
      world.cluster.restart(world.instance(values.text('server')), {
        mode: (values.maybeText('mode') ?? 'fast') as 'fast' | 'immediate' | 'smart',
      }),
  },
  {
    form: 'kill <server:server>',
    means: 'SIGKILL to the server, as a crash',
    run: (world, values) => world.cluster.kill(world.instance(values.text('server'))),
  },
  {
    form: 'freeze <server:server>',
    means: 'SIGSTOP to the server and all its processes: it takes connections and never answers',
    run: (world, values) => world.cluster.freeze(world.instance(values.text('server'))),
  },
  {
    form: 'clone <server:server> as <copy:word>',
    means: "a copy of the server's disk as it is at this moment, started as a server of its own, with an agent",
    makes: 'copy',
    run: (world, values) => world.clone(values.text('server'), values.text('copy')),
  },
  {
    form: 'rewind <server:server> onto <source:server>',
    means: "pg_rewind of a stopped server's files, and standby.signal with the source as its upstream; it is not started",
    async run(world, values) {
      const [server, source] = [values.text('server'), values.text('source')];
      await world.cluster.rewind(world.instance(server), world.instance(source), rewindProgram(world.version)!);
      await world.cluster.demote(world.instance(server), world.instance(source), { applicationName: server.toLowerCase() });
      world.noteFollows(server, source);
    },
  },
  {
    form: 'set <setting:word> to <value:text> on <server:server>',
    means: 'ALTER SYSTEM and a reload; {archive} stands for a directory that the servers share',
    async run(world, values) {
      const value = values.text('value');
      const filled = value.includes('{archive}') ? value.replaceAll('{archive}', world.archive()) : value;
      await world.cluster.configure(world.instance(values.text('server')), { [values.text('setting')]: filled });
    },
  },
  {
    form: 'run <sql:text> on <server:server>',
    means: 'a statement as superuser',
    async run(world, values) {
      await world.cluster.sql(world.instance(values.text('server')), values.text('sql'));
    },
  },
  {
    form: 'wait until <sql:text> on <server:server>',
    means: 'done when the statement (one column) says true: for what the server itself has to come to first',
    async run(world, values) {
      const instance = world.instance(values.text('server'));
      await waitUntil(async () => Object.values((await world.cluster.sql(instance, values.text('sql')))[0] ?? {})[0] === true, {
        what: `${JSON.stringify(values.text('sql'))} on ${values.text('server')}`,
        timeoutMs: 60_000,
      });
    },
  },
];
