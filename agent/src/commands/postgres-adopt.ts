/**
 * `tidemark-agent postgres adopt`: has the PostgreSQL servers of this machine watched that are not yet. As root it logs in as the
 * server's own system user, makes the role with the least rights, and adds the server to the configuration file. Nobody's password is
 * needed, none is shown, and what it cannot do it says, with the command that can. Doing it again changes nothing.
 */
import { chmodSync, chownSync, statSync, unlinkSync } from 'node:fs';
import { hostname, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { sentenceOf, systemClock, writeFileAtomically } from '@tidemark/service';
import { Client, type ClientConfig } from 'pg';
import { agentConfig, type AgentOptionValues, type Surroundings } from '../config.ts';
import { discoverServers, notWatched, setupCommand, urlTo, type DiscoveredServer, type Endpoint } from '../probes/postgres/discovery.ts';
import { failureOf } from '../probes/postgres/failure.ts';
import { Machine } from '../probes/postgres/machine.ts';
import { targetsOf, type PostgresConfig } from '../probes/postgres/target.ts';
import { changeConfig } from './config-file.ts';
import { asUser, findUser, type OtherUser } from './other-user.ts';
import { generatePassword, readPassword } from './postgres-password.ts';
import { CONNECT_TIMEOUT_MS, hbaLines, makeRole, replicaOf, SESSION } from './postgres-setup.ts';
import { printable } from './wording.ts';

const AGENT_USER = 'tidemark-agent';
const DATABASE = 'postgres';

export interface AdoptFlags {
  readonly yes?: boolean | undefined;
  readonly owner?: string | undefined;
  readonly json?: boolean | undefined;
}

export interface AdoptContext {
  readonly surroundings: Surroundings;
  /** The configuration file to add to. */
  readonly file: string;
  readonly discover?: typeof discoverServers | undefined;
}

interface Outcome {
  readonly address: string;
  readonly state: 'adopted' | 'would-adopt' | 'not-possible';
  readonly detail: string;
  /** What to run instead; empty when nothing is left to do. */
  readonly command: string;
  readonly entry?: PostgresConfig;
}

interface Adoption {
  readonly server: DiscoveredServer;
  readonly socket: Endpoint;
  /** The user that the server runs as. */
  readonly owner: { readonly uid: number; readonly gid: number; readonly name: string | undefined };
  /** The user that the agent runs as. */
  readonly agent: OtherUser;
  readonly role: string;
  readonly passwordFile: string;
  readonly platform: NodeJS.Platform;
}

/** Returns what to print. What cannot be done for one server keeps no other from being watched. */
export async function postgresAdopt(values: AgentOptionValues, flags: AdoptFlags, context: AdoptContext): Promise<string> {
  const { surroundings, file, discover = discoverServers } = context;
  const { postgres } = agentConfig(values, surroundings);
  const watched = targetsOf(postgres).map(({ reachedAt }) => reachedAt);
  const machine = new Machine(hostname(), systemClock);
  const found = await discover({ platform: surroundings.platform });
  const servers = notWatched(found, watched, (host) => machine.isHere(host));
  const outcomes: Outcome[] = [];
  for (const server of servers) outcomes.push(await adopt(server, flags, context));
  const entries = withNames(
    postgres,
    outcomes.flatMap(({ entry }) => (entry === undefined ? [] : [entry])),
  );
  if (entries.length > 0) changeConfig({ file, flags: {}, set: { postgres: entries } });
  if (flags.json === true)
    return `${JSON.stringify({ file, servers: outcomes.map(({ address, state, detail, command }) => ({ address, state, detail, command })) })}\n`;
  if (found.length === 0) return 'No PostgreSQL server was found on this machine. One on another machine: --postgres URL.\n';
  return page(outcomes, file, entries.length);
}

async function adopt(server: DiscoveredServer, flags: AdoptFlags, { surroundings, file }: AdoptContext): Promise<Outcome> {
  const { address } = server;
  const not = (detail: string, command = setupCommand(server)): Outcome => ({ address, state: 'not-possible', detail, command });
  const socket = server.endpoints.find(({ host }) => host.startsWith('/'));
  if (socket === undefined) return not('it is reached over TCP alone, where a superuser has to log in with a password');
  const agent = findUser(flags.owner ?? AGENT_USER) ?? (flags.owner === undefined ? ourselves() : undefined);
  if (agent === undefined) return not(`this machine has no user ${JSON.stringify(flags.owner)}`, '');
  if (surroundings.uid !== 0) return not("only root may log in as the server's own user", 'sudo tidemark-agent postgres adopt --yes');
  let owner: Adoption['owner'];
  try {
    const { uid, gid } = statSync(join(socket.host, `.s.PGSQL.${socket.port}`));
    owner = { uid, gid, name: findUser(uid)?.name };
  } catch (error) {
    return not(`its socket cannot be looked at: ${sentenceOf(error)}`);
  }
  // On the socket a role is usually let in when it has the name of the system's user.
  const role = agent.uid === 0 ? 'tidemark' : agent.name;
  const passwordFile = join(dirname(file), `postgres-${address.replace(/[^A-Za-z0-9]+/g, '-').replace(/^-|-$/g, '')}.password`);
  if (flags.yes !== true) {
    const detail = `role "${role}" would be made in it, as its system user ${owner.name ?? owner.uid}`;
    return { address, state: 'would-adopt', detail, command: 'tidemark-agent postgres adopt --yes' };
  }
  try {
    return await makeWatched({ server, socket, owner, agent, role, passwordFile, platform: surroundings.platform });
  } catch (error) {
    return not(sentenceOf(error));
  }
}

function ourselves(): OtherUser {
  const { uid, gid, username } = userInfo();
  return { uid, gid, name: username };
}

async function makeWatched(adoption: Adoption): Promise<Outcome> {
  const { server, socket, owner, role } = adoption;
  const client = await logInAsOwner(adoption);
  const adopted = (entry: PostgresConfig, detail: string): Outcome => ({
    address: server.address,
    state: 'adopted',
    detail,
    command: '',
    entry,
  });
  const url = urlTo(socket, role, DATABASE);
  const by = `as its system user ${owner.name ?? owner.uid}`;
  try {
    const follows = await replicaOf(client);
    if (follows === undefined) await makeRole(client, role, undefined);
    const byPeer = await tryLogIn(adoption, { url });
    if (byPeer === undefined)
      return adopted(
        { url },
        follows === undefined
          ? `role "${role}" is made ${by}; it needs no password`
          : `role "${role}" came over from the primary; it needs no password`,
      );
    if (follows !== undefined)
      return {
        address: server.address,
        state: 'not-possible',
        detail: `it is a replica${follows}, and role "${role}" cannot log in without a password: ${byPeer}. Adopt the primary first, and copy its password file here`,
        command: `tidemark-agent postgres adopt --yes (on the primary)`,
      };
    return await withPassword(adoption, client, byPeer, adopted);
  } finally {
    await client.end().catch(() => {});
  }
}

/** The role gets a password where its user alone does not let it in. */
async function withPassword(
  adoption: Adoption,
  client: Client,
  byPeer: string,
  adopted: (entry: PostgresConfig, detail: string) => Outcome,
): Promise<Outcome> {
  const { server, role, passwordFile, agent, platform } = adoption;
  const known = knownPassword(passwordFile, platform);
  const password = known ?? generatePassword();
  await makeRole(client, role, password);
  if (known === undefined) keepPassword(passwordFile, password, agent);
  let refused = byPeer;
  for (const endpoint of [adoption.socket, ...server.endpoints.filter((one) => one !== adoption.socket)]) {
    const url = urlTo(endpoint, role, DATABASE);
    const trouble = await tryLogIn(adoption, { url, passwordFile });
    if (trouble === undefined)
      return adopted({ url, passwordFile }, `role "${role}" is made; its password is in ${passwordFile} (mode 0640)`);
    refused = trouble;
  }
  // The role stays: with a line in pg_hba.conf the next run finishes.
  if (known === undefined) unlinkSync(passwordFile);
  const [target] = targetsOf([{ url: urlTo(adoption.socket, role, DATABASE) }]);
  return {
    address: server.address,
    state: 'not-possible',
    detail: `role "${role}" is made, but cannot log in: ${refused}. ${hbaLines(target!, role)
      .map((line) => line.trim())
      .join(' ')}`,
    command: 'tidemark-agent postgres adopt --yes (after that)',
  };
}

function knownPassword(file: string, platform: NodeJS.Platform): string | undefined {
  // Its group is the agent's, so it is not as private as a file that a person made.
  return readPassword(file, platform, 0o027);
}

/** A file for root and the agent's group alone. */
function keepPassword(file: string, password: string, agent: OtherUser): void {
  writeFileAtomically(file, `${password}\n`, 0o600);
  chownSync(file, 0, agent.gid);
  chmodSync(file, 0o640);
}

/** A superuser is usually called as the system's user is, or postgres. */
async function logInAsOwner({ socket, owner, server }: Adoption): Promise<Client> {
  const names = [...new Set([...(owner.name === undefined ? [] : [owner.name]), 'postgres'])];
  let refused = '';
  for (const user of names) {
    const reached = { address: server.address, user, database: DATABASE };
    try {
      const client = await connectAs(owner, {
        host: socket.host,
        port: socket.port,
        user,
        database: DATABASE,
        password: noPassword,
        options: SESSION,
      });
      const { rows } = await client.query<{ super: boolean }>(
        'SELECT rolsuper OR rolcreaterole AS super FROM pg_roles WHERE rolname = current_user',
      );
      if (rows[0]?.super === true) return client;
      refused = `role "${user}" may not make roles`;
      await client.end().catch(() => {});
    } catch (error) {
      refused = failureOf(error, reached).detail;
    }
  }
  throw new Error(`it does not let its own system user in as a superuser: ${refused}`);
}

function noPassword(): Promise<string> {
  return Promise.reject(new Error('it asks for a password, and there is none to give'));
}

/** As the agent will. Returns why it could not. */
async function tryLogIn({ agent }: Adoption, config: PostgresConfig): Promise<string | undefined> {
  const [target] = targetsOf([config], '/nonexistent');
  try {
    const client = await connectAs(agent, target!.clientConfig());
    await client.end().catch(() => {});
    return undefined;
  } catch (error) {
    return failureOf(error, target!.reached).detail;
  }
}

/** The kernel notes who connects while `connect` runs, which for a unix socket is at once. */
async function connectAs(user: { readonly uid: number; readonly gid: number }, config: ClientConfig): Promise<Client> {
  const client = new Client({ ...config, application_name: 'tidemark-agent adopt', connectionTimeoutMillis: CONNECT_TIMEOUT_MS });
  client.on('error', () => {});
  try {
    await asUser(user, () => client.connect());
    return client;
  } catch (error) {
    await client.end().catch(() => {});
    throw error;
  }
}

/** Servers on one port of different sockets would have one name; the second gets the place of its socket for one. */
function withNames(present: readonly PostgresConfig[], added: readonly PostgresConfig[]): PostgresConfig[] {
  const taken = new Set(targetsOf(present).map(({ name }) => name));
  return added.map((entry) => {
    const [target] = targetsOf([entry]);
    const name = taken.has(target!.name) ? `${target!.reachedAt.host}:${target!.reachedAt.port}` : undefined;
    taken.add(name ?? target!.name);
    return name === undefined ? entry : { ...entry, name };
  });
}

function page(outcomes: readonly Outcome[], file: string, added: number): string {
  if (outcomes.length === 0) return 'Every PostgreSQL server that was found on this machine is watched already.\n';
  const words = { adopted: 'is watched from now on', 'would-adopt': 'is not watched', 'not-possible': 'cannot be watched yet' };
  const blocks = outcomes.map(({ address, state, detail, command }) =>
    [`${printable(address)} ${words[state]}:`, `  ${printable(detail)}.`, ...(command === '' ? [] : [`  ${printable(command)}`])].join(
      '\n',
    ),
  );
  const end = added === 0 ? '' : `\nAdded to ${file}. An agent that runs is to be restarted: systemctl restart tidemark-agent\n`;
  return `${blocks.join('\n')}\n${end}`;
}
