/**
 * What happened to a cluster between two looks: each thing once, by a key of its own; what is learned of it later comes
 * under the same key and corrects it. Pure. Times are those of the evidence, not of the look.
 */
import { archiverChanges, syncChanges } from './changes-commits.ts';
import { lossChanges } from './changes-loss.ts';
import { Look, type HeadOf } from './changes-look.ts';
import { bounded, memoryFrom } from './changes-memory.ts';
import { notePrimary, promotionChanges } from './changes-promotion.ts';
import { noteMembers, replicaChanges } from './changes-replicas.ts';
import { slotChanges } from './changes-slots.ts';
import { cloneChanges, divergenceChanges, splitChanges } from './changes-split.ts';
import type { ChangeMemory, ChangesResult, ClusterFigures, ClusterTopology } from './model.ts';

const nowhere: HeadOf = () => undefined;

/**
 * Looks at a cluster. `now` is the time of the look on the collector's clock, in milliseconds. Without a memory it is the
 * first look: then only what is wrong now is said. `headOf` knows positions that are newer than the documents'.
 */
export function changesOf(
  before: ChangeMemory | undefined,
  cluster: ClusterTopology,
  figures: ClusterFigures,
  now: number,
  headOf: HeadOf = nowhere,
): ChangesResult {
  const { memory, isFirst } = memoryFrom(before, now);
  const look = new Look({ cluster, figures, now, memory, isFirst, headOf });
  cloneChanges(look);
  promotionChanges(look);
  splitChanges(look);
  lossChanges(look);
  divergenceChanges(look);
  replicaChanges(look);
  slotChanges(look);
  syncChanges(look);
  archiverChanges(look);
  // Only now: everything above asks what was so before this look.
  notePrimary(look);
  noteMembers(look);
  return { memory: bounded(memory), changes: look.changes };
}
