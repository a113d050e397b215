/** The fleet in one line, and its extremes: the four figures that someone who has just been woken looks for. */
import type { OverviewNode } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { NOTHING, countOf, formatBytes, formatRatio } from '../format/quantities.ts';
import { nodePath } from '../router.ts';
import { bounds, levelOf, type Level } from './bounds.ts';
import { bytesBehind, conditionOf } from './standing.ts';
import type { Counts, FleetView } from './view.ts';

/** "1,000 nodes · 3 down · 2 sites". */
export function CountLine({ counts, view }: { counts: Counts; view: FleetView }): JSX.Element {
  const only = (word: string): void => view.change({ query: view.view.value.query === word ? '' : word });
  return (
    <p class="count-line">
      <span>{countOf(counts.nodes, 'node')}</span>
      {counts.down > 0 ? (
        <button type="button" class="count bad" title="Show these alone" onClick={() => only('down')}>
          {countOf(counts.down, 'down', 'down')}
        </button>
      ) : (
        <span>none down</span>
      )}
      {counts.pending > 0 ? (
        <button type="button" class="count" title="Show these alone" onClick={() => only('pending')}>
          {countOf(counts.pending, 'pending', 'pending')}
        </button>
      ) : null}
      <span>{countOf(counts.sites.length, 'site')}</span>
    </p>
  );
}

function most(nodes: readonly OverviewNode[], read: (node: OverviewNode) => number | null): { node: OverviewNode; value: number } | null {
  let found: { node: OverviewNode; value: number } | null = null;
  for (const node of nodes) {
    if (conditionOf(node) !== 'up') continue;
    const value = read(node);
    if (value !== null && (found === null || value > found.value)) found = { node, value };
  }
  return found;
}

function Extreme(props: {
  label: string;
  found: ReturnType<typeof most>;
  text: (value: number) => string;
  level: (value: number) => Level;
}): JSX.Element {
  const { found } = props;
  return (
    <div class={`extreme extreme-${found === null ? 'normal' : props.level(found.value)}`}>
      <dt>{props.label}</dt>
      <dd>
        <span class="extreme-value">{found === null ? NOTHING : props.text(found.value)}</span>
        {found === null ? null : (
          <a class="extreme-node" href={nodePath(found.node.name)} title={found.node.name}>
            <bdi>{found.node.name}</bdi>
          </a>
        )}
      </dd>
    </div>
  );
}

/** The fullest, the busiest, the furthest behind. */
export function Extremes({ nodes }: { nodes: readonly OverviewNode[] }): JSX.Element {
  return (
    <dl class="extremes">
      <Extreme
        label="Fullest disk"
        found={most(nodes, (n) => n.disk.usageRatio)}
        text={formatRatio}
        level={(v) => levelOf(v, bounds.value.disk)}
      />
      <Extreme
        label="Fullest memory"
        found={most(nodes, (n) => n.memory.usageRatio)}
        text={formatRatio}
        level={(v) => levelOf(v, bounds.value.memory)}
      />
      <Extreme
        label="Busiest CPU"
        found={most(nodes, (n) => n.cpu.usageRatio)}
        text={formatRatio}
        level={(v) => levelOf(v, bounds.value.cpu)}
      />
      <Extreme label="Furthest behind" found={most(nodes, bytesBehind)} text={formatBytes} level={(v) => levelOf(v, bounds.value.behind)} />
    </dl>
  );
}
