import type { NodeDetail } from '@tidemark/protocol';
import { expect, test } from 'vitest';
import { foundIn, howText } from './postgres-found.tsx';

const AT = '2026-11-21T03:00:00.000Z';
const seen = (document: unknown): NodeDetail['observations'] => [
  { kind: 'inventory', version: 1, instance: '', at: AT, since: AT, document: { servers: [{}] } },
  { kind: 'postgres.discovered', version: 1, instance: '', at: AT, since: AT, document },
];
const server = (address: string, more: object = {}) => ({
  address,
  how: 'port',
  watched: false,
  command: `tidemark-agent postgres setup --url 'postgresql://postgres@${address}/postgres'`,
  ...more,
});

test('what is watched is not among what is found', () => {
  const found = foundIn(seen({ servers: [server('127.0.0.1:5433'), server('127.0.0.1:5432', { watched: true })] }));
  expect(found?.at).toBe(AT);
  expect(found?.servers.map(({ address }) => address)).toEqual(['127.0.0.1:5433']);
});

test('no server, no look and no known form tell of none', () => {
  expect(foundIn([])).toBeNull();
  const odd = [
    null,
    'text',
    [],
    {},
    { servers: null },
    { servers: [] },
    { servers: [null, 3, server('a', { command: 7 }), { watched: false }] },
  ];
  for (const document of odd) expect(foundIn(seen(document))).toBeNull();
});

test('how it was found, also by means that are not known yet', () => {
  expect(howText('socket')).toBe('by its socket');
  expect(howText('published port')).toBe('by a port published for a container');
  expect(howText('systemd')).toBe('by systemd');
});
