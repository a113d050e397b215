/**
 * Promotions, and what they turn out to have been: a switchover when the old primary went in order and nothing is missing, a
 * failover when it was lost. One event for both: the promotion's, corrected under its own key when more is known.
 */
import { formatLsn, parseLsn } from '@tidemark/protocol';
import { bytesFrom, documentNow, furthest, positionOf, type Look, type Said } from './changes-look.ts';
import type { Ending, PrimaryNote, PromotionNote } from './changes-memory.ts';
import type { Member, Sighting } from './model.ts';
import { bytesText, iso, secondsOf, spanText } from './words.ts';

/** For so long it may turn out to have been a switchover. */
const EXPLAIN_MS = 5 * 60_000;
/** An old primary that is down may be on its way to become a replica. */
const AMBIGUOUS_MS = 30_000;
/** Late reports may still tell how far the old primary was. */
const CORRECT_MS = 24 * 3_600_000;
/** A primary that was seen is not forgotten for one that is only heard of, before everyone has had the time to report. */
const STRANGER_AFTER_MS = 2 * 60_000;
/** Times of two agents are compared. */
const CLOCKS_MS = 1_000;

/** What became of the old primary, as far as it is known. */
type Fate = 'writes' | 'not_heard_yet' | 'follows' | 'down' | 'silent' | 'unwatched';

export function promotionChanges(look: Look): void {
  for (const member of look.watched) if (isPromoted(look, member)) look.memory.promotions.push(noteOf(look, member));
  for (const note of look.memory.promotions) {
    if (look.since(note.at) > CORRECT_MS) continue;
    learn(look, note);
    explain(look, note);
    unexpected(look, note);
  }
}

/** Keeps who is primary and how far it is, for when it is lost. */
export function notePrimary(look: Look): void {
  const { memory, cluster } = look;
  const seenAt = cluster.primaryEvidenceAt;
  const member = cluster.primary.id === undefined ? undefined : look.members.get(cluster.primary.id);
  const known = memory.primary;
  if (cluster.primary.certainty === 'disputed' || look.clones.has(cluster.primary.id ?? '')) return;
  if (member === undefined) {
    const stranger = strangerOf(look);
    // The old primary may already follow the new one before that one has reported: for a while that is no stranger.
    const isRecent = known !== null && known.id !== null && look.since(known.seenAt) <= STRANGER_AFTER_MS;
    if (stranger !== undefined && seenAt !== undefined && !isRecent)
      memory.primary = { id: null, name: stranger, timeline: null, lsn: null, seenAt, ending: null };
    else if (known !== null) memory.primary = withEnding(look, known);
    return;
  }
  if (member.role !== 'primary') return;
  const isSame = known?.id === member.id;
  // One that is only remembered does not replace one that was seen.
  if (!isSame && known !== null && !look.isPrimaryNow(member)) {
    memory.primary = withEnding(look, known);
    return;
  }
  const lsn = furthest(
    isSame ? parseLsn(known.lsn) : undefined,
    writtenBy(look, member, Number.POSITIVE_INFINITY, member.timeline ?? null),
  );
  const note: PrimaryNote = {
    id: member.id,
    name: member.name,
    timeline: member.timeline ?? (isSame ? known.timeline : null),
    lsn: lsn === undefined ? null : formatLsn(lsn),
    seenAt: Math.max(isSame ? known.seenAt : 0, seenAt ?? member.sighting?.upAt ?? 0),
    ending: isSame ? known.ending : null,
  };
  memory.primary = look.isPrimaryNow(member) ? { ...note, ending: null } : withEnding(look, note);
}

/** A primary that nobody watches, by those who stream from it. */
function strangerOf(look: Look): string | undefined {
  const follower = look.watched.find(
    ({ role, sighting, upstream }) =>
      role === 'replica' && documentNow(sighting) !== undefined && upstream?.connected === true && upstream.id === undefined,
  );
  return follower === undefined ? undefined : (follower.upstream?.address ?? 'a server that nobody watches');
}

function withEnding(look: Look, note: PrimaryNote): PrimaryNote {
  const ending = note.ending ?? endingOf(look.members.get(note.id ?? '')?.sighting);
  return ending === note.ending ? note : { ...note, ending };
}

/** What the agent saw of a server's end: it said that it shuts down, or that it crashed. */
function endingOf(sighting: Sighting | undefined): Ending | null {
  if (sighting === undefined || sighting.newest.up) return null;
  const { reason, detail } = sighting.newest;
  if (/immediate shutdown|crash|SIGQUIT/i.test(detail ?? '')) return 'crashed';
  if (reason === 'stopping' || /administrator command/i.test(detail ?? '')) return 'in_order';
  return null;
}

/**
 * How far a primary was seen to have written by `until`: by its own agent, by its track, by those who stream from it. What it
 * got from the next one, on a later timeline, is none of it.
 */
function writtenBy(look: Look, member: Member, until: number, timeline: number | null): bigint | undefined {
  const { sighting } = member;
  const document = sighting?.document;
  const isLater = (of: number | null | undefined): boolean => timeline !== null && (of ?? timeline) > timeline;
  const isOwn = document?.role === 'primary' && (sighting!.upAt ?? 0) <= until && !isLater(document.timeline);
  const own = isOwn ? positionOf(document) : undefined;
  const head = look.headOf(member.id);
  let best = furthest(own, head !== undefined && head.at <= until ? head.lsn : undefined);
  for (const other of look.watched) {
    const receiver = other.sighting.document?.receiver;
    if (other.upstream?.id !== member.id || (other.sighting.upAt ?? 0) > until) continue;
    if (receiver === null || receiver === undefined || other.role !== 'replica' || isLater(receiver.receivedTimeline)) continue;
    best = furthest(best, parseLsn(receiver.latestEndLsn));
  }
  return best;
}

function isPromoted(look: Look, member: Member & { sighting: Sighting }): boolean {
  if (look.isFirst || !look.isPrimaryNow(member)) return false;
  return look.memory.members[member.id]?.role === 'replica';
}

function noteOf(look: Look, member: Member & { sighting: Sighting }): PromotionNote {
  const { memory } = look;
  const known = memory.members[member.id]!;
  const former = memory.primary !== null && memory.primary.id !== member.id ? withEnding(look, memory.primary) : null;
  const timeline = member.timeline ?? null;
  const at = member.sighting.upAt ?? look.now;
  const key = `promotion:${member.id}:${timeline ?? `after-${known.timeline ?? 0}`}`;
  return {
    // Rebuilt from an older copy it may come to the same timeline again.
    key: memory.promotions.some((one) => one.key === key) ? `${key}:${Math.round(at)}` : key,
    id: member.id,
    name: member.name,
    at,
    timeline,
    forkLsn: null,
    receivedLsn: known.lsn,
    former,
    formerLsn: former?.lsn ?? null,
    wasLost: memory.loss !== null,
    ending: former?.ending ?? null,
    kind: 'promotion',
    wasDisputed: false,
    hasFollowed: false,
    wasUnwatched: former !== null && memory.awakeAt > former.seenAt,
    saidUnexpected: false,
    saidRejoined: false,
    said: '',
  };
}

/** Takes what this look tells of the two positions. Once it is explained, only what was so before it counts. */
function learn(look: Look, note: PromotionNote): void {
  const member = look.members.get(note.id);
  const document = documentNow(member?.sighting);
  note.timeline ??= member?.timeline ?? null;
  if (document?.role === 'primary' && document.recoveryEndLsn !== null && document.recoveryEndLsn !== undefined)
    note.forkLsn ??= document.recoveryEndLsn;
  const former = look.members.get(note.former?.id ?? '');
  if (former === undefined) return;
  note.ending ??= endingOf(former.sighting);
  const until = note.kind === 'promotion' ? Number.POSITIVE_INFINITY : note.at;
  const written = furthest(parseLsn(note.formerLsn), writtenBy(look, former, until, note.former?.timeline ?? null));
  note.formerLsn = written === undefined ? null : formatLsn(written);
}

function fateOf(look: Look, note: PromotionNote): Fate {
  const former = look.members.get(note.former?.id ?? '');
  if (former?.sighting === undefined) return 'unwatched';
  const { sighting } = former;
  if (sighting.silent) return 'silent';
  if (!sighting.newest.up) return 'down';
  if (!former.roleIsCurrent) return 'not_heard_yet';
  if (former.role === 'replica') return 'follows';
  return former.role === 'primary' && (sighting.upAt ?? 0) > note.at + CLOCKS_MS ? 'writes' : 'not_heard_yet';
}

/** Bytes that the old primary had written and the new one has not; null when nobody knows. */
function lostBytes(note: PromotionNote): number | null {
  if (note.forkLsn !== null) return bytesFrom(note.forkLsn, note.formerLsn);
  // Where it took over is not known, only that it was not before this.
  return bytesFrom(note.receivedLsn, note.formerLsn) === 0 ? 0 : null;
}

function explain(look: Look, note: PromotionNote): void {
  const fate = fateOf(look, note);
  if (fate === 'writes') note.wasDisputed = true;
  if (fate === 'follows') note.hasFollowed = true;
  note.kind = kindOf(look, note, fate);
  const said = wordsOf(note, fate);
  const form = JSON.stringify([said.kind, said.text, said.details]);
  if (form !== note.said && (note.said === '' || note.kind !== 'promotion')) look.say(said);
  if (note.said === '' || note.kind !== 'promotion') note.said = form;
}

function kindOf(look: Look, note: PromotionNote, fate: Fate): PromotionNote['kind'] {
  const lost = lostBytes(note);
  const isYoung = look.since(note.at) <= EXPLAIN_MS;
  if (note.former === null || note.wasDisputed) return note.kind;
  if (note.kind === 'switchover') return lost !== null && lost > 0 ? 'failover' : 'switchover';
  const isInOrder = lost === 0 && note.ending !== 'crashed';
  if (fate === 'follows' && isInOrder && isYoung && (!note.wasLost || note.ending === 'in_order')) return 'switchover';
  if (fate === 'down' && isInOrder && note.ending === 'in_order' && isYoung) return 'switchover';
  if (note.kind === 'failover') return 'failover';
  switch (fate) {
    case 'writes':
    case 'not_heard_yet':
      return 'promotion';
    case 'follows':
      return lost !== null ? 'failover' : 'promotion';
    case 'unwatched':
      return note.wasLost ? 'failover' : 'promotion';
    case 'down':
    case 'silent': {
      const isClear = note.wasLost || note.ending === 'crashed' || fate === 'silent' || (lost ?? 0) > 0;
      return isClear || look.since(note.at) > AMBIGUOUS_MS ? 'failover' : 'promotion';
    }
    default:
      return fate satisfies never;
  }
}

function wordsOf(note: PromotionNote, fate: Fate): Said {
  const { former, kind } = note;
  const timeline = note.timeline === null ? '' : ` (timeline ${note.timeline})`;
  const withoutMs = former === null ? undefined : Math.max(0, note.at - former.seenAt);
  const lost = lostBytes(note);
  const without =
    withoutMs === undefined ? '' : ` For ${note.wasUnwatched ? 'at most' : 'about'} ${spanText(withoutMs)} there was no primary.`;
  const base = { key: note.key, at: note.at, id: note.id, name: note.name, kind };
  const details = {
    newPrimary: note.name,
    formerPrimary: former?.name ?? null,
    timeline: note.timeline,
    forkLsn: note.forkLsn,
    ...(kind === 'promotion'
      ? {}
      : {
          formerLsn: note.formerLsn,
          lostBytes: lost,
          withoutPrimarySeconds: withoutMs === undefined ? null : secondsOf(withoutMs),
          lastSeenAt: former === null ? null : iso(former.seenAt),
        }),
  };
  if (kind === 'switchover') {
    const became = note.hasFollowed ? `${former!.name} now follows as a replica.` : `${former!.name} was shut down in order.`;
    const text = `Switchover: ${note.name} took over from ${former!.name}${timeline}. Nothing was lost: ${former!.name} was seen up to ${note.formerLsn}, which ${note.name} has. ${became}${without}`;
    return { ...base, severity: 'info', text, details };
  }
  if (kind === 'failover') {
    const text = `Failover: ${note.name} was promoted${timeline} after ${former!.name} was lost. ${lossText(note, lost)}${without}`;
    return { ...base, severity: (lost ?? 0) > 0 ? 'critical' : 'warning', text, details };
  }
  const text = `${note.name} was promoted: its own agent saw a replica and now sees a primary${timeline}.${former === null ? '' : ` ${fateText(former.name, fate)}`}`;
  return { ...base, severity: 'warning', text, details };
}

function lossText(note: PromotionNote, lost: number | null): string {
  const former = note.former!.name;
  if (lost === null) return `How much of what ${former} wrote is missing is not known.`;
  if (lost > 0)
    return `${bytesText(lost)} that ${former} had written are missing: it was seen at ${note.formerLsn}, and ${note.name} took over at ${note.forkLsn}.`;
  return `Nothing is known to be missing: ${former} was last seen at ${note.formerLsn}, which ${note.name} has.`;
}

function fateText(former: string, fate: Fate): string {
  switch (fate) {
    case 'writes':
      return `${former} is still a primary as well.`;
    case 'follows':
      return `${former}, the primary until then, is a replica now.`;
    case 'down':
      return `${former}, the primary until then, is down.`;
    case 'silent':
      return `${former}, the primary until then, is not heard.`;
    case 'not_heard_yet':
    case 'unwatched':
      return `The primary until then was ${former}.`;
    default:
      return fate satisfies never;
  }
}

/** A second primary, from the first look that shows it: the promoted one while the old one goes on, the old one when it comes back after it was replaced. */
function unexpected(look: Look, note: PromotionNote): void {
  const { former } = note;
  const promoted = look.members.get(note.id);
  if (note.saidUnexpected || former === null || !look.isPrimaryNow(promoted)) return;
  const old = look.members.get(former.id ?? '');
  const isBack = look.isPrimaryNow(old) && (old.sighting.upAt ?? 0) > note.at + CLOCKS_MS;
  const follower = look.watched.find(
    (one) =>
      one.upstream?.connected === true && one.upstream.id !== note.id && (one.upstream.id ?? null) === former.id && heardAfter(one, note),
  );
  if (!isBack && follower === undefined) return;
  note.wasDisputed = true;
  note.saidUnexpected = true;
  if (look.cluster.splitBrain?.primaries.includes(note.id) === true) return;
  const wasReplaced = note.kind !== 'promotion' && isBack;
  const [stray, rightful] = wasReplaced ? [{ id: old.id, name: old.name }, note.name] : [{ id: note.id, name: note.name }, former.name];
  const why = wasReplaced
    ? `it is a primary again although ${rightful} took over`
    : isBack
      ? `it was a replica, and ${rightful} is still a primary`
      : `it was a replica, and ${follower!.name} still streams from ${rightful}`;
  look.say({
    kind: 'unexpected_primary',
    key: note.key.replace('promotion:', `unexpected_primary:${stray.id}:`),
    at: wasReplaced ? (old.sighting.upAt ?? look.now) : note.at,
    ...stray,
    severity: 'critical',
    text: `${stray.name} is a primary and should not be: ${why}. Whatever connects to it and writes, writes apart from the others.`,
    details: { primary: rightful, timeline: wasReplaced ? (old.timeline ?? null) : note.timeline },
  });
}

/** It heard from its upstream after the promotion: a receiver whose sender has vanished looks connected for a minute. */
function heardAfter({ sighting, roleIsCurrent }: Member & { sighting: Sighting }, note: PromotionNote): boolean {
  const agoMs = documentNow(sighting)?.receiver?.lastMessageAgoMs ?? null;
  return roleIsCurrent && agoMs !== null && (sighting.upAt ?? 0) - agoMs > note.at + CLOCKS_MS;
}
