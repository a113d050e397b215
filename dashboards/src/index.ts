/**
 * The Grafana dashboards, and their JSON as it is committed beside them in json/: the collector serves those files,
 * and a test holds them to what this code makes. Nothing here runs in production.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { fleet } from './fleet.ts';
import { node } from './node.ts';
import { postgresql } from './postgresql.ts';
import { replication } from './replication.ts';
import { store } from './store.ts';

export const DASHBOARDS: Readonly<Record<string, () => Dashboard>> = { fleet, node, postgresql, replication, store };
/** Where the generated files lie. */
export const DASHBOARDS_DIR = fileURLToPath(new URL('../json/', import.meta.url));

/** A dashboard as it is in its file. */
export function dashboardJson(name: string): string {
  return `${JSON.stringify(DASHBOARDS[name]!(), undefined, 2)}\n`;
}

/** Names of the dashboards whose files are not what the code makes. */
export function staleDashboards(directory = DASHBOARDS_DIR): string[] {
  return Object.keys(DASHBOARDS).filter((name) => read(join(directory, `${name}.json`)) !== dashboardJson(name));
}

/** Writes the files that are out of date; returns the names of their dashboards. */
export function writeDashboards(directory = DASHBOARDS_DIR): string[] {
  const stale = staleDashboards(directory);
  mkdirSync(directory, { recursive: true });
  for (const name of stale) writeFileSync(join(directory, `${name}.json`), dashboardJson(name));
  return stale;
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
