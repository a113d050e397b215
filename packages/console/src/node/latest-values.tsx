/** Every latest value of a node, by name: for those who know what they look for. A long list is cut, and says so. */
import { useSignal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import { useInSight } from '../chart/in-sight.ts';
import type { NodeDetail } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { NOTHING, countOf, formatBytes, formatDuration, formatRatio } from '../format/quantities.ts';

type Latest = NodeDetail['latest'][number];
const SHOWN = 200;

function valueText(series: Latest): string {
  const { value, unit } = series;
  if (value === null) return NOTHING;
  if (typeof value === 'string') return value;
  if (unit === 'bytes') return formatBytes(value);
  if (unit === 'ratio') return formatRatio(value);
  if (unit === 'seconds' && value >= 60 && series.type === 'gauge' && !/(?:^|_)time_seconds$|timestamp/.test(series.metric))
    return formatDuration(value);
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(5)));
}

export function LatestValues({ latest }: { latest: readonly Latest[] }): JSX.Element {
  const query = useSignal('');
  const section = useRef<HTMLElement>(null);
  // Some hundred rows at the end of a long page: drawn when one gets there.
  const wanted = useInSight(section, true).value;
  const needle = query.value.trim().toLowerCase();
  const found = latest.filter((series) => `${series.metric} ${series.labels.flat().join(' ')}`.toLowerCase().includes(needle));
  return (
    <section ref={section} class="latest-section">
      <div class="section-head">
        <h2>Latest values</h2>
        <input
          class="field"
          type="search"
          aria-label="Filter values by metric or label"
          placeholder="Filter: metric or label"
          value={query.value}
          onInput={(event) => {
            query.value = event.currentTarget.value;
          }}
        />
        <p class="muted" role="status">
          {found.length > SHOWN
            ? `the first ${SHOWN} of ${countOf(found.length, 'series', 'series')}`
            : countOf(found.length, 'series', 'series')}
        </p>
      </div>
      <div class="scroller latest-scroller" tabIndex={0} role="region" aria-label="Latest values">
        <table class="latest">
          <thead>
            <tr>
              <th scope="col">Metric</th>
              <th scope="col">Labels</th>
              <th scope="col" class="number">
                Value
              </th>
            </tr>
          </thead>
          <tbody>
            {found.slice(0, wanted ? SHOWN : 0).map((series) => (
              <tr key={`${series.metric} ${JSON.stringify(series.labels)}`}>
                <th scope="row" class="code">
                  {series.metric}
                </th>
                <td class="code muted">{series.labels.map(([name, value]) => `${name}=${value}`).join('  ')}</td>
                <td class="number" title={String(series.value)}>
                  {valueText(series)}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
