/**
 * What lies between two samples: the likeliest course, and which samples may be left out because a straight line says the
 * same within a second. How far the line may be off is kept with it, so that bounds hold as if nothing had been left out.
 */
import type { Samples } from './track-samples.ts';

/** What `likely` may move by when samples are left out; a little is kept back for the rounding of floats. */
export const THIN_TOLERANCE_MS = 1_000;
const TOLERANCE_MS = THIN_TOLERANCE_MS - 10;
/** Samples farther apart than those of two seconds are have lost some between them, which a late report may bring. */
const GAP_MS = 3_000;

/**
 * When a position between sample `index` and the next was most likely passed. Steady writing: as far into the time as into
 * the bytes. After a plateau (the sample before is at the same position) writing began at some moment within the bracket,
 * by its middle on the average, and what followed filled the rest of it: so the bytes are spread over the second half.
 */
export function likelyPassing(samples: Samples, index: number, lsn: bigint): number {
  const from = samples.lsnOf(index);
  const [start, end] = [samples.middleOf(index), samples.middleOf(index + 1)];
  // A straight line begins after no plateau that was known when it was drawn, and what it is widened by is counted from its beginning.
  const begun = !samples.isStraight(index) && endsPlateau(samples, index) ? (start + end) / 2 : start;
  return begun + (Number(lsn - from) / Number(samples.lsnOf(index + 1) - from)) * (end - begun);
}

/** Bounds of the position at a moment on the straight line from sample `index` to the next; `low` undefined: not known to have come even to its beginning. */
export function straightPart(samples: Samples, index: number, at: number): { low: bigint | undefined; high: bigint } {
  const { beforeMs, afterMs } = samples.straightOf(index);
  const [from, to] = [samples.lsnOf(index), samples.lsnOf(index + 1)];
  const [start, end] = [samples.middleOf(index), samples.middleOf(index + 1)];
  const bytes = Number(to - from);
  const on = (moment: number): number => Math.min(1, Math.max(0, (moment - start) / (end - start))) * bytes;
  // A byte and a part in 2^40 for what floats round.
  const slack = 1 + bytes / 2 ** 40;
  const low = Math.floor(on(at - afterMs) - slack);
  const high = from + BigInt(Math.ceil(on(at + beforeMs) + slack));
  return { low: low < 0 ? undefined : from + BigInt(low), high: high > to ? to : high };
}

/** Leaves out of [from, to) what straight lines tell as well. Returns where the last of them is afterwards. */
export function thin(samples: Samples, from: number, to: number): number {
  let kept = from;
  let index = from;
  while (index < to - 1) {
    const end = straightEnd(samples, index, to);
    const slack = end > index + 1 ? slackOf(samples, index, end) : undefined;
    if (kept !== index) samples.copy(index, kept);
    if (slack !== undefined) samples.setStraight(kept, slack.beforeMs, slack.afterMs);
    kept++;
    index = end;
  }
  samples.remove(kept, index);
  return kept;
}

/** How far a straight line from a sample can go: the swinging door. */
function straightEnd(samples: Samples, from: number, to: number): number {
  if (mayEndPlateau(samples, from) || !isPlain(samples, from)) return from + 1;
  const [lsn, middle] = [samples.lsnOf(from), samples.middleOf(from)];
  let [flattest, steepest] = [-Infinity, Infinity];
  for (let i = from + 1; i < to; i++) {
    const bytes = Number(samples.lsnOf(i) - lsn);
    const ms = samples.middleOf(i) - middle;
    if (i > from + 1 && !(ms / bytes >= flattest && ms / bytes <= steepest)) return i - 1;
    flattest = Math.max(flattest, (ms - TOLERANCE_MS) / bytes);
    steepest = Math.min(steepest, (ms + TOLERANCE_MS) / bytes);
    if (i === to - 1 || !isPlain(samples, i)) return i;
  }
  return to - 1;
}

/** Writing goes on from this sample to the next, both were seen, and nothing was left out there yet. */
function isPlain(samples: Samples, index: number): boolean {
  return (
    index + 1 < samples.length &&
    !samples.isStraight(index) &&
    samples.lsnOf(index + 1) > samples.lsnOf(index) &&
    samples.startOf(index + 1) - samples.startOf(index) <= GAP_MS
  );
}

/** What the line from one sample to another has to be widened by, so that it holds what each stretch on it holds. */
function slackOf(samples: Samples, from: number, to: number): { beforeMs: number; afterMs: number } {
  const [lsn, middle] = [samples.lsnOf(from), samples.middleOf(from)];
  const msPerByte = (samples.middleOf(to) - middle) / Number(samples.lsnOf(to) - lsn);
  const onLine = (index: number): number => middle + Number(samples.lsnOf(index) - lsn) * msPerByte;
  let [beforeMs, afterMs] = [0, 0];
  for (let i = from; i < to; i++) {
    beforeMs = Math.max(beforeMs, onLine(i + 1) - samples.startOf(i));
    afterMs = Math.max(afterMs, samples.endOf(i + 1) - onLine(i));
  }
  // For the rounding of floats.
  return { beforeMs: beforeMs + 0.01, afterMs: afterMs + 0.01 };
}

const endsPlateau = (samples: Samples, index: number): boolean => index > 0 && samples.lsnOf(index - 1) === samples.lsnOf(index);

/** It does, or something that is still to come may show that it does. */
function mayEndPlateau(samples: Samples, index: number): boolean {
  return index === 0 || samples.startOf(index) - samples.startOf(index - 1) > GAP_MS || endsPlateau(samples, index);
}
