/** What an uplink needs of enrolment: to have the collector asked to take this machine in, and what may come of it. */
import type { Agent as HttpAgent } from 'node:http';
import type { EnrollAnswer } from '@tidemark/protocol';

/** What a person needs who decides about a machine that asks. */
export type WaitingClaim = Pick<EnrollAnswer, 'reason' | 'machineCode' | 'approveCommand' | 'consoleUrl'>;

export type Joined =
  | { readonly kind: 'approved'; readonly name: string }
  | { readonly kind: 'pending'; readonly name: string; readonly claim: WaitingClaim }
  /** `code` is the collector's. */
  | { readonly kind: 'refused'; readonly code: string; readonly detail: string }
  | { readonly kind: 'trouble'; readonly detail: string; readonly retryAfterSeconds?: number | undefined };

export interface Joining {
  /** Ask before the first report: no collector can know this agent's secret yet, or a token is to be exchanged. */
  readonly first: boolean;
  /** One attempt. Never rejects. */
  readonly ask: (server: URL, connections: HttpAgent) => Promise<Joined>;
}

/** How a machine that waits is let in, in one sentence. */
export function pendingWords(name: string, { reason, machineCode, approveCommand }: WaitingClaim): string {
  const machine = machineCode === '' || machineCode === 'unknown' ? '' : ` (machine ${machineCode})`;
  const why =
    reason === 'clone-or-replacement'
      ? ', for another machine is the node of this name'
      : reason === 'same-machine'
        ? ', for this machine was the node with another secret'
        : '';
  const how = approveCommand === '' ? 'in the console of the collector' : `on the collector: ${approveCommand}`;
  return `"${name}"${machine} waits to be approved${why}; ${how}`;
}
