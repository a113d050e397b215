/** Histories that part: split brain and its end, copies that were never linked, replicas that left the common history and came back, followers on a new timeline. */
import { formatLsn, parseLsn } from '@tidemark/protocol';
import { byKey, bytesFrom, furthest, listed, positionOf, type Look } from './changes-look.ts';
import type { SplitNote } from './changes-memory.ts';
import type { InstanceId, Member, Sighting, SplitBrain } from './model.ts';
import { asSentence, bytesText, iso, secondsOf, spanText } from './words.ts';

/** A side that is down may only be restarting. */
const DOWN_GRACE_MS = 10_000;
/** Sides that still look like primaries while topology no longer holds it to be a split brain. */
const UNHELD_MS = 60_000;

export function cloneChanges(look: Look): void {
  for (const id of look.cluster.clones) {
    const member = look.members.get(id);
    if (member === undefined || look.memory.clones[id] !== undefined) continue;
    const at = member.sighting?.upAt ?? look.now;
    look.memory.clones[id] = at;
    look.say({
      kind: 'clone_suspected',
      key: `clone_suspected:${id}`,
      at,
      id,
      name: member.name,
      severity: 'warning',
      text: `${member.name} has the system identifier of cluster ${look.cluster.name} and was never seen to follow anyone in it: is it a copy of its files (a restored backup, a cloned disk)? It is counted as no part of the cluster.`,
      details: { role: member.role, timeline: member.timeline ?? null },
    });
  }
}

export function splitChanges(look: Look): void {
  const { splitBrain } = look.cluster;
  const { split } = look.memory;
  if (split === null) {
    if (splitBrain !== undefined) look.memory.split = begin(look, splitBrain);
    return;
  }
  noteSides(look, split, splitBrain);
  if (isOver(look, split)) {
    end(look, split);
    look.memory.split = null;
    look.memory.splitOverAt = look.now;
  } else if (splitBrain !== undefined) say(look, split, splitBrain.why);
}

function begin(look: Look, splitBrain: SplitBrain): SplitNote {
  const first = splitBrain.primaries[0] ?? '';
  const promotion = look.memory.promotions.findLast(({ id }) => id === first);
  const times = splitBrain.primaries.flatMap((id) => look.members.get(id)?.sighting?.upAt ?? []);
  // The second one after the same promotion began later than that.
  const isFirst = promotion?.kind === 'promotion' && promotion.at > (look.memory.splitOverAt ?? 0);
  const since = isFirst ? promotion.at : Math.max(...(times.length === 0 ? [look.now] : times));
  const split: SplitNote = {
    key: `split_brain:${first}:${Math.round(since)}`,
    first,
    since,
    forkLsn: null,
    sides: {},
    said: '',
    heldAt: look.now,
  };
  noteSides(look, split, splitBrain);
  say(look, split, splitBrain.why);
  return split;
}

function noteSides(look: Look, split: SplitNote, splitBrain: SplitBrain | undefined): void {
  if (splitBrain !== undefined) {
    split.heldAt = look.now;
    if (splitBrain.forkLsn !== undefined) split.forkLsn = formatLsn(splitBrain.forkLsn);
  }
  for (const id of new Set([...(splitBrain?.primaries ?? []), ...Object.keys(split.sides)])) {
    const member = look.members.get(id);
    const side = (split.sides[id] ??= { name: member?.name ?? id, lsn: null, primaryAt: split.since });
    const document = member?.sighting?.document;
    if (document?.role !== 'primary') continue;
    const lsn = furthest(parseLsn(side.lsn), positionOf(document), look.headOf(id)?.lsn);
    side.lsn = lsn === undefined ? null : formatLsn(lsn);
    side.primaryAt = Math.max(side.primaryAt, member!.sighting!.upAt ?? 0);
  }
}

/** At most one of them can still be writing. A side that is not heard may be. */
function isOver(look: Look, split: SplitNote): boolean {
  if (look.cluster.splitBrain !== undefined) return false;
  const possible = byKey(split.sides).filter(([id, { primaryAt }]) => mayWrite(look, look.members.get(id), primaryAt));
  if (possible.length <= 1) return true;
  const areSeen = possible.every(([id]) => look.isPrimaryNow(look.members.get(id)));
  // Time in which nobody looked proves nothing: after a restart one side reports before the other.
  return areSeen && look.since(Math.max(split.heldAt, look.memory.awakeAt)) > UNHELD_MS;
}

function mayWrite(look: Look, member: Member | undefined, primaryAt: number): boolean {
  if (member?.sighting === undefined || look.clones.has(member.id)) return false;
  const { silent, newest, intervalMs } = member.sighting;
  if (silent) return true;
  if (!newest.up) return !look.isLongSince(primaryAt, intervalMs, DOWN_GRACE_MS);
  return member.role !== 'replica';
}

function figuresOf(split: SplitNote): { text: string; details: Record<string, number | null> } {
  const parts: string[] = [];
  const details: Record<string, number | null> = {};
  for (const { name, lsn } of sidesByName(split)) {
    const bytes = bytesFrom(split.forkLsn, lsn);
    details[`bytesWritten.${name}`] = bytes;
    if (bytes !== null) parts.push(`${name} wrote ${bytesText(bytes)}`);
  }
  return { text: parts.join(', '), details };
}

const sidesByName = (split: SplitNote) => Object.values(split.sides).toSorted((a, b) => (a.name < b.name ? -1 : 1));
const fork = (split: SplitNote): string => (split.forkLsn === null ? 'since they parted' : `past ${split.forkLsn}, where they parted`);

/** Said again when somebody joins in, where they parted becomes known, or what a side has written is of another order: 16 times as much. */
function say(look: Look, split: SplitNote, why: string): void {
  const names = sidesByName(split).map(({ name }) => name);
  const orders = sidesByName(split).map(({ lsn }) => Math.floor(Math.log2((bytesFrom(split.forkLsn, lsn) ?? 0) + 1) / 4));
  const form = JSON.stringify([names, split.forkLsn, orders]);
  if (form === split.said) return;
  split.said = form;
  const { text, details } = figuresOf(split);
  look.say({
    kind: 'split_brain',
    key: split.key,
    at: split.since,
    id: split.first,
    name: split.sides[split.first]?.name,
    severity: 'critical',
    text: `Split brain: ${why === '' ? `${listed(names)} are primaries of the same cluster, each on its own.` : asSentence(why)}${text === '' ? '' : ` So far, ${fork(split)}: ${text}.`}`,
    details: { primaries: names.join(', '), forkLsn: split.forkLsn, since: iso(split.since), ...details },
  });
}

function end(look: Look, split: SplitNote): void {
  // The last moment at which two of them were primaries is when the second to last one of them was seen as one.
  const times = Object.values(split.sides).map(({ primaryAt }) => primaryAt);
  const until = Math.max(split.since, times.toSorted((a, b) => b - a)[1] ?? split.since);
  const names = sidesByName(split).map(({ name }) => name);
  const gone = byKey(split.sides).flatMap(([id, { name }]) => whatBecame(look, id, name));
  const { text, details } = figuresOf(split);
  look.say({
    kind: 'split_brain_over',
    key: split.key.replace('split_brain:', 'split_brain_over:'),
    at: until,
    id: split.first,
    name: split.sides[split.first]?.name,
    severity: 'warning',
    text: `The split brain of ${listed(names)} is over after ${spanText(until - split.since)}${gone.length === 0 ? '' : `: ${listed(gone.toSorted())}`}. ${text === '' ? 'How much each wrote is not known.' : `${capital(fork(split))}: ${text}.`} What the side that gives way wrote is lost with it.`,
    details: {
      primaries: names.join(', '),
      forkLsn: split.forkLsn,
      since: iso(split.since),
      windowSeconds: secondsOf(until - split.since),
      ...details,
    },
  });
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

function whatBecame(look: Look, id: InstanceId, name: string): string[] {
  const member = look.members.get(id);
  if (member?.sighting === undefined) return [`${name} is no longer watched`];
  if (!member.sighting.newest.up) return [`${name} is down`];
  return member.role === 'replica' ? [`${name} is a replica again`] : [];
}

export function divergenceChanges(look: Look): void {
  for (const member of look.watched) {
    const note = look.memory.members[member.id];
    if (member.diverged !== undefined) {
      if (note?.diverged !== null && note?.diverged !== undefined) continue;
      sayDiverged(look, member);
    } else if (isFollowing(look, member)) {
      sayFormerIsBack(look, member);
      if (note?.diverged !== null && note?.diverged !== undefined) sayRejoined(look, member, note.diverged.at);
      if (!hasRejoined(look, member)) sayTimeline(look, member);
    }
  }
}

function isFollowing(look: Look, { role, roleIsCurrent, sighting, upstream }: Member & { sighting: Sighting }): boolean {
  return role === 'replica' && roleIsCurrent && !sighting.silent && sighting.newest.up && upstream?.connected === true && !look.isFirst;
}

export const divergedKey = (id: InstanceId, at: number): string => `diverged:${id}:${Math.round(at)}`;

function sayDiverged(look: Look, member: Member & { sighting: Sighting }): void {
  const { forkLsn, why } = member.diverged!;
  const at = member.sighting.upAt ?? look.now;
  look.say({
    kind: 'diverged',
    key: divergedKey(member.id, at),
    at,
    id: member.id,
    name: member.name,
    severity: 'critical',
    text: `${member.name} has left the cluster's history and cannot follow any more: ${asSentence(why)} It has to be rewound (pg_rewind) or built anew.`,
    details: { forkLsn: forkLsn === undefined ? null : formatLsn(forkLsn), timeline: member.timeline ?? null },
  });
}

export const hasRejoined = (look: Look, { id }: Member): boolean =>
  look.changes.some(({ kind, instanceId }) => kind === 'rejoined' && instanceId === id);

/** Once a look, by the newest reason. */
function sayRejoined(look: Look, member: Member & { sighting: Sighting }, since: number): void {
  const at = member.sighting.upAt ?? look.now;
  const upstream = look.members.get(member.upstream?.id ?? '')?.name ?? null;
  if (hasRejoined(look, member)) look.unsay(`rejoined:${member.id}:`);
  look.say({
    kind: 'rejoined',
    key: `rejoined:${member.id}:${Math.round(since)}`,
    at,
    id: member.id,
    name: member.name,
    severity: 'info',
    text: `${member.name} follows ${upstream ?? 'the cluster'} again, ${spanText(at - since)} after it had left its history.`,
    details: { upstream, timeline: member.timeline ?? null, awaySeconds: secondsOf(at - since) },
  });
}

/** An old primary that comes back as a replica, or a promoted one that should not have been; of a switchover that is part of it. */
function sayFormerIsBack(look: Look, member: Member & { sighting: Sighting }): void {
  const { promotions } = look.memory;
  for (const promotion of promotions) {
    const isFormer = promotion.former?.id === member.id;
    const isStray = promotion.id === member.id && promotion.wasDisputed && promotion === promotions.at(-1);
    if ((!isFormer && !isStray) || promotion.saidRejoined) continue;
    if (promotion.kind === 'promotion' && !promotion.wasDisputed) continue;
    promotion.saidRejoined = true;
    if (promotion.kind !== 'switchover') sayRejoined(look, member, promotion.at);
  }
}

/** A follower that goes on along a new timeline; of an old primary the other events tell it. */
function sayTimeline(look: Look, member: Member & { sighting: Sighting }): void {
  const note = look.memory.members[member.id];
  const before = note?.timeline ?? null;
  if (note?.role !== 'replica' || before === null || member.timeline === undefined || member.timeline <= before) return;
  const upstream = look.members.get(member.upstream?.id ?? '')?.name ?? null;
  look.say({
    kind: 'timeline_switch',
    key: `timeline_switch:${member.id}:${member.timeline}`,
    at: member.sighting.upAt ?? look.now,
    id: member.id,
    name: member.name,
    severity: 'info',
    text: `${member.name} follows ${upstream ?? 'its upstream'} onto timeline ${member.timeline} (from ${before}).`,
    details: { timeline: member.timeline, previousTimeline: before, upstream },
  });
}
