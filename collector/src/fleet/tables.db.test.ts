/** Drizzle's tables say the same as the migrated catalogue: names, types and what may be missing. A migration that forgets them fails here. */
import { getTableColumns, getTableName } from 'drizzle-orm';
import { expect, test } from 'vitest';
import { createTestDatabase } from '../db/testing.ts';
import { apiTokens, enrollments, nodeClaims, nodes, nodeTokens } from './tables.ts';

interface Column {
  name: string;
  type: string;
  notNull: boolean;
}

test.each([nodes, nodeTokens, nodeClaims, enrollments, apiTokens].map((table) => [getTableName(table), table] as const))(
  '%s',
  async (name, table) => {
    const { database } = await createTestDatabase();
    const catalogue = await database.query<Column>(
      `SELECT attname AS name, format_type(atttypid, atttypmod) AS type, attnotnull AS "notNull"
     FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attname`,
      [name],
    );
    const declared = Object.values(getTableColumns(table)).map((column) => ({
      name: column.name,
      type: column.getSQLType(),
      notNull: column.notNull,
    }));
    expect(declared.toSorted((a, b) => (a.name < b.name ? -1 : 1))).toEqual(catalogue);
    await database.close();
  },
);
