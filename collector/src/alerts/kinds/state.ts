/** A series or a field of an observation that is, or is not, one of some values; numbers, texts and truth values are never mixed up. */
import type { Level } from '../../rules/rule.ts';
import type { Kind, Value } from './kind.ts';

function isBeyond({ trigger }: Level, value: Value): boolean {
  if ('is' in trigger) return trigger.is.includes(value);
  if ('isNot' in trigger) return !trigger.isNot.includes(value);
  return false;
}

export const state: Kind = { isBeyond, isBack: (level, value) => !isBeyond(level, value), isMomentary: false };
