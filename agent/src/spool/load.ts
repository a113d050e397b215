/**
 * What an earlier process left in the spool's directory: the waiting reports, and how many were lost to
 * damage. A damaged file is rewritten from its intact lines, so that no loss is counted twice.
 *
 * How losses are counted: a run's sequences follow one another, so the gaps between the first and the last
 * that a file must have held (as its head and its neighbours say) are exactly the reports lost in it. Where
 * no neighbour knows, each damaged line that does not look like another kind counts as one report.
 */
import { closeSync, fstatSync, fsyncSync, openSync, readdirSync, readSync, renameSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { sentenceOf, type Log } from '@tidemark/service';
import { ackLine, missingSequences, scanSegment, type FoundReport, type ScannedSegment, type Segment } from './segment.ts';

export interface LoadedSpool {
  segments: Segment[];
  reports: (FoundReport & { segment: Segment })[];
  lost: number;
  nextId: number;
  /** What removed files said about files that stay. */
  acksToRepeat: Map<string, number[]>;
}

interface Scanned {
  segment: Segment;
  found: ScannedSegment;
}

/** Reads every file. Never throws for what is in them; a file that cannot be read at all is left where it is. */
export function loadSegments(directory: string, log: Log): LoadedSpool {
  const scanned: Scanned[] = [];
  const acked = new Map<string, Set<number>>();
  let nextId = 1;
  const reader = new WholeFileReader();
  for (const name of readdirSync(directory).toSorted()) {
    const path = join(directory, name);
    if (name.endsWith('.spool.tmp')) tryTo(log, () => unlinkSync(path));
    const match = /^(\d{10})\.spool$/.exec(name);
    if (match === null) continue;
    const id = Number(match[1]);
    nextId = Math.max(nextId, id + 1);
    tryTo(log, () => {
      const found = reader.use(path, scanSegment);
      const segment = {
        id,
        path,
        sizeBytes: reader.lastSizeBytes,
        waiting: 0,
        layouts: found.layouts,
        settled: new Map(),
        hasAcks: found.acks.length > 0,
      };
      scanned.push({ segment, found });
      for (const { bootId, sequences } of found.acks) for (const sequence of sequences) into(acked, bootId).add(sequence);
    });
  }
  const loaded: LoadedSpool = { segments: [], reports: [], lost: 0, nextId, acksToRepeat: new Map() };
  const seen = new Map<string, Set<number>>();
  const repeat = new Map<string, Set<number>>();
  let removedAcks = false;
  scanned.forEach(({ segment, found }, index) => {
    const missing = lossesIn(scanned[index - 1], { segment, found }, scanned[index + 1], acked);
    loaded.lost += missing.count;
    const waiting = found.reports.filter(({ bootId, sequence }) => {
      if (acked.get(bootId)?.has(sequence)) into(repeat, bootId).add(sequence);
      else if (!into(seen, bootId).has(sequence)) return Boolean(into(seen, bootId).add(sequence));
      return false;
    });
    if (waiting.length === 0) {
      removedAcks ||= segment.hasAcks;
      tryTo(log, () => unlinkSync(segment.path));
      return;
    }
    const kept = found.damaged || missing.sequences.length > 0 ? repaired(segment, found, missing, log) : { segment, found };
    const places = new Map(kept.found.reports.map((report) => [`${report.bootId} ${report.sequence}`, report]));
    kept.segment.waiting = waiting.length;
    for (const report of kept.found.reports)
      if (acked.get(report.bootId)?.has(report.sequence))
        kept.segment.settled.set(report.bootId, [...(kept.segment.settled.get(report.bootId) ?? []), report.sequence]);
    loaded.segments.push(kept.segment);
    for (const report of waiting) loaded.reports.push({ ...places.get(`${report.bootId} ${report.sequence}`)!, segment: kept.segment });
  });
  if (removedAcks) for (const [bootId, sequences] of repeat) loaded.acksToRepeat.set(bootId, [...sequences]);
  return loaded;
}

interface Losses {
  count: number;
  bootId: string;
  sequences: number[];
}

function lossesIn(
  before: Scanned | undefined,
  { segment, found }: Scanned,
  after: Scanned | undefined,
  acked: Map<string, Set<number>>,
): Losses {
  const bootId = found.head?.bootId ?? found.reports[0]?.bootId ?? '';
  const own = found.reports.filter((report) => report.bootId === bootId).map((report) => report.sequence);
  const lastBefore =
    before?.segment.id === segment.id - 1 ? before.found.reports.findLast((report) => report.bootId === bootId) : undefined;
  const from = found.head?.first ?? (lastBefore === undefined ? undefined : lastBefore.sequence + 1);
  const headAfter = after?.segment.id === segment.id + 1 && after.found.head?.bootId === bootId ? after.found.head : undefined;
  const to = headAfter === undefined ? undefined : headAfter.first - 1;
  const sequences = missingSequences(own, from, to).filter((sequence) => acked.get(bootId)?.has(sequence) !== true);
  let count = sequences.length;
  if (from === undefined) count += found.damagedBefore;
  if (to === undefined) count += found.damagedAfter;
  return { count, bootId, sequences };
}

/** Writes the intact lines to a new file in the old one's place, and that the missing ones are settled: they are counted now. */
function repaired(segment: Segment, found: ScannedSegment, missing: Losses, log: Log): Scanned {
  const temporary = `${segment.path}.tmp`;
  const result = tryTo(log, () => {
    const reader = new WholeFileReader();
    const content = reader.use(segment.path, (file) => {
      const lines = found.intact.map(({ offset, length }) => file.subarray(offset, offset + length));
      if (missing.sequences.length > 0) lines.push(Buffer.from(ackLine(missing.bootId, missing.sequences)));
      return Buffer.concat(lines);
    });
    const fd = openSync(temporary, 'w', 0o600);
    try {
      for (let done = 0; done < content.length;) done += writeSync(fd, content, done);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, segment.path);
    const rescanned = scanSegment(content);
    return {
      segment: { ...segment, sizeBytes: content.length, layouts: rescanned.layouts, hasAcks: rescanned.acks.length > 0 },
      found: rescanned,
    };
  });
  return result ?? { segment, found };
}

/** Reads files one after the other into one buffer: 64 of a megabyte each would stay in memory for a while. */
class WholeFileReader {
  #buffer = Buffer.alloc(0);
  lastSizeBytes = 0;

  use<T>(path: string, take: (content: Buffer) => T): T {
    const fd = openSync(path, 'r');
    try {
      const { size } = fstatSync(fd);
      if (this.#buffer.length < size) this.#buffer = Buffer.allocUnsafeSlow(size);
      let done = 0;
      while (done < size) {
        const read = readSync(fd, this.#buffer, done, size - done, done);
        if (read === 0) break;
        done += read;
      }
      this.lastSizeBytes = done;
      return take(this.#buffer.subarray(0, done));
    } finally {
      closeSync(fd);
    }
  }
}

function into<K>(map: Map<K, Set<number>>, key: K): Set<number> {
  let set = map.get(key);
  if (set === undefined) map.set(key, (set = new Set()));
  return set;
}

function tryTo<T>(log: Log, action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    log.warn({ trouble: sentenceOf(error) }, 'a spool file cannot be used');
    return undefined;
  }
}
