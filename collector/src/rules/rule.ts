/**
 * A rule as it is judged: every duration in milliseconds, every layer already applied. Rules are immutable and
 * shared between the nodes they are the same for, so that what is derived from one can be kept by identity.
 */
import type { Bound, NodeSelection, RuleKind, RuleView } from '@tidemark/protocol';
import type { NodeRecord } from '../fleet/node.ts';

export interface Level {
  readonly trigger: Bound;
  /** The value at which it is over; null: as soon as it is no longer beyond the trigger. */
  readonly clear: number | null;
  /** It has to have been true for so long ... */
  readonly trueForMs: number;
  /** ... of so long. The same as `trueForMs`: without interruption. */
  readonly ofLastMs: number;
  /** It is over when the clear value has held for so long. */
  readonly clearAfterMs: number;
}

export interface Rule {
  readonly name: string;
  readonly title: string;
  readonly kind: RuleKind;
  /** null: about the node itself (kind absent), or about an observation. */
  readonly metric: string | null;
  /** `field` is a dotted path into the document. */
  readonly observation: { readonly kind: string; readonly field: string } | null;
  /** What labels a series has to have: any of the values; `*` stands for any characters, "!" before a value excludes it. */
  readonly labels: Readonly<Record<string, readonly string[]>>;
  readonly unit: string;
  readonly where: NodeSelection;
  readonly warning: Level | null;
  readonly critical: Level | null;
  readonly suppressedBy: readonly string[];
  readonly annotations: Readonly<Record<string, string>>;
  readonly runbook: string | null;
  /** What decides how it is judged, as text: another text means the rule was changed while an alert of it may be open. */
  readonly digest: string;
}

/** The rules in force at one moment. */
export interface RuleSet {
  /** Those that judge something on this node: enabled, not inactive, selected. The same array for nodes they are the same for. */
  for(node: Pick<NodeRecord, 'name' | 'site' | 'tags'>): readonly Rule[];
  /** Every rule, as declared for the whole fleet. */
  views(): readonly RuleView[];
  /** How one rule stands for one node: which layers apply, and what results. Undefined when there is no such rule. */
  explain(rule: string, node: Pick<NodeRecord, 'name' | 'site' | 'tags'>): (RuleView & { readonly applies: boolean }) | undefined;
}

/** Holds the rules in force and tells of new ones. */
export interface RuleSource {
  readonly current: RuleSet;
  onChange(listener: (rules: RuleSet) => void): void;
}
