import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EXIT, systemClock, type Clock } from '@tidemark/service';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { lockDataDirectory } from '../db/embedded/index.ts';
import { keepNewest, listBackups, makeBackup, planBackup, readBackup, refuseHalfRestored, restoreBackup, type Backup } from './index.ts';

const log = pino({ level: 'silent' });
let root: string;
let dataDir: string;
let backupDir: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tidemark-backup-'));
  dataDir = join(root, 'data');
  backupDir = join(root, 'backups');
  mkdirSync(join(dataDir, 'postgres', 'base', '1'), { recursive: true });
  mkdirSync(join(dataDir, 'postgres', 'empty'), { mode: 0o750 });
  writeFileSync(join(dataDir, 'admin-token'), 'secret\n', { mode: 0o600 });
  writeFileSync(join(dataDir, 'postgres', 'PG_VERSION'), '18\n', { mode: 0o640 });
  writeFileSync(join(dataDir, 'postgres', 'base', '1', '1259'), Buffer.alloc(3_000_000, 7));
  writeFileSync(join(dataDir, 'postgres', 'base', '1', 'nothing'), '');
  mkdirSync(join(dataDir, 'postgres-binaries-18'));
  symlinkSync('elsewhere', join(dataDir, 'postgres-binaries-18', 'libpq.so'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const at = (wallMs: number): Clock => ({ ...systemClock, wallMs: () => wallMs });
const make = (clock: Clock = at(Date.UTC(2026, 10, 21, 15, 43, 9)), version = '1.2.3'): Promise<Backup> =>
  makeBackup({ dataDir, backupDir, version, database: 'embedded', clock, log });

test('what is restored is what was there, with its modes, and what came later is gone', async () => {
  const backup = await make();
  expect(backup.directory).toBe(join(backupDir, '20261121T154309Z-1.2.3'));
  expect(statSync(backup.directory).mode & 0o777).toBe(0o700);
  expect(statSync(backupDir).mode & 0o777).toBe(0o700);
  expect(backup.manifest.files.map(({ path }) => path)).toEqual([
    'admin-token',
    'postgres/PG_VERSION',
    'postgres/base/1/1259',
    'postgres/base/1/nothing',
  ]);
  writeFileSync(join(dataDir, 'postgres', 'base', '1', '1259'), 'migrated');
  writeFileSync(join(dataDir, 'postgres', 'base', '1', '9999'), 'new');
  rmSync(join(dataDir, 'admin-token'));
  const progress: number[] = [];
  await restoreBackup({ backup: readBackup(backup.directory), dataDir, log, onProgress: (done) => progress.push(done) });
  expect(readFileSync(join(dataDir, 'admin-token'), 'utf8')).toBe('secret\n');
  expect(statSync(join(dataDir, 'admin-token')).mode & 0o777).toBe(0o600);
  expect(statSync(join(dataDir, 'postgres', 'PG_VERSION')).mode & 0o777).toBe(0o640);
  expect(statSync(join(dataDir, 'postgres', 'empty')).mode & 0o777).toBe(0o750);
  expect(readFileSync(join(dataDir, 'postgres', 'base', '1', '1259')).equals(Buffer.alloc(3_000_000, 7))).toBe(true);
  expect(readdirSync(join(dataDir, 'postgres', 'base', '1'))).toEqual(['1259', 'nothing']);
  expect(progress.at(-1)).toBe(backup.manifest.sizeBytes);
  expect(readdirSync(dataDir).toSorted(), 'nothing of the restore stays').toEqual(['admin-token', 'postgres', 'postgres-binaries-18']);
  expect(() => refuseHalfRestored(dataDir)).not.toThrow();
});

test('a running collector is not copied from, nor restored over', async () => {
  const backup = await make();
  const giveBack = lockDataDirectory(dataDir);
  await expect(make()).rejects.toMatchObject({ exitCode: EXIT.alreadyRunning });
  await expect(restoreBackup({ backup, dataDir, log })).rejects.toMatchObject({ exitCode: EXIT.alreadyRunning });
  giveBack();
  expect(listBackups(backupDir, dataDir)).toHaveLength(1);
});

test('a backup that was changed is refused, and the data stays as it is', async () => {
  const backup = await make();
  writeFileSync(join(backup.directory, 'data', 'postgres', 'base', '1', '1259'), Buffer.alloc(3_000_000, 8));
  writeFileSync(join(dataDir, 'admin-token'), 'present\n');
  await expect(restoreBackup({ backup, dataDir, log })).rejects.toMatchObject({ exitCode: EXIT.checksumWrong });
  expect(readFileSync(join(dataDir, 'admin-token'), 'utf8')).toBe('present\n');
  expect(readdirSync(dataDir).toSorted()).toEqual(['admin-token', 'postgres', 'postgres-binaries-18']);
});

test('a restore that was cut off keeps every collector away until it is done again', async () => {
  const backup = await make();
  // As a power cut leaves it: the marker, half of the data moved away.
  writeFileSync(join(dataDir, '.restore-under-way'), backup.directory);
  mkdirSync(join(dataDir, '.restore-replaced'));
  rmSync(join(dataDir, 'postgres'), { recursive: true });
  expect(() => refuseHalfRestored(dataDir)).toThrow(/was cut off/);
  await restoreBackup({ backup, dataDir, log });
  expect(() => refuseHalfRestored(dataDir)).not.toThrow();
  expect(readFileSync(join(dataDir, 'postgres', 'PG_VERSION'), 'utf8')).toBe('18\n');
});

test('links are refused by name, since a copy would not hold what is behind them', async () => {
  rmSync(join(dataDir, 'postgres'), { recursive: true });
  symlinkSync('/srv/database', join(dataDir, 'postgres'));
  await expect(make()).rejects.toThrow(`${join(dataDir, 'postgres')} is a link`);
  expect(listBackups(backupDir, dataDir)).toEqual([]);
});

test('no place inside the data, none for what does not fit', () => {
  expect(() => planBackup({ dataDir, backupDir: join(dataDir, 'backups') })).toThrow(
    expect.objectContaining({ exitCode: EXIT.usage }) as Error,
  );
  expect(() => planBackup({ dataDir: join(root, 'absent'), backupDir })).toThrow(/nothing to back up/);
});

test('the newest are kept, by when they were made; what is not ours is left alone', async () => {
  const directories: string[] = [];
  for (const hour of [3, 1, 2]) directories.push((await make(at(Date.UTC(2026, 0, 1, hour)))).directory);
  directories.push((await make(at(Date.UTC(2026, 0, 1, 3)))).directory);
  mkdirSync(join(backupDir, 'mine'));
  mkdirSync(join(backupDir, 'newer-format'));
  writeFileSync(join(backupDir, 'newer-format', 'backup.json'), '{"format":2}');
  expect(directories[3]).toBe(`${directories[0]!}-2`);
  expect(keepNewest(backupDir, dataDir, 2).map(({ directory }) => directory)).toEqual([directories[2], directories[1]]);
  expect(readdirSync(backupDir).toSorted()).toEqual(['20260101T030000Z-1.2.3', '20260101T030000Z-1.2.3-2', 'mine', 'newer-format']);
  expect(existsSync(directories[3]!)).toBe(true);
});

test('a manifest that points outside is no backup', async () => {
  const { directory } = await make();
  const file = join(directory, 'backup.json');
  writeFileSync(file, readFileSync(file, 'utf8').replace('"admin-token"', '"../../admin-token"'));
  expect(() => readBackup(directory)).toThrow(/outside of itself/);
  chmodSync(file, 0o600);
  expect(() => readBackup(root)).toThrow(/has no backup\.json/);
});

test('a link that the service left for root to write through is not followed', async () => {
  const backup = await make();
  const target = join(root, 'shadow');
  writeFileSync(target, 'precious');
  for (const name of ['.restore-under-way', `.collector.lock.${process.pid}`]) symlinkSync(target, join(dataDir, name));
  await restoreBackup({ backup, dataDir, log });
  expect(readFileSync(target, 'utf8')).toBe('precious');
  expect(readFileSync(join(dataDir, 'admin-token'), 'utf8')).toBe('secret\n');
});
