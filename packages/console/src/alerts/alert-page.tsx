/** One alert, open or over: what, where, since when, why, who was told of it, and what can be done about it. */
import { useSignal } from '@preact/signals';
import type { AlertDetail, AlertView } from '@tidemark/protocol';
import type { ComponentChildren, JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { addressOf } from '../base.ts';
import { explain, type Answer, type Failure } from '../api/failure.ts';
import { useConsole } from '../context.ts';
import { formatDuration } from '../format/quantities.ts';
import { tick } from '../live/clock.ts';
import { pollingSource } from '../live/source.ts';
import { Dialog, DialogEnd } from '../look/dialog.tsx';
import { Ago, Clock } from '../look/moment.tsx';
import { Notice } from '../look/notice.tsx';
import { nodePath } from '../router.ts';
import { useMayChange } from '../session/rights.ts';
import { who } from '../session/who.ts';
import { partsOfAlert } from '../silences/matcher.ts';
import { SilenceButton } from '../silences/silencing.tsx';
import { AcknowledgeButton } from './acknowledging.tsx';
import { labelsText } from './arrange.ts';
import { Crossing } from './crossing.tsx';
import { HeldBy, LevelShape } from './marks.tsx';
import { isCalling, openAlerts, renewOpenAlerts } from './open-alerts.ts';
import { Why } from './why.tsx';
import { CLOSE_WORDS, alertName, boundText, lastedMs, valueText } from './words.ts';

const EVERY_MS = 15_000;
const RETRY_MS = 3_000;

function useDetail(id: string) {
  const { api, feed } = useConsole();
  const answer = useSignal<Answer<AlertDetail> | null>(null);
  useEffect(() => {
    const source = pollingSource({
      ask: (withdrawn) => api.alert(id, withdrawn),
      periodMs: EVERY_MS,
      retryMs: RETRY_MS,
      onAnswer: (next) => {
        // Once it is known, one failure does not take it away: the banner says that it is old.
        if (next.ok || answer.value?.ok !== true) answer.value = next;
        feed.heard(next);
      },
    });
    const detach = feed.attach(source);
    const unlisten = feed.listen((event) => {
      if (event.name === 'alert' && event.data.id === id) source.start();
    });
    return () => {
      unlisten();
      detach();
    };
  }, [api, feed, id]);
  return answer;
}

function CloseButton({ alert }: { alert: AlertView }): JSX.Element {
  const { api } = useConsole();
  const asking = useSignal(false);
  const reason = useSignal('');
  const failure = useSignal<Failure | null>(null);
  const close = async (): Promise<void> => {
    const answer = await api.closeAlert(alert.id, {
      ...(who.value === '' ? {} : { by: who.value }),
      ...(reason.value.trim() === '' ? {} : { reason: reason.value.trim() }),
    });
    failure.value = answer.ok ? null : answer.failure;
    if (answer.ok) asking.value = false;
    renewOpenAlerts();
  };
  return (
    <>
      <button
        type="button"
        class="button quiet"
        onClick={() => {
          asking.value = true;
        }}
      >
        Close…
      </button>
      {asking.value ? (
        <Dialog
          title="Close this alert"
          onClose={() => {
            asking.value = false;
          }}
          onSubmit={() => void close()}
        >
          <p>
            <bdi>{alertName(alert)}</bdi>
          </p>
          <p class="muted">
            Whoever was told is told that it was closed by hand. While what it is about stays as it is, it opens anew: to keep it still,
            silence it.
          </p>
          <label>
            Reason <span class="muted">(if you like)</span>
            <input
              class="field"
              data-first
              value={reason.value}
              maxLength={1_000}
              onInput={(event) => {
                reason.value = event.currentTarget.value;
              }}
            />
          </label>
          {failure.value === null ? null : (
            <p class="bad" role="alert">
              {explain(failure.value)}
            </p>
          )}
          <DialogEnd
            act="Close it"
            danger
            onClose={() => {
              asking.value = false;
            }}
          />
        </Dialog>
      ) : null}
    </>
  );
}

function GiveBackButton({ alert }: { alert: AlertView }): JSX.Element {
  const { api } = useConsole();
  const busy = useSignal(false);
  return (
    <button
      type="button"
      class="button quiet"
      disabled={busy.value}
      onClick={() => {
        busy.value = true;
        void api.unacknowledge(alert.id).then(() => {
          busy.value = false;
          renewOpenAlerts();
        });
      }}
    >
      Give it back
    </button>
  );
}

function Acts({ alert }: { alert: AlertView }): JSX.Element | null {
  const mayChange = useMayChange();
  if (alert.state === 'closed') return null;
  if (!mayChange) return <p class="muted read-only">You may look, not change: acknowledging needs the administrator's token.</p>;
  return (
    <div class="page-acts">
      {alert.acknowledged === null ? (
        <>
          <AcknowledgeButton alerts={[alert]} class="button primary act-main" />
          <AcknowledgeButton alerts={[alert]} label="With a note…" withNote class="button act-note" />
        </>
      ) : (
        <GiveBackButton alert={alert} />
      )}
      {alert.silencedBy === null ? <SilenceButton parts={() => partsOfAlert(alert)} /> : null}
      <CloseButton alert={alert} />
    </div>
  );
}

function Fact({ label, children }: { label: string; children: ComponentChildren }): JSX.Element {
  return (
    <div class="fact">
      <dt>{label}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** "12 min" and counting, while it is open. */
function Lasting({ alert }: { alert: AlertView }): JSX.Element {
  if (alert.closedAt === null) void tick.value;
  return <>{formatDuration(lastedMs(alert, Date.now()) / 1_000)}</>;
}

function Facts({ alert }: { alert: AlertView }): JSX.Element {
  const over = alert.state === 'closed';
  return (
    <dl class="facts alert-facts">
      {alert.value === null && alert.valueAtOpening === null ? null : (
        <Fact label={over ? 'At the end' : alert.noData ? 'Last known' : 'Now'}>
          <span class={over ? 'fact-large' : `fact-large value-${alert.level}`}>{valueText(alert.value, alert.unit)}</span>
        </Fact>
      )}
      {alert.valueAtOpening === null ? null : <Fact label="When it opened">{valueText(alert.valueAtOpening, alert.unit)}</Fact>}
      <Fact label="Bound">{boundText(alert.bound, alert.unit)}</Fact>
      <Fact label="Since">
        <Clock atMs={Date.parse(alert.since)} />
      </Fact>
      <Fact label={over ? 'Lasted' : 'For'}>
        <Lasting alert={alert} />
      </Fact>
      {over ? (
        <Fact label="Over at">{alert.closedAt === null ? null : <Clock atMs={Date.parse(alert.closedAt)} />}</Fact>
      ) : (
        <Fact label="Opened">
          <Clock atMs={Date.parse(alert.openedAt)} />
        </Fact>
      )}
    </dl>
  );
}

function Story({ detail }: { detail: AlertDetail }): JSX.Element {
  return (
    <section class="panel">
      <h2>What happened</h2>
      <ol class="story">
        {detail.events.map((event) => (
          <li key={event.id} class={`event event-${event.kind}`}>
            <Clock atMs={Date.parse(event.at)} />
            <span>{event.text}</span>
          </li>
        ))}
      </ol>
    </section>
  );
}

function Told({ detail }: { detail: AlertDetail }): JSX.Element {
  return (
    <section class="panel">
      <h2>Who was told</h2>
      {detail.telling.length === 0 ? (
        <p class="muted">
          Nobody: no channel is set up. See <a href={addressOf('/settings#channels')}>Settings</a>.
        </p>
      ) : (
        <dl class="telling">
          {detail.telling.map(({ channel, text }) => {
            const told = detail.alert.told.find((each) => each.channel === channel);
            return (
              <div key={channel}>
                <dt>
                  {channel}
                  {told === undefined ? null : (
                    <span class={told.confirmed ? 'muted' : 'warn'}>
                      {told.status === 'resolved' ? 'told it is over' : 'told it fires'}
                      {told.confirmed ? ' ' : ', not confirmed '}
                      <Ago at={told.at} />
                    </span>
                  )}
                </dt>
                <dd>{text}</dd>
              </div>
            );
          })}
        </dl>
      )}
    </section>
  );
}

function Advice({ alert }: { alert: AlertView }): JSX.Element | null {
  const { summary, description, ...others } = alert.annotations;
  if (alert.runbook === null && Object.keys(alert.annotations).length === 0) return null;
  return (
    <section class="panel advice">
      <h2>What to do</h2>
      {summary === undefined ? null : <p>{summary}</p>}
      {description === undefined ? null : <p class="muted">{description}</p>}
      {Object.entries(others).map(([name, text]) => (
        <p key={name}>
          <span class="muted">{name}</span> {text}
        </p>
      ))}
      {alert.runbook === null ? null : (
        <p>
          <a class="runbook" href={alert.runbook} target="_blank" rel="noreferrer">
            Runbook<span class="unseen"> (in a new tab)</span>
          </a>
        </p>
      )}
    </section>
  );
}

function Missing({ failure }: { failure: Failure }): JSX.Element {
  const unknown = failure.kind === 'problem' && failure.problem.status === 404;
  return (
    <Notice
      title={
        unknown
          ? 'There is no alert of this id'
          : failure.kind === 'forbidden'
            ? 'You may not see alerts'
            : 'This alert is not known just now'
      }
    >
      <p>{unknown ? 'It may be older than what is kept.' : explain(failure)}</p>
      <p>
        <a href={addressOf('/alerts')}>To the alerts</a>
      </p>
    </Notice>
  );
}

export function AlertPage({ id }: { id: string }): JSX.Element {
  const answer = useDetail(id).value;
  if (answer === null) return <Notice title="Fetching the alert…" busy />;
  if (!answer.ok) return <Missing failure={answer.failure} />;
  // The stream's word may be newer than the answer.
  const live = openAlerts.value?.find((alert) => alert.id === id);
  const detail = live === undefined || answer.value.alert.state === 'closed' ? answer.value : { ...answer.value, alert: live };
  const { alert } = detail;
  const labels = labelsText(alert.labels);
  const over = alert.state === 'closed';
  return (
    <article class={`alert-page alert-${over ? 'over' : alert.level} ${!over && isCalling(alert) ? 'calling' : ''}`}>
      <p class="back">
        <a href={addressOf(over ? '/alerts/past' : '/alerts')}>← {over ? 'Past alerts' : 'Alerts'}</a>
      </p>
      <header class="alert-page-head">
        <p class="alert-standing">
          {over ? (
            <span class="standing-over">Over: {alert.closeReason === null ? '' : CLOSE_WORDS[alert.closeReason].toLowerCase()}</span>
          ) : (
            <span class={`standing-${alert.level}`}>
              <LevelShape level={alert.level} /> {alert.level === 'critical' ? 'Critical' : 'Warning'}
            </span>
          )}
          {alert.levelMax !== alert.level || over ? <span class="muted">was {alert.levelMax}</span> : null}
          <HeldBy alert={alert} />
        </p>
        <h1>
          {alert.title}{' '}
          <a href={nodePath(alert.node)}>
            <bdi>{alert.node}</bdi>
          </a>
        </h1>
        <p class="muted">
          {alert.site}
          {labels === '' ? null : <span class="tags"> {labels}</span>}
        </p>
        {alert.acknowledged === null || alert.acknowledged.note === '' ? null : <p class="ack-note">“{alert.acknowledged.note}”</p>}
      </header>
      <Acts alert={alert} />
      <Facts alert={alert} />
      <Crossing alert={alert} />
      <div class="alert-columns">
        <div>
          <Advice alert={alert} />
          <Why alert={alert} />
        </div>
        <div>
          <Told detail={detail} />
          <Story detail={detail} />
        </div>
      </div>
    </article>
  );
}
