/**
 * The wire is frozen: every form in fixtures/v1 must be understood for ever, unknown fields and all. A
 * fixture may be added for a new form; the digests below say that none was changed.
 */
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { Value } from 'typebox/value';
import { describe, expect, test } from 'vitest';
import { Acknowledgement, PostgresReplication, PostgresTrack, Problem, ReportRequest, layoutHash } from './index.ts';

const directory = new URL('../fixtures/v1/', import.meta.url);
const read = (file: string): string => readFileSync(new URL(file, directory), 'utf8');
const files = readdirSync(directory)
  .filter((file) => file.endsWith('.json'))
  .sort();

const SCHEMAS = { request: ReportRequest, acknowledgement: Acknowledgement, problem: Problem };

describe.each(files)('%s', (file) => {
  test('is understood', () => {
    const schema = SCHEMAS[file.split('-')[0] as keyof typeof SCHEMAS];
    const document: unknown = JSON.parse(read(file));
    expect([...Value.Errors(schema, document)]).toEqual([]);
  });
});

test('no fixture has been changed or taken away', () => {
  expect(
    Object.fromEntries(files.map((file) => [file, createHash('sha256').update(read(file)).digest('hex').slice(0, 16)])),
  ).toMatchSnapshot();
});

test('a block is named by the documented hash', () => {
  const request = JSON.parse(read('request-first.json')) as ReportRequest;
  for (const layout of request.layouts!) expect(layoutHash(layout)).toBe(layout.hash);
});

test('the replication observation of the first request has the documented form', () => {
  const request = JSON.parse(read('request-first.json')) as ReportRequest;
  const observation = request.reports[0]!.observations!.find(({ kind }) => kind === 'postgres.replication')!;
  expect([...Value.Errors(PostgresReplication, observation.document)]).toEqual([]);
});

test('a server in all its fields, and its track', () => {
  const request = JSON.parse(read('request-replication.json')) as ReportRequest;
  const [replication, track] = request.reports[0]!.observations!;
  expect([...Value.Errors(PostgresReplication, replication!.document)]).toEqual([]);
  expect([...Value.Errors(PostgresTrack, track!.document)]).toEqual([]);
  expect(Object.keys(replication!.document as PostgresReplication).toSorted()).toEqual(
    Object.keys(PostgresReplication.properties).toSorted(),
  );
});
