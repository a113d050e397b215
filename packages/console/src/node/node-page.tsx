/** One node: its figures as the fleet has them, its file systems, its PostgreSQL servers and every latest value. Charts come here later. */
import { useComputed, useSignal } from '@preact/signals';
import type { NodeDetail, OverviewNode } from '@tidemark/protocol';
import type { ComponentChildren, JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { explain, type Answer } from '../api/failure.ts';
import { useConsole } from '../context.ts';
import { CPU_BOUNDS, DISK_BOUNDS, MEMORY_BOUNDS } from '../fleet/bounds.ts';
import { ConditionWord } from '../fleet/fleet-row.tsx';
import { conditionOf } from '../fleet/standing.ts';
import { NOTHING, formatBytes, formatDuration } from '../format/quantities.ts';
import { pollingSource } from '../live/source.ts';
import { RatioLevel } from '../look/level.tsx';
import { Ago, Clock } from '../look/moment.tsx';
import { Notice } from '../look/notice.tsx';
import { WarningShape } from '../look/symbols.tsx';
import { fleetQuery } from '../router.ts';
import { LatestValues } from './latest-values.tsx';
import { PostgresServers } from './postgres-servers.tsx';

const EVERY_MS = 5_000;
const RETRY_MS = 2_000;

function Fact({ label, children }: { label: string; children: ComponentChildren }): JSX.Element {
  return (
    <div class="fact">
      <dt>{label}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Facts({ node, detail }: { node: OverviewNode; detail: NodeDetail | null }): JSX.Element {
  return (
    <dl class="facts">
      <Fact label="CPU">
        <RatioLevel ratio={node.cpu.usageRatio} bounds={CPU_BOUNDS} />
      </Fact>
      <Fact label="Memory">
        <RatioLevel ratio={node.memory.usageRatio} bounds={MEMORY_BOUNDS} />
        <span class="muted"> of {formatBytes(node.memory.totalBytes)}</span>
      </Fact>
      <Fact label="Fullest disk">
        <RatioLevel ratio={node.disk.usageRatio} bounds={DISK_BOUNDS} />
      </Fact>
      <Fact label="Uptime">{formatDuration(node.uptimeSeconds)}</Fact>
      <Fact label="Last seen">
        <Ago at={node.lastSeenAt} />
      </Fact>
      <Fact label="Reports">{detail?.intervalSeconds == null ? NOTHING : `every ${detail.intervalSeconds} s`}</Fact>
      <Fact label="Agent">{detail?.agentVersion ?? NOTHING}</Fact>
      <Fact label="Lost reports">{detail?.lostReports ?? NOTHING}</Fact>
      <Fact label="Clock off by">{node.clockOffsetSeconds === null ? NOTHING : `${node.clockOffsetSeconds.toFixed(2)} s`}</Fact>
      <Fact label="Known since">{detail === null ? NOTHING : <Clock atMs={Date.parse(detail.createdAt)} />}</Fact>
    </dl>
  );
}

function Mounts({ node }: { node: OverviewNode }): JSX.Element | null {
  if (node.disk.mounts.length === 0) return null;
  return (
    <section>
      <h2>File systems</h2>
      <div class="scroller" tabIndex={0} role="region" aria-label="File systems">
        <table>
          <thead>
            <tr>
              <th scope="col">Mounted at</th>
              <th scope="col">Used</th>
              <th scope="col" class="number">
                Available
              </th>
              <th scope="col" class="number">
                Size
              </th>
              <th scope="col">Condition</th>
            </tr>
          </thead>
          <tbody>
            {node.disk.mounts.map((mount) => (
              <tr key={mount.mountpoint}>
                <th scope="row" class="code">
                  {mount.mountpoint}
                </th>
                <td>
                  <RatioLevel ratio={mount.usageRatio} bounds={DISK_BOUNDS} />
                </td>
                <td class="number">{formatBytes(mount.availableBytes)}</td>
                <td class="number">{formatBytes(mount.sizeBytes)}</td>
                <td>
                  {mount.deviceError === true || mount.readOnly === true ? (
                    <span class="bad">
                      <WarningShape /> {mount.deviceError === true ? 'does not answer' : 'read-only'}
                    </span>
                  ) : (
                    <span class="muted">in order</span>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
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
    [api, feed, name],
  );
  return answer;
}

export function NodePage({ name }: { name: string }): JSX.Element {
  const { feed } = useConsole();
  const answer = useDetail(name).value;
  const node = useComputed(() => feed.figures.value?.overview.nodes.find((each) => each.name === name)).value;
  const back = (
    <p class="back">
      <a href={`/${fleetQuery.value}`}>← Fleet</a>
    </p>
  );
  if (node === undefined) {
    if (feed.figures.value === null)
      return <Notice title={feed.link.value.kind === 'lost' ? 'The collector does not answer' : 'Fetching the node…'} busy />;
    return <Notice title="There is no node of this name">{back}</Notice>;
  }
  const detail = answer?.ok === true ? answer.value : null;
  return (
    <article class={conditionOf(node) === 'down' ? 'node-page aged' : 'node-page'}>
      {back}
      <div class="node-title">
        <h1>
          <bdi>{node.name}</bdi>
        </h1>
        <ConditionWord node={node} />
        <span class="muted">{node.site}</span>
        <span class="tags">
          {Object.entries(node.tags)
            .map(([key, value]) => `${key}=${value}`)
            .join('  ')}
        </span>
      </div>
      {conditionOf(node) === 'down' ? (
        <p class="bad">
          This node is silent. What is below is from its last report, <Ago at={node.lastSeenAt} />.
        </p>
      ) : null}
      <Facts node={node} detail={detail} />
      <Mounts node={node} />
      {detail === null ? null : <PostgresServers observations={detail.observations} />}
      {detail === null ? (
        <p class="muted">{answer === null || answer.ok ? 'Fetching the details…' : explain(answer.failure)}</p>
      ) : (
        <LatestValues latest={detail.latest} />
      )}
    </article>
  );
}
