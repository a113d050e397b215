/** Silences: those in force with when they end, and those that ended. One button ends one. */
import { useSignal } from '@preact/signals';
import type { SilenceView } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { renewOpenAlerts } from '../alerts/open-alerts.ts';
import { explain, type Failure } from '../api/failure.ts';
import { useConsole } from '../context.ts';
import { countOf, formatDuration } from '../format/quantities.ts';
import { pollingSource } from '../live/source.ts';
import { tick } from '../live/clock.ts';
import { Clock } from '../look/moment.tsx';
import { Notice } from '../look/notice.tsx';
import { useMayChange } from '../session/rights.ts';
import { matcherParts } from './matcher.ts';
import { SilenceButton } from './silencing.tsx';

const EVERY_MS = 15_000;
const RETRY_MS = 3_000;

function useSilences() {
  const { api, feed } = useConsole();
  const silences = useSignal<readonly SilenceView[] | null>(null);
  const failure = useSignal<Failure | null>(null);
  useEffect(() => {
    const source = pollingSource({
      ask: (withdrawn) => api.silences(withdrawn),
      periodMs: EVERY_MS,
      retryMs: RETRY_MS,
      onAnswer: (answer) => {
        failure.value = answer.ok ? null : answer.failure;
        if (answer.ok) silences.value = answer.value.silences;
        feed.heard(answer);
      },
    });
    const detach = feed.attach(source);
    const unlisten = feed.listen((event) => {
      if (event.name === 'changed' && event.data.what === 'silences') source.start();
    });
    return () => {
      unlisten();
      detach();
    };
  }, [api, feed]);
  return { silences, failure };
}

function MatcherWords({ silence }: { silence: SilenceView }): JSX.Element {
  return (
    <span class="matcher">
      {matcherParts(silence.matcher).map(([name, value]) => (
        <span key={name}>
          <span class="muted">{name}</span> <span class="code">{value}</span>
        </span>
      ))}
    </span>
  );
}

/** "in 42 min", renewed with the page's clock. */
function Remaining({ endsAt }: { endsAt: string }): JSX.Element {
  void tick.value;
  return <>{formatDuration(Math.max(0, (Date.parse(endsAt) - Date.now()) / 1_000))}</>;
}

function SilenceRow({ silence, mayChange }: { silence: SilenceView; mayChange: boolean }): JSX.Element {
  const { api } = useConsole();
  const busy = useSignal(false);
  const failure = useSignal<Failure | null>(null);
  const end = async (): Promise<void> => {
    busy.value = true;
    const answer = await api.endSilence(silence.id);
    busy.value = false;
    failure.value = answer.ok ? null : answer.failure;
    renewOpenAlerts();
  };
  return (
    <li class={silence.active ? 'silence' : 'silence ended'}>
      <div class="silence-what">
        <MatcherWords silence={silence} />
        <p class="silence-why">
          {silence.reason} <span class="muted">— {silence.author}</span>
        </p>
      </div>
      <div class="silence-when">
        {silence.active ? (
          <>
            ends in <Remaining endsAt={silence.endsAt} />{' '}
            <span class="muted">
              at <Clock atMs={Date.parse(silence.endsAt)} />
            </span>
          </>
        ) : (
          <span class="muted">
            ended <Clock atMs={Date.parse(silence.endsAt)} />
          </span>
        )}
        <span class="muted silence-covers">{silence.active ? `covers ${countOf(silence.alerts, 'open alert')}` : ''}</span>
      </div>
      {silence.active && mayChange ? (
        <div class="alert-acts">
          <button type="button" class="button" disabled={busy.value} aria-label={`End now: ${silence.reason}`} onClick={() => void end()}>
            {busy.value ? 'One moment…' : 'End now'}
          </button>
        </div>
      ) : null}
      {failure.value === null ? null : (
        <p class="bad" role="alert">
          {explain(failure.value)}
        </p>
      )}
    </li>
  );
}

export function SilencesList(): JSX.Element {
  const mayChange = useMayChange();
  const { silences, failure } = useSilences();
  const all = silences.value;
  if (all === null)
    return failure.value === null ? (
      <Notice title="Fetching the silences…" busy />
    ) : (
      <Notice title="The silences are not known">
        <p>{explain(failure.value)} This page tries again by itself.</p>
      </Notice>
    );
  const active = all.filter((silence) => silence.active);
  const ended = all.filter((silence) => !silence.active);
  const anew = mayChange ? (
    <SilenceButton label="New silence…" parts={() => ['rule', 'node', 'site'].map((name) => ({ name, value: '', taken: false }))} />
  ) : null;
  return (
    <>
      <div class="section-line">
        <h2>{active.length === 0 ? 'Nothing is silenced' : `In force`}</h2>
        {anew}
      </div>
      {active.length === 0 ? <p class="muted">Whatever opens is told.</p> : null}
      <ul class="silence-list">
        {active.map((silence) => (
          <SilenceRow key={silence.id} silence={silence} mayChange={mayChange} />
        ))}
      </ul>
      {ended.length === 0 ? null : (
        <>
          <h2 class="ended-head">Ended</h2>
          <ul class="silence-list">
            {ended.map((silence) => (
              <SilenceRow key={silence.id} silence={silence} mayChange={mayChange} />
            ))}
          </ul>
        </>
      )}
    </>
  );
}
