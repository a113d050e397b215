/** The measurement of a day of positions as a program of its own: reads a plan from its argument and prints its figures. See replication-history.ts. */
import { Tracks } from '@tidemark/collector';
import { formatLsn, type PostgresTrack } from '@tidemark/protocol';
import { seeded } from '../bad-days/raw-agent.ts';
import type { HistoryFigures, HistoryPlan } from './replication-history.ts';

const plan = JSON.parse(process.argv[2]!) as HistoryPlan;
const SAMPLE_MS = 2_000;
const random = seeded(plan.seed);

/** Bytes written within two seconds: what different servers do all day. */
const HABITS: readonly ((second: number) => number)[] = [
  // Steady, with the noise of a shop; and twice as much by day as by night.
  (second) => (1 + Math.sin((second / 86_400) * 2 * Math.PI) / 3) * 400_000 * (0.5 + random()),
  // A job each five minutes that writes for half a minute; a write each half minute otherwise.
  (second) => (second % 300 < 30 ? 8_000_000 * random() : second % 30 === 0 ? 300 : 0),
  // Idle but for a checkpoint.
  (second) => (second % 300 === 0 ? 140 : 0),
  // Steady for an hour, then idle for one.
  (second) => (second % 7_200 < 3_600 ? 50_000 * (0.8 + 0.4 * random()) : 0),
  // Somebody writes now and then, at any moment: little to leave out.
  () => (random() < 0.2 ? 4_000 * random() : 0),
];

type Samples = PostgresTrack['runs'][number]['samples'];

/** One server: reports of a primary and of its replica, which is a second behind. */
class Cluster {
  readonly #habit: (second: number) => number;
  #lsn = 0x10_0000_0000n;
  #before: Samples[number] | undefined;

  constructor(index: number) {
    this.#habit = HABITS[index % HABITS.length]!;
  }

  /** What was seen in the seconds before `second`, as an agent collapses it. */
  report(second: number, role: 'primary' | 'replica'): PostgresTrack {
    const seen: Samples = this.#before === undefined ? [] : [[this.#before[0] + plan.intervalSeconds * 1_000, ...rest(this.#before)]];
    for (let ago = plan.intervalSeconds * 1_000 - SAMPLE_MS; ago >= 0; ago -= SAMPLE_MS) {
      this.#lsn += BigInt(Math.floor(this.#habit(second - ago / 1_000)));
      const text = formatLsn(this.#lsn);
      seen.push(role === 'primary' ? [ago + 3, text, null, null, null] : [ago + 3, text, text, text, ago + 20]);
    }
    this.#before = seen.at(-1);
    const samples = seen.filter(([, lsn], i) => i === 0 || i === seen.length - 1 || seen[i - 1]![1] !== lsn || seen[i + 1]![1] !== lsn);
    return { systemIdentifier: '7', errorMs: 2, runs: [{ role, timeline: 1, samples }] };
  }
}

const rest = ([, ...others]: Samples[number]): [string | null, string | null, string | null, number | null] => others;

function heldBytes(): number {
  globalThis.gc!();
  globalThis.gc!();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

function history(role: 'primary' | 'replica'): { bytes: number; microseconds: number; largestBytes: number } {
  const clusters = Array.from({ length: plan.clusters }, (_, i) => new Cluster(i));
  const before = heldBytes();
  const tracks = new Tracks();
  const startedAt = Date.UTC(2026, 0, 1);
  let [spentMs, accepted] = [0, 0];
  for (let second = plan.intervalSeconds; second <= plan.hours * 3_600; second += plan.intervalSeconds) {
    const reports = clusters.map((cluster) => cluster.report(second, role));
    const from = performance.now();
    for (const [i, report] of reports.entries()) tracks.accept(`${i}/main`, startedAt + second * 1_000, report, 0);
    spentMs += performance.now() - from;
    accepted += reports.length;
  }
  const bytes = heldBytes() - before;
  const largestBytes = Math.max(...clusters.map((_, i) => tracks.head(`${i}/main`)!.sizeBytes));
  if (tracks.sizeBytes > bytes * 1.05) throw new Error('the tracks say that they take more than there is');
  return { bytes, microseconds: (spentMs * 1_000) / accepted, largestBytes };
}

const primaries = history('primary');
const replicas = history('replica');
const figures: HistoryFigures = {
  primariesMB: primaries.bytes / 1e6,
  replicasMB: replicas.bytes / 1e6,
  largestTrackBytes: primaries.largestBytes,
  microsecondsPerReport: primaries.microseconds,
  microsecondsPerReportOfReplica: replicas.microseconds,
};
process.stdout.write(JSON.stringify(figures));
