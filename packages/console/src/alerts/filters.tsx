/** The filter of alerts: text, level, site and rule. It lives in the address; only what occurs is offered. */
import type { AlertView } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { countOf, formatCount } from '../format/quantities.ts';
import { useSlash } from '../look/use-slash.ts';
import { EVERYTHING, filterQuery, type Filter } from './arrange.ts';

interface Choice {
  value: string;
  label: string;
}

/** What occurs in alerts, in order; what is chosen is offered too, though it occurs no more. */
function occurring(alerts: readonly AlertView[], read: (alert: AlertView) => Choice, chosen: string | null): Choice[] {
  const found = new Map(alerts.map((alert) => [read(alert).value, read(alert)]));
  if (chosen !== null && !found.has(chosen)) found.set(chosen, { value: chosen, label: chosen === '' ? '(no site)' : chosen });
  return [...found.values()].toSorted((a, b) => a.label.localeCompare(b.label, 'en', { numeric: true }));
}

function Choose(props: {
  label: string;
  all: string;
  value: string | null;
  choices: readonly Choice[];
  onChange: (value: string | null) => void;
}): JSX.Element {
  return (
    <select
      class="field"
      aria-label={props.label}
      value={props.value === null ? '' : `=${props.value}`}
      onChange={(event) => {
        const { value } = event.currentTarget;
        props.onChange(value === '' ? null : value.slice(1));
      }}
    >
      <option value="">{props.all}</option>
      {props.choices.map((choice) => (
        <option key={choice.value} value={`=${choice.value}`}>
          {choice.label}
        </option>
      ))}
    </select>
  );
}

export function AlertFilters(props: {
  alerts: readonly AlertView[];
  shown: number;
  filter: Filter;
  onChange: (filter: Filter) => void;
}): JSX.Element {
  const { filter, alerts } = props;
  const field = useSlash();
  const change = (part: Partial<Filter>): void => props.onChange({ ...filter, ...part });
  return (
    <div class="filters" role="search" aria-label="Alerts">
      <div class="filter-box">
        <input
          ref={field}
          class="field"
          type="search"
          aria-label="Filter by node, title, label or name"
          placeholder="Filter: node, title, label, name"
          value={filter.text}
          autocomplete="off"
          spellcheck={false}
          onInput={(event) => change({ text: event.currentTarget.value })}
          onKeyDown={(event) => {
            if (event.key !== 'Escape') return;
            change({ text: '' });
            event.currentTarget.blur();
          }}
        />
        <kbd aria-hidden="true">/</kbd>
      </div>
      <Choose
        label="Level"
        all="All levels"
        value={filter.level}
        choices={[
          { value: 'critical', label: 'Critical' },
          { value: 'warning', label: 'Warning' },
        ]}
        onChange={(level) => change({ level: level === 'critical' || level === 'warning' ? level : null })}
      />
      <Choose
        label="Site"
        all="All sites"
        value={filter.site}
        choices={occurring(alerts, ({ site }) => ({ value: site, label: site === '' ? '(no site)' : site }), filter.site)}
        onChange={(site) => change({ site })}
      />
      <Choose
        label="Rule"
        all="All rules"
        value={filter.rule}
        choices={occurring(alerts, ({ rule, title }) => ({ value: rule, label: title }), filter.rule)}
        onChange={(rule) => change({ rule })}
      />
      <p class="shown muted" role="status">
        {filterQuery(filter) === filterQuery(EVERYTHING) ? '' : `${formatCount(props.shown)} of ${countOf(alerts.length, 'alert')}`}
      </p>
    </div>
  );
}
