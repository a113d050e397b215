/** Adding a node without preparing anything: its machine asks, a person approves. */
import { useSignal } from '@preact/signals';
import { approveCommand } from '@tidemark/protocol/install-commands';
import type { JSX } from 'preact';
import { addressOf } from '../base.ts';
import { InstallSteps } from './install-steps.tsx';

/** The node appears by itself, waiting, as soon as its machine has asked. */
export function AddNode(): JSX.Element {
  const name = useSignal('');
  const given = name.value.trim();
  return (
    <div class="add-node">
      <label for="new-name">Name of the new node</label>
      <input
        id="new-name"
        class="field"
        value={name.value}
        placeholder="what the machine is called"
        maxLength={253}
        autocomplete="off"
        spellcheck={false}
        onInput={(event) => {
          name.value = event.currentTarget.value;
        }}
      />
      <InstallSteps name={given === '' ? undefined : given} />
      <p class="muted">
        The machine then asks to join and shows a code. It waits under <a href={addressOf('/nodes')}>Nodes</a> until it is approved there,
        or by <code>{approveCommand(given === '' ? 'NAME' : given)}</code>; what it has measured meanwhile follows.
      </p>
    </div>
  );
}
