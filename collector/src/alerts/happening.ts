/** From what the reducer decided to what the journal keeps: the whole story of an alert in its own words. Pure. */
import type { NodeRecord } from '../fleet/node.ts';
import type { Happening, Opening } from '../incidents/entry.ts';
import type { Instance } from './instances.ts';
import type { Value } from './kinds/index.ts';
import type { Effect } from './step.ts';
import { WHY_RETIRED, WHY_RULE_REMOVED, whyChanged, whyGone, whyNoData, whyOpen, whyRecovered } from './wording.ts';

type Of<K extends Effect['kind']> = Extract<Effect, { kind: K }>;

export interface Circumstances {
  readonly node: NodeRecord;
  /** Wall time. */
  readonly now: number;
  /** For how long the node has not been heard; only for alerts about that. */
  readonly missingMs: number | undefined;
  readonly nodeIsSilent: boolean;
  /** What makes the value, in a sentence; where somebody knows. */
  readonly explanation?: string | undefined;
}

/** An alert opens under a new id. */
export function openingOf(
  { rule, labels }: Instance,
  { level, value, since }: Of<'opened'>,
  incidentId: string,
  { node, now, missingMs, explanation }: Circumstances,
): Opening {
  const { name, kind, title, metric, unit, suppressedBy, annotations, runbook } = rule;
  return {
    incidentId,
    rule: name,
    kind,
    title,
    nodeId: node.id,
    nodeName: node.name,
    site: node.site,
    metric,
    labels,
    unit,
    level,
    value: numberOf(value),
    bound: rule[level]!.trigger,
    why: whyOpen(rule, labels, level, { value, missingMs, explanation }),
    since: missingMs === undefined ? since : now - missingMs,
    suppressedBy,
    annotations,
    runbook,
  };
}

/** Something happens to an open alert. */
export function happeningOf(
  { rule, labels, level: shown }: Instance,
  effect: Exclude<Effect, { kind: 'opened' }>,
  incidentId: string,
  { missingMs, nodeIsSilent, explanation }: Circumstances,
): Happening {
  switch (effect.kind) {
    case 'level': {
      const { kind, level, value } = effect;
      const why = whyOpen(rule, labels, level, { value, missingMs, explanation });
      return { kind, incidentId, level, value: numberOf(value), bound: rule[level]!.trigger, why };
    }
    case 'data': {
      const { kind, noData } = effect;
      return { kind, incidentId, noData, why: whyNoData(rule, labels, noData, nodeIsSilent) };
    }
    case 'closed': {
      const { kind, reason, value } = effect;
      const why = {
        recovered: () => whyRecovered(rule, labels, shown ?? 'warning', value),
        gone: () => whyGone(rule, labels),
        retired: () => WHY_RETIRED,
        rule_changed: () => whyChanged(rule, labels, value),
        rule_removed: () => WHY_RULE_REMOVED,
        closed_by_hand: () => '',
      }[reason]();
      return { kind, incidentId, reason, value: numberOf(value), why };
    }
  }
}

function numberOf(value: Value | null): number | null {
  return typeof value === 'number' ? value : null;
}
