/**
 * The PostgreSQL probe: looks at every configured server at once, each within a time of its own, and between two collections
 * every two seconds at where it stands. A server that is down or hangs is an answer (`pg_up` 0 and why), not a failure of
 * the probe, and takes nothing from the others.
 */
import { hostname } from 'node:os';
import type { Clock, Log } from '@tidemark/service';
import { Instance } from './postgres/instance.ts';
import { Machine } from './postgres/machine.ts';
import { targetsOf, type PostgresConfig } from './postgres/target.ts';
import { UrgentCalls } from './postgres/urgent.ts';
import type { Probe } from './probe.ts';

export type { PostgresConfig } from './postgres/target.ts';

const TIMEOUT_MS = 5_000;
/** Of one server; enough below the probe's own that no server can make the probe fail. */
const DEADLINE_MS = 4_000;
const HOT_EVERY_MS = 2_000;

export interface PostgresProbeOptions {
  /** Where to look for passwords instead of ~/.pgpass: what PGPASSFILE says. */
  readonly passFile?: string | undefined;
  readonly log?: Log | undefined;
  /** Of one server, in milliseconds; 4,000 unless told. */
  readonly deadlineMs?: number | undefined;
  /** Between two looks at where a server stands, in milliseconds; 2,000 unless told. */
  readonly hotEveryMs?: number | undefined;
  /** What the machine is called; the system's host name unless told. */
  readonly hostname?: string | undefined;
  /**
   * Called when a server went up or down, changed its role or timeline, or a replica's receiver or replay stopped or went
   * on, as seen between two collections: a report should not wait for its turn. At most once in five seconds.
   */
  readonly onChange?: (() => void) | undefined;
}

/**
 * One probe for all servers, or none when none is configured. Throws an OperationalFailure for a URL that cannot
 * be meant and for two servers with the same name. The first collection starts looking, `close` ends it.
 */
export function createPostgresProbes(configs: readonly PostgresConfig[], options: PostgresProbeOptions = {}): Probe[] {
  if (configs.length === 0) return [];
  const targets = targetsOf(configs, options.passFile);
  const urgent = options.onChange === undefined ? undefined : new UrgentCalls(options.onChange);
  const instancesWith = (clock: Clock): Instance[] => {
    const { log, deadlineMs = DEADLINE_MS, hotEveryMs = HOT_EVERY_MS } = options;
    const machine = new Machine(options.hostname ?? hostname(), clock);
    const onChange = urgent === undefined ? undefined : (): void => urgent.call(clock.monotonicMs());
    return targets.map((target) => new Instance(target, { clock, deadlineMs, hotEveryMs, machine, log, random: Math.random, onChange }));
  };
  let instances: Instance[] | undefined;
  return [
    {
      name: 'postgres',
      timeoutMs: TIMEOUT_MS,
      async collect(context) {
        instances ??= instancesWith(context.clock);
        const looks = await Promise.all(instances.map(async (instance) => ({ instance, look: await instance.look() })));
        const seen = new Map<string, string>();
        for (const { instance, look } of looks) {
          const sameAs = look.serverRun === undefined ? undefined : seen.get(look.serverRun);
          look.record(context, sameAs);
          if (look.serverRun !== undefined && sameAs === undefined) seen.set(look.serverRun, instance.name);
        }
      },
      async close() {
        urgent?.stop();
        await Promise.all((instances ?? []).map((instance) => instance.close()));
      },
    },
  ];
}
