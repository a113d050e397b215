/** A recorder without disk and database for tests: the real book, ids that are the same in every run, effect at once. */
import type { Clock } from '@tidemark/service';
import { IncidentBook } from './book.ts';
import type { Opening } from './entry.ts';
import type { RandomBytes } from './id.ts';
import { Recorder } from './recorder.ts';

/** Bytes that count up: unique and the same in every run. */
export function countingBytes(): RandomBytes {
  let count = 0;
  return (size) => {
    const bytes = Buffer.alloc(size);
    bytes.writeUInt32BE(++count, size - 4);
    return bytes;
  };
}

/** Records into memory; entries take effect a moment later, as they do from a disk. */
export function memoryRecorder(
  clock: Pick<Clock, 'wallMs'>,
  { epoch = 1, book = new IncidentBook() }: { epoch?: number; book?: IncidentBook } = {},
): Recorder {
  const recorder: Recorder = new Recorder({
    book,
    epoch,
    clock,
    random: countingBytes(),
    log: {
      append: async (entries) => {
        await Promise.resolve();
        recorder.take(entries);
      },
    },
  });
  return recorder;
}

/** An opening with as few words as a test needs. */
export function openingOf(incidentId: string, more: Partial<Opening> = {}): Opening {
  return {
    incidentId,
    rule: 'cpu_usage',
    kind: 'threshold',
    title: 'CPU usage',
    nodeId: 1,
    nodeName: 'db1',
    site: 'north',
    metric: 'tidemark_cpu_usage_ratio',
    labels: [],
    unit: 'ratio',
    level: 'warning',
    value: 0.8,
    bound: { above: 0.7 },
    why: '80 % is above 70 %, for 5 min without interruption',
    since: 0,
    suppressedBy: [],
    annotations: {},
    runbook: null,
    ...more,
  };
}
