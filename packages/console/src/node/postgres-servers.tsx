/** What an agent saw of each PostgreSQL server: role and version, and for a primary every replica with how far it is behind. */
import type { NodeDetail, PostgresReplication } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { bounds, levelOf } from '../fleet/bounds.ts';
import { NOTHING, formatBytes } from '../format/quantities.ts';
import { WarningShape } from '../look/symbols.tsx';
import { serverStanding } from '../pages.ts';

type Observation = NodeDetail['observations'][number];

/** Documents are only checked for what is read here: a later agent may send more. */
function isReplication(document: unknown): document is PostgresReplication {
  return (
    typeof document === 'object' && document !== null && 'up' in document && 'replicas' in document && Array.isArray(document.replicas)
  );
}

function Replicas({ replicas }: { replicas: PostgresReplication['replicas'] }): JSX.Element {
  if (replicas.length === 0) return <p class="muted">No replica is connected.</p>;
  return (
    <div class="scroller" tabIndex={0} role="region" aria-label="Replicas">
      <table>
        <thead>
          <tr>
            <th scope="col">Client</th>
            <th scope="col">Application</th>
            <th scope="col">State</th>
            <th scope="col">Sync</th>
            <th scope="col">Sent</th>
            <th scope="col">Replayed</th>
            <th scope="col" class="number">
              Behind
            </th>
          </tr>
        </thead>
        <tbody>
          {replicas.map((replica) => {
            // An exact decimal string; rounded only here, where it is read.
            const behind = replica.bytesBehind === null ? null : Number(replica.bytesBehind);
            return (
              <tr key={`${replica.pid} ${replica.clientAddr} ${replica.applicationName}`}>
                <th scope="row" class="code">
                  {replica.clientAddr ?? 'local socket'}
                </th>
                <td>{replica.applicationName ?? NOTHING}</td>
                <td class={replica.state === 'streaming' ? undefined : 'warn'}>{replica.state ?? NOTHING}</td>
                <td>{replica.syncState ?? NOTHING}</td>
                <td class="code">{replica.sentLsn ?? NOTHING}</td>
                <td class="code">{replica.replayLsn ?? NOTHING}</td>
                <td
                  class={levelOf(behind, bounds.value.behind) === 'normal' ? 'number' : 'number warn'}
                  title={`${replica.bytesBehind ?? '?'} bytes`}
                >
                  {formatBytes(behind)}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

/** What was seen of one server; nothing where no observation has come. */
export function PostgresServer(props: { node: string; instance: string; observations: readonly Observation[] }): JSX.Element | null {
  const { node, instance, observations } = props;
  const seen = observations.find((each) => each.kind === 'postgres.replication' && each.instance === instance)?.document;
  if (!isReplication(seen)) return null;
  return (
    <div class="server">
      <p>
        {seen.up ? (
          <>
            {seen.role ?? 'role unknown'}{' '}
            <span class="muted">
              · version {seen.version ?? NOTHING} · timeline {seen.timeline ?? NOTHING}
            </span>
          </>
        ) : (
          <span class="bad">
            <WarningShape /> down: {seen.detail ?? seen.reason ?? 'no reason known'}
          </span>
        )}
      </p>
      <serverStanding.Page node={node} instance={instance} />
      {seen.insufficientPrivilege ? (
        <p class="warn">The agent's role lacks pg_monitor: what is missing below is unknown, not absent. GRANT pg_monitor to it.</p>
      ) : null}
      {seen.up && seen.role === 'primary' ? <Replicas replicas={seen.replicas} /> : null}
      {seen.receiver === null || seen.receiver === undefined ? null : (
        <p class="muted">
          Receives from {seen.receiver.senderHost ?? NOTHING}: {seen.receiver.status ?? 'no receiver runs'}; received{' '}
          <span class="code">{seen.receiver.receiveLsn ?? NOTHING}</span>, replayed{' '}
          <span class="code">{seen.receiver.replayLsn ?? NOTHING}</span>
          {seen.receiver.pauseState === null || seen.receiver.pauseState === 'not paused' ? '' : `; ${seen.receiver.pauseState}`}.
        </p>
      )}
    </div>
  );
}

/** The servers that were seen, whether or not they have series. */
export function serversSeen(observations: readonly Observation[]): string[] {
  return observations.filter(({ kind }) => kind === 'postgres.replication').map(({ instance }) => instance);
}
