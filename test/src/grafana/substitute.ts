/** What Grafana makes of a query before it sends it: variables in its formats and the macros of its PostgreSQL source. Unknown ones are an error, never left in. */
import { expect } from 'vitest';

export interface Variable {
  /** The values that are chosen. */
  values: readonly string[];
  /** What stands for all of them, when all are chosen. */
  all?: string;
}

export type Variables = Readonly<Record<string, Variable>>;

/** Built in, at the settings of a test: scraped each second. */
export const BUILT_IN: Variables = {
  __rate_interval: { values: ['10s'] },
  __interval: { values: ['5s'] },
  __range: { values: ['10m'] },
};

/** As Grafana escapes for a regular expression within a PromQL string. */
const escapeRegex = (value: string): string => value.replaceAll(/[$()*+.?[\\\]^{|}]/g, String.raw`\\$&`);

function formatted(name: string, { values, all }: Variable, format: string | undefined): string {
  switch (format) {
    case 'sqlstring':
      return values.map((value) => `'${value.replaceAll("'", "''")}'`).join(',');
    case undefined:
      if (all !== undefined) return all;
      return values.length === 1 && !name.startsWith('__')
        ? values[0]!
        : values.length === 1
          ? values[0]!
          : `(${values.map(escapeRegex).join('|')})`;
    default:
      throw new Error(`the format "${format}" of $${name} is not known here`);
  }
}

/** Puts variables in. */
export function substitute(text: string, variables: Variables): string {
  const known = { ...BUILT_IN, ...variables };
  return text.replaceAll(
    /\$(?:\{(\w+)(?::(\w+))?\}|(\w+))/g,
    (whole, braced: string | undefined, format: string | undefined, bare: string | undefined) => {
      const name = braced ?? bare!;
      const variable = known[name];
      if (variable === undefined) throw new Error(`${whole} is no variable of the dashboard: ${text}`);
      return formatted(name, variable, format);
    },
  );
}

/** The macros of Grafana's PostgreSQL source that the dashboards use, then the variables. */
export function substituteSql(text: string, variables: Variables, from: Date, to: Date): string {
  const time = (moment: Date): string => `'${moment.toISOString()}'`;
  const expanded = text
    .replaceAll(/\$__timeFilter\(([^)]+)\)/g, (_, column: string) => `${column} BETWEEN ${time(from)} AND ${time(to)}`)
    .replaceAll('$__timeFrom()', time(from))
    .replaceAll('$__timeTo()', time(to));
  const sql = substitute(expanded, variables);
  expect(sql).not.toContain('$');
  return sql;
}
