/**
 * THE LIST of statistics groups: one line each. Made anew for every watched server, so that a group may remember what
 * it read before.
 */
import { StatfsGate } from '../../statfs-gate.ts';
import { checkpoints } from './checkpoints.ts';
import { conflicts } from './conflicts.ts';
import { database } from './database.ts';
import { decoding } from './decoding.ts';
import { files } from './files.ts';
import type { StatisticsGroup } from './group.ts';
import { io } from './io.ts';
import { locks, LockWatch } from './locks.ts';
import { preparedTransactions } from './prepared.ts';
import { sessions } from './sessions.ts';
import { statements } from './statements.ts';
import { subscriptions } from './subscriptions.ts';
import { together } from './together.ts';
import { recoveryPrefetch, wal } from './wal.ts';
import { wraparound } from './wraparound.ts';

/** One for all servers: what bounds the threads that dead mounts may hold. */
const GATE = new StatfsGate({ outstandingMax: 2, timeoutMs: 500 });

export function statisticsGroups(): StatisticsGroup[] {
  const lockWatch = new LockWatch();
  return [
    // Before the locks, which are asked only when it saw somebody wait.
    sessions(lockWatch),
    locks(lockWatch),
    together({ name: 'counters', everyMs: 30_000, right: 'SELECT on the statistics views (pg_stat_*), which everybody has by default' }, [
      database(),
      conflicts(),
      checkpoints(),
      wal(),
      recoveryPrefetch(),
      io(),
      preparedTransactions(),
      decoding(),
    ]),
    files(GATE),
    wraparound(),
    ...subscriptions(),
    ...statements(),
  ];
}
