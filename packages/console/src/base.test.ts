import { afterEach, expect, test, vi } from 'vitest';

afterEach(() => {
  vi.unstubAllGlobals();
  vi.resetModules();
});

async function standingAt(content: string | null): Promise<typeof import('./base.ts')> {
  vi.stubGlobal('document', { querySelector: () => (content === null ? null : { content }) });
  vi.stubGlobal('location', { origin: 'https://ops.example' });
  return import('./base.ts');
}

test('at the root addresses are as they are', async () => {
  for (const content of ['/', null]) {
    const { addressOf, placeOf, collectorUrl } = await standingAt(content);
    expect(addressOf('/alerts?q=a')).toBe('/alerts?q=a');
    expect(placeOf('/nodes/a%2Fb')).toBe('/nodes/a%2Fb');
    expect(collectorUrl()).toBe('https://ops.example');
    vi.resetModules();
  }
});

test('below a prefix every address begins with it, and nothing else is the console’s', async () => {
  const { addressOf, placeOf, collectorUrl } = await standingAt('/ops/tidemark/');
  expect(addressOf('/')).toBe('/ops/tidemark/');
  expect(addressOf('/api/telemetry/overview')).toBe('/ops/tidemark/api/telemetry/overview');
  expect(placeOf('/ops/tidemark/alerts/past')).toBe('/alerts/past');
  expect(placeOf('/ops/tidemark/')).toBe('/');
  expect(placeOf('/ops/tidemark')).toBe('/');
  expect(placeOf('/ops/tidemarks/alerts')).toBeUndefined();
  expect(placeOf('/alerts')).toBeUndefined();
  expect(collectorUrl()).toBe('https://ops.example/ops/tidemark');
});

test('what is no path is not believed', async () => {
  const { addressOf } = await standingAt('//evil.example/');
  expect(addressOf('/alerts')).toBe('/alerts');
});
