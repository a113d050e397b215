/** Where alerts are told: each channel with its state, what waits, and a test that shows the other side's answer as it came. */
import { useSignal } from '@preact/signals';
import type { ChannelTest, ChannelView } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { explain, type Answer, type Failure } from '../api/failure.ts';
import { useConsole } from '../context.ts';
import { countOf } from '../format/quantities.ts';
import { pollingSource } from '../live/source.ts';
import { Ago } from '../look/moment.tsx';
import { WarningShape } from '../look/symbols.tsx';
import { useMayChange } from '../session/rights.ts';
import { Section } from '../settings/section.tsx';

const EVERY_MS = 10_000;
const RETRY_MS = 4_000;
const STATES: Readonly<Record<ChannelView['state'], string>> = {
  working: 'Working',
  retrying: 'Trying again',
  disabled: 'Disabled',
  unused: 'Not used yet',
};

function useChannels() {
  const { api, feed } = useConsole();
  const channels = useSignal<readonly ChannelView[] | null>(null);
  const failure = useSignal<Failure | null>(null);
  useEffect(() => {
    const source = pollingSource({
      ask: (withdrawn) => api.channels(withdrawn),
      periodMs: EVERY_MS,
      retryMs: RETRY_MS,
      onAnswer: (answer) => {
        failure.value = answer.ok ? null : answer.failure;
        if (answer.ok) channels.value = answer.value.channels;
        feed.heard(answer);
      },
    });
    const detach = feed.attach(source);
    const unlisten = feed.listen((event) => {
      if (event.name === 'changed' && event.data.what === 'channels') source.start();
    });
    return () => {
      unlisten();
      detach();
    };
  }, [api, feed]);
  return { channels, failure };
}

function TestResult({ answer }: { answer: Answer<ChannelTest> }): JSX.Element {
  if (!answer.ok) return <span class="bad">{explain(answer.failure)}</span>;
  const { delivered, answer: said, milliseconds } = answer.value;
  return (
    <>
      <span class={delivered ? 'good' : 'bad'}>{delivered ? 'Delivered' : 'Not delivered'}</span>{' '}
      <span class="muted">after {Math.round(milliseconds)} ms. It answered:</span> <span class="code test-answer">{said}</span>
    </>
  );
}

function Channel({ channel, mayChange }: { channel: ChannelView; mayChange: boolean }): JSX.Element {
  const { api } = useConsole();
  const busy = useSignal(false);
  const result = useSignal<Answer<ChannelTest> | null>(null);
  const test = async (): Promise<void> => {
    busy.value = true;
    result.value = null;
    result.value = await api.testChannel(channel.name);
    busy.value = false;
  };
  return (
    <li class="channel">
      <div class="channel-what">
        <p>
          <b>{channel.name}</b> <span class="muted">{channel.kind}</span>
        </p>
        <p class="muted">
          {channel.destination}
          {channel.only === '' ? '' : ` · ${channel.only}`}
        </p>
      </div>
      <div class="channel-state">
        <p class={`state-${channel.state}`}>
          {channel.state === 'retrying' || channel.state === 'disabled' ? <WarningShape /> : <span class="state-dot" aria-hidden="true" />}
          {STATES[channel.state]}
          {channel.waiting === 0 ? null : <span class="muted">{countOf(channel.waiting, 'message waits', 'messages wait')}</span>}
        </p>
        <p class="muted">
          {channel.detail}
          {channel.lastDeliveredAt === null ? (
            ''
          ) : (
            <>
              {' '}
              · last delivered <Ago at={channel.lastDeliveredAt} />
            </>
          )}
        </p>
      </div>
      {mayChange ? (
        <button
          type="button"
          class="button"
          disabled={busy.value}
          aria-label={`Send a test message to ${channel.name}`}
          onClick={() => void test()}
        >
          {busy.value ? 'Sending…' : 'Send a test'}
        </button>
      ) : null}
      <p class="channel-result" role="status">
        {result.value === null ? null : <TestResult answer={result.value} />}
      </p>
    </li>
  );
}

export function ChannelsSection(): JSX.Element {
  const mayChange = useMayChange();
  const { channels, failure } = useChannels();
  const all = channels.value;
  return (
    <Section id="channels" title="Channels">
      {all === null ? (
        <p class="muted">{failure.value === null ? 'Fetching the channels…' : explain(failure.value)}</p>
      ) : all.length === 0 ? (
        <p class="warn">
          <WarningShape /> Nobody is told of alerts: no channel is set up. Put one below <span class="code">channels:</span> in the
          configuration file.
        </p>
      ) : (
        <ul class="channel-list">
          {all.map((channel) => (
            <Channel key={channel.name} channel={channel} mayChange={mayChange} />
          ))}
        </ul>
      )}
    </Section>
  );
}
