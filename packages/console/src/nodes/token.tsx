/** A token that is told once: shown with what to do with it, and never kept anywhere by this page. */
import type { JSX } from 'preact';
import { collectorUrl } from '../base.ts';
import { Command } from '../look/command.tsx';
import { addCommands, isLoopback } from '../node/commands.ts';

/** @param fresh for a node that has no agent yet; else its agent runs and gets another token. */
export function TokenOnce({ name, token, fresh }: { name: string; token: string; fresh: boolean }): JSX.Element {
  const commands = addCommands(name, collectorUrl());
  return (
    <div class="token-once">
      <p class="token-warning">
        This is the only time this token is shown. Whoever has it can report as <bdi>{name}</bdi>.
      </p>
      <Command label="the token" text={token} />
      <ol>
        <li>
          <p>On the node. Paste the token, then press Enter and Ctrl+D: it stays out of the shell's history.</p>
          <Command label="keep the token in a file" text={commands.saveToken} />
        </li>
        <li>
          {fresh ? (
            <>
              <p>Start the agent. The node reports within 20 seconds.</p>
              <Command label="start the agent" text={commands.runAgent} />
            </>
          ) : (
            <p>Put the file where the agent's --token-file is, and start the agent anew. The old token is refused from now on.</p>
          )}
          {fresh && isLoopback(location.hostname) ? (
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
