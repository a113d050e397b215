/** Files that a channel needs: read when it is made, so that what is wrong with them is said at start and at reload, not at night. */
import { readFileSync } from 'node:fs';
import { EXIT, OperationalFailure, codeOf } from '@tidemark/service';

/** The text of a file, without white space around it. Throws an OperationalFailure that names `purpose`. */
export function readChannelFile(path: string, purpose: string): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8').trim();
  } catch (error) {
    const code = codeOf(error);
    const why = code === 'ENOENT' ? 'there is no such file' : code === 'EACCES' ? 'this user may not read it' : (code ?? String(error));
    throw new OperationalFailure(`${path} (${purpose}) cannot be read: ${why}.`, EXIT.configuration, { cause: error });
  }
  if (text === '') throw new OperationalFailure(`${path} (${purpose}) is empty.`, EXIT.configuration);
  return text;
}
