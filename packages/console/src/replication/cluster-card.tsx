/** One cluster: its name, who is primary and how sure that is, what would be lost now, and its picture. */
import type { ReplicationCluster } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { useMemo } from 'preact/hooks';
import { countOf } from '../format/quantities.ts';
import { formatUtc } from '../format/times.ts';
import { nodePath } from '../router.ts';
import { SeverityShape } from './marks.tsx';
import type { Problem } from './problems.ts';
import { Topology, widthOf } from './topology.tsx';
import { clusterPath } from './view.ts';
import { CERTAINTY_WORDS, formatMinute, lagWords, lossText } from './words.ts';

/** A cluster with what is wrong with it. */
export interface Judged {
  cluster: ReplicationCluster;
  problems: Problem[];
}

/** From here on a picture has the whole width of the page to itself. */
const WIDE_PX = 620;

export const cardId = (systemIdentifier: string): string => `cluster-${systemIdentifier}`;

function Primary({ cluster, nowMs }: { cluster: ReplicationCluster; nowMs: number }): JSX.Element {
  const { primary } = cluster;
  return (
    <p class="r-primary-line">
      <span class="muted">Primary </span>
      {primary.name === null ? (
        <strong class="bad">{primary.certainty === 'disputed' ? 'disputed' : 'none known'}</strong>
      ) : primary.node === null ? (
        <strong>{primary.name}</strong>
      ) : (
        <a href={nodePath(primary.node)}>{primary.name}</a>
      )}
      {primary.name === null ? null : (
        <>
          {' '}
          <span class={`r-sure sure-${primary.certainty}`}>{CERTAINTY_WORDS[primary.certainty]}</span>
        </>
      )}
      {primary.since === null ? null : (
        <span class="muted">
          {' '}
          since{' '}
          <time dateTime={primary.since} title={formatUtc(Date.parse(primary.since))}>
            {formatMinute(primary.since, nowMs)}
          </time>
        </span>
      )}
      <span class="r-why muted">{primary.why}</span>
    </p>
  );
}

function Facts({ cluster }: { cluster: ReplicationCluster }): JSX.Element {
  const { syncStandbysRequired: required, syncStandbysPresent: present, withoutPrimarySeconds, rpoBytes, instances } = cluster;
  const isGone = withoutPrimarySeconds !== null;
  const isMissing = required !== null && present !== null && present < required;
  const isAlone = !instances.some(({ role }) => role !== 'primary');
  const unwatched = instances.filter(({ watched }) => !watched).length;
  return (
    <dl class="r-facts">
      <div>
        <dt>{isGone ? 'Lost with the primary' : 'Lost if the primary were lost now'}</dt>
        <dd class={isGone && !isAlone && rpoBytes !== 0 ? 'bad' : undefined}>
          {isAlone ? 'all that no backup has: there is no replica' : lossText(rpoBytes, isGone)}
        </dd>
      </div>
      {required === null || required === 0 ? null : (
        <div>
          <dt>Synchronous standbys</dt>
          <dd class={isMissing ? 'bad' : undefined}>
            {present ?? '?'} of {required}
          </dd>
        </div>
      )}
      <div>
        <dt>Instances</dt>
        <dd>
          {instances.length}
          {unwatched === 0 ? null : <span class="muted"> · {unwatched} not watched</span>}
        </dd>
      </div>
    </dl>
  );
}

/** "3 replicas, ≤ 2 s behind", the furthest of them: what a closed card says. */
function summary({ instances }: ReplicationCluster, nowMs: number): string {
  const replicas = instances.filter(({ role }) => role !== 'primary');
  const known = replicas.flatMap(({ lag }) => (lag === null ? [] : [lag]));
  const furthest = known.toSorted((a, b) => (b.upperSeconds ?? Infinity) - (a.upperSeconds ?? Infinity))[0];
  const unknown = replicas.length - known.length;
  const parts = [
    countOf(replicas.length, 'replica'),
    ...(furthest === undefined ? [] : [`${lagWords(furthest, nowMs).value} behind`]),
    ...(unknown === 0 ? [] : [`of ${unknown} not known`]),
  ];
  return parts.join(', ');
}

export function ClusterCard(props: { judged: Judged; open: boolean; alone: boolean; nowMs: number; onToggle: () => void }): JSX.Element {
  const { judged, open, alone, nowMs, onToggle } = props;
  const { cluster, problems } = judged;
  const id = cardId(cluster.systemIdentifier);
  const worst = problems[0]?.level ?? 'good';
  const wide = useMemo(() => widthOf(cluster) > WIDE_PX, [cluster]);
  return (
    <section
      class={`r-card r-card-${worst}${open && (wide || alone) ? ' r-card-wide' : ''}${open ? '' : ' r-card-closed'}`}
      id={id}
      aria-labelledby={`${id}-name`}
      tabIndex={-1}
    >
      <div class="r-card-head">
        <SeverityShape severity={worst} />
        <h3 id={`${id}-name`} title={`System identifier ${cluster.systemIdentifier}`}>
          {alone ? (
            <bdi>{cluster.name}</bdi>
          ) : (
            <a href={clusterPath(cluster.systemIdentifier)}>
              <bdi>{cluster.name}</bdi>
            </a>
          )}
        </h3>
        <span class={worst === 'critical' ? 'bad' : worst === 'warning' ? 'warn' : 'muted'}>
          {worst === 'good' ? 'well' : countOf(problems.length, 'problem')}
        </span>
        {open ? null : <span class="r-card-summary muted">{summary(cluster, nowMs)}</span>}
        {alone ? null : (
          <button type="button" class="button quiet r-toggle" aria-expanded={open} onClick={onToggle}>
            {open ? 'Close' : 'Open'}
            <span class="unseen"> {cluster.name}</span>
          </button>
        )}
      </div>
      {open ? (
        <>
          <div class="r-card-top">
            <Primary cluster={cluster} nowMs={nowMs} />
            <Facts cluster={cluster} />
          </div>
          <Topology cluster={cluster} nowMs={nowMs} />
        </>
      ) : null}
    </section>
  );
}
