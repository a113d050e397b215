/**
 * The replication page of the console in a real Chromium: clusters that are well and in every kind of trouble, drawn and
 * in tables, dark and light, on a phone, by keyboard. Pictures are left in test-results/console to be looked at.
 */
/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Replication, ReplicationCluster } from '@tidemark/protocol';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { Browsing, PHONE, complaints, picture } from './browsing.ts';

let browsing: Browsing;
beforeAll(async () => {
  browsing = await Browsing.start();
});
afterAll(() => browsing?.stop());
beforeEach(() => browsing.begin({ nodes: 200, seed: 7, replication: 'mixed' }));
afterEach(() => browsing.end());

const sideways = (page: Page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
const card = (page: Page, name: string) => page.locator('.r-card').filter({ has: page.getByRole('heading', { name, exact: true }) });
async function told(): Promise<Replication> {
  const answer = await fetch(`${browsing.server.origin}/api/telemetry/replication`);
  return (await answer.json()) as Replication;
}
async function cluster(name: string): Promise<ReplicationCluster> {
  const found = (await told()).clusters.find((each) => each.name === name);
  if (found === undefined) throw new Error(`the mock has no cluster ${name}`);
  return found;
}
/** Looked at, complained of, and as wide as its window. */
async function fine(page: Page, name: string, fullPage = false): Promise<void> {
  await picture(page, name, fullPage);
  expect(await complaints(page)).toEqual([]);
  expect(await sideways(page)).toBeLessThanOrEqual(0);
}

test('every kind of trouble, dark: in words, drawn and in tables', async () => {
  const page = await browsing.open('/replication');
  await page.getByRole('heading', { name: 'Replication', exact: true }).waitFor();
  await fine(page, 'replication-dark', true);
});

test('light', async () => {
  const page = await browsing.open('/replication', { colorScheme: 'light' });
  await card(page, 'shop').waitFor();
  await fine(page, 'replication-light', true);
});

test('one cluster that is well', async () => {
  browsing.api.setReplication('calm');
  const page = await browsing.open('/replication');
  await card(page, 'shop').waitFor();
  await fine(page, 'replication-calm-dark');
});

test('on a phone the tree is an indented list', async () => {
  const page = await browsing.open('/replication', PHONE);
  await card(page, 'shop').waitFor();
  await fine(page, 'replication-phone', true);
});

test('none yet', async () => {
  browsing.api.setReplication('none');
  const page = await browsing.open('/replication', { colorScheme: 'light' });
  await page.getByRole('heading', { name: 'No PostgreSQL cluster is watched yet' }).waitFor();
  await fine(page, 'replication-empty-light');
});

test('sixty clusters', async () => {
  browsing.api.setReplication('many');
  const page = await browsing.open('/replication');
  await page.locator('.r-card').first().waitFor();
  await fine(page, 'replication-many-dark', true);
});
