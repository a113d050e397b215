/** `tidemark-agent configure`: puts options into the configuration file, and leaves everything else in it as it was written. */
import { realpathSync } from 'node:fs';
import { EXIT, loadOptions, OperationalFailure, type OptionChange } from '@tidemark/service';
import { agentConfig, AGENT_OPTIONS, defaultConfigFile, type Surroundings } from '../config.ts';
import { forgetMove } from '../enrolment/moved.ts';
import { changeConfig } from './config-file.ts';
import { printable } from './wording.ts';

export interface ConfigureFlags {
  readonly config?: string | undefined;
  readonly json?: boolean | undefined;
  readonly unset?: readonly string[] | undefined;
  readonly [option: string]: unknown;
}

/** Returns what to print. Throws an OperationalFailure with every mistake; nothing is written then. */
export function configure({ config, json, unset = [], ...flags }: ConfigureFlags, surroundings: Surroundings): string {
  const file = resolved(config ?? surroundings.environment['TIDEMARK_CONFIG'] ?? defaultConfigFile(surroundings));
  const unknown = unset.find((key) => !Object.hasOwn(AGENT_OPTIONS, key));
  if (unknown !== undefined)
    throw new OperationalFailure(
      `--unset ${unknown}: there is no such option; it is named as in the file, for example caFile.`,
      EXIT.usage,
    );
  const changed = changeConfig({ file, flags, unset });
  // Whoever names the collector means that one, wherever an earlier one sent the agent.
  if (flags['server'] !== undefined) forgetMove(dataDirOf(file, surroundings));
  return json === true ? `${JSON.stringify({ file, changed: changed.map(asJson) })}\n` : page(file, changed);
}

function dataDirOf(config: string, surroundings: Surroundings): string {
  const { values } = loadOptions('tidemark-agent', AGENT_OPTIONS, { flags: { config }, environment: {} });
  return agentConfig(values, surroundings).dataDir;
}

/** A link stays a link: what it leads to is changed. */
function resolved(file: string): string {
  try {
    return realpathSync(file);
  } catch {
    return file;
  }
}

const asJson = ({ option, before, after }: OptionChange): object => ({ option, before: before ?? null, after: after ?? null });

function page(file: string, changed: readonly OptionChange[]): string {
  if (changed.length === 0) return `${file} says all that already.\n`;
  const lines = changed.map(({ option, before, after }) => {
    if (after === undefined) return `  ${option} is taken out (it was ${shown(before)})`;
    return before === undefined || before === null
      ? `  ${option}: ${shown(after)}`
      : `  ${option}: ${shown(after)} (it was ${shown(before)})`;
  });
  return `${file}:\n${lines.join('\n')}\n`;
}

/** A URL in a file may have a password in it. */
function shown(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return printable(text).replace(/(:\/\/[^:/@"]*):[^@"]*@/g, '$1:***@');
}
