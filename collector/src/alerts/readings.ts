/**
 * What there is to judge of a report besides the values in its blocks: what is missing from it, fields of observations,
 * and the series that the collector makes itself of how a node's requests come.
 */
import type { Labels } from '@tidemark/protocol';
import type { LiveNode } from '../live/live-view.ts';
import type { Rule } from '../rules/rule.ts';
import type { AcceptedReport } from '../stream/stream.ts';
import type { Value } from './kinds/index.ts';
import { blockPlanOf, fieldOf, type RulesPlan, type Watch } from './plan.ts';

/** Null and NaN are not measured. */
export function isMeasured(value: number | null | undefined): value is number {
  return value !== null && value !== undefined && !Number.isNaN(value);
}

/** Adds the absences that are none: what is not in this report may have a pace of its own, and is there as long as the live view has a value. */
export function addPresent(present: Set<number>, report: AcceptedReport, plan: RulesPlan, view: LiveNode | undefined): void {
  for (const { layout, values } of view?.blocks ?? []) {
    if (report.blocks.some((block) => block.layout.probe === layout.probe && block.layout.instance === layout.instance)) continue;
    for (const { position, absence } of blockPlanOf(plan, layout).presences) if (isMeasured(values[position])) present.add(absence);
  }
}

export interface Observed {
  readonly rule: Rule;
  readonly labels: Labels;
  readonly value: Value;
}

/** The fields of a report's observations that rules look at. */
export function observedIn(report: AcceptedReport, plan: RulesPlan): Observed[] {
  return report.observations.flatMap(({ kind, instance, document }) =>
    plan.observations.flatMap((watched): Observed[] => {
      const value = watched.kind === kind ? fieldOf(document, watched.path) : undefined;
      if (value === undefined) return [];
      return [{ rule: watched.rule, labels: instance === '' ? [] : [['instance', instance]], value }];
    }),
  );
}

/** The collector's own series, of every node. */
export class OwnSeries {
  /** Reports that each agent said it had to give up since its start, as last heard. */
  readonly #lost = new Map<number, number>();
  readonly #onChange: () => void;

  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  /** What is to be judged of a node that has just been heard, by the rules about it. */
  read(nodeId: number, { agentAheadMs, lostReports }: LiveNode, plan: RulesPlan): (readonly [Watch, number])[] {
    const found: (readonly [Watch, number])[] = [];
    if (agentAheadMs !== undefined) for (const watch of plan.clockError) found.push([watch, Math.abs(agentAheadMs) / 1_000]);
    if (lostReports === undefined) return found;
    const before = this.#lost.get(nodeId);
    if (before !== lostReports) {
      this.#lost.set(nodeId, lostReports);
      this.#onChange();
    }
    // After the agent's start it counts from nothing again: that is no rise.
    const rise = before === undefined ? undefined : Math.max(0, lostReports - before);
    for (const watch of plan.lostReports) {
      if (!watch.isCounter) found.push([watch, lostReports]);
      else if (rise !== undefined) found.push([watch, rise]);
    }
    return found;
  }

  forget(nodeId: number): void {
    this.#lost.delete(nodeId);
  }

  /** Of the nodes that are still watched. */
  export(isWatched: (nodeId: number) => boolean): [number, number][] {
    for (const nodeId of this.#lost.keys()) if (!isWatched(nodeId)) this.#lost.delete(nodeId);
    return [...this.#lost];
  }

  import(stored: readonly (readonly [number, number])[]): void {
    for (const [nodeId, lost] of stored) this.#lost.set(nodeId, lost);
  }
}
