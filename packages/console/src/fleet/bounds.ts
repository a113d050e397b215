/**
 * The thresholds that figures are tinted by and that charts draw in. Nothing is judged here: what is an alert is the
 * collector's to say. Until its rules in force have been read, these are the shipped defaults.
 */
import { computed } from '@preact/signals';
import type { Bound, RuleView } from '@tidemark/protocol';
import { rulesInForce } from '../settings/rules-in-force.ts';

export interface Bounds {
  warning: number;
  critical: number;
}

export interface BoundsInForce {
  cpu: Bounds;
  memory: Bounds;
  disk: Bounds;
  /** Bytes a replica may be behind. */
  behind: { warning: number; critical?: number };
  /** Seconds of it, by the least that it may be. */
  lag: Bounds;
  /** Seconds until a disk is full: less is worse. */
  diskFull: Bounds;
  /** Of an HTTP endpoint, in seconds. */
  response: Bounds;
  errors: Bounds;
}

export const SHIPPED: BoundsInForce = {
  cpu: { warning: 0.7, critical: 0.9 },
  memory: { warning: 0.75, critical: 0.9 },
  disk: { warning: 0.7, critical: 0.85 },
  behind: { warning: 104_857_600 },
  lag: { warning: 60, critical: 300 },
  diskFull: { warning: 86_400, critical: 14_400 },
  response: { warning: 2, critical: 5 },
  errors: { warning: 0.01, critical: 0.05 },
};

const METRICS: Record<keyof BoundsInForce, string> = {
  cpu: 'tidemark_cpu_usage_ratio',
  memory: 'tidemark_memory_usage_ratio',
  disk: 'tidemark_filesystem_usage_ratio',
  behind: 'tidemark_postgres_replica_bytes_behind',
  lag: 'tidemark_replication_lag_alarm_seconds',
  diskFull: 'tidemark_replication_slot_disk_full_in_seconds',
  response: 'tidemark_http_response_seconds',
  errors: 'tidemark_http_error_ratio',
};

function upper(bound: Bound): number | undefined {
  return 'above' in bound ? bound.above : 'atLeast' in bound ? bound.atLeast : undefined;
}

function lower(bound: Bound): number | undefined {
  return 'below' in bound ? bound.below : 'atMost' in bound ? bound.atMost : undefined;
}

/** Whether a rule is about all series of its metric, but for a few that it leaves out. */
const isGeneral = ({ labels }: RuleView): boolean =>
  Object.values(labels).every((values) => values.every((value) => value === '*' || value.startsWith('!')));

/** The bounds that rules say, by their metrics; what they do not say is as shipped. A rule for some labels alone is no bound for all. */
export function boundsOf(rules: readonly RuleView[]): BoundsInForce {
  const read = (key: keyof BoundsInForce): BoundsInForce[typeof key] => {
    const rule = rules.find((one) => one.kind === 'threshold' && one.enabled && one.metric === METRICS[key] && isGeneral(one));
    const limit = key === 'diskFull' ? lower : upper;
    const [warning, critical] = [rule?.warning, rule?.critical].map((level) => (level ? limit(level.trigger) : undefined));
    return { ...SHIPPED[key], ...(warning === undefined ? {} : { warning }), ...(critical === undefined ? {} : { critical }) };
  };
  return Object.fromEntries(Object.keys(METRICS).map((key) => [key, read(key as keyof BoundsInForce)])) as unknown as BoundsInForce;
}

const isForAll = ({ where }: RuleView): boolean => Object.keys(where).length === 0;
/** The bounds for everybody; a node's own overrides are only known to its page. */
export const bounds = computed(() => (rulesInForce.value === null ? SHIPPED : boundsOf(rulesInForce.value.rules.filter(isForAll))));

export type Level = 'normal' | 'warning' | 'critical';

/** Where a figure stands; a missing one stands nowhere. As in the rules, a value on the bound is not beyond it. */
export function levelOf(value: number | null, { warning, critical }: { warning: number; critical?: number }): Level {
  if (value === null || value <= warning) return 'normal';
  return critical === undefined || value <= critical ? 'warning' : 'critical';
}
