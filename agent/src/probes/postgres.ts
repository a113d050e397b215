/**
 * The PostgreSQL probe: looks at every configured server at once, each within a time of its own. A server that
 * is down or hangs is an answer (`pg_up` 0 and why), not a failure of the probe, and takes nothing from the others.
 */
import type { Log } from '@tidemark/service';
import { Instance } from './postgres/instance.ts';
import { targetsOf, type PostgresConfig } from './postgres/target.ts';
import type { Probe } from './probe.ts';

export type { PostgresConfig } from './postgres/target.ts';

const TIMEOUT_MS = 5_000;
/** Of one server; enough below the probe's own that no server can make the probe fail. */
const DEADLINE_MS = 4_000;

export interface PostgresProbeOptions {
  /** Where to look for passwords instead of ~/.pgpass: what PGPASSFILE says. */
  readonly passFile?: string | undefined;
  readonly log?: Log | undefined;
  /** Of one server, in milliseconds; 4,000 unless told. */
  readonly deadlineMs?: number | undefined;
}

/**
 * One probe for all servers, or none when none is configured. Throws an OperationalFailure for a URL that cannot
 * be meant and for two servers with the same name.
 */
export function createPostgresProbes(configs: readonly PostgresConfig[], options: PostgresProbeOptions = {}): Probe[] {
  if (configs.length === 0) return [];
  const { log, deadlineMs = DEADLINE_MS } = options;
  const instances = targetsOf(configs, options.passFile).map((target) => new Instance(target, { deadlineMs, log, random: Math.random }));
  return [
    {
      name: 'postgres',
      timeoutMs: TIMEOUT_MS,
      async collect(context) {
        const looks = await Promise.all(instances.map((instance) => instance.look(context.clock)));
        for (const look of looks) look.record(context);
      },
      async close() {
        await Promise.all(instances.map((instance) => instance.close()));
      },
    },
  ];
}
