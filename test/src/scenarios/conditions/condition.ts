/** What a line of a scenario can expect, as the files beside this one declare it: a form, what it means, and how what is published is judged by it. */
import type {
  AlertView,
  ReplicationCluster,
  ReplicationEvent,
  ReplicationInstance,
  ReplicationPrimary,
  ReplicationSlot,
} from '@tidemark/protocol';
import type { Values } from '../language/forms.ts';

/** What is published of one scenario's cluster at one moment, by the letters of the scenario. */
export interface Look {
  /** Undefined: it is not published at all. */
  readonly cluster: ReplicationCluster | undefined;
  /** Undefined: there is no such instance. */
  instance(letter: string): ReplicationInstance | undefined;
  slot(name: string, letter: string): ReplicationSlot | undefined;
  /** The events of the scenario so far, oldest first. */
  readonly events: readonly ReplicationEvent[];
  /** Open alerts about its nodes. */
  readonly alerts: readonly AlertView[];
  letterOf(node: string | null): string | undefined;
  nodeOf(letter: string): string;
  primary(): Promise<ReplicationPrimary>;
  /** The collector's /metrics. */
  metrics(): Promise<string>;
}

export interface Judgement {
  readonly holds: boolean;
  /** What is published, for people. */
  readonly seen: string;
}

export interface Condition {
  readonly form: string;
  readonly means: string;
  test(look: Look, values: Values): Judgement | Promise<Judgement>;
}
