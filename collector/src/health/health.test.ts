/** Health as balancers, scripts and people ask for it: what is needed decides, what is not only shows, and "since" is when it became so. */
import type { Health, TelemetryHealth } from '@tidemark/protocol';
import { ManualClock } from '@tidemark/service';
import { describe, expect, test, vi } from 'vitest';
import { READ_TOKEN, testServer } from '../http/testing.ts';
import { Components, type ComponentReading } from './components.ts';
import { healthRoutes } from './routes.ts';

const START = '2026-01-01T00:00:00.000Z';

function parts(clock = new ManualClock()) {
  const components = new Components(clock);
  const readings: Record<string, ComponentReading> = {
    database: { status: 'healthy', detail: 'answers' },
    agents: { status: 'healthy', detail: 'all report' },
    evaluation: { status: 'inactive', detail: 'not in this version' },
  };
  for (const name of Object.keys(readings)) components.register(name, name === 'database', () => readings[name]!);
  return { components, readings, clock };
}

describe('the parts', () => {
  test.each<[ComponentReading['status'], ComponentReading['status'], TelemetryHealth['status']]>([
    ['healthy', 'healthy', 'healthy'],
    ['healthy', 'inactive', 'healthy'],
    ['healthy', 'degraded', 'degraded'],
    ['healthy', 'unhealthy', 'degraded'],
    ['degraded', 'healthy', 'degraded'],
    ['unhealthy', 'healthy', 'unhealthy'],
    ['unhealthy', 'unhealthy', 'unhealthy'],
  ])('the needed one %s, the other %s: %s', (needed, other, whole) => {
    const { components, readings } = parts();
    readings['database'] = { status: needed, detail: 'd' };
    readings['agents'] = { status: other, detail: 'a' };
    expect(components.read().status).toBe(whole);
    expect(components.reasons()).toEqual(needed === 'unhealthy' ? ['database: d'] : []);
  });

  test('"since" is when it became so, whoever asks and however often', () => {
    const { components, readings, clock } = parts();
    const since = (): string => components.read().components[1]!.since;
    expect(since()).toBe(START);
    clock.advance(60_000);
    expect(since()).toBe(START);
    readings['agents'] = { status: 'degraded', detail: '1 of 2 are silent' };
    expect(since()).toBe('2026-01-01T00:01:00.000Z');
    clock.advance(60_000);
    readings['agents'] = { status: 'degraded', detail: '2 of 2 are silent' };
    expect(since()).toBe('2026-01-01T00:01:00.000Z');
  });

  test('a part that knows better since when is believed', () => {
    const { components, readings, clock } = parts();
    readings['database'] = { status: 'unhealthy', detail: 'refused', since: clock.wallMs() - 5_000 };
    expect(components.read().components[0]).toEqual({
      name: 'database',
      status: 'unhealthy',
      detail: 'refused',
      since: '2025-12-31T23:59:55.000Z',
    });
  });

  test('a change is noticed though nobody asks', () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const { components, readings, clock } = parts();
    const end = components.watch();
    readings['agents'] = { status: 'degraded', detail: '' };
    vi.advanceTimersByTime(5_000);
    clock.advance(3_600_000);
    expect(components.read().components[1]!.since).toBe(START);
    end();
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
  });
});

describe('over HTTP', () => {
  async function served() {
    const world = parts();
    let stopping = false;
    const { app } = await testServer({
      routes: (a) => healthRoutes(a, { components: world.components, clock: world.clock, stopping: () => stopping }),
    });
    return { ...world, app, stop: () => void (stopping = true) };
  }

  test('all is well', async () => {
    const { app, clock } = await served();
    clock.advance(1_500);
    expect((await app.inject({ url: '/health' })).body).toBe('ok\n');
    const answer = await app.inject({ url: '/api/health' });
    expect([answer.statusCode, answer.json()]).toEqual([200, { status: 'healthy', timestamp: '2026-01-01T00:00:01.500Z', uptime: 1.5 }]);
  });

  test('a dead database takes the collector out for scripts, and not for balancers', async () => {
    const { app, readings } = await served();
    readings['database'] = { status: 'unhealthy', detail: 'connection refused' };
    expect((await app.inject({ url: '/health' })).statusCode).toBe(200);
    const answer = await app.inject({ url: '/api/health' });
    expect(answer.statusCode).toBe(503);
    expect(answer.json<Health>()).toMatchObject({ status: 'unhealthy', reasons: ['database: connection refused'] });
  });

  test('a silent agent takes nothing out', async () => {
    const { app, readings } = await served();
    readings['agents'] = { status: 'unhealthy', detail: 'all are silent' };
    expect((await app.inject({ url: '/api/health' })).statusCode).toBe(200);
  });

  test('a collector that stops is out for both', async () => {
    const { app, stop } = await served();
    stop();
    expect((await app.inject({ url: '/health' })).statusCode).toBe(503);
    expect((await app.inject({ url: '/api/health' })).json<Health>()).toMatchObject({
      status: 'unhealthy',
      reasons: ['the collector is stopping'],
    });
  });

  test('each part, for those who may read', async () => {
    const { app } = await served();
    expect((await app.inject({ url: '/api/telemetry/health' })).statusCode).toBe(401);
    const answer = await app.inject({ url: '/api/telemetry/health', headers: { authorization: `Bearer ${READ_TOKEN}` } });
    expect(answer.json()).toEqual({
      status: 'healthy',
      components: [
        { name: 'database', status: 'healthy', detail: 'answers', since: START },
        { name: 'agents', status: 'healthy', detail: 'all report', since: START },
        { name: 'evaluation', status: 'inactive', detail: 'not in this version', since: START },
      ],
    });
  });
});
