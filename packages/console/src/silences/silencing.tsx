/** "Not a word about this for a while": one button, prefilled with what one stands before, and never without an end or a reason. */
import { computed, useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useMemo } from 'preact/hooks';
import { openAlerts, renewOpenAlerts } from '../alerts/open-alerts.ts';
import { explain, type Failure } from '../api/failure.ts';
import { useConsole } from '../context.ts';
import { countOf } from '../format/quantities.ts';
import { Dialog, DialogEnd } from '../look/dialog.tsx';
import { Clock } from '../look/moment.tsx';
import { NAME_MOST, rememberWho, who } from '../session/who.ts';
import { covers, matcherOf, type Part } from './matcher.ts';
import { endOf, localField, type Span } from './span.ts';

const SPANS: readonly { label: string; span: Span }[] = [
  { label: '1 hour', span: { kind: 'hours', hours: 1 } },
  { label: '4 hours', span: { kind: 'hours', hours: 4 } },
  { label: 'until 8:00', span: { kind: 'morning' } },
];

function SilenceDialog({ parts: given, onClose }: { parts: readonly Part[]; onClose: () => void }): JSX.Element {
  const { api } = useConsole();
  const parts = useSignal(given);
  const span = useSignal<Span>({ kind: 'hours', hours: 1 });
  const reason = useSignal('');
  const name = useSignal(who.value);
  const busy = useSignal(false);
  const failure = useSignal<Failure | null>(null);
  const askName = useMemo(() => who.peek() === '', []);
  const matcher = useMemo(() => computed(() => matcherOf(parts.value)), [parts]);
  const covered = useMemo(
    () =>
      computed(() => {
        const of = matcher.value;
        return of === null ? 0 : (openAlerts.value ?? []).filter((alert) => covers(of, alert)).length;
      }),
    [matcher],
  );
  const endMs = endOf(span.value, Date.now());

  const submit = async (): Promise<void> => {
    const of = matcher.value;
    const untilMs = endOf(span.value, Date.now());
    if (of === null || untilMs === null || reason.value.trim() === '' || name.value.trim() === '') return;
    rememberWho(name.value);
    busy.value = true;
    const seconds = Math.round((untilMs - Date.now()) / 1_000);
    const answer = await api.addSilence({ matcher: of, reason: reason.value.trim(), author: name.value.trim(), seconds });
    busy.value = false;
    renewOpenAlerts();
    if (answer.ok) onClose();
    else failure.value = answer.failure;
  };

  return (
    <Dialog title="Silence" onClose={onClose} onSubmit={() => void submit()}>
      <p class="muted">
        Nobody is told when these begin. Who was told before is still told when it is over, and this page shows them all the same.
      </p>
      <fieldset>
        <legend>What</legend>
        {parts.value.map((part, index) => (
          <label key={part.name} class="part">
            <input
              type="checkbox"
              checked={part.taken}
              onChange={(event) => {
                const taken = event.currentTarget.checked;
                parts.value = parts.value.map((each, n) => (n === index ? { ...each, taken } : each));
              }}
            />
            <span class="part-name">{part.name.replace(/^label /, '')}</span>
            <input
              class="field code"
              aria-label={`Value of ${part.name}; * stands for any characters`}
              value={part.value}
              readOnly={part.name === 'level'}
              onInput={(event) => {
                const { value } = event.currentTarget;
                parts.value = parts.value.map((each, n) => (n === index ? { ...each, value, taken: value !== '' } : each));
              }}
            />
          </label>
        ))}
        <p class="remark" role="status">
          {matcher.value === null ? (
            <span class="bad">Choose at least one: everything cannot be silenced.</span>
          ) : (
            <>
              Covers {countOf(covered.value, 'open alert')} now, and what comes. <code>*</code> stands for any characters.
            </>
          )}
        </p>
      </fieldset>
      <fieldset>
        <legend>For how long</legend>
        <div class="choices">
          {SPANS.map((each) => (
            <label key={each.label} class="choice">
              <input
                type="radio"
                name="span"
                checked={JSON.stringify(span.value) === JSON.stringify(each.span)}
                onChange={() => {
                  span.value = each.span;
                }}
              />
              <span>{each.label}</span>
            </label>
          ))}
          <label class="choice">
            <input
              type="radio"
              name="span"
              checked={span.value.kind === 'until'}
              onChange={() => {
                span.value = { kind: 'until', local: localField(Date.now() + 2 * 3_600_000) };
              }}
            />
            <span>until…</span>
          </label>
        </div>
        {span.value.kind === 'until' ? (
          <input
            class="field"
            type="datetime-local"
            aria-label="Until"
            value={span.value.local}
            onInput={(event) => {
              span.value = { kind: 'until', local: event.currentTarget.value };
            }}
          />
        ) : null}
        <p class="remark" role="status">
          {endMs === null ? (
            <span class="bad">Choose a moment ahead, within a year.</span>
          ) : (
            <>
              Ends by itself at <Clock atMs={endMs} />.
            </>
          )}
        </p>
      </fieldset>
      <label>
        Reason
        <input
          class="field"
          value={reason.value}
          maxLength={1_000}
          required
          data-first
          placeholder="disk is being replaced, ticket 4711"
          onInput={(event) => {
            reason.value = event.currentTarget.value;
          }}
        />
      </label>
      {askName ? (
        <label>
          Your name
          <input
            class="field"
            value={name.value}
            maxLength={NAME_MOST}
            required
            autocomplete="name"
            onInput={(event) => {
              name.value = event.currentTarget.value;
            }}
          />
        </label>
      ) : null}
      {failure.value === null ? null : (
        <p class="bad" role="alert">
          {explain(failure.value)}
        </p>
      )}
      <DialogEnd act="Silence" busy={busy.value} disabled={matcher.value === null || endMs === null} onClose={onClose} />
    </Dialog>
  );
}

/** @param parts made when the dialog opens. */
export function SilenceButton(props: { parts: () => readonly Part[]; label?: string; name?: string; class?: string }): JSX.Element {
  const open = useSignal<readonly Part[] | null>(null);
  return (
    <>
      <button
        type="button"
        class={props.class ?? 'button'}
        aria-label={props.name === undefined ? undefined : `Silence: ${props.name}`}
        onClick={() => {
          open.value = props.parts();
        }}
      >
        {props.label ?? 'Silence…'}
      </button>
      {open.value === null ? null : (
        <SilenceDialog
          parts={open.value}
          onClose={() => {
            open.value = null;
          }}
        />
      )}
    </>
  );
}
