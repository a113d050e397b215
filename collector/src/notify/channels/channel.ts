/**
 * The contract of a channel: one file that sends one message to one kind of destination and says what came back.
 * Retry, backoff, dedup and what is to be said are decided once, around it.
 */
import type { AlertLevel } from '@tidemark/protocol';
import type { TObject } from 'typebox';
import type { Incident, Outcome } from '../../incidents/entry.ts';

/** One alert in a message. */
export interface MessageItem {
  readonly status: 'firing' | 'resolved';
  readonly level: AlertLevel;
  readonly incident: Incident;
  /** What the node is called now. */
  readonly node: string;
  /** The alert's page in the console. */
  readonly url: string;
  /** What to do: a link. */
  readonly runbook: string | null;
  /** It was over before its firing could be delivered (as far as is known): this message says both. */
  readonly late: boolean;
}

export interface Message {
  /** The same for every attempt: what a destination recognises a repetition by. */
  readonly id: string;
  readonly thread: string;
  /** The first message of its thread. */
  readonly opensThread: boolean;
  /** An earlier attempt may have arrived. */
  readonly possibleRepeat: boolean;
  /** A message that somebody asked for, to see whether the way is open. */
  readonly test: boolean;
  readonly items: readonly MessageItem[];
  /** Open alerts that this channel knows of, this message included. */
  readonly openCount: number;
  readonly collectorUrl: string;
}

export interface SendContext {
  /** Milliseconds since 1970, for what carries the time of the attempt. */
  readonly now: number;
  /** Aborted when the attempt's time is up. */
  readonly signal: AbortSignal;
}

export interface Sent {
  readonly outcome: Outcome;
  /** What the other side answered, for people; without secrets. */
  readonly answer: string;
  /** How long it asked to be left alone; milliseconds. */
  readonly retryAfterMs?: number;
}

export interface Channel {
  /** Where it leads, for people; without secrets. */
  readonly destination: string;
  /** Sends once. Throws for nothing the other side does: that is an outcome. */
  send(message: Message, context: SendContext): Promise<Sent>;
  close?(): Promise<void> | void;
}

/** One kind of channel: its name in the configuration, its options, and how one is made. */
export interface ChannelKind<Options = unknown> {
  readonly kind: string;
  /** Strict: unknown options are mistakes. Secrets are read from files or the environment (`secretFile`, `passwordFile`), never written out. */
  readonly options: TObject;
  /** How long one attempt may take. */
  readonly attemptMs: number;
  /** Throws an OperationalFailure when a file it needs (a secret, a certificate) cannot be used. */
  make(options: Options): Channel;
}
