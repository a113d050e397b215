/**
 * Takes up after a restart what the book and the snapshot know. What is open, and at which level, is what the book says;
 * timers and histories are the snapshot's. Without a snapshot it goes on from the book alone.
 */
import type { AlertLevel } from '@tidemark/protocol';
import type { Log } from '@tidemark/service';
import type { NodeRecord } from '../fleet/node.ts';
import type { Book, Incident } from '../incidents/entry.ts';
import type { Rule } from '../rules/rule.ts';
import type { Instance, Instances } from './instances.ts';
import { keyOf } from './plan.ts';
import { readSnapshot, type Elsewhere, type Snapshot, type SnapshotFile, type StoredInstance } from './snapshot.ts';
import { CALM_TRACK, stateFromBook, type AlertState, type Track } from './state.ts';

/** The newest snapshot there is; of damaged ones the log speaks. Never rejects. */
export async function findSnapshot(
  file: SnapshotFile | undefined,
  elsewhere: Elsewhere | undefined,
  log: Log,
): Promise<Snapshot | undefined> {
  const found: Snapshot[] = [];
  const look = async (where: string, read: () => Promise<string | undefined>): Promise<void> => {
    try {
      const text = await read();
      const snapshot = text === undefined ? undefined : readSnapshot(text);
      if (snapshot !== undefined) found.push(snapshot);
      else if (text !== undefined) log.warn({ where }, 'the kept timers of alerts are damaged and are not used');
    } catch (error) {
      log.warn({ err: error, where }, 'the kept timers of alerts cannot be read');
    }
  };
  if (file !== undefined) await look(file.path, () => file.read());
  if (elsewhere !== undefined) await look('database', () => elsewhere.load());
  return found.toSorted((a, b) => b.savedAt - a.savedAt)[0];
}

/** A book that also knows what was over and told of late. */
export interface RememberingBook extends Book {
  past?(): Iterable<Incident>;
}

/** The newest of those that are over, of each rule and label set of a node the last in time comes last. */
export function recentlyOver(book: RememberingBook): (Incident & { closedAt: number })[] {
  const over = [...book.incidents(), ...(book.past?.() ?? [])].filter(
    (incident): incident is Incident & { closedAt: number } => incident.closedAt !== null,
  );
  return over.toSorted((a, b) => a.closedAt - b.closedAt);
}

export interface RestoreOptions {
  readonly book: Book;
  readonly instances: Instances;
  readonly nodeOf: (id: number) => NodeRecord | undefined;
  readonly ruleOf: (node: NodeRecord, name: string) => Rule | undefined;
}

/** Fills `instances`. Says how many are open, and how many may become so. */
export function restoreInstances(snapshot: Snapshot | undefined, options: RestoreOptions): { open: number; pending: number } {
  const { book, instances, nodeOf, ruleOf } = options;
  const stored = new Map<number, Map<string, StoredInstance>>();
  for (const node of snapshot?.nodes ?? [])
    stored.set(node.id, new Map(node.instances.map((instance) => [keyOf(instance.rule, instance.labels), instance])));
  let open = 0;
  for (const incident of book.incidents()) {
    if (incident.closedAt !== null) continue;
    const key = keyOf(incident.rule, incident.labels);
    const known = stored.get(incident.nodeId)?.get(key);
    stored.get(incident.nodeId)?.delete(key);
    const node = nodeOf(incident.nodeId);
    const rule = node === undefined ? undefined : ruleOf(node, incident.rule);
    if (instances.add(openInstance(incident, key, known, { rule, digest: digestOf(snapshot, known) }))) open++;
  }
  let pending = 0;
  for (const [nodeId, left] of stored) {
    const node = nodeOf(nodeId);
    for (const [key, known] of left) {
      // Open in the snapshot and not in the book: it was closed after that.
      if (known.incidentId !== null || node?.state !== 'approved') continue;
      const rule = ruleOf(node, known.rule);
      if (rule === undefined) continue;
      const digest = digestOf(snapshot, known) ?? rule.digest;
      const { labels, home, isSteady, state } = known;
      const held = { nodeId, key, labels, home, isSteady, state, incidentId: null, level: null, mark: 0 };
      if (instances.add({ ...held, rule: digest === rule.digest ? rule : unknownBefore(rule, digest) })) pending++;
    }
  }
  for (const { id, at, bootId, sequence } of snapshot?.nodes ?? []) {
    const node = instances.of(id);
    if (node !== undefined && at !== null) Object.assign(node.time, { at, bootId, sequence });
  }
  return { open, pending };
}

function digestOf(snapshot: Snapshot | undefined, stored: StoredInstance | undefined): string | undefined {
  return stored === undefined ? undefined : snapshot?.digests[stored.digest];
}

function openInstance(
  incident: Incident,
  key: string,
  known: StoredInstance | undefined,
  { rule, digest }: { rule: Rule | undefined; digest: string | undefined },
): Instance {
  const { incidentId, nodeId, labels, level, kind, metric, noData, value } = incident;
  const state = known === undefined ? stateFromBook(level, noData, kind === 'absent' ? true : value) : aligned(known.state, incident);
  return {
    nodeId,
    key,
    labels,
    rule: ruleThen(incident, rule, digest),
    state,
    incidentId,
    level,
    home: known?.home ?? null,
    isSteady: kind === 'absent' && metric === null,
    mark: 0,
  };
}

/** The rule as it was when the alert was judged last: by another text than today's, it counts as edited since. */
function ruleThen(incident: Incident, rule: Rule | undefined, digest: string | undefined): Rule {
  if (rule === undefined) return removedRule(incident);
  const isSame =
    digest === undefined ? JSON.stringify(rule[incident.level]?.trigger) === JSON.stringify(incident.bound) : digest === rule.digest;
  return isSame ? rule : unknownBefore(rule, digest ?? '');
}

/** A rule of which only is known that it read differently. */
function unknownBefore(rule: Rule, digest: string): Rule {
  return { ...rule, digest, warning: null, critical: null };
}

function removedRule({ rule, title, kind, metric, unit, suppressedBy, annotations, runbook }: Incident): Rule {
  return {
    name: rule,
    title,
    kind,
    metric,
    observation: null,
    labels: {},
    unit,
    where: {},
    warning: null,
    critical: null,
    suppressedBy,
    annotations,
    runbook,
    digest: '',
  };
}

/** The snapshot's state at the book's level. */
function aligned(state: AlertState, { level, noData }: Incident): AlertState {
  const activeAt = (name: AlertLevel): boolean | undefined => (name === level ? true : name === 'critical' ? false : undefined);
  const align = (name: AlertLevel): Track | null => {
    const track = state[name];
    const wanted = activeAt(name);
    if (wanted === undefined || track?.active === wanted) return track;
    if (!wanted) return track === null ? null : { ...CALM_TRACK, beyond: track.beyond };
    return { ...CALM_TRACK, active: true, beyond: track?.beyond ?? true, back: track?.back ?? false };
  };
  return { ...state, level, noData, warning: align('warning'), critical: align('critical') };
}
