/**
 * A base backup without pg_basebackup: the files of a running server between pg_backup_start and
 * pg_backup_stop, with the backup label that makes the copy recover to a consistent state.
 */
import { chown, chmod, copyFile, lstat, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { Client } from 'pg';
import type { Account } from '@tidemark/collector';

/** Directories whose content belongs to the running server; the copy has them empty. */
const EMPTIED = new Set(['pg_wal', 'pg_replslot', 'pg_dynshmem', 'pg_notify', 'pg_serial', 'pg_snapshots', 'pg_stat_tmp', 'pg_subtrans']);
const LEFT_OUT =
  /^(?:postmaster\.(?:pid|opts)|standby\.signal|recovery\.signal|backup_label(?:\.old)?|tablespace_map(?:\.old)?|pg_internal\.init.*|pgsql_tmp.*)$/;
/** Copied last: on a standby it says from where the copy is consistent. */
const CONTROL_FILE = join('global', 'pg_control');

export interface CopyOptions {
  from: { dataDirectory: string; host: string; port: number; user: string };
  to: string;
  account: Account | undefined;
}

/** Copies a running primary or standby into a new directory, from which a standby can be started. */
export async function copyDataDirectory({ from, to, account }: CopyOptions): Promise<void> {
  const client = new Client({ host: from.host, port: from.port, user: from.user, database: 'postgres' });
  await client.connect();
  try {
    await client.query("SELECT pg_backup_start('harness', true)");
    await copyTree(from.dataDirectory, to, from.dataDirectory, account);
    await copyOwned(join(from.dataDirectory, CONTROL_FILE), join(to, CONTROL_FILE), account);
    const { rows } = await client.query<{ labelfile: string }>('SELECT labelfile FROM pg_backup_stop(false)');
    await writeOwned(join(to, 'backup_label'), rows[0]?.labelfile ?? '', account);
  } finally {
    await client.end();
  }
}

async function copyTree(from: string, to: string, root: string, account: Account | undefined): Promise<void> {
  await mkdir(to, { mode: 0o700 });
  if (account !== undefined) await chown(to, account.uid, account.gid);
  const emptied = EMPTIED.has(relative(root, from));
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (LEFT_OUT.test(entry.name) || relative(root, source) === CONTROL_FILE) continue;
    if (entry.isDirectory()) {
      // pg_wal keeps its own directories, pg_replslot loses its slots.
      if (!emptied) await copyTree(source, target, root, account);
    } else if (entry.isFile() && !emptied) {
      await copyOwned(source, target, account).catch(async (error: unknown) => {
        // A running server drops files; recovery drops them from the copy as well.
        if (
          await lstat(source).then(
            () => true,
            () => false,
          )
        )
          throw error;
      });
    }
  }
}

async function copyOwned(from: string, to: string, account: Account | undefined): Promise<void> {
  await copyFile(from, to);
  if (account !== undefined) await chown(to, account.uid, account.gid);
}

/** Writes a file that the server owns. */
export async function writeOwned(path: string, content: string, account: Account | undefined): Promise<void> {
  await writeFile(path, content, { flag: 'a', mode: 0o600 });
  await chmod(path, 0o600);
  if (account !== undefined) await chown(path, account.uid, account.gid);
}
