/** What goes into a request: reports as they were read from the spool, and the layouts that the collector may not know. */
import { LIMITS } from '@tidemark/protocol';
import type { Spool, SpooledReport } from '../spool/spool.ts';
import type { LayoutLedger } from './layout-ledger.ts';

export interface Turn {
  readonly reports: SpooledReport[];
  /** The newest report on its first way out. */
  readonly fresh: boolean;
}

/** What was sent: the reports with their bodies, and the layouts along with them. */
export interface Sent {
  readonly turn: Turn;
  readonly reports: { report: SpooledReport; body: Buffer }[];
  readonly layouts: string[];
  readonly sizeBytes: number;
}

export interface Composed {
  readonly sent: Sent;
  readonly layouts: readonly Buffer[];
}

/** Reads what a turn sends. Layouts that do not fit beside the reports go ahead of them in a request of their own. */
export async function compose(turn: Turn, spool: Spool, ledger: LayoutLedger, requestBytesMax: number): Promise<Composed> {
  const bodies = await spool.read(turn.reports);
  let reports = turn.reports.flatMap((report, i) => (bodies[i] === undefined ? [] : [{ report, body: bodies[i] }]));
  let sizeBytes = reports.reduce((sum, { body }) => sum + body.length + 1, 0);
  const layouts: { hash: string; json: Buffer }[] = [];
  let layoutBytes = 0;
  let left = 0;
  for (const hash of ledger.needed(reports.flatMap(({ report }) => report.layouts ?? []))) {
    const json = await spool.layout(hash);
    if (json === undefined) {
      ledger.forget(hash);
    } else if (layouts.length > 0 && (layoutBytes + json.length > requestBytesMax || layouts.length >= LIMITS.layoutsPerRequest)) {
      ledger.want(hash);
      left++;
    } else {
      layouts.push({ hash, json });
      layoutBytes += json.length + 1;
    }
  }
  if (left > 0 || (layouts.length > 0 && layoutBytes + sizeBytes > requestBytesMax)) {
    reports = [];
    sizeBytes = 0;
  }
  sizeBytes += layoutBytes;
  return { sent: { turn, reports, layouts: layouts.map(({ hash }) => hash), sizeBytes }, layouts: layouts.map(({ json }) => json) };
}
