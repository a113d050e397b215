/**
 * The way in: what an authenticated agent sent is placed in time, decoded against its layouts, passed
 * through the stream once, and handed to the writer. Only what is committed is acknowledged; everything
 * else is answered with its reason, so that the agent keeps it, or gives it up and counts it.
 */
import {
  LIMITS,
  ProblemError,
  fromWireValue,
  type Acknowledgement,
  type Layout,
  type Observation,
  type Report,
  type ReportRequest,
  type ProblemCode,
} from '@tidemark/protocol';
import type { Clock, Log } from '@tidemark/service';
import type { Database } from '../db/pool.ts';
import type { NodeRecord } from '../fleet/node.ts';
import type { AcceptedBlock, AcceptedReport, ReportStream } from '../stream/stream.ts';
import { describeBlock, storableText, type KnownLayout } from './layouts.ts';
import { keepDerived, NodeIntake, type BootIntake } from './node-intake.ts';
import { placeInTime } from './report-time.ts';
import { findBoot, findLayouts } from './store.ts';
import { STORE_PATIENCE_MS, type ReportWriter } from './writer.ts';

export interface IntakeMetrics {
  /** `result`: committed, duplicate, not_stored, layout_missing or refused. */
  reports(result: 'committed' | 'duplicate' | 'not_stored' | 'layout_missing' | 'refused', count: number): void;
  samples(count: number): void;
}

/** What the collector itself works out of a report: a block like any other. */
export interface DerivedBlock {
  readonly layout: Layout;
  readonly values: readonly (number | null)[];
}

/** A report before it is published, with its moment as exactly as it can be known. */
export type ArrivedReport = AcceptedReport & { readonly steadyAt: number };

export interface IntakeOptions {
  database: Database;
  stream: ReportStream;
  writer: ReportWriter;
  clock: Clock;
  log: Log;
  metrics: IntakeMetrics;
  /** Told at each request: who was heard, and how far its clock is off (collector's less agent's, milliseconds). */
  onHeard: (node: NodeRecord, agent: ReportRequest['agent'], clockOffsetMs: number) => void;
  /** Called for a report when it comes; the blocks are judged, shown and stored with those of the agent. For one that comes again what followed the first time is kept, within bounds. */
  derive?: (report: ArrivedReport) => readonly DerivedBlock[];
  /** Where this collector has moved to, when it has: agents are told with each acknowledgement. */
  movedTo?: string | undefined;
}

type Refusal = Acknowledgement['refused'][number];

/** Codes after which sending the same report again can succeed. */
const TRANSIENT = new Set<ProblemCode>(['database_away', 'overloaded', 'shutting_down']);

export class ReportIntake {
  readonly #options: IntakeOptions;
  readonly #nodes = new Map<number, NodeIntake>();

  constructor(options: IntakeOptions) {
    this.#options = options;
    options.database.onStateChange(({ up }) => {
      if (up) this.forgetStore();
    });
  }

  /** Ids and ledgers are asked for again: the database may have come back as another one. */
  forgetStore(): void {
    for (const intake of this.#nodes.values()) intake.forgetStore();
  }

  /** Takes a request of an approved node. Resolves with the acknowledgement when all of it is settled. */
  async take(node: NodeRecord, request: ReportRequest): Promise<Acknowledgement> {
    const { clock, log } = this.#options;
    const receivedAt = clock.wallMs();
    const intake = this.#intakeOf(node);
    if (intake.clock.note(request, receivedAt)) log.warn({ node: node.name }, "the node's clock was set");
    const { offsetMs } = intake.clock;
    this.#options.onHeard(node, request.agent, offsetMs);
    const answer = new Answer();
    if (request.layouts !== undefined) this.#learnLayouts(intake, request.layouts);
    await this.#fetchUnknown(intake, request);
    for (const report of inOrder(request.reports)) this.#takeOne(intake, request, report, receivedAt, answer);
    await answer.settle();
    this.#count(answer);
    return answer.document({ node, offsetMs, serverTime: clock.wallMs(), newAddress: this.#options.movedTo ?? null });
  }

  #intakeOf(node: NodeRecord): NodeIntake {
    let intake = this.#nodes.get(node.id);
    if (intake === undefined) this.#nodes.set(node.id, (intake = new NodeIntake(node)));
    return intake;
  }

  #learnLayouts(intake: NodeIntake, layouts: NonNullable<ReportRequest['layouts']>): void {
    for (const layout of layouts) {
      if (!intake.layouts.has(layout.hash)) intake.remember({ hash: layout.hash, layout: describeBlock(layout), id: undefined });
    }
  }

  /** Reads from the store what this process has not seen yet: layouts and the ledgers of runs. While the database is away it does without. */
  async #fetchUnknown(intake: NodeIntake, request: ReportRequest): Promise<void> {
    const hashes = new Set<string>();
    const boots = new Set<BootIntake>();
    for (const report of request.reports) {
      const boot = intake.boot(report.bootId);
      if (!boot.loaded) boots.add(boot);
      for (const { layout } of report.blocks) if (!intake.layouts.has(layout)) hashes.add(layout);
    }
    if ((hashes.size === 0 && boots.size === 0) || !this.#options.database.state.up) return;
    try {
      await this.#options.database.within(STORE_PATIENCE_MS, this.#read(intake, [...hashes], [...boots]));
    } catch (error) {
      if (!(error instanceof ProblemError && error.code === 'database_away')) throw error;
    }
  }

  async #read(intake: NodeIntake, hashes: string[], boots: readonly BootIntake[]): Promise<void> {
    if (hashes.length > 0) for (const layout of await findLayouts(this.#options.database, intake.node.id, hashes)) intake.remember(layout);
    for (const boot of boots) await this.#loadBoot(intake, boot);
  }

  async #loadBoot(intake: NodeIntake, boot: BootIntake): Promise<void> {
    const stored = await findBoot(this.#options.database, intake.node.id, boot.bootId);
    boot.loaded = true;
    if (stored === undefined) return;
    boot.id = stored.id;
    boot.committed.addAll(stored.sequences);
    boot.published.addAll(stored.sequences);
  }

  #takeOne(intake: NodeIntake, request: ReportRequest, report: Report, receivedAt: number, answer: Answer): void {
    const boot = intake.boot(report.bootId);
    const { sequence } = report;
    if (boot.committed.has(sequence)) return answer.committed(report, true);
    const pending = boot.pending.get(sequence);
    if (pending !== undefined) return answer.wait(report, pending);
    const time = placeInTime(report, request, intake.clock.offsetMs, receivedAt);
    if (typeof time === 'string') return answer.refuse(report, 'time_absurd', time);
    const decoded = decode(intake, report);
    if ('missing' in decoded) return answer.layoutsMissing(decoded.missing);
    if ('code' in decoded) return answer.refuse(report, decoded.code, decoded.detail);
    const { layouts, blocks } = decoded;
    const observations = changedObservations(intake, report.observations ?? [], time.at);
    const arrived = {
      node: intake.node,
      bootId: boot.bootId,
      sequence,
      at: time.at,
      steadyAt: time.steadyAt,
      receivedAt,
      live: time.live,
      partial: report.partial === true,
      blocks,
      observations: report.observations ?? [],
    };
    const valueCount = decoded.valueCount + this.#derive(intake, boot, arrived, layouts);
    if (boot.published.add(sequence)) this.#options.stream.publish(arrived);
    const written = this.#options.writer
      .write({ intake, boot, sequence, at: time.at, layouts, blocks: blocks.map((b) => b.values), valueCount, observations })
      .catch((error: unknown) => {
        // What was not stored has not been seen by the store: compare with it again next time.
        for (const { observation } of observations) intake.observations.delete(observationKey(observation));
        throw error;
      })
      .finally(() => boot.pending.delete(sequence));
    void written.then(
      () => boot.derived.delete(sequence),
      () => {},
    );
    boot.pending.set(sequence, written);
    answer.samples += valueCount;
    answer.wait(report, written);
  }

  /** Appends what follows from the report to its blocks; returns how many values that is. */
  #derive(intake: NodeIntake, boot: BootIntake, report: ArrivedReport & { blocks: AcceptedBlock[] }, layouts: KnownLayout[]): number {
    const { sequence } = report;
    const derived = boot.derived.get(sequence) ?? this.#options.derive?.(report) ?? [];
    keepDerived(boot, sequence, derived);
    let valueCount = 0;
    for (const { layout, values } of derived) {
      let known = intake.layouts.get(layout.hash);
      if (known === undefined) intake.remember((known = { hash: layout.hash, layout: describeBlock(layout), id: undefined }));
      layouts.push(known);
      report.blocks.push({ layout: known.layout, values });
      valueCount += values.length;
    }
    return valueCount;
  }

  #count(answer: Answer): void {
    const { metrics } = this.#options;
    for (const [result, count] of Object.entries(answer.counts)) if (count > 0) metrics.reports(result as keyof Answer['counts'], count);
    if (answer.samples > 0) metrics.samples(answer.samples);
  }
}

interface AnswerContext {
  node: NodeRecord;
  offsetMs: number;
  serverTime: number;
  newAddress: string | null;
}

/** Gathers what becomes of the reports of one request. */
class Answer {
  readonly counts = { committed: 0, duplicate: 0, not_stored: 0, layout_missing: 0, refused: 0 };
  samples = 0;
  readonly #committed = new Map<string, number[]>();
  readonly #refused: Refusal[] = [];
  readonly #missing = new Set<string>();
  readonly #waits: Promise<void>[] = [];
  #notStored: ProblemError | undefined;

  committed({ bootId, sequence }: Report, duplicate = false): void {
    const sequences = this.#committed.get(bootId);
    if (sequences === undefined) this.#committed.set(bootId, [sequence]);
    else sequences.push(sequence);
    this.counts[duplicate ? 'duplicate' : 'committed']++;
  }

  refuse({ bootId, sequence }: Report, code: ProblemCode, detail: string): void {
    this.#refused.push({ bootId, sequence, code, detail });
    this.counts.refused++;
  }

  layoutsMissing(hashes: readonly string[]): void {
    for (const hash of hashes) this.#missing.add(hash);
    this.counts.layout_missing++;
  }

  wait(report: Report, written: Promise<void>): void {
    this.#waits.push(
      written.then(
        () => this.committed(report),
        (error: unknown) => {
          if (!(error instanceof ProblemError)) throw error;
          if (!TRANSIENT.has(error.code)) return this.refuse(report, error.code, error.message);
          this.#notStored = error;
          this.counts.not_stored++;
          return undefined;
        },
      ),
    );
  }

  async settle(): Promise<void> {
    await Promise.all(this.#waits);
  }

  document({ node, offsetMs, serverTime, newAddress }: AnswerContext): Acknowledgement {
    const notStored = this.#notStored;
    return {
      serverTime,
      clockOffsetMs: Math.round(offsetMs),
      node: { name: node.name, state: node.state, site: node.site },
      committed: [...this.#committed].map(([bootId, sequences]) => ({ bootId, sequences })),
      refused: this.#refused,
      layoutsMissing: [...this.#missing],
      ...(notStored === undefined
        ? {}
        : { notStored: { code: notStored.code, detail: notStored.message }, retryAfterSeconds: notStored.retryAfterSeconds ?? 5 }),
      thresholds: [],
      newAddress,
    };
  }
}

/** A backlog may come in any order; consumers of the stream see each run of an agent in its own. */
function inOrder(reports: readonly Report[]): readonly Report[] {
  return reports.length < 2
    ? reports
    : [...reports].sort((a, b) => (a.bootId === b.bootId ? a.sequence - b.sequence : a.takenAt - b.takenAt));
}

interface Decoded {
  layouts: KnownLayout[];
  blocks: AcceptedBlock[];
  valueCount: number;
}

function decode(intake: NodeIntake, report: Report): Decoded | { missing: string[] } | { code: ProblemCode; detail: string } {
  const missing = report.blocks.filter(({ layout }) => !intake.layouts.has(layout)).map(({ layout }) => layout);
  if (missing.length > 0) return { missing };
  const layouts: KnownLayout[] = [];
  const blocks: AcceptedBlock[] = [];
  let valueCount = 0;
  for (const { layout: hash, values } of report.blocks) {
    const known = intake.layouts.get(hash)!;
    if (values.length !== known.layout.series.length) {
      return {
        code: 'layout_mismatch',
        detail: `Block ${hash} (${known.layout.probe}) has ${known.layout.series.length} series, the report ${values.length} values.`,
      };
    }
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      if (typeof value === 'number') continue;
      const read = fromWireValue(value);
      if (read === undefined)
        return {
          code: 'value_invalid',
          detail: `Position ${i} of block ${hash} (${known.layout.series[i]!.metric}) is ${JSON.stringify(value)?.slice(0, 40)}.`,
        };
      values[i] = read;
    }
    layouts.push(known);
    blocks.push({ layout: known.layout, values: values as (number | null)[] });
    valueCount += values.length;
  }
  if (valueCount > LIMITS.seriesPerNode)
    return {
      code: 'series_limit',
      detail: `The report has ${valueCount} values; at most ${LIMITS.seriesPerNode} are accepted from one node.`,
    };
  for (const observation of report.observations ?? []) {
    // Counting the characters means writing the text, which changedObservations does again only for what changed.
    if ((JSON.stringify(observation.document) ?? '').length > LIMITS.observationChars) {
      return {
        code: 'observation_too_large',
        detail: `Observation ${observation.kind} is larger than ${LIMITS.observationChars} characters.`,
      };
    }
  }
  return { layouts, blocks, valueCount };
}

const observationKey = ({ kind, instance }: Observation): string => JSON.stringify([kind, instance]);

/** Those that differ from the newest known of their kind and instance, or are older than it. */
function changedObservations(
  intake: NodeIntake,
  observations: readonly Observation[],
  at: number,
): { observation: Observation; text: string; late: boolean }[] {
  const changed: { observation: Observation; text: string; late: boolean }[] = [];
  for (const observation of observations) {
    const text = storableJson(observation.document);
    const key = observationKey(observation);
    const newest = intake.observations.get(key);
    const stored = { observation: { ...observation, instance: storableText(observation.instance) }, text };
    if (newest !== undefined && newest.at > at) changed.push({ ...stored, late: true });
    else {
      if (newest?.text !== text) changed.push({ ...stored, late: false });
      intake.observations.set(key, { at, text });
    }
  }
  return changed;
}

/** JSON that jsonb takes: NUL and half surrogate pairs inside strings become U+FFFD. */
function storableJson(document: unknown): string {
  const text = JSON.stringify(document) ?? 'null';
  if (!/\\u(0000|d[89a-f])/i.test(text)) return text;
  return JSON.stringify(document, (_, value: unknown) => (typeof value === 'string' ? storableText(value) : value)) ?? 'null';
}
