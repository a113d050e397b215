/** Fills the live view from the store when the collector starts, so that a restart shows no empty fleet; what is heard meanwhile always counts more. */
import type { Clock } from '@tidemark/service';
import type { NodeRecord } from '../fleet/node.ts';
import type { LiveView } from '../live/live-view.ts';
import type { ReportReader } from './reread.ts';

/** Nodes that have not reported for longer have nothing to show but when that was. */
const RESTORE_MS = 24 * 3_600_000;

export interface Restored {
  nodes: number;
  reports: number;
}

/** Reads back each approved node's last reports, its observations, and when it was last heard. Throws ProblemError `database_away`. */
export async function restoreLiveView(view: LiveView, reader: ReportReader, nodes: Iterable<NodeRecord>, clock: Clock): Promise<Restored> {
  const records = new Map<number, NodeRecord>();
  for (const record of nodes) if (record.state === 'approved') records.set(record.id, record);
  let reports = 0;
  const restored = new Set<number>();
  for await (const report of reader.newest([...records.keys()], clock.wallMs() - RESTORE_MS)) {
    view.restore(report);
    restored.add(report.node.id);
    reports++;
  }
  for (const [nodeId, at] of await reader.lastReports()) {
    const record = records.get(nodeId);
    if (record !== undefined) view.restoreLastSeen(record, at);
  }
  for (const { nodeId, ...stored } of await reader.latestObservations()) {
    const record = records.get(nodeId);
    if (record !== undefined) view.restoreObservation(record, stored);
  }
  return { nodes: restored.size, reports };
}
