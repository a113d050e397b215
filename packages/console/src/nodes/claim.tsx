/** A machine that asks to be a node: who, from where, and what approving it would do. What is decided is about this machine alone. */
import { useSignal } from '@preact/signals';
import type { NodeSummary } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { explain, type Failure } from '../api/failure.ts';
import { useConsole } from '../context.ts';
import { Dialog, DialogEnd } from '../look/dialog.tsx';
import { Ago } from '../look/moment.tsx';

type Claim = NonNullable<NodeSummary['claim']>;
type Decision = 'approve' | 'deny';

/** What is asked, in a person's words. */
export const CLAIM_WORDS: Readonly<Record<Claim['reason'], string>> = {
  new: 'A machine asks to join under this name.',
  'same-machine': 'This machine was installed anew and asks with another secret.',
  'clone-or-replacement': 'Another machine asks to be this node: a clone of it, or its replacement?',
};
const CONSEQUENCES: Readonly<Record<Claim['reason'], Readonly<Record<Decision, string>>>> = {
  new: {
    approve: 'Its reports are taken from now on, and those it has kept meanwhile follow.',
    deny: 'It is told that it was not approved, and its reports are not taken. The name is free.',
  },
  'same-machine': {
    approve: 'Its new secret is good from now on, the old one ends. History, site and rules stay.',
    deny: 'The new secret is refused. Whatever still reports with the old one goes on.',
  },
  'clone-or-replacement': {
    approve:
      'The machine that asks becomes this node, with its history and its rules; the machine that was this node is told that it has been replaced. Right for a replacement. A clone wants a name of its own instead: deny it, and install it with another one.',
    deny: 'The machine that asks is refused. This node goes on as it is.',
  },
};

export function ClaimLine({
  node,
  claim,
  mayChange,
  renew,
}: {
  node: NodeSummary;
  claim: Claim;
  mayChange: boolean;
  renew: () => void;
}): JSX.Element {
  const { api, feed } = useConsole();
  const asking = useSignal<Decision | null>(null);
  const busy = useSignal(false);
  const failure = useSignal<Failure | null>(null);
  const decision = asking.value;
  const decide = async (): Promise<void> => {
    if (decision === null) return;
    busy.value = true;
    const answer = await api.stepNode(node.name, decision, claim.machineCode);
    busy.value = false;
    feed.heard(answer);
    failure.value = answer.ok ? null : answer.failure;
    if (answer.ok) asking.value = null;
    renew();
  };
  const button = (step: Decision, label: string): JSX.Element => (
    <button
      type="button"
      class={step === 'approve' ? 'button' : 'button quiet'}
      aria-label={`${label}: ${node.name}, machine ${claim.machineCode}`}
      onClick={() => {
        failure.value = null;
        asking.value = step;
      }}
    >
      {label}…
    </button>
  );
  return (
    <div class="claim">
      <p>
        <strong>{CLAIM_WORDS[claim.reason]}</strong>{' '}
        <span class="muted">
          Code <code>{claim.machineCode}</code>, from <code>{claim.address}</code>
          {claim.platform === null ? '' : `, ${claim.platform}`}
          {claim.agentVersion === null ? '' : `, agent ${claim.agentVersion}`}, <Ago at={claim.askedAt} />
        </span>
      </p>
      {mayChange ? (
        <div class="row-acts">
          {button('approve', claim.reason === 'clone-or-replacement' ? 'Replace' : 'Approve')}
          {button('deny', 'Deny')}
        </div>
      ) : null}
      {decision === null ? null : (
        <Dialog
          title={
            decision === 'deny'
              ? 'Deny this machine'
              : claim.reason === 'clone-or-replacement'
                ? 'Replace the machine of this node'
                : 'Approve this machine'
          }
          onClose={() => {
            asking.value = null;
          }}
          onSubmit={() => void decide()}
        >
          <p class="dialog-subject">
            <bdi>{node.name}</bdi>
          </p>
          <p>
            Compare the code: the installer on the machine shows <code class="claim-code">{claim.machineCode}</code>.
          </p>
          <p class="muted">{CONSEQUENCES[claim.reason][decision]}</p>
          {failure.value === null ? null : (
            <p class="bad" role="alert">
              {explain(failure.value)}
            </p>
          )}
          <DialogEnd
            act={decision === 'deny' ? 'Deny' : claim.reason === 'clone-or-replacement' ? 'Replace' : 'Approve'}
            busy={busy.value}
            danger={decision === 'deny' || claim.reason === 'clone-or-replacement'}
            onClose={() => {
              asking.value = null;
            }}
          />
        </Dialog>
      )}
    </div>
  );
}
