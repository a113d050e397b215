/**
 * What a server was when: stretches of one role on one timeline, by the reports. Says when a server began a new branch, and
 * which of its positions belong to the history that it has led since.
 */
import type { PostgresTrack } from '@tidemark/protocol';

type Role = PostgresTrack['runs'][number]['role'];

interface Era {
  /** Seen so from, and last. */
  from: number;
  to: number;
  readonly role: Role;
  /** Null: not known; it is then held to be the one of what is next to it. */
  readonly timeline: number | null;
}

/** A stretch as a primary. */
export interface PrimaryEra {
  /** Seen as a primary first and last. */
  readonly from: number;
  readonly to: number;
  /** Since when everything it had was of the history that it then led. */
  readonly since: number;
}

const ERAS_MAX = 64;

export class Eras {
  /** Ordered by time; no two neighbours are alike. */
  readonly #eras: Era[] = [];

  /** Takes that a server was so from `from` to `to`. True when it came onto this timeline from another one just then, as far as is known. */
  note(from: number, to: number, role: Role, timeline: number | null): boolean {
    const eras = this.#eras;
    const isLike = (era: Era): boolean => era.role === role && !differ(era.timeline, timeline);
    let next = eras.length;
    while (next > 0 && eras[next - 1]!.from > from) next--;
    const before = eras[next - 1];
    const after = eras[next];
    if (before !== undefined && isLike(before)) {
      before.to = Math.max(before.to, to);
      return false;
    }
    const isNewBranch = before !== undefined && differ(before.timeline, timeline);
    if (after !== undefined && isLike(after)) {
      after.from = from;
      after.to = Math.max(after.to, to);
      return isNewBranch;
    }
    const added: Era[] = [{ from, to, role, timeline }];
    if (before !== undefined && before.to > to) {
      added.push({ ...before, from: to });
      before.to = from;
    }
    eras.splice(next, 0, ...added);
    if (eras.length > ERAS_MAX) eras.splice(0, eras.length - ERAS_MAX);
    return isNewBranch;
  }

  /** It was a primary on a timeline before this one. */
  wasPrimaryBelow(timeline: number): boolean {
    return this.#eras.some((era) => era.role === 'primary' && era.timeline !== null && era.timeline < timeline);
  }

  /** The nth last stretch as a primary, 0 the newest. */
  lastPrimary(nth: number): PrimaryEra | undefined {
    const eras = this.#eras;
    for (let i = eras.length - 1, left = nth; i >= 0; i--) {
      if (eras[i]!.role !== 'primary' || left-- > 0) continue;
      let joined = i;
      while (joined > 0 && !(eras[joined]!.role === 'replica' && differ(eras[joined - 1]!.timeline, eras[joined]!.timeline))) joined--;
      return { from: eras[i]!.from, to: eras[i]!.to, since: joined === 0 ? -Infinity : eras[joined]!.from };
    }
    return undefined;
  }
}

const differ = (a: number | null, b: number | null): boolean => a !== null && b !== null && a !== b;
