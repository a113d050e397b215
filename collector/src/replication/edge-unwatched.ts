/**
 * Replicas that no agent watches: all there is of them is a row at their sender. What they are called (no two the same, and
 * the same from look to look), and for how long one is kept that its sender has ceased to list: one that merely passed by,
 * or that is found again somewhere else, is not.
 */
import type { InstanceId, Member, MemberMemory, UnwatchedMemory, Upstream } from './model.ts';
import type { Edges, Unwatched } from './edges.ts';
import { isPublic, rowAddress, type SenderRow, type Subject } from './topology-subject.ts';

/** One that is no longer listed is told of for so long. */
const KEEP_GONE_MS = 10 * 60_000;
/** Who streamed for less is a tool, and no replica. */
const PASSES_BY_MS = 60_000;
/** A row may outlive its connection for as long (wal_sender_timeout, as it mostly is). */
const LEFT_BEHIND_MS = 60_000;
/** Of each sender: where many come and go, only the newest gone are told of. */
const GONE_MAX = 10;
const REMEMBERED_MAX = 200;

/** One that its sender listed, and lists no more. */
export interface Gone {
  readonly id: InstanceId;
  readonly known: UnwatchedMemory;
  readonly sender: Subject;
  readonly upstream: Upstream;
  /** When it was last listed; undefined while its sender cannot tell. */
  readonly since: number | undefined;
}

/** Of rows of one sender. Two that look alike differ by a number, which goes with the connection. */
export function unwatchedIds(sender: Subject, rows: readonly SenderRow[]): Map<SenderRow, InstanceId> {
  const ids = new Map<SenderRow, InstanceId>();
  const used = new Set<InstanceId>();
  const byStart = new Map<string, InstanceId[]>();
  for (const [id, { backendStart }] of Object.entries(sender.memory?.unwatched ?? {}))
    if (backendStart !== null) byStart.set(backendStart, [...(byStart.get(backendStart) ?? []), id]);
  for (const row of rows) {
    const base = baseOf(sender, row);
    const same = byStart.get(row.view.backendStart ?? '')?.find((id) => !used.has(id) && isNumbered(id, base));
    if (same === undefined) continue;
    ids.set(row, same);
    used.add(same);
  }
  for (const row of rows) {
    if (ids.has(row)) continue;
    const base = baseOf(sender, row);
    let id = base;
    for (let n = 2; used.has(id); n += 1) id = `${base}#${n}`;
    ids.set(row, id);
    used.add(id);
  }
  return ids;
}

const isNumbered = (id: InstanceId, base: InstanceId): boolean => id.startsWith(base) && /^(#\d+)?$/.test(id.slice(base.length));

function baseOf(sender: Subject, row: SenderRow): InstanceId {
  const { applicationName, slotName } = row.view;
  return `${sender.id}>${applicationName ?? ''}@${rowAddress(row)}${slotName === null ? '' : `/${slotName}`}`;
}

/** Those that are told of though nobody lists them. */
export function goneOf(subjects: readonly Subject[], { unwatched }: Edges, now: number): Gone[] {
  const listed = new Map(unwatched.map(({ id, row }) => [id, row]));
  return subjects.flatMap((sender) => {
    const canTell = sender.current && sender.document?.insufficientPrivilege !== true;
    const returned = new Set(Object.keys(sender.memory?.unwatched ?? {}).flatMap((id) => listed.get(id) ?? []));
    return Object.entries(sender.memory?.unwatched ?? {})
      .filter(
        ([id, known]) =>
          !listed.has(id) && isKept(known, now) && !(canTell && isDone(known, sender)) && !isFound(known, sender, subjects, returned),
      )
      .sort(([a, one], [b, other]) => other.lastSeenAt - one.lastSeenAt || (a < b ? -1 : 1))
      .slice(0, GONE_MAX)
      .map(([id, known]): Gone => {
        const by = known.kind === 'logical' ? 'subscription' : known.slot === null ? 'process' : 'slot';
        const upstream: Upstream = { id: sender.id, by, address: undefined, connected: false };
        return { id, known, sender, upstream, since: canTell ? known.lastSeenAt : undefined };
      });
  });
}

function isKept({ firstSeenAt, lastSeenAt }: UnwatchedMemory, now: number): boolean {
  return now - lastSeenAt <= KEEP_GONE_MS && lastSeenAt - firstSeenAt >= PASSES_BY_MS;
}

/** A logical consumer whose slot is gone as well has ended in order: the slot was temporary, or was dropped. */
function isDone({ kind, slot }: UnwatchedMemory, { document }: Subject): boolean {
  return kind === 'logical' && slot !== null && document?.slots.some(({ name }) => name === slot) !== true;
}

/** Somebody who is there may well be it. In doubt it is: of two stories about one server the one that says that it is gone is wrong. */
function isFound(known: UnwatchedMemory, sender: Subject, subjects: readonly Subject[], returned: ReadonlySet<SenderRow>): boolean {
  return subjects.some((one) => {
    const isSameRow = (row: SenderRow): boolean => {
      if (row.kind !== known.kind || returned.has(row)) return false;
      if ((row.view.applicationName ?? '') !== known.application || (row.address ?? null) !== known.address) return false;
      if (one === sender && row.view.backendStart !== null && row.view.backendStart === known.backendStart) return true;
      return row.startedAt === undefined || row.startedAt >= known.lastSeenAt - LEFT_BEHIND_MS;
    };
    if (one.rows.some(isSameRow)) return true;
    // An agent came to watch it, and it does not stream now.
    const isNew = (one.memory?.firstSeenAt ?? Infinity) > known.firstSeenAt;
    return one !== sender && isNew && known.address !== null && isPublic(known.address) && one.place.addresses.has(known.address);
  });
}

/** By id, names of which no two are the same and none is a watched member's; one that was given is kept. */
export function unwatchedNames(
  subjects: readonly Subject[],
  unwatched: readonly Unwatched[],
  gone: readonly Gone[],
): Map<InstanceId, string> {
  const names = new Map<InstanceId, string>();
  const used = new Set(subjects.map(({ name }) => name));
  const all = [
    ...unwatched.map(({ id, name, sender }) => ({ id, base: name, known: sender.memory?.unwatched?.[id] })),
    ...gone.map(({ id, known }) => ({ id, base: known.name, known })),
  ].sort((a, b) => (a.known?.firstSeenAt ?? Infinity) - (b.known?.firstSeenAt ?? Infinity) || (a.id < b.id ? -1 : 1) || 0);
  for (const { id, base, known } of all) {
    const had = known?.name;
    if (had === undefined || used.has(had) || !(had === base || had.startsWith(`${base} #`))) continue;
    names.set(id, had);
    used.add(had);
  }
  for (const { id, base } of all) {
    if (names.has(id)) continue;
    let name = base;
    for (let n = 2; used.has(name); n += 1) name = `${base} #${n}`;
    names.set(id, name);
    used.add(name);
  }
  return names;
}

/** What a sender's memory has of them after this look. */
export function rememberUnwatched(
  memory: Record<InstanceId, MemberMemory>,
  {
    subjects,
    edges,
    gone,
    names,
  }: { subjects: readonly Subject[]; edges: Edges; gone: readonly Gone[]; names: ReadonlyMap<InstanceId, string> },
): void {
  for (const sender of subjects) {
    const own = memory[sender.id];
    if (own === undefined) continue;
    const before = sender.memory?.unwatched ?? {};
    const upAt = sender.sighting.upAt ?? own.lastSeenAt;
    const isOutdated = upAt < own.lastSeenAt;
    const listed = edges.unwatched.filter((one) => one.sender === sender).slice(0, REMEMBERED_MAX);
    const next: Record<InstanceId, UnwatchedMemory> = {};
    for (const { id, row, sameAs } of listed) {
      const known = before[id];
      next[id] = isOutdated && known !== undefined ? known : noteOf(row, { name: names.get(id)!, upAt, known, sameAs });
    }
    for (const one of gone) if (one.sender === sender) next[one.id] = { ...one.known, name: names.get(one.id) ?? one.known.name };
    const { unwatched: _, ...rest } = own;
    memory[sender.id] = Object.keys(next).length === 0 ? rest : { ...rest, unwatched: next };
  }
}

function noteOf(
  row: SenderRow,
  seen: { name: string; upAt: number; known: UnwatchedMemory | undefined; sameAs: InstanceId | undefined },
): UnwatchedMemory {
  const { name, upAt, known, sameAs } = seen;
  return {
    name,
    kind: row.kind,
    application: row.view.applicationName ?? '',
    address: row.address ?? null,
    slot: row.view.slotName,
    backendStart: row.view.backendStart,
    ...(sameAs !== undefined && { sameAs }),
    firstSeenAt: Math.min(known?.firstSeenAt ?? upAt, row.startedAt ?? upAt),
    lastSeenAt: Math.max(known?.lastSeenAt ?? upAt, upAt),
  };
}

/** As a member of the cluster: what it was, and that it is not there. */
export function goneMember({ id, known, upstream, since }: Gone, name: string, root: InstanceId | undefined): Member {
  return {
    id,
    name,
    sighting: undefined,
    seenBy: undefined,
    role: known.kind === 'logical' ? 'subscriber' : 'replica',
    roleIsCurrent: false,
    timeline: undefined,
    upstream,
    root,
    slotUsers: new Map(),
    diverged: undefined,
    goneSince: since,
    sameAs: known.sameAs,
  };
}
