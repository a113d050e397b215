/** What is done to nodes in the mock: added, approved, renamed, retired, on top of a fleet that itself does not change. */
import type { NodeState, NodeSummary, Overview, OverviewNode } from '@tidemark/protocol';
import type { MockReply } from './mock-alerts.ts';

interface Change {
  name?: string;
  state?: NodeState;
}

const token = (): string => `tmk_agent_${Array.from({ length: 32 }, () => Math.floor(Math.random() * 36).toString(36)).join('')}`;

export class MockNodes {
  readonly #added: OverviewNode[] = [];
  readonly #changes = new Map<string, Change>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** The fleet's overview after what was done; without the retired, as the collector gives it. */
  overview(plain: Overview): Overview {
    const nodes = [...plain.nodes, ...this.#added].map((node) => this.#after(node)).filter((node) => node.state !== 'retired');
    return { at: plain.at, nodes };
  }

  list(plain: Overview): { nodes: NodeSummary[] } {
    return { nodes: [...plain.nodes, ...this.#added].map((node, index) => this.#summary(this.#after(node), index)) };
  }

  add(plain: Overview, body: { name?: unknown; site?: unknown; tags?: unknown }): MockReply {
    const name = typeof body.name === 'string' ? body.name : '';
    if (name === '' || name === '.' || name === '..') return { status: 400, body: 'body_invalid' };
    if (this.overview(plain).nodes.some((node) => node.name === name)) return { status: 409, body: 'name_taken' };
    const node: OverviewNode = {
      name,
      site: typeof body.site === 'string' ? body.site : '',
      tags: {},
      state: 'approved',
      up: false,
      lastSeenAt: null,
      clockOffsetSeconds: null,
      cpu: { usageRatio: null },
      memory: { usageRatio: null, totalBytes: null },
      disk: { usageRatio: null, mounts: [] },
      uptimeSeconds: null,
      postgres: [],
    };
    this.#added.push(node);
    return { status: 201, body: { node: this.#summary(node, 0), token: token() } };
  }

  act(plain: Overview, name: string, step: string, body: { name?: unknown }): MockReply {
    const found = [...plain.nodes, ...this.#added].find((node) => this.#after(node).name === name);
    if (found === undefined) return { status: 404, body: 'node_unknown' };
    const change = this.#changes.get(found.name) ?? {};
    if (step === 'token') return { status: 201, body: { node: this.#summary(this.#after(found), 0), token: token() } };
    if (step === 'rename') {
      const to = typeof body.name === 'string' ? body.name : '';
      if (this.overview(plain).nodes.some((node) => node.name === to)) return { status: 409, body: 'name_taken' };
      this.#changes.set(found.name, { ...change, name: to });
    } else {
      const state = { approve: 'approved', revoke: 'revoked', retire: 'retired' }[step];
      if (state === undefined) return { status: 404, body: 'not_found' };
      if (this.#after(found).state === 'retired') return { status: 409, body: 'state_conflict' };
      this.#changes.set(found.name, { ...change, state: state as NodeState });
    }
    return { status: 200, body: this.#summary(this.#after(found), 0) };
  }

  #after(node: OverviewNode): OverviewNode {
    return { ...node, ...this.#changes.get(node.name) };
  }

  #summary(node: OverviewNode, index: number): NodeSummary {
    return {
      id: index + 1,
      name: node.name,
      site: node.site,
      tags: node.tags,
      state: node.state,
      createdAt: new Date(this.#now() - 30 * 86_400_000).toISOString(),
      lastSeenAt: node.lastSeenAt,
      agentVersion: node.lastSeenAt === null ? null : index % 9 === 0 ? '0.0.9' : '0.1.0',
      intervalSeconds: node.lastSeenAt === null ? null : 15,
    };
  }
}
