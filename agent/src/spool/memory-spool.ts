/** A spool that does not outlive its process: for simulated fleets, where hundreds of agents share one. The same bounds and counts as on disk. */
import type { Clock } from '@tidemark/service';
import { PendingReports } from './pending.ts';
import type { NewReport, Spool, SpoolBounds, SpooledReport, SpoolState } from './spool.ts';

export class MemorySpool implements Spool {
  readonly #pending = new PendingReports();
  readonly #layouts = new Map<string, Buffer>();
  readonly #bounds: SpoolBounds;
  readonly #clock: Clock;
  #lost = 0;

  constructor(bounds: SpoolBounds, clock: Clock) {
    this.#bounds = bounds;
    this.#clock = clock;
  }

  append(report: NewReport): Promise<void> {
    const now = this.#clock.monotonicMs();
    for (const { hash, ...rest } of report.layouts)
      if (!this.#layouts.has(hash)) this.#layouts.set(hash, Buffer.from(JSON.stringify({ hash, ...rest })));
    this.#pending.add({
      bootId: report.bootId,
      sequence: report.sequence,
      takenAt: report.takenAt,
      sizeBytes: Buffer.byteLength(report.json),
      layouts: report.layouts.map((layout) => layout.hash),
      text: report.json,
      segment: undefined,
      offset: 0,
      expiresAtMs: now + this.#bounds.ageMsMax,
    });
    for (let first = this.#pending.first(); first !== undefined; first = this.#pending.first()) {
      if (this.#pending.sizeBytes <= this.#bounds.sizeBytesMax && first.expiresAtMs > now) break;
      this.giveUp([first]);
    }
    return Promise.resolve();
  }

  newest(): SpooledReport | undefined {
    return this.#pending.newest();
  }

  oldest(count: number, sizeBytes: number): SpooledReport[] {
    return this.#pending.oldest(count, sizeBytes);
  }

  read(reports: readonly SpooledReport[]): Promise<(Buffer | undefined)[]> {
    const bodies = reports.map(({ bootId, sequence }) => this.#pending.find(bootId, sequence)?.text);
    return Promise.resolve(bodies.map((text) => (text === undefined ? undefined : Buffer.from(text))));
  }

  layout(hash: string): Promise<Buffer | undefined> {
    return Promise.resolve(this.#layouts.get(hash));
  }

  settle(bootId: string, sequences: readonly number[]): void {
    for (const sequence of sequences) this.#pending.remove(bootId, sequence);
  }

  giveUp(reports: readonly SpooledReport[]): void {
    for (const { bootId, sequence } of reports) if (this.#pending.remove(bootId, sequence) !== undefined) this.#lost++;
  }

  state(): SpoolState {
    const { count, sizeBytes } = this.#pending;
    return { reports: count, sizeBytes, oldestTakenAt: this.#pending.first()?.takenAt, lost: this.#lost, trouble: undefined };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
