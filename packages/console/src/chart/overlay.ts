/** What is drawn over or under the lines: bounds, alerts while they were open, and where a line goes on to. */
import type uPlot from 'uplot';
import { faded, type Palette } from './palette.ts';
import type { PlotView } from './plot.ts';

/** One width for all, so that a moment lies at the same place in every chart. */
export const AXIS_PX = 58;
const MARK_LEAST_PX = 3;

const ratio = (u: uPlot): number => u.ctx.canvas.width / u.width;

/** Draws only inside the plot. */
function clipped(u: uPlot, draw: (context: CanvasRenderingContext2D) => void): void {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  draw(ctx);
  ctx.restore();
}

/** Dashed lines at the bounds; amber and red need no name. */
export function drawBounds(u: uPlot, { bounds }: PlotView, palette: Palette): void {
  if (bounds === undefined) return;
  const lines: [number | undefined, string, string][] = [
    [bounds.warning, palette['warn-fill'], ''],
    [bounds.critical, palette['bad-fill'], ''],
    [bounds.other?.value, palette['line-strong'], bounds.other?.label ?? ''],
  ];
  clipped(u, (ctx) => {
    const px = ratio(u);
    for (const [value, colour, label] of lines) {
      if (value === undefined) continue;
      const y = Math.round(u.valToPos(value, 'y', true)) + 0.5;
      if (y < u.bbox.top) continue;
      ctx.setLineDash([4 * px, 4 * px]);
      ctx.lineWidth = px;
      ctx.strokeStyle = faded(colour, 0.75);
      ctx.beginPath();
      ctx.moveTo(u.bbox.left, y);
      ctx.lineTo(u.bbox.left + u.bbox.width, y);
      ctx.stroke();
      if (label === '') continue;
      ctx.font = `${10 * px}px ${palette.font.slice(palette.font.indexOf(' ') + 1)}`;
      ctx.textAlign = 'left';
      ctx.textBaseline = 'middle';
      // On a ground of its own: lines may pass behind it.
      ctx.fillStyle = palette.surface;
      ctx.fillRect(u.bbox.left + 6 * px, y - 7 * px, ctx.measureText(label).width + 8 * px, 14 * px);
      ctx.fillStyle = palette.muted;
      ctx.fillText(label, u.bbox.left + 10 * px, y);
    }
  });
}

/** Where lines go on to, dashed, from "now" on. */
export function drawAheads(u: uPlot, { lines, nowMs }: PlotView, palette: Palette): void {
  if (!lines.some(({ ahead }) => ahead !== undefined)) return;
  clipped(u, (ctx) => {
    const px = ratio(u);
    const now = Math.round(u.valToPos(nowMs / 1_000, 'x', true)) + 0.5;
    ctx.lineWidth = px;
    ctx.strokeStyle = palette['line-strong'];
    ctx.beginPath();
    ctx.moveTo(now, u.bbox.top);
    ctx.lineTo(now, u.bbox.top + u.bbox.height);
    ctx.stroke();
    ctx.setLineDash([5 * px, 4 * px]);
    ctx.lineWidth = 1.5 * px;
    for (const { ahead, tone } of lines) {
      if (ahead === undefined) continue;
      ctx.strokeStyle = palette.tones[tone] ?? palette.text;
      ctx.beginPath();
      ctx.moveTo(u.valToPos(ahead.fromMs / 1_000, 'x', true), u.valToPos(ahead.from, 'y', true));
      ctx.lineTo(u.valToPos(ahead.toMs / 1_000, 'x', true), u.valToPos(ahead.to, 'y', true));
      ctx.stroke();
    }
  });
}

/** Bands under the lines while alerts were open. */
export function drawMarks(u: uPlot, { marks, nowMs }: PlotView, palette: Palette): void {
  if (marks.length === 0) return;
  clipped(u, (ctx) => {
    const px = ratio(u);
    for (const { fromMs, toMs, level } of marks) {
      const colour = level === 'critical' ? palette['bad-fill'] : palette['warn-fill'];
      const left = u.valToPos(fromMs / 1_000, 'x', true);
      const width = Math.max(MARK_LEAST_PX * px, u.valToPos((toMs ?? nowMs) / 1_000, 'x', true) - left);
      ctx.fillStyle = faded(colour, 0.12);
      ctx.fillRect(left, u.bbox.top, width, u.bbox.height);
      ctx.fillStyle = faded(colour, 0.9);
      ctx.fillRect(left, u.bbox.top, Math.max(px, Math.min(1.5 * px, width)), u.bbox.height);
    }
  });
}

/** A link at the top of each band: what the alert was, to be read and followed. */
export function placeMarks(u: uPlot, host: HTMLElement, { marks, span, nowMs }: PlotView): void {
  const shown = marks.filter(({ fromMs, toMs }) => fromMs < span.toMs && (toMs ?? nowMs) > span.fromMs);
  host.style.left = u.over.style.left;
  host.style.top = u.over.style.top;
  host.style.width = u.over.style.width;
  host.replaceChildren(
    ...shown.map(({ fromMs, toMs, level, title, href }) => {
      const link = document.createElement('a');
      link.className = `chart-mark chart-mark-${level}`;
      link.href = href;
      // For the pointer: by keyboard the same alerts are at the page's head, once and not in every chart.
      link.tabIndex = -1;
      link.title = title;
      link.setAttribute('aria-label', title);
      const left = u.valToPos(Math.max(fromMs, span.fromMs) / 1_000, 'x');
      link.style.left = `${left}px`;
      link.style.width = `${Math.max(8, u.valToPos(Math.min(toMs ?? nowMs, span.toMs) / 1_000, 'x') - left)}px`;
      return link;
    }),
  );
}
