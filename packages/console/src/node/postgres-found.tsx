/**
 * The PostgreSQL servers that an agent found on its machine and does not watch, each with the command to have it watched. A document of
 * another form than is known tells of none.
 */
import type { NodeDetail, PostgresDiscovered } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { Command } from '../look/command.tsx';
import { Ago } from '../look/moment.tsx';

type Observation = NodeDetail['observations'][number];
export type FoundServer = Pick<PostgresDiscovered['servers'][number], 'address' | 'how' | 'command'>;

/** A later agent may find by other means: what is not known here is shown as it says it. */
const HOW: Record<string, string> = {
  socket: 'by its socket',
  'postmaster.pid': 'by its postmaster.pid',
  port: 'by the port it listens on',
  'published port': 'by a port published for a container',
};
export const howText = (how: string): string => HOW[how] ?? `by ${how}`;

function isFound(server: unknown): server is FoundServer {
  if (typeof server !== 'object' || server === null) return false;
  const { address, how, watched, command } = server as Record<string, unknown>;
  return watched === false && [address, how, command].every((text) => typeof text === 'string' && text !== '');
}

/** Those that nobody watches, and when they were last looked for; null when there are none or nobody looked. */
export function foundIn(observations: readonly Observation[]): { servers: FoundServer[]; at: string } | null {
  const seen = observations.find(({ kind }) => kind === 'postgres.discovered');
  const document: unknown = seen?.document;
  if (seen === undefined || typeof document !== 'object' || document === null) return null;
  const servers = 'servers' in document && Array.isArray(document.servers) ? document.servers.filter(isFound) : [];
  return servers.length === 0 ? null : { servers, at: seen.at };
}

export function FoundServers({ observations }: { observations: readonly Observation[] }): JSX.Element | null {
  const found = foundIn(observations);
  if (found === null) return null;
  const several = found.servers.length > 1;
  return (
    <section class="found-servers" id="postgres-found" aria-labelledby="section-found">
      <h2 id="section-found">PostgreSQL found on this machine and not watched</h2>
      <p class="muted">
        {several ? 'Each command' : 'The command'} is for a shell on the machine. It changes nothing: it prints how to make a role that may
        look, and what to give the agent. With <code>--apply</code> it makes the role. Last looked <Ago at={found.at} />.
      </p>
      <ul>
        {found.servers.map(({ address, how, command }) => (
          <li key={address}>
            <p>
              <bdi class="code">{address}</bdi> <span class="muted">found {howText(how)}</span>
            </p>
            <Command label={`watch ${address}`} text={command} />
          </li>
        ))}
      </ul>
    </section>
  );
}
