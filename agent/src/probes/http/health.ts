/**
 * What health addresses say: Tidemark's and other `{"status": …}`, Spring Boot's actuator, and health+json
 * (draft-inadarei-api-health-check). Whatever does not look like one of them says nothing.
 */

export type HealthStatus = 'healthy' | 'degraded' | 'unhealthy';

export interface HealthAnswer {
  readonly status: HealthStatus;
  /** What is not healthy, by name; at most 20. */
  readonly failing: readonly string[];
}

const WORDS: Readonly<Record<string, HealthStatus>> = {
  healthy: 'healthy',
  ok: 'healthy',
  okay: 'healthy',
  up: 'healthy',
  pass: 'healthy',
  passing: 'healthy',
  green: 'healthy',
  alive: 'healthy',
  ready: 'healthy',
  success: 'healthy',
  degraded: 'degraded',
  warn: 'degraded',
  warning: 'degraded',
  yellow: 'degraded',
  unhealthy: 'unhealthy',
  down: 'unhealthy',
  fail: 'unhealthy',
  failed: 'unhealthy',
  failing: 'unhealthy',
  error: 'unhealthy',
  critical: 'unhealthy',
  red: 'unhealthy',
  out_of_service: 'unhealthy',
};
const FAILING_MAX = 20;
const PARTS = ['components', 'checks', 'details', 'dependencies', 'services'];

/** Paths whose answer is read as health without being told. */
export function isHealthPath(pathname: string): boolean {
  return /\/(?:health|healthz|api\/health|actuator\/health)\/?$/.test(pathname);
}

/** Reads an answer's body; undefined when it says nothing of health. */
export function readHealth(body: string): HealthAnswer | undefined {
  let document: unknown;
  try {
    document = JSON.parse(body);
  } catch {
    // Some say just "OK".
    const status = statusOfWord(body);
    return status === undefined ? undefined : { status, failing: [] };
  }
  if (!isRecord(document)) return undefined;
  const status = statusOf(document);
  if (status === undefined) return undefined;
  const failing: string[] = [];
  for (const key of PARTS) collectFailing(document[key], failing);
  return { status, failing: [...new Set(failing)].slice(0, FAILING_MAX) };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function statusOf(document: Record<string, unknown>): HealthStatus | undefined {
  const said = document['status'] ?? document['state'] ?? document['health'];
  if (typeof said === 'boolean') return said ? 'healthy' : 'unhealthy';
  return typeof said === 'string' ? statusOfWord(said) : undefined;
}

/** The words come from outside: what every object inherits ("constructor") is none of them. */
function statusOfWord(text: string): HealthStatus | undefined {
  const word = text.trim().toLowerCase();
  return Object.hasOwn(WORDS, word) ? WORDS[word] : undefined;
}

/** Parts by name (Spring: objects; health+json: lists of objects) or as a list of named ones (Tidemark). */
function collectFailing(parts: unknown, failing: string[]): void {
  if (Array.isArray(parts)) {
    for (const part of parts.slice(0, 200)) {
      if (!isRecord(part)) continue;
      const status = statusOf(part);
      if (status !== undefined && status !== 'healthy') failing.push(nameOf(part));
    }
    return;
  }
  if (!isRecord(parts)) return;
  for (const [name, part] of Object.entries(parts).slice(0, 200)) {
    const ones: unknown[] = Array.isArray(part) ? part : [part];
    const isFailing = ones.some((one) => {
      const status = isRecord(one) ? statusOf(one) : typeof one === 'string' ? statusOfWord(one) : undefined;
      return status !== undefined && status !== 'healthy';
    });
    if (isFailing) failing.push(clipped(name));
  }
}

function nameOf(part: Record<string, unknown>): string {
  const name = part['name'] ?? part['componentId'];
  return typeof name === 'string' ? clipped(name) : 'unnamed';
}

const clipped = (text: string): string => text.slice(0, 100);
