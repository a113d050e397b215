/** One instance's whole account: what its state rests on, how far behind it is and by what that is known. Shown on hover and focus. */
import type { ReplicationInstance } from '@tidemark/protocol';
import type { ComponentChildren, JSX } from 'preact';
import { formatBytes, formatDuration } from '../format/quantities.ts';
import { formatUtc } from '../format/times.ts';
import { Ago, Clock } from '../look/moment.tsx';
import { SOURCE_WORDS, catchupText, lagText, upstreamByText } from './words.ts';

function Line({ label, children }: { label: string; children: ComponentChildren }): JSX.Element {
  return (
    <>
      <dt>{label}</dt>
      <dd>{children}</dd>
    </>
  );
}

/** Behind whom, and the same behind its own upstream where that is another. */
function Lags({ instance, nowMs }: { instance: ReplicationInstance; nowMs: number }): JSX.Element | null {
  const { lag, edgeLag } = instance;
  if (instance.role === 'primary') return null;
  const measured = edgeLag ?? lag;
  const isCascade = lag !== null && edgeLag !== null && lag.seconds !== edgeLag.seconds;
  return (
    <>
      <Line label={isCascade ? 'Behind its upstream' : 'Behind'}>{lagText(measured, nowMs)}</Line>
      {isCascade ? <Line label="Behind the primary">{lagText(lag, nowMs)}</Line> : null}
      {measured === null ? null : (
        <Line label="Known by">
          {SOURCE_WORDS[measured.source]}, <Clock atMs={Date.parse(measured.at)} />
        </Line>
      )}
    </>
  );
}

export function Account({ instance, nowMs }: { instance: ReplicationInstance; nowMs: number }): JSX.Element {
  const eta = catchupText(instance);
  const rate = instance.walBytesPerSecond;
  return (
    <>
      <p>{instance.why}</p>
      <dl>
        {instance.since === null ? null : (
          <Line label="Since">
            <time dateTime={instance.since} title={formatUtc(Date.parse(instance.since))}>
              <Clock atMs={Date.parse(instance.since)} />, <Ago at={instance.since} />
            </time>
          </Line>
        )}
        <Lags instance={instance} nowMs={nowMs} />
        {instance.transportBytes === null ? null : <Line label="Not received">{formatBytes(instance.transportBytes)}</Line>}
        {instance.replayBytes === null ? null : <Line label="Not replayed">{formatBytes(instance.replayBytes)}</Line>}
        {eta === null ? null : <Line label="Catches up">{eta}</Line>}
        {instance.delaySeconds === null ? null : <Line label="Delayed by">{formatDuration(instance.delaySeconds)} on purpose</Line>}
        {rate === null ? null : <Line label={instance.role === 'primary' ? 'Writes' : 'Replays'}>{formatBytes(rate)}/s</Line>}
        {instance.upstreamBy === null ? null : <Line label="Follows, by">{upstreamByText(instance.upstreamBy)}</Line>}
        {instance.timeline === null ? null : <Line label="Timeline">{instance.timeline}</Line>}
        {instance.lsn === null ? null : (
          <Line label={instance.role === 'primary' ? 'Written to' : 'Replayed to'}>
            <span class="code">{instance.lsn}</span>
          </Line>
        )}
        {instance.version === null ? null : <Line label="Version">{instance.version}</Line>}
      </dl>
    </>
  );
}
