/** Room on the file system of pg_wal: only where it is certain whose it is. */
import { expect, test } from 'vitest';
import { StatfsGate, type Statfs } from '../../statfs-gate.ts';
import { roomAt } from './files.ts';

const DISK = { bsize: 4_096, blocks: 1_000, bfree: 300, bavail: 200, files: 1, ffree: 1 };
const WAL_DISK = { ...DISK, bavail: 50 };

function gateOf(answers: Readonly<Record<string, typeof DISK | 'EACCES' | 'hangs'>>): { gate: StatfsGate; asked: string[] } {
  const asked: string[] = [];
  const statfs: Statfs = (path) => {
    asked.push(path);
    const answer = answers[path];
    if (answer === 'hangs') return new Promise(() => undefined);
    if (typeof answer === 'object') return Promise.resolve(answer);
    return Promise.reject(Object.assign(new Error(path), { code: answer ?? 'ENOENT' }));
  };
  return { gate: new StatfsGate({ outstandingMax: 2, timeoutMs: 20, statfs }), asked };
}

test('pg_wal itself, where it may be seen: it may be a disk of its own', async () => {
  const { gate } = gateOf({ '/data/pg_wal': WAL_DISK, '/data': DISK });
  expect(await roomAt('/data', gate)).toEqual({ freeBytes: 50 * 4_096, totalBytes: 1_000 * 4_096 });
});

test('the data directory, where nobody else may look into it', async () => {
  const { gate } = gateOf({ '/data/pg_wal': 'EACCES', '/data': DISK });
  expect(await roomAt('/data', gate)).toEqual({ freeBytes: 200 * 4_096, totalBytes: 1_000 * 4_096 });
});

test('nothing for a directory that is not here, for one that means something else here, and while the disk hangs', async () => {
  const { gate, asked } = gateOf({ '/': DISK, '/proc/self/cwd': DISK, '/proc/self/cwd/pg_wal': DISK });
  expect(await roomAt('/in/a/container', gate)).toBeUndefined();
  expect(await roomAt('/proc/self/cwd', gate)).toBeUndefined();
  expect(await roomAt(null, gate)).toBeUndefined();
  expect(asked).toEqual(['/in/a/container/pg_wal', '/in/a/container']);
  const hanging = gateOf({ '/data/pg_wal': 'hangs', '/data': 'hangs' });
  expect(await roomAt('/data', hanging.gate)).toBeUndefined();
});
