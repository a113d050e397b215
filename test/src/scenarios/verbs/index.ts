/** THE LIST of what a scenario can do. */
import { AGENT_VERBS } from './agents.ts';
import { LOAD_VERBS } from './load.ts';
import { REPLICATION_VERBS } from './replication.ts';
import { SERVER_VERBS } from './servers.ts';
import type { Verb } from './verb.ts';

export type { Verb } from './verb.ts';
export const VERBS: readonly Verb[] = [...LOAD_VERBS, ...REPLICATION_VERBS, ...SERVER_VERBS, ...AGENT_VERBS];
