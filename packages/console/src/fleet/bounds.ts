/**
 * The shipped default thresholds, for tinting alone. Nothing is judged here: what is an alert is the collector's to
 * say, and once it serves its rules in force they take this file's place.
 */
export interface Bounds {
  warning: number;
  critical: number;
}

export const CPU_BOUNDS: Bounds = { warning: 0.7, critical: 0.9 };
export const MEMORY_BOUNDS: Bounds = { warning: 0.75, critical: 0.9 };
export const DISK_BOUNDS: Bounds = { warning: 0.7, critical: 0.85 };
export const BEHIND_WARNING_BYTES = 104_857_600;

export type Level = 'normal' | 'warning' | 'critical';

/** Where a ratio stands; a missing one stands nowhere. */
export function levelOf(ratio: number | null, bounds: Bounds): Level {
  if (ratio === null || ratio < bounds.warning) return 'normal';
  return ratio < bounds.critical ? 'warning' : 'critical';
}
