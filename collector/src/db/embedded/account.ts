/**
 * Who PostgreSQL runs as: PostgreSQL refuses root, so a collector started by root runs it as another user
 * of this machine. Everyone else runs it as themselves.
 */
import { readFileSync, statSync } from 'node:fs';
import { EXIT, OperationalFailure, codeOf } from '@tidemark/service';

/** A user that a child process is given. */
export interface Account {
  name: string;
  uid: number;
  gid: number;
}

/** What the machine is, as far as running PostgreSQL on it is concerned. */
export interface Machine {
  platform: NodeJS.Platform;
  arch: string;
  /** The user that this process runs as; undefined where the system has no such thing. */
  uid: number | undefined;
  /** Where accounts are listed. */
  passwdFile: string;
}

export const thisMachine = (): Machine => ({
  platform: process.platform,
  arch: process.arch,
  uid: process.getuid?.(),
  passwdFile: '/etc/passwd',
});

/** In this order: a user made for Tidemark, one made for PostgreSQL, the one that exists everywhere. */
const PREFERRED_ACCOUNTS = ['tidemark', 'postgres', 'nobody'] as const;

/**
 * The account PostgreSQL has to be started with, or undefined for "as this process". Data that exists
 * already is served by its owner, since PostgreSQL refuses a directory of somebody else.
 * Throws an OperationalFailure when this user cannot serve the data.
 */
export function chooseAccount(machine: Machine, dataDirectory: string): Account | undefined {
  const owner = ownerOf(dataDirectory);
  if (machine.uid === undefined) return undefined;
  if (machine.uid !== 0) {
    if (owner === undefined || owner.uid === machine.uid) return undefined;
    const name = readAccounts(machine.passwdFile).find((account) => account.uid === owner.uid)?.name ?? `the user with id ${owner.uid}`;
    throw new OperationalFailure(
      `The database in ${dataDirectory} belongs to ${name}, and PostgreSQL serves a directory only to its owner. Start Tidemark as the user that made it (or as root), or choose another directory with --data-dir.`,
      EXIT.dataDirectory,
    );
  }
  const accounts = readAccounts(machine.passwdFile);
  if (owner !== undefined && owner.uid !== 0) {
    return accounts.find((account) => account.uid === owner.uid) ?? { name: String(owner.uid), uid: owner.uid, gid: owner.gid };
  }
  for (const name of PREFERRED_ACCOUNTS) {
    const account = accounts.find((candidate) => candidate.name === name && candidate.uid !== 0);
    if (account !== undefined) return account;
  }
  throw new OperationalFailure(
    'PostgreSQL refuses to run as root and this machine has none of the users tidemark, postgres and nobody. Add one with "useradd --system tidemark", or start Tidemark as an ordinary user.',
    EXIT.configuration,
  );
}

/** `uid` and `gid` for child_process; nothing for "as this process". */
export function identityOf(account: Account | undefined): { uid?: number; gid?: number } {
  return account === undefined ? {} : { uid: account.uid, gid: account.gid };
}

function ownerOf(path: string): { uid: number; gid: number } | undefined {
  try {
    return statSync(path);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function readAccounts(passwdFile: string): Account[] {
  let text: string;
  try {
    text = readFileSync(passwdFile, 'utf8');
  } catch {
    return [];
  }
  return text.split('\n').flatMap((line) => {
    const [name = '', , uid = '', gid = ''] = line.split(':');
    return /^\d+$/.test(uid) && /^\d+$/.test(gid) ? [{ name, uid: Number(uid), gid: Number(gid) }] : [];
  });
}
