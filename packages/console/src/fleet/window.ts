/** Which rows of a long list are worth drawing: those in sight and a few around them, in steps, so that scrolling draws seldom. */
import { signal, type ReadonlySignal } from '@preact/signals';
import { useLayoutEffect } from 'preact/hooks';

export interface Range {
  first: number;
  /** One past the last. */
  end: number;
}

const STEP = 8;
const AROUND = 12;

/** @param topPx how far the list's top lies above the viewport's top; negative while it lies below. */
export function rangeInSight(topPx: number, viewportPx: number, rowPx: number): Range {
  const floor = (rows: number): number => Math.floor(rows / STEP) * STEP;
  const first = Math.max(0, floor(topPx / rowPx - AROUND));
  const end = Math.max(0, floor((topPx + viewportPx) / rowPx + AROUND) + STEP);
  return { first, end };
}

const range = signal<Range>({ first: 0, end: 48 });
const rowHeight = signal(36);

function measure(list: HTMLElement): void {
  const rowPx = Number.parseFloat(getComputedStyle(list).getPropertyValue('--row-height')) || 36;
  const next = rangeInSight(-list.getBoundingClientRect().top, innerHeight, rowPx);
  rowHeight.value = rowPx;
  if (next.first !== range.peek().first || next.end !== range.peek().end) range.value = next;
}

/** Follows the page's scrolling for one list. The height of its rows is the style sheet's `--row-height`. */
export function useRowsInSight(list: { current: HTMLElement | null }): { range: ReadonlySignal<Range>; rowHeight: ReadonlySignal<number> } {
  useLayoutEffect(() => {
    let frame = 0;
    const look = (): void => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(() => {
        if (list.current !== null) measure(list.current);
      });
    };
    if (list.current !== null) measure(list.current);
    addEventListener('scroll', look, { passive: true });
    addEventListener('resize', look, { passive: true });
    return () => {
      cancelAnimationFrame(frame);
      removeEventListener('scroll', look);
      removeEventListener('resize', look);
    };
  }, [list]);
  return { range, rowHeight };
}
