/**
 * What is so, folded from the journal's entries in their order. No clock, no I/O; an entry that was applied before, and
 * one about something that is not known, changes nothing. Incidents are replaced and never changed, so that whoever holds
 * one holds a moment.
 */
import { LOST_NODE, type AlertLevel } from '@tidemark/protocol';
import type { Book, Delivery, Entry, Incident, Opening, Silence, Told } from './entry.ts';

/** An entry with its place in the journal: positions only grow. An answer also says which alerts its message was about. */
export type RecordedEntry = Entry & { readonly position: number; readonly about?: readonly string[] };

/** The alerts an entry is about. */
export function aboutOf(entry: RecordedEntry): readonly string[] {
  switch (entry.kind) {
    case 'opened':
      return [entry.opening.incidentId];
    case 'silenced':
    case 'unsilenced':
      return [];
    case 'attempted':
      return [...new Set(entry.items.map(({ incidentId }) => incidentId))];
    case 'answered':
      return entry.about ?? [];
    default:
      return [entry.incidentId];
  }
}

/** Which entry made a thing what it is: of two states of it the later one is known by this. */
export interface Mark {
  readonly epoch: number;
  readonly position: number;
}

export type KeptIncident = Incident & Mark;
export type KeptSilence = Silence & Mark & { readonly createdAt: number };
export type KeptDelivery = Delivery & Mark;
export type GoneChannel = Mark & {
  readonly channel: string;
  readonly at: number;
  readonly answer: string;
  readonly configuration?: string;
};

/** Everything a book holds, to be written down and read back. */
export interface BookState {
  readonly mark: Mark;
  readonly incidents: readonly KeptIncident[];
  readonly silences: readonly KeptSilence[];
  readonly deliveries: readonly KeptDelivery[];
  readonly goneChannels: readonly GoneChannel[];
}

export const EMPTY_STATE: BookState = { mark: { epoch: 0, position: 0 }, incidents: [], silences: [], deliveries: [], goneChannels: [] };

/** True when `a` is later than `b`. */
export function isLater(a: Mark, b: Mark): boolean {
  return a.epoch > b.epoch || (a.epoch === b.epoch && a.position > b.position);
}

export interface PruneOptions {
  readonly now: number;
  /** How long one that is over and told is kept. */
  readonly keepClosedMs: number;
  /** How long one that is over waits for a channel that takes nothing. */
  readonly keepUntoldMs: number;
  /** Of those that are over, told or not. */
  readonly closedMax: number;
  /** What is later than this is not in the database yet, and is kept for it. */
  readonly mirrored: number;
}

type Of<Kind extends Entry['kind']> = Extract<RecordedEntry, { kind: Kind }>;

export class IncidentBook implements Book {
  #mark: Mark = EMPTY_STATE.mark;
  /** Open, or over and not told everywhere. */
  readonly #current = new Map<string, KeptIncident>();
  /** Over and told, of late. */
  readonly #past = new Map<string, KeptIncident>();
  readonly #openByNode = new Map<number, Map<string, KeptIncident>>();
  readonly #openBeyond = new Map<string, KeptIncident>();
  readonly #silences = new Map<string, KeptSilence>();
  readonly #deliveries = new Map<string, KeptDelivery>();
  readonly #gone = new Map<string, GoneChannel>();

  static from(state: BookState): IncidentBook {
    const book = new IncidentBook();
    book.#mark = state.mark;
    for (const silence of state.silences) book.#silences.set(silence.silenceId, silence);
    for (const delivery of state.deliveries) book.#deliveries.set(delivery.deliveryId, delivery);
    for (const gone of state.goneChannels) book.#gone.set(gone.channel, gone);
    for (const incident of state.incidents) book.#put(incident);
    return book;
  }

  /** The newest entry that was applied. */
  get mark(): Mark {
    return this.#mark;
  }

  incidents(): Iterable<KeptIncident> {
    return this.#current.values();
  }

  /** Those that are over and told everywhere, of late. */
  past(): Iterable<KeptIncident> {
    return this.#past.values();
  }

  incident(id: string): KeptIncident | undefined {
    return this.#current.get(id) ?? this.#past.get(id);
  }

  openOf(nodeId: number): Iterable<KeptIncident> {
    return this.#openByNode.get(nodeId)?.values() ?? [];
  }

  openBeyond(): Iterable<KeptIncident> {
    return this.#openBeyond.values();
  }

  silences(): Iterable<KeptSilence> {
    return this.#silences.values();
  }

  silence(id: string): KeptSilence | undefined {
    return this.#silences.get(id);
  }

  deliveries(): Iterable<KeptDelivery> {
    return this.#deliveries.values();
  }

  delivery(id: string): KeptDelivery | undefined {
    return this.#deliveries.get(id);
  }

  goneChannels(): ReadonlyMap<string, GoneChannel> {
    return this.#gone;
  }

  /** A consistent moment of it; what it holds is not changed by what is applied later. */
  state(): BookState {
    return {
      mark: this.#mark,
      incidents: [...this.#current.values(), ...this.#past.values()],
      silences: [...this.#silences.values()],
      deliveries: [...this.#deliveries.values()],
      goneChannels: [...this.#gone.values()],
    };
  }

  /** Applies one entry; one that was applied before changes nothing. */
  apply(entry: RecordedEntry): void {
    if (!isLater(entry, this.#mark)) return;
    this.#mark = { epoch: entry.epoch, position: entry.position };
    switch (entry.kind) {
      case 'opened':
        if (this.incident(entry.opening.incidentId) === undefined) this.#put(opened(entry.opening, entry));
        return;
      case 'level':
      case 'data':
      case 'closed':
      case 'acknowledged':
      case 'unacknowledged':
        this.#change(entry.incidentId, entry, (incident) => changed(incident, entry));
        return;
      case 'silenced':
        this.#silences.set(entry.silence.silenceId, { ...entry.silence, createdAt: entry.at, ...markOf(entry) });
        return;
      case 'unsilenced':
        this.#silences.delete(entry.silenceId);
        return;
      case 'attempted':
        return this.#attempted(entry);
      case 'answered':
        return this.#answered(entry);
    }
  }

  /** Lets go of what nobody asks for any more. Whatever is open, or still to be told, stays. */
  prune({ now, keepClosedMs, keepUntoldMs, closedMax, mirrored }: PruneOptions): void {
    for (const [id, silence] of this.#silences) if (silence.endsAt <= now && silence.position <= mirrored) this.#silences.delete(id);
    for (const incident of this.#past.values())
      if (incident.position <= mirrored && incident.closedAt! + keepClosedMs <= now) this.#past.delete(incident.incidentId);
    for (const incident of this.#current.values()) {
      if (incident.closedAt === null || incident.position > mirrored || incident.closedAt + keepUntoldMs > now) continue;
      if (!this.#isUnderWay(incident)) this.#current.delete(incident.incidentId);
    }
    for (const id of this.#past.keys()) {
      if (this.#past.size <= closedMax) break;
      this.#past.delete(id);
    }
  }

  #attempted(entry: Of<'attempted'>): void {
    const { deliveryId, channel, thread, attempt, items, at } = entry;
    const before = this.#deliveries.get(deliveryId);
    if (before !== undefined && before.attempt > attempt) return;
    this.#deliveries.set(deliveryId, { deliveryId, channel, thread, attempt, items, attemptedAt: at, retryAt: null, ...markOf(entry) });
    for (const { incidentId, status, level } of items)
      this.#change(incidentId, entry, (incident) =>
        withTold(incident, channel, { status, level, deliveryId, thread, at, confirmed: false }),
      );
  }

  #answered(entry: Of<'answered'>): void {
    const { deliveryId, channel, outcome, retryAt, answer, at, configuration } = entry;
    const delivery = this.#deliveries.get(deliveryId);
    if (outcome === 'gone')
      this.#gone.set(channel, { channel, at, answer, ...(configuration === undefined ? {} : { configuration }), ...markOf(entry) });
    if (outcome === 'delivered') this.#gone.delete(channel);
    if (delivery === undefined) return;
    if (outcome === 'retry' && retryAt !== null) {
      // An answer that came after the next attempt began says nothing about that one.
      if (entry.attempt >= delivery.attempt) this.#deliveries.set(deliveryId, { ...delivery, retryAt, ...markOf(entry) });
    } else this.#deliveries.delete(deliveryId);
    for (const { incidentId } of delivery.items)
      this.#change(incidentId, entry, (incident) => {
        const told = incident.told.get(channel);
        if (outcome !== 'delivered' || told?.deliveryId !== deliveryId || told.confirmed) return incident;
        return withTold(incident, channel, { ...told, confirmed: true });
      });
  }

  #change(id: string, mark: Mark, change: (incident: KeptIncident) => KeptIncident): void {
    const before = this.incident(id);
    if (before !== undefined) this.#put({ ...change(before), ...markOf(mark) });
  }

  #put(incident: KeptIncident): void {
    const { incidentId, nodeId } = incident;
    const isCurrent = incident.closedAt === null || isOwed(incident);
    if (isCurrent) {
      this.#past.delete(incidentId);
      this.#current.set(incidentId, incident);
    } else {
      this.#current.delete(incidentId);
      this.#past.set(incidentId, incident);
    }
    let open = this.#openByNode.get(nodeId);
    if (incident.closedAt === null) {
      if (open === undefined) this.#openByNode.set(nodeId, (open = new Map()));
      open.set(incidentId, incident);
    } else if (open?.delete(incidentId) === true && open.size === 0) this.#openByNode.delete(nodeId);
    if (!incident.labels.some(([name]) => name === LOST_NODE)) return;
    if (incident.closedAt === null) this.#openBeyond.set(incidentId, incident);
    else this.#openBeyond.delete(incidentId);
  }

  #isUnderWay(incident: Incident): boolean {
    for (const { deliveryId } of incident.told.values()) if (this.#deliveries.has(deliveryId)) return true;
    return false;
  }
}

/** Whether some channel heard, or may have heard, that it fires, and is not known to have heard that it is over. */
function isOwed(incident: Incident): boolean {
  for (const { status, confirmed } of incident.told.values()) if (status === 'firing' || !confirmed) return true;
  return false;
}

const RANK: Readonly<Record<AlertLevel, number>> = { warning: 1, critical: 2 };

const markOf = ({ epoch, position }: Mark): Mark => ({ epoch, position });

function opened(opening: Opening, entry: RecordedEntry): KeptIncident {
  return {
    ...opening,
    levelMax: opening.level,
    valueAtOpening: opening.value,
    openedAt: entry.at,
    closedAt: null,
    closeReason: null,
    noData: false,
    acknowledged: null,
    told: new Map(),
    ...markOf(entry),
  };
}

function changed(incident: KeptIncident, entry: Of<'level' | 'data' | 'closed' | 'acknowledged' | 'unacknowledged'>): KeptIncident {
  // Over is over: what is decided about it afterwards was decided too late.
  if (incident.closedAt !== null) return incident;
  switch (entry.kind) {
    case 'level': {
      const { level, value, bound, why } = entry;
      const rises = RANK[level] > RANK[incident.level];
      return {
        ...incident,
        level,
        levelMax: RANK[level] > RANK[incident.levelMax] ? level : incident.levelMax,
        value,
        bound,
        why,
        noData: false,
        // Somebody took on a warning; nobody has seen it critical.
        acknowledged: rises ? null : incident.acknowledged,
      };
    }
    case 'data':
      return { ...incident, noData: entry.noData, why: entry.why };
    case 'closed':
      return { ...incident, closedAt: entry.at, closeReason: entry.reason, value: entry.value, why: entry.why };
    case 'acknowledged':
      return { ...incident, acknowledged: { by: entry.by, at: entry.at, note: entry.note } };
    case 'unacknowledged':
      return { ...incident, acknowledged: null };
  }
}

function withTold(incident: KeptIncident, channel: string, told: Told): KeptIncident {
  return { ...incident, told: new Map(incident.told).set(channel, told) };
}
