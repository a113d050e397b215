/** What is done to nodes in the mock: added, approved, renamed, retired, on top of a fleet that itself does not change. */
import type { Claim, MadeEnrollment, NodeState, NodeSummary, Overview, OverviewNode } from '@tidemark/protocol';
import type { MockReply } from './mock-alerts.ts';

interface Change {
  name?: string;
  state?: NodeState;
  /** The machine that asked has been decided about. */
  decided?: true;
}

/** Somewhere in the middle of any fleet of the tests. */
const DOUBLED_INDEX = 17;

const token = (): string => `tmk_agent_${Array.from({ length: 32 }, () => Math.floor(Math.random() * 36).toString(36)).join('')}`;

export class MockNodes {
  readonly #changes = new Map<string, Change>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** The fleet's overview after what was done; without the retired, as the collector gives it. */
  overview(plain: Overview): Overview {
    const nodes = plain.nodes.map((node) => this.#after(node)).filter((node) => node.state !== 'retired');
    return { at: plain.at, nodes };
  }

  list(plain: Overview): { nodes: NodeSummary[] } {
    return { nodes: plain.nodes.map((node, index) => this.#summary(this.#after(node), index)) };
  }

  /** The string is of the true form, for the page reads it. */
  enroll(body: { uses?: unknown; ttlSeconds?: unknown; site?: unknown; url?: unknown }): MadeEnrollment {
    const secret = Array.from({ length: 43 }, () => Math.floor(Math.random() * 36).toString(36)).join('');
    return {
      string: `tme1.${secret}.-@${typeof body.url === 'string' ? body.url : 'http://collector:5000'}`,
      enrollment: {
        id: 1,
        createdAt: new Date(this.#now()).toISOString(),
        expiresAt: new Date(this.#now() + Number(body.ttlSeconds ?? 86_400) * 1_000).toISOString(),
        uses: Number(body.uses ?? 1),
        used: 0,
        site: typeof body.site === 'string' ? body.site : '',
        tags: {},
        state: 'open',
      },
    };
  }

  act(plain: Overview, name: string, step: string, body: { name?: unknown }): MockReply {
    const found = plain.nodes.find((node) => this.#after(node).name === name);
    if (found === undefined) return { status: 404, body: 'node_unknown' };
    const change = this.#changes.get(found.name) ?? {};
    if (step === 'token') return { status: 201, body: { node: this.#summary(this.#after(found), 0), token: token() } };
    if (step === 'rename') {
      const to = typeof body.name === 'string' ? body.name : '';
      if (this.overview(plain).nodes.some((node) => node.name === to)) return { status: 409, body: 'name_taken' };
      this.#changes.set(found.name, { ...change, name: to });
    } else {
      const state = {
        approve: 'approved',
        deny: this.#after(found).state === 'pending' ? 'retired' : 'approved',
        revoke: 'revoked',
        retire: 'retired',
      }[step];
      if (state === undefined) return { status: 404, body: 'not_found' };
      if (this.#after(found).state === 'retired') return { status: 409, body: 'state_conflict' };
      this.#changes.set(found.name, {
        ...change,
        state: state as NodeState,
        ...(step === 'approve' || step === 'deny' ? { decided: true } : {}),
      });
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
      claim: this.#claim(node, index),
    };
  }

  /** Every pending node has a machine that asks; of a large fleet one node has two. */
  #claim(node: OverviewNode, index: number): Claim | null {
    if (this.#changes.get(node.name)?.decided === true) return null;
    const doubled = index === DOUBLED_INDEX && node.state === 'approved';
    if (node.state !== 'pending' && !doubled) return null;
    return {
      reason: doubled ? 'clone-or-replacement' : 'new',
      machineCode: doubled ? '9C04-5B71' : '3F7A-91C2',
      address: doubled ? '10.20.0.77' : '10.20.0.41',
      askedAt: new Date(this.#now() - 130_000).toISOString(),
      platform: 'linux-x64',
      agentVersion: '0.1.0',
    };
  }
}
