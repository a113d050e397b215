import type { ReplicationCluster, ReplicationInstance } from '@tidemark/protocol';
import { expect, test } from 'vitest';
import { mockReplication } from '../../dev/mock-replication.ts';
import { SHIPPED } from '../fleet/bounds.ts';
import { problemsOf, type Problem } from './problems.ts';

const NOW_MS = Date.parse('2026-11-21T14:05:00.000Z');
const CLUSTERS = mockReplication('mixed', NOW_MS).clusters;
const named = (name: string): ReplicationCluster => CLUSTERS.find((each) => each.name === name)!;
const problems = (cluster: ReplicationCluster): Problem[] => problemsOf(cluster, SHIPPED, NOW_MS);
const said = (cluster: ReplicationCluster): string[] => problems(cluster).map(({ level, title, text }) => `${level} ${title}: ${text}`);

test('a cluster that is well says nothing', () => {
  expect(said(named('shop'))).toEqual([]);
  expect(said(named('search'))).toEqual([]);
});

test('a split brain names those who write, and comes first', () => {
  const [first, second, ...more] = said(named('accounts'));
  expect(first).toMatch(
    /^critical Split brain: accounts-1 and accounts-2 both write since \d\d:\d\d; what one commits the other never gets/,
  );
  expect(second).toMatch(/^critical Diverged: accounts-5 since \d\d:\d\d: It has replayed WAL of timeline 3/);
  expect(more).toEqual([]);
});

test('a lost primary is told once, with whom it cut off and what is lost', () => {
  expect(said(named('ledger'))).toEqual([
    'critical No primary: For 40 h 12 min nothing has shown that there is one. ledger-1 was one when it was last seen, and nobody has taken over. ledger-2 is cut off. Without it 1.2 GiB of WAL are lost.',
  ]);
});

test('what a cascade lacks because of its upstream is told of the upstream alone', () => {
  const words = said(named('billing'));
  expect(words.filter((text) => text.includes('billing-3'))).toEqual([]);
  expect(words.some((text) => /^warning Replay paused: billing-2 since \d\d:\d\d, 4 min 12 s behind: pg_wal_replay_pause/.test(text))).toBe(
    true,
  );
  expect(words.some((text) => text === 'warning Behind: billing-4 is 3 min 14 s behind; caught up in ~3 min.')).toBe(true);
  expect(words[0]).toBe('critical Slot in danger: cdc on billing-1: lost in ~22 min. It keeps 900 MiB.');
});

test('a missing synchronous standby says whether commits hang already', () => {
  const payments = named('payments');
  expect(said(payments)[0]).toMatch(/^critical Commits hang: They wait on payments-1 since \d\d:\d\d: 0 of 1 synchronous standby there\.$/);
  const events = payments.events.filter(({ kind }) => kind !== 'sync_commits_waiting');
  expect(said({ ...payments, events })[1]).toMatch(
    /^warning Synchronous standby missing: 0 of 1 synchronous standby there: commits on payments-1 wait/,
  );
  expect(said({ ...payments, syncStandbysPresent: 1 }).some((text) => text.includes('ynchronous'))).toBe(false);
});

test('a delay on purpose is no lag, an archive that fails is told until it works', () => {
  const maps = named('archive-fed');
  expect(said(maps).map((text) => text.split(':')[0])).toEqual(['warning Not streaming', 'warning Archiving fails']);
  const recovered = { ...maps.events[0]!, kind: 'archiver_recovered' as const, at: new Date(NOW_MS).toISOString() };
  expect(said({ ...maps, events: [recovered, ...maps.events] }).map((text) => text.split(':')[0])).toEqual(['warning Not streaming']);
});

test('a lag on the bound is not beyond it; what is unknown is judged by the least it may be', () => {
  const shop = named('shop');
  const withLag = (lowerSeconds: number): ReplicationCluster => ({
    ...shop,
    instances: shop.instances.map((each, place) => {
      if (place !== 3 || each.lag === null) return each;
      const lag = { ...each.lag, seconds: 900, lowerSeconds, upperSeconds: null };
      return { ...each, lag, edgeLag: lag };
    }),
  });
  expect(problems(withLag(60))).toEqual([]);
  expect(problems(withLag(60.1)).map(({ level }) => level)).toEqual(['warning']);
  expect(problems(withLag(301)).map(({ level }) => level)).toEqual(['critical']);
});

test('a delay that is wanted is no lag, whatever the replica is doing', () => {
  const shop = named('shop');
  const delayed = (state: ReplicationInstance['state'], lowerSeconds: number): ReplicationCluster => ({
    ...shop,
    instances: shop.instances.map((each, place) => {
      if (place !== 3 || each.lag === null) return each;
      const lag = { ...each.lag, seconds: lowerSeconds, lowerSeconds, upperSeconds: lowerSeconds };
      return { ...each, state, delaySeconds: 600, lag, edgeLag: lag };
    }),
  });
  for (const state of ['delayed', 'streaming', 'catching_up'] as const) expect(problems(delayed(state, 640))).toEqual([]);
  expect(problems(delayed('catching_up', 670)).map(({ level }) => level)).toEqual(['warning']);
  expect(problems(delayed('paused', 640)).map(({ level }) => level)).toEqual(['warning']);
});

test('a slot that fills the disk presses as the rule has it, and a day ahead not at all', () => {
  const events = named('events');
  const filling = (diskFullInSeconds: number): string[] =>
    said({ ...events, slots: [{ ...events.slots[0]!, diskFullInSeconds }] }).filter((text) => text.includes('Slot'));
  expect(filling(3_600)).toEqual(['critical Slot in danger: events_2 on events-1: disk full in ~1 h. It keeps 36.0 GiB.']);
  expect(filling(10 * 3_600)[0]).toMatch(/^warning Slot in danger: .* ~10 h\./);
  expect(filling(26 * 3_600)).toEqual([]);
  const within = (warning: number, critical: number): string[] =>
    problemsOf(
      { ...events, slots: [{ ...events.slots[0]!, diskFullInSeconds: 10 * 3_600 }] },
      { ...SHIPPED, diskFull: { warning, critical } },
      NOW_MS,
    ).flatMap(({ level, title }) => (title.includes('Slot') ? [level] : []));
  expect([within(6 * 3_600, 3_600), within(86_400, 12 * 3_600)]).toEqual([[], ['critical']]);
});

test('every key is its own', () => {
  for (const cluster of CLUSTERS) {
    const keys = problems(cluster).map(({ key }) => key);
    expect(new Set(keys).size).toBe(keys.length);
  }
});
