/**
 * Operational failures of a process: said in one sentence that tells what to do, with an exit code that
 * scripts can rely on, and never with a stack trace. Anything else that is thrown is a programmer's
 * error and crashes loudly.
 */

/** Exit codes, the same for both programs. 70 and above follow sysexits(3) where it has a fitting one. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  software: 70,
  databaseAway: 69,
  dataDirectory: 73,
  portInUse: 75,
  alreadyRunning: 76,
  databaseNewer: 77,
  configuration: 78,
  // Of an installation; the installers and `tidemark-agent enroll` and `confirm` have them in common (docs/reference/installer.md).
  unsupportedSystem: 10,
  glibcTooOld: 11,
  noRoom: 12,
  noRights: 13,
  downloadFailed: 14,
  checksumWrong: 15,
  signatureWrong: 16,
  nameUnknown: 20,
  connectionRefused: 21,
  tlsFailed: 22,
  notACollector: 23,
  serviceNotStarted: 30,
  notConfirmed: 31,
  rolledBack: 32,
  credentialRejected: 33,
  installationUnderWay: 34,
} as const;

export class OperationalFailure extends Error {
  readonly exitCode: number;
  constructor(message: string, exitCode: number = EXIT.failed, options: { cause?: unknown } = {}) {
    super(message, options);
    this.name = 'OperationalFailure';
    this.exitCode = exitCode;
  }
}

/** The sentence for a person out of anything thrown. */
export function sentenceOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return sentenceOf(error.errors[0]);
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of a system or PostgreSQL error ("ECONNREFUSED", "28P01"), if it has one. */
export function codeOf(error: unknown): string | undefined {
  if (error instanceof AggregateError && error.errors.length > 0) return codeOf(error.errors[0]);
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}
