/** The ways in which a question to the collector can fail, as the console tells them apart. */
import type { Problem } from '@tidemark/protocol';

export type Failure =
  /** No answer, or one from something that is not the collector (a proxy's error page). */
  | { kind: 'unreachable' }
  /** No session, or one that has ended. */
  | { kind: 'signed-out'; problem: Problem }
  /** Signed in, but this may not be seen or done. */
  | { kind: 'forbidden'; problem: Problem }
  /** Too many requests; the collector says when to come back. */
  | { kind: 'limited'; problem: Problem; retryAfterMs: number }
  /** Everything else the collector says in a problem document. */
  | { kind: 'problem'; problem: Problem; retryAfterMs?: number }
  /** Given up by the console itself: a newer question took its place. */
  | { kind: 'aborted' };

export type Answer<T> = { ok: true; value: T } | { ok: false; failure: Failure };

/** A sentence for a tired person. */
export function explain(failure: Failure): string {
  switch (failure.kind) {
    case 'unreachable':
      return 'No answer from the collector.';
    case 'aborted':
      return 'The question was withdrawn.';
    case 'limited':
      return `The collector asks to wait ${Math.ceil(failure.retryAfterMs / 1_000)} s before the next try.`;
    case 'signed-out':
    case 'forbidden':
    case 'problem':
      return failure.problem.detail === '' ? `${failure.problem.title}.` : failure.problem.detail;
  }
}
