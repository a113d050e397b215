/** Groups are strangers to each other: one that is refused, broken or slow costs the others nothing, and a collection stays short. */
import { ManualClock } from '@tidemark/service';
import { DatabaseError } from 'pg';
import { expect, test } from 'vitest';
import { BlockRecorder, metric } from '../recorder.ts';
import { InstanceStatistics, type Asker } from './instance-statistics.ts';
import type { ServerFacts, StatisticsGroup, StatisticsRow } from './statistics/group.ts';

const FACTS: ServerFacts = { server: 'main', versionNumber: 180_000, role: 'primary', seesAll: true, database: 'postgres', local: true };
const value = metric('test_value', 'gauge', '', 'A value.', ['server']);

/** A server that answers each statement with what is set for it, and takes its time. */
class Server implements Asker {
  readonly clock = new ManualClock();
  readonly asked: string[] = [];
  readonly answers = new Map<string, Error | readonly StatisticsRow[]>();
  ready = true;
  takesMs = 1;

  async ask(text: string): Promise<{ rows: StatisticsRow[] }> {
    this.asked.push(text);
    this.clock.advance(this.takesMs);
    const answer = this.answers.get(text) ?? [['1']];
    if (answer instanceof Error) throw answer;
    return Promise.resolve({ rows: [...answer] });
  }

  /** What was asked since the last call. */
  take(): string[] {
    return this.asked.splice(0);
  }
}

function group(name: string, more: Partial<StatisticsGroup> = {}): StatisticsGroup {
  return {
    name,
    everyMs: 15_000,
    right: `the right to ${name}`,
    statement: () => name,
    read: ([row]) => ({ record: (block) => block.add(value, Number(row?.[0]), 'main'), document: { clusterName: name } }),
    ...more,
  };
}

function sqlError(code: string): DatabaseError {
  const error = new DatabaseError('no', 2, 'error');
  error.code = code;
  error.severity = 'ERROR';
  return error;
}

function statisticsOf(server: Server, groups: readonly StatisticsGroup[]): InstanceStatistics {
  return new InstanceStatistics(groups, { clock: server.clock, instance: 'main' });
}

function values(statistics: InstanceStatistics): unknown[] {
  const block = new BlockRecorder('postgres', 'main');
  statistics.record(block);
  return block.take()?.values ?? [];
}

test('each as often as it wants, recorded at every collection, in its own role alone', async () => {
  const server = new Server();
  const statistics = statisticsOf(server, [group('often'), group('seldom', { everyMs: 60_000 }), group('standby', { roles: ['replica'] })]);
  await statistics.readDue(server, FACTS);
  expect(server.take()).toEqual(['often', 'seldom']);
  expect(values(statistics)).toEqual([1, 1]);
  // A timer that fires a little early finds it due all the same.
  server.clock.advance(14_800);
  await statistics.readDue(server, FACTS);
  expect(server.take()).toEqual(['often']);
  expect(values(statistics)).toEqual([1, 1]);
  expect(statistics.document()).toEqual({ clusterName: 'seldom' });
  statistics.forget();
  expect(values(statistics)).toEqual([]);
  await statistics.readDue(server, { ...FACTS, role: 'replica' });
  expect(server.take()).toEqual(['often', 'seldom', 'standby']);
});

test('one that is refused is named by its right, one that fails is left alone for a minute; neither harms the next', async () => {
  const server = new Server();
  server.answers.set('refused', sqlError('42501'));
  server.answers.set('failing', sqlError('57014'));
  const broken = group('broken', {
    read: () => {
      throw new TypeError('a mistake');
    },
  });
  const hidden = group('hidden', { read: () => ({ missingRights: ['pg_read_all_stats'] }) });
  const statistics = statisticsOf(server, [group('refused'), group('failing'), broken, hidden, group('well')]);
  await statistics.readDue(server, FACTS);
  expect(values(statistics)).toEqual([1]);
  expect(statistics.missingRights()).toEqual(['the right to refused', 'pg_read_all_stats']);
  server.take();
  server.clock.advance(15_000);
  await statistics.readDue(server, FACTS);
  expect(server.take()).toEqual(['hidden', 'well']);
  server.answers.clear();
  server.clock.advance(50_000);
  await statistics.readDue(server, FACTS);
  expect(server.take().toSorted()).toEqual(['broken', 'failing', 'hidden', 'well']);
  // What was granted meanwhile is found after ten minutes, or with the next connection.
  server.clock.advance(600_000);
  await statistics.readDue(server, FACTS);
  expect(server.take()).toContain('refused');
  expect(statistics.missingRights()).toEqual(['pg_read_all_stats']);
});

test('a group that has nothing to ask is forgotten until it has', async () => {
  const server = new Server();
  let waits = true;
  const statistics = statisticsOf(server, [group('locks', { statement: () => (waits ? 'locks' : undefined) })]);
  await statistics.readDue(server, FACTS);
  expect(values(statistics)).toEqual([1]);
  waits = false;
  server.clock.advance(15_000);
  await statistics.readDue(server, FACTS);
  expect(values(statistics)).toEqual([]);
  expect(server.take()).toEqual(['locks']);
});

test('a slow server gets a few at a time, the longest overdue first', async () => {
  const server = new Server();
  server.takesMs = 600;
  const statistics = statisticsOf(
    server,
    ['a', 'b', 'c', 'd', 'e'].map((name) => group(name)),
  );
  await statistics.readDue(server, FACTS);
  expect(server.take()).toEqual(['a', 'b']);
  server.clock.advance(15_000);
  await statistics.readDue(server, FACTS);
  expect(server.take()).toEqual(['c', 'd']);
  server.clock.advance(15_000);
  await statistics.readDue(server, FACTS);
  expect(server.take()).toEqual(['e', 'a']);
});

test('a connection that goes ends the collection, and says so', async () => {
  const server = new Server();
  const lost = new Error('Connection terminated');
  server.answers.set('a', lost);
  server.ready = false;
  await expect(statisticsOf(server, [group('a'), group('b')]).readDue(server, FACTS)).rejects.toBe(lost);
  expect(server.take()).toEqual(['a']);
});
