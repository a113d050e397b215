/** Prepared transactions: those that nobody finishes keep their locks and hold back vacuum, also over restarts, and no session shows them. */
import { metric } from '../../recorder.ts';
import type { Part } from './together.ts';

const count = metric(
  'tidemark_postgres_prepared_transactions',
  'gauge',
  '',
  'Transactions that are prepared (PREPARE TRANSACTION) and not finished.',
  ['server'],
);
const oldest = metric(
  'tidemark_postgres_prepared_transaction_seconds',
  'gauge',
  'seconds',
  'Age of the oldest prepared transaction; 0 when there is none.',
  ['server'],
);
const oldestXmin = metric(
  'tidemark_postgres_prepared_transaction_xmin_age',
  'gauge',
  '',
  'Transactions since the oldest prepared transaction began; 0 when there is none.',
  ['server'],
);

export function preparedTransactions(): Part {
  return {
    // There are none on a replica until it is promoted.
    sql: ({ role }) =>
      role === 'primary'
        ? `(SELECT json_build_array(count(*), extract(epoch FROM clock_timestamp() - min(prepared)), max(age(transaction))) FROM pg_prepared_xacts)`
        : undefined,
    read(value, { server }) {
      const [prepared, seconds, xminAge] = (value ?? []) as (number | null)[];
      return {
        record(block) {
          block.add(count, prepared, server);
          block.add(oldest, seconds ?? 0, server);
          block.add(oldestXmin, xminAge ?? 0, server);
        },
      };
    },
  };
}
