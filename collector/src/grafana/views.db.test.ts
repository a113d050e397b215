/** The views that other programs read: what they say is what was stored, the role made for them reads them and nothing else, and long times stay cheap. */
import pg from 'pg';
import { beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../db/testing.ts';
import { NOW, StoredFleet, blockOf } from '../series/testing.ts';

const MINUTE = 60_000;
const READER = 'grafana_reader';

let store: TestDatabase;

/** A statement on a connection of its own, as the owner or as the reader. */
async function as<Row extends pg.QueryResultRow>(
  who: 'owner' | 'reader',
  text: string,
  values: unknown[] = [],
): Promise<pg.QueryResult<Row>> {
  const client = new pg.Client({ ...(store.address as pg.ClientConfig), ...(who === 'reader' ? { user: READER, password: 'reads' } : {}) });
  await client.connect();
  try {
    return await client.query<Row>(text, values);
  } finally {
    await client.end();
  }
}

beforeAll(async () => {
  store = await createTestDatabase();
  const fleet = new StoredFleet(store.database);
  await as('owner', `CREATE ROLE ${READER} LOGIN PASSWORD 'reads' IN ROLE tidemark_grafana`);
  const [db1, db2] = [await fleet.addNode('db1', 'berlin'), await fleet.addNode('db2')];
  const cpu = blockOf('cpu', [{ name: 'cpu' }, { name: 'load' }]);
  const disks = blockOf('disk', [
    { name: 'used', labels: [['mountpoint', '/']] },
    { name: 'used', labels: [['mountpoint', '/data']] },
  ]);
  await fleet.take(db1, [
    { sequence: 1, at: NOW - 3 * MINUTE, blocks: [[cpu, [0.1, 1]]] },
    {
      sequence: 2,
      at: NOW - 2 * MINUTE,
      blocks: [
        [cpu, [0.2, 2]],
        [disks, [50, null]],
      ],
      observations: [
        {
          kind: 'inventory',
          version: 1,
          instance: '',
          document: {
            hostname: 'h',
            os: { name: 'Debian' },
            cpu: { cores: 4, model: null },
            memoryTotalBytes: 1024,
            addresses: [
              { interface: 'a', family: 'IPv4', address: '10.0.0.1' },
              { interface: 'a', family: 'IPv6', address: 'fd00::1' },
            ],
          },
        },
      ],
    },
    // The blocks the other way round: the same series lie elsewhere.
    {
      sequence: 3,
      at: NOW - MINUTE,
      blocks: [
        [disks, [51, 61]],
        [cpu, [0.3, 3]],
      ],
    },
  ]);
  await fleet.take(db2, [{ sequence: 1, at: NOW - MINUTE, blocks: [[cpu, [0.9, 9]]] }]);
  await fleet.close();
});

describe('what they say', () => {
  test('samples are the values of the reports, wherever a report has them, without those that were not measured', async () => {
    const { rows } = await as<{ node: string; site: string; metric: string; mount: string | null; minutes: number; value: number }>(
      'reader',
      `SELECT node, site, metric, labels ->> 'mountpoint' AS mount, round(extract(epoch FROM to_timestamp($1) - at) / 60)::int AS minutes, value
       FROM tidemark_views.samples WHERE metric IN ('cpu', 'used') ORDER BY node, metric, mount, at`,
      [NOW / 1_000],
    );
    expect(rows.map((row) => Object.values(row).join(' '))).toEqual([
      'db1 berlin cpu  3 0.1',
      'db1 berlin cpu  2 0.2',
      'db1 berlin cpu  1 0.3',
      'db1 berlin used / 2 50',
      'db1 berlin used / 1 51',
      'db1 berlin used /data 1 61',
      'db2  cpu  1 0.9',
    ]);
  });

  test('nodes, series and reports', async () => {
    const count = async (of: string): Promise<string> => (await as<{ n: string }>('reader', `SELECT count(*) AS n FROM ${of}`)).rows[0]!.n;
    expect(await count('tidemark_views.nodes WHERE last_report_at IS NOT NULL')).toBe('2');
    expect(await count("tidemark_views.series WHERE node = 'db1'")).toBe('4');
    expect(await count("tidemark_views.reports WHERE node = 'db1'")).toBe('3');
  });

  test('the inventory as columns', async () => {
    const { rows } = await as('reader', 'SELECT node, os, cpus, memory_bytes, addresses, cpu_model FROM tidemark_views.inventory');
    expect(rows).toEqual([{ node: 'db1', os: 'Debian', cpus: 4, memory_bytes: '1024', addresses: '10.0.0.1, fd00::1', cpu_model: null }]);
  });

  test('a retired node keeps its samples and has no observations', async () => {
    await as('owner', "UPDATE nodes SET state = 'retired' WHERE name = 'db1'");
    expect((await as('reader', "SELECT FROM tidemark_views.samples WHERE node = 'db1' AND metric = 'cpu'")).rowCount).toBe(3);
    expect((await as('reader', 'SELECT FROM tidemark_views.observations')).rowCount).toBe(0);
    await as('owner', "UPDATE nodes SET state = 'approved' WHERE name = 'db1'");
  });

  test('alerts with their labels as an object, open ones and those that are over', async () => {
    const insert = `INSERT INTO incidents (id, rule, kind, title, node_id, node_name, site, labels, unit, state, level, level_max, since, opened_at, closed_at,
        close_reason, value, bound, why, no_data, suppressed_by, annotations, epoch, position)
      VALUES (gen_random_uuid(), 'disk-usage', 'threshold', 'Disk usage', 1, 'db1', 'berlin', $1, 'ratio', $2, 'warning', 'critical', now(), now(), $3,
        $4, 0.8, '{}', 'why', false, '{}', '{}', 1, 1)`;
    await as('owner', insert, ['[["device", "sda"], ["mountpoint", "/"]]', 'open', null, null]);
    await as('owner', insert, ['[]', 'closed', new Date(), 'recovered']);
    const { rows } = await as(
      'reader',
      'SELECT node, rule, state, level_max, labels, close_reason FROM tidemark_views.alerts ORDER BY state DESC',
    );
    expect(rows).toEqual([
      {
        node: 'db1',
        rule: 'disk-usage',
        state: 'open',
        level_max: 'critical',
        labels: { device: 'sda', mountpoint: '/' },
        close_reason: null,
      },
      { node: 'db1', rule: 'disk-usage', state: 'closed', level_max: 'critical', labels: {}, close_reason: 'recovered' },
    ]);
    await as('owner', 'DELETE FROM incidents');
  });

  test('every view and every column says what it is', async () => {
    const { rows } = await as<{ name: string }>(
      'owner',
      `SELECT c.relname || coalesce('.' || a.attname, '') AS name FROM pg_class c
       JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'tidemark_views'
       LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
       WHERE obj_description(c.oid, 'pg_class') IS NULL OR (a.attname IS NOT NULL AND col_description(c.oid, a.attnum) IS NULL)`,
    );
    expect(rows).toEqual([]);
  });
});

describe('who may read', () => {
  test.each(['nodes', 'node_tokens', 'api_tokens', 'reports', 'series', 'observations_latest', 'incidents', 'told', 'silences'])(
    'the role cannot read the table %s',
    async (table) => {
      await expect(as('reader', `SELECT FROM public.${table}`)).rejects.toMatchObject({ code: '42501' });
    },
  );

  test('the role cannot write, nor make anything', async () => {
    await expect(as('reader', "UPDATE tidemark_views.nodes SET site = 'x'")).rejects.toMatchObject({ code: /^(42501|55000)$/ as never });
    await expect(as('reader', 'CREATE TABLE tidemark_views.x (a int)')).rejects.toMatchObject({ code: '42501' });
    await expect(as('reader', 'CREATE TABLE public.x (a int)')).rejects.toMatchObject({ code: '42501' });
  });

  test('views of later versions are its own to read as well', async () => {
    await as('owner', 'CREATE VIEW tidemark_views.later AS SELECT 1 AS one');
    expect((await as('reader', 'SELECT * FROM tidemark_views.later')).rows).toEqual([{ one: 1 }]);
    await as('owner', 'DROP VIEW tidemark_views.later');
  });
});
