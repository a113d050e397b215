/** `tidemark-agent run`: the agent as a process, from the options to the last flush. */
import { randomInt } from 'node:crypto';
import { statSync } from 'node:fs';
import { arch } from 'node:os';
import { join } from 'node:path';
import {
  createLog,
  createSuspendAwareClock,
  ensureDirectory,
  EXIT,
  OperationalFailure,
  runUntilStopped,
  sentenceOf,
  systemClock,
  type Log,
} from '@tidemark/service';
import { createAgent, type Agent } from '../agent.ts';
import { agentConfig, isReadableByOthers, readToken, type AgentConfig, type AgentOptionValues, type Surroundings } from '../config.ts';
import { applicantOf } from '../enrolment/applicant.ts';
import { membershipOf, type Membership } from '../enrolment/joining.ts';
import { keepMove, readMove } from '../enrolment/moved.ts';
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
  const { server, dataDir, tokenFile } = config;
  if (server === undefined && tokenFile === undefined && readMove(dataDir, undefined) === undefined)
    throw new OperationalFailure(
      'Which collector? Name it with --server http://HOST:5000, TIDEMARK_SERVER, or server: in the configuration file.',
      EXIT.usage,
    );
  const log = createLog('tidemark-agent', values.logLevel, values.logFormat);
  ensureDirectory(dataDir, 'the reports that wait to be sent');
  const unlock = lockDataDir(dataDir);
  let membership: Membership;
  try {
    membership = membershipOf({ config, applicant: () => applicantOf(config, context), log });
    warnOfReaders(membership, context, log);
  } catch (error) {
    unlock();
    throw error;
  }
  return runUntilStopped({ log, stopTimeoutMs: STOP_TIMEOUT_MS }, async (lifecycle) => {
    lifecycle.onStop('lock', unlock);
    stopWithHost(context.surroundings.environment[HOST_PIPE], lifecycle, process.stdin);
    const { agent, status } = assemble(config, membership, context, log);
    lifecycle.onStop('status', () => status.close());
    lifecycle.onStop('agent', () => agent.stop());
    agent.start();
    log.info(
      { version: context.version, server: membership.server.href, hostname: config.hostname, intervalMs: config.intervalMs, dataDir },
      'the agent runs',
    );
    return Promise.resolve();
  });
}

function assemble(
  config: AgentConfig,
  { server, route, secretFile, joining }: Membership,
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
  const status = new StatusFile(config.dataDir, () => statusOf(agent, config, config.server ?? server, version), log);
  const agent = createAgent({
    identity: {
      version,
      platform: `${platform}-${arch()}`,
      hostname: config.hostname,
      site: config.site,
      // None of its own: those of its enrolment, or an operator's, stay.
      tags: Object.keys(config.tags).length === 0 ? undefined : config.tags,
      intervalMs: config.intervalMs,
    },
    server,
    route,
    joining,
    onMoved: (to) => keepMove(config.dataDir, { from: config.server?.href ?? '', to: to.href }),
    token: tokenSource(secretFile, log),
    probes: (figures) => createProbes({ platform, clock, host, extra: [...postgres, discovery, ...http], ...figures }),
    spool,
    clock,
    random: () => randomInt(2 ** 32) / 2 ** 32,
    log,
    onChange: () => status.changed(),
  });
  return { agent, status };
}

function warnOfReaders({ secretFile }: Membership, { surroundings }: RunContext, log: Log): void {
  if (isReadableByOthers(secretFile, surroundings.platform))
    log.warn({ tokenFile: secretFile }, 'every user of this machine can read the token file: chmod 600 it');
}

/** Reads the file again whenever it is another one: a secret that was replaced is in force with the next report. */
function tokenSource(file: string, log: Log): () => string | undefined {
  let token: string | undefined;
  let seen = '';
  let failing = false;
  return () => {
    try {
      const { mtimeMs, ino, size } = statSync(file);
      const now = `${mtimeMs} ${ino} ${size}`;
      if (now !== seen) token = readToken(file);
      seen = now;
      failing = false;
    } catch (error) {
      if (!failing) log.warn({ trouble: sentenceOf(error) }, 'the token cannot be read; the one read before stays in use');
      failing = true;
    }
    return token;
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
