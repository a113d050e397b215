/** Nodes, layouts and reports for tests, with as few words as a test needs. */
import type { Labels, MetricType, Observation } from '@tidemark/protocol';
import type { NodeRecord } from '../fleet/node.ts';
import type { AcceptedReport, BlockLayout, SeriesInfo } from '../stream/stream.ts';
import type { Fleet } from './metrics-page.ts';

export const START = Date.UTC(2026, 0, 1);

export function nodeOf(id: number, name: string, more: Partial<NodeRecord> = {}): NodeRecord {
  return {
    id,
    name,
    state: 'approved',
    site: 'north',
    tags: {},
    createdAt: START,
    agentVersion: '0.1.0',
    intervalSeconds: 15,
    ...more,
  };
}

export function fleetOf(...nodes: NodeRecord[]): Fleet & { byId(id: number): NodeRecord | undefined } {
  return {
    all: () => nodes,
    byName: (name) => nodes.find((node) => node.name === name && node.state !== 'retired'),
    byId: (id) => nodes.find((node) => node.id === id),
  };
}

export function seriesOf(metric: string, labels: Labels = [], more: { type?: MetricType; help?: string; unit?: string } = {}): SeriesInfo {
  return { metric, labels, unit: '', type: 'gauge', help: `Help of ${metric}.`, ...more };
}

export function layoutOf(probe: string, series: readonly SeriesInfo[], instance = ''): BlockLayout {
  return { probe, instance, series };
}

/** A live, full report of boot "a", one second after `START` for each sequence number, unless told otherwise. */
export function reportOf(
  node: NodeRecord,
  sequence: number,
  blocks: readonly (readonly [BlockLayout, readonly (number | null)[]])[],
  more: Partial<AcceptedReport> & { observations?: readonly Observation[] } = {},
): AcceptedReport {
  const at = more.at ?? START + sequence * 1_000;
  return {
    node,
    bootId: 'a',
    sequence,
    at,
    receivedAt: at,
    live: true,
    partial: false,
    blocks: blocks.map(([layout, values]) => ({ layout, values })),
    observations: [],
    ...more,
  };
}

export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

export interface ParsedPage {
  samples: Sample[];
  types: Record<string, string>;
  helps: Record<string, string>;
}

/** Reads a metrics page back, and throws for what Prometheus would refuse: a line out of its group, a group twice, a series twice. */
export function parsePage(page: string): ParsedPage {
  const parsed: ParsedPage = { samples: [], types: {}, helps: {} };
  const seen = new Set<string>();
  if (page !== '' && !page.endsWith('\n')) throw new Error('the last line has no end');
  let current = '';
  for (const line of page.split('\n').slice(0, -1)) {
    const header = /^# (HELP|TYPE) ([a-zA-Z_][a-zA-Z0-9_]*) (.*)$/s.exec(line);
    if (header) {
      const [, kind, name, text] = header;
      const target = kind === 'TYPE' ? parsed.types : parsed.helps;
      if (Object.hasOwn(target, name!)) throw new Error(`second ${kind!} of ${name!}`);
      target[name!] = text!;
      current = name!;
      continue;
    }
    const match = /^([a-zA-Z_][a-zA-Z0-9_]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\[\\"n])*",?)*)\})? (\S+)$/s.exec(line);
    if (!match) throw new Error(`not a line: ${JSON.stringify(line)}`);
    const name = match[1]!;
    if (!['', '_bucket', '_sum', '_count'].some((end) => name === current + end)) throw new Error(`${name} among ${current}`);
    const sample = { name, labels: parseLabels(match[2] ?? ''), value: Number(match[3]!.replace('Inf', 'Infinity')) };
    const labels = Object.entries(sample.labels).filter(([, value]) => value !== '');
    const identity = JSON.stringify([name, labels.toSorted(([a], [b]) => (a < b ? -1 : 1))]);
    if (seen.has(identity)) throw new Error(`series twice: ${line}`);
    seen.add(identity);
    parsed.samples.push(sample);
  }
  return parsed;
}

function parseLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const [, name, escaped] of text.matchAll(/([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/gs)) {
    if (Object.hasOwn(labels, name!)) throw new Error(`label ${name!} twice`);
    labels[name!] = escaped!.replace(/\\(.)/gs, (_, character: string) => (character === 'n' ? '\n' : character));
  }
  return labels;
}
