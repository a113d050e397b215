/** What is expected of the whole cluster: its primary, split brain, slots, events, what would be lost, synchronous standbys. */
import { REPLICATION_EVENT_KINDS, type ReplicationEvent, type ReplicationSlot } from '@tidemark/protocol';
import type { Values } from '../language/forms.ts';
import { showBytes, showSeconds } from '../language/units.ts';
import type { Condition, Judgement, Look } from './condition.ts';
import { compareBytes } from './instances.ts';

const KINDS = REPLICATION_EVENT_KINDS.join('|');

const showSplit = (cluster: Look['cluster']): string =>
  cluster === undefined ? 'nothing is published of it' : cluster.splitBrain ? cluster.primary.why : 'no split brain is published';

const eventsOf = (look: Look, values: Values): ReplicationEvent[] => {
  const about = values.maybeText('server');
  return look.events.filter(
    ({ kind, instanceId, instance }) =>
      kind === values.text('kind') && (about === undefined || instanceId === look.instance(about)?.id || instance === look.nodeOf(about)),
  );
};

const showEvents = (look: Look): string =>
  look.events.length === 0
    ? 'no events'
    : `events: ${look.events.map(({ kind, instance }) => `${kind}${instance === null ? '' : ` of ${look.letterOf(instance) ?? instance}`}`).join(', ')}`;

const ofSlot =
  (judge: (slot: ReplicationSlot, values: Values) => Judgement): Condition['test'] =>
  (look, values) => {
    const slot = look.slot(values.text('slot'), values.text('server'));
    return slot === undefined
      ? { holds: false, seen: `there is no slot ${values.text('slot')} of ${values.text('server')}` }
      : judge(slot, values);
  };

const showSlot = ({
  name,
  active,
  walStatus,
  invalidationReason,
  retainedBytes,
  heldSeconds,
  lostInSeconds,
  diskFullInSeconds,
}: ReplicationSlot): string =>
  [
    `slot ${name} is ${active === null ? 'active or not' : active ? 'active' : 'inactive'}, ${walStatus ?? 'of no known WAL status'}`,
    invalidationReason === null ? '' : `, invalidated: ${invalidationReason}`,
    retainedBytes === null ? '' : `, keeps ${showBytes(retainedBytes)}`,
    heldSeconds === null ? '' : ` since ${showSeconds(heldSeconds)}`,
    lostInSeconds === null ? '' : `, lost in ${showSeconds(lostInSeconds)}`,
    diskFullInSeconds === null ? '' : `, disk full in ${showSeconds(diskFullInSeconds)}`,
  ].join('');

export const CLUSTER_CONDITIONS: readonly Condition[] = [
  {
    form: 'primary is <server:server> [<certainty:sure|likely>]',
    means: 'what GET /api/telemetry/replication/primary answers, and how sure it is',
    async test(look, values) {
      const primary = await look.primary();
      const letter = look.letterOf(primary.node);
      const certainty = values.maybeText('certainty');
      return {
        holds:
          letter === values.text('server') &&
          (certainty === undefined ? primary.certainty !== 'disputed' : primary.certainty === certainty),
        seen: `the primary is ${letter ?? primary.name ?? 'nobody'}, ${primary.certainty}: ${primary.why}`,
      };
    },
  },
  {
    form: 'primary is <certainty:disputed|unknown>',
    means: 'it says that it cannot tell',
    async test(look, values) {
      const primary = await look.primary();
      return {
        holds: primary.certainty === values.text('certainty'),
        seen: `the primary is ${primary.name ?? 'nobody'}, ${primary.certainty}: ${primary.why}`,
      };
    },
  },
  {
    form: 'there is split brain',
    means: 'two write the same history apart',
    test: ({ cluster }) => ({ holds: cluster?.splitBrain === true, seen: showSplit(cluster) }),
  },
  {
    form: 'there is no split brain',
    means: 'and there is a cluster of which that is said',
    test: ({ cluster }) => ({
      holds: cluster?.splitBrain === false,
      seen: showSplit(cluster),
    }),
  },
  {
    form: 'split brain',
    means: 'the same as "there is split brain", for "never split brain"',
    test: ({ cluster }) => ({ holds: cluster?.splitBrain === true, seen: showSplit(cluster) }),
  },
  {
    form: `event <kind:${KINDS}> [about <server:server>] [with <detail:word> above <bound:number>]`,
    means: 'it happened since the scenario began; with a figure of its details above a number',
    test(look, values) {
      const found = eventsOf(look, values).filter(({ details }) => {
        const detail = values.maybeText('detail');
        return detail === undefined || Number(details[detail] ?? Number.NaN) > values.number('bound');
      });
      return {
        holds: found.length > 0,
        seen: found[0] === undefined ? showEvents(look) : `event ${found[0].kind}: ${found[0].text}`,
      };
    },
  },
  {
    form: `events <kind:${KINDS}> [about <server:server>] are <count:number>`,
    means: 'it happened exactly so often',
    test: (look, values) => ({ holds: eventsOf(look, values).length === values.number('count'), seen: showEvents(look) }),
  },
  {
    form: 'without primary is <how:above|below> <bound:duration>',
    means: 'for so long nothing has shown that there is one',
    test({ cluster }, values) {
      const seconds = cluster?.withoutPrimarySeconds ?? null;
      const holds =
        seconds !== null &&
        (values.text('how') === 'above' ? seconds * 1000 > values.number('bound') : seconds * 1000 < values.number('bound'));
      return { holds, seen: seconds === null ? 'there is a primary' : `without a primary for ${showSeconds(seconds)}` };
    },
  },
  {
    form: 'rpo is <how:above|below> <bound:size>',
    means: 'what would be lost if the primary were lost now',
    test: ({ cluster }, values) => compareBytes('would be lost now:', cluster?.rpoBytes ?? null, values),
  },
  {
    form: 'synchronous standbys are <present:number> of <required:number>',
    means: 'present, and required by synchronous_standby_names',
    test: ({ cluster }, values) => ({
      holds: cluster?.syncStandbysPresent === values.number('present') && cluster.syncStandbysRequired === values.number('required'),
      seen: `synchronous standbys: ${cluster?.syncStandbysPresent ?? 'unknown'} of ${cluster?.syncStandbysRequired ?? 'unknown'}`,
    }),
  },
  {
    form: 'slot <slot:word> of <server:server> is <how:active|inactive|reserved|extended|unreserved|lost> [or <other:unreserved|lost>]',
    means: 'used or not, or its wal_status',
    test: ofSlot((slot, values) => {
      const is = (how: string | undefined): boolean =>
        how === 'active' ? slot.active === true : how === 'inactive' ? slot.active === false : slot.walStatus === how && how !== undefined;
      return { holds: is(values.text('how')) || is(values.maybeText('other')), seen: showSlot(slot) };
    }),
  },
  {
    form: 'slot <slot:word> of <server:server> is used by <user:server>',
    means: 'who streams from it',
    test: (look, values) => {
      const slot = look.slot(values.text('slot'), values.text('server'));
      return {
        holds: slot?.usedBy === look.instance(values.text('user'))?.name && slot !== undefined,
        seen: `it is used by ${slot?.usedBy ?? 'nobody'}`,
      };
    },
  },
  {
    form: 'slot <slot:word> of <server:server> is invalidated by <reason:word>',
    means: 'its invalidation_reason',
    test: ofSlot((slot, values) => ({ holds: slot.invalidationReason === values.text('reason'), seen: showSlot(slot) })),
  },
  {
    form: 'slot <slot:word> of <server:server> keeps <how:above|below> <bound:size>',
    means: 'WAL that is there because of it',
    test: ofSlot((slot, values) => ({ ...compareBytes('', slot.retainedBytes, values), seen: showSlot(slot) })),
  },
  {
    form: 'slot <slot:word> of <server:server> is held <how:above|below> <bound:duration>',
    means: 'the age of the oldest WAL it keeps',
    test: ofSlot((slot, values) => secondsOfSlot(slot, slot.heldSeconds, values)),
  },
  {
    form: 'slot <slot:word> of <server:server> will be lost',
    means: 'it says in how many seconds, at the present rate',
    test: ofSlot((slot) => ({ holds: slot.lostInSeconds !== null, seen: showSlot(slot) })),
  },
  {
    form: 'slot <slot:word> of <server:server> will fill the disk',
    means: 'it says in how many seconds, at the present rate',
    test: ofSlot((slot) => ({ holds: slot.diskFullInSeconds !== null, seen: showSlot(slot) })),
  },
];

function secondsOfSlot(slot: ReplicationSlot, seconds: number | null, values: Values): Judgement {
  const holds =
    seconds !== null &&
    (values.text('how') === 'above' ? seconds * 1000 > values.number('bound') : seconds * 1000 < values.number('bound'));
  return { holds, seen: showSlot(slot) };
}
