/**
 * The agent of one server of a scenario: the real agent's code with the PostgreSQL probe alone and a spool in memory. Its
 * clock may be set wrong and its network cut, as those of a real one.
 */
import { Agent as HttpAgent } from 'node:http';
import { createAgent, createPostgresProbes, MemorySpool, type Agent } from '@tidemark/agent';
import { createLog, systemClock, type Clock } from '@tidemark/service';
import type { Duplex } from 'node:stream';
import type { AgentAccess } from './collector.ts';

const SPOOL_BOUNDS = { sizeBytesMax: 32 * 1024 * 1024, ageMsMax: 3_600_000 };

export interface ServerAgentOptions {
  /** The node's name. */
  readonly node: string;
  readonly access: AgentAccess;
  readonly postgresUrl: string;
  readonly intervalMs: number;
  /** Where in the interval it reports. */
  readonly phaseMs: number;
  readonly random: () => number;
}

export class ServerAgent {
  readonly #options: ServerAgentOptions;
  readonly #network = new CuttableNetwork();
  readonly #clock: Clock & { skewMs: number } = {
    skewMs: 0,
    wallMs: () => systemClock.wallMs() + this.#clock.skewMs,
    monotonicMs: () => systemClock.monotonicMs(),
  };
  #agent: Agent | undefined;

  constructor(options: ServerAgentOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#agent !== undefined) throw new Error(`The agent of ${this.#options.node} runs already`);
    const { node, access, postgresUrl, intervalMs, phaseMs, random } = this.#options;
    const log = createLog('tidemark-agent', 'silent', 'text');
    const agent: Agent = createAgent({
      identity: { version: 'scenario', platform: 'linux-x64', hostname: node, intervalMs },
      server: access.server,
      token: () => access.token,
      probes: () =>
        createPostgresProbes([{ url: postgresUrl, name: 'postgres' }], {
          log,
          hostname: node,
          onChange: () => void agent.reportNow({ urgent: true }),
        }),
      spool: new MemorySpool(SPOOL_BOUNDS, this.#clock),
      clock: this.#clock,
      random,
      log,
      connections: this.#network,
      phaseMs,
      // A line that comes back is found within a second, so that scenarios need not be long.
      backoff: { baseMs: 250, maxMs: 1_000 },
    });
    this.#agent = agent;
    agent.start();
  }

  /** As when its process ends. */
  async stop(): Promise<void> {
    const agent = this.#agent;
    this.#agent = undefined;
    await agent?.stop();
  }

  /** Reports stay in the spool until it is mended. */
  cutNetwork(): void {
    this.#network.cut();
  }

  mendNetwork(): void {
    this.#network.mend();
  }

  /** Somebody sets its wall clock: from now on it is off by so much. */
  skew(ms: number): void {
    this.#clock.skewMs = ms;
  }
}

/** Connections of which none stands while it is cut. */
class CuttableNetwork extends HttpAgent {
  readonly #sockets = new Set<Duplex>();
  #isCut = false;

  constructor() {
    super({ keepAlive: true, maxSockets: 1, maxFreeSockets: 1 });
  }

  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy(new Error('the network is cut'));
  }

  mend(): void {
    this.#isCut = false;
  }

  override createConnection(...[options, done]: Parameters<HttpAgent['createConnection']>): Duplex | null | undefined {
    if (this.#isCut) throw Object.assign(new Error('the network is cut'), { code: 'ENETUNREACH' });
    const socket = super.createConnection(options, done);
    if (socket !== null && socket !== undefined) {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    }
    return socket;
  }
}
