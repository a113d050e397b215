/** Adds the fleet's nodes to a collector; a name that is taken gets a new token, so that the same fleet can come again. */
import { OperationalFailure, sentenceOf, EXIT } from '@tidemark/service';
import type { Problem } from '@tidemark/protocol';

export interface RegistrationOptions {
  server: URL;
  adminToken: string;
  nodes: readonly { name: string; site: string; tags: Readonly<Record<string, string>> }[];
  /** Ends it early: what is missing then has no token. */
  stopping: () => boolean;
}

const AT_ONCE = 4;
const TIMEOUT_MS = 30_000;
const ATTEMPTS_MAX = 5;

/** Resolves with the token of each node, in their order. Rejects with an OperationalFailure that says what to do. */
export async function registerNodes({ server, adminToken, nodes, stopping }: RegistrationOptions): Promise<string[]> {
  const tokens: string[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < nodes.length && !stopping()) {
      const i = next++;
      const node = nodes[i]!;
      const added = await post(server, adminToken, '/api/telemetry/nodes', node);
      const named = `/api/telemetry/nodes/${encodeURIComponent(node.name)}`;
      tokens[i] = added ?? (await post(server, adminToken, `${named}/token`)) ?? fail(`The name ${node.name} is taken and free at once.`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return tokens;
}

/** The token in the answer, or undefined when the name is taken. */
async function post(server: URL, adminToken: string, path: string, body?: object): Promise<string | undefined> {
  for (let attempt = 1; ; attempt++) {
    let response: Response;
    try {
      response = await fetch(new URL(path.slice(1), server.href.replace(/\/*$/, '/')), {
        method: 'POST',
        headers: { authorization: `Bearer ${adminToken}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
    } catch (error) {
      const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
      return fail(
        `The collector at ${server.href} cannot be reached: ${sentenceOf(cause)}. Start it (npm start), or name another with --server.`,
      );
    }
    if (response.ok) return ((await response.json()) as { token: string }).token;
    const { code, detail, title } = (await response.json().catch(() => ({}))) as Partial<Problem>;
    if (code === 'name_taken') return undefined;
    const again = response.status === 429 || response.status === 503;
    if (!again || attempt >= ATTEMPTS_MAX) {
      const hint = response.status === 401 ? ' Name the file with its admin token: --token-file FILE, or --data-dir DIR.' : '';
      return fail(`The collector at ${server.href} adds no nodes: ${detail ?? title ?? `HTTP status ${response.status}`}${hint}`);
    }
    const seconds = Math.min(10, Number(response.headers.get('retry-after')) || attempt);
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  }
}

function fail(sentence: string): never {
  throw new OperationalFailure(sentence, EXIT.failed);
}
