/**
 * When something was so, as ascending and disjoint pairs [from, to) in one flat array of milliseconds: only changes take
 * room, however many samples there were. Nothing here changes an array it was given.
 */

export type Runs = readonly number[];
export const NO_RUNS: Runs = [];

/** More pairs than this are never kept. */
const RUNS_MAX = 256;

/** Adds a stretch that begins where the newest one ends or later. */
export function withRun(runs: Runs, from: number, to: number): Runs {
  if (to <= from) return runs;
  const last = runs.length - 1;
  if (last > 0 && runs[last]! >= from) return [...runs.slice(0, last), to];
  if (runs.length < RUNS_MAX * 2) return [...runs, from, to];
  // The two oldest become one that is as long as both: no time is lost, it only counts as a little younger.
  const end = runs[3]!;
  return [end - (runs[1]! - runs[0]!) - (end - runs[2]!), end, ...runs.slice(4), from, to];
}

/** Without what was over before `time`. A run that reaches over it stays whole, so that its beginning stays known. */
export function since(runs: Runs, time: number): Runs {
  let first = 0;
  while (first < runs.length && runs[first + 1]! < time) first += 2;
  return first === 0 ? runs : runs.slice(first);
}

/** Milliseconds within [from, to]. */
export function timeWithin(runs: Runs, from: number, to: number): number {
  let total = 0;
  for (let i = 0; i < runs.length; i += 2) {
    const begin = Math.max(runs[i]!, from);
    const end = Math.min(runs[i + 1]!, to);
    if (end > begin) total += end - begin;
  }
  return total;
}

export function shiftedRuns(runs: Runs, ms: number): Runs {
  return runs.length === 0 ? runs : runs.map((time) => time + ms);
}
