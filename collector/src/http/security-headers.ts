/**
 * What browsers are told with every answer. The set is fixed at start: it is written out once, because building it
 * anew for each request costs more than answering an agent does.
 */

/** The console needs nothing but its own files; nothing may frame it, and it may load from nowhere else. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "font-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join(';');

/** Not for subdomains: what else runs below this name is not for the collector to decide. */
const YEAR_SECONDS = 31_536_000;

/**
 * Headers of every answer but those to agents. `https`: people reach the collector that way, and browsers are to stay with it.
 * `sharesHost`: it stands below a path, and how the rest of the host is reached is not for the collector to decide either.
 */
export function securityHeaders(https: boolean, sharesHost: boolean): Readonly<Record<string, string>> {
  return {
    'content-security-policy': CONTENT_SECURITY_POLICY,
    'cross-origin-resource-policy': 'same-origin',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    'x-dns-prefetch-control': 'off',
    'x-download-options': 'noopen',
    'x-frame-options': 'DENY',
    'x-permitted-cross-domain-policies': 'none',
    'x-xss-protection': '0',
    // These only mean something on https, and browsers complain about them on http.
    ...(https
      ? {
          ...(sharesHost ? {} : { 'strict-transport-security': `max-age=${YEAR_SECONDS}` }),
          'cross-origin-opener-policy': 'same-origin',
          'origin-agent-cluster': '?1',
        }
      : {}),
  };
}
