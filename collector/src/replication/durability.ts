/**
 * What a primary's loss would cost now, and whether the synchronous standbys are there that its commits wait for. Positions
 * that were read at different moments are compared at one of them: what was written in between is no loss.
 */
import { bytesBetween, parseLsn, parseSynchronousStandbyNames } from '@tidemark/protocol';
import { lsnAt } from './lag.ts';
import type { ClusterFigures, ClusterTopology, Member, TrackReader } from './model.ts';
import { settingText } from './server-settings.ts';

/** What a replica is known to have flushed, and when that was so. */
interface Flushed {
  readonly at: number;
  readonly lsn: bigint;
  /** It goes on receiving: compared at its own moment. What stands still is compared with the newest. */
  readonly isCurrent: boolean;
}

/** WAL of the primary that no replica has flushed; undefined without a primary, or without a replica. */
export function rpoBytesOf(cluster: ClusterTopology, tracks: TrackReader, primary: Member | undefined): number | undefined {
  const head = primary === undefined ? undefined : tracks.head(primary.id);
  const newest = head?.newest;
  if (primary === undefined || head === undefined || newest === undefined) return undefined;
  const losses = cluster.members
    .filter(
      (member) => member.role === 'replica' && member.diverged === undefined && (member.root === undefined || member.root === primary.id),
    )
    // What it has on a later timeline is no WAL of this primary.
    .filter(({ timeline }) => timeline === undefined || primary.timeline === undefined || timeline <= primary.timeline)
    .flatMap((member) => flushedOf(member, primary, tracks))
    .map(({ at, lsn, isCurrent }) => bytesBetween(lsn, (isCurrent ? lsnAt(head, at) : undefined) ?? newest.lsn));
  return losses.length === 0 ? undefined : Math.min(...losses);
}

function flushedOf(member: Member, primary: Member, tracks: TrackReader): Flushed[] {
  const flushed: Flushed[] = [];
  const { sighting } = member;
  const received = sighting === undefined ? undefined : tracks.head(member.id)?.newest;
  if (received !== undefined) flushed.push({ ...received, isCurrent: !sighting!.silent && sighting!.newest.up });
  const { newest, upAt, silent } = primary.sighting ?? {};
  const row = member.seenBy?.upstream === primary.id ? newest?.replicas[member.seenBy.replica] : undefined;
  const lsn = parseLsn(row?.flushLsn);
  if (lsn !== undefined && upAt !== undefined) flushed.push({ at: upAt, lsn, isCurrent: silent === false });
  return flushed;
}

/** Of synchronous_standby_names; undefined where commits wait for nobody, or nobody knows. */
export function synchronousOf(primary: Member | undefined): ClusterFigures['synchronous'] {
  const { document, settings } = primary?.sighting ?? {};
  if (document === undefined || document.role !== 'primary') return undefined;
  const names = parseSynchronousStandbyNames(settingText(settings, 'synchronous_standby_names') ?? '');
  if (names === undefined) return undefined;
  const waiting = document.waitingForSync ?? 0;
  const mode = settingText(settings, 'synchronous_commit');
  // A session may ask for more than the server's setting: one that waits is proof.
  if ((mode === 'off' || mode === 'local') && waiting === 0) return undefined;
  const wanted = new Set(names.names.map((name) => name.toLowerCase()));
  const isNamed = (name: string | null): boolean => wanted.has('*') || (name !== null && wanted.has(name.toLowerCase()));
  // Without the right to see its state, a standby that is named and connected is held to be one.
  const present = document.replicas.filter(({ syncState, applicationName }) =>
    syncState === null ? isNamed(applicationName) : syncState === 'sync' || syncState === 'quorum',
  ).length;
  return { required: names.required, present, waiting };
}
