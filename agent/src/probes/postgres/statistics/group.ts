/**
 * A statistics group: one statement that is asked of a server now and then, and what becomes of its rows. Groups are
 * strangers to each other and to the watcher: one that is refused, slow or broken harms nothing but itself.
 */
import type { PostgresReplication } from '@tidemark/protocol';
import type { BlockRecorder } from '../../recorder.ts';

/** Values as PostgreSQL writes them, in the order of the statement's columns. */
export type StatisticsRow = readonly (string | null)[];

/** What a group may know of the server before it asks. */
export interface ServerFacts {
  /** The label `server` of every series: the instance as its agent calls it. */
  readonly server: string;
  /** As server_version_num has it (150018); 0 when the server did not say. */
  readonly versionNumber: number;
  readonly role: 'primary' | 'replica';
  /** The role may see all statistics (pg_read_all_stats, part of pg_monitor). */
  readonly seesAll: boolean;
  readonly database: string;
  /** The server runs on the agent's own machine (a socket or a loopback address). */
  readonly local: boolean;
}

export interface StatisticsGroup {
  /** Stable, lower case with underscores; also names the prepared statement. */
  readonly name: string;
  /** Asked at most this often. Asked at the first collection after that time, so that what is read is as old as the report. */
  readonly everyMs: number;
  /** Asked only of servers in one of these roles; of all unless told. */
  readonly roles?: readonly ServerFacts['role'][];
  /** What to grant when the server refuses it (SQLSTATE 42501): "pg_monitor", "EXECUTE ON FUNCTION pg_ls_waldir()". */
  readonly right: string;
  /**
   * The statement for this server; undefined when there is nothing to ask of it now (its version has no such view, or
   * nothing waits for a lock): what was read before is then forgotten. The text must be the same for the same facts.
   */
  statement(facts: ServerFacts): string | undefined;
  /**
   * Called once for each answer. May be asynchronous for what the machine has to say besides (room on a disk); it is
   * given up at the end of the collection. What it throws is a failure of the group.
   */
  read(rows: readonly StatisticsRow[], facts: ServerFacts): Statistics | Promise<Statistics>;
}

/** What a group has to say until it is asked again. */
export interface Statistics {
  /** Records the values; called at every collection, so that series do not come and go. Keep it cheap: parse in `read`. */
  record?(block: BlockRecorder): void;
  /** Merged into the document of the observation "postgres.replication". */
  readonly document?: Partial<PostgresReplication> | undefined;
  /** Recorded once, with the collection in which they were read; the instance is the server. */
  readonly observations?: readonly { readonly kind: string; readonly version: number; readonly document: unknown }[] | undefined;
  /** Rights found to be lacking although the server did not refuse, for example where values are hidden. */
  readonly missingRights?: readonly string[] | undefined;
}
