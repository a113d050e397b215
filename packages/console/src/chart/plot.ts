/**
 * The canvas of one chart: uPlot, held so that nothing of it shows outside. Fetched when the first chart is drawn.
 * Draws what it is given and tells what people do to it; it decides nothing about ranges or data.
 */
import uPlot from 'uplot';
import type { Value } from './grid.ts';
import type { ChartMark } from './group.ts';
import { AXIS_PX, drawAheads, drawBounds, drawMarks, placeMarks } from './overlay.ts';
import { faded, readPalette, type Palette } from './palette.ts';
import type { Span } from './range.ts';
import type { ChartBounds, ChartLine } from './spec.ts';
import { timeTicks } from './time-ticks.ts';
import { formatTick, tickSteps, type Unit } from './units.ts';

/** A line as it is drawn: stacked or mirrored already. */
export interface DrawnLine extends ChartLine {
  drawn: readonly Value[];
  /** The place of the line it lies upon; null where it is filled to zero, undefined where it is not filled. */
  upon?: number | null;
}

export interface PlotView {
  xs: readonly number[];
  lines: readonly DrawnLine[];
  span: Span;
  nowMs: number;
  unit: Unit;
  most: number | undefined;
  bounds: ChartBounds | undefined;
  marks: readonly ChartMark[];
}

export interface PlotHandlers {
  onCursor(ms: number | null): void;
  /** Dragged over a stretch. */
  onSelect(fromMs: number, toMs: number): void;
  onZoom(factor: number, centreMs: number): void;
  /** By a share of the stretch in sight, from where the drag began. `done` with its end. */
  onPan(share: number): void;
  onPanStart(): void;
}

/** Opacity of the layers of a stack. */
const FILL = 0.55;

type Drawn = { view: PlotView; palette: Palette };

function structureOf(view: PlotView): string {
  return JSON.stringify([
    view.unit,
    view.lines.map(({ label, upon, least, dashed, tone }) => [label, upon, least !== undefined, dashed === true, tone]),
  ]);
}

/** Points of their own are only drawn where no line can be: a value between two gaps. */
function lonePoints(u: uPlot, seriesIdx: number): number[] {
  const values = u.data[seriesIdx] ?? [];
  const lone: number[] = [];
  const missing = (place: number): boolean => typeof values[place] !== 'number';
  for (let place = 0; place < values.length; place += 1)
    if (!missing(place) && values[place - 1] === null && values[place + 1] === null && missing(place + 1)) lone.push(place);
  return lone;
}

function yRange(view: PlotView, least: number | null, greatest: number | null): [number, number] {
  const { most, bounds, unit } = view;
  const low = Math.min(0, least ?? 0);
  let high = Math.max(0, greatest ?? 0);
  // A bound comes into the picture when the values come near it.
  for (const bound of [bounds?.warning, bounds?.critical, bounds?.other?.value])
    if (bound !== undefined && high > bound * 0.45) high = Math.max(high, bound * 1.04);
  if (most !== undefined) return [low, Math.max(most, high)];
  if (high === 0 && low === 0)
    return [0, unit === 'ratio' ? 0.01 : unit === 'seconds' ? 0.001 : unit === 'bytes' || unit === 'bytes/s' ? 1_024 : 1];
  return [low * 1.08, high * 1.08];
}

/** A chart on the page. `update` before anything is seen; `destroy` when it goes. */
export class Plot {
  readonly #host: HTMLElement;
  readonly #handlers: PlotHandlers;
  readonly #marks: HTMLElement;
  #drawn: Drawn | null = null;
  #structure = '';
  #plot: uPlot | null = null;
  #size = { width: 0, height: 0 };
  /** Set while the cursor is moved from outside, so that it is not told back. */
  #moving = false;

  constructor(host: HTMLElement, handlers: PlotHandlers) {
    this.#host = host;
    this.#handlers = handlers;
    this.#marks = document.createElement('div');
    this.#marks.className = 'chart-marks';
    host.addEventListener('wheel', this.#onWheel, { passive: false });
  }

  resize(width: number, height: number): void {
    this.#size = { width, height };
    if (width > 0) this.#plot?.setSize(this.#size);
  }

  update(view: PlotView): void {
    this.#drawn = { view, palette: this.#drawn?.palette ?? readPalette(this.#host) };
    const structure = structureOf(view);
    const { min, max } = { min: view.span.fromMs / 1_000, max: view.span.toMs / 1_000 };
    const plot = this.#plot;
    if (plot === null || structure !== this.#structure) {
      plot?.destroy();
      this.#structure = structure;
      this.#plot = new uPlot(this.#options(view), dataOf(view), this.#host);
      // Beside the canvas: that one is a slider, and what can be followed may not lie in it.
      this.#host.after(this.#marks);
      this.#listenToTouch(this.#plot);
    } else {
      plot.batch(() => {
        plot.setData(dataOf(view), false);
        plot.setScale('x', { min, max });
      });
    }
  }

  /** Reads the page's colours anew. */
  recolour(): void {
    if (this.#drawn === null) return;
    this.#drawn.palette = readPalette(this.#host);
    this.#plot?.redraw(false, true);
  }

  setCursor(ms: number | null): void {
    const plot = this.#plot;
    if (plot === null) return;
    const left = ms === null ? -10 : plot.valToPos(ms / 1_000, 'x');
    if (Math.abs((plot.cursor.left ?? -10) - left) < 0.5) return;
    this.#moving = true;
    plot.setCursor({ left, top: ms === null ? -10 : 1 }, false);
    this.#moving = false;
  }

  destroy(): void {
    this.#host.removeEventListener('wheel', this.#onWheel);
    this.#plot?.destroy();
    this.#plot = null;
    this.#marks.remove();
  }

  readonly #onWheel = (event: WheelEvent): void => {
    const plot = this.#plot;
    if (plot === null || !(event.ctrlKey || event.metaKey || event.shiftKey)) return;
    event.preventDefault();
    const by = event.deltaY === 0 ? event.deltaX : event.deltaY;
    const left = event.clientX - plot.over.getBoundingClientRect().left;
    if (event.shiftKey) {
      this.#handlers.onPanStart();
      this.#handlers.onPan(Math.sign(by) * 0.1);
    } else this.#handlers.onZoom(by > 0 ? 1.3 : 1 / 1.3, plot.posToVal(left, 'x') * 1_000);
  };

  /** A finger moves the cursor sideways and the page up and down. */
  #listenToTouch({ over }: uPlot): void {
    const move = (event: PointerEvent): void => {
      if (event.pointerType !== 'touch' || this.#plot === null) return;
      const left = event.clientX - over.getBoundingClientRect().left;
      this.#handlers.onCursor(this.#plot.posToVal(Math.max(0, left), 'x') * 1_000);
    };
    over.addEventListener('pointerdown', move);
    over.addEventListener('pointermove', move);
  }

  #startPan(event: MouseEvent, plot: uPlot): void {
    const width = plot.over.clientWidth;
    const handlers = this.#handlers;
    handlers.onPanStart();
    const move = (next: MouseEvent): void => handlers.onPan((event.clientX - next.clientX) / width);
    const end = (): void => {
      removeEventListener('mousemove', move);
      removeEventListener('mouseup', end);
    };
    addEventListener('mousemove', move);
    addEventListener('mouseup', end);
  }

  #options(view: PlotView): uPlot.Options {
    const now = (): Drawn => this.#drawn!;
    const grid = { stroke: () => now().palette.line, width: 1 };
    const axis = { stroke: () => now().palette.muted, font: now().palette.font, ticks: { show: false }, grid };
    return {
      ...this.#size,
      padding: [8, 18, 0, 0],
      legend: { show: false },
      series: [{}, ...seriesOf(view, now)],
      bands: bandsOf(view, now),
      scales: {
        x: { time: true, auto: false, min: view.span.fromMs / 1_000, max: view.span.toMs / 1_000 },
        y: { range: (_, least, greatest) => yRange(now().view, least, greatest) },
      },
      axes: [
        { ...axis, size: 26, gap: 4, space: 76, values: (_, splits, __, ___, increment) => timeTicks(splits, increment) },
        {
          ...axis,
          size: AXIS_PX,
          gap: 6,
          space: 32,
          incrs: tickSteps(view.unit),
          values: (_, splits) => splits.map((value) => formatTick(value, view.unit)),
        },
      ],
      cursor: {
        y: false,
        points: { size: 6, width: 1.5, fill: () => now().palette.surface, stroke: (u, place) => String(strokeOf(u, place)) },
        drag: { x: true, y: false, setScale: false, dist: 5 },
        bind: {
          mousedown: (u, _, handle) => (event) => {
            if (event.button === 0 && event.shiftKey) this.#startPan(event, u);
            else handle(event);
            return null;
          },
          dblclick: (u) => () => {
            this.#handlers.onZoom(2, u.posToVal(u.cursor.left ?? 0, 'x') * 1_000);
            return null;
          },
        },
      },
      hooks: {
        drawClear: [(u) => drawMarks(u, now().view, now().palette)],
        draw: [
          (u) => {
            drawBounds(u, now().view, now().palette);
            drawAheads(u, now().view, now().palette);
            placeMarks(u, this.#marks, now().view);
          },
        ],
        setCursor: [
          (u) => {
            if (this.#moving) return;
            const left = u.cursor.left ?? -1;
            this.#handlers.onCursor(left < 0 ? null : u.posToVal(left, 'x') * 1_000);
          },
        ],
        setSelect: [
          (u) => {
            const { left, width } = u.select;
            if (width < 5) return;
            u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            this.#handlers.onSelect(u.posToVal(left, 'x') * 1_000, u.posToVal(left + width, 'x') * 1_000);
          },
        ],
      },
    };
  }
}

function strokeOf(u: uPlot, place: number): unknown {
  const stroke = u.series[place]?.stroke;
  return typeof stroke === 'function' ? stroke(u, place) : stroke;
}

/** Each line, and after all lines the least and greatest of those that have them. */
function dataOf({ xs, lines }: PlotView): uPlot.AlignedData {
  const extremes = lines.flatMap(({ least, greatest }) => (least === undefined || greatest === undefined ? [] : [least, greatest]));
  return [xs, ...lines.map(({ drawn }) => drawn), ...extremes] as uPlot.AlignedData;
}

function seriesOf({ lines }: PlotView, now: () => Drawn): uPlot.Series[] {
  const tone = (of: number) => now().palette.tones[of] ?? now().palette.text;
  const drawn = lines.map((line): uPlot.Series => ({
    label: line.label,
    // The layers of a stack are told apart by their fills: thin ones would be nothing but outline.
    stroke: () => (line.upon === undefined ? tone(line.tone) : faded(tone(line.tone), 0.8)),
    width: line.upon !== undefined ? 0.6 : line.tone === 0 ? 1 : 1.5,
    ...(line.dashed === true ? { dash: [5, 4] } : {}),
    ...(line.upon === null ? { fill: () => faded(tone(line.tone), FILL) } : {}),
    points: { show: true, size: 4, filter: (u, place) => lonePoints(u, place) },
  }));
  const extremes = lines.flatMap(({ least, tone: of }): uPlot.Series[] =>
    least === undefined ? [] : [0, 1].map(() => ({ stroke: () => faded(tone(of), 0), width: 0, points: { show: false } })),
  );
  return [...drawn, ...extremes.map((series) => ({ ...series, class: 'extreme' }))];
}

function bandsOf({ lines }: PlotView, now: () => Drawn): uPlot.Band[] {
  const tone = (of: number) => now().palette.tones[of] ?? now().palette.text;
  const bands: uPlot.Band[] = [];
  lines.forEach((line, place) => {
    if (typeof line.upon === 'number') bands.push({ series: [place + 1, line.upon + 1], fill: () => faded(tone(line.tone), FILL) });
  });
  let at = lines.length + 1;
  for (const { least, tone: of } of lines) {
    if (least === undefined) continue;
    bands.push({ series: [at + 1, at], fill: () => faded(tone(of), 0.2) });
    at += 2;
  }
  return bands;
}
