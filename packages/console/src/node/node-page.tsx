/**
 * One node: what is wrong with it, its figures, its charts over one stretch of time, what the machine is, and every
 * latest value. Charts begin once the node's details say how often it reports and what it measures.
 */
import { useComputed, useSignal } from '@preact/signals';
import type { AlertView, NodeDetail, OverviewNode } from '@tidemark/protocol';
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useMemo } from 'preact/hooks';
import { addressOf } from '../base.ts';
import { explain, type Answer } from '../api/failure.ts';
import { Chart, loadPlot } from '../chart/chart.tsx';
import { createChartGroup, type ChartGroup } from '../chart/group.ts';
import { RangeBar } from '../chart/range-bar.tsx';
import { useConsole } from '../context.ts';
import { bounds as boundsForAll, boundsOf, type BoundsInForce } from '../fleet/bounds.ts';
import { ConditionWord } from '../fleet/fleet-row.tsx';
import { conditionOf } from '../fleet/standing.ts';
import { NOTHING, formatBytes, formatDuration } from '../format/quantities.ts';
import { tick } from '../live/clock.ts';
import type { Feed } from '../live/feed.ts';
import { pollingSource } from '../live/source.ts';
import { RatioLevel } from '../look/level.tsx';
import { Ago, Clock } from '../look/moment.tsx';
import { Notice } from '../look/notice.tsx';
import { fleetQuery } from '../router.ts';
import { chartsOf, type ChartSection } from './charts.ts';
import { Endpoints } from './endpoints.tsx';
import { FileSystems } from './file-systems.tsx';
import { LatestValues } from './latest-values.tsx';
import { Machine, Watched, inventoryOf } from './machine.tsx';
import { OpenAlerts, concerns, marksOf, useNodeAlerts } from './node-alerts.tsx';
import { FoundServers } from './postgres-found.tsx';
import { PostgresServer, serversSeen } from './postgres-servers.tsx';

const EVERY_MS = 5_000;
const RETRY_MS = 2_000;
const INTERVAL_DEFAULT_S = 15;

function Fact({ label, children }: { label: string; children: ComponentChildren }): JSX.Element {
  return (
    <div class="fact">
      <dt>{label}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Facts({ node, detail, bounds }: { node: OverviewNode; detail: NodeDetail | null; bounds: BoundsInForce }): JSX.Element {
  const lost = detail?.lostReports ?? null;
  return (
    <dl class="facts">
      <Fact label="CPU">
        <RatioLevel ratio={node.cpu.usageRatio} bounds={bounds.cpu} />
      </Fact>
      <Fact label={node.memory.totalBytes === null ? 'Memory' : `Memory, of ${formatBytes(node.memory.totalBytes)}`}>
        <RatioLevel ratio={node.memory.usageRatio} bounds={bounds.memory} />
      </Fact>
      <Fact label="Fullest disk">
        <RatioLevel ratio={node.disk.usageRatio} bounds={bounds.disk} />
      </Fact>
      <Fact label="Uptime">{formatDuration(node.uptimeSeconds)}</Fact>
      <Fact label="Last seen">
        <Ago at={node.lastSeenAt} />
      </Fact>
      <Fact label="Agent">
        {detail?.agentVersion ?? NOTHING}
        {detail?.intervalSeconds == null ? null : <span class="muted">every {detail.intervalSeconds} s</span>}
      </Fact>
      <Fact label="Clock off by">
        {node.clockOffsetSeconds === null
          ? NOTHING
          : `${(Math.abs(node.clockOffsetSeconds) < 0.005 ? 0 : node.clockOffsetSeconds).toFixed(2)} s`}
      </Fact>
      <Fact label="Lost reports">
        <span class={lost !== null && lost > 0 ? 'warn' : undefined}>{lost ?? NOTHING}</span>
      </Fact>
    </dl>
  );
}

function useDetail(name: string) {
  const { api, feed } = useConsole();
  const answer = useSignal<Answer<NodeDetail> | null>(null);
  useEffect(
    () =>
      feed.attach(
        pollingSource({
          ask: (signal) => api.node(name, signal),
          periodMs: EVERY_MS,
          retryMs: RETRY_MS,
          onAnswer: (next) => {
            // Once there are figures, one failure does not take them away: the banner says that they are old.
            if (next.ok || answer.value?.ok !== true || (next.failure.kind === 'problem' && next.failure.problem.status === 404))
              answer.value = next;
            feed.heard(next);
          },
        }),
      ),
    [api, feed, name, answer],
  );
  return answer;
}

/** The bounds for this very node, overrides and all; those for everybody until they are known. */
function useBounds(name: string): BoundsInForce {
  const { api } = useConsole();
  const own = useSignal<BoundsInForce | null>(null);
  useEffect(() => {
    const withdrawn = new AbortController();
    void api.rulesFor(name, withdrawn.signal).then((answer) => {
      if (answer.ok) own.value = boundsOf(answer.value.rules.filter(({ applies }) => applies !== false));
    });
    return () => withdrawn.abort();
  }, [api, name, own]);
  return own.value ?? boundsForAll.value;
}

/** The collector's clock, as far as this page knows it: the viewer's may be wrong. */
function collectorNow(feed: Feed): number {
  const figures = feed.figures.peek();
  return figures === null ? Date.now() : figures.collectorAtMs + (performance.now() - figures.receivedAtMs);
}

/** A node that is known for less is shown for the last hour: six would be empty. */
const YOUNG_MS = 2 * 3_600_000;

function useChartGroup(intervalSeconds: number | null, createdAt: string): ChartGroup {
  const { api, feed } = useConsole();
  const intervalMs = (intervalSeconds ?? INTERVAL_DEFAULT_S) * 1_000;
  const group = useMemo(
    () =>
      createChartGroup({
        ask: (query, signal) => api.series(query, signal),
        now: () => collectorNow(feed),
        intervalMs,
        tick,
      }),
    [api, feed, intervalMs],
  );
  useEffect(() => {
    const isYoung = collectorNow(feed) - Date.parse(createdAt) < YOUNG_MS;
    if (isYoung && location.search === '') group.change({ kind: 'last', ms: 3_600_000 });
    return () => group.dispose();
  }, [group, feed, createdAt]);
  return group;
}

function Section(props: {
  section: ChartSection;
  group: ChartGroup;
  node: string;
  alerts: readonly AlertView[];
  children?: ComponentChildren;
}): JSX.Element {
  const { section, group, node, alerts } = props;
  return (
    <section class="chart-section" aria-labelledby={`section-${section.id}`}>
      <h2 id={`section-${section.id}`}>{section.title}</h2>
      {props.children}
      <div class="charts">
        {section.charts.map((spec) => (
          <Chart
            key={spec.id}
            group={group}
            node={node}
            spec={spec}
            marks={marksOf(alerts.filter((alert) => concerns(alert, spec.question.metrics, spec.question.labels)))}
          />
        ))}
      </div>
    </section>
  );
}

/** Everything that needs the node's details. */
function Body({
  node,
  detail,
  bounds,
  alerts,
}: {
  node: OverviewNode;
  detail: NodeDetail;
  bounds: BoundsInForce;
  alerts: readonly AlertView[];
}) {
  const group = useChartGroup(detail.intervalSeconds, detail.createdAt);
  const cpus = inventoryOf(detail.observations)?.inventory.cpu.cores ?? null;
  // Series come and go seldom, values with every report: charts are only made anew for the former.
  const names = detail.latest.map(({ metric, labels }) => `${metric} ${labels.flat().join(' ')}`).join('\n');
  const servers = JSON.stringify(node.postgres.map(({ instance, role }) => [instance, role]));
  const { sections, missing } = useMemo(
    () => chartsOf({ latest: detail.latest, cpus, bounds, roles: new Map(node.postgres.map(({ instance, role }) => [instance, role])) }),
    // oxlint-disable-next-line react-hooks/exhaustive-deps -- `names` and `servers` stand for what is read of them
    [names, servers, cpus, bounds],
  );
  const [system, ...rest] = sections;
  const disks = alerts.filter((alert) => concerns(alert, ['tidemark_filesystem_usage_ratio']));
  return (
    <>
      <RangeBar group={group} />
      {system === undefined ? null : <Section section={system} group={group} node={node.name} alerts={alerts} />}
      <FileSystems group={group} node={node} bounds={bounds} marks={marksOf(disks)} />
      {rest.map((section) => (
        <Section key={section.id} section={section} group={group} node={node.name} alerts={alerts}>
          {section.server === undefined ? null : (
            <PostgresServer node={node.name} instance={section.server} observations={detail.observations} />
          )}
          {section.id === 'http' ? <Endpoints latest={detail.latest} bounds={bounds} /> : null}
        </Section>
      ))}
      {serversSeen(detail.observations)
        .filter((instance) => !sections.some(({ server }) => server === instance))
        .map((instance) => (
          <section key={instance}>
            <h2>
              PostgreSQL <span class="code">{instance}</span>
            </h2>
            <PostgresServer node={node.name} instance={instance} observations={detail.observations} />
          </section>
        ))}
      <FoundServers observations={detail.observations} />
      <div class="node-about">
        <section aria-labelledby="section-machine">
          <h2 id="section-machine">Machine</h2>
          <Machine observations={detail.observations} />
        </section>
        <section aria-labelledby="section-watched">
          <h2 id="section-watched">What the agent watches</h2>
          <Watched latest={detail.latest} missing={missing} />
        </section>
      </div>
      <LatestValues latest={detail.latest} />
    </>
  );
}

function Title({ node, detail }: { node: OverviewNode; detail: NodeDetail | null }): JSX.Element {
  const tags = Object.entries(node.tags);
  return (
    <div class="node-title">
      <a class="back" href={addressOf(`/${fleetQuery.value}`)} aria-label="Back to the fleet">
        ←
      </a>
      <h1>
        <bdi>{node.name}</bdi>
      </h1>
      <ConditionWord node={node} />
      {node.site === '' ? null : <span class="muted">{node.site}</span>}
      {tags.length === 0 ? null : (
        <ul class="node-tags" aria-label="Tags">
          {tags.map(([key, value]) => (
            <li key={key}>{`${key}=${value}`}</li>
          ))}
        </ul>
      )}
      {detail === null ? null : (
        <span class="node-known muted">
          known since <Clock atMs={Date.parse(detail.createdAt)} />
        </span>
      )}
    </div>
  );
}

export function NodePage({ name }: { name: string }): JSX.Element {
  const { feed } = useConsole();
  // Fetched while the node's details are, not after them.
  useEffect(() => void loadPlot(), []);
  const answer = useDetail(name).value;
  const bounds = useBounds(name);
  const alerts = useNodeAlerts(name).value;
  const node = useComputed(() => feed.figures.value?.overview.nodes.find((each) => each.name === name)).value;
  if (node === undefined) {
    if (feed.figures.value === null)
      return <Notice title={feed.link.value.kind === 'lost' ? 'The collector does not answer' : 'Fetching the node…'} busy />;
    return (
      <Notice title="There is no node of this name">
        <p>
          <a href={addressOf(`/${fleetQuery.value}`)}>← Fleet</a>
        </p>
      </Notice>
    );
  }
  const detail = answer?.ok === true ? answer.value : null;
  const condition = conditionOf(node);
  return (
    <article class={condition === 'down' ? 'node-page aged' : 'node-page'}>
      <Title node={node} detail={detail} />
      {condition === 'down' ? (
        <p class="node-silent bad">
          This node is silent. Its figures are from its last report, <Ago at={node.lastSeenAt} />.
        </p>
      ) : null}
      <OpenAlerts alerts={alerts} />
      <Facts node={node} detail={detail} bounds={bounds} />
      {node.lastSeenAt === null ? (
        <p class="muted">
          {node.state === 'pending' ? 'Its agent has asked to be let in; approve it on the Nodes page.' : 'No report has come from it yet.'}
        </p>
      ) : detail === null ? (
        <p class="muted">{answer === null || answer.ok ? 'Fetching the details…' : explain(answer.failure)}</p>
      ) : (
        <Body node={node} detail={detail} bounds={bounds} alerts={alerts} />
      )}
    </article>
  );
}
