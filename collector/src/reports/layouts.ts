/**
 * What positions mean, per node: layout blocks by hash, with the permanent ids that the store gives them.
 * Nodes whose blocks say the same share one BlockLayout object, so that a fleet of equal machines costs
 * little more memory than one.
 */
import { createHash } from 'node:crypto';
import type { Layout } from '@tidemark/protocol';
import type { BlockLayout } from '../stream/stream.ts';

export interface KnownLayout {
  readonly hash: string;
  readonly layout: BlockLayout;
  /** The layout's id in the store; undefined until it was written there. */
  id: number | undefined;
}

const shared = new Map<string, WeakRef<BlockLayout>>();
const forgotten = new FinalizationRegistry<string>((key) => {
  if (shared.get(key)?.deref() === undefined) shared.delete(key);
});

/** NUL cannot be stored as text in PostgreSQL, and half a surrogate pair is no character: both become U+FFFD. */
export function storableText(text: string): string {
  // oxlint-disable-next-line no-control-regex -- NUL is the very character that is meant
  return text.replace(/\u0000/g, '\uFFFD').toWellFormed();
}

/** The shared description of a block. Unknown fields of a newer agent are left out. */
export function describeBlock(layout: Pick<Layout, 'probe' | 'instance' | 'series'>): BlockLayout {
  const description: BlockLayout = {
    probe: storableText(layout.probe),
    instance: storableText(layout.instance),
    series: layout.series.map((s) => ({
      metric: s.name,
      // In one order, whoever described it: the store does not keep the agent's.
      labels: s.labels
        .map(([name, value]): [string, string] => [name, storableText(value)])
        .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)),
      unit: storableText(s.unit),
      type: s.type,
      help: storableText(s.help),
    })),
  };
  const key = createHash('sha256').update(JSON.stringify(description)).digest('base64');
  const known = shared.get(key)?.deref();
  if (known !== undefined) return known;
  shared.set(key, new WeakRef(description));
  forgotten.register(description, key);
  return description;
}
