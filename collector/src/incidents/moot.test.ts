/** What need not be told: silences by every part of their matcher, and alerts that another one explains, with no way to hush each other. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { IncidentBook } from './book.ts';
import type { Incident, Silence } from './entry.ts';
import { covers, silenceOf, suppressorOf } from './moot.ts';
import { openingOf } from './testing.ts';

function bookOf(...openings: ReturnType<typeof openingOf>[]): IncidentBook {
  const book = new IncidentBook();
  openings.forEach((opening, i) => book.apply({ kind: 'opened', opening, id: '', at: 1, epoch: 1, position: i + 1 }));
  return book;
}

const one = (more: Parameters<typeof openingOf>[1] = {}): Incident => bookOf(openingOf('a', more)).incident('a')!;
const node = { name: 'db-1', site: 'berlin' };

describe('silences', () => {
  test.each([
    [{ rule: 'cpu_usage' }, true],
    [{ rule: 'cpu_*' }, true],
    [{ rule: 'disk_*' }, false],
    [{ node: 'db-1' }, true],
    [{ node: 'db-*', site: 'ham*' }, false],
    [{ node: 'db-*', site: 'ber*' }, true],
    [{ node: 'db1' }, false],
    [{ level: 'warning' as const }, true],
    [{ level: 'critical' as const }, false],
    [{ labels: { mountpoint: '/var*' } }, true],
    [{ labels: { mountpoint: '/var' } }, false],
    [{ labels: { device: '*' } }, false],
    [{ rule: '*' }, true],
  ])('%j covers: %s', (matcher, isCovered) => {
    expect(covers(matcher, one({ labels: [['mountpoint', '/var/lib']] }), node)).toBe(isCovered);
  });

  test('of several the one that ends last; none that is over', () => {
    const silence = (silenceId: string, endsAt: number): Silence => ({ silenceId, endsAt, matcher: { rule: '*' }, reason: '', author: '' });
    const all = [silence('short', 10), silence('long', 30), silence('over', 5)];
    expect(silenceOf(all, one(), node, 5)?.silenceId).toBe('long');
    expect(silenceOf(all, one(), node, 30)).toBeUndefined();
  });
});

describe('alerts that make others moot', () => {
  test('on the same node, open, and agreeing in every label that both have', () => {
    const child = openingOf('z', {
      rule: 'lag',
      suppressedBy: ['down'],
      labels: [
        ['server', 'a'],
        ['slot', 's'],
      ],
    });
    const book = bookOf(
      child,
      openingOf('other node', { rule: 'down', nodeId: 2 }),
      openingOf('other server', { rule: 'down', labels: [['server', 'b']] }),
      openingOf('itself', { rule: 'lag' }),
    );
    expect(suppressorOf(book, book.incident('z')!)).toBeUndefined();
    book.apply({
      kind: 'opened',
      opening: openingOf('fits', { rule: 'down', labels: [['server', 'a']] }),
      id: '',
      at: 1,
      epoch: 1,
      position: 9,
    });
    expect(suppressorOf(book, book.incident('z')!)?.incidentId).toBe('fits');
    book.apply({ kind: 'closed', incidentId: 'fits', reason: 'recovered', value: 0, why: '', id: '', at: 1, epoch: 1, position: 10 });
    expect(suppressorOf(book, book.incident('z')!), 'over').toBeUndefined();
  });

  test('told by one node of another: on that other one, and on every node for the same cluster', () => {
    const lost = openingOf('lost', {
      rule: 'primary-lost',
      nodeId: 3,
      nodeName: 'db-3',
      labels: [
        ['cluster', '77'],
        ['lost_node', 'db-1'],
      ],
    });
    const moot = { suppressedBy: ['primary-lost'] };
    const book = bookOf(
      lost,
      openingOf('on the lost node', { ...moot, rule: 'node-silent', nodeId: 1, nodeName: 'db-1' }),
      openingOf('of the cluster', {
        ...moot,
        rule: 'disconnected',
        nodeId: 2,
        nodeName: 'db-2',
        labels: [
          ['cluster', '77'],
          ['server', 'x'],
        ],
      }),
      openingOf('of another cluster', { ...moot, rule: 'disconnected', nodeId: 2, nodeName: 'db-2', labels: [['cluster', '78']] }),
      openingOf('another node', { ...moot, rule: 'node-silent', nodeId: 4, nodeName: 'db-4' }),
      openingOf('does not name it', { rule: 'cpu-usage', nodeId: 1, nodeName: 'db-1' }),
    );
    const suppressed = [...book.incidents()].filter((incident) => suppressorOf(book, incident) !== undefined);
    expect(suppressed.map(({ incidentId }) => incidentId)).toEqual(['on the lost node', 'of the cluster']);
    book.apply({ kind: 'closed', incidentId: 'lost', reason: 'recovered', value: 0, why: '', id: '', at: 2, epoch: 1, position: 99 });
    expect([...book.incidents()].some((incident) => suppressorOf(book, incident) !== undefined)).toBe(false);
  });

  test('of a chain it is the end', () => {
    const book = bookOf(
      openingOf('a', { rule: 'lag', suppressedBy: ['postgres_down'] }),
      openingOf('b', { rule: 'postgres_down', suppressedBy: ['node_silent'] }),
      openingOf('c', { rule: 'node_silent' }),
    );
    expect(suppressorOf(book, book.incident('a')!)?.incidentId).toBe('c');
    expect(suppressorOf(book, book.incident('c')!)).toBeUndefined();
  });

  test('however rules name each other, whatever is moot points at one that is told', () => {
    const rules = ['a', 'b', 'c', 'd', 'e'];
    fc.assert(
      fc.property(
        fc.array(fc.record({ rule: fc.constantFrom(...rules), suppressedBy: fc.subarray(rules) }), { minLength: 1, maxLength: 8 }),
        (alerts) => {
          const book = bookOf(...alerts.map((alert, i) => openingOf(`i${i}`, alert)));
          for (const incident of book.incidents()) {
            let next: Incident | undefined = incident;
            const seen = new Set<string>();
            while (next !== undefined && !seen.has(next.incidentId)) {
              seen.add(next.incidentId);
              next = suppressorOf(book, next);
            }
            expect(next, 'it does not go round in circles').toBeUndefined();
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
