/** Settings of a server as numbers in one unit: pg_settings gives each in a unit of its own. Undefined is always "not known"; a default is used only where it says so. */
import type { PostgresSettings } from '@tidemark/protocol';

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000 };

/** The value as it is written; undefined when it is not known. */
export function settingText(settings: PostgresSettings | undefined, name: string): string | undefined {
  return settings?.settings.find((setting) => setting.name === name)?.value ?? undefined;
}

/** A setting that is a time, in milliseconds. */
export function settingMs(settings: PostgresSettings | undefined, name: string): number | undefined {
  const setting = settings?.settings.find((one) => one.name === name);
  if (setting === undefined || setting.value === null || setting.value === '') return undefined;
  const value = Number(setting.value);
  return Number.isFinite(value) ? value * (UNIT_MS[setting.unit ?? 'ms'] ?? 1) : undefined;
}

/** PostgreSQL's own, for who cannot be asked. */
const RECEIVER_TIMEOUT_MS = 60_000;

/** For how long a receiver waits for a message before it gives up; 0: for ever. */
export const receiverTimeoutMs = (settings: PostgresSettings | undefined): number =>
  settingMs(settings, 'wal_receiver_timeout') ?? RECEIVER_TIMEOUT_MS;
