/** The event stream of the mock: the fleet first, then rows, alerts and signs of life, to every page that is open. */
import type { ServerResponse } from 'node:http';
import type { LiveEvents, Overview, OverviewNode } from '@tidemark/protocol';

const LIFE_EVERY_MS = 2_000;
const ROWS_EVERY_MS = 1_000;

const written = <Name extends keyof LiveEvents>(name: Name, data: LiveEvents[Name]): string =>
  `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;

/** How the stream behaves: `held` takes pages and tells them nothing, as a proxy that gathers answers does. */
export type MockStream = 'open' | 'held' | 'absent';

export class MockEvents {
  readonly #pages = new Set<ServerResponse>();
  readonly #overview: () => Overview;
  #timers: NodeJS.Timeout[] = [];
  #seen = new Map<string, string>();
  /** While true nothing is written: the collector hangs. */
  silent = false;
  rowsSent = 0;
  /** Events of rows that were sent. */
  rowEvents = 0;
  joined = 0;

  constructor(overview: () => Overview) {
    this.#overview = overview;
  }

  get pages(): number {
    return this.#pages.size;
  }

  join(response: ServerResponse, held: boolean): void {
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store' });
    response.flushHeaders();
    if (held) return;
    this.joined += 1;
    const overview = this.#overview();
    if (this.#pages.size === 0) this.#changed(overview);
    this.#pages.add(response);
    response.on('close', () => {
      this.#pages.delete(response);
      if (this.#pages.size === 0) this.stop();
    });
    response.write(`retry: 2000\n\n${written('life', { at: overview.at })}${written('overview', overview)}`);
    if (this.#timers.length === 0)
      this.#timers = [
        setInterval(() => this.tell('life', { at: this.#overview().at }), LIFE_EVERY_MS),
        setInterval(() => {
          const now = this.#overview();
          const { nodes, removed } = this.#changed(now);
          if (nodes.length + removed.length === 0) return;
          this.rowsSent += nodes.length;
          this.rowEvents += 1;
          this.tell('nodes', { at: now.at, nodes, removed });
        }, ROWS_EVERY_MS),
      ];
  }

  tell<Name extends keyof LiveEvents>(name: Name, data: LiveEvents[Name]): void {
    if (this.silent) return;
    for (const page of this.#pages) page.write(written(name, data));
  }

  /** Lets every page go. */
  end(): void {
    for (const page of this.#pages) page.destroy();
    this.#pages.clear();
    this.stop();
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.#timers = [];
  }

  /** Rows whose report is another than at the last look. */
  #changed(overview: Overview): { nodes: OverviewNode[]; removed: string[] } {
    const seen = new Map(overview.nodes.map((node) => [node.name, `${node.lastSeenAt} ${node.state} ${node.up} ${node.site}`]));
    const nodes = overview.nodes.filter((node) => this.#seen.get(node.name) !== seen.get(node.name));
    const removed = [...this.#seen.keys()].filter((name) => !seen.has(name));
    this.#seen = seen;
    return { nodes, removed };
  }
}
