/** Server-sent events: what a page is told first, what follows, and who is let go. */
import { request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Claim } from '@tidemark/protocol';
import { ManualClock } from '@tidemark/service';
import { describe, expect, onTestFinished, test } from 'vitest';
import { READ_TOKEN, AGENT_TOKEN, testServer } from '../http/testing.ts';
import { LiveView } from '../live/live-view.ts';
import { FleetOverview } from '../live/overview.ts';
import { START, fleetOf, layoutOf, nodeOf, reportOf, seriesOf } from '../live/testing.ts';
import { EventHub, LISTENERS_MAX, WAITING_BYTES_MAX, type Listener } from './hub.ts';
import { eventRoutes } from './routes.ts';

const layout = layoutOf('cpu', [seriesOf('tidemark_cpu_usage_ratio', [])]);

function setUp() {
  const clock = new ManualClock(START);
  const view = new LiveView(clock);
  const nodes = [nodeOf(1, 'a'), nodeOf(2, 'b')];
  const fleet = fleetOf(...nodes);
  const hub = new EventHub({ clock, view, overview: new FleetOverview(view, fleet, clock), nodes: () => fleet.all() });
  onTestFinished(() => hub.stop());
  return { clock, view, nodes, hub };
}

class Page implements Listener {
  readonly events: { name: string; data: unknown }[] = [];
  waiting = 0;
  known = true;
  ended = false;
  write(text: string): number {
    for (const [, name, data] of text.matchAll(/event: (\w+)\ndata: (.*)\n\n/g))
      this.events.push({ name: name!, data: JSON.parse(data!) as unknown });
    return this.waiting;
  }
  admitted(): boolean {
    return this.known;
  }
  end(): void {
    this.ended = true;
  }
  take(): string[] {
    return this.events.splice(0).map(({ name }) => name);
  }
}

describe('the hub', () => {
  test('tells everything first, then the rows that changed and a sign of life every two seconds', () => {
    const { clock, view, nodes, hub } = setUp();
    const page = new Page();
    hub.join(page);
    expect(page.take()).toEqual(['life', 'overview']);
    clock.advance(1_000);
    hub.tick();
    clock.advance(1_000);
    hub.tick();
    expect(page.take()).toEqual(['life']);
    view.accept(reportOf(nodes[1]!, 1, [[layout, [0.5]]]));
    clock.advance(1_000);
    hub.tick();
    expect(page.events).toMatchObject([{ name: 'nodes', data: { nodes: [{ name: 'b', cpu: { usageRatio: 0.5 } }], removed: [] } }]);
    page.take();
    clock.advance(1_000);
    hub.tick();
    expect(page.take()).toEqual(['life']);
  });

  test('a node that fell silent, got another name or another site is a change', () => {
    const { clock, view, nodes, hub } = setUp();
    view.accept(reportOf(nodes[0]!, 1, [[layout, [0.5]]]));
    const page = new Page();
    hub.join(page);
    page.take();
    clock.advance(120_000);
    hub.tick();
    expect(page.events[0]).toMatchObject({ name: 'nodes', data: { nodes: [{ name: 'a', up: false, cpu: { usageRatio: null } }] } });
    page.take();
    nodes[0]!.name = 'c';
    nodes[1]!.site = 'elsewhere';
    hub.tick();
    expect(page.events).toMatchObject([
      { name: 'changed', data: { what: 'nodes' } },
      { name: 'nodes', data: { nodes: [{ name: 'c' }, { name: 'b', site: 'elsewhere' }], removed: ['a'] } },
    ]);
  });

  test('a machine that asks to be a node is news once, and again when it is another one or was decided about', () => {
    const { hub, nodes } = setUp();
    const page = new Page();
    hub.join(page);
    page.take();
    const claim: Claim = {
      reason: 'clone-or-replacement',
      machineCode: 'AAAA-0001',
      address: '10.0.0.1',
      askedAt: '2026-01-01T00:00:00.000Z',
      platform: null,
      agentVersion: null,
    };
    const told = (): unknown[] => {
      hub.tick();
      return page.events
        .splice(0)
        .filter(({ name }) => name !== 'life')
        .map(({ name, data }) => [name, (data as { nodes?: { claim?: Claim }[] }).nodes?.map((node) => node.claim)]);
    };
    nodes[0]!.claim = claim;
    expect(told()).toEqual([
      ['changed', undefined],
      ['nodes', [claim]],
    ]);
    nodes[0]!.claim = { ...claim, askedAt: '2026-01-01T00:01:00.000Z' };
    expect(told()).toEqual([]);
    const other = { ...claim, machineCode: 'BBBB-0002' };
    nodes[0]!.claim = other;
    expect(told()).toEqual([
      ['changed', undefined],
      ['nodes', [other]],
    ]);
    nodes[0]!.claim = null;
    expect(told()).toEqual([
      ['changed', undefined],
      ['nodes', [undefined]],
    ]);
  });

  test('who does not read, and who may no longer, is let go; the others are not disturbed', () => {
    const { clock, hub } = setUp();
    const [slow, revoked, fine] = [new Page(), new Page(), new Page()];
    for (const page of [slow, revoked, fine]) hub.join(page);
    slow.waiting = WAITING_BYTES_MAX + 1;
    revoked.known = false;
    clock.advance(2_000);
    hub.tick();
    expect([slow.ended, revoked.ended, fine.ended]).toEqual([true, true, false]);
    expect(hub.listeners).toBe(1);
  });

  test('there is a most', () => {
    const { hub } = setUp();
    for (let i = 0; i < LISTENERS_MAX; i++) expect(hub.join(new Page())).toBeTypeOf('function');
    expect(hub.join(new Page())).toBe(false);
  });
});

describe('over HTTP', () => {
  async function listening() {
    const parts = setUp();
    const server = await testServer({ routes: (app) => eventRoutes(app, { hub: parts.hub }) });
    await server.app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = server.app.server.address() as AddressInfo;
    return { ...parts, ...server, url: `http://127.0.0.1:${port}/api/events` };
  }

  test('it is a stream that begins with the fleet, and ends when the collector stops', async () => {
    const { url, hub, app } = await listening();
    const { headers, text, ended } = await new Promise<{
      headers: Record<string, unknown>;
      text: () => string;
      ended: Promise<void>;
    }>((resolve, reject) => {
      const request = httpRequest(url, { headers: { authorization: `Bearer ${READ_TOKEN}` } }, (response) => {
        let body = '';
        const over = new Promise<void>((done) => response.on('close', done));
        response.on('error', () => {});
        response.setEncoding('utf8').on('data', (chunk: string) => {
          body += chunk;
          if (body.includes('event: overview')) resolve({ headers: response.headers, text: () => body, ended: over });
        });
      });
      request.on('error', reject);
      request.end();
    });
    expect(headers).toMatchObject({ 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store' });
    expect(text()).toMatch(/^retry: 2000\n\nevent: life\n/);
    expect(hub.listeners).toBe(1);
    await Promise.all([app.close(), ended]);
    expect(hub.listeners).toBe(0);
  });

  test('a listener that goes away is forgotten', async () => {
    const { url, hub } = await listening();
    const request = httpRequest(url, { headers: { authorization: `Bearer ${READ_TOKEN}` } });
    await new Promise((resolve) => request.on('response', resolve).end());
    expect(hub.listeners).toBe(1);
    request.destroy();
    while (hub.listeners > 0) await new Promise((resolve) => setImmediate(resolve));
  });

  test('an agent may not listen, nor may a stranger', async () => {
    const { url } = await listening();
    expect((await fetch(url)).status).toBe(401);
    expect((await fetch(url, { headers: { authorization: `Bearer ${AGENT_TOKEN}` } })).status).toBe(403);
  });
});
