/**
 * Where the boxes of a topology stand: a tidy tree from left to right, one column a step from the root, each parent
 * beside the middle of its children. No two boxes and no two labels overlap. Pure; measures are pixels.
 */

export interface Placeable {
  id: string;
  /** Whom it follows; null or one that is not there: a root. */
  parent: string | null;
  height: number;
}

/** Trees that are drawn apart from one another, under a caption of their own. */
export interface Part {
  caption: string | null;
  items: readonly Placeable[];
}

export interface Measures {
  boxWidth: number;
  /** Between two columns: the edge and its label. */
  gapX: number;
  gapY: number;
  captionHeight: number;
  partGap: number;
}

export interface Box {
  id: string;
  x: number;
  y: number;
  width: number;
  height: number;
  depth: number;
  parent: string | null;
}

export interface Layout {
  boxes: Box[];
  captions: { text: string; y: number }[];
  width: number;
  height: number;
}

interface Branch {
  item: Placeable;
  children: Branch[];
  /** Of it and all below it. */
  height: number;
}

/** Trees of what is there. Whoever is in a circle, or follows itself, becomes a root where the circle is first met. */
function branchesOf(items: readonly Placeable[], gapY: number): Branch[] {
  const known = new Set(items.map(({ id }) => id));
  const children = new Map<string, Placeable[]>();
  const roots: Placeable[] = [];
  for (const item of items) {
    if (item.parent === null || item.parent === item.id || !known.has(item.parent)) roots.push(item);
    else children.set(item.parent, [...(children.get(item.parent) ?? []), item]);
  }
  const placed = new Set<string>();
  const grow = (item: Placeable): Branch => {
    placed.add(item.id);
    const below = (children.get(item.id) ?? []).filter(({ id }) => !placed.has(id)).map(grow);
    return { item, children: below, height: Math.max(item.height, stacked(below, gapY)) };
  };
  const trees = roots.map(grow);
  for (const item of items) if (!placed.has(item.id)) trees.push(grow({ ...item, parent: null }));
  return trees;
}

const stacked = (branches: readonly Branch[], gapY: number): number =>
  branches.reduce((sum, { height }) => sum + height, 0) + Math.max(0, branches.length - 1) * gapY;

/** Places every item of every part, parts from top to bottom in the order given, items once each. */
export function layoutOf(parts: readonly Part[], measures: Measures): Layout {
  const { boxWidth, gapX, gapY, captionHeight, partGap } = measures;
  const layout: Layout = { boxes: [], captions: [], width: 0, height: 0 };
  const place = ({ item, children, height }: Branch, depth: number, top: number, parent: string | null): void => {
    const x = depth * (boxWidth + gapX);
    layout.boxes.push({ id: item.id, x, y: top + (height - item.height) / 2, width: boxWidth, height: item.height, depth, parent });
    layout.width = Math.max(layout.width, x + boxWidth);
    let y = top + (height - stacked(children, gapY)) / 2;
    for (const child of children) {
      place(child, depth + 1, y, item.id);
      y += child.height + gapY;
    }
  };
  let y = 0;
  for (const part of parts) {
    if (part.items.length === 0) continue;
    if (layout.boxes.length > 0) y += partGap;
    if (part.caption !== null) {
      layout.captions.push({ text: part.caption, y });
      y += captionHeight;
    }
    const branches = branchesOf(part.items, gapY);
    for (const branch of branches) {
      place(branch, 0, y, null);
      y += branch.height + gapY;
    }
    y -= gapY;
    layout.height = y;
  }
  return layout;
}

/** The line from a parent to a child: out to a common trunk, along it, and round a corner to the child. */
export function edgePath(from: Box, to: Box, trunkX: number): string {
  const [y1, y2] = [from.y + from.height / 2, to.y + to.height / 2];
  const [x1, x2] = [from.x + from.width, to.x];
  if (Math.abs(y1 - y2) < 1) return `M${x1} ${y1}H${x2}`;
  const bend = Math.min(10, Math.abs(y2 - y1) / 2);
  const turn = y2 > y1 ? bend : -bend;
  return `M${x1} ${y1}H${trunkX - bend}Q${trunkX} ${y1} ${trunkX} ${y1 + turn}V${y2 - turn}Q${trunkX} ${y2} ${trunkX + bend} ${y2}H${x2}`;
}
