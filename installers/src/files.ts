/**
 * Files that appear whole or not at all, directories that go when their work is done, and what a disk says that takes no more.
 * Packing holds the thread, so Ctrl-C ends the process where it stands: what it left is removed by the next one.
 */
import { mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EXIT, OperationalFailure, codeOf } from '@tidemark/service';

const NAME = /^tidemark-work-(\d+)-/;

/** Runs the work with an empty directory of its own. */
export async function withTemporaryDirectory<T>(work: (directory: string) => Promise<T>, parent = tmpdir()): Promise<T> {
  await removeAbandoned(parent);
  const directory = await mkdtemp(join(parent, `tidemark-work-${process.pid}-`));
  try {
    return await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Removes the directories of processes that are no more; other users' stay, as do those of a process that has taken the number. */
async function removeAbandoned(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    const pid = Number(NAME.exec(name)?.[1] ?? process.pid);
    if (pid !== process.pid && !isRunning(pid)) await rm(join(parent, name), { recursive: true, force: true }).catch(() => {});
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return codeOf(error) !== 'ESRCH';
  }
}

/** Writes a file beside its place and moves it there. Throws an OperationalFailure (12 no room, 13 no rights). */
export async function put(out: string, name: string, content: Uint8Array): Promise<void> {
  const temporary = join(out, `${name}.${process.pid}.tmp`);
  try {
    await writing(out, async () => {
      await writeFile(temporary, content);
      await rename(temporary, join(out, name));
    });
  } finally {
    await rm(temporary, { force: true });
  }
}

/** What a full or closed disk says, as a sentence. */
export async function writing<T>(out: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOSPC' || code === 'EDQUOT') {
      throw new OperationalFailure(
        `There is no room left for ${out}; what nodes download takes 180 MB, a release 250 MB. Free some, or choose another place with --out.`,
        EXIT.noRoom,
        { cause: error },
      );
    }
    if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS' || code === 'ENOTDIR' || code === 'EEXIST') {
      throw new OperationalFailure(`${out} cannot be written to (${code}). Choose another place with --out.`, EXIT.noRights, {
        cause: error,
      });
    }
    throw error;
  }
}
