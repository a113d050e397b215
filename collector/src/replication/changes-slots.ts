/** Replication slots: made, dropped, not used, and WAL that they may lose or have lost. Temporary ones, ones that follow a slot elsewhere, and those of a table's first copy are nobody's concern. */
import type { PostgresReplication } from '@tidemark/protocol';
import { byKey, documentNow, type Look } from './changes-look.ts';
import type { SlotNote } from './changes-memory.ts';
import type { Member, Sighting, SlotFigures } from './model.ts';
import { bytesText, iso, secondsOf, spanText } from './words.ts';

type Slot = PostgresReplication['slots'][number];
interface Seen {
  readonly member: Member & { sighting: Sighting };
  readonly document: PostgresReplication;
  readonly slot: Slot;
  readonly note: SlotNote;
  /** When it was seen. */
  readonly at: number;
}

const INACTIVE_MS = 30_000;
/** One that flaps is spoken of this often at most. */
const REPEAT_MS = 10 * 60_000;
const SLOTS_MAX = 200;
const TABLE_COPY = /^pg_\d+_sync_\d+_\d+$/;

const keyOf = (instance: string, name: string): string => `${instance} ${name}`;

export function slotChanges(look: Look): void {
  for (const member of look.watched) {
    const document = documentNow(member.sighting);
    if (document === undefined || document.insufficientPrivilege || document.reason !== null) continue;
    slotsOf(look, member, document);
  }
  for (const id of Object.keys(look.memory.slotsOf)) if (!look.members.has(id)) forget(look, id);
}

function slotsOf(look: Look, member: Member & { sighting: Sighting }, document: PostgresReplication): void {
  const { memory } = look;
  const at = member.sighting.upAt ?? look.now;
  const isKnown = memory.slotsOf[member.id] === true;
  memory.slotsOf[member.id] = true;
  const slots = document.slots.filter(isOfConcern).slice(0, SLOTS_MAX);
  const names = new Set(document.slots.map(({ name }) => name));
  for (const [key, { instance, name }] of byKey(memory.slots)) {
    if (instance !== member.id || names.has(name)) continue;
    delete memory.slots[key];
    dropped(look, member, name, at);
  }
  for (const slot of slots) {
    const key = keyOf(member.id, slot.name);
    if (memory.slots[key] === undefined) {
      memory.slots[key] = {
        instance: member.id,
        name: slot.name,
        inactiveAt: null,
        inactiveSaid: null,
        inactiveSaidAt: null,
        wal: 'kept',
        unreservedSaidAt: null,
      };
      if (isKnown) created(look, member, slot, at);
    }
    const seen: Seen = { member, document, slot, note: memory.slots[key], at };
    lossOf(look, seen);
    use(look, seen);
  }
}

const isOfConcern = ({ name, temporary, synced }: Slot): boolean => temporary !== true && synced !== true && !TABLE_COPY.test(name);

function forget(look: Look, id: string): void {
  delete look.memory.slotsOf[id];
  for (const [key, { instance }] of Object.entries(look.memory.slots)) if (instance === id) delete look.memory.slots[key];
}

function created(look: Look, { id, name }: Member, slot: Slot, at: number): void {
  look.say({
    kind: 'slot_created',
    key: `slot_created:${id}:${slot.name}:${Math.round(at)}`,
    at,
    id,
    name,
    severity: 'info',
    text: `Slot ${slot.name} (${slot.type ?? 'of unknown type'}) was made on ${name}: WAL is kept for it until it is used or dropped.`,
    details: { slot: slot.name, type: slot.type, database: slot.database ?? null },
  });
}

function dropped(look: Look, { id, name }: Member, slot: string, at: number): void {
  look.say({
    kind: 'slot_dropped',
    key: `slot_dropped:${id}:${slot}:${Math.round(at)}`,
    at,
    id,
    name,
    severity: 'info',
    text: `Slot ${slot} on ${name} was dropped: no WAL is kept for it any more.`,
    details: { slot },
  });
}

const figuresOf = (look: Look, { member, slot }: Seen): SlotFigures | undefined =>
  look.figures.slots.find(({ instanceId, name }) => instanceId === member.id && name === slot.name);

function heldText(figures: SlotFigures | undefined): string {
  if (figures?.retainedBytes === undefined) return '';
  const dangers = [
    figures.lostInMs === undefined ? '' : `it loses what it needs in about ${spanText(figures.lostInMs)}`,
    figures.diskFullInMs === undefined ? '' : `the disk is full in about ${spanText(figures.diskFullInMs)}`,
  ].filter((part) => part !== '');
  return ` It keeps ${bytesText(figures.retainedBytes)} of WAL${dangers.length === 0 ? '' : `; at the present rate ${dangers.join(', ')}`}.`;
}

/** Unused for a while, and used again. What is lost is not used either, and that is said. */
function use(look: Look, seen: Seen): void {
  const { member, slot, note, at } = seen;
  if (slot.active === true) {
    if (note.inactiveSaid !== null) active(look, seen);
    note.inactiveAt = null;
    note.inactiveSaid = null;
    return;
  }
  if (slot.active !== false || note.wal === 'lost') return;
  note.inactiveAt ??= inactiveSince(seen) ?? at;
  if (note.inactiveSaid !== null || at - note.inactiveAt < INACTIVE_MS) return;
  if (note.inactiveSaidAt !== null && at - note.inactiveSaidAt < REPEAT_MS) return;
  note.inactiveSaid = `slot_inactive:${member.id}:${slot.name}:${Math.round(note.inactiveAt)}`;
  note.inactiveSaidAt = at;
  const figures = figuresOf(look, seen);
  look.say({
    kind: 'slot_inactive',
    key: note.inactiveSaid,
    at: note.inactiveAt,
    id: member.id,
    name: member.name,
    severity: 'warning',
    text: `Nobody has used slot ${slot.name} on ${member.name} for ${spanText(at - note.inactiveAt)}.${heldText(figures)}`,
    details: {
      slot: slot.name,
      inactiveSince: iso(note.inactiveAt),
      retainedBytes: figures?.retainedBytes ?? null,
      walStatus: slot.walStatus,
    },
  });
}

/** By the server's own clock, only as a difference on that server. */
function inactiveSince({ document, slot, at }: Seen): number | undefined {
  const [since, now] = [Date.parse(slot.inactiveSince ?? ''), Date.parse(document.serverTime ?? '')];
  return Number.isNaN(since) || Number.isNaN(now) || since > now ? undefined : at - (now - since);
}

function active(look: Look, { member, slot, note, at }: Seen): void {
  const since = note.inactiveAt ?? at;
  look.say({
    kind: 'slot_active',
    key: note.inactiveSaid!.replace('slot_inactive:', 'slot_active:'),
    at,
    id: member.id,
    name: member.name,
    severity: 'info',
    text: `Slot ${slot.name} on ${member.name} is used again after ${spanText(at - since)}.`,
    details: { slot: slot.name, inactiveSeconds: secondsOf(at - since) },
  });
}

function lossOf(look: Look, seen: Seen): void {
  const { slot, note, at } = seen;
  const reason = slot.invalidationReason ?? null;
  const wal = slot.walStatus === 'lost' || reason !== null ? 'lost' : slot.walStatus === 'unreserved' ? 'unreserved' : 'kept';
  const before = note.wal;
  if (wal === before) return;
  // Nothing is known of it for the moment.
  if (slot.walStatus === null && reason === null && before !== 'kept') return;
  note.wal = wal;
  if (wal === 'lost') lost(look, seen, reason);
  else if (wal === 'unreserved' && (note.unreservedSaidAt === null || at - note.unreservedSaidAt >= REPEAT_MS)) {
    note.unreservedSaidAt = at;
    unreserved(look, seen);
  }
}

function unreserved(look: Look, seen: Seen): void {
  const { member, slot, at } = seen;
  const figures = figuresOf(look, seen);
  look.say({
    kind: 'slot_unreserved',
    key: `slot_unreserved:${member.id}:${slot.name}:${Math.round(at)}`,
    at,
    id: member.id,
    name: member.name,
    severity: 'critical',
    text: `Slot ${slot.name} on ${member.name} is beyond max_slot_wal_keep_size: the next checkpoint may remove WAL that it needs.${heldText(figures)}`,
    details: { slot: slot.name, walStatus: slot.walStatus, active: slot.active, retainedBytes: figures?.retainedBytes ?? null },
  });
}

const REASONS: Readonly<Record<string, string>> = {
  wal_removed: 'WAL that it needs was removed (max_slot_wal_keep_size)',
  rows_removed: 'rows that it needs were removed',
  wal_level_insufficient: 'wal_level of the primary is too low for it',
  idle_timeout: 'it was not used for longer than idle_replication_slot_timeout',
};

function lost(look: Look, { member, slot, at }: Seen, reason: string | null): void {
  const why = reason === null ? 'WAL that it needs was removed' : (REASONS[reason] ?? reason);
  look.say({
    kind: 'slot_lost',
    key: `slot_lost:${member.id}:${slot.name}:${Math.round(at)}`,
    at,
    id: member.id,
    name: member.name,
    severity: 'critical',
    text: `Slot ${slot.name} on ${member.name} is lost: ${why}. Whoever streamed from it has to be built anew, and the slot dropped.`,
    details: { slot: slot.name, type: slot.type, reason, walStatus: slot.walStatus },
  });
}
