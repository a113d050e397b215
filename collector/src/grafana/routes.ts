/**
 * Grafana's files as it wants them: the dashboards that lie in this installation, and the provisioning that brings them
 * in. The files are read at start; nothing of Grafana is asked, and nothing about the database is told.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ProblemError } from '@tidemark/protocol';
import type { FastifyInstance } from 'fastify';
import { Type, type Static } from 'typebox';
import { indexPage, type DashboardEntry } from './index-page.ts';
import { dashboardsProvisioning, dataSourcesProvisioning } from './provisioning.ts';

export interface GrafanaRoutesOptions {
  /** Holds NAME.json, a dashboard each. */
  dashboardsDir: string;
  /** Where this collector is reached from outside. */
  baseUrl: () => URL;
}

const DashboardName = Type.Object({ name: Type.String({ description: 'For example "fleet".' }) });
const DashboardList = Type.Object({
  dashboards: Type.Array(
    Type.Object({
      name: Type.String(),
      uid: Type.String({ description: "Grafana's own name for it, which never changes." }),
      title: Type.String(),
      description: Type.String(),
      source: Type.String({ description: 'The kind of data source it asks.' }),
      url: Type.String(),
    }),
  ),
  provisioning: Type.Array(Type.String({ description: "Addresses of the files for Grafana's provisioning." })),
});
const Yaml = { content: { 'application/yaml': { schema: Type.String() } } };
const YAML_TYPE = 'application/yaml; charset=utf-8';
const PROVISIONING = ['/grafana/provisioning/datasources/tidemark.yaml', '/grafana/provisioning/dashboards/tidemark.yaml'];

interface DashboardFile extends DashboardEntry {
  json: string;
}

export function grafanaRoutes(app: FastifyInstance, { dashboardsDir, baseUrl }: GrafanaRoutesOptions): void {
  const dashboards = readDashboards(dashboardsDir);
  const base = (): string => baseUrl().href.replace(/\/+$/, '');

  app.get('/grafana/dashboards', {
    config: { access: 'read' },
    schema: {
      tags: ['grafana'],
      summary: 'The dashboards and provisioning files there are',
      description: 'A page for people, or JSON for "Accept: application/json".',
      response: { 200: { content: { 'application/json': { schema: DashboardList }, 'text/html': { schema: Type.String() } } } },
    },
    handler: async (request, reply) => {
      void reply.header('vary', 'accept');
      if (!/\bapplication\/json\b/.test(request.headers.accept ?? ''))
        return reply.type('text/html; charset=utf-8').send(indexPage([...dashboards.values()], PROVISIONING, base()));
      const list: Static<typeof DashboardList> = {
        dashboards: [...dashboards.values()].map(({ name, uid, title, description, source }) => ({
          name,
          uid,
          title,
          description,
          source,
          url: `${base()}/grafana/dashboards/${name}.json`,
        })),
        provisioning: PROVISIONING.map((path) => base() + path),
      };
      return reply.type('application/json; charset=utf-8').send(JSON.stringify(list));
    },
  });

  app.get<{ Params: Static<typeof DashboardName> }>('/grafana/dashboards/:name.json', {
    config: { access: 'read' },
    schema: {
      tags: ['grafana'],
      summary: "A dashboard, as Grafana's import and provisioning take it",
      params: DashboardName,
      response: { 200: { content: { 'application/json': { schema: Type.Unknown() } } } },
    },
    handler: async (request, reply) => {
      const dashboard = dashboards.get(request.params.name);
      if (dashboard === undefined) throw new ProblemError('not_found', 'There is no such dashboard. Those there are: /grafana/dashboards/');
      return reply.type('application/json; charset=utf-8').send(dashboard.json);
    },
  });

  app.get(PROVISIONING[0]!, {
    config: { access: 'read' },
    schema: { tags: ['grafana'], summary: "Provisioning of Grafana's data sources, with what to do as comments", response: { 200: Yaml } },
    handler: async (_, reply) => reply.type(YAML_TYPE).send(dataSourcesProvisioning(base())),
  });
  app.get(PROVISIONING[1]!, {
    config: { access: 'read' },
    schema: { tags: ['grafana'], summary: 'Provisioning of the dashboards, with what to do as comments', response: { 200: Yaml } },
    handler: async (_, reply) => reply.type(YAML_TYPE).send(dashboardsProvisioning(base(), [...dashboards.keys()])),
  });
}

/** A directory that is not there has none. */
function readDashboards(directory: string): Map<string, DashboardFile> {
  let names: string[];
  try {
    names = readdirSync(directory).flatMap((file) => /^([a-z0-9-]+)\.json$/.exec(file)?.[1] ?? []);
  } catch {
    return new Map();
  }
  return new Map(
    names.toSorted().map((name) => {
      const json = readFileSync(join(directory, `${name}.json`), 'utf8');
      const { uid, title, description, templating } = JSON.parse(json) as {
        uid: string;
        title: string;
        description: string;
        templating: { list: { name: string; label: string }[] };
      };
      const source = templating.list.find((variable) => variable.name === 'datasource')?.label ?? '';
      return [name, { name, uid, title, description, source, json }];
    }),
  );
}
