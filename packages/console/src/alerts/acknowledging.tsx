/** "I have it": one button. Asks for a name the first time, and never again; a note is for those who want to leave one. */
import { useSignal } from '@preact/signals';
import type { AlertView } from '@tidemark/protocol';
import type { JSX } from 'preact';
import type { Api } from '../api/client.ts';
import { explain, type Failure } from '../api/failure.ts';
import { useConsole } from '../context.ts';
import { countOf } from '../format/quantities.ts';
import { Dialog, DialogEnd } from '../look/dialog.tsx';
import { NAME_MOST, rememberWho, who } from '../session/who.ts';
import { renewOpenAlerts } from './open-alerts.ts';
import { alertName } from './words.ts';

/** So many are asked for at once when a group is acknowledged. */
const AT_ONCE = 4;

/** Acknowledges each; the first refusal ends it. One that is over by now is no failure. */
async function acknowledgeAll(
  api: Pick<Api, 'acknowledge'>,
  alerts: readonly AlertView[],
  by: string,
  note: string,
): Promise<Failure | null> {
  const waiting = [...alerts];
  let failure: Failure | null = null;
  const work = async (): Promise<void> => {
    for (let alert = waiting.shift(); alert !== undefined && failure === null; alert = waiting.shift()) {
      const answer = await api.acknowledge(alert.id, { by, ...(note === '' ? {} : { note }) });
      if (!answer.ok && !(answer.failure.kind === 'problem' && answer.failure.problem.code === 'alert_closed')) failure = answer.failure;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return failure;
}

function AskName(props: { alerts: readonly AlertView[]; onClose: () => void; onGiven: (name: string, note: string) => void }): JSX.Element {
  const name = useSignal(who.value);
  const note = useSignal('');
  const first = props.alerts[0];
  return (
    <Dialog
      title={props.alerts.length === 1 ? 'Acknowledge this alert' : `Acknowledge ${countOf(props.alerts.length, 'alert')}`}
      onClose={props.onClose}
      onSubmit={() => {
        if (name.value.trim() !== '') props.onGiven(name.value.trim(), note.value.trim());
      }}
    >
      <p class="muted">
        {props.alerts.length === 1 && first !== undefined ? <bdi>{alertName(first)}</bdi> : null} Everybody sees who has it. It stays open
        until it is over; if it gets worse, it calls again.
      </p>
      <label>
        Your name
        <input
          class="field"
          value={name.value}
          maxLength={NAME_MOST}
          required
          autocomplete="name"
          data-first={who.value === '' ? '' : undefined}
          onInput={(event) => {
            name.value = event.currentTarget.value;
          }}
        />
        <span class="remark">Kept in this browser: you are not asked again.</span>
      </label>
      <label>
        Note <span class="muted">(if you like)</span>
        <input
          class="field"
          value={note.value}
          maxLength={1_000}
          placeholder="the nightly batch; looking at it"
          data-first={who.value === '' ? undefined : ''}
          onInput={(event) => {
            note.value = event.currentTarget.value;
          }}
        />
      </label>
      <DialogEnd act="Acknowledge" onClose={props.onClose} />
    </Dialog>
  );
}

/** @param withNote always opens the dialog, for those who want to leave a note. */
export function AcknowledgeButton(props: {
  alerts: readonly AlertView[];
  label?: string;
  class?: string;
  withNote?: boolean;
}): JSX.Element {
  const { api } = useConsole();
  const asking = useSignal(false);
  const busy = useSignal(false);
  const failure = useSignal<Failure | null>(null);
  const act = async (name: string, note: string): Promise<void> => {
    asking.value = false;
    busy.value = true;
    failure.value = await acknowledgeAll(api, props.alerts, name, note);
    busy.value = false;
    renewOpenAlerts();
  };
  const only = props.alerts.length === 1 ? props.alerts[0] : undefined;
  return (
    <>
      <button
        type="button"
        class={props.class ?? 'button'}
        disabled={busy.value}
        aria-label={only === undefined ? undefined : `${props.label ?? 'Acknowledge'}: ${alertName(only)}`}
        onClick={() => {
          if (who.value === '' || props.withNote === true) asking.value = true;
          else void act(who.value, '');
        }}
      >
        {busy.value ? 'One moment…' : (props.label ?? 'Acknowledge')}
      </button>
      {failure.value === null ? null : (
        <span class="bad" role="alert">
          {explain(failure.value)}
        </span>
      )}
      {asking.value ? (
        <AskName
          alerts={props.alerts}
          onClose={() => {
            asking.value = false;
          }}
          onGiven={(name, note) => {
            rememberWho(name);
            void act(name, note);
          }}
        />
      ) : null}
    </>
  );
}
