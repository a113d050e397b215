/** Whether somebody is signed in. The address stays what it was while signing in, so that one is back where one was. */
import { computed, signal, type ReadonlySignal } from '@preact/signals';
import type { Api } from '../api/client.ts';
import type { Answer, Failure } from '../api/failure.ts';

export type SessionStatus =
  | { kind: 'asking'; failure: Failure | null }
  | { kind: 'signed-in'; role: string }
  /** `ended` when there was a session in this page's life. */
  | { kind: 'signed-out'; ended: boolean };

export interface SessionState {
  readonly status: ReadonlySignal<SessionStatus>;
  readonly active: ReadonlySignal<boolean>;
  /** Asks the collector; tries again by itself until there is an answer. */
  begin(): Promise<void>;
  signIn(token: string): Promise<Answer<void>>;
  signOut(): Promise<void>;
  /** The collector said 401. */
  ended(): void;
}

const RETRY_MS = 2_000;

/** Makes the session of this page. */
export function createSession(api: Api): SessionState {
  const status = signal<SessionStatus>({ kind: 'asking', failure: null });
  const begin = async (): Promise<void> => {
    const answer = await api.session();
    if (answer.ok) status.value = { kind: 'signed-in', role: answer.value.role };
    else if (answer.failure.kind === 'signed-out') status.value = { kind: 'signed-out', ended: false };
    else {
      status.value = { kind: 'asking', failure: answer.failure };
      setTimeout(() => void begin(), answer.failure.kind === 'limited' ? answer.failure.retryAfterMs : RETRY_MS);
    }
  };
  return {
    status,
    active: computed(() => status.value.kind === 'signed-in'),
    begin,
    async signIn(token) {
      const answer = await api.signIn(token);
      if (answer.ok) await begin();
      return answer;
    },
    async signOut() {
      const answer = await api.signOut();
      // Without an answer the cookie is still good: saying "signed out" would be a lie.
      if (answer.ok || answer.failure.kind === 'signed-out') status.value = { kind: 'signed-out', ended: false };
    },
    ended() {
      if (status.value.kind === 'signed-in') status.value = { kind: 'signed-out', ended: true };
    },
  };
}
