/**
 * What is to be sent: for one channel the difference between what should have been told and what was. Pure; it reads the
 * book and changes nothing. Whoever was told "firing", or may have been, is told "resolved", whatever else is so.
 */
import type { AlertLevel } from '@tidemark/protocol';
import type { Book, Delivery, DeliveryItem, Incident, Silence, Told } from '../incidents/entry.ts';
import { silenceOf, suppressorOf } from '../incidents/moot.ts';
import { identityOf, wants, type NodeLookup, type Only } from './only.ts';

/** More than this is told in the next message. */
export const MAX_ITEMS = 100;

export interface PlannedChannel {
  readonly name: string;
  readonly only: Only;
  /** What was refused before this moment is tried again (the channel was changed, or a test went through). */
  readonly revivedAt: number;
}

/** A message that has not been attempted. */
export interface NewMessage {
  /** null: it begins a conversation of its own. */
  readonly thread: string | null;
  readonly items: readonly DeliveryItem[];
  /** A delivery under way whose content is no longer true: this message says what is. */
  readonly replaces: Delivery | null;
}

export interface ChannelWork {
  /** The most urgent first. */
  readonly fresh: readonly NewMessage[];
  /** Attempted, not known to have arrived, and still what is to be said: the same message under the same id. */
  readonly repeats: readonly Delivery[];
  /** The same, but silenced for now in all they say. */
  readonly held: readonly Delivery[];
  /** Open alerts that this channel knows of, or will when all this is sent. */
  readonly openCount: number;
  /** When a silence ends that keeps something back; null when none does. */
  readonly wakeAt: number | null;
}

export interface PlanContext {
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly nodeOf: NodeLookup;
}

/** Why an open alert is not told, where it is not. */
export type Muted =
  | { readonly by: 'silence'; readonly silence: Silence }
  | { readonly by: 'alert'; readonly incident: Incident }
  | { readonly by: 'only' };

const RANK: Readonly<Record<AlertLevel, number>> = { warning: 1, critical: 2 };

/** What keeps an open alert from being told to a channel now. */
export function mutedFor(book: Book, only: Only, incident: Incident, { now, nodeOf }: PlanContext): Muted | undefined {
  const node = identityOf(incident, nodeOf);
  if (!wants(only, incident, incident.level, node)) return { by: 'only' };
  const silence = silenceOf(book.silences(), incident, node, now);
  if (silence !== undefined) return { by: 'silence', silence };
  const suppressor = suppressorOf(book, incident);
  return suppressor === undefined ? undefined : { by: 'alert', incident: suppressor };
}

interface Due {
  readonly incident: Incident;
  readonly item: DeliveryItem;
  readonly told: Told | undefined;
}

/** What is to be sent to one channel now. */
export function planFor(book: Book, channel: PlannedChannel, context: PlanContext): ChannelWork {
  const pending = new Map<string, Delivery>();
  for (const delivery of book.deliveries()) if (delivery.channel === channel.name) pending.set(delivery.deliveryId, delivery);
  const due: Due[] = [];
  const muted = new Set<string>();
  let openCount = 0;
  let wakeAt: number | null = null;
  for (const incident of book.incidents()) {
    const told = incident.told.get(channel.name);
    const standing = standingOf(told, pending, channel);
    let item = nextItem(incident, told, standing);
    if (incident.closedAt === null && (item !== undefined || standing === 'pending')) {
      const reason = mutedFor(book, channel.only, incident, context);
      if (reason !== undefined) {
        muted.add(incident.incidentId);
        item = undefined;
        if (reason.by === 'silence' && (wakeAt === null || reason.silence.endsAt < wakeAt)) wakeAt = reason.silence.endsAt;
      }
    }
    if (item !== undefined) due.push({ incident, item, told });
    if (incident.closedAt === null && (told !== undefined || item !== undefined)) openCount++;
  }
  const outdated = new Map<string, Delivery>();
  for (const { told } of due) {
    const delivery = told === undefined ? undefined : pending.get(told.deliveryId);
    if (delivery !== undefined) outdated.set(delivery.deliveryId, delivery);
  }
  const lasting = [...pending.values()].filter(({ deliveryId }) => !outdated.has(deliveryId));
  const isHeld = ({ items }: Delivery): boolean =>
    items.length > 0 && items.every(({ incidentId, status }) => status === 'firing' && muted.has(incidentId));
  return {
    fresh: compose(book, channel.name, due, outdated),
    repeats: lasting.filter((delivery) => !isHeld(delivery)),
    held: lasting.filter(isHeld),
    openCount,
    wakeAt,
  };
}

/**
 * How what a channel was told last stands: `arrived`; `pending`, to be tried again; `given_up`, refused; `revived`, refused
 * by what the channel was before it was changed.
 */
type Standing = 'none' | 'arrived' | 'pending' | 'given_up' | 'revived';

function standingOf(told: Told | undefined, pending: ReadonlyMap<string, Delivery>, channel: PlannedChannel): Standing {
  if (told === undefined) return 'none';
  if (told.confirmed) return 'arrived';
  if (pending.has(told.deliveryId)) return 'pending';
  return told.at < channel.revivedAt ? 'revived' : 'given_up';
}

/** What has to be said of one alert if nothing mutes it, or undefined when it has been said or is being said. */
function nextItem(incident: Incident, told: Told | undefined, standing: Standing): DeliveryItem | undefined {
  const { incidentId, level } = incident;
  const firing: DeliveryItem = { incidentId, status: 'firing', level };
  if (incident.closedAt !== null) {
    // Over before anybody was told of it: there is nothing to end.
    if (told === undefined) return undefined;
    if (told.status === 'resolved') return standing === 'revived' ? { incidentId, status: 'resolved', level: told.level } : undefined;
    return { incidentId, status: 'resolved', level: told.level, ...(told.confirmed ? {} : { late: true as const }) };
  }
  if (told === undefined || standing === 'revived' || RANK[level] > RANK[told.level]) return firing;
  // Lowered before the higher level is known to have arrived: the message says what is true now.
  return standing === 'pending' && level !== told.level ? firing : undefined;
}

/** Puts what is due into messages: what follows goes where it was told, new alerts of one rule go together. */
function compose(book: Book, channel: string, due: readonly Due[], outdated: ReadonlyMap<string, Delivery>): NewMessage[] {
  const replacing = new Map<string, Map<string, DeliveryItem>>();
  for (const [id, { items }] of outdated) {
    // All that the replaced message said is said again, as it is now.
    const still = items.filter(({ incidentId }) => book.incident(incidentId)?.told.get(channel)?.deliveryId === id);
    replacing.set(id, new Map(still.map((item) => [item.incidentId, item])));
  }
  const following = new Map<string, DeliveryItem[]>();
  const beginning = new Map<string, DeliveryItem[]>();
  for (const { incident, item, told } of due) {
    const replaced = told === undefined ? undefined : replacing.get(told.deliveryId);
    if (replaced !== undefined) replaced.set(item.incidentId, item);
    else if (told !== undefined) push(following, told.thread, item);
    else push(beginning, incident.rule, item);
  }
  const messages: NewMessage[] = [];
  for (const [id, items] of replacing) {
    const delivery = outdated.get(id)!;
    messages.push({ thread: delivery.thread, items: [...items.values()].sort(mostUrgentFirst), replaces: delivery });
  }
  for (const [thread, items] of following) for (const part of inParts(items)) messages.push({ thread, items: part, replaces: null });
  for (const items of beginning.values()) for (const part of inParts(items)) messages.push({ thread: null, items: part, replaces: null });
  const oldest = ({ items }: NewMessage): number =>
    items.reduce((least, { incidentId }) => Math.min(least, book.incident(incidentId)?.openedAt ?? Infinity), Infinity);
  return messages.sort((a, b) => weight(b.items[0]!) - weight(a.items[0]!) || oldest(a) - oldest(b));
}

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

function inParts(items: readonly DeliveryItem[]): DeliveryItem[][] {
  const sorted = items.toSorted(mostUrgentFirst);
  return Array.from({ length: Math.ceil(sorted.length / MAX_ITEMS) }, (_, i) => sorted.slice(i * MAX_ITEMS, (i + 1) * MAX_ITEMS));
}

/** Firing before resolved, critical before warning. */
const weight = ({ status, level }: DeliveryItem): number => (status === 'firing' ? RANK[level] : 0);
const mostUrgentFirst = (a: DeliveryItem, b: DeliveryItem): number => weight(b) - weight(a);
