/**
 * What open pages are told as it happens. Every event is written out once for all of them; a listener that does not
 * keep up is let go (it comes back and begins with the whole), so that nobody's slow connection holds memory here.
 */
import type { LiveEvents, NodeState, OverviewNode } from '@tidemark/protocol';
import type { Clock } from '@tidemark/service';
import type { NodeRecord } from '../fleet/node.ts';
import type { LiveView } from '../live/live-view.ts';
import type { FleetOverview } from '../live/overview.ts';

const LIFE_EVERY_MS = 2_000;
const ROWS_EVERY_MS = 1_000;
/** Beyond this a listener has not read for many seconds. */
export const WAITING_BYTES_MAX = 4 * 1024 * 1024;
export const LISTENERS_MAX = 200;

/** One open page. `write` returns how many bytes wait to be read by it. */
export interface Listener {
  write(text: string): number;
  /** Asked now and then: whether who listens may still listen. */
  admitted(): boolean;
  end(): void;
}

export interface EventHubOptions {
  clock: Clock;
  view: LiveView;
  overview: FleetOverview;
  /** Every node that is not retired. */
  nodes: () => Iterable<NodeRecord>;
}

/** What a node's row was made from: while it is the same, so is the row. */
interface RowMark {
  newest: unknown;
  up: boolean;
  state: NodeState;
  claim: string | undefined;
  record: string;
}

/** An event as it stands on the wire (WHATWG HTML, section 9.2, server-sent events). */
export function written<Name extends keyof LiveEvents>(name: Name, data: LiveEvents[Name] | string): string {
  return `event: ${name}\ndata: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;
}

export class EventHub {
  readonly #options: EventHubOptions;
  readonly #listeners = new Set<Listener>();
  #marks = new Map<string, RowMark>();
  #timer: NodeJS.Timeout | undefined;
  #lifeAtMs = 0;

  constructor(options: EventHubOptions) {
    this.#options = options;
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  /** Tells a new listener everything, and from then on what changes. Returns how to stop. False: there are too many. */
  join(listener: Listener): (() => void) | false {
    if (this.#listeners.size >= LISTENERS_MAX) return false;
    // With nobody listening the marks have grown old.
    if (this.#listeners.size === 0) this.#changedRows();
    this.#listeners.add(listener);
    this.#send(listener, written('life', this.#life()) + written('overview', this.#options.overview.json()));
    this.#timer ??= setInterval(() => this.tick(), ROWS_EVERY_MS);
    return () => this.#leave(listener);
  }

  /** Tells everyone. Nothing is kept for those who are not there. */
  tell<Name extends keyof LiveEvents>(name: Name, data: LiveEvents[Name]): void {
    if (this.#listeners.size === 0) return;
    const text = written(name, data);
    for (const listener of this.#listeners) this.#send(listener, text);
  }

  /** One round: rows that changed, a sign of life, and a look at who may still listen. */
  tick(): void {
    const { nodes, removed, members } = this.#changedRows();
    if (members) this.tell('changed', { what: 'nodes' });
    if (nodes.length > 0 || removed.length > 0) this.tell('nodes', { at: this.#life().at, nodes, removed });
    const now = this.#options.clock.monotonicMs();
    if (now - this.#lifeAtMs < LIFE_EVERY_MS - ROWS_EVERY_MS / 2) return;
    this.#lifeAtMs = now;
    for (const listener of this.#listeners) if (!listener.admitted()) this.#dismiss(listener);
    this.tell('life', this.#life());
  }

  /** Lets everyone go: the collector stops. */
  stop(): void {
    for (const listener of this.#listeners) this.#dismiss(listener);
  }

  #life(): LiveEvents['life'] {
    return { at: new Date(this.#options.clock.wallMs()).toISOString() };
  }

  #send(listener: Listener, text: string): void {
    if (listener.write(text) > WAITING_BYTES_MAX) this.#dismiss(listener);
  }

  #dismiss(listener: Listener): void {
    this.#leave(listener);
    listener.end();
  }

  #leave(listener: Listener): void {
    this.#listeners.delete(listener);
    if (this.#listeners.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #changedRows(): { nodes: OverviewNode[]; removed: string[]; members: boolean } {
    const { view, overview } = this.#options;
    const marks = new Map<string, RowMark>();
    const nodes: OverviewNode[] = [];
    let members = false;
    for (const record of this.#options.nodes()) {
      const live = view.node(record.id);
      const mark = {
        newest: live?.newest,
        up: overview.isUp(record),
        state: record.state,
        // That it asked once more is no news.
        claim: record.claim ? `${record.claim.reason} ${record.claim.machineCode} ${record.claim.address}` : undefined,
        record: `${record.site}\n${live?.agentAheadMs}\n${JSON.stringify(record.tags)}`,
      };
      marks.set(record.name, mark);
      const before = this.#marks.get(record.name);
      const sameMember = before?.state === mark.state && before.claim === mark.claim;
      if (sameMember && before.newest === mark.newest && before.up === mark.up && before.record === mark.record) continue;
      nodes.push(overview.row(record));
      if (!sameMember) members = true;
    }
    const removed = [...this.#marks.keys()].filter((name) => !marks.has(name));
    this.#marks = marks;
    return { nodes, removed, members: members || removed.length > 0 };
  }
}
