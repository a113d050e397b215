import { expect, test } from 'vitest';
import { foundOn } from './found.ts';

test('nodes whose agents found servers that nobody watches, by name; an overview of an earlier collector says none', () => {
  const nodes = [
    { name: 'db-10', postgresFound: 2 },
    { name: 'db-9', postgresFound: 1 },
    { name: 'web-1' },
    { name: 'web-2', postgresFound: 0 },
  ];
  expect(foundOn(nodes)).toEqual({
    servers: 3,
    nodes: [
      { name: 'db-9', servers: 1 },
      { name: 'db-10', servers: 2 },
    ],
  });
  expect(foundOn([{ name: 'web-1' }])).toBeNull();
  expect(foundOn([])).toBeNull();
});
