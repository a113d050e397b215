/**
 * What can happen to an alert, as entries of one journal. The journal is the truth: the book in memory and the tables
 * of the database are both made from its entries, in order, and applying an entry twice changes nothing.
 */
import type { AlertLevel, Bound, CloseReason, Labels, Matcher, RuleKind } from '@tidemark/protocol';

/** Everything about an alert that does not change while it is open; kept so that it can be told even when the rule is gone. */
export interface Opening {
  /** Given by the evaluator. */
  readonly incidentId: string;
  readonly rule: string;
  readonly kind: RuleKind;
  readonly title: string;
  readonly nodeId: number;
  /** What the node was called then; the directory knows what it is called now. */
  readonly nodeName: string;
  readonly site: string;
  readonly metric: string | null;
  readonly labels: Labels;
  readonly unit: string;
  readonly level: AlertLevel;
  readonly value: number | null;
  readonly bound: Bound;
  /** One sentence: "93 % is above 90 %, for 5 min without interruption". */
  readonly why: string;
  /** When the bound was first crossed, by the samples. Milliseconds since 1970, like every time here. */
  readonly since: number;
  readonly suppressedBy: readonly string[];
  readonly annotations: Readonly<Record<string, string>>;
  readonly runbook: string | null;
}

export interface Silence {
  readonly silenceId: string;
  readonly matcher: Matcher;
  readonly reason: string;
  readonly author: string;
  readonly endsAt: number;
}

/** What a delivery says of one incident. */
export interface DeliveryItem {
  readonly incidentId: string;
  readonly status: 'firing' | 'resolved';
  readonly level: AlertLevel;
  /** It was over before its firing is known to have arrived: the message says both. */
  readonly late?: true;
}

/**
 * `delivered`: the other side took it. `retry`: it may be tried again (what was sent may have arrived all the same).
 * `refused`: it will never take this message. `gone`: it asked never to be sent anything again.
 */
export type Outcome = 'delivered' | 'retry' | 'refused' | 'gone';

export type Happening =
  | { readonly kind: 'opened'; readonly opening: Opening }
  | {
      readonly kind: 'level';
      readonly incidentId: string;
      readonly level: AlertLevel;
      readonly value: number | null;
      readonly bound: Bound;
      readonly why: string;
    }
  /** Nothing is measured any more, or again. */
  | { readonly kind: 'data'; readonly incidentId: string; readonly noData: boolean; readonly why: string }
  | {
      readonly kind: 'closed';
      readonly incidentId: string;
      readonly reason: CloseReason;
      readonly value: number | null;
      readonly why: string;
    }
  | { readonly kind: 'acknowledged'; readonly incidentId: string; readonly by: string; readonly note: string }
  | { readonly kind: 'unacknowledged'; readonly incidentId: string; readonly by: string; readonly why: string }
  | { readonly kind: 'silenced'; readonly silence: Silence }
  | { readonly kind: 'unsilenced'; readonly silenceId: string; readonly by: string }
  /** Written before anything is sent: from here on the destination may have been told. */
  | {
      readonly kind: 'attempted';
      readonly deliveryId: string;
      readonly channel: string;
      /** 1 for the first. */
      readonly attempt: number;
      /** Groups what belongs to one conversation (an e-mail thread). */
      readonly thread: string;
      readonly items: readonly DeliveryItem[];
    }
  | {
      readonly kind: 'answered';
      readonly deliveryId: string;
      readonly channel: string;
      readonly attempt: number;
      readonly outcome: Outcome;
      /** The other side's answer, shortened, without secrets. */
      readonly answer: string;
      /** When it will be tried again; null when it will not. */
      readonly retryAt: number | null;
      /** A digest of the channel's options: one that is gone stays so until they change. Always there when the outcome is "gone". */
      readonly configuration?: string;
    };

export type Entry = Happening & {
  /** UUID v7. */
  readonly id: string;
  /** When it happened: for what samples decide, by their time. */
  readonly at: number;
  /** Whose decision it was: the evaluator's epoch, which only grows; a collector with an older one must not write. */
  readonly epoch: number;
};

/** What one destination was last told of an incident. */
export interface Told {
  readonly status: 'firing' | 'resolved';
  readonly level: AlertLevel;
  readonly deliveryId: string;
  readonly thread: string;
  readonly at: number;
  /** False while no attempt of it is known to have arrived. */
  readonly confirmed: boolean;
}

/** An alert, open or over, as the book knows it. */
export interface Incident extends Omit<Opening, 'level' | 'value' | 'bound' | 'why'> {
  readonly level: AlertLevel;
  readonly levelMax: AlertLevel;
  readonly value: number | null;
  readonly valueAtOpening: number | null;
  readonly bound: Bound;
  readonly why: string;
  readonly openedAt: number;
  readonly closedAt: number | null;
  readonly closeReason: CloseReason | null;
  readonly noData: boolean;
  readonly acknowledged: { readonly by: string; readonly at: number; readonly note: string } | null;
  /** By channel. */
  readonly told: ReadonlyMap<string, Told>;
}

/** A message on its way: attempted, not answered or to be tried again. */
export interface Delivery {
  readonly deliveryId: string;
  readonly channel: string;
  readonly thread: string;
  readonly attempt: number;
  readonly items: readonly DeliveryItem[];
  readonly attemptedAt: number;
  /** null: an attempt was made and no answer is known (it runs, or the collector died). */
  readonly retryAt: number | null;
}

/** What is so, made from the entries. Only `record` changes it. */
export interface Book {
  /** Open ones, and closed ones that some channel still has to be told of. */
  incidents(): Iterable<Incident>;
  incident(id: string): Incident | undefined;
  /** Open, by node. */
  openOf(nodeId: number): Iterable<Incident>;
  /** Open, and about more than the node that tells of it: those with a label LOST_NODE. */
  openBeyond(): Iterable<Incident>;
  silences(): Iterable<Silence>;
  deliveries(): Iterable<Delivery>;
  /** Channels that answered "gone", and have not taken anything since. */
  goneChannels(): ReadonlyMap<string, { readonly at: number; readonly answer: string; readonly configuration?: string }>;
}

/** The door to the truth: what is recorded here is on the disk first, then in the book, then told, and in the database when that is there. */
export interface IncidentRecorder {
  readonly book: Book;
  readonly epoch: number;
  /** Takes effect in the book at once after the journal has it on disk. Resolves then. Entries of one call stay together and in order. */
  record(happenings: readonly (Happening & { readonly at: number })[]): Promise<void>;
  /** Called after entries took effect. */
  onRecorded(listener: (entries: readonly Entry[]) => void): void;
}
