/** Dashboards as the tests walk them: the JSON that Grafana gets, panel by panel, query by query. */

export interface Target {
  refId: string;
  datasource: { type: string; uid: string };
  expr?: string;
  instant?: boolean;
  range?: boolean;
  format?: string;
  rawSql?: string;
}

export interface Panel {
  id: number;
  type: string;
  title?: string;
  description?: string;
  gridPos: { x: number; y: number; w: number; h: number };
  targets?: Target[];
  panels?: Panel[];
  fieldConfig?: {
    defaults: { unit?: string; noValue?: string; thresholds?: { steps: { value: number | null; color: string }[] } };
    overrides: { matcher: { id: string; options: unknown }; properties: { id: string; value: unknown }[] }[];
  };
  transformations?: { id: string; options: Record<string, unknown> }[];
}

export interface VariableModel {
  name: string;
  type: string;
  query: string | { query: string };
  multi: boolean;
  includeAll: boolean;
  allValue?: string;
}

export interface DashboardJson {
  uid: string;
  title: string;
  tags: string[];
  schemaVersion: number;
  templating: { list: VariableModel[] };
  links: { type: string; tags: string[] }[];
  annotations: { list: { name: string; expr: string }[] };
  panels: Panel[];
}

/** Every panel, those inside of rows as well. */
export function panelsOf(dashboard: DashboardJson): Panel[] {
  return dashboard.panels.flatMap((panel) => [panel, ...(panel.panels ?? [])]);
}

/** Every query with the panel it is of. */
export function queriesOf(dashboard: DashboardJson): { panel: Panel; target: Target }[] {
  return panelsOf(dashboard).flatMap((panel) => (panel.targets ?? []).map((target) => ({ panel, target })));
}
