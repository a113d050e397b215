/** The sites in one line: each with what is wrong in it, and a way to see it alone. */
import type { JSX } from 'preact';
import { countOf, formatCount } from '../format/quantities.ts';
import type { FleetView } from './view.ts';

/** One site needs no choice; more than these are chosen from the list beside the filter. */
const SITES_MOST = 12;

export function Sites({ view }: { view: FleetView }): JSX.Element | null {
  const sites = view.sites.value;
  const chosen = view.view.value.site;
  if (sites.length < 2 || sites.length > SITES_MOST) return null;
  return (
    <ul class="sites" aria-label="Sites">
      {sites.map(({ site, nodes, down, critical, warning }) => {
        const wrong = [
          down > 0 ? `${formatCount(down)} down` : '',
          critical > 0 ? `${formatCount(critical)} critical` : '',
          warning > 0 ? `${formatCount(warning)} to watch` : '',
        ].filter(Boolean);
        return (
          <li key={site}>
            <button
              type="button"
              class="site"
              aria-pressed={chosen === site}
              title={`${countOf(nodes, 'node')}${wrong.length === 0 ? ', nothing wrong' : `: ${wrong.join(', ')}`}`}
              onClick={() => view.change({ site: chosen === site ? null : site })}
            >
              <span class="site-name">{site === '' ? '(no site)' : site}</span>
              <span class="site-nodes">{formatCount(nodes)}</span>
              {down > 0 ? <span class="site-bad">{formatCount(down)} down</span> : null}
              {critical > 0 ? <span class="site-bad">{formatCount(critical)} critical</span> : null}
              {warning > 0 ? <span class="site-warn">{formatCount(warning)} to watch</span> : null}
              {wrong.length === 0 ? <span class="site-good">in order</span> : null}
            </button>
          </li>
        );
      })}
    </ul>
  );
}
