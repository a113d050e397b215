/** Signing in with a token. The token goes into the request's body and nowhere else: not into the address, not into storage. */
import { useComputed, useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { Failure } from '../api/failure.ts';
import { useConsole } from '../context.ts';
import { setTicking, tick } from '../live/clock.ts';
import { TideMark } from '../look/symbols.tsx';

function words(failure: Failure, waitSeconds: number): string {
  switch (failure.kind) {
    case 'signed-out':
      return 'This token is not known here. Check that all of it was copied.';
    case 'limited':
      return waitSeconds > 0 ? `Too many attempts. Try again in ${waitSeconds} s.` : 'Too many attempts. You can try again now.';
    case 'unreachable':
      return 'No answer from the collector. Is it running?';
    case 'forbidden':
    case 'problem':
      return failure.problem.detail || failure.problem.title;
    case 'aborted':
      return '';
  }
}

/** Still water at the foot of the page, and the line it has reached. */
function Sea(): JSX.Element {
  const wave = (y: number): string =>
    `M-120 ${y} ${Array.from({ length: 14 }, () => 'c30 -14 60 -14 90 0 s60 14 90 0').join(' ')} V200 H-120z`;
  return (
    <svg class="sea" viewBox="0 0 1200 160" preserveAspectRatio="xMidYMax slice" aria-hidden="true">
      <path class="sea-line" d="M0 30H1200" />
      <path class="sea-far" d={wave(66)} />
      <path class="sea-mid" d={wave(92)} transform="translate(-64 0)" />
      <path class="sea-near" d={wave(122)} transform="translate(-20 0)" />
    </svg>
  );
}

export function SignIn({ ended }: { ended: boolean }): JSX.Element {
  const { session } = useConsole();
  const failure = useSignal<Failure | null>(null);
  const notBeforeMs = useSignal(0);
  const busy = useSignal(false);
  const field = useRef<HTMLInputElement>(null);
  const waitSeconds = useComputed(() => Math.max(0, Math.ceil((notBeforeMs.value - tick.value) / 1_000)));

  useEffect(() => {
    field.current?.focus();
    setTicking(true);
  }, []);

  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    const token = field.current?.value.trim() ?? '';
    if (busy.value || waitSeconds.value > 0) return;
    if (token === '') return field.current?.focus();
    busy.value = true;
    const answer = await session.signIn(token);
    busy.value = false;
    if (answer.ok) return;
    failure.value = answer.failure;
    if (answer.failure.kind === 'limited') notBeforeMs.value = performance.now() + answer.failure.retryAfterMs;
    field.current?.select();
    field.current?.focus();
  };

  const wrong = failure.value !== null;
  return (
    <section class="sign-in">
      <form onSubmit={(event) => void submit(event)} aria-labelledby="sign-in-title">
        <TideMark size={40} />
        <h1 id="sign-in-title">Sign in to Tidemark</h1>
        {ended && !wrong ? <p class="muted">Your session has ended. After signing in you are back where you were.</p> : null}
        {/* Password managers keep a token under a name. */}
        <input
          class="unseen"
          type="text"
          name="username"
          autocomplete="username"
          value="tidemark"
          readOnly
          tabIndex={-1}
          aria-hidden="true"
        />
        <label for="token">Token</label>
        <input
          id="token"
          ref={field}
          type="password"
          name="token"
          autocomplete="current-password"
          autocapitalize="off"
          spellcheck={false}
          aria-invalid={failure.value?.kind === 'signed-out'}
          aria-describedby="sign-in-failure"
        />
        <p id="sign-in-failure" class="failure" role="alert">
          {failure.value === null ? '' : words(failure.value, waitSeconds.value)}
        </p>
        <button type="submit" class="button primary" aria-disabled={busy.value || waitSeconds.value > 0}>
          {busy.value ? 'Signing in…' : 'Sign in'}
        </button>
        <details>
          <summary>Where is my token?</summary>
          <p>
            The administrator's is in the file <code>admin-token</code> in the collector's data directory, on the collector's own machine.
            Others get theirs from the administrator. <code>tidemark-collector token reset</code> makes a new one.
          </p>
        </details>
      </form>
      <Sea />
    </section>
  );
}
