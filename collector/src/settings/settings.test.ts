/** The forecast of the storage, and that nothing secret is told. */
import { expect, test } from 'vitest';
import { ADMIN_TOKEN, READ_TOKEN, testServer } from '../http/testing.ts';
import { ProblemError } from '@tidemark/protocol';
import { ManualClock, OperationalFailure } from '@tidemark/service';
import { forecast, settingsRoutes } from './routes.ts';

const GB = 1e9;

test('the days that are kept, at the rate of the last ones, are what it comes to', () => {
  const facts = { usedBytes: 2 * GB, bytesPerDay: 1 * GB, reportDays: 30, diskAvailableBytes: 100 * GB };
  expect(forecast(facts)).toEqual({ expectedBytes: 30 * GB, fullInDays: null });
  expect(forecast({ ...facts, diskAvailableBytes: 10 * GB })).toEqual({ expectedBytes: 30 * GB, fullInDays: 10 });
  // Full retention: nothing grows any more, however little is free.
  expect(forecast({ ...facts, usedBytes: 31 * GB, diskAvailableBytes: 0 })).toEqual({ expectedBytes: 31 * GB, fullInDays: null });
  expect(forecast({ ...facts, bytesPerDay: null })).toEqual({ expectedBytes: null, fullInDays: null });
  expect(forecast({ ...facts, diskAvailableBytes: null })).toEqual({ expectedBytes: 30 * GB, fullInDays: null });
});

test('it is for administrators, and true without the database as well', async () => {
  let away = true;
  let mistaken = true;
  const { app } = await testServer({
    routes: (server) =>
      settingsRoutes(server, {
        clock: new ManualClock(),
        version: '1',
        store: {
          storage: async () => {
            if (away) throw new ProblemError('database_away', 'It is away.');
            return { usedBytes: GB, bytesPerDay: null };
          },
        },
        file: '/etc/tidemark/collector.yaml',
        publicUrl: undefined,
        retention: { reportDays: 30, observationDays: 7 },
        database: 'embedded',
        embeddedDirectory: '/',
        options: () => [{ name: 'rawDays', value: '30', source: 'default' }],
        reload: async () => {
          if (mistaken) throw new OperationalFailure('one mistake in the configuration:\n  collector.yaml:3: rules: …');
          return { rules: { added: ['a'], changed: [], removed: [] }, channels: ['mail'], needRestart: [] };
        },
      }),
  });
  const ask = (token: string) => app.inject({ url: '/api/settings', headers: { authorization: `Bearer ${token}` } });
  expect((await ask(READ_TOKEN)).statusCode).toBe(403);
  expect((await ask(ADMIN_TOKEN)).json()).toMatchObject({ storage: { usedBytes: null, diskAvailableBytes: expect.any(Number) } });
  away = false;
  expect((await ask(ADMIN_TOKEN)).json()).toMatchObject({ storage: { usedBytes: GB }, retention: { reportDays: 30 } });

  const reload = () => app.inject({ method: 'POST', url: '/api/reload', headers: { authorization: `Bearer ${ADMIN_TOKEN}` } });
  const refused = await reload();
  expect([refused.statusCode, refused.json()]).toMatchObject([
    409,
    { code: 'configuration_invalid', detail: expect.stringContaining('collector.yaml:3') },
  ]);
  mistaken = false;
  expect((await reload()).json()).toMatchObject({ rules: { added: ['a'] }, channels: ['mail'] });
});
