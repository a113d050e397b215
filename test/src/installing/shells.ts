/** The installer's files, and the shells that they have to run under. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const installers = fileURLToPath(new URL('../../../installers/linux/', import.meta.url));
export const INSTALL = `${installers}agent-install-linux.sh`;
export const UNINSTALL = `${installers}agent-uninstall-linux.sh`;
export const SHELLS = { dash: ['dash'], bash: ['bash', '--posix'], busybox: ['busybox', 'sh'] } as const;
export type Shell = keyof typeof SHELLS;
export const SHELL_NAMES = Object.keys(SHELLS) as Shell[];

/** A file of the installer's that stands in it as a here-document: the unit, the wrapper, the init scripts. */
export function embedded(word: 'UNIT' | 'WRAPPER' | 'OPENRC' | 'SYSV' | 'HELP'): string {
  const text = readFileSync(INSTALL, 'utf8');
  const from = text.indexOf(`cat <<'${word}'\n`);
  const to = text.indexOf(`\n${word}\n`, from);
  if (from < 0 || to < 0) throw new Error(`the installer has no ${word}`);
  return text.slice(from + `cat <<'${word}'\n`.length, to + 1);
}

export interface Said {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a script, or its text from standard input, in a shell. */
export function runIn(
  shell: Shell,
  script: { file: string } | { text: string },
  args: readonly string[],
  env: Record<string, string>,
): Said {
  const [program, ...first] = SHELLS[shell];
  const [input, middle] = 'text' in script ? [script.text, ['-s', '--']] : ['', [script.file]];
  const { status, stdout, stderr } = spawnSync(program, [...first, ...middle, ...args], { env, input, encoding: 'utf8', timeout: 30_000 });
  return { code: status, stdout, stderr };
}
