/** What a channel is told only: levels, rules, sites, nodes, tags. Asked before an opening message, never before a resolve. Pure. */
import type { AlertLevel, Tags } from '@tidemark/protocol';
import type { Incident } from '../incidents/entry.ts';
import { compilePattern } from '../rules/pattern.ts';

/** Absent parts say nothing. In every part but `levels`, `*` stands for any characters. */
export interface Only {
  readonly levels?: readonly AlertLevel[] | undefined;
  readonly rules?: readonly string[] | undefined;
  readonly sites?: readonly string[] | undefined;
  readonly nodes?: readonly string[] | undefined;
  readonly tags?: Readonly<Record<string, string>> | undefined;
}

/** What the directory knows of a node. */
export interface NodeIdentity {
  readonly name: string;
  readonly site: string;
  readonly tags: Tags;
}

export type NodeLookup = (nodeId: number) => NodeIdentity | undefined;

/** A node as it is called now; one that is known no more, as it was called then. */
export function identityOf(incident: Incident, lookup: NodeLookup): NodeIdentity {
  return lookup(incident.nodeId) ?? { name: incident.nodeName, site: incident.site, tags: {} };
}

/** Whether a channel wants to hear of an alert at this level. */
export function wants(only: Only, incident: Incident, level: AlertLevel, node: NodeIdentity): boolean {
  const anyOf = (patterns: readonly string[] | undefined, text: string): boolean =>
    patterns === undefined || patterns.some((pattern) => compilePattern(pattern)(text));
  return (
    (only.levels === undefined || only.levels.includes(level)) &&
    anyOf(only.rules, incident.rule) &&
    anyOf(only.sites, node.site) &&
    anyOf(only.nodes, node.name) &&
    Object.entries(only.tags ?? {}).every(([key, pattern]) => Object.hasOwn(node.tags, key) && compilePattern(pattern)(node.tags[key]!))
  );
}

/** In words; empty for everything. */
export function onlyInWords(only: Only): string {
  const list = (values: readonly string[]): string =>
    values.length < 2 ? values.join('') : `${values.slice(0, -1).join(', ')} or ${values.at(-1)!}`;
  const tags = Object.entries(only.tags ?? {}).map(([key, value]) => `${key}=${value}`);
  return [
    ['level', list(only.levels ?? [])],
    ['rule', list(only.rules ?? [])],
    ['site', list(only.sites ?? [])],
    ['node', list(only.nodes ?? [])],
    ['tag', tags.join(' and ')],
  ]
    .filter(([, text]) => text !== '')
    .map(([what, text]) => `${what!} ${text!}`)
    .join('; ');
}
