/**
 * Looks at one PostgreSQL server for `check replication`, with the probe's own statements and over its one connection: once,
 * and again after a second when the first look alone does not tell. It always ends, with what was seen or why nothing was.
 */
import type { PostgresReplication, PostgresSettings } from '@tidemark/protocol';
import type { Clock } from '@tidemark/service';
import { failureOf, isConnectionLoss, isNotUnderstood, isPooler, Refusal, type Failure } from '../probes/postgres/failure.ts';
import { MINIMAL, SETTINGS, WIDE, type Row } from '../probes/postgres/queries.ts';
import { FIRST_UNKNOWN, OLDEST_SUPPORTED, readingFrom } from '../probes/postgres/reading.ts';
import { settingsFrom } from '../probes/postgres/settings.ts';
import type { Target } from '../probes/postgres/target.ts';
import { Watcher } from '../probes/postgres/watcher.ts';

const DEADLINE_MS = 8_000;
const BETWEEN_MS = 1_000;
const LOOKS_MAX = 3;

export interface Look {
  /** When it was asked for, on the clock that nobody sets. */
  readonly atMs: number;
  readonly document: PostgresReplication;
}

/** What was seen of a server: at least one look, or a failure. */
export interface Looks {
  readonly name: string;
  readonly address: string;
  readonly looks: readonly Look[];
  readonly settings: PostgresSettings | undefined;
  readonly failure: Failure | undefined;
}

export interface LookOptions {
  readonly clock: Clock;
  /** Whether what was seen so far tells enough. */
  readonly enough: (looks: readonly Look[]) => boolean;
  /** For all of it, in milliseconds; 8,000 unless told. */
  readonly deadlineMs?: number;
  /** Between two looks, in milliseconds; 1,000 unless told. */
  readonly betweenMs?: number;
}

/** Looks once to three times. Never rejects for anything that the server does or does not do. */
export async function lookAt(target: Target, options: LookOptions): Promise<Looks> {
  const { clock, deadlineMs = DEADLINE_MS, betweenMs = BETWEEN_MS } = options;
  const watcher = new Watcher(target, { clock, hotEveryMs: betweenMs, deadlineMs, random: Math.random });
  const looks: Look[] = [];
  let settings: PostgresSettings | undefined;
  let failure: Failure | undefined;
  const work = async (): Promise<void> => {
    while (failure === undefined) {
      failure = await watcher.lookNow();
      if (failure !== undefined) break;
      looks.push(await lookOnce(watcher, target, clock));
      if (settings === undefined) {
        const row = await watcher.unlessRefused(() => watcher.one(SETTINGS), undefined);
        if (row !== undefined) settings = settingsFrom(row);
      }
      if (looks.length >= LOOKS_MAX || options.enough(looks)) break;
      await new Promise((resolve) => setTimeout(resolve, betweenMs));
    }
  };
  const timeUp = setTimeout(() => watcher.session.drop(new Refusal('timeout', `no answer within ${deadlineMs} ms`)), deadlineMs);
  try {
    await work();
  } catch (error) {
    failure = failureOf(error, target.reached);
  } finally {
    clearTimeout(timeUp);
    await watcher.close();
  }
  return { name: target.name, address: target.reached.address, looks: failure === undefined ? looks : [], settings, failure };
}

async function lookOnce(watcher: Watcher, target: Target, clock: Clock): Promise<Look> {
  const atMs = clock.monotonicMs();
  let row: Row;
  let hindrance: Failure | undefined = unsupported(watcher) ?? watcher.hindrance;
  try {
    row = await watcher.one(WIDE);
  } catch (error) {
    if (isConnectionLoss(error) || isPooler(error) || !isNotUnderstood(error)) throw error;
    hindrance = failureOf(error, target.reached);
    row = await watcher.one(MINIMAL);
  }
  const { identity, control, promoted, timelineFloor } = watcher;
  return { atMs, document: readingFrom(row, identity, control, { hindrance, promoted, timelineFloor }).document };
}

function unsupported({ identity: { versionNumber, shortVersion } }: Watcher): Failure | undefined {
  if (versionNumber === null || (versionNumber >= OLDEST_SUPPORTED && versionNumber < FIRST_UNKNOWN)) return undefined;
  return {
    reason: 'unsupported_version',
    detail: `PostgreSQL ${shortVersion ?? versionNumber} is not one of 15 to 18: what can be read is shown.`,
  };
}
