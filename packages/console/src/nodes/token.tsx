/** A token that is told once: shown with what to do with it, and never kept anywhere by this page. */
import type { JSX } from 'preact';
import { Command } from '../look/command.tsx';
import { SAVE_TOKEN } from '../node/commands.ts';

/** For a node whose agent runs and gets another token. */
export function TokenOnce({ name, token }: { name: string; token: string }): JSX.Element {
  return (
    <div class="token-once">
      <p class="token-warning">
        This is the only time this token is shown. Whoever has it can report as <bdi>{name}</bdi>.
      </p>
      <Command label="the token" text={token} />
      <ol>
        <li>
          <p>On the node. Paste the token, then press Enter and Ctrl+D: it stays out of the shell's history.</p>
          <Command label="keep the token in a file" text={SAVE_TOKEN} />
        </li>
        <li>
          <p>
            Put the file where the agent's --token-file is (where an installer was used: /etc/tidemark/agent.token), and start the agent
            anew. The old token is refused from now on.
          </p>
        </li>
      </ol>
    </div>
  );
}
