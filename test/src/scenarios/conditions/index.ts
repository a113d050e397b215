/** THE LIST of what a scenario can expect. */
import { ALERT_CONDITIONS } from './alerts.ts';
import { CLUSTER_CONDITIONS } from './cluster.ts';
import type { Condition } from './condition.ts';
import { INSTANCE_CONDITIONS } from './instances.ts';

export type { Condition, Judgement, Look } from './condition.ts';
export const CONDITIONS: readonly Condition[] = [...INSTANCE_CONDITIONS, ...CLUSTER_CONDITIONS, ...ALERT_CONDITIONS];
