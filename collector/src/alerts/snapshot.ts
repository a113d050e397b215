/**
 * What is remembered, as text, so that a restart neither invents nor forgets: timers and histories, never who was told
 * what. It is only taken when the journal has every transition that led to it; of levels the book is the authority.
 */
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, type Clock, type Log } from '@tidemark/service';
import { Type, type Static } from 'typebox';
import { Value as Schema } from 'typebox/value';
import type { Counters } from './counters.ts';
import type { Instances } from './instances.ts';
import { shifted } from './state.ts';

const Maybe = <T extends import('typebox').TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const Level = Type.Union([Type.Literal('warning'), Type.Literal('critical')]);
const Time = Type.Number();
const Track = Type.Object({
  beyond: Type.Boolean(),
  runs: Type.Array(Time),
  active: Type.Boolean(),
  back: Type.Boolean(),
  backMs: Type.Number(),
  lastAt: Maybe(Time),
  firstAt: Maybe(Time),
});
const State = Type.Object({
  at: Maybe(Time),
  value: Maybe(Type.Union([Type.Number(), Type.String(), Type.Boolean()])),
  level: Maybe(Level),
  warning: Maybe(Track),
  critical: Maybe(Track),
  noData: Type.Boolean(),
  goneSince: Maybe(Time),
  gaps: Type.Tuple([Type.Number(), Type.Number()]),
});
const StoredInstance = Type.Object({
  rule: Type.String(),
  /** Index of the rule's text in `digests`. */
  digest: Type.Integer({ minimum: 0 }),
  labels: Type.Array(Type.Tuple([Type.String(), Type.String()])),
  incidentId: Maybe(Type.String()),
  home: Maybe(Type.Object({ probe: Type.String(), instance: Type.String() })),
  isSteady: Type.Boolean(),
  state: State,
});
export type StoredInstance = Static<typeof StoredInstance>;
const StoredNode = Type.Object({
  id: Type.Integer(),
  at: Maybe(Time),
  bootId: Type.String(),
  sequence: Type.Number(),
  instances: Type.Array(StoredInstance),
});
export const Snapshot = Type.Object({
  version: Type.Literal(1),
  savedAt: Time,
  digests: Type.Array(Type.String()),
  nodes: Type.Array(StoredNode),
  counters: Type.Array(Type.Tuple([Type.Integer(), Type.String(), Type.Number(), Type.Array(Type.Tuple([Type.String(), Type.Number()]))])),
  lost: Type.Array(Type.Tuple([Type.Integer(), Type.Number()])),
});
export type Snapshot = Static<typeof Snapshot>;

export interface Remembered {
  readonly instances: Instances;
  readonly counters: Counters;
  readonly lost: readonly (readonly [number, number])[];
}

/** `steadyAheadMs`: the steady clock less the wall clock; what is written is in wall time. */
export function writeSnapshot({ instances, counters, lost }: Remembered, savedAt: number, steadyAheadMs: number): string {
  const digests = new Map<string, number>();
  const digestOf = (digest: string): number => {
    const index = digests.get(digest) ?? digests.size;
    digests.set(digest, index);
    return index;
  };
  const nodes = [...instances.nodes()].map(({ nodeId, time, byKey }) => ({
    id: nodeId,
    at: Number.isFinite(time.at) ? time.at : null,
    bootId: time.bootId,
    sequence: time.sequence,
    instances: [...byKey.values()].map(({ rule, labels, incidentId, home, isSteady, state }) => ({
      rule: rule.name,
      digest: digestOf(rule.digest),
      labels,
      incidentId,
      home,
      isSteady,
      state: isSteady ? shifted(state, -steadyAheadMs) : state,
    })),
  }));
  return JSON.stringify({ version: 1, savedAt, digests: [...digests.keys()], nodes, counters: counters.export(), lost });
}

/** Undefined for a text that is no snapshot of this version. */
export function readSnapshot(text: string): Snapshot | undefined {
  try {
    const read: unknown = JSON.parse(text);
    return Schema.Check(Snapshot, read) ? read : undefined;
  } catch {
    return undefined;
  }
}

/** `alerts/evaluator.json` in the data directory: always whole, only its owner's to read. */
export class SnapshotFile {
  readonly #directory: string;
  readonly path: string;

  constructor(dataDir: string) {
    this.#directory = join(dataDir, 'alerts');
    this.path = join(this.#directory, 'evaluator.json');
  }

  /** Undefined when there is none. Throws when it cannot be read. */
  async read(): Promise<string | undefined> {
    try {
      return await readFile(this.path, 'utf8');
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  async write(text: string): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const temporary = `${this.path}.${process.pid}.tmp`;
    const file = await open(temporary, 'w', 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, this.path);
    const directory = await open(this.#directory, 'r');
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }
}

/** A second place: the database. Both may fail. */
export interface Elsewhere {
  load(): Promise<string | undefined>;
  save(text: string): Promise<boolean>;
}

export interface KeeperOptions {
  readonly file: SnapshotFile | undefined;
  readonly elsewhere: Elsewhere | undefined;
  readonly clock: Clock;
  readonly log: Log;
  /** What to write; undefined while something was decided that is not recorded yet. */
  readonly text: () => string | undefined;
}

const EVERY_MS = 5_000;
const ELSEWHERE_EVERY_MS = 60_000;

/** Writes snapshots when something has changed, and not too often. */
export class SnapshotKeeper {
  readonly #options: KeeperOptions;
  #changed = false;
  #savedMs = Number.NEGATIVE_INFINITY;
  #savedElsewhereMs = Number.NEGATIVE_INFINITY;
  #saving: Promise<void> | undefined;
  #failing = false;

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  changed(): void {
    this.#changed = true;
  }

  /** Called now and then. */
  tick(): void {
    if (!this.#changed || this.#saving !== undefined || this.#options.clock.monotonicMs() - this.#savedMs < EVERY_MS) return;
    const text = this.#options.text();
    if (text === undefined) return;
    this.#saving = this.#save(text, false).finally(() => (this.#saving = undefined));
  }

  /** Writes what has changed since, to both places. */
  async stop(): Promise<void> {
    await this.#saving;
    const text = this.#options.text();
    if (text !== undefined) await this.#save(text, true);
  }

  async #save(text: string, isLast: boolean): Promise<void> {
    const { file, elsewhere, clock, log } = this.#options;
    const now = clock.monotonicMs();
    this.#changed = false;
    this.#savedMs = now;
    try {
      await file?.write(text);
      if (this.#failing) log.info('timers of alerts can be kept again');
      this.#failing = false;
    } catch (error) {
      this.#changed = true;
      // It is tried again each time; said once.
      if (!this.#failing) log.error({ err: error, file: file?.path }, 'timers of alerts cannot be kept; a restart would begin them anew');
      this.#failing = true;
    }
    if (elsewhere === undefined || (!isLast && now - this.#savedElsewhereMs < ELSEWHERE_EVERY_MS)) return;
    this.#savedElsewhereMs = now;
    // The file is enough; the database's copy is for another machine.
    await elsewhere.save(text).catch((error: unknown) => log.debug({ err: error }, 'no copy of the timers in the database'));
  }
}
