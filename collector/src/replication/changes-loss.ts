/** A cluster without a primary: said when everyone who could have seen one has had time to, and none of them did; and its end. */
import { listed, type Look } from './changes-look.ts';
import type { LossNote } from './changes-memory.ts';
import type { Member, Sighting } from './model.ts';
import { receiverTimeoutMs } from './server-settings.ts';
import { bytesText, iso, secondsOf, spanText } from './words.ts';

const GRACE_MS = 3_000;
const SAME_MS = 500;
const INTERVAL_MAX_MS = 3_600_000;

export function lossChanges(look: Look): void {
  const evidenceAt = look.cluster.primaryEvidenceAt;
  if (evidenceAt === undefined) return;
  const { loss } = look.memory;
  if (loss === null) {
    if (isLost(look, evidenceAt)) begin(look, evidenceAt);
    return;
  }
  if (evidenceAt <= loss.at + SAME_MS) return;
  if (isFresh(look, evidenceAt)) {
    end(look, loss, evidenceAt);
    look.memory.loss = null;
  } else {
    // A late report: it was there for longer than was thought.
    look.memory.loss = { ...loss, at: evidenceAt };
    say(look, look.memory.loss, undefined);
  }
}

/** All that can be heard have reported since, or have had the time to; one of them at least has. */
function isLost(look: Look, evidenceAt: number): boolean {
  const witnesses = look.watched.filter(({ sighting }) => !sighting.silent);
  if (!witnesses.some(({ sighting }) => sighting.reportedAt > evidenceAt)) return false;
  return isStale(look, evidenceAt) && witnesses.every((witness) => hasSpoken(look, witness, evidenceAt));
}

/** The fastest of those that are heard would have shown it by now. */
function isStale(look: Look, evidenceAt: number): boolean {
  return look.isLongSince(evidenceAt, fastest(look), GRACE_MS);
}

const isFresh = (look: Look, evidenceAt: number): boolean => look.since(evidenceAt) <= 2 * fastest(look) + GRACE_MS;

const fastest = (look: Look): number =>
  look.watched.reduce((least, { sighting }) => (sighting.silent ? least : Math.min(least, sighting.intervalMs)), INTERVAL_MAX_MS);

/**
 * It has reported since, or has had the time to. One that is still connected has not: of an idle primary it hears only when
 * it asks, after half of wal_receiver_timeout.
 */
function hasSpoken(look: Look, member: Member & { sighting: Sighting }, evidenceAt: number): boolean {
  const { reportedAt, intervalMs, settings } = member.sighting;
  if (isFed(look, member)) {
    const timeoutMs = receiverTimeoutMs(settings);
    // 0: it never asks, and never gives up.
    return timeoutMs > 0 && look.isLongSince(evidenceAt, intervalMs, GRACE_MS + timeoutMs / 2);
  }
  return reportedAt > evidenceAt || look.isLongSince(evidenceAt, intervalMs, GRACE_MS);
}

/** Connected on every step to a primary, or to somebody nobody watches. */
function isFed(look: Look, member: Member): boolean {
  let at: Member | undefined = member;
  for (let steps = 0; steps <= look.members.size; steps++) {
    if (at === undefined || at.role === 'primary') return steps > 0;
    if (at.role !== 'replica' || at.sighting?.newest.up === false || at.upstream?.connected !== true) return false;
    at = look.members.get(at.upstream.id ?? '');
  }
  return false;
}

function begin(look: Look, evidenceAt: number): void {
  const { memory } = look;
  const remembered = look.watched.find(({ role, id }) => role === 'primary' && memory.primary === null && !look.clones.has(id));
  const lost = memory.primary ?? (remembered === undefined ? null : { id: remembered.id, name: remembered.name });
  const name = lost?.name ?? 'the primary';
  const member = look.members.get(lost?.id ?? '');
  memory.loss = {
    key: `primary_lost:${lost?.id ?? '-'}:${Math.round(evidenceAt)}`,
    at: evidenceAt,
    lostId: lost?.id ?? null,
    lostName: name,
    saidAt: look.now,
    rpoBytes: look.figures.rpoBytes ?? null,
    how: [howItWent(member), whoSaysSo(look, lost?.id ?? null)].filter((part) => part !== '').join(', '),
  };
  say(look, memory.loss, undefined);
}

function howItWent(member: Member | undefined): string {
  if (member?.sighting === undefined) return '';
  if (member.sighting.silent) return 'its node is not heard';
  if (!member.sighting.newest.up) return `its server is down (${member.sighting.newest.reason ?? 'no reason known'})`;
  return '';
}

function whoSaysSo(look: Look, lostId: string | null): string {
  const without = look.watched.filter(
    ({ id, sighting, upstream }) => id !== lostId && !sighting.silent && sighting.newest.up && upstream?.connected !== true,
  );
  if (without.length === 0) return '';
  return `${listed(without.map(({ name }) => name))} ${without.length === 1 ? 'receives' : 'receive'} nothing`;
}

function say(
  look: Look,
  loss: LossNote,
  ended: { readonly at: number; readonly by: string | null; readonly isSame: boolean } | undefined,
): void {
  const { name } = look.cluster;
  const how = loss.how === '' ? '' : `: ${loss.how}`;
  const risk =
    loss.rpoBytes === null
      ? ''
      : loss.rpoBytes === 0
        ? ' The furthest replica has all that it was seen to write.'
        : ` ${bytesText(loss.rpoBytes)} of what it wrote are on no replica.`;
  const text =
    ended === undefined
      ? `Cluster ${name} has no primary: ${loss.lostName} was last seen ${spanText(look.since(loss.at))} ago${how}.${risk}`
      : `Cluster ${name} had no primary for ${spanText(ended.at - loss.at)}: ${loss.lostName} was lost${how}. ${ended.isSame ? 'It came back.' : `${ended.by ?? 'Another one'} took over.`}${risk}`;
  look.say({
    kind: 'primary_lost',
    key: loss.key,
    at: loss.at,
    id: loss.lostId,
    name: loss.lostName,
    severity: 'critical',
    text,
    details: {
      lastSeenAt: iso(loss.at),
      lostInstance: loss.lostName,
      rpoBytes: loss.rpoBytes,
      endedAt: ended === undefined ? null : iso(ended.at),
      withoutPrimarySeconds: ended === undefined ? null : secondsOf(ended.at - loss.at),
    },
  });
}

/** Somebody else's promotion tells it already; otherwise it is told that it is back. */
function end(look: Look, loss: LossNote, evidenceAt: number): void {
  const promotion = look.memory.promotions.findLast(({ at }) => at >= loss.at);
  const isSame = promotion === undefined && (look.cluster.primary.id ?? null) === loss.lostId;
  const by = promotion?.name ?? look.members.get(look.cluster.primary.id ?? '')?.name ?? null;
  const at = promotion?.at ?? evidenceAt;
  say(look, loss, { at, by, isSame });
  if (promotion !== undefined) return;
  const name = isSame ? loss.lostName : (by ?? 'a primary');
  look.say({
    kind: 'primary_back',
    key: loss.key.replace('primary_lost:', 'primary_back:'),
    at,
    id: isSame ? loss.lostId : look.cluster.primary.id,
    name,
    severity: 'info',
    text: `Cluster ${look.cluster.name} has a primary again: ${name}, after ${spanText(at - loss.at)}.`,
    details: { lastSeenAt: iso(loss.at), withoutPrimarySeconds: secondsOf(at - loss.at) },
  });
}
