/** A number beyond a bound: `above` and `below` are strict; a number exactly on the clear value is back. */
import type { Level } from '../../rules/rule.ts';
import type { Kind, Value } from './kind.ts';

function isBeyond({ trigger }: Level, value: Value): boolean {
  if (typeof value !== 'number') return false;
  if ('above' in trigger) return value > trigger.above;
  if ('atLeast' in trigger) return value >= trigger.atLeast;
  if ('below' in trigger) return value < trigger.below;
  if ('atMost' in trigger) return value <= trigger.atMost;
  return false;
}

export const threshold: Kind = {
  isBeyond,
  isBack(level, value) {
    if (level.clear === null || typeof value !== 'number') return !isBeyond(level, value);
    const rises = 'above' in level.trigger || 'atLeast' in level.trigger;
    return rises ? value <= level.clear : value >= level.clear;
  },
  isMomentary: false,
};
