/** The colours of a chart, read from the page's tokens: a canvas cannot take them from the style sheet by itself. */
import { signal } from '@preact/signals';

const NAMES = ['text', 'muted', 'line', 'line-strong', 'accent', 'warn-fill', 'bad-fill', 'surface'] as const;
export const TONES = 8;

export type Palette = Record<(typeof NAMES)[number], string> & { tones: string[]; font: string };

/** Raised when the page's colours may have changed; drawings read their palettes anew. */
export const paletteChanged = signal(0);

/** Reads the colours that hold for an element. Computed colours: `light-dark()` and overrides are resolved. */
export function readPalette(element: HTMLElement): Palette {
  const probe = element.appendChild(document.createElement('i'));
  const read = (name: string): string => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const palette = Object.fromEntries(NAMES.map((name) => [name, read(name)])) as Record<(typeof NAMES)[number], string>;
  const tones = [palette.muted, ...Array.from({ length: TONES }, (_, tone) => read(`tone-${tone + 1}`))];
  const font = `11px ${getComputedStyle(element).fontFamily}`;
  probe.remove();
  return { ...palette, tones, font };
}

/** "rgb(1, 2, 3)" with a share of opacity. */
export function faded(colour: string, opacity: number): string {
  const parts = colour.match(/[\d.]+/g);
  return parts === null ? colour : `rgba(${parts.slice(0, 3).join(',')},${opacity})`;
}

let watching = false;
/** Watches what colours depend on: the system's theme, the chosen one, and figures that go stale. */
export function watchPalette(): void {
  if (watching) return;
  watching = true;
  const changed = (): void => {
    paletteChanged.value += 1;
  };
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', changed);
  const observer = new MutationObserver(changed);
  observer.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] });
  const main = document.querySelector('main');
  if (main !== null) observer.observe(main, { attributes: true, attributeFilter: ['class'], subtree: false });
}
