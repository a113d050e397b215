/**
 * Doing one thing as another user of this machine. Who is at the other end of a unix socket is what the kernel notes at the moment of
 * connecting, so root need start no second process: it takes the other's id for that moment and its own again at once.
 */
import { userInfo } from 'node:os';

export interface OtherUser {
  readonly uid: number;
  readonly gid: number;
  readonly name: string;
}

/** A user by name or id; undefined when there is none, or when this process may not find out. */
export function findUser(user: string | number): OtherUser | undefined {
  try {
    return asUser({ uid: user, gid: undefined }, () => {
      const { uid, gid, username } = userInfo();
      return { uid, gid, name: username };
    });
  } catch {
    return undefined;
  }
}

/** `act` must have done what matters before it returns: what it leaves for later is done as ourselves. */
export function asUser<T>({ uid, gid }: { readonly uid: string | number; readonly gid: number | undefined }, act: () => T): T {
  const { geteuid, getegid, seteuid, setegid } = process;
  if (geteuid === undefined || getegid === undefined || seteuid === undefined || setegid === undefined)
    throw new Error('this system has no users to change to');
  const [ownUid, ownGid] = [geteuid(), getegid()];
  if (gid !== undefined) setegid(gid);
  try {
    seteuid(uid);
    try {
      return act();
    } finally {
      seteuid(ownUid);
    }
  } finally {
    if (gid !== undefined) setegid(ownGid);
  }
}
