/** The finished commands that make a machine a node, for Linux and for Windows; nothing in them is left to fill in. */
import { useSignal } from '@preact/signals';
// Of its own, for the rest of the package is for Node.js.
import { installCommands } from '@tidemark/protocol/install-commands';
import type { JSX } from 'preact';
import { collectorUrl } from '../base.ts';
import { Command } from '../look/command.tsx';
import { isLoopback } from './commands.ts';

const SYSTEMS = { linux: 'Linux', windows: 'Windows' } as const;

/** @param enrolment the string the person has in hand; without it the machine asks to be approved */
export function InstallSteps({ enrolment, name }: { enrolment?: string | undefined; name?: string | undefined }): JSX.Element {
  const system = useSignal<keyof typeof SYSTEMS>('linux');
  const commands = installCommands(collectorUrl(), enrolment, name);
  return (
    <div class="install-steps">
      <div class="choices" role="group" aria-label="System of the machine">
        {Object.entries(SYSTEMS).map(([key, label]) => (
          <button
            key={key}
            type="button"
            class="button quiet"
            aria-pressed={system.value === key}
            onClick={() => {
              system.value = key as keyof typeof SYSTEMS;
            }}
          >
            {label}
          </button>
        ))}
        <span class="muted">{system.value === 'linux' ? 'in a shell, by a user who may sudo' : 'in PowerShell, as administrator'}</span>
      </div>
      <Command label={`install on ${SYSTEMS[system.value]}`} text={commands[system.value]} />
      {isLoopback(location.hostname) ? (
        <p class="remark">
          You are reading this at <code>{location.host}</code>, which on another machine leads to that machine itself: put the collector's
          name or address there.
        </p>
      ) : null}
    </div>
  );
}
