/**
 * Files that root writes into the data directory, which belongs to the service's own user: a link that stands there under the file's
 * name is taken away and never followed.
 */
import { rmSync, writeFileSync } from 'node:fs';

/** Makes a file of mode 0600 (or `mode`) in place of whatever has its name, a link included. */
export function writeFresh(path: string, content: string, mode = 0o600): void {
  rmSync(path, { force: true });
  writeFileSync(path, content, { mode, flag: 'wx' });
}
