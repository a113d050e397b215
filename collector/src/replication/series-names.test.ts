/** Series under names that postgres_exporter's dashboards ask for: what they say has to be what those take them to mean, and true. */
import type { PostgresReplication } from '@tidemark/protocol';
import { expect, test } from 'vitest';
import { cluster, lsnText, MIB, primary, primaryDocument, replica, replicaDocument, sighting, T0, TestTracks } from './figures-testing.ts';
import { figuresOf } from './figures.ts';
import type { Member } from './model.ts';
import { SeriesWriter } from './series.ts';

const NOW = T0 + 400_000;
const NOTHING = { isIntruder: false, losses: [], rpoBytes: undefined, topologyChanges: 0, events: undefined };

const slot = (more: Partial<PostgresReplication['slots'][number]>): PostgresReplication['slots'][number] => ({
  name: 'ghost',
  type: 'physical',
  active: false,
  restartLsn: lsnText(100),
  confirmedFlushLsn: null,
  walStatus: 'extended',
  safeWalBytes: String(64 * MIB),
  ...more,
});

/** Values by name, of the one that is asked for. A writes 1 MiB a second and is last heard of at `heard`; B stands at 100 MiB since its link died. */
function seriesOf(id: 'a' | 'b', { aIs = 'up', slots = [] as PostgresReplication['slots'] } = {}): Map<string, number | null> {
  const tracks = new TestTracks();
  tracks.fill('head', 'a', 0, 400, (s) => s);
  tracks.follow('b', 0, 400, (s) => Math.min(s, 100));
  const a: Member = primary('a', NOW, primaryDocument({ slots }), { silent: aIs === 'silent' });
  const members = [{ ...a, roleIsCurrent: aIs === 'up' }, replica('b', 'a', 'a', sighting('b', replicaDocument({ status: null }), NOW))];
  const topology = cluster(members);
  const { layout, values } = new SeriesWriter().blockOf(
    members.find((one) => one.id === id)!,
    {
      cluster: topology,
      figures: figuresOf(topology, tracks, NOW),
      duty: NOTHING,
    },
  );
  return new Map(layout.series.map(({ name, labels }, i) => [`${name}${labels.map(([, text]) => ` ${text}`).join('')}`, values[i]!]));
}

test('a replica whose link is dead is behind, by the name that everyone charts', () => {
  const series = seriesOf('b');
  expect(series.get('pg_replication_lag_seconds 7 main')).toBeCloseTo(300, -1);
  expect(series.get('pg_replication_lag_seconds 7 main')).toBe(series.get('tidemark_replication_lag_seconds 7 main'));
});

test('a primary is behind nobody, as long as it is heard', () => {
  expect(seriesOf('a').get('pg_replication_lag_seconds 7 main')).toBe(0);
  expect(seriesOf('a', { aIs: 'silent' }).get('pg_replication_lag_seconds 7 main')).toBeNull();
});

test('what may still be written for a slot is said where there is a limit', () => {
  const of = (more: Partial<PostgresReplication['slots'][number]>) =>
    seriesOf('a', { slots: [slot(more)] }).get('pg_replication_slot_safe_wal_size_bytes 7 main ghost physical');
  expect(of({})).toBe(64 * MIB);
  expect(of({ safeWalBytes: '-5', walStatus: 'unreserved' })).toBe(-5);
  expect(of({ safeWalBytes: null })).toBeUndefined();
});
