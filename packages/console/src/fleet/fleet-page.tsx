/** The first page: all nodes, what is wrong first. Every state it can be in is drawn here: no figures yet, none at all, no rights, figures. */
import type { JSX } from 'preact';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import { explain } from '../api/failure.ts';
import { useConsole } from '../context.ts';
import { countOf, formatCount } from '../format/quantities.ts';
import { Notice } from '../look/notice.tsx';
import { AddNode } from '../node/add-node.tsx';
import { FleetTable } from './fleet-table.tsx';
import { Sites } from './site-strip.tsx';
import { CountLine, Extremes } from './summary.tsx';
import { createFleetView, type FleetView } from './view.ts';

function WithoutFigures(): JSX.Element {
  const { feed } = useConsole();
  const link = feed.link.value;
  if (link.kind === 'lost')
    return (
      <Notice title="The collector does not answer">
        <p>This page tries again by itself.</p>
      </Notice>
    );
  if (link.kind !== 'troubled') return <Notice title="Fetching the fleet…" busy />;
  const { failure } = link;
  if (failure.kind === 'forbidden')
    return (
      <Notice title="You may not see the fleet">
        <p>{explain(failure)}</p>
        <p>Sign out and use a token that may, or ask the administrator for one.</p>
      </Notice>
    );
  return (
    <Notice title="No figures yet">
      <p>{explain(failure)}</p>
      <p>This page tries again by itself.</p>
    </Notice>
  );
}

function EmptyFleet(): JSX.Element {
  return (
    <section class="page-narrow empty-fleet">
      <h1>No nodes yet</h1>
      <p class="lead">
        A node is a machine with the Tidemark agent on it. Install the first one with these commands; it appears here by itself.
      </p>
      <AddNode />
    </section>
  );
}

/** "/" leads to the filter from everywhere on the page, as long as nothing is being typed. */
function useSlash(field: { current: HTMLInputElement | null }): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target instanceof Element && event.target.closest('input, textarea, select') !== null) return;
      event.preventDefault();
      field.current?.focus();
      field.current?.select();
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, [field]);
}

function Filters({ view }: { view: FleetView }): JSX.Element {
  const field = useRef<HTMLInputElement>(null);
  useSlash(field);
  const { query, site } = view.view.value;
  const { sites } = view.counts.value;
  const shown = view.rows.value.length;
  const all = view.nodes.value.length;
  const offered = site === null || sites.includes(site) ? sites : [site, ...sites];
  return (
    <div class="filters" role="search" aria-label="Nodes">
      <div class="filter-box">
        <input
          ref={field}
          class="field"
          type="search"
          aria-label="Filter by name, site, tag or state"
          placeholder="Filter: name, site, tag, state"
          value={query}
          autocomplete="off"
          spellcheck={false}
          onInput={(event) => view.change({ query: event.currentTarget.value })}
          onKeyDown={(event) => {
            if (event.key !== 'Escape') return;
            view.change({ query: '' });
            event.currentTarget.blur();
          }}
        />
        <kbd aria-hidden="true">/</kbd>
      </div>
      <select
        class="field"
        aria-label="Site"
        value={site ?? ''}
        onChange={(event) => view.change({ site: event.currentTarget.selectedIndex === 0 ? null : event.currentTarget.value })}
      >
        <option value="">All sites</option>
        {offered.map((each) => (
          <option key={each} value={each}>
            {each === '' ? '(no site)' : each}
          </option>
        ))}
      </select>
      <p class="shown muted" role="status">
        {shown === all ? '' : `${formatCount(shown)} of ${countOf(all, 'node')}`}
      </p>
    </div>
  );
}

function Fleet({ view }: { view: FleetView }): JSX.Element {
  return (
    <div class="fleet">
      <div class="fleet-title">
        <h1>Fleet</h1>
        <CountLine counts={view.counts.value} view={view} />
        <Filters view={view} />
      </div>
      <Extremes nodes={view.nodes.value} />
      <Sites view={view} />
      {view.rows.value.length === 0 ? (
        <div class="no-match">
          <p>No node matches.</p>
          <button type="button" class="button" onClick={() => view.change({ query: '', site: null })}>
            Show all {countOf(view.nodes.value.length, 'node')}
          </button>
        </div>
      ) : (
        <FleetTable view={view} />
      )}
    </div>
  );
}

export function FleetPage(): JSX.Element {
  const { feed } = useConsole();
  const view = useMemo(() => createFleetView(feed), [feed]);
  useEffect(() => () => view.dispose(), [view]);
  if (feed.figures.value === null) return <WithoutFigures />;
  return view.nodes.value.length === 0 ? <EmptyFleet /> : <Fleet view={view} />;
}
