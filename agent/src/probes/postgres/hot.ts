/**
 * The narrow statement of the hot loop, and what its one row says: where the server stands. Everything in it is read from
 * shared memory. The order counts: a function in FROM is read before the target list, and what follows is read before what
 * it follows (replay before receive), so that no difference is negative only because time passed in between.
 */
import { parseLsn } from '@tidemark/protocol';
import type { Row } from './queries.ts';
import type { Values } from './session.ts';

export const HOT = `SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn(), pg_last_wal_receive_lsn(),
  CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() END,
  CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn() END,
  CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END,
  pg_backend_pid(), w.pid, w.status, w.received_tli, w.latest_end_lsn,
  (extract(epoch FROM clock_timestamp() - w.last_msg_receipt_time) * 1000)::bigint
FROM (SELECT) AS one LEFT JOIN pg_stat_wal_receiver w ON true`;

export interface Hot {
  readonly role: 'primary' | 'replica';
  /** Of a primary: what it has flushed, which is what it can send. Of a replica: the furthest of received and replayed. */
  readonly head: string | null;
  readonly replayed: string | null;
  readonly pauseState: string | null;
  /** Of a primary the one it writes; of a replica the one it receives, null while it receives nothing. */
  readonly timeline: number | null;
  readonly backendPid: number;
  readonly receiving: boolean;
  /** Where the upstream said that it stood, with its last message, and how long ago that came. */
  readonly sender: string | null;
  readonly senderAgoMs: number | null;
  readonly values: Values;
}

export function hotFrom(row: Values): Hot {
  const [
    recovery,
    replay = null,
    receive = null,
    pause = null,
    flush = null,
    written,
    backend,
    receiverPid,
    status,
    received,
    sender,
    ago,
  ] = row;
  const replica = recovery === 't';
  const receiving = replica && typeof receiverPid === 'string';
  return {
    role: replica ? 'replica' : 'primary',
    head: replica ? furthest(receive, replay) : flush,
    replayed: replica ? replay : null,
    pauseState: pause,
    timeline: typeof written === 'string' ? Number.parseInt(written, 16) : typeof received === 'string' ? Number(received) : null,
    backendPid: Number(backend),
    // Without the right to see more of it than its pid, that it is there is what is known.
    receiving: receiving && (typeof status !== 'string' || status === 'streaming'),
    sender: receiving ? (sender ?? null) : null,
    senderAgoMs: receiving && typeof ago === 'string' ? Math.max(0, Number(ago)) : null,
    values: row,
  };
}

/** The same under the names that the wide statement has for it, for when that one cannot be answered. */
export function wideFromHot({ values }: Hot): Row {
  const [recovery, replay = null, receive = null, pause = null, flush = null, written = null, , pid, status, received, sender, ago] =
    values;
  const number = (text: string | null | undefined): number | null => (typeof text === 'string' ? Number(text) : null);
  const receiver = [status, null, null, null, number(received), sender, null, number(pid), null, null, number(ago)];
  return {
    in_recovery: recovery ?? null,
    replay_lsn: replay,
    receive_lsn: receive,
    pause_state: pause,
    receiver: typeof pid === 'string' ? JSON.stringify(receiver) : null,
    current_lsn: flush,
    flush_lsn: flush,
    timeline_hex: written,
  };
}

/** After a restart the receiver begins at its segment's start, behind what is long replayed. */
export function furthest(received: string | null, replayed: string | null): string | null {
  if (received === replayed) return received;
  const [a, b] = [parseLsn(received), parseLsn(replayed)];
  if (a === undefined || b === undefined) return a === undefined ? replayed : received;
  return a >= b ? received : replayed;
}
