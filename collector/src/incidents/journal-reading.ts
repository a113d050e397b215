/**
 * Reads what a journal's directory holds, whatever happened to it: a torn end is cut off, damaged lines are passed over, and
 * both are said. What comes out is the last whole checkpoint and every entry after it.
 */
import { join } from 'node:path';
import { EXIT, OperationalFailure, codeOf, sentenceOf, type Log } from '@tidemark/service';
import type { BookState, RecordedEntry } from './book.ts';
import type { JournalFiles } from './journal-files.ts';
import { readSegment, type SegmentContent } from './segment.ts';

export interface SegmentInfo {
  readonly number: number;
  /** Of its newest entry; 0 when it has none. */
  lastPosition: number;
}

export interface JournalContent {
  /** Undefined when no whole checkpoint was found. */
  state: BookState | undefined;
  /** In order: those since the checkpoint, or all when there is none. */
  entries: RecordedEntry[];
  segments: SegmentInfo[];
  nextNumber: number;
}

const NAME = /^(\d{10})\.journal$/;

export const segmentName = (number: number): string => `${String(number).padStart(10, '0')}.journal`;

/** Makes sure of the directory and reads it. Throws OperationalFailure when it cannot be used at all. */
export async function readJournal(directory: string, files: JournalFiles, log: Log): Promise<JournalContent> {
  const content: JournalContent = { state: undefined, entries: [], segments: [], nextNumber: 1 };
  for (const number of await segmentNumbers(directory, files)) {
    content.nextNumber = number + 1;
    const path = join(directory, segmentName(number));
    let segment: SegmentContent;
    try {
      segment = await readSegment(await files.read(path));
    } catch (error) {
      log.error({ err: error, segment: segmentName(number) }, 'a segment of the journal cannot be read and is passed over');
      continue;
    }
    await mend(path, segment, files, log);
    const { checkpoint, entries } = segment;
    content.segments.push({ number, lastPosition: entries.reduce((last, { position }) => Math.max(last, position), 0) });
    if (checkpoint === undefined) {
      content.entries.push(...entries);
      continue;
    }
    content.state = checkpoint;
    content.entries = entries.filter(({ position }) => position > checkpoint.mark.position);
  }
  return content;
}

async function segmentNumbers(directory: string, files: JournalFiles): Promise<number[]> {
  try {
    await files.makeDirectory(directory);
    const names = await files.list(directory);
    return names
      .flatMap((name) => NAME.exec(name)?.[1] ?? [])
      .map(Number)
      .sort((a, b) => a - b);
  } catch (error) {
    // A full disk is lived with; there is nothing to read on it then.
    if (codeOf(error) === 'ENOSPC') return [];
    throw new OperationalFailure(
      `The journal of alerts cannot be kept in ${directory}: ${sentenceOf(error)}. Let this user write there, or choose another directory with --data-dir.`,
      EXIT.dataDirectory,
      { cause: error },
    );
  }
}

async function mend(path: string, { damagedLines, tornBytes, goodBytes }: SegmentContent, files: JournalFiles, log: Log): Promise<void> {
  if (damagedLines > 0)
    log.error({ path, lines: damagedLines }, 'the journal is damaged; lines that are not what was written are passed over');
  if (tornBytes === 0) return;
  log.warn({ path, bytes: tornBytes }, 'the journal ends in half a line, as after a power cut; it is cut off');
  try {
    await files.truncate(path, goodBytes);
  } catch (error) {
    log.warn({ err: error, path }, 'the torn end of the journal cannot be cut off; it is passed over');
  }
}
