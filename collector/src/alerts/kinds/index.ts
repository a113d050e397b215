/** Every kind of rule there is; another one is a file here and a line. */
import type { RuleKind } from '@tidemark/protocol';
import { absent } from './absent.ts';
import { event } from './event.ts';
import type { Kind } from './kind.ts';
import { state } from './state.ts';
import { threshold } from './threshold.ts';

export const KINDS: Readonly<Record<RuleKind, Kind>> = { threshold, absent, state, event };
export type { Kind, Value } from './kind.ts';
