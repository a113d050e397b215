/** A counter that rose: the value is by how much since the value before, of the same run of what counts. A reset is no rise. */
import type { Kind } from './kind.ts';

export const event: Kind = {
  isBeyond: ({ trigger }, value) => 'roseBy' in trigger && typeof value === 'number' && value >= trigger.roseBy,
  isBack: () => true,
  isMomentary: true,
};
