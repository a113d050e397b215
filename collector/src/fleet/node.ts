/** A node as the collector holds it in memory: the directory is read at start, so that agents are known even while the database is away. */
import type { Claim, NodeState, Tags } from '@tidemark/protocol';

export interface NodeRecord {
  readonly id: number;
  name: string;
  state: NodeState;
  site: string;
  tags: Tags;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  agentVersion: string | null;
  intervalSeconds: number | null;
  /** Hash of the machine's own id, where its agent gave one. */
  machine?: string | null;
  /** What asks to be this node and waits for a person. */
  claim?: Claim | null;
}
