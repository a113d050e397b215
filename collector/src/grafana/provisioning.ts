/**
 * Files for Grafana's provisioning directory. They hold no secret and name no database: a password stands in a file
 * that Grafana reads by itself. The address of the collector is written into the commands in their comments.
 */

const HEADER_FILE = '/etc/grafana/tidemark-header';
const PASSWORD_FILE = '/etc/grafana/tidemark-password';
const DASHBOARDS_DIR = '/var/lib/grafana/dashboards/tidemark';

/** How a file is fetched without a token on a command line. */
const fetched = (base: string, path: string, to: string): string => `#   curl -fsS -H @${HEADER_FILE} ${base}${path} -o ${to}`;
const HEADER_NOTE = `# ${HEADER_FILE} holds one line, "Authorization: Bearer TOKEN", readable by root alone.
# A token: tidemark-collector tokens add grafana --role read`;

/** Data sources with the uids that links and examples use. */
export function dataSourcesProvisioning(base: string): string {
  const target = '/etc/grafana/provisioning/datasources/tidemark.yaml';
  return `# Tidemark's data sources for Grafana. Put this file at ${target}:
${fetched(base, '/grafana/provisioning/datasources/tidemark.yaml', target)}
${HEADER_NOTE}
#
# Then change what is marked, and restart Grafana.
apiVersion: 1

datasources:
  # For the dashboards fleet, node, postgresql and replication. Leave it out when your Prometheus is a data source already.
  - name: Tidemark Prometheus
    uid: tidemark-prometheus
    type: prometheus
    access: proxy
    url: http://localhost:9090 # CHANGE: your Prometheus, which scrapes ${base}
    jsonData:
      httpMethod: POST
      timeInterval: 15s # CHANGE: its scrape_interval

  # For the dashboard store: the collector's database, read by a role that sees views and nothing else. How that role is
  # made: docs/how-to/grafana.md. With the collector's embedded database, which nobody else can reach, leave this out.
  #
  # - name: Tidemark PostgreSQL
  #   uid: tidemark-postgresql
  #   type: grafana-postgresql-datasource
  #   access: proxy
  #   url: db.example:5432 # CHANGE
  #   user: grafana
  #   jsonData:
  #     database: tidemark
  #     sslmode: verify-full
  #     postgresVersion: 1500
  #   secureJsonData:
  #     password: $__file{${PASSWORD_FILE}}
`;
}

/** The provider that keeps the dashboards as they are in a directory. */
export function dashboardsProvisioning(base: string, names: readonly string[]): string {
  const target = '/etc/grafana/provisioning/dashboards/tidemark.yaml';
  return `# Tidemark's dashboards for Grafana. Put this file at ${target}:
${fetched(base, '/grafana/provisioning/dashboards/tidemark.yaml', target)}
# and the dashboards into the directory named below; Grafana takes up changes within a minute:
#   mkdir -p ${DASHBOARDS_DIR}
${names.map((name) => fetched(base, `/grafana/dashboards/${name}.json`, `${DASHBOARDS_DIR}/${name}.json`)).join('\n')}
${HEADER_NOTE}
apiVersion: 1

providers:
  - name: tidemark
    orgId: 1
    folder: Tidemark
    type: file
    disableDeletion: false
    allowUiUpdates: false
    updateIntervalSeconds: 60
    options:
      path: ${DASHBOARDS_DIR}
`;
}
