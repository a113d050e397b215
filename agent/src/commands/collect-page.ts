/** x */
import type { Collected } from './collect.ts';
export function collectPage(collected: Collected): string {
  return collected.hostname;
}
