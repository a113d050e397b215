/**
 * What the collector answers to reports. Only what is committed is acknowledged: an agent keeps every
 * report that is not listed under `committed` or `refused`. Unknown fields are to be ignored.
 */
import { Type, type Static } from 'typebox';
import { BootId } from './report.ts';

const Sequence = Type.Integer({ minimum: 1 });

export const Acknowledgement = Type.Object({
  serverTime: Type.Number({ description: "The collector's wall clock in milliseconds since 1970." }),
  clockOffsetMs: Type.Optional(
    Type.Number({ description: "Collector's clock less agent's, as measured; null-like absence when not yet known." }),
  ),
  node: Type.Object({
    name: Type.String(),
    state: Type.String({ description: 'pending, approved, revoked or retired' }),
    site: Type.String(),
  }),
  committed: Type.Array(Type.Object({ bootId: BootId, sequences: Type.Array(Sequence) }), {
    description: 'Safe in the store: may be dropped from the spool.',
  }),
  refused: Type.Array(Type.Object({ bootId: BootId, sequence: Sequence, code: Type.String(), detail: Type.String() }), {
    description: 'Will never be stored, for the reason given: to be dropped and counted as lost.',
  }),
  layoutsMissing: Type.Array(Type.String(), { description: 'Hashes of layout blocks to send along next time.' }),
  notStored: Type.Optional(
    Type.Object(
      { code: Type.String(), detail: Type.String() },
      { description: 'Why nothing could be committed just now. The reports were judged all the same.' },
    ),
  ),
  retryAfterSeconds: Type.Optional(Type.Number({ description: 'Come back with the uncommitted ones after this many seconds.' })),
  thresholds: Type.Array(Type.Unknown(), { description: 'Bounds at which an agent reports out of turn. Empty for now.' }),
  newAddress: Type.Union([Type.String(), Type.Null()], { description: 'Where to report from now on, when the collector has moved.' }),
});
export type Acknowledgement = Static<typeof Acknowledgement>;

export const REPORTS_PATH = '/api/telemetry/v1/reports';
