/**
 * The scripts that are downloaded: templates of this installation with what only the collector knows written in. A value goes in
 * only when it is plainly safe between the quotes of any shell, for whoever runs the script runs it as root.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ProblemError } from '@tidemark/protocol';
import { codeOf, sentenceOf } from '@tidemark/service';
import { isPlainAddress } from './address.ts';
import { VERSION } from './bundle.ts';

/** What a script is called, where its template lies below the installers' directory, and what it is for. */
export const SCRIPTS = [
  { name: 'agent-install-linux.sh', template: 'linux/agent-install-linux.sh', what: 'installs or upgrades the agent on Linux' },
  { name: 'agent-install-windows.ps1', template: 'windows/agent-install-windows.ps1', what: 'installs or upgrades the agent on Windows' },
  { name: 'agent-uninstall-linux.sh', template: 'linux/agent-uninstall-linux.sh', what: 'removes the agent from Linux' },
  { name: 'agent-uninstall-windows.ps1', template: 'windows/agent-uninstall-windows.ps1', what: 'removes the agent from Windows' },
  {
    name: 'check-replication-status.sh',
    template: 'linux/check-replication-status.sh',
    what: 'how replication stands, asked of a server itself',
  },
] as const;
export type Script = (typeof SCRIPTS)[number];

const RUNTIME_ROW = '[0-9a-f]{64} [A-Za-z0-9][A-Za-z0-9._-]*';
const VALUES = {
  URL: isPlainAddress,
  KEY: (text: string) => /^[A-Za-z0-9+/]{43}=$/.test(text),
  RUNTIMES: (text: string) => new RegExp(`^${RUNTIME_ROW}(?:;${RUNTIME_ROW})*$`).test(text),
  FINGERPRINT: (text: string) => /^(?:[0-9a-f]{64})?$/.test(text),
  VERSION: (text: string) => VERSION.test(text),
  NODE: (text: string) => VERSION.test(text),
} as const satisfies Record<string, (text: string) => boolean>;
export type Placeholder = keyof typeof VALUES;
/** What is known from the bundle alone. */
const OF_THE_BUNDLE: readonly Placeholder[] = ['RUNTIMES', 'VERSION', 'NODE'];

const PLACEHOLDER = /@TIDEMARK_([A-Z_]+)@/g;
const isPlaceholder = (name: string): name is Placeholder => Object.hasOwn(VALUES, name);

/** The template's text; undefined when this installation has none. */
export async function readTemplate(installersDir: string, script: Script): Promise<string | undefined> {
  try {
    return await readFile(join(installersDir, script.template), 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined;
    throw new ProblemError('downloads_unavailable', `The template of ${script.name} cannot be read: ${sentenceOf(error)}.`, {
      cause: error,
    });
  }
}

/** Whether a template can be filled in only when the bundle is there. */
export function needsBundle(template: string): boolean {
  return OF_THE_BUNDLE.some((name) => template.includes(`@TIDEMARK_${name}@`));
}

/** Writes the values in. Throws when a template wants something unknown, or a value is not plainly safe: nothing is ever escaped. */
export function fillTemplate(template: string, valueOf: (name: Placeholder) => string): string {
  return template.replace(PLACEHOLDER, (whole, name: string) => {
    if (!isPlaceholder(name))
      throw new ProblemError('downloads_unavailable', `A template of this installation wants ${whole}, which nobody knows.`);
    const value = valueOf(name);
    if (!VALUES[name](value))
      throw new ProblemError('downloads_unavailable', `What belongs in place of ${whole} cannot safely be written into a script.`);
    return value;
  });
}

/** What is answered in place of a POSIX script that cannot be had yet: saved and run by habit, it says so and does nothing. */
export function excuse(sentence: string, exitCode: number): string {
  const plain = sentence.replace(/[^\w .,:;()%/~[\]-]/g, ' ');
  return `#!/bin/sh\n# This is not the script yet.\nprintf '%s\\n' '${plain}' >&2\nexit ${exitCode}\n`;
}
