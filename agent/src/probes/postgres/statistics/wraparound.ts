/** How many transactions each database is from the point where it stops taking writes (2,147,483,648 less 3 million), and why. */
import { metric } from '../../recorder.ts';
import type { StatisticsGroup } from './group.ts';

const DATABASES_MAX = 50;
const WRAP_AT = 2 ** 31;

const xidAge = metric(
  'pg_database_wraparound_age_datfrozenxid_seconds',
  'gauge',
  '',
  "Age of the oldest transaction that is not frozen: a number of transactions, whatever postgres_exporter's name says.",
  ['server', 'datname'],
);
const multixactAge = metric(
  'pg_database_wraparound_age_datminmxid_seconds',
  'gauge',
  '',
  "Age of the oldest multixact: a number of them, whatever postgres_exporter's name says.",
  ['server', 'datname'],
);
const used = metric(
  'tidemark_postgres_wraparound_used_ratio',
  'gauge',
  'ratio',
  'Share that the oldest database has used of the transaction ids, or multixacts, that there are. At 1 it takes no more writes; vacuum frees them.',
  ['server'],
);

export function wraparound(): StatisticsGroup {
  return {
    name: 'wraparound',
    everyMs: 300_000,
    right: 'pg_monitor',
    statement: () => `SELECT datname, age(datfrozenxid), mxid_age(datminmxid) FROM pg_database
ORDER BY greatest(age(datfrozenxid), mxid_age(datminmxid)) DESC, oid LIMIT ${DATABASES_MAX}`,
    read(rows, { server }) {
      const ages = rows
        .map(([datname, xid, multixact]) => ({ datname: datname ?? '', xid: Number(xid), multixact: Number(multixact) }))
        .toSorted((a, b) => (a.datname < b.datname ? -1 : 1));
      const oldest = Math.max(0, ...ages.flatMap(({ xid, multixact }) => [xid, multixact]));
      return {
        record(block) {
          for (const { datname, xid, multixact } of ages) {
            block.add(xidAge, xid, server, datname);
            block.add(multixactAge, multixact, server, datname);
          }
          block.add(used, oldest / WRAP_AT, server);
        },
      };
    },
  };
}
