/** Alerts for tests: each another one, all of it can be said otherwise. */
import type { AlertView } from '@tidemark/protocol';

let count = 0;
export function alertOf(part: Partial<AlertView> = {}): AlertView {
  count += 1;
  return {
    id: `id-${String(count).padStart(4, '0')}`,
    rule: 'disk-usage',
    kind: 'threshold',
    title: 'Disk usage',
    node: `node-${count}`,
    site: 'porto',
    metric: 'tidemark_filesystem_usage_ratio',
    labels: {},
    unit: 'ratio',
    state: 'open',
    level: 'warning',
    levelMax: 'warning',
    since: '2026-01-01T00:00:00.000Z',
    openedAt: `2026-01-01T00:${String(count % 60).padStart(2, '0')}:00.000Z`,
    closedAt: null,
    closeReason: null,
    value: 0.8,
    valueAtOpening: 0.8,
    bound: { above: 0.7 },
    why: '80 % above 70 %',
    noData: false,
    acknowledged: null,
    silencedBy: null,
    suppressedBy: null,
    annotations: {},
    runbook: null,
    told: [],
    ...part,
  };
}
