import fc from 'fast-check';
import { expect, test } from 'vitest';
import { edgePath, layoutOf, type Box, type Measures, type Part, type Placeable } from './layout.ts';

const MEASURES: Measures = { boxWidth: 190, gapX: 176, gapY: 16, captionHeight: 26, partGap: 22 };

/** From 1 to 30 members in up to three parts; parents anywhere: in circles, itself, in another part, nobody that is there. */
const anyParts = fc
  .array(fc.record({ parent: fc.option(fc.nat(32)), height: fc.integer({ min: 40, max: 200 }), part: fc.nat(2) }), {
    minLength: 1,
    maxLength: 30,
  })
  .map((members) =>
    [0, 1, 2].map((part): Part => ({
      caption: part === 0 ? null : `part ${part}`,
      items: members.flatMap((member, n): Placeable[] =>
        member.part === part ? [{ id: `m${n}`, parent: member.parent === null ? null : `m${member.parent}`, height: member.height }] : [],
      ),
    })),
  );

const apart = (a: Box, b: Box, by: number): boolean =>
  a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height + by <= b.y || b.y + b.height + by <= a.y;

test('a tree grows to the right, each parent beside the middle of its children', () => {
  const item = (id: string, parent: string | null): Placeable => ({ id, parent, height: 60 });
  const { boxes, width, height, captions } = layoutOf(
    [{ caption: null, items: [item('a', null), item('b', 'a'), item('c', 'b'), item('d', 'a')] }],
    MEASURES,
  );
  const at = (id: string): Box => boxes.find((box) => box.id === id)!;
  expect([at('a').x, at('b').x, at('d').x, at('c').x]).toEqual([0, 366, 366, 732]);
  expect(at('b').y).toBe(0);
  expect(at('d').y).toBe(76);
  expect(at('a').y).toBe(38);
  expect(at('c').y).toBe(at('b').y);
  expect([width, height]).toEqual([922, 136]);
  expect(captions).toEqual([]);
  expect(boxes.map(({ id }) => id)).toEqual(['a', 'b', 'c', 'd']);
});

test('parts stand below one another, each under its caption', () => {
  const { boxes, captions, height } = layoutOf(
    [
      { caption: 'one side', items: [{ id: 'a', parent: null, height: 60 }] },
      { caption: 'nobody', items: [] },
      { caption: 'the other', items: [{ id: 'b', parent: null, height: 60 }] },
    ],
    MEASURES,
  );
  expect(captions).toEqual([
    { text: 'one side', y: 0 },
    { text: 'the other', y: 108 },
  ]);
  expect(boxes.map(({ y }) => y)).toEqual([26, 134]);
  expect(height).toBe(194);
});

test('whatever follows whatever: everybody is drawn once, nobody over another, all within the picture', () => {
  fc.assert(
    fc.property(anyParts, (parts) => {
      const { boxes, captions, width, height } = layoutOf(parts, MEASURES);
      const ids = parts.flatMap(({ items }) => items.map(({ id }) => id));
      expect(boxes.map(({ id }) => id).toSorted()).toEqual(ids.toSorted());
      const byId = new Map(boxes.map((box) => [box.id, box]));
      for (const [place, box] of boxes.entries()) {
        for (const other of boxes.slice(place + 1))
          if (!apart(box, other, MEASURES.gapY)) throw new Error(`${box.id} lies over ${other.id}`);
        for (const { y } of captions)
          if (box.y < y + MEASURES.captionHeight && box.y + box.height > y) throw new Error(`${box.id} lies over a caption`);
        if (box.x < 0 || box.y < 0 || box.x + box.width > width || box.y + box.height > height) throw new Error(`${box.id} is cut off`);
        const parent = box.parent === null ? undefined : byId.get(box.parent);
        expect(parent?.depth ?? -1).toBe(box.depth - 1);
        // The room between columns is the edge's and its words': no box stands there.
        if (parent !== undefined) expect(box.x - (parent.x + parent.width)).toBe(MEASURES.gapX);
      }
    }),
    { numRuns: 400 },
  );
});

test('an edge is straight where it can be, and bends no further than it has room for', () => {
  const box = (y: number, x = 0): Box => ({ id: '', x, y, width: 100, height: 40, depth: 0, parent: null });
  expect(edgePath(box(0), box(0, 200), 120)).toBe('M100 20H200');
  expect(edgePath(box(0), box(80, 200), 120)).toBe('M100 20H110Q120 20 120 30V90Q120 100 130 100H200');
  expect(edgePath(box(8), box(0, 200), 120)).toBe('M100 28H116Q120 28 120 24V24Q120 20 124 20H200');
});
