/**
 * Replicas that come and go. One is gone when it is neither connected nor seen for longer than a restart takes, and somebody
 * who could see it says so; unwatched ones are what their upstream lists, and flap without flooding anybody.
 */
import { formatLsn, parseLsn } from '@tidemark/protocol';
import { byKey, documentNow, furthest, positionOf, type Look } from './changes-look.ts';
import type { MemberNote } from './changes-memory.ts';
import { divergedKey, hasRejoined } from './changes-split.ts';
import type { InstanceId, Member, Sighting } from './model.ts';
import { iso, secondsOf, spanText } from './words.ts';

const GONE_GRACE_MS = 10_000;
/** After the first look: whoever has not reported by then was not there. */
const WARM_UP_MS = 60_000;
/** Tools that stream for a moment (backups, the first copy of a table) are no replicas. */
const STRANGER_STAYS_MS = 30_000;
const FLAP_MS = 10 * 60_000;
const STRANGERS_MAX = 10;
const FORGET_MS = 24 * 3_600_000;

interface Presence {
  readonly isPresent: boolean;
  /** When it was last seen, by whoever saw it. */
  readonly at: number | undefined;
}

export function replicaChanges(look: Look): void {
  for (const member of look.cluster.members) {
    if ((member.role !== 'replica' && member.role !== 'subscriber') || look.clones.has(member.id)) continue;
    const presence = presenceOf(look, member);
    const note = look.memory.members[member.id] ?? adopted(look, member) ?? undefined;
    if (note === undefined) {
      if (presence.isPresent) look.memory.members[member.id] = noteOf(look, member, presence.at ?? look.now);
    } else if (presence.isPresent) {
      if (note.isAway) note.flaps++;
      if (!wasPresent(note)) note.presentSince = presence.at ?? look.now;
      note.isAway = false;
      note.presentAt = Math.max(note.presentAt, presence.at ?? 0);
    }
    const kept = look.memory.members[member.id];
    if (kept !== undefined && presence.isPresent && kept.told !== 'present') tellPresent(look, member, kept);
  }
  for (const [id, note] of byKey(look.memory.members)) {
    if (note.role !== 'replica' && note.role !== 'subscriber') continue;
    const member = look.members.get(id);
    if (member !== undefined && presenceOf(look, member).isPresent) continue;
    if (note.told === null) delete look.memory.members[id];
    else if (note.told === 'present' && isGone(look, note, member)) tellGone(look, id, note);
    else if (look.since(note.presentAt) > FORGET_MS && member === undefined) delete look.memory.members[id];
  }
}

/** Keeps what everybody is now, for the next look to compare with. */
export function noteMembers(look: Look): void {
  const { members } = look.memory;
  for (const member of look.cluster.members) {
    if (look.clones.has(member.id)) continue;
    const isSure = member.roleIsCurrent && (member.sighting === undefined || documentNow(member.sighting) !== undefined);
    if (members[member.id] === undefined && member.sighting !== undefined && isSure && member.role !== 'unknown')
      members[member.id] = { ...noteOf(look, member, member.sighting.upAt ?? look.now), told: 'present' };
    const note = members[member.id];
    if (note === undefined) continue;
    note.name = member.name;
    note.watched = member.sighting !== undefined;
    if (member.upstream?.id !== undefined) {
      note.upstream = member.upstream.id;
      note.upstreamName = look.members.get(member.upstream.id)?.name ?? note.upstreamName;
    }
    note.calledThere = calledThere(look, member) ?? note.calledThere;
    noteDivergence(look, member, note);
    if (!isSure) continue;
    if (member.role !== 'unknown') note.role = member.role;
    if (member.role === 'primary') {
      note.presentAt = Math.max(note.presentAt, member.sighting?.upAt ?? 0);
      note.told = 'present';
    }
    if (member.timeline !== undefined) note.timeline = Math.max(note.timeline ?? 0, member.timeline);
    const lsn = member.role === 'replica' ? furthest(parseLsn(note.lsn), positionOf(documentNow(member.sighting))) : undefined;
    if (lsn !== undefined) note.lsn = formatLsn(lsn);
  }
  for (const [id, note] of Object.entries(members)) if (!look.members.has(id) && look.since(note.presentAt) > FORGET_MS) delete members[id];
}

function noteDivergence(look: Look, member: Member, note: MemberNote): void {
  if (member.diverged !== undefined) {
    const at = member.sighting?.upAt ?? look.now;
    note.diverged ??= { key: divergedKey(member.id, at), at };
  } else if (hasRejoined(look, member)) note.diverged = null;
}

function presenceOf(look: Look, { sighting, seenBy, upstream }: Member): Presence {
  const isUp = documentNow(sighting) !== undefined;
  const witness = seenBy === undefined ? undefined : look.members.get(seenBy.upstream)?.sighting;
  const isSeen = documentNow(witness) !== undefined;
  const times = [isUp ? sighting!.upAt : undefined, isSeen ? witness!.upAt : undefined].filter((at) => at !== undefined);
  return {
    isPresent: isUp || isSeen || (sighting === undefined && upstream?.connected === true && isSeen),
    at: times.length === 0 ? undefined : Math.max(...times),
  };
}

const wasPresent = (note: MemberNote): boolean => note.told !== 'gone' && !note.isAway;

function noteOf(look: Look, member: Member, at: number): MemberNote {
  const upstream = member.upstream?.id ?? member.seenBy?.upstream ?? null;
  return {
    name: member.name,
    watched: member.sighting !== undefined,
    role: member.role,
    timeline: member.timeline ?? null,
    lsn: null,
    upstream,
    upstreamName: upstream === null ? null : (look.members.get(upstream)?.name ?? null),
    calledThere: calledThere(look, member),
    presentAt: at,
    presentSince: at,
    told: null,
    goneToldAt: null,
    presentAtGone: 0,
    isAway: false,
    flaps: 0,
    isQuiet: false,
    diverged: null,
  };
}

/** Application and address: what is the same whether an agent watches it or not, and whoever it streams from. */
function calledThere(look: Look, { seenBy }: Member): string | null {
  if (seenBy === undefined) return null;
  const row = look.members.get(seenBy.upstream)?.sighting?.newest.replicas[seenBy.replica];
  return row === undefined ? null : `${row.applicationName ?? ''}@${row.clientAddr ?? ''}`;
}

/** An agent came to watch what only its upstream knew, or is no longer there, or it moved to another upstream: it is the same replica, and nothing happened. */
function adopted(look: Look, member: Member): MemberNote | undefined {
  const called = calledThere(look, member);
  if (called === null) return undefined;
  const absent = byKey(look.memory.members).filter(([id, note]) => note.calledThere === called && !look.members.has(id));
  const [id, known] = absent.find(([, { upstream }]) => upstream === member.seenBy!.upstream) ?? absent[0] ?? [];
  if (id === undefined || known === undefined) return undefined;
  const note = { ...known, role: member.role };
  delete look.memory.members[id];
  look.memory.members[member.id] = note;
  return note;
}

function tellPresent(look: Look, member: Member, note: MemberNote): void {
  const isNew = note.told === null;
  if (isNew && (look.isFirst || look.now - look.memory.startedAt < WARM_UP_MS)) {
    note.told = 'present';
    return;
  }
  if (isNew && member.sighting === undefined && note.presentAt - note.presentSince < STRANGER_STAYS_MS) return;
  note.told = 'present';
  if (isNew && member.sighting === undefined) note.isQuiet = !isWithinBudget(look);
  if (note.isQuiet) return;
  const upstream = look.members.get(member.upstream?.id ?? member.seenBy?.upstream ?? '')?.name ?? null;
  const from = upstream === null ? '' : ` from ${upstream}`;
  const away = note.goneToldAt === null ? null : note.presentSince - note.presentAtGone;
  look.say({
    kind: 'replica_added',
    key: `replica_added:${member.id}:${Math.round(note.presentSince)}`,
    at: note.presentSince,
    id: member.id,
    name: member.name,
    severity: 'info',
    text:
      isNew || away === null
        ? `${member.name} is a new ${member.role} of cluster ${look.cluster.name}: it streams${from}.`
        : `${member.name} is back after ${spanText(away)}${from === '' ? '' : `: it streams${from}`}.`,
    details: { upstream, isNew, awaySeconds: away === null ? null : secondsOf(away) },
  });
}

function isWithinBudget(look: Look): boolean {
  const { memory, now } = look;
  if (now - memory.strangers.since > FLAP_MS) memory.strangers = { since: now, said: 0 };
  return memory.strangers.said++ < STRANGERS_MAX;
}

/** Its own agent says that it is down, or its upstream that it is not connected; both have had the time to see it back. */
function isGone(look: Look, note: MemberNote, member: Member | undefined): boolean {
  const upstream = look.members.get(note.upstream ?? '')?.sighting;
  const intervals = [member?.sighting?.intervalMs, upstream?.intervalMs].filter((interval) => interval !== undefined);
  if (member === undefined && note.watched) return false;
  const isSaid = saysGone(member?.sighting, note) || (documentNow(upstream) !== undefined && upstream!.reportedAt > note.presentAt);
  if (!isSaid || !look.isLongSince(note.presentAt, Math.max(...intervals), GONE_GRACE_MS)) return false;
  if (!note.watched && note.goneToldAt !== null && look.since(note.goneToldAt) < FLAP_MS) {
    note.isAway = true;
    return false;
  }
  return true;
}

const saysGone = (sighting: Sighting | undefined, note: MemberNote): boolean =>
  sighting !== undefined && !sighting.silent && !sighting.newest.up && sighting.reportedAt > note.presentAt;

function tellGone(look: Look, id: InstanceId, note: MemberNote): void {
  note.told = 'gone';
  note.isAway = false;
  note.goneToldAt = look.now;
  note.presentAtGone = note.presentAt;
  const { flaps } = note;
  note.flaps = 0;
  if (note.isQuiet) return;
  const sighting = look.members.get(id)?.sighting;
  const why =
    sighting !== undefined && !sighting.silent && !sighting.newest.up
      ? `its server is down (${sighting.newest.reason ?? 'no reason known'})`
      : `${note.upstreamName ?? 'its upstream'} no longer lists it${sighting?.silent === true ? ' and its node is not heard' : ''}`;
  look.say({
    kind: 'replica_gone',
    key: `replica_gone:${id}:${Math.round(note.presentAt)}`,
    at: note.presentAt,
    id,
    name: note.name,
    severity: 'warning',
    text: `${note.name} is gone from cluster ${look.cluster.name}: ${why}; last seen ${spanText(look.since(note.presentAt))} ago.${flaps === 0 ? '' : ` It had gone and come back ${flaps} ${flaps === 1 ? 'time' : 'times'} before.`}`,
    details: { lastSeenAt: iso(note.presentAt), upstream: note.upstreamName, flaps },
  });
}
