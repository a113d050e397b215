/**
 * Where the console stands: below the path prefix that a reverse proxy has for the collector, which the collector writes
 * into the page. Every address that a link, a question or the address bar gets goes through `addressOf`; the rest of the console knows none.
 */

/** Ends with a slash. Outside of a page (tests of single functions) it is the root. */
const BASE = baseOf(typeof document === 'undefined' ? null : document.querySelector<HTMLMetaElement>('meta[name="tidemark-base"]'));

function baseOf(meta: { readonly content: string } | null): string {
  const given = meta?.content ?? '/';
  return /^\/(?:[^/?#]+\/)*$/.test(given) ? given : '/';
}

/** The address of a path of the collector: `addressOf('/alerts')`. */
export function addressOf(path: string): string {
  return BASE + path.slice(1);
}

/** The collector's own path out of an address bar's or a link's: undefined outside of the prefix. */
export function placeOf(pathname: string): string | undefined {
  if (`${pathname}/` === BASE) return '/';
  return pathname.startsWith(BASE) ? pathname.slice(BASE.length - 1) : undefined;
}

/** The collector's address as this browser knows it, without a slash at its end. */
export function collectorUrl(): string {
  return location.origin + BASE.slice(0, -1);
}
