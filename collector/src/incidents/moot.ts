/**
 * Why an open alert need not be told: somebody silenced it, or another one says what is really wrong. Derived from the
 * book and never recorded, so that it holds the moment the book changes; asked by the plan and by the API alike, so that
 * what is shown and what is done never differ. It keeps opening messages back, and never a resolve.
 */
import { LOST_NODE, type Labels, type Matcher } from '@tidemark/protocol';
import { compilePattern } from '../rules/pattern.ts';
import type { Book, Incident, Silence } from './entry.ts';

/** What a node is called now. */
export interface NodeNames {
  readonly name: string;
  readonly site: string;
}

/** Whether everything a silence's matcher says fits. `node` is what the node is called now. */
export function covers(matcher: Matcher, incident: Incident, node: NodeNames): boolean {
  if (matcher.rule !== undefined && !compilePattern(matcher.rule)(incident.rule)) return false;
  if (matcher.node !== undefined && !compilePattern(matcher.node)(node.name)) return false;
  if (matcher.site !== undefined && !compilePattern(matcher.site)(node.site)) return false;
  if (matcher.level !== undefined && matcher.level !== incident.level) return false;
  return Object.entries(matcher.labels ?? {}).every(([name, pattern]) => {
    const label = incident.labels.find(([key]) => key === name);
    return label !== undefined && compilePattern(pattern)(label[1]);
  });
}

/** The silence that covers an alert now; of several the one that ends last. */
export function silenceOf(silences: Iterable<Silence>, incident: Incident, node: NodeNames, now: number): Silence | undefined {
  let longest: Silence | undefined;
  for (const silence of silences)
    if (silence.endsAt > now && (longest === undefined || silence.endsAt > longest.endsAt) && covers(silence.matcher, incident, node))
      longest = silence;
  return longest;
}

/**
 * The open alert that makes this one moot: of a rule it names, agreeing in every label that both have, and on the same node,
 * or on another one that tells of this node or of the same cluster (LOST_NODE). Of a chain it is the end. Rules that name each other in a circle cannot hush each other: the one that opened first
 * counts. So there is always one that is told.
 */
export function suppressorOf(book: Book, incident: Incident): Incident | undefined {
  if (incident.suppressedBy.length === 0 || incident.closedAt !== null) return undefined;
  const reached = new Map<string, Incident>();
  const ends: Incident[] = [];
  const waiting = [incident];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const above = directSuppressors(book, next);
    if (above.length === 0 && next !== incident) ends.push(next);
    for (const other of above) {
      if (reached.has(other.incidentId)) continue;
      reached.set(other.incidentId, other);
      waiting.push(other.incidentId === incident.incidentId ? incident : other);
    }
  }
  const first = firstOpened(ends.length > 0 ? ends : reached.values());
  return first?.incidentId === incident.incidentId ? undefined : first;
}

function directSuppressors(book: Book, incident: Incident): Incident[] {
  const { nodeId, incidentId, suppressedBy, labels } = incident;
  if (suppressedBy.length === 0) return [];
  const fits = (other: Incident): boolean =>
    other.incidentId !== incidentId && suppressedBy.includes(other.rule) && agree(labels, other.labels);
  const found = [...book.openOf(nodeId)].filter(fits);
  for (const other of book.openBeyond()) if (other.nodeId !== nodeId && reaches(other, incident) && fits(other)) found.push(other);
  return found;
}

/** Whether an alert that one node tells of another says what is wrong with this one, too. */
function reaches({ labels }: Incident, incident: Incident): boolean {
  const cluster = labelOf(labels, 'cluster');
  return labelOf(labels, LOST_NODE) === incident.nodeName || (cluster !== undefined && cluster === labelOf(incident.labels, 'cluster'));
}

function labelOf(labels: Labels, name: string): string | undefined {
  return labels.find(([label]) => label === name)?.[1];
}

function agree(a: Labels, b: Labels): boolean {
  return a.every(([name, value]) => b.every(([otherName, otherValue]) => otherName !== name || otherValue === value));
}

function firstOpened(incidents: Iterable<Incident>): Incident | undefined {
  let first: Incident | undefined;
  for (const incident of incidents) if (first === undefined || incident.incidentId < first.incidentId) first = incident;
  return first;
}
