/** Which statements are followed, and that no data leaves with their texts. */
import { expect, test } from 'vitest';
import type { ServerFacts, Statistics } from './group.ts';
import { chooseStatements, statements, withoutData } from './statements.ts';

test.each([
  ['SELECT * FROM t WHERE a = $1', 'SELECT * FROM t WHERE a = $1'],
  ['  ( select 1', 'select 1'],
  ["/* it's request 17 */ -- 'x'\nWITH a AS (SELECT $1) SELECT * FROM a", 'WITH a AS (SELECT $1) SELECT * FROM a'],
  ["INSERT INTO t VALUES ($1, 'hunter2', $2)", 'INSERT INTO t VALUES ($1, …'],
  ["UPDATE t SET a = E'\\'hunter2'", 'UPDATE t SET a = E…'],
  ['DELETE FROM t WHERE a = $$hunter2$$', 'DELETE FROM t WHERE a = …'],
  ['MERGE INTO t USING $tag$hunter2$tag$', 'MERGE INTO t USING …'],
  ["ALTER ROLE admin PASSWORD 'hunter2'", 'ALTER ROLE …'],
  ['CREATE USER hunter2', 'CREATE USER …'],
  ["COPY t FROM PROGRAM 'curl -u me:hunter2 https://x'", 'COPY t …'],
  ["DO $x$ BEGIN PERFORM 'hunter2'; END $x$", 'DO …'],
  ['selection hunter2', 'selection …'],
  ['<insufficient privilege>', '…'],
  ['', '…'],
])('%s', (text, expected) => {
  expect(withoutData(text)).toBe(expected);
});

const spent = (of: Record<string, number>): { key: string; milliseconds: number }[] =>
  Object.entries(of).map(([key, milliseconds]) => ({ key, milliseconds }));

test('the choice: most time since then, whatever was before; a reset starts from nothing; nobody leaves for a tie', () => {
  expect(chooseStatements(spent({ b: 5, a: 9 }), undefined, [])).toEqual(['a', 'b']);
  const many = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`k${String(i).padStart(2, '0')}`, 1_000 - i]));
  const first = chooseStatements(spent(many), undefined, []);
  expect(first).toHaveLength(20);
  expect(first[19]).toBe('k19');
  const since = new Map(Object.entries(many));
  expect(chooseStatements(spent({ ...many, k39: 2_000 }), since, first)).toEqual([...first.slice(0, 19), 'k39'].toSorted());
  expect(chooseStatements(spent(many), since, ['k30', 'k31'])).toEqual(expect.arrayContaining(['k30', 'k31']));
  // After a reset what is there has been spent since.
  expect(chooseStatements(spent({ ...many, k38: 100 }), since, first)).toContain('k38');
});

test('a choice stands for ten readings', async () => {
  const facts: ServerFacts = { server: 'main', versionNumber: 180_000, role: 'primary', seesAll: true, database: 'postgres', local: false };
  const [extension, group, texts] = statements();
  expect(group!.statement(facts)).toBeUndefined();
  await extension!.read([['public', '1.12', '5000', 't']], facts);
  const totals = Array.from({ length: 30 }, (_, i) => 1_000 - i);
  const read = async (): Promise<Statistics> =>
    await group!.read(
      totals.map((ms, i) => [String(i), '10', '5', 'app', 'db', '1', String(ms), '1']),
      facts,
    );
  const followed = (statistics: Statistics): string[] => {
    const ids: string[] = [];
    const block = { add: (_of: unknown, _value: unknown, ...labels: string[]) => void ids.push(labels[3]!) };
    statistics.record!(block as unknown as Parameters<NonNullable<Statistics['record']>>[0]);
    return [...new Set(ids)];
  };
  expect(followed(await read())).not.toContain('29');
  totals[29] = 2_000;
  expect(followed(await read())).toContain('29');
  totals[28] = 9_000;
  for (let i = 0; i < 9; i++) expect(followed(await read())).not.toContain('28');
  const chosenAnew = await read();
  expect(followed(chosenAnew)).toContain('28');
  expect(chosenAnew.observations).toEqual([]);
  expect(texts!.statement(facts)).toContain('public.pg_stat_statements(true)');
  const told = await texts!.read([['28', 'SELECT $1']], facts);
  expect(told.observations?.[0]?.document).toMatchObject({
    statements: expect.arrayContaining([
      { queryId: '28', user: 'app', database: 'db', text: 'SELECT $1' },
      { queryId: '0', user: 'app', database: 'db', text: null },
    ]) as unknown,
  });
  expect(texts!.statement(facts)).toBeUndefined();
  await extension!.read([['public', '1.7', '5000', 't']], facts);
  expect(group!.statement(facts)).toBeUndefined();
});
