/**
 * The probe that says which PostgreSQL servers of this machine nobody watches: found every ten minutes, told as an observation,
 * and in the log once each.
 */
import { hostname } from 'node:os';
import { POSTGRES_DISCOVERED, type PostgresDiscovered } from '@tidemark/protocol';
import { systemClock, type Log } from '@tidemark/service';
import type { Probe } from '../probe.ts';
import { discoverServers, notWatched, setupCommand, type DiscoveredServer, type DiscoveryOptions } from './discovery.ts';
import { Machine } from './machine.ts';
import { targetsOf, type PostgresConfig } from './target.ts';

const EVERY_MS = 600_000;

export interface DiscoveryProbeOptions extends DiscoveryOptions {
  /** Those that are watched are left out. */
  readonly watched: readonly PostgresConfig[];
  readonly log?: Log | undefined;
  readonly discover?: ((options: DiscoveryOptions) => Promise<DiscoveredServer[]>) | undefined;
}

export function discoveryProbe(options: DiscoveryProbeOptions): Probe {
  const { discover = discoverServers, log } = options;
  const watched = targetsOf(options.watched).map(({ reachedAt }) => reachedAt);
  const machine = new Machine(hostname(), systemClock);
  const told = new Set<string>();
  return {
    name: 'postgres-discovery',
    everyMs: EVERY_MS,
    async collect(context) {
      const servers = notWatched(await discover(options), watched, (host) => machine.isHere(host));
      const document: PostgresDiscovered = {
        servers: servers.map((server) => ({ address: server.address, how: server.how, watched: false, command: setupCommand(server) })),
      };
      for (const { address, command } of document.servers) {
        if (told.has(address)) continue;
        told.add(address);
        log?.info({ address, command }, 'found a PostgreSQL server that is not watched');
      }
      context.observe({ kind: POSTGRES_DISCOVERED, version: 1, instance: '', document });
    },
  };
}
