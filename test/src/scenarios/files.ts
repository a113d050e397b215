/** The scenario files of this folder, read. */
import { readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EXIT, OperationalFailure, nearest } from '@tidemark/service';
import { CONDITIONS } from './conditions/index.ts';
import { parseScenario } from './language/parse.ts';
import type { AnyScenario } from './run.ts';
import { VERBS } from './verbs/index.ts';

// From the sources and from the build alike.
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
export const CASES_DIRECTORY = join(ROOT, 'test/src/scenarios/cases');

/** All scenarios by the order of the design's list, then by name. Throws an OperationalFailure that lists every mistake of every file. */
export function readScenarios(directory = CASES_DIRECTORY): AnyScenario[] {
  const mistakes: string[] = [];
  const scenarios: AnyScenario[] = [];
  for (const name of readdirSync(directory).filter((file) => file.endsWith('.scenario'))) {
    const path = join(directory, name);
    try {
      scenarios.push(parseScenario(relative(ROOT, path), readFileSync(path, 'utf8'), { verbs: VERBS, conditions: CONDITIONS }));
    } catch (error) {
      mistakes.push((error as Error).message);
    }
  }
  if (mistakes.length > 0) throw new OperationalFailure(`The scenarios have mistakes:\n${mistakes.join('\n')}`, EXIT.configuration);
  const order = ({ numbers }: AnyScenario): number => numbers[0] ?? Number.MAX_SAFE_INTEGER;
  return scenarios.toSorted((a, b) => order(a) - order(b) || a.name.localeCompare(b.name));
}

/** Those that are meant by names, which may have `*`. Throws an OperationalFailure for a name that is none's. */
export function selectScenarios(scenarios: readonly AnyScenario[], names: readonly string[]): AnyScenario[] {
  for (const name of names) {
    if (scenarios.some((scenario) => fits(scenario.name, name))) continue;
    const known = scenarios.map((scenario) => scenario.name);
    const meant = nearest(name, known);
    throw new OperationalFailure(
      `There is no scenario ${JSON.stringify(name)}.${meant === undefined ? ` There are: ${known.join(', ')}.` : ` Did you mean ${JSON.stringify(meant)}?`}`,
      EXIT.usage,
    );
  }
  return scenarios.filter((scenario) => names.some((name) => fits(scenario.name, name)));
}

const fits = (name: string, pattern: string): boolean =>
  new RegExp(`^${pattern.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`).replaceAll('*', '.*')}$`).test(name);
