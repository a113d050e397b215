/** The whole interface: who gets in at each address, that its description is kept and up to date, and that the page on it needs nothing from outside. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Problem } from '@tidemark/protocol';
import type { LightMyRequestResponse } from 'fastify';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { assembleApi, describeApi, type AssembledApi } from './openapi.ts';

const KEPT = fileURLToPath(new URL('../../docs/reference/openapi.json', import.meta.url));
const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };

let api: AssembledApi;
beforeAll(async () => {
  api = await assembleApi(version);
});
afterAll(() => api.close());

const PUBLIC = [
  'GET /health',
  'GET /api/health',
  'POST /api/session',
  // The console's page, on which people sign in, and its files.
  'GET /',
  'GET /sign-in',
  'GET /add-node',
  'GET /nodes',
  'GET /nodes/*',
  'GET /replication',
  'GET /assets/*',
  'GET /alerts',
  'GET /alerts/*',
  'GET /settings',
  // Links in messages lead here, on phones that are not signed in.
  'GET /runbooks',
  'GET /runbooks/page.css',
  'GET /runbooks/:name',
  // A machine that is to become a node has no credential yet.
  'POST /api/telemetry/v1/enroll',
  'GET /documentation/downloads',
  'GET /documentation/downloads/page.css',
  'GET /documentation/downloads/:name',
];
/** An answer without an end; collector/src/events has its own tests. */
const STREAM = '/api/events';

describe('every address', () => {
  const addresses = (): [string, string][] =>
    [...api.app.methodsByUrl].flatMap(([url, methods]) => [...methods].map((method): [string, string] => [method, url]));
  const ask = (method: string, url: string, headers: Record<string, string> = {}): Promise<LightMyRequestResponse> =>
    api.app.inject({ method: method as 'GET', url: url.replace(/:\w+|\*/g, 'x'), headers, ...(method === 'POST' ? { payload: {} } : {}) });

  test('wants a credential, but for those that cannot', async () => {
    const open: string[] = [];
    for (const [method, url] of addresses()) {
      const answer = await ask(method, url);
      const refused = answer.statusCode === 401 && (method === 'HEAD' || answer.json<Problem>().code === 'credential_missing');
      if (!refused) open.push(`${method} ${url}`);
    }
    expect(open.filter((address) => !address.startsWith('HEAD ')).toSorted()).toEqual(PUBLIC.toSorted());
    expect(open.filter((address) => address.startsWith('HEAD ')).map((address) => address.replace('HEAD', 'GET'))).toEqual(
      expect.arrayContaining(PUBLIC.filter((address) => address.startsWith('GET'))),
    );
    expect(addresses().length).toBeGreaterThan(30);
  });

  test('refuses what is not a credential of its own', async () => {
    for (const [method, url] of addresses().filter(([one, address]) => !PUBLIC.includes(`${one.replace('HEAD', 'GET')} ${address}`))) {
      expect((await ask(method, url, { authorization: 'Bearer tma_made_up' })).statusCode, `${method} ${url}`).toBe(401);
    }
  });

  test('answers the admin with its work or a problem, never with a failure of its own, the database being away', async () => {
    for (const [method, url] of addresses()) {
      if (method === 'HEAD' || url === STREAM) continue;
      const answer = await ask(method, url, { authorization: `Bearer ${api.adminToken}` });
      expect(answer.statusCode, `${method} ${url}: ${answer.body.slice(0, 200)}`).not.toBe(500);
      const isProblem = String(answer.headers['content-type']).startsWith('application/problem+json');
      expect(isProblem, `${method} ${url} answers ${answer.statusCode}`).toBe(answer.statusCode >= 400 && url !== '/api/health');
    }
  });
});

describe('the description', () => {
  test('that is kept is the one that is served: npm run docs writes it', async () => {
    expect(readFileSync(KEPT, 'utf8')).toBe(await describeApi(version));
  });

  test('is for those who may read', async () => {
    const answer = await api.app.inject({ url: '/api/openapi.json', headers: { authorization: `Bearer ${api.adminToken}` } });
    expect(answer.json()).toEqual(JSON.parse(readFileSync(KEPT, 'utf8')));
  });

  test('has every address of the API, each with a summary, who may use it, and what comes back', async () => {
    const document = JSON.parse(await describeApi(version)) as {
      openapi: string;
      tags: { name: string }[];
      paths: Record<
        string,
        Record<
          string,
          { tags: string[]; summary: string; security?: object[]; responses: object; parameters?: { name: string; in: string }[] }
        >
      >;
    };
    expect(document.openapi).toBe('3.1.0');
    const groups = new Set(document.tags.map(({ name }) => name));
    const described = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => {
        expect(operation.summary, `of ${path}`).toMatch(/^\S.*[^.]$/);
        expect(operation.security, `of ${path}`).toBeDefined();
        expect(Object.keys(operation.responses), `of ${path}`).toContain('default');
        expect(groups, `of ${path}`).toContain(operation.tags[0]);
        for (const [, name] of path.matchAll(/\{(\w+)\}/g))
          expect(operation.parameters).toContainEqual(expect.objectContaining({ name, in: 'path' }));
        return `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')}`;
      }),
    );
    const undescribed = ['/api/openapi.json', '/api/docs', '/api/docs/page.js', '/api/docs/page.css'];
    const registered = [...api.app.methodsByUrl]
      .filter(
        ([url]) => (/^\/(?:api|grafana|prometheus)\//.test(url) || url === '/metrics' || url === '/health') && !undescribed.includes(url),
      )
      .flatMap(([url, methods]) => [...methods].filter((method) => method !== 'HEAD').map((method) => `${method} ${url}`));
    expect(described.toSorted()).toEqual(registered.toSorted());
  });

  test('speaks JSON Schema as OpenAPI 3.1 does', async () => {
    const wrong: string[] = [];
    const look = (part: unknown, path: string): void => {
      if (typeof part !== 'object' || part === null) return;
      for (const [key, value] of Object.entries(part)) {
        if ((key === 'items' && Array.isArray(value)) || key === 'additionalItems' || key === 'nullable') wrong.push(`${path}.${key}`);
        look(value, `${path}.${key}`);
      }
    };
    look(JSON.parse(await describeApi(version)), '');
    expect(wrong).toEqual([]);
  });

  test('is read on a page that asks nothing of anywhere else', async () => {
    for (const url of ['/api/docs', '/api/docs/page.js', '/api/docs/page.css']) {
      const { statusCode, body, headers } = await api.app.inject({ url, headers: { authorization: `Bearer ${api.adminToken}` } });
      expect(statusCode).toBe(200);
      expect(body).not.toMatch(/https?:\/\/|<style|\son\w+=|style=|innerHTML/);
      expect(headers['content-security-policy']).toContain("default-src 'none'");
    }
  });
});
