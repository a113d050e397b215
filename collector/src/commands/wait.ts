/** Waits for the collector of this machine to be healthy: the one that was just started, not one that happens to answer. */
import { Health } from '@tidemark/protocol';
import { codeOf, sentenceOf, type Clock } from '@tidemark/service';
import { Value } from 'typebox/value';
import { Agent, request } from 'undici';

export interface WaitOptions {
  /** Of this machine. */
  url: string;
  timeoutMs: number;
  /** Wall clock: a collector that has been up since before is not the one that is waited for. */
  sinceMs: number;
  clock: Clock;
  /** Told what it waits for, at most once in ten seconds. */
  say: (line: string) => void;
}

const ASK_TIMEOUT_MS = 5_000;
const PAUSE_MS = 250;
const SAY_MS = 10_000;
/** Uptime and wall clock are read one after the other. */
const SLACK_MS = 1_500;

/** Resolves with undefined once it is healthy, else, after the timeout, with what it said last. */
export async function waitUntilHealthy({ url, timeoutMs, sinceMs, clock, say }: WaitOptions): Promise<string | undefined> {
  // It is asked on this machine and told nothing, so whose certificate it shows does not matter.
  const dispatcher = new Agent({ connect: { rejectUnauthorized: false } });
  const startedMs = clock.monotonicMs();
  let saidMs = startedMs;
  try {
    for (;;) {
      const why = await ask(url, dispatcher, (uptimeMs) => clock.wallMs() - uptimeMs + SLACK_MS >= sinceMs);
      if (why === undefined) return undefined;
      const now = clock.monotonicMs();
      if (now - startedMs >= timeoutMs) return why;
      if (now - saidMs >= SAY_MS) {
        saidMs = now;
        say(`  waiting for the collector (${Math.round((now - startedMs) / 1_000)} s): ${why}\n`);
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  } finally {
    await dispatcher.destroy();
  }
}

async function ask(url: string, dispatcher: Agent, isTheOne: (uptimeMs: number) => boolean): Promise<string | undefined> {
  let body: unknown;
  try {
    const response = await request(`${url}/api/health`, { dispatcher, headersTimeout: ASK_TIMEOUT_MS, bodyTimeout: ASK_TIMEOUT_MS });
    body = await response.body.json();
  } catch (error) {
    return codeOf(error) === 'ECONNREFUSED'
      ? `nothing listens at ${url} yet`
      : `${url} does not answer as a collector (${sentenceOf(error)})`;
  }
  if (!Value.Check(Health, body)) return `what answers at ${url} is not a collector`;
  if (!isTheOne(body.uptime * 1_000)) return 'an earlier collector still answers';
  return body.status === 'healthy' ? undefined : `it says: ${(body.reasons ?? []).join('; ')}`;
}
