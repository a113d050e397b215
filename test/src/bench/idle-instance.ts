/**
 * What one idle PostgreSQL server costs: CPU of an agent that watches it less that of one beside it that watches none, and
 * of the server's process that answers, both as shipped (a report each 15 s). What postgres_exporter takes for a scrape each
 * 15 s is what it is held against: 18 ms a minute of its own and 23 ms of two backends.
 */
import { PostgresCluster, type PostgresVersion } from '../postgres/cluster.ts';
import { startBenchedAgent, type BenchedAgent } from './agent.ts';
import { cpuMs } from './processes.ts';

const INTERVAL_SECONDS = 15;

export interface IdleInstanceOptions {
  version: PostgresVersion;
  /** Before measuring: what is read seldom is read first, and V8 has compiled what it will. */
  warmUpSeconds: number;
  seconds: number;
  bundle?: string;
  progress: (text: string) => void;
}

export interface IdleInstanceFigures {
  /** CPU milliseconds a minute that the agent takes more than without the server. */
  agentMsPerMinute: number;
  /** Of the server's process that answers the agent. */
  backendMsPerMinute: number;
  totalMsPerMinute: number;
  /** For scale: an agent that watches no server, whole. */
  plainAgentMsPerMinute: number;
}

export async function benchIdleInstance(options: IdleInstanceOptions): Promise<IdleInstanceFigures> {
  const { version, seconds, warmUpSeconds, bundle, progress } = options;
  const cluster = new PostgresCluster();
  const agents: BenchedAgent[] = [];
  try {
    const server = await cluster.startPrimary({ version, name: 'idle' });
    await cluster.sql(server, 'CREATE ROLE monitor LOGIN CONNECTION LIMIT 3 IN ROLE pg_monitor');
    const url = `postgres://monitor@127.0.0.1:${server.port}/postgres`;
    const plain = await startBenchedAgent({ intervalSeconds: INTERVAL_SECONDS, ...(bundle !== undefined && { bundle }) });
    agents.push(plain);
    const watching = await startBenchedAgent({
      intervalSeconds: INTERVAL_SECONDS,
      postgres: { url, name: 'idle' },
      ...(bundle !== undefined && { bundle }),
    });
    agents.push(watching);
    progress(`idle PostgreSQL ${version}: ${warmUpSeconds} s of warming up, then ${seconds} s`);
    await pause(warmUpSeconds);
    const backends = await cluster.sql<{ pid: number }>(server, "SELECT pid FROM pg_stat_activity WHERE usename = 'monitor'");
    if (backends.length !== 1) throw new Error(`the agent has ${backends.length} connections, not one`);
    const backend = backends[0]!.pid;
    const read = (): number[] => [cpuMs(plain.pid), cpuMs(watching.pid), cpuMs(backend), performance.now()];
    const before = read();
    await pause(seconds);
    const [plainMs, watchingMs, backendMs, tookMs] = read().map((value, i) => value - before[i]!) as [number, number, number, number];
    const minutes = tookMs / 60_000;
    return {
      agentMsPerMinute: (watchingMs - plainMs) / minutes,
      backendMsPerMinute: backendMs / minutes,
      totalMsPerMinute: (watchingMs - plainMs + backendMs) / minutes,
      plainAgentMsPerMinute: plainMs / minutes,
    };
  } finally {
    await Promise.all(agents.map((agent) => agent.stop()));
    await cluster.stopAll();
  }
}

const pause = (seconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
