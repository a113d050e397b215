/** What can be done to a node: each step says what it does before it is done, and what it cannot undo. */
import { useSignal } from '@preact/signals';
import type { NodeSummary } from '@tidemark/protocol';
import type { ComponentChildren, JSX } from 'preact';
import { openAlertsOf } from '../alerts/open-alerts.ts';
import { explain, type Failure } from '../api/failure.ts';
import { useConsole } from '../context.ts';
import { countOf } from '../format/quantities.ts';
import { Dialog, DialogEnd } from '../look/dialog.tsx';
import { stepsOf } from './list.ts';
import { TokenOnce } from './token.tsx';

type Step = 'approve' | 'rename' | 'token' | 'revoke' | 'retire';
const LABELS: Readonly<Record<Step, string>> = {
  approve: 'Approve',
  rename: 'Rename…',
  token: 'New token…',
  revoke: 'Revoke…',
  retire: 'Retire…',
};
const ACTS: Readonly<Record<Step, string>> = {
  approve: 'Approve',
  rename: 'Rename',
  token: 'Make a new token',
  revoke: 'Revoke',
  retire: 'Retire it',
};
const QUESTIONS: Readonly<Record<Exclude<Step, 'approve'>, string>> = {
  rename: 'Rename this node',
  token: 'Make a new token',
  revoke: "Revoke this node's token",
  retire: 'Retire this node',
};

function Consequences({ node, step }: { node: NodeSummary; step: Step }): JSX.Element | null {
  const open = openAlertsOf(node.name).length;
  switch (step) {
    case 'approve':
      return null;
    case 'rename':
      return (
        <p class="muted">
          Its history stays with it. Its agent goes on reporting: the token knows the node, not the name. Rules and silences that name it do
          not follow.
        </p>
      );
    case 'token':
      return <p class="muted">The old token ends at once: until its agent has the new one, the node is silent.</p>;
    case 'revoke':
      return (
        <p class="muted">
          Its reports are refused from now on; the node falls silent and that is told as any silence. Its history stays. It can be approved
          again.
        </p>
      );
    case 'retire':
      return (
        <ul class="consequences">
          <li>Its history stays, and can be looked at.</li>
          <li>
            {open === 0
              ? 'No alert of it is open.'
              : `${countOf(open, 'open alert')} of it ${open === 1 ? 'closes' : 'close'} as “retired”`}
            {open === 0 ? '' : '; whoever was told is told so.'}
          </li>
          <li>Its reports are refused from now on, and nothing is judged for it.</li>
          <li>Its name is free for another node. This cannot be undone.</li>
        </ul>
      );
  }
}

export function NodeSteps({ node, onDone }: { node: NodeSummary; onDone: () => void }): JSX.Element {
  const { api, feed } = useConsole();
  const more = useSignal(false);
  const asking = useSignal<Exclude<Step, 'approve'> | null>(null);
  const name = useSignal('');
  const token = useSignal<string | null>(null);
  const busy = useSignal(false);
  const failure = useSignal<Failure | null>(null);
  const close = (): void => {
    asking.value = null;
    token.value = null;
    failure.value = null;
  };
  const act = async (step: Step): Promise<void> => {
    busy.value = true;
    const answer =
      step === 'token'
        ? await api.newToken(node.name)
        : step === 'rename'
          ? await api.renameNode(node.name, name.value.trim())
          : await api.stepNode(node.name, step);
    busy.value = false;
    feed.heard(answer);
    failure.value = answer.ok ? null : answer.failure;
    if (!answer.ok) return;
    if (step === 'token' && answer.value !== undefined) token.value = answer.value.token;
    else close();
    onDone();
  };
  let body: ComponentChildren = null;
  const step = asking.value;
  if (step !== null && token.value !== null)
    body = (
      <Dialog title="The new token" onClose={close} onSubmit={close}>
        <TokenOnce name={node.name} token={token.value} />
        <div class="dialog-end">
          <button type="submit" class="button primary">
            I have it
          </button>
        </div>
      </Dialog>
    );
  else if (step !== null)
    body = (
      <Dialog title={QUESTIONS[step]} onClose={close} onSubmit={() => void act(step)}>
        <p class="dialog-subject">
          <bdi>{node.name}</bdi>
        </p>
        {step === 'rename' ? (
          <label>
            New name
            <input
              class="field"
              value={name.value}
              maxLength={253}
              required
              data-first
              autocomplete="off"
              spellcheck={false}
              onInput={(event) => {
                name.value = event.currentTarget.value;
              }}
            />
          </label>
        ) : null}
        <Consequences node={node} step={step} />
        {failure.value === null ? null : (
          <p class="bad" role="alert">
            {explain(failure.value)}
          </p>
        )}
        <DialogEnd act={ACTS[step]} busy={busy.value} danger={step === 'retire' || step === 'revoke'} onClose={close} />
      </Dialog>
    );
  // Where a machine asks, it is decided about that machine, beside what is said of it.
  const approvable = stepsOf(node.state).includes('approve') && (node.claim ?? null) === null;
  const steps = stepsOf(node.state).filter((each) => each !== 'approve');
  const stepButton = (each: Step): JSX.Element => (
    <button
      key={each}
      type="button"
      class={each === 'approve' ? 'button primary' : 'button quiet'}
      disabled={busy.value}
      aria-label={`${LABELS[each].replace('…', '')}: ${node.name}`}
      onClick={() => {
        if (each === 'approve') void act(each);
        else {
          name.value = node.name;
          asking.value = each;
        }
      }}
    >
      {LABELS[each]}
    </button>
  );
  return (
    <>
      {approvable ? stepButton('approve') : null}
      {more.value ? steps.map(stepButton) : null}
      {steps.length === 0 ? null : (
        <button
          type="button"
          class="icon-button more-steps"
          aria-expanded={more.value}
          aria-label={`${more.value ? 'Less' : 'More'} to do with ${node.name}`}
          title={more.value ? 'Less' : 'Rename, new token, revoke, retire'}
          onClick={() => {
            more.value = !more.value;
          }}
        >
          <svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">
            {more.value ? (
              <path d="M4 4l8 8m0-8-8 8" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" />
            ) : (
              <g fill="currentColor">
                <circle cx="3" cy="8" r="1.5" />
                <circle cx="8" cy="8" r="1.5" />
                <circle cx="13" cy="8" r="1.5" />
              </g>
            )}
          </svg>
        </button>
      )}
      {step === null && failure.value !== null ? (
        <span class="bad" role="alert">
          {explain(failure.value)}
        </span>
      ) : null}
      {body}
    </>
  );
}
