/**
 * The alerts that may come or are open, by node and by incident, and nothing of those that are calm. Only this file
 * changes them, so that the two ways to find one never disagree.
 */
import type { AlertLevel, Labels } from '@tidemark/protocol';
import type { Rule } from '../rules/rule.ts';
import type { NodeTime } from './node-clock.ts';
import type { AlertState } from './state.ts';

/** What brings a series. */
export interface Home {
  readonly probe: string;
  readonly instance: string;
}

export interface Instance {
  readonly nodeId: number;
  readonly key: string;
  readonly labels: Labels;
  rule: Rule;
  state: AlertState;
  /** Of the open alert. */
  incidentId: string | null;
  /** The level it was last said to be at. */
  level: AlertLevel | null;
  /** Null for what the collector judges by itself. */
  home: Home | null;
  /** Its times are on the collector's own steady clock, not the samples'. */
  readonly isSteady: boolean;
  /** The pass that judged it last. */
  mark: number;
}

export interface NodeInstances {
  readonly nodeId: number;
  readonly byKey: Map<string, Instance>;
  /** The list that its instances were last held against. */
  rules: readonly Rule[] | undefined;
  readonly time: NodeTime;
  /** Something was left out because there were too many. */
  overfull: boolean;
}

/** Alerts of one node that are remembered at once; far beyond what anybody can look at. */
export const INSTANCES_PER_NODE_MAX = 2_000;

export class Instances {
  readonly #nodes = new Map<number, NodeInstances>();
  readonly #byIncident = new Map<string, Instance>();
  #count = 0;

  get count(): number {
    return this.#count;
  }

  get openCount(): number {
    return this.#byIncident.size;
  }

  nodes(): Iterable<NodeInstances> {
    return this.#nodes.values();
  }

  of(nodeId: number): NodeInstances | undefined {
    return this.#nodes.get(nodeId);
  }

  byIncident(incidentId: string): Instance | undefined {
    return this.#byIncident.get(incidentId);
  }

  /** False when the node has too many. */
  add(instance: Instance): boolean {
    let node = this.#nodes.get(instance.nodeId);
    if (node === undefined) {
      const time = { at: Number.NEGATIVE_INFINITY, bootId: '', sequence: 0, arrivedMs: undefined };
      node = { nodeId: instance.nodeId, byKey: new Map(), rules: undefined, time, overfull: false };
      this.#nodes.set(instance.nodeId, node);
    }
    if (node.byKey.size >= INSTANCES_PER_NODE_MAX) {
      node.overfull = true;
      return false;
    }
    node.byKey.set(instance.key, instance);
    if (instance.incidentId !== null) this.#byIncident.set(instance.incidentId, instance);
    this.#count++;
    return true;
  }

  opened(instance: Instance, incidentId: string): void {
    instance.incidentId = incidentId;
    this.#byIncident.set(incidentId, instance);
  }

  closed(instance: Instance): void {
    if (instance.incidentId !== null) this.#byIncident.delete(instance.incidentId);
    instance.incidentId = null;
  }

  remove(instance: Instance): void {
    this.closed(instance);
    const node = this.#nodes.get(instance.nodeId);
    if (node?.byKey.get(instance.key) !== instance) return;
    node.byKey.delete(instance.key);
    this.#count--;
    if (node.byKey.size === 0) this.#nodes.delete(instance.nodeId);
  }
}
