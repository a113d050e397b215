/**
 * Questions to the two kinds of data source. Every Prometheus query names one job, so that a fleet that is
 * scraped both as one target and as one target a node is never counted twice.
 */
import type { Builder, Dataquery } from '@grafana/grafana-foundation-sdk/cog';
import { DataqueryBuilder, PromQueryFormat } from '@grafana/grafana-foundation-sdk/prometheus';

export const PROMETHEUS = { type: 'prometheus', uid: '${datasource}' };
export const POSTGRESQL = { type: 'grafana-postgresql-datasource', uid: '${datasource}' };

/** Label selections by what a dashboard lets people choose. */
export const FLEET = 'job="$job",site=~"$site"';
export const NODE = `${FLEET},node="$node"`;
export const INSTANCE = `${FLEET},node=~"$node",server=~"$instance"`;

/** What a counter of one node rises by in a second. */
export const rate = (counter: string, labels = ''): string => `rate(${counter}{${NODE}${labels}}[$__rate_interval])`;

/** A line over time, or several: what the panel draws. */
export const range = (expr: string, legend = ''): Builder<Dataquery> => new DataqueryBuilder().expr(expr).legendFormat(legend).range();

/** The value now. */
export const instant = (expr: string, legend = ''): Builder<Dataquery> => new DataqueryBuilder().expr(expr).legendFormat(legend).instant();

/** The values now as rows, a column a label. */
export const rows = (expr: string): Builder<Dataquery> => new DataqueryBuilder().expr(expr).format(PromQueryFormat.Table).instant();

interface SqlQuery extends Dataquery {
  refId?: string;
  rawQuery: true;
  rawSql: string;
  format: 'table' | 'time_series';
  editorMode: 'code';
}

/** A statement for Grafana's PostgreSQL source, which the SDK has no builder for. */
class SqlQueryBuilder implements Builder<Dataquery> {
  readonly #query: SqlQuery;

  constructor(rawSql: string, format: SqlQuery['format']) {
    this.#query = { rawQuery: true, rawSql, format, editorMode: 'code', _implementsDataqueryVariant: () => {} };
  }

  refId(refId: string): this {
    this.#query.refId = refId;
    return this;
  }

  build(): Dataquery {
    return this.#query;
  }
}

/** A table by SQL. */
export const sqlRows = (statement: string): Builder<Dataquery> => new SqlQueryBuilder(statement.trim(), 'table');

/** Lines by SQL: columns "time", "metric" (a line's name) and the value, in order of time. */
export const sqlLines = (statement: string): Builder<Dataquery> => new SqlQueryBuilder(statement.trim(), 'time_series');
