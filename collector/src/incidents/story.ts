/** Random stories for property tests: happenings that refer to one another, and to things that never were. */
import fc from 'fast-check';
import type { Happening } from './entry.ts';
import { openingOf } from './testing.ts';

/** Ids of a few things that stories are about; the database takes nothing but UUIDs. */
const idOf = (kind: number, number: number): string =>
  `0198${kind.toString(16).padStart(4, '0')}-0000-7000-8000-${String(number).padStart(12, '0')}`;

const level = fc.constantFrom('warning' as const, 'critical' as const);
const incidentId = fc.integer({ min: 0, max: 5 }).map((number) => idOf(1, number));
const silenceId = fc.integer({ min: 0, max: 2 }).map((number) => idOf(2, number));
const deliveryId = fc.integer({ min: 0, max: 4 }).map((number) => idOf(3, number));
const channel = fc.constantFrom('ops', 'mail');
const value = fc.oneof(
  fc.constant(null),
  fc.double({ min: 0, max: 1, noNaN: true }).map((number) => number + 0),
);
const text = fc.constantFrom('', 'why', 'ä🦫"\n');

export const happening: fc.Arbitrary<Happening> = fc.oneof(
  fc
    .record({ id: incidentId, nodeId: fc.integer({ min: 1, max: 2 }), first: level, known: value })
    .map(({ id, nodeId, first, known }): Happening => ({ kind: 'opened', opening: openingOf(id, { nodeId, level: first, value: known }) })),
  fc.record({
    kind: fc.constant('level' as const),
    incidentId,
    level,
    value,
    bound: fc.constant({ above: 0.5 }),
    why: text,
  }),
  fc.record({ kind: fc.constant('data' as const), incidentId, noData: fc.boolean(), why: text }),
  fc.record({
    kind: fc.constant('closed' as const),
    incidentId,
    reason: fc.constantFrom('recovered', 'gone', 'retired'),
    value,
    why: text,
  }),
  fc.record({ kind: fc.constant('acknowledged' as const), incidentId, by: text, note: text }),
  fc.record({ kind: fc.constant('unacknowledged' as const), incidentId, by: text, why: text }),
  fc.record({ id: silenceId, reason: text }).map(({ id, reason }): Happening => ({
    kind: 'silenced',
    silence: { silenceId: id, matcher: { node: 'db*' }, reason, author: 'kim', endsAt: Date.UTC(2030, 0, 1) },
  })),
  fc.record({ kind: fc.constant('unsilenced' as const), silenceId, by: text }),
  fc.record({
    kind: fc.constant('attempted' as const),
    deliveryId,
    channel,
    attempt: fc.integer({ min: 1, max: 3 }),
    thread: fc.constant('t'),
    items: fc.uniqueArray(fc.record({ incidentId, status: fc.constantFrom('firing' as const, 'resolved' as const), level }), {
      selector: (item) => item.incidentId,
      minLength: 1,
      maxLength: 3,
    }),
  }),
  fc.record({
    kind: fc.constant('answered' as const),
    deliveryId,
    channel,
    attempt: fc.integer({ min: 1, max: 3 }),
    outcome: fc.constantFrom('delivered', 'retry', 'refused', 'gone'),
    answer: text,
    retryAt: fc.constantFrom(null, Date.UTC(2030, 0, 2)),
  }),
);

/** What one call records. */
export const recordCall: fc.Arbitrary<Happening[]> = fc.array(happening, { minLength: 1, maxLength: 4 });
