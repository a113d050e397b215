/** How to add a node: the commands, finished but for the name. */
import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { collectorUrl } from '../base.ts';
import { Command } from '../look/command.tsx';
import { addCommands, isLoopback } from './commands.ts';

/** The three steps. The node appears on the fleet by itself once its first report has come. */
export function AddNode(): JSX.Element {
  const name = useSignal('');
  const commands = addCommands(name.value.trim() === '' ? 'NAME' : name.value.trim(), collectorUrl());
  return (
    <div class="add-node">
      <label for="new-name">Name of the new node</label>
      <input
        id="new-name"
        class="field"
        value={name.value}
        placeholder="web-1"
        maxLength={253}
        autocomplete="off"
        spellcheck={false}
        onInput={(event) => {
          name.value = event.currentTarget.value;
        }}
      />
      <ol>
        <li>
          <p>On the collector's machine. It prints a token, once.</p>
          <Command label="make the node known" text={commands.onCollector} />
        </li>
        <li>
          <p>On the new node. Paste the token, then press Enter and Ctrl+D: it stays out of the shell's history.</p>
          <Command label="keep the token in a file" text={commands.saveToken} />
        </li>
        <li>
          <p>Start the agent. The node is here within 20 seconds.</p>
          <Command label="start the agent" text={commands.runAgent} />
          {isLoopback(location.hostname) ? (
            <p class="remark">
              You are reading this at <code>{location.host}</code>, which on another machine leads to that machine itself: put the
              collector's name or address there.
            </p>
          ) : null}
        </li>
      </ol>
    </div>
  );
}

export function AddNodePage(): JSX.Element {
  return (
    <section class="page-narrow">
      <h1>Add a node</h1>
      <AddNode />
    </section>
  );
}
