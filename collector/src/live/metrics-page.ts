/**
 * The page that Prometheus scrapes: every current series of the fleet under its own name with `node` and
 * `site`, each metric's lines together, no series twice, whatever agents send. It is written metric by
 * metric and lets other work in between, because 60,000 lines at once would hold up the reports coming in.
 */
import { setImmediate as letOthersRun } from 'node:timers/promises';
import type { MetricType } from '@tidemark/protocol';
import type { Registry } from 'prom-client';
import type { NodeRecord } from '../fleet/node.ts';
import type { BlockLayout } from '../stream/stream.ts';
import { compileLayout, familyHeader, formatValue, nodeLabels, type BlockFamily } from './exposition.ts';
import type { LiveBlock, LiveNode, LiveView } from './live-view.ts';

/** Characters gathered before a piece is handed on. */
const PIECE_CHARS = 64 * 1024;
const LAYOUTS_AT_ONCE = 100;
const OWN_FAMILIES = new Set(['tidemark_node_up', 'tidemark_node_last_seen_timestamp_seconds', 'tidemark_node_clock_offset_seconds']);

/** The nodes there are, as the pages need them. */
export interface Fleet {
  all(): Iterable<NodeRecord>;
  byName(name: string): NodeRecord | undefined;
}

/** One metric on a page, and the parts of layouts that have it. */
interface Family {
  type: MetricType | 'untyped';
  help: string;
  readonly parts: { readonly family: BlockFamily; readonly layout: BlockLayout }[];
}

/** The nodes of a page, and the blocks that follow a layout at the moment of asking. */
interface PageScope {
  readonly nodes: Map<LiveNode, NodeLines>;
  readonly usersOf: (layout: BlockLayout) => Iterable<LiveBlock>;
}

/** What the page keeps of a node while it is written. */
interface NodeLines {
  readonly head: string;
  version: number;
  /** Positions left out because another block of the node has the same series. */
  hidden: ReadonlyMap<LiveBlock, ReadonlySet<number>>;
}

/** The collector's own metrics as text, by metric. */
interface OwnFamily {
  readonly type: string;
  readonly text: string;
}

const NOTHING_HIDDEN: ReadonlyMap<LiveBlock, ReadonlySet<number>> = new Map();

export class MetricsPage {
  readonly #view: LiveView;
  readonly #fleet: Fleet;
  readonly #registry: Registry;
  readonly #compiled = new WeakMap<BlockLayout, readonly BlockFamily[]>();
  readonly #hidden = new WeakMap<LiveNode, { version: number; hidden: NodeLines['hidden'] }>();

  constructor(view: LiveView, fleet: Fleet, registry: Registry) {
    this.#view = view;
    this.#fleet = fleet;
    this.#registry = registry;
  }

  /** The whole page in pieces: the collector's own metrics, then the fleet's. */
  async *all(): AsyncGenerator<string, void, undefined> {
    const own = await ownFamilies(this.#registry);
    await this.#compileAll();
    const records = [...this.#fleet.all()];
    const scope = { nodes: this.#currentNodes(records), usersOf: (layout: BlockLayout) => this.#view.usersOf(layout) };
    const families = this.#familiesOf(this.#view.layouts());
    for (const [name, { text, type }] of own) {
      yield text;
      const family = families.get(name);
      families.delete(name);
      if (family !== undefined && family.type === type) yield* this.#lines(name, family, scope);
      // A histogram's parts are not to be had by anyone else.
      if (type === 'histogram' || type === 'summary') for (const part of ['_bucket', '_sum', '_count']) families.delete(name + part);
    }
    yield this.#nodeFamilies(records);
    yield* this.#pieces(families, scope);
  }

  /** One node's page in pieces. */
  async *one(record: NodeRecord): AsyncGenerator<string, void, undefined> {
    yield this.#nodeFamilies([record]);
    const node = this.#view.node(record.id);
    if (node === undefined) return;
    const usersOf = (layout: BlockLayout): LiveBlock[] => node.blocks.filter((block) => block.layout === layout);
    const families = this.#familiesOf(new Set(node.blocks.map(({ layout }) => layout)));
    yield* this.#pieces(families, { nodes: this.#currentNodes([record]), usersOf });
  }

  async *#pieces(families: Map<string, Family>, scope: PageScope): AsyncGenerator<string, void, undefined> {
    let text = '';
    for (const name of [...families.keys()].toSorted()) {
      const family = families.get(name)!;
      // A metric is written in one go: between metrics a node may change its layouts, within one it must not.
      let isFirst = true;
      for (const lines of this.#lines(name, family, scope)) {
        text += isFirst ? familyHeader(name, family.type, family.help) + lines : lines;
        isFirst = false;
        if (text.length < PIECE_CHARS) continue;
        yield text;
        text = '';
        await letOthersRun();
      }
    }
    if (text !== '') yield text;
  }

  #familiesOf(layouts: Iterable<BlockLayout>): Map<string, Family> {
    const families = new Map<string, Family>();
    for (const layout of layouts) {
      for (const part of this.#compile(layout)) {
        if (OWN_FAMILIES.has(part.name)) continue;
        const family = families.get(part.name);
        if (family === undefined) {
          families.set(part.name, { type: part.type, help: part.help, parts: [{ family: part, layout }] });
          continue;
        }
        // Versions of agents may disagree: about the words the first is right, about the type nobody is.
        if (family.type !== part.type) family.type = 'untyped';
        if (family.help === '') family.help = part.help;
        family.parts.push({ family: part, layout });
      }
    }
    return families;
  }

  #lines(name: string, { parts }: Family, { nodes, usersOf }: PageScope): string[] {
    const pieces: string[] = [];
    let text = '';
    for (const { family, layout } of parts) {
      const { positions, rests } = family;
      for (const block of usersOf(layout)) {
        const { owner, values } = block;
        const node = nodes.get(owner);
        if (node === undefined) continue;
        if (node.version !== owner.layoutVersion) this.#refresh(node, owner);
        const start = name + node.head;
        const hidden = node.hidden.get(block);
        for (let i = 0; i < positions.length; i++) {
          const value = values[positions[i]!];
          if (value === null || value === undefined || hidden?.has(positions[i]!) === true) continue;
          text += `${start}${rests[i]!}${formatValue(value)}\n`;
        }
        if (text.length >= PIECE_CHARS) {
          pieces.push(text);
          text = '';
        }
      }
    }
    if (text !== '') pieces.push(text);
    return pieces;
  }

  /** `tidemark_node_*`: known for every approved node, silent ones above all. */
  #nodeFamilies(records: readonly NodeRecord[]): string {
    let up = '';
    let seen = '';
    let offset = '';
    for (const record of records) {
      if (record.state !== 'approved') continue;
      const labels = `${nodeLabels(record.name, record.site)}} `;
      const liveness = this.#view.liveness(record);
      const node = this.#view.node(record.id);
      if (liveness !== 'unknown') up += `tidemark_node_up${labels}${liveness === 'up' ? 1 : 0}\n`;
      if (node?.lastSeenAt !== undefined) seen += `tidemark_node_last_seen_timestamp_seconds${labels}${node.lastSeenAt / 1_000}\n`;
      if (node?.agentAheadMs !== undefined && liveness === 'up') {
        offset += `tidemark_node_clock_offset_seconds${labels}${node.agentAheadMs / 1_000}\n`;
      }
    }
    const family = (name: string, help: string, lines: string): string => (lines === '' ? '' : familyHeader(name, 'gauge', help) + lines);
    return (
      family('tidemark_node_up', '1 when the node was heard from within its grace, 0 when it is silent.', up) +
      family('tidemark_node_last_seen_timestamp_seconds', 'When the node was last heard from.', seen) +
      family('tidemark_node_clock_offset_seconds', "The node's clock less the collector's.", offset)
    );
  }

  #currentNodes(records: readonly NodeRecord[]): Map<LiveNode, NodeLines> {
    const nodes = new Map<LiveNode, NodeLines>();
    for (const record of records) {
      const node = this.#view.node(record.id);
      if (node === undefined || record.state !== 'approved' || !this.#view.isCurrent(node)) continue;
      const lines = { head: nodeLabels(record.name, record.site), version: -1, hidden: NOTHING_HIDDEN };
      this.#refresh(lines, node);
      nodes.set(node, lines);
    }
    return nodes;
  }

  /** Takes new layouts apart, a few at a time: after a start there may be thousands. */
  async #compileAll(): Promise<void> {
    let compiled = 0;
    for (const layout of this.#view.layouts()) {
      if (this.#compiled.has(layout)) continue;
      this.#compile(layout);
      if (++compiled % LAYOUTS_AT_ONCE === 0) await letOthersRun();
    }
  }

  #compile(layout: BlockLayout): readonly BlockFamily[] {
    let families = this.#compiled.get(layout);
    if (families === undefined) this.#compiled.set(layout, (families = compileLayout(layout)));
    return families;
  }

  #refresh(lines: NodeLines, node: LiveNode): void {
    lines.version = node.layoutVersion;
    let known = this.#hidden.get(node);
    if (known?.version !== node.layoutVersion) {
      known = { version: node.layoutVersion, hidden: this.#findHidden(node) };
      this.#hidden.set(node, known);
    }
    lines.hidden = known.hidden;
  }

  /** Series that two blocks of a node both have: the first block keeps them. */
  #findHidden(node: LiveNode): NodeLines['hidden'] {
    let hidden: Map<LiveBlock, Set<number>> | undefined;
    const seen = new Set<string>();
    for (const block of node.blocks) {
      for (const { name, rests, positions } of this.#compile(block.layout)) {
        for (let i = 0; i < rests.length; i++) {
          const identity = name + rests[i]!;
          if (!seen.has(identity)) {
            seen.add(identity);
            continue;
          }
          hidden ??= new Map();
          const known = hidden.get(block);
          if (known === undefined) hidden.set(block, new Set([positions[i]!]));
          else known.add(positions[i]!);
        }
      }
    }
    return hidden ?? NOTHING_HIDDEN;
  }
}

async function ownFamilies(registry: Registry): Promise<Map<string, OwnFamily>> {
  const families = new Map<string, OwnFamily>();
  for (const { name, type } of registry.getMetricsAsArray()) {
    families.set(name, { type: String(type), text: `${await registry.getSingleMetricAsString(name)}\n` });
  }
  return families;
}
