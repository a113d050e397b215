/** pg_stat_replication_slots, on a publisher: what decoding for a logical slot reads, and what of it did not fit into logical_decoding_work_mem. */
import { metric, type Metric } from '../../recorder.ts';
import type { Part } from './together.ts';

const SLOTS_MAX = 200;
const SLOT = ['server', 'slot_name'];

const COLUMNS: readonly [column: string, of: Metric][] = [
  ['total_txns', metric('tidemark_postgres_slot_decoded_transactions_total', 'counter', '', 'Transactions decoded for this slot.', SLOT)],
  ['total_bytes', metric('tidemark_postgres_slot_decoded_bytes_total', 'counter', 'bytes', 'Changes decoded for this slot.', SLOT)],
  [
    'spill_txns',
    metric(
      'tidemark_postgres_slot_spilled_transactions_total',
      'counter',
      '',
      'Transactions too large for logical_decoding_work_mem that went to disk.',
      SLOT,
    ),
  ],
  [
    'spill_bytes',
    metric(
      'tidemark_postgres_slot_spilled_bytes_total',
      'counter',
      'bytes',
      'Changes that went to disk because they were too large for logical_decoding_work_mem.',
      SLOT,
    ),
  ],
  [
    'stream_txns',
    metric(
      'tidemark_postgres_slot_streamed_transactions_total',
      'counter',
      '',
      'Transactions sent while they were still open because they were large.',
      SLOT,
    ),
  ],
  [
    'stream_bytes',
    metric('tidemark_postgres_slot_streamed_bytes_total', 'counter', 'bytes', 'Changes sent while their transaction was still open.', SLOT),
  ],
];

export function decoding(): Part {
  return {
    // Slots for the initial copy of a table come and go.
    sql: () => `(SELECT json_agg(json_build_array(s.slot_name, ${COLUMNS.map(([column]) => `s.${column}`).join(', ')}) ORDER BY s.slot_name)
  FROM (SELECT * FROM pg_stat_replication_slots WHERE slot_name !~ '^pg_[0-9]+_sync_[0-9]+_' LIMIT ${SLOTS_MAX}) s)`,
    read(value, { server }) {
      const rows = (value ?? []) as [slot: string, ...counts: number[]][];
      return {
        record(block) {
          for (const [slot, ...counts] of rows) COLUMNS.forEach(([, of], i) => block.add(of, counts[i], server, slot));
        },
      };
    },
  };
}
