/**
 * What the dashboards share: variables, links to each other, and an order of panels whose ids never depend on
 * chance, so that a link to a panel lasts as long as the panel stays where it is.
 */
import {
  AnnotationQueryBuilder,
  DashboardBuilder,
  DashboardCursorSync,
  DashboardLinkBuilder,
  DashboardLinkType,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  RowBuilder,
  VariableRefresh,
  VariableSort,
  type Dashboard,
  type VariableModel,
} from '@grafana/grafana-foundation-sdk/dashboard';
import type { Builder } from '@grafana/grafana-foundation-sdk/cog';
import type { AnyPanel } from './panel.ts';
import { POSTGRESQL, PROMETHEUS } from './query.ts';

const TAG = 'tidemark';

/** What Grafana puts into a link of one dashboard to another: the same time, source and job. */
const CARRIED = '${__url_time_range}&${datasource:queryparam}&${job:queryparam}';
/** Where a node's name leads; the value that was clicked is the node. */
export const TO_NODE = { title: 'Open the node', url: `/d/tidemark-node?${CARRIED}&var-node=\${__value.text}` };
/** The same from a line of a chart. */
export const LINE_TO_NODE = { title: 'Open ${__field.labels.node}', url: `/d/tidemark-node?${CARRIED}&var-node=\${__field.labels.node}` };
export const LINE_TO_POSTGRESQL = {
  title: 'Open ${__field.labels.server} of ${__field.labels.node}',
  url: `/d/tidemark-postgresql?${CARRIED}&var-node=\${__field.labels.node}&var-instance=\${__field.labels.server}`,
};

export interface DashboardSettings {
  uid: `tidemark-${string}`;
  title: string;
  description: string;
  variables: readonly Builder<VariableModel>[];
  from: string;
  refresh: string;
  /** Marks of Tidemark's alerts in Prometheus, of series with these labels; none where no rules are loaded. */
  alertsOf?: string;
  rows: readonly { title: string; panels: readonly AnyPanel[] }[];
}

/** Builds a dashboard; a row's first line of panels has no title above it when the row has none. */
export function dashboard(settings: DashboardSettings): Dashboard {
  const builder = new DashboardBuilder(settings.title)
    .uid(settings.uid)
    .description(settings.description)
    .tags([TAG])
    .timezone('browser')
    .tooltip(DashboardCursorSync.Crosshair)
    .time({ from: settings.from, to: 'now' })
    .refresh(settings.refresh)
    .variables([...settings.variables])
    .link(
      new DashboardLinkBuilder('Tidemark')
        .type(DashboardLinkType.Dashboards)
        .tags([TAG])
        .asDropdown(false)
        .includeVars(true)
        .keepTime(true),
    );
  if (settings.alertsOf !== undefined) {
    builder.annotation(
      new AnnotationQueryBuilder()
        .name('Alerts')
        .datasource(PROMETHEUS)
        .enable(true)
        .iconColor('red')
        .expr(`ALERTS{alertname=~"Tidemark.+",alertstate="firing",${settings.alertsOf}}`)
        .titleFormat('{{alertname}}, {{severity}}')
        .textFormat('{{node}} {{mountpoint}} {{server}} {{application_name}}')
        .step('60s'),
    );
  }
  for (const { title, panels } of settings.rows) {
    if (title !== '') builder.withRow(new RowBuilder(title));
    for (const panel of panels) builder.withPanel(panel);
  }
  const built = builder.build();
  (built.panels ?? []).forEach((panel, position) => (panel.id = position + 1));
  return built;
}

export const prometheusSource = (): Builder<VariableModel> =>
  new DatasourceVariableBuilder('datasource')
    .label('Prometheus')
    .type('prometheus')
    .description('The Prometheus that scrapes the collector.');

export const postgresqlSource = (): Builder<VariableModel> =>
  new DatasourceVariableBuilder('datasource')
    .label('PostgreSQL')
    .type(POSTGRESQL.type)
    .description("The collector's database, read through its views.");

interface Choice {
  name: string;
  label: string;
  description: string;
  /** Of these series, the values of this label. */
  series: string;
  of: string;
  several: boolean;
}

function labelChoice({ name, label, description, series, of, several }: Choice): Builder<VariableModel> {
  const definition = `label_values(${series}, ${of})`;
  const variable = new QueryVariableBuilder(name)
    .label(label)
    .description(description)
    .datasource(PROMETHEUS)
    .query({ qryType: 1, query: definition, refId: 'PrometheusVariableQueryEditor-VariableQuery' })
    .definition(definition)
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.NaturalAsc)
    .multi(several)
    .includeAll(several);
  // Also what has no such label at all: a node without a site is in every selection of all sites.
  return several ? variable.allValue('.*').current({ text: ['All'], value: ['$__all'] }) : variable;
}

export const jobChoice = (): Builder<VariableModel> =>
  labelChoice({
    name: 'job',
    label: 'Job',
    description: 'The scrape job of the collector in prometheus.yml.',
    series: 'tidemark_node_up',
    of: 'job',
    several: false,
  });

export const siteChoice = (): Builder<VariableModel> =>
  labelChoice({
    name: 'site',
    label: 'Site',
    description: 'Sites of nodes.',
    series: 'tidemark_node_up{job="$job"}',
    of: 'site',
    several: true,
  });

export const nodeChoice = (): Builder<VariableModel> =>
  labelChoice({
    name: 'node',
    label: 'Node',
    description: 'One node.',
    series: 'tidemark_node_up{job="$job",site=~"$site"}',
    of: 'node',
    several: false,
  });

export const postgresNodeChoice = (): Builder<VariableModel> =>
  labelChoice({
    name: 'node',
    label: 'Node',
    description: 'Nodes whose agent watches a PostgreSQL server.',
    series: 'pg_up{job="$job",site=~"$site"}',
    of: 'node',
    several: true,
  });

export const instanceChoice = (): Builder<VariableModel> =>
  labelChoice({
    name: 'instance',
    label: 'Instance',
    description: 'PostgreSQL servers by the name that the agent knows them by.',
    series: 'pg_up{job="$job",site=~"$site",node=~"$node"}',
    of: 'server',
    several: true,
  });

interface SqlChoice {
  name: string;
  label: string;
  description: string;
  statement: string;
}

/** What can be chosen by SQL. All means every value by name: the statement is the bound. */
export function sqlChoice({ name, label, description, statement }: SqlChoice): Builder<VariableModel> {
  return new QueryVariableBuilder(name)
    .label(label)
    .description(description)
    .datasource(POSTGRESQL)
    .query(statement)
    .definition(statement)
    .refresh(VariableRefresh.OnDashboardLoad)
    .sort(VariableSort.NaturalAsc)
    .multi(true)
    .includeAll(true)
    .current({ text: ['All'], value: ['$__all'] });
}
