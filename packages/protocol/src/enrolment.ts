/**
 * How a machine becomes a node: `POST /api/telemetry/v1/enroll`. The agent makes its secret by itself and sends its SHA-256, so a
 * lost answer costs nothing: asked again with the same hash, the collector answers the same. The secret itself travels with reports only.
 */
import { Type, type Static } from 'typebox';
import { NodeName, Tags } from './report.ts';

export const ENROLL_PATH = '/api/telemetry/v1/enroll';

export const EnrollRequest = Type.Object({
  name: NodeName,
  machine: Type.Optional(
    Type.String({ pattern: '^[0-9a-f]{64}$', description: "SHA-256 of the machine's own id, salted for Tidemark; never the id itself." }),
  ),
  secretHash: Type.String({ pattern: '^[A-Za-z0-9_-]{43}$', description: "SHA-256 of the agent's secret, base64url." }),
  token: Type.Optional(Type.String({ minLength: 1, maxLength: 200, description: 'The TOKEN of an enrolment string.' })),
  site: Type.Optional(Type.String({ maxLength: 100 })),
  tags: Type.Optional(Tags),
  version: Type.String({ maxLength: 64 }),
  platform: Type.Optional(Type.String({ maxLength: 64 })),
});
export type EnrollRequest = Static<typeof EnrollRequest>;

/** Why a machine has to be approved by a person. */
export const ClaimReason = Type.Union([
  Type.Literal('new', { description: 'No node has this name.' }),
  Type.Literal('same-machine', { description: 'The machine that this node is asks with another secret: installed anew.' }),
  Type.Literal('clone-or-replacement', { description: 'Another machine asks under the name of a node.' }),
]);
export type ClaimReason = Static<typeof ClaimReason>;

/** What asks to be approved, as the console and the command line show it. */
export const Claim = Type.Object({
  reason: ClaimReason,
  machineCode: Type.String({ description: 'Short for the machine: the installer on it shows the same. "unknown" when it has no id.' }),
  address: Type.String({ description: 'The address that it asked from.' }),
  askedAt: Type.String({ description: 'ISO 8601, UTC' }),
  platform: Type.Union([Type.String(), Type.Null()]),
  agentVersion: Type.Union([Type.String(), Type.Null()]),
});
export type Claim = Static<typeof Claim>;

export const EnrollAnswer = Type.Object({
  state: Type.Union([Type.Literal('approved'), Type.Literal('pending')]),
  node: Type.Object({ name: Type.String(), site: Type.String() }),
  machineCode: Type.String(),
  /** Set while pending. */
  reason: Type.Union([ClaimReason, Type.Null()]),
  approveCommand: Type.String({ description: 'What approves it on the collector; empty when approved.' }),
  consoleUrl: Type.String({ description: 'Where it is to be seen; empty when the collector was not told its --public-url.' }),
});
export type EnrollAnswer = Static<typeof EnrollAnswer>;

/** `XXXX-XXXX` for a machine's hash: what a person compares on two screens. */
export function machineCode(machine: string | undefined): string {
  return machine === undefined ? 'unknown' : `${machine.slice(0, 4)}-${machine.slice(4, 8)}`.toUpperCase();
}

/** Makes an enrolment token: `POST /api/telemetry/enrollments`. */
export const NewEnrollment = Type.Object(
  {
    ttlSeconds: Type.Optional(Type.Integer({ minimum: 60, maximum: 365 * 86_400, description: '24 hours unless told.' })),
    uses: Type.Optional(Type.Integer({ minimum: 1, maximum: 100_000, description: 'Machines it is good for; 1 unless told.' })),
    site: Type.Optional(Type.String({ maxLength: 100, pattern: '^[^\\u0000-\\u001f\\u007f]*$' })),
    tags: Type.Optional(Tags),
    url: Type.Optional(
      Type.String({ maxLength: 500, description: "The address to put into the string; the collector's --public-url unless told." }),
    ),
  },
  { additionalProperties: false },
);
export type NewEnrollment = Static<typeof NewEnrollment>;

export const EnrollmentView = Type.Object({
  id: Type.Integer(),
  createdAt: Type.String(),
  expiresAt: Type.String(),
  uses: Type.Integer(),
  used: Type.Integer(),
  site: Type.String(),
  tags: Tags,
  state: Type.Union([Type.Literal('open'), Type.Literal('expired'), Type.Literal('used-up'), Type.Literal('revoked')]),
});
export type EnrollmentView = Static<typeof EnrollmentView>;
export const MadeEnrollment = Type.Object({ enrollment: EnrollmentView, string: Type.String({ description: 'Shown once.' }) });
export type MadeEnrollment = Static<typeof MadeEnrollment>;
export const EnrollmentList = Type.Object({ enrollments: Type.Array(EnrollmentView) });
export type EnrollmentList = Static<typeof EnrollmentList>;

/** What a machine is told whose claim was denied. */
export const notApproved = (name: string): string =>
  `This machine was not approved as ${JSON.stringify(name)}. To ask once more, delete the agent's secret on it and enrol it again.`;

/** What a machine is told in whose place another one was approved. */
export const replacedBy = (name: string): string =>
  `Another machine was approved as ${JSON.stringify(name)} in place of this one. To watch this one too, delete the agent's secret on it and enrol it under a name of its own.`;
