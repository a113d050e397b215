/** Files that appear whole or not at all, and what a disk says that takes no more. */
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EXIT, OperationalFailure, codeOf } from '@tidemark/service';

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
