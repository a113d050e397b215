/**
 * Prometheus's text format 0.0.4, the parts that depend on nothing else: escaping, numbers, and a layout
 * block turned into the pieces of its lines once, so that a page is little more than joining them.
 */
import type { MetricType } from '@tidemark/protocol';
import type { BlockLayout, SeriesInfo } from '../stream/stream.ts';

export const EXPOSITION_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** A value as Prometheus reads it. */
export function formatValue(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  if (value === Number.NEGATIVE_INFINITY) return '-Inf';
  return `${value}`;
}

/** NUL ends the input for some parsers, and half a surrogate pair is no UTF-8. */
function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- NUL is the very character that is meant
  return text.replace(/\u0000|\p{Surrogate}/gu, '\uFFFD');
}

export function escapeLabelValue(value: string): string {
  // Nearly all values are plain: one look says so.
  return /^[\w ./:-]*$/.test(value) ? value : printable(value).replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n');
}

function escapeHelp(help: string): string {
  return printable(help).replace(/\\/g, '\\\\').replace(/\n/g, '\\n');
}

/** The two lines that open a metric's samples; a metric without a help text has only the second. */
export function familyHeader(name: string, type: MetricType | 'untyped', help: string): string {
  return `${help === '' ? '' : `# HELP ${name} ${escapeHelp(help)}\n`}# TYPE ${name} ${type}\n`;
}

/** The opening of a series' labels for one node: what follows is the rest of the labels out of a block. */
export function nodeLabels(node: string, site: string): string {
  return `{node="${escapeLabelValue(node)}",site="${escapeLabelValue(site)}"`;
}

/** Labels that the collector sets itself. An agent's label of that name is shown as `exported_…`, as Prometheus does. */
const OWN_LABELS = ['node', 'site'];

/**
 * An agent's labels as they are shown beside `node` and `site`: sorted by name, each name once (the last
 * counts, as in the store), without empty values, which mean the same as no label. Equal results are one series.
 */
export function shownLabels(labels: SeriesInfo['labels']): [name: string, value: string][] {
  const given = new Map(labels);
  const shown = [...given].filter(([name, value]) => value !== '' && !OWN_LABELS.includes(name));
  for (const own of OWN_LABELS) {
    const value = given.get(own);
    if (value === undefined || value === '') continue;
    let name = `exported_${own}`;
    while (shown.some(([other]) => other === name)) name = `exported_${name}`;
    shown.push([name, value]);
  }
  return shown.toSorted(([a], [b]) => (a < b ? -1 : 1));
}

/** The series of one metric in one block: where their values lie, and their lines' text between node and value. */
export interface BlockFamily {
  readonly name: string;
  readonly type: MetricType;
  readonly help: string;
  readonly positions: number[];
  readonly rests: string[];
}

/** A block taken apart by metric. A series that the block has twice is left out after its first position. */
export function compileLayout(layout: BlockLayout): readonly BlockFamily[] {
  const families = new Map<string, BlockFamily>();
  const seen = new Set<string>();
  layout.series.forEach((series, position) => {
    // One join, so that what is kept is one flat string.
    const rest = [...shownLabels(series.labels).map(([name, value]) => `,${name}="${escapeLabelValue(value)}"`), '} '].join('');
    const identity = series.metric + rest;
    if (seen.has(identity)) return;
    seen.add(identity);
    let family = families.get(series.metric);
    if (family === undefined) {
      family = { name: series.metric, type: series.type, help: series.help, positions: [], rests: [] };
      families.set(series.metric, family);
    }
    family.positions.push(position);
    family.rests.push(rest);
  });
  return [...families.values()];
}
