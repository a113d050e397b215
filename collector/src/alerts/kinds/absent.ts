/** Something that is not there: the value is whether it is missing. */
import type { Kind } from './kind.ts';

export const absent: Kind = {
  isBeyond: (_, value) => value === true,
  isBack: (_, value) => value !== true,
  isMomentary: false,
};
