/**
 * Whether what is not in a report is unknown, or positively not there: the agent ran what would bring it, with success,
 * and it was not among what was found. Anything that failed, hung, was left out or is not due says nothing.
 */
import type { NodeRecord } from '../fleet/node.ts';
import type { LiveNode } from '../live/live-view.ts';
import type { AcceptedReport, BlockLayout } from '../stream/stream.ts';
import { bridgeMs, slowBridgeMs } from './bridge.ts';
import type { Instance } from './instances.ts';
import { blockPlanOf, type RulesPlan } from './plan.ts';

/** The agent's own block says of each of its probes whether it succeeded. */
const AGENT_PROBE = 'agent';
const PROBE_SUCCESS = 'tidemark_probe_success';

const UP: ReadonlySet<string> = new Set(['pg_up', 'tidemark_http_up']);

const successes = new WeakMap<BlockLayout, ReadonlyMap<string, number>>();

/** Of an alert that a full report has brought no value for. */
export function standing(instance: Instance, report: AcceptedReport, plan: RulesPlan): 'unmeasured' | 'gone' {
  const { home, key } = instance;
  if (home === null) return 'unmeasured';
  let cameWithout = false;
  for (const { layout, values } of report.blocks) {
    if (layout.probe !== home.probe || layout.instance !== home.instance) continue;
    // It has its place there and no value, or what was looked at could not be seen.
    if (isDown(layout, values) || blockPlanOf(plan, layout).watches.some((watch) => watch.key === key)) return 'unmeasured';
    cameWithout = true;
  }
  return cameWithout || probeFoundNone(instance, home.probe, report) ? 'gone' : 'unmeasured';
}

/** A block that says that what it is about is down cannot say what there is of it. */
function isDown(layout: BlockLayout, values: AcceptedReport['blocks'][number]['values']): boolean {
  return layout.series.some(({ metric }, position) => UP.has(metric) && values[position] === 0);
}

/** The whole block is not there: the agent has no such probe any more, or it succeeded without it. */
function probeFoundNone({ state }: Instance, probe: string, report: AcceptedReport): boolean {
  const own = report.blocks.find(({ layout }) => layout.probe === AGENT_PROBE);
  if (own === undefined) return false;
  const position = successesOf(own.layout).get(probe);
  if (position === undefined) return true;
  // A probe that runs more seldom than it reports is not due each time; of one that runs each time it is known.
  const [a, b] = state.gaps;
  const runsEachTime = a > 0 && b > 0 && Math.min(a, b) <= bridgeMs(report.node.intervalSeconds);
  return runsEachTime && own.values[position] === 1;
}

/** How long no value of an alert means nothing: a bridge, of the pace at which what brings it comes. */
export function patienceMs({ home }: Instance, node: NodeRecord, live: LiveNode | undefined): number {
  const usual = bridgeMs(node.intervalSeconds);
  const block = live?.blocks.find(({ layout }) => layout.probe === home?.probe && layout.instance === home.instance);
  return block?.periodMs === undefined ? usual : Math.max(usual, slowBridgeMs(block.periodMs));
}

function successesOf(layout: BlockLayout): ReadonlyMap<string, number> {
  let known = successes.get(layout);
  if (known === undefined) {
    const found = new Map<string, number>();
    layout.series.forEach(({ metric, labels }, position) => {
      const probe = labels.find(([name]) => name === 'probe')?.[1];
      if (metric === PROBE_SUCCESS && probe !== undefined) found.set(probe, position);
    });
    successes.set(layout, (known = found));
  }
  return known;
}
