/** On a node's page: where one of its PostgreSQL servers stands in its cluster, and how far behind. Nothing where it is in none. */
import type { ReplicationCluster, ReplicationInstance } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { bounds } from '../fleet/bounds.ts';
import { countOf } from '../format/quantities.ts';
import { StateMark } from './marks.tsx';
import './replication.css';
import { useReplication } from './use-replication.ts';
import { CERTAINTY_WORDS, MOODS, catchupText, lagLevel, lagText, lossText } from './words.ts';
import { clusterPath } from './view.ts';

function OfReplica({ instance, nowMs }: { instance: ReplicationInstance; nowMs: number }): JSX.Element {
  const { lag, edgeLag, upstream, delaySeconds } = instance;
  const level = lagLevel(lag, delaySeconds, bounds.value.lag);
  const eta = catchupText(instance);
  const own = edgeLag !== null && lag !== null && edgeLag.seconds !== lag.seconds ? edgeLag : null;
  return (
    <>
      <span>
        <strong class={level === 'critical' ? 'bad' : level === 'warning' ? 'warn' : undefined}>{lagText(lag, nowMs)}</strong> behind the
        primary
        {own === null ? '' : `, ${lagText(own, nowMs)} behind its upstream`}
        {eta === null ? '' : `, ${eta}`}
      </span>
      {upstream === null ? null : (
        <span>
          receives from <bdi>{upstream}</bdi>
        </span>
      )}
    </>
  );
}

function OfPrimary({ instance, cluster }: { instance: ReplicationInstance; cluster: ReplicationCluster }): JSX.Element {
  const { primary, splitBrain, rpoBytes, withoutPrimarySeconds } = cluster;
  const replicas = cluster.instances.filter(({ role }) => role === 'replica').length;
  if (splitBrain) return <strong class="bad">one of several that write: split brain</strong>;
  if (primary.id !== instance.id)
    return <strong class="bad">not the primary of this cluster any more: that is {primary.name ?? 'not known'}</strong>;
  return (
    <>
      <span>
        primary ({CERTAINTY_WORDS[primary.certainty]}) of {countOf(replicas, 'replica')}
      </span>
      <span>lost if it were lost now: {lossText(rpoBytes, withoutPrimarySeconds !== null)}</span>
    </>
  );
}

export function ServerStanding({ node, instance: named }: { node: string; instance: string }): JSX.Element | null {
  const known = useReplication(node).known.value;
  if (known === null) return null;
  for (const cluster of known.clusters) {
    const instance = cluster.instances.find((each) => each.node === node && each.instance === named);
    if (instance === undefined) continue;
    return (
      <div class="r-standing">
        <p>
          <StateMark state={instance.state} why={instance.why} />
          {instance.role === 'primary' ? (
            <OfPrimary instance={instance} cluster={cluster} />
          ) : (
            <OfReplica instance={instance} nowMs={Date.parse(known.at)} />
          )}
          <a href={clusterPath(cluster.systemIdentifier)}>
            cluster <bdi>{cluster.name}</bdi>
          </a>
        </p>
        {MOODS[instance.state] === 'good' ? null : <p class="muted">{instance.why}</p>}
      </div>
    );
  }
  return null;
}
