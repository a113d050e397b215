/** Who belongs to the fleet: every node with its state, and what can be done to it. What wants a decision stands first. */
import { useComputed, useSignal } from '@preact/signals';
import type { NodeSummary } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { addressOf } from '../base.ts';
import { openAlertsOf, renewOpenAlerts } from '../alerts/open-alerts.ts';
import { explain, type Failure } from '../api/failure.ts';
import { useConsole } from '../context.ts';
import { CONDITION_WORDS } from '../fleet/standing.ts';
import { NOTHING, countOf, formatCount } from '../format/quantities.ts';
import { pollingSource, type LiveSource } from '../live/source.ts';
import { formatClock, formatUtc } from '../format/times.ts';
import { Ago } from '../look/moment.tsx';
import { Notice } from '../look/notice.tsx';
import { useSlash } from '../look/use-slash.ts';
import { ConditionShape } from '../look/symbols.tsx';
import { nodePath } from '../router.ts';
import { useMayChange } from '../session/rights.ts';
import { ClaimLine } from './claim.tsx';
import { arrangeNodes, listed, waits, type ListedNode } from './list.ts';
import { NodeSteps } from './steps.tsx';
import './nodes.css';

const EVERY_MS = 30_000;
const RETRY_MS = 3_000;
/** So many rows are drawn at first: who looks for one types its name. */
const SHOWN = 100;

function useNodes() {
  const { api, feed } = useConsole();
  const nodes = useSignal<readonly NodeSummary[] | null>(null);
  const failure = useSignal<Failure | null>(null);
  const asked = useRef<LiveSource | null>(null);
  useEffect(() => {
    const source = pollingSource({
      ask: (withdrawn) => api.nodes(withdrawn),
      periodMs: EVERY_MS,
      retryMs: RETRY_MS,
      onAnswer: (answer) => {
        failure.value = answer.ok ? null : answer.failure;
        if (answer.ok) nodes.value = answer.value.nodes;
        feed.heard(answer);
      },
    });
    asked.current = source;
    const detach = feed.attach(source);
    const unlisten = feed.listen((event) => {
      if (event.name === 'changed' && event.data.what === 'nodes') source.start();
    });
    return () => {
      unlisten();
      detach();
    };
  }, [api, feed]);
  return {
    nodes,
    failure,
    renew: () => {
      asked.current?.start();
      renewOpenAlerts();
    },
  };
}

/** The day alone; the moment is on hover. */
function Day({ at }: { at: string }): JSX.Element {
  const atMs = Date.parse(at);
  return (
    <time dateTime={at} title={`${formatClock(atMs, 0)} · ${formatUtc(atMs)}`}>
      {formatClock(atMs, 0).slice(0, 10)}
    </time>
  );
}

function NodeRow({ node, mayChange, renew }: { node: ListedNode; mayChange: boolean; renew: () => void }): JSX.Element {
  const { summary, condition } = node;
  const tags = Object.entries(summary.tags)
    .map(([key, value]) => `${key}=${value}`)
    .join('  ');
  const alerts = openAlertsOf(summary.name).length;
  const claim = summary.claim ?? null;
  const row = (
    <tr class={condition === 'retired' ? 'node-row retired' : 'node-row'} data-node={summary.name}>
      <td>
        <span class={`condition condition-${condition}`}>
          <ConditionShape condition={condition} />
          {CONDITION_WORDS[condition]}
        </span>
      </td>
      <th scope="row">
        {condition === 'retired' ? (
          <bdi>{summary.name}</bdi>
        ) : (
          <a href={nodePath(summary.name)} title={summary.name}>
            <bdi>{summary.name}</bdi>
          </a>
        )}
        {alerts === 0 ? null : (
          <a class="chip chip-warn" href={addressOf(`/alerts?q=${encodeURIComponent(summary.name)}`)}>
            {countOf(alerts, 'alert')}
          </a>
        )}
        {tags === '' ? null : (
          <span class="tags" title={tags}>
            {tags}
          </span>
        )}
      </th>
      <td class="n-site">{summary.site === '' ? NOTHING : summary.site}</td>
      <td class="n-agent">{summary.agentVersion ?? NOTHING}</td>
      <td class="n-seen">
        <Ago at={node.lastSeenAt} />
      </td>
      <td class="n-known">
        <Day at={summary.createdAt} />
      </td>
      {mayChange ? (
        <td class="n-acts">
          <div class="row-acts">
            <NodeSteps node={summary} onDone={renew} />
          </div>
        </td>
      ) : null}
    </tr>
  );
  if (claim === null) return row;
  return (
    <>
      {row}
      <tr class="claim-row">
        <td colSpan={7}>
          <ClaimLine node={summary} claim={claim} mayChange={mayChange} renew={renew} />
        </td>
      </tr>
    </>
  );
}

export function NodesPage(): JSX.Element {
  const { feed } = useConsole();
  const mayChange = useMayChange();
  const { nodes, failure, renew } = useNodes();
  const field = useSlash();
  const text = useSignal('');
  const withRetired = useSignal(false);
  const most = useSignal(SHOWN);
  const all = useComputed(() => listed(nodes.value ?? [], feed.figures.value?.overview.nodes ?? []));
  const shown = useComputed(() => arrangeNodes(all.value, text.value, withRetired.value));
  if (nodes.value === null)
    return failure.value === null ? (
      <Notice title="Fetching the nodes…" busy />
    ) : (
      <Notice title={failure.value.kind === 'forbidden' ? 'You may not see the nodes' : 'The nodes are not known'}>
        <p>{explain(failure.value)} This page tries again by itself.</p>
      </Notice>
    );
  const retired = all.value.filter((node) => node.condition === 'retired').length;
  const pending = all.value.filter(waits).length;
  return (
    <div class="nodes-page">
      <div class="nodes-head">
        <h1>Nodes</h1>
        <p class="count-line">
          <span>{countOf(all.value.length - retired, 'node')}</span>
          {pending > 0 ? <span class="warn">{countOf(pending, 'waits', 'wait')} for approval</span> : null}
          {retired > 0 ? <span>{countOf(retired, 'retired', 'retired')}</span> : null}
        </p>
        <div class="filters" role="search" aria-label="Nodes">
          <input
            ref={field}
            class="field"
            type="search"
            aria-label="Filter by name, site, tag, state or version"
            placeholder="Filter: name, site, tag, state, version"
            value={text.value}
            autocomplete="off"
            spellcheck={false}
            onInput={(event) => {
              text.value = event.currentTarget.value;
              most.value = SHOWN;
            }}
          />
          {retired > 0 ? (
            <label class="check">
              <input
                type="checkbox"
                checked={withRetired.value}
                onChange={(event) => {
                  withRetired.value = event.currentTarget.checked;
                }}
              />
              Retired too
            </label>
          ) : null}
          <a class="button primary" href={addressOf('/add-node')}>
            Add a node
          </a>
        </div>
      </div>
      {mayChange ? null : <p class="muted read-only">You may look, not change: approving and retiring needs the administrator's token.</p>}
      {shown.value.length === 0 ? (
        <p class="no-match">
          {all.value.length === 0 ? (
            <>
              No node is known yet. <a href={addressOf('/add-node')}>Add the first one</a>.
            </>
          ) : (
            'No node matches.'
          )}
        </p>
      ) : (
        <table class="nodes-table" aria-label="Nodes">
          <thead>
            <tr>
              <th scope="col">State</th>
              <th scope="col">Node</th>
              <th scope="col" class="n-site">
                Site
              </th>
              <th scope="col" class="n-agent">
                Agent
              </th>
              <th scope="col" class="n-seen">
                Last seen
              </th>
              <th scope="col" class="n-known">
                Known since
              </th>
              {mayChange ? (
                <th scope="col" class="n-acts">
                  <span class="unseen">What to do</span>
                </th>
              ) : null}
            </tr>
          </thead>
          <tbody>
            {shown.value.slice(0, most.value).map((node) => (
              <NodeRow key={node.summary.id} node={node} mayChange={mayChange} renew={renew} />
            ))}
          </tbody>
        </table>
      )}
      {shown.value.length > most.value ? (
        <p class="more">
          <button
            type="button"
            class="button"
            onClick={() => {
              most.value += 400;
            }}
          >
            Show more
          </button>
          <span class="muted">
            {formatCount(most.value)} of {countOf(shown.value.length, 'node')}
          </span>
        </p>
      ) : null}
    </div>
  );
}
