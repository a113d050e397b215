/** Nothing is open. That is only good news when something watches and somebody would be told, so it says both. */
import { useSignal } from '@preact/signals';
import type { AlertView, ChannelView } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { addressOf } from '../base.ts';
import { useConsole } from '../context.ts';
import { conditionOf } from '../fleet/standing.ts';
import { countOf } from '../format/quantities.ts';
import { Ago } from '../look/moment.tsx';
import { TideMark, WarningShape } from '../look/symbols.tsx';
import { alertPath, nodePath } from '../router.ts';
import { rulesInForce } from '../settings/rules-in-force.ts';

function Watching(): JSX.Element | null {
  const { feed } = useConsole();
  const nodes = feed.figures.value?.overview.nodes ?? [];
  const watched = nodes.filter((node) => node.state === 'approved');
  const up = watched.filter((node) => conditionOf(node) === 'up');
  const newest = up.reduce<string | null>(
    (most, node) => (node.lastSeenAt !== null && (most === null || node.lastSeenAt > most) ? node.lastSeenAt : most),
    null,
  );
  const rules = rulesInForce.value?.rules;
  const judging = rules?.filter((rule) => rule.enabled && rule.inactiveBecause === null).length;
  if (watched.length === 0)
    return (
      <p class="warn">
        <WarningShape /> There is no node. <a href={addressOf('/add-node')}>Add one</a>.
      </p>
    );
  return (
    <>
      <p>
        {judging === undefined ? 'The rules' : <a href={addressOf('/settings#rules')}>{countOf(judging, 'rule')}</a>} watch
        {judging === 1 ? 'es' : ''} <a href={addressOf('/')}>{countOf(watched.length, 'node')}</a>;{' '}
        {up.length === watched.length ? 'all of them report' : countOf(up.length, 'reports', 'report')}
        {newest === null ? '' : ', the last one '}
        {newest === null ? null : <Ago at={newest} />}.
      </p>
      {rules === undefined || judging === 0 ? null : (
        <p class="watched">
          {rules
            .filter((rule) => rule.enabled && rule.inactiveBecause === null)
            .map((rule) => (
              <span key={rule.name} class="chip">
                {rule.title}
              </span>
            ))}
        </p>
      )}
      {judging === 0 ? (
        <p class="bad">
          <WarningShape /> No rule judges anything: quiet means nothing.
        </p>
      ) : null}
    </>
  );
}

function Telling({ channels }: { channels: readonly ChannelView[] }): JSX.Element {
  const working = channels.filter((channel) => channel.state === 'working' || channel.state === 'unused');
  const lame = channels.filter((channel) => channel.state === 'retrying' || channel.state === 'disabled');
  if (channels.length === 0)
    return (
      <p class="warn">
        <WarningShape /> Nobody would be told: no <a href={addressOf('/settings#channels')}>channel</a> is set up.
      </p>
    );
  return (
    <p>
      {working.length === 0 ? null : <>{working.map((channel) => channel.name).join(', ')} would be told. </>}
      {lame.length === 0 ? null : (
        <span class="warn">
          <WarningShape /> <a href={addressOf('/settings#channels')}>{lame.map((channel) => channel.name).join(', ')}</a>{' '}
          {lame.length === 1 ? 'does' : 'do'} not get through.
        </span>
      )}
    </p>
  );
}

export function Quiet(): JSX.Element {
  const { api, feed } = useConsole();
  const watched =
    (feed.figures.value?.overview.nodes ?? []).some((node) => node.state === 'approved') &&
    (rulesInForce.value?.rules.some((rule) => rule.enabled && rule.inactiveBecause === null) ?? true);
  const channels = useSignal<readonly ChannelView[] | null>(null);
  const last = useSignal<AlertView | null>(null);
  useEffect(() => {
    const withdrawn = new AbortController();
    void api.channels(withdrawn.signal).then((answer) => {
      if (answer.ok) channels.value = answer.value.channels;
    });
    void api.alerts({ state: 'closed', limit: 1 }, withdrawn.signal).then((answer) => {
      if (answer.ok) last.value = answer.value.alerts[0] ?? null;
    });
    return () => withdrawn.abort();
  }, [api]);
  return (
    <section class="notice quiet-page" role="status">
      <TideMark size={52} />
      <h2>{watched ? 'All quiet' : 'Nothing is watched'}</h2>
      <Watching />
      {channels.value === null ? null : <Telling channels={channels.value} />}
      {last.value === null ? null : (
        <p>
          Last: <a href={alertPath(last.value.id)}>{last.value.title}</a> on{' '}
          <a href={nodePath(last.value.node)}>
            <bdi>{last.value.node}</bdi>
          </a>
          , over <Ago at={last.value.closedAt} />.
        </p>
      )}
    </section>
  );
}
