/** One quiet line: on which nodes agents found PostgreSQL servers that nobody watches. The commands stand on the nodes' pages. */
import { useComputed } from '@preact/signals';
import type { JSX } from 'preact';
import { useConsole } from '../context.ts';
import { countOf } from '../format/quantities.ts';
import { nodePath } from '../router.ts';
import { foundOn } from './found.ts';

/** Nodes that are named before the rest is counted. */
const NAMED_MOST = 5;

export function FoundLine(): JSX.Element | null {
  const { feed } = useConsole();
  const found = useComputed(() => foundOn(feed.figures.value?.overview.nodes ?? [])).value;
  if (found === null) return null;
  const { servers, nodes } = found;
  const named = nodes.length <= NAMED_MOST + 1 ? nodes : nodes.slice(0, NAMED_MOST);
  return (
    <p class="r-found">
      {countOf(servers, 'PostgreSQL server')} {servers === 1 ? 'was' : 'were'} found that nobody watches:{' '}
      {named.map((node, place) => (
        <span key={node.name}>
          {place === 0 ? '' : ', '}
          <a href={nodePath(node.name)}>
            <bdi>{node.name}</bdi>
          </a>
          {node.servers === 1 ? '' : ` (${node.servers})`}
        </span>
      ))}
      {named.length < nodes.length ? ` and ${countOf(nodes.length - named.length, 'more node')}` : ''}. How to watch{' '}
      {servers === 1 ? 'it' : 'them'} stands on {nodes.length === 1 ? "the node's page" : "the nodes' pages"}.
    </p>
  );
}
