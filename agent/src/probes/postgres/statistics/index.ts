/**
 * THE LIST of statistics groups: one line each. Made anew for every watched server, so that a group may remember what
 * it read before.
 */
import type { StatisticsGroup } from './group.ts';

export function statisticsGroups(): StatisticsGroup[] {
  return [];
}
