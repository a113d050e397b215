/** `tidemark-agent run`: the agent as a process, from the options to the last flush. */
import { randomInt } from 'node:crypto';
import { arch } from 'node:os';
import { join } from 'node:path';
import {
  createLog,
  createSuspendAwareClock,
  ensureDirectory,
  EXIT,
  OperationalFailure,
  runUntilStopped,
  systemClock,
  type Log,
} from '@tidemark/service';
import { createAgent, type Agent } from '../agent.ts';
import { agentConfig, isReadableByOthers, readToken, type AgentConfig, type AgentOptionValues, type Surroundings } from '../config.ts';
import { createProbes } from '../probes/index.ts';
import { createHttpProbes } from '../probes/http.ts';
import { createPostgresProbes } from '../probes/postgres.ts';
import { discoveryProbe } from '../probes/postgres/discovery-probe.ts';
import { createHostLink } from '../probes/windows/host-link.ts';
import { openDiskSpool } from '../spool/disk-spool.ts';
import { lockDataDir } from '../spool/lock.ts';
import { StatusFile, type AgentStatus } from '../status.ts';
import { stopWithHost } from './service-host.ts';

/** Flushing, closing connections and the spool all have their own, shorter bounds. */
const STOP_TIMEOUT_MS = 6_000;
/** Set by the Windows service host: the name of its pipe. */
const HOST_PIPE = 'TIDEMARK_HOST_PIPE';

export interface RunContext {
  readonly version: string;
  readonly surroundings: Surroundings;
  /** Seconds that the machine is up, suspended time included. */
  readonly uptimeSeconds: () => number;
}

/** Runs until it is told to stop. Resolves with the exit code; throws an OperationalFailure when it cannot start. */
export function run(values: AgentOptionValues, context: RunContext): Promise<number> {
  const config = agentConfig(values, context.surroundings);
  const { server, dataDir } = config;
  if (server === undefined)
    throw new OperationalFailure(
      'Which collector? Name it with --server http://HOST:5000, TIDEMARK_SERVER, or server: in the configuration file.',
      EXIT.usage,
    );
  const log = createLog('tidemark-agent', values.logLevel, values.logFormat);
  const token = tokenSource(config, context, log);
  ensureDirectory(dataDir, 'the reports that wait to be sent');
  const unlock = lockDataDir(dataDir);
  return runUntilStopped({ log, stopTimeoutMs: STOP_TIMEOUT_MS }, async (lifecycle) => {
    lifecycle.onStop('lock', unlock);
    stopWithHost(context.surroundings.environment[HOST_PIPE], lifecycle, process.stdin);
    const { agent, status } = assemble(config, server, token, context, log);
    lifecycle.onStop('status', () => status.close());
    lifecycle.onStop('agent', () => agent.stop());
    agent.start();
    log.info(
      { version: context.version, server: server.href, hostname: config.hostname, intervalMs: config.intervalMs, dataDir },
      'the agent runs',
    );
    return Promise.resolve();
  });
}

function assemble(
  config: AgentConfig,
  server: URL,
  token: () => string | undefined,
  { version, surroundings, uptimeSeconds }: RunContext,
  log: Log,
): { agent: Agent; status: StatusFile } {
  const { platform, environment } = surroundings;
  // The Mac's uptime follows its wall clock.
  const clock = platform === 'darwin' ? systemClock : createSuspendAwareClock(uptimeSeconds);
  const spool = openDiskSpool({
    directory: join(config.dataDir, 'spool'),
    bounds: { sizeBytesMax: config.spoolBytesMax, ageMsMax: config.spoolAgeMsMax },
    clock,
    log: log.child({ component: 'spool' }),
  });
  const postgres = createPostgresProbes(config.postgres, {
    passFile: environment['PGPASSFILE'],
    log: log.child({ component: 'postgres' }),
    onChange: () => void agent.reportNow({ urgent: true }),
  });
  const http = createHttpProbes(config.http, { version, clock });
  const discovery = discoveryProbe({ platform, watched: config.postgres, log: log.child({ component: 'postgres' }) });
  const host = createHostLink(environment[HOST_PIPE]);
  const status = new StatusFile(config.dataDir, () => statusOf(agent, config, server, version), log);
  const agent = createAgent({
    identity: {
      version,
      platform: `${platform}-${arch()}`,
      hostname: config.hostname,
      site: config.site,
      tags: config.tags,
      intervalMs: config.intervalMs,
    },
    server,
    token,
    probes: (figures) => createProbes({ platform, clock, host, extra: [...postgres, discovery, ...http], ...figures }),
    spool,
    clock,
    random: () => randomInt(2 ** 32) / 2 ** 32,
    log,
    onChange: () => status.changed(),
  });
  return { agent, status };
}

/** Read now, so that a mistake is said at once, and again whenever the collector does not accept what was read. */
function tokenSource({ tokenFile }: AgentConfig, { surroundings }: RunContext, log: Log): () => string | undefined {
  if (tokenFile === undefined) {
    log.warn('this agent has no token: collectors will not take its reports until --token-file names one');
    return () => undefined;
  }
  readToken(tokenFile);
  if (isReadableByOthers(tokenFile, surroundings.platform))
    log.warn({ tokenFile }, 'every user of this machine can read the token file: chmod 600 it');
  return () => {
    try {
      return readToken(tokenFile);
    } catch (error) {
      log.warn({ err: error }, 'the token cannot be read');
      return undefined;
    }
  };
}

function statusOf(agent: Agent, config: AgentConfig, server: URL, version: string): AgentStatus {
  const { startedAt, lastReportAt, uplink, spool, probes, postgres, discovered, fileSystems } = agent.state();
  return {
    version,
    pid: process.pid,
    startedAt,
    writtenAt: Date.now(),
    server: server.href,
    hostname: config.hostname,
    intervalSeconds: config.intervalMs / 1000,
    lastReportAt,
    uplink,
    spool,
    probes,
    postgres,
    discovered,
    fileSystems,
  };
}
