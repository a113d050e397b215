/**
 * An enrolment string is one line for a person to carry: `tme1.TOKEN.FINGERPRINT@URL`, where TOKEN is base64url, FINGERPRINT the
 * SHA-256 of the DER of the collector's certificate authority as 64 hexadecimal digits (or `-` when public authorities vouch
 * for it, or nobody does), and URL the collector's address. A shell takes it apart with `${s#*@}`.
 */
export interface EnrolmentString {
  readonly token: string;
  /** SHA-256 of the DER of the certificate authority, 64 hexadecimal digits. */
  readonly fingerprint: string | undefined;
  readonly url: string;
}

const FORM = /^tme1\.([A-Za-z0-9_-]{20,100})\.([0-9a-f]{64}|-)@(https?:\/\/[^\s?#@]{1,500})$/;

export const looksLikeEnrolment = (text: string): boolean => text.startsWith('tme1.');

/** Undefined when it is none, or was cut. */
export function parseEnrolment(text: string): EnrolmentString | undefined {
  const [, token, fingerprint, url] = FORM.exec(text.trim()) ?? [];
  if (token === undefined || url === undefined || !URL.canParse(url)) return undefined;
  return { token, fingerprint: fingerprint === '-' ? undefined : fingerprint, url };
}

export function formatEnrolment({ token, fingerprint, url }: EnrolmentString): string {
  return `tme1.${token}.${fingerprint ?? '-'}@${url}`;
}
