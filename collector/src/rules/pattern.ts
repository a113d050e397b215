/**
 * Patterns over names and label values: `*` stands for any characters, "!" before one excludes what it matches. With
 * exclusions alone everything else fits.
 */

/** Whether one pattern without "!" is more than a plain value. */
export function isWild(pattern: string): boolean {
  return pattern.includes('*');
}

/** Characters that stand for themselves: how much a pattern says. */
export function literalLength(pattern: string): number {
  return pattern.replaceAll('*', '').length;
}

/** A test for one pattern without "!". */
export function compilePattern(pattern: string): (value: string) => boolean {
  if (!isWild(pattern)) return (value) => value === pattern;
  const parts = pattern.split('*');
  const first = parts[0]!;
  const last = parts[parts.length - 1]!;
  const between = parts.slice(1, -1).filter((part) => part !== '');
  // By hand and not as a regular expression: no pattern of anybody's can take longer than the value is long.
  return (value) => {
    if (value.length < first.length + last.length || !value.startsWith(first) || !value.endsWith(last)) return false;
    let at = first.length;
    const end = value.length - last.length;
    for (const part of between) {
      const found = value.indexOf(part, at);
      if (found === -1 || found + part.length > end) return false;
      at = found + part.length;
    }
    return true;
  };
}

/** A test for a list: fits one of those without "!" (when there are any) and none of those with it. */
export function compilePatterns(patterns: readonly string[]): (value: string) => boolean {
  const included = patterns.filter((pattern) => !pattern.startsWith('!')).map(compilePattern);
  const excluded = patterns.filter((pattern) => pattern.startsWith('!')).map((pattern) => compilePattern(pattern.slice(1)));
  return (value) => (included.length === 0 || included.some((fits) => fits(value))) && !excluded.some((fits) => fits(value));
}
