/** Settings as a document, and above all: that the password in primary_conninfo goes nowhere. */
import { PostgresSettings } from '@tidemark/protocol';
import { Value } from 'typebox/value';
import { expect, test } from 'vitest';
import { primaryOf, settingsFrom } from './settings.ts';

test.each([
  ['', null],
  ['user=rep password=hunter2', null],
  ['host=10.0.0.1 port=5433 user=rep password=hunter2', { host: '10.0.0.1', port: '5433' }],
  ["password='it\\'s host=evil port=1' host = 'db 1' user=rep", { host: 'db 1', port: null }],
  ['host=a,b port=5432,5433 password=hunter2', { host: 'a,b', port: '5432,5433' }],
  ['hostaddr=10.0.0.1 password=hunter2', { host: '10.0.0.1', port: null }],
  ['host=/run/postgresql password=hunter2', { host: '/run/postgresql', port: null }],
  ['postgresql://rep:hunter2@db1:5433/postgres?application_name=x', { host: 'db1', port: '5433' }],
  ['postgres://rep:hunter2@[::1]:5433,db2/postgres', { host: '[::1],db2', port: '5433,' }],
  ['postgresql:///postgres?host=/run/postgresql&password=hunter2', { host: '/run/postgresql', port: null }],
])('%s', (conninfo, expected) => {
  const primary = primaryOf(conninfo);
  expect(primary).toEqual(expected);
  expect(JSON.stringify(primary)).not.toMatch(/hunter2|evil/);
});

test('the document', () => {
  const document = settingsFrom({
    sees_all: 't',
    settings: JSON.stringify([['wal_keep_size', '0', 'MB', 'default', false]]),
    conninfo: 'host=10.0.0.1 password=hunter2',
  });
  expect(Value.Check(PostgresSettings, document)).toBe(true);
  expect(document).toEqual({
    insufficientPrivilege: false,
    settings: [{ name: 'wal_keep_size', value: '0', unit: 'MB', source: 'default', pendingRestart: false }],
    primary: { host: '10.0.0.1', port: null },
  });
  expect(settingsFrom({ sees_all: 'f', settings: null, conninfo: null })).toEqual({
    insufficientPrivilege: true,
    settings: [],
    primary: null,
  });
});
