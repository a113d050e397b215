/** A chart by keyboard: arrows move the cursor, + and − zoom about it, page keys pan, Escape lets go. */
import type { Grid } from './grid.ts';
import type { ChartGroup } from './group.ts';
import { panned, spanOf, zoomed } from './range.ts';

const FAR = 10;

/** Where a key takes the cursor; null for keys that do not move it. */
export function movedCursor(key: string, far: boolean, cursorMs: number | null, grid: Grid): number | null {
  const last = grid.xs.at(-1)! * 1_000;
  const by = (places: number): number => Math.min(last, Math.max(grid.fromMs, (cursorMs ?? last) + places * grid.stepMs));
  switch (key) {
    case 'ArrowLeft':
      return by(far ? -FAR : -1);
    case 'ArrowRight':
      return by(far ? FAR : 1);
    case 'Home':
      return grid.fromMs;
    case 'End':
      return last;
    default:
      return null;
  }
}

export function useChartKeys(group: ChartGroup, gridNow: () => Grid | null): (event: KeyboardEvent) => void {
  return (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const grid = gridNow();
    const now = group.nowMs.peek();
    const range = group.range.peek();
    const moved = grid === null ? null : movedCursor(event.key, event.shiftKey, group.cursorMs.peek(), grid);
    if (moved !== null) group.cursorMs.value = moved;
    else if (event.key === '+' || event.key === '=')
      group.change(zoomed(range, 0.5, group.cursorMs.peek() ?? spanOf(range, now).toMs, now));
    else if (event.key === '-') group.change(zoomed(range, 2, group.cursorMs.peek() ?? spanOf(range, now).toMs, now));
    else if (event.key === 'PageUp') group.change(panned(range, -0.5, now));
    else if (event.key === 'PageDown') group.change(panned(range, 0.5, now));
    else if (event.key === 'Escape') group.cursorMs.value = null;
    else return;
    event.preventDefault();
  };
}
