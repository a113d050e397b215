/** Backups of a stopped collector's data directory, and the way back. */
export { BACKUP_DIRECTORY, keepNewest, listBackups, makeBackup, megabytes, planBackup, readBackup, type Backup } from './backup.ts';
export { refuseHalfRestored, restoreBackup } from './restore.ts';
