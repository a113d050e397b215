/** The fleet as a table of which only the rows in sight are drawn: the cost of a refresh does not grow with the fleet. */
import type { JSX } from 'preact';
import { useRef } from 'preact/hooks';
import { FleetRow } from './fleet-row.tsx';
import type { SortKey } from './arrange.ts';
import type { FleetView } from './view.ts';
import { useRowsInSight } from './window.ts';

const COLUMNS: readonly { key: SortKey; title: string; number?: true; hint?: string }[] = [
  { key: 'state', title: 'State', hint: 'What is wrong first' },
  { key: 'name', title: 'Node' },
  { key: 'site', title: 'Site' },
  { key: 'cpu', title: 'CPU' },
  { key: 'memory', title: 'Memory' },
  { key: 'disk', title: 'Disk', hint: 'The fullest file system' },
  { key: 'postgres', title: 'PostgreSQL' },
  { key: 'behind', title: 'Behind', number: true, hint: 'Bytes the furthest replica has yet to replay' },
  { key: 'uptime', title: 'Uptime', number: true },
  { key: 'seen', title: 'Last seen', number: true },
];

function HeadCell({ view, column }: { view: FleetView; column: (typeof COLUMNS)[number] }): JSX.Element {
  const { sort } = view.view.value;
  const sorted = sort.key === column.key;
  return (
    <div
      class={`cell c-${column.key}${column.number ? ' number' : ''}`}
      role="columnheader"
      aria-sort={sorted ? (sort.descending ? 'descending' : 'ascending') : 'none'}
    >
      <button type="button" class="sort" title={column.hint} onClick={() => view.sortBy(column.key)}>
        <span>{column.title}</span>
        <svg class="sort-arrow" width="8" height="8" viewBox="0 0 8 8" aria-hidden="true">
          <path d={sorted && sort.descending ? 'M4 6.5 7.2 1.8H.8z' : 'M4 1.5l3.2 4.7H.8z'} fill="currentColor" />
        </svg>
      </button>
    </div>
  );
}

/** Up and down move between the nodes, as in a list. */
function moveFocus(event: KeyboardEvent): void {
  if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return;
  const row = event.target instanceof Element ? event.target.closest('.row') : null;
  const next = event.key === 'ArrowDown' ? row?.nextElementSibling : row?.previousElementSibling;
  const link = next?.querySelector<HTMLElement>('.node-link');
  if (link === null || link === undefined) return;
  event.preventDefault();
  link.focus();
}

export function FleetTable({ view }: { view: FleetView }): JSX.Element {
  const list = useRef<HTMLDivElement>(null);
  const { range, rowHeight } = useRowsInSight(list);
  const rows = view.rows.value;
  // After filtering, the last place scrolled to may lie beyond the end.
  const first = Math.min(range.value.first, Math.max(0, rows.length - 1));
  const drawn = rows.slice(first, range.value.end);
  const keepStill = (event: PointerEvent): void => {
    if (event.pointerType === 'mouse') view.keepStill();
  };
  return (
    <div class="fleet-table" role="table" aria-label="Nodes" aria-rowcount={rows.length + 1} aria-colcount={COLUMNS.length}>
      <div class="table-head" role="rowgroup">
        <div class="row-head" role="row" aria-rowindex={1}>
          {COLUMNS.map((column) => (
            <HeadCell key={column.key} view={view} column={column} />
          ))}
        </div>
      </div>
      <div
        class="rows"
        role="rowgroup"
        ref={list}
        style={{ height: `${rows.length * rowHeight.value}px`, paddingTop: `${first * rowHeight.value}px` }}
        onPointerMove={keepStill}
        onPointerLeave={view.release}
        onKeyDown={moveFocus}
      >
        {drawn.map((node, index) => (
          <FleetRow key={node.name} node={node} index={first + index} />
        ))}
      </div>
    </div>
  );
}
