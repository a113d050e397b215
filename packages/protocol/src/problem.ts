/** Every error the HTTP interface can answer with: one line a code. Codes are stable; texts may be improved. */
import { Type, type Static } from 'typebox';

/** `status` is the HTTP status, `title` the same for every occurrence of the code. */
export const PROBLEMS = {
  request_malformed: { status: 400, title: 'This is not a request that HTTP knows' },
  body_malformed: { status: 400, title: 'The body is not valid JSON' },
  body_invalid: { status: 400, title: 'The body does not have the documented form' },
  query_invalid: { status: 400, title: 'A parameter does not have the documented form' },
  encoding_invalid: { status: 400, title: 'The body is not what its Content-Encoding says' },
  credential_missing: { status: 401, title: 'This needs a credential' },
  credential_unknown: { status: 401, title: 'The credential is not known here' },
  session_expired: { status: 401, title: 'The session has ended; sign in again' },
  node_pending: { status: 403, title: 'This node is waiting to be approved' },
  node_revoked: { status: 403, title: "This node's credential has been revoked" },
  node_retired: { status: 403, title: 'This node has been retired' },
  enrollment_token_unknown: { status: 403, title: 'This enrolment token is not known here' },
  enrollment_token_expired: { status: 403, title: 'This enrolment token has expired' },
  enrollment_token_used_up: { status: 403, title: 'This enrolment token has been used as often as it may' },
  enrollment_token_revoked: { status: 403, title: 'This enrolment token has been revoked' },
  enrollment_token_needed: { status: 403, title: 'This collector takes nodes with an enrolment token only' },
  client_certificate_needed: { status: 403, title: 'Agents have to show a certificate here' },
  role_insufficient: { status: 403, title: 'This credential may not do that' },
  origin_foreign: { status: 403, title: 'Requests from other sites are not accepted' },
  not_found: { status: 404, title: 'There is nothing at this address' },
  node_unknown: { status: 404, title: 'No node has this name' },
  token_unknown: { status: 404, title: 'No API token has this name' },
  enrollment_unknown: { status: 404, title: 'No enrolment token has this id' },
  alert_unknown: { status: 404, title: 'No alert has this id' },
  silence_unknown: { status: 404, title: 'No silence has this id' },
  channel_unknown: { status: 404, title: 'No channel has this name' },
  cluster_unknown: { status: 404, title: 'No PostgreSQL cluster is called that' },
  rule_unknown: { status: 404, title: 'No rule has this name' },
  method_not_allowed: { status: 405, title: 'This address does not take that method' },
  request_timeout: { status: 408, title: 'The request did not arrive in time' },
  name_taken: { status: 409, title: 'This name is taken' },
  state_conflict: { status: 409, title: 'The node is not in a state that allows this' },
  alert_closed: { status: 409, title: 'The alert is over' },
  configuration_invalid: { status: 409, title: 'The configuration file has mistakes; what was in force stays' },
  body_too_large: { status: 413, title: 'The body is larger than is accepted' },
  media_type_unsupported: { status: 415, title: "The body's Content-Type or Content-Encoding is not supported" },
  range_unsatisfiable: { status: 416, title: 'The part that is asked for begins beyond the end' },
  layout_mismatch: { status: 422, title: 'A block has another number of values than its layout' },
  value_invalid: { status: 422, title: 'A value is neither a number nor one of the defined words' },
  time_absurd: { status: 422, title: "The report's time is too far from now to be true" },
  series_limit: { status: 422, title: 'The node has more series than are accepted' },
  observation_too_large: { status: 422, title: 'An observation is larger than is accepted' },
  headers_too_large: { status: 431, title: 'The headers are larger than is accepted' },
  rate_limited: { status: 429, title: 'Too many requests' },
  enrollments_full: { status: 429, title: 'Too many machines wait to be approved' },
  internal: { status: 500, title: 'Something went wrong inside the collector' },
  database_away: { status: 503, title: 'The database cannot be reached just now' },
  not_storable: { status: 422, title: 'The database refuses to store this report' },
  downloads_preparing: { status: 503, title: 'The downloads are being made' },
  downloads_unavailable: { status: 503, title: 'The downloads cannot be made here' },
  overloaded: { status: 503, title: 'Too much is waiting to be stored' },
  superseded: { status: 503, title: 'Another collector has taken over from this one' },
  shutting_down: { status: 503, title: 'The collector is stopping' },
} as const satisfies Record<string, { status: number; title: string }>;

export type ProblemCode = keyof typeof PROBLEMS;

/** An RFC 9457 problem document with our stable `code`. */
export const Problem = Type.Object({
  type: Type.String({ description: 'urn:tidemark:problem:CODE' }),
  title: Type.String(),
  status: Type.Integer(),
  code: Type.String(),
  detail: Type.String(),
});
export type Problem = Static<typeof Problem>;

/** Makes the problem document of a code. `detail` says what was wrong this time and what to do. */
export function problem(code: ProblemCode, detail: string): Problem {
  const { status, title } = PROBLEMS[code];
  return { type: `urn:tidemark:problem:${code}`, title, status, code, detail };
}

/** An operational error with a stable code; the HTTP error handler turns it into a problem document. */
export class ProblemError extends Error {
  readonly code: ProblemCode;
  readonly retryAfterSeconds: number | undefined;
  constructor(code: ProblemCode, detail: string, options: { cause?: unknown; retryAfterSeconds?: number } = {}) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'ProblemError';
    this.code = code;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}
