/** `GET /api/settings`, `POST /api/reload`: what this collector was told and where from, and what its storage comes to. Nothing secret is in it. */
import { statfs } from 'node:fs/promises';
import { ProblemError, Settings } from '@tidemark/protocol';
import { OperationalFailure, type Clock } from '@tidemark/service';
import type { FastifyInstance } from 'fastify';
import { Type, type Static } from 'typebox';
import type { SettingsStore, Storage } from './store.ts';

/** Sizes are asked of every file of the database: not at each look. */
const FRESH_MS = 60_000;

export interface SettingsRoutesOptions {
  clock: Clock;
  version: string;
  store: Pick<SettingsStore, 'storage'>;
  file: string | undefined;
  publicUrl: string | undefined;
  retention: { reportDays: number; observationDays: number };
  /** "embedded", or where the database is, without secrets. */
  database: string;
  /** Of the embedded database, the directory whose file system it fills. */
  embeddedDirectory: string | undefined;
  /** Every option as it is in force; secrets already left out. */
  options: () => Settings['options'];
  /** Reads the configuration again and puts in force what can be. Throws an OperationalFailure that names the mistakes. */
  reload: () => Promise<Reloaded>;
}

/** What reading the configuration again has changed. */
export const Reloaded = Type.Object({
  rules: Type.Object({
    added: Type.Array(Type.String()),
    changed: Type.Array(Type.String()),
    removed: Type.Array(Type.String()),
  }),
  channels: Type.Array(Type.String(), { description: 'The channels in force.' }),
  needRestart: Type.Array(Type.String(), { description: 'Options that are other than before and take effect at the next start.' }),
});
export type Reloaded = Static<typeof Reloaded>;

export interface StorageFacts extends Storage {
  reportDays: number;
  diskAvailableBytes: number | null;
}

/**
 * What the storage will come to. Expected is what is not a day's data, and the days that are kept at the rate of the last
 * whole days; full, when that does not fit, is in (what is free ÷ rate) days.
 */
export function forecast(facts: StorageFacts): Pick<Settings['storage'], 'expectedBytes' | 'fullInDays'> {
  const { usedBytes, bytesPerDay, reportDays, diskAvailableBytes } = facts;
  if (bytesPerDay === null || bytesPerDay <= 0) return { expectedBytes: null, fullInDays: null };
  const expectedBytes = Math.max(usedBytes, bytesPerDay * reportDays);
  const fits = diskAvailableBytes === null || expectedBytes - usedBytes <= diskAvailableBytes;
  return { expectedBytes, fullInDays: fits ? null : diskAvailableBytes / bytesPerDay };
}

export function settingsRoutes(app: FastifyInstance, options: SettingsRoutesOptions): void {
  const { clock, store, retention } = options;
  let read: { at: number; storage: Storage | undefined } | undefined;

  async function storage(): Promise<Storage | undefined> {
    if (read !== undefined && clock.monotonicMs() - read.at < FRESH_MS) return read.storage;
    const day = new Date(clock.wallMs()).toISOString().slice(0, 10).replaceAll('-', '');
    try {
      read = { at: clock.monotonicMs(), storage: await store.storage(day) };
      return read.storage;
    } catch (error) {
      // The rest is true without the database as well; sizes are then not known.
      if (error instanceof ProblemError) return undefined;
      throw error;
    }
  }

  async function available(): Promise<number | null> {
    if (options.embeddedDirectory === undefined) return null;
    try {
      const { bavail, bsize } = await statfs(options.embeddedDirectory);
      return bavail * bsize;
    } catch {
      return null;
    }
  }

  app.post('/api/reload', {
    config: { access: 'admin' },
    schema: {
      tags: ['settings'],
      summary: 'Read the configuration again',
      description: 'Rules and channels take effect at once; a file with mistakes changes nothing, and the answer names each with its line.',
      response: { 200: Reloaded },
    },
    handler: async () => {
      try {
        return await options.reload();
      } catch (error) {
        if (error instanceof OperationalFailure) throw new ProblemError('configuration_invalid', error.message, { cause: error });
        throw error;
      }
    },
  });

  app.get('/api/settings', {
    config: { access: 'admin' },
    schema: {
      tags: ['settings'],
      summary: 'What is in force, and what the storage comes to',
      description: 'Read-only: settings are changed in the configuration file. Sizes are at most a minute old; null is "not known".',
      response: { 200: Settings },
    },
    handler: async (): Promise<Settings> => {
      const [known, diskAvailableBytes] = await Promise.all([storage(), available()]);
      const future =
        known === undefined
          ? { expectedBytes: null, fullInDays: null }
          : forecast({ ...known, reportDays: retention.reportDays, diskAvailableBytes });
      return {
        version: options.version,
        configurationFile: options.file ?? null,
        publicUrl: options.publicUrl ?? null,
        retention,
        storage: {
          database: options.database,
          usedBytes: known?.usedBytes ?? null,
          reportsBytesPerDay: known?.bytesPerDay ?? null,
          diskAvailableBytes,
          ...future,
        },
        options: options.options(),
      };
    },
  });
}
