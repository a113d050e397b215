/**
 * Replication of all clusters: what is wrong in words, a card and a picture for each, and below them every instance, slot
 * and event. The address holds what is looked for: one cluster, a text, a kind of event.
 */
import { useSignal } from '@preact/signals';
import type { Replication, ReplicationCluster } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { addressOf, collectorUrl } from '../base.ts';
import { explain, type Failure } from '../api/failure.ts';
import { useConsole } from '../context.ts';
import { bounds } from '../fleet/bounds.ts';
import { countOf, formatCount } from '../format/quantities.ts';
import { Command } from '../look/command.tsx';
import { Notice } from '../look/notice.tsx';
import { TideMark } from '../look/symbols.tsx';
import { useSlash } from '../look/use-slash.ts';
import { rememberQuery, step } from '../router.ts';
import { ClusterCard, cardId, type Judged } from './cluster-card.tsx';
import { EventsList } from './events-list.tsx';
import { FoundLine } from './found-line.tsx';
import { SeverityShape } from './marks.tsx';
import { byName } from './picture.ts';
import { problemsOf, worstFirst } from './problems.ts';
import './replication.css';
import { InstancesTable, SlotsTable } from './tables.tsx';
import { useReplication } from './use-replication.ts';
import { matches, viewOf, viewQuery, type View } from './view.ts';

/** Up to here every picture is drawn; beyond, those of clusters that are well wait to be asked for. */
const OPEN_MOST = 8;
/** Lines on top before the rest is counted. */
const PROBLEMS_MOST = 6;

const LEVELS = { critical: 0, warning: 1, good: 2 };
const levelIn = ({ problems }: Judged): number => LEVELS[problems[0]?.level ?? 'good'];

/** What is wrong first, then by name. */
function judge(clusters: readonly ReplicationCluster[], nowMs: number): Judged[] {
  return clusters
    .map((cluster) => ({ cluster, problems: problemsOf(cluster, bounds.value, nowMs) }))
    .toSorted((a, b) => levelIn(a) - levelIn(b) || byName(a.cluster, b.cluster));
}

function Problems({ judged, onGo }: { judged: readonly Judged[]; onGo: (cluster: string) => void }): JSX.Element | null {
  const all = judged
    .flatMap(({ cluster, problems }) => problems.map((problem) => ({ cluster, problem })))
    .toSorted((a, b) => worstFirst(a.problem, b.problem));
  const whole = useSignal(false);
  if (all.length === 0) return null;
  const shown = whole.value || all.length <= PROBLEMS_MOST + 1 ? all : all.slice(0, PROBLEMS_MOST);
  return (
    <section class="r-problems" aria-label="What is wrong">
      <ul>
        {shown.map(({ cluster, problem }) => (
          <li key={`${cluster.systemIdentifier} ${problem.key}`} class={`r-problem r-problem-${problem.level}`}>
            <span class="level-mark">
              <SeverityShape severity={problem.level} />
              <span class="unseen">{problem.level === 'critical' ? 'Critical' : 'Warning'}</span>
            </span>
            <p>
              <strong>{problem.title}:</strong> {problem.text}
            </p>
            {judged.length < 2 ? null : (
              <a
                href={`#${cardId(cluster.systemIdentifier)}`}
                onClick={(event) => {
                  event.preventDefault();
                  onGo(cluster.systemIdentifier);
                }}
              >
                <bdi>{cluster.name}</bdi>
              </a>
            )}
          </li>
        ))}
      </ul>
      {shown.length < all.length ? (
        <button
          type="button"
          class="button quiet"
          onClick={() => {
            whole.value = true;
          }}
        >
          and {all.length - shown.length} more
        </button>
      ) : null}
    </section>
  );
}

function Empty(): JSX.Element {
  return (
    <section class="r-empty">
      <TideMark size={44} />
      <h1>No PostgreSQL cluster is watched yet</h1>
      <FoundLine />
      <p>Start the agent of a database server with the address of its PostgreSQL; its replicas and slots are found by themselves.</p>
      <Command
        label="watch a PostgreSQL server"
        text={`tidemark-agent run --server ${collectorUrl()} \\\n  --postgres 'postgresql://tidemark@/postgres?host=/var/run/postgresql'`}
      />
      <p class="muted">
        Agents look for servers on their machine every ten minutes. What they find and do not watch is named here and on the node's page.{' '}
        <code>tidemark-agent postgres setup</code> prints how to make the role that an agent needs.
      </p>
    </section>
  );
}

function NotKnown({ failure }: { failure: Failure | null }): JSX.Element {
  const { feed } = useConsole();
  if (feed.link.value.kind === 'lost')
    return (
      <Notice title="The collector does not answer">
        <p>How replication stands is not known. This page tries again by itself.</p>
      </Notice>
    );
  if (failure === null || failure.kind === 'aborted') return <Notice title="Fetching replication…" busy />;
  return (
    <Notice title={failure.kind === 'forbidden' ? 'You may not see replication' : 'How replication stands is not known'}>
      <p>{explain(failure)} This page tries again by itself.</p>
    </Notice>
  );
}

function Counts({ judged }: { judged: readonly Judged[] }): JSX.Element {
  const instances = judged.reduce((sum, { cluster }) => sum + cluster.instances.length, 0);
  const troubled = judged.filter(({ problems }) => problems.length > 0);
  const critical = troubled.filter(({ problems }) => problems[0]?.level === 'critical').length;
  return (
    <p class="count-line">
      <span>{countOf(judged.length, 'cluster')}</span>
      <span>{countOf(instances, 'instance')}</span>
      {troubled.length === 0 ? (
        <span class="good">all well</span>
      ) : (
        <span class={critical > 0 ? 'bad' : 'warn'}>{formatCount(troubled.length)} with problems</span>
      )}
    </p>
  );
}

function Clusters({ known }: { known: Replication }): JSX.Element {
  const view = useSignal<View>(viewOf(location.search));
  const at = step.value;
  useEffect(() => {
    view.value = viewOf(location.search);
  }, [at, view]);
  const change = (part: Partial<View>): void => {
    view.value = { ...view.value, ...part };
    rememberQuery('/replication', viewQuery(view.value));
  };
  /** What the viewer opened or closed, against what is usual. */
  const toggled = useSignal<ReadonlyMap<string, boolean>>(new Map());
  const field = useSlash();
  const nowMs = Date.parse(known.at);
  const all = judge(known.clusters, nowMs);
  const { cluster: only, text, kind } = view.value;
  const shown = all.filter(
    ({ cluster }) => (only === null || cluster.systemIdentifier === only || cluster.name === only) && matches(cluster, text),
  );
  const clusters = shown.map(({ cluster }) => cluster);
  const alone = shown.length === 1 && (only !== null || all.length === 1);
  const isUsuallyOpen = ({ problems }: Judged): boolean => alone || problems.length > 0 || shown.length <= OPEN_MOST;
  const isOpen = (each: Judged): boolean => alone || (toggled.value.get(each.cluster.systemIdentifier) ?? isUsuallyOpen(each));
  const drawCard = (each: Judged): JSX.Element => {
    const id = each.cluster.systemIdentifier;
    const open = isOpen(each);
    const toggle = (): void => {
      toggled.value = new Map(toggled.value).set(id, !open);
    };
    return <ClusterCard key={id} judged={each} open={open} alone={alone} nowMs={nowMs} onToggle={toggle} />;
  };
  const go = (systemIdentifier: string): void => {
    toggled.value = new Map(toggled.value).set(systemIdentifier, true);
    requestAnimationFrame(() => {
      const card = document.getElementById(cardId(systemIdentifier));
      card?.scrollIntoView({ block: 'start' });
      card?.focus({ preventScroll: true });
    });
  };
  return (
    <div class="replication-page">
      <div class="r-page-head">
        <h1>Replication</h1>
        <Counts judged={all} />
        <div class="filters" role="search" aria-label="Clusters">
          {only === null ? null : (
            <a class="button" href={addressOf('/replication')}>
              All clusters
            </a>
          )}
          {all.length > 3 && only === null ? (
            <input
              ref={field}
              class="field"
              type="search"
              aria-label="Filter by cluster, instance, site or state"
              placeholder="Filter: cluster, instance, site, state"
              value={text}
              autocomplete="off"
              spellcheck={false}
              onInput={(event) => change({ text: event.currentTarget.value })}
            />
          ) : null}
        </div>
      </div>
      {shown.length === 0 ? (
        <div class="no-match">
          <p>{only === null ? 'No cluster matches.' : 'There is no such cluster.'}</p>
          <button type="button" class="button" onClick={() => change({ cluster: null, text: '' })}>
            Show all {all.length}
          </button>
        </div>
      ) : (
        <>
          <Problems judged={shown} onGo={go} />
          <section class="r-clusters" aria-label="Clusters">
            <h2 class="unseen">Clusters</h2>
            {[shown.filter(isUsuallyOpen), shown.filter((each) => !isUsuallyOpen(each))].map((some, place) =>
              some.length === 0 ? null : (
                <div key={place} class={place === 0 ? 'r-cards' : 'r-cards r-cards-calm'}>
                  {some.map(drawCard)}
                </div>
              ),
            )}
          </section>
          {only === null ? <FoundLine /> : null}
          <section class="r-section">
            <h2>Instances</h2>
            <InstancesTable clusters={clusters} nowMs={nowMs} />
          </section>
          <section class="r-section">
            <h2>Replication slots</h2>
            <SlotsTable clusters={clusters} nowMs={nowMs} />
          </section>
          <section class="r-section" aria-labelledby="replication-events">
            <EventsList clusters={clusters} kind={kind} onKind={(next) => change({ kind: next })} />
          </section>
        </>
      )}
    </div>
  );
}

export function ReplicationPage(): JSX.Element {
  const { known, failure } = useReplication();
  const { feed } = useConsole();
  if (known.value === null) return <NotKnown failure={failure.value} />;
  if (known.value.clusters.length === 0) return <Empty />;
  return (
    <>
      {failure.value === null || feed.stale.value ? null : (
        <p class="warn r-behind" role="status">
          These figures may be behind: asking for them fails just now. {explain(failure.value)}
        </p>
      )}
      <Clusters known={known.value} />
    </>
  );
}
