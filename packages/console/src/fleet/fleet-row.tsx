/** One node in one line: state by shape and word, ratios as levels, PostgreSQL by role, and how long ago it was heard. */
import type { OverviewNode } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { NOTHING, countOf, formatBytes, formatDuration } from '../format/quantities.ts';
import { LevelShape } from '../alerts/marks.tsx';
import { openAlertsOf } from '../alerts/open-alerts.ts';
import { RatioLevel } from '../look/level.tsx';
import { Ago } from '../look/moment.tsx';
import { ConditionShape, WarningShape } from '../look/symbols.tsx';
import { nodePath } from '../router.ts';
import { postgresWord } from './arrange.ts';
import { bounds, levelOf } from './bounds.ts';
import { CONDITION_WORDS, bytesBehind, callingLevel, conditionOf } from './standing.ts';

/** State, in a shape and a word. */
export function ConditionWord({ node }: { node: OverviewNode }): JSX.Element {
  const condition = conditionOf(node);
  return (
    <span class={`condition condition-${condition}`}>
      <ConditionShape condition={condition} />
      {CONDITION_WORDS[condition]}
    </span>
  );
}

const LEVEL_WORDS = { critical: 'Critical', warning: 'Warning' } as const;

/** What a node's state comes to: silence before alerts, alerts before being up. */
function Standing({ node }: { node: OverviewNode }): JSX.Element {
  const alerts = openAlertsOf(node.name);
  const level = conditionOf(node) === 'up' ? callingLevel(alerts) : null;
  if (level === null) return <ConditionWord node={node} />;
  return (
    <span class={`condition calling-${level}`} title={alerts.map(({ title, why }) => `${title}: ${why}`).join('\n')}>
      <LevelShape level={level} />
      {LEVEL_WORDS[level]}
      {alerts.length > 1 ? <span class="muted"> ×{alerts.length}</span> : null}
    </span>
  );
}

function Postgres({ node }: { node: OverviewNode }): JSX.Element {
  const word = postgresWord(node);
  if (word === '') return <span class="muted">{NOTHING}</span>;
  if (word === 'down')
    return (
      <span class="bad">
        <WarningShape /> down
      </span>
    );
  const replicas = node.postgres.reduce((sum, server) => sum + server.replicas.length, 0);
  return (
    <span class={`role role-${word}`}>
      {word}
      {word === 'primary' ? <span class="muted"> · {replicas === 0 ? 'no replica' : countOf(replicas, 'replica')}</span> : null}
      {node.postgres.length > 1 ? <span class="muted"> +{node.postgres.length - 1}</span> : null}
    </span>
  );
}

function Behind({ node }: { node: OverviewNode }): JSX.Element {
  const bytes = bytesBehind(node);
  if (bytes === null) return <span class="muted">{NOTHING}</span>;
  return (
    <span class={levelOf(bytes, bounds.value.behind) === 'normal' ? undefined : 'warn'} title={`${bytes} bytes`}>
      {formatBytes(bytes)}
    </span>
  );
}

/** What is broken about a node's file systems, in a few words; empty when nothing is. */
export function diskTrouble(node: OverviewNode): string {
  const dead = node.disk.mounts.filter((mount) => mount.deviceError === true).map((mount) => mount.mountpoint);
  const locked = node.disk.mounts.filter((mount) => mount.readOnly === true).map((mount) => mount.mountpoint);
  return [dead.length > 0 ? `Does not answer: ${dead.join(', ')}` : '', locked.length > 0 ? `Read-only: ${locked.join(', ')}` : '']
    .filter(Boolean)
    .join(' · ');
}

function Disk({ node }: { node: OverviewNode }): JSX.Element {
  const trouble = diskTrouble(node);
  return (
    <>
      <RatioLevel ratio={node.disk.usageRatio} bounds={bounds.value.disk} />
      {trouble === '' ? null : (
        <span class={`${trouble.startsWith('Read-only') ? 'warn' : 'bad'} disk-trouble`} role="img" aria-label={trouble} title={trouble}>
          <WarningShape />
        </span>
      )}
    </>
  );
}

/** @param index place in the whole list, from 0: the rows drawn are only some of them. */
export function FleetRow({ node, index }: { node: OverviewNode; index: number }): JSX.Element {
  const tags = Object.entries(node.tags)
    .map(([key, value]) => `${key}=${value}`)
    .join('  ');
  return (
    <div class={conditionOf(node) === 'down' ? 'row aged' : 'row'} role="row" aria-rowindex={index + 2} data-node={node.name}>
      <div class="cell c-state" role="cell">
        <Standing node={node} />
      </div>
      <div class="cell c-name" role="rowheader">
        <a class="node-link" href={nodePath(node.name)} title={node.name}>
          <bdi>{node.name}</bdi>
        </a>
        {tags === '' ? null : (
          <span class="tags" title={tags}>
            {tags}
          </span>
        )}
      </div>
      <div class="cell c-site" role="cell">
        {node.site}
      </div>
      <div class="cell c-cpu" role="cell">
        <RatioLevel ratio={node.cpu.usageRatio} bounds={bounds.value.cpu} />
      </div>
      <div
        class="cell c-memory"
        role="cell"
        title={node.memory.totalBytes === null ? undefined : `of ${formatBytes(node.memory.totalBytes)}`}
      >
        <RatioLevel ratio={node.memory.usageRatio} bounds={bounds.value.memory} />
      </div>
      <div class="cell c-disk" role="cell">
        <Disk node={node} />
      </div>
      <div class="cell c-postgres" role="cell">
        <Postgres node={node} />
      </div>
      <div class="cell c-behind number" role="cell">
        <Behind node={node} />
      </div>
      <div class="cell c-uptime number" role="cell">
        {formatDuration(node.uptimeSeconds)}
      </div>
      <div class="cell c-seen number" role="cell">
        <Ago at={node.lastSeenAt} />
      </div>
    </div>
  );
}
