/**
 * Notices from the reports of one node that the clock by which they are placed in time was set, so that what is
 * remembered can be moved along: a report's time and its arrival on a clock that nobody sets have to agree.
 */
import { LIMITS } from '@tidemark/protocol';

/** A live report may have been taken so long before it came; beyond that, and some travel, the times do not fit. */
const SET_MS = LIMITS.liveAgeMs + 15_000;

/** The newest report of a node. */
export interface NodeTime {
  at: number;
  bootId: string;
  sequence: number;
  /** Its arrival, on the monotonic clock; undefined where it says nothing about its time (late, or before a restart). */
  arrivedMs: number | undefined;
}

interface Arrived {
  readonly at: number;
  readonly receivedAt: number;
  readonly bootId: string;
  readonly sequence: number;
}

/** By how many milliseconds times from before a live report have to be moved to be on its clock; 0 when the clock was not set. */
export function clockShift(known: NodeTime, report: Arrived, arrivedMs: number): number {
  const followsInRun = report.bootId === known.bootId && report.sequence > known.sequence;
  if (known.arrivedMs === undefined) {
    // What is remembered lies in the future: that was another clock.
    const isAhead = known.at > report.receivedAt + SET_MS;
    return report.at <= known.at && (followsInRun || isAhead) ? report.at - known.at - 1 : 0;
  }
  const deviationMs = report.at - known.at - (arrivedMs - known.arrivedMs);
  if (report.at <= known.at) return followsInRun || deviationMs < -SET_MS ? Math.min(deviationMs, report.at - known.at - 1) : 0;
  return deviationMs > SET_MS ? deviationMs : 0;
}

/** Takes note of a report. A late one says what was measured when, and not what the time is now. */
export function noteTime(known: NodeTime, report: Arrived, arrivedMs: number | undefined): void {
  if (report.at <= known.at && arrivedMs === undefined) return;
  known.at = report.at;
  known.bootId = report.bootId;
  known.sequence = report.sequence;
  known.arrivedMs = arrivedMs;
}
