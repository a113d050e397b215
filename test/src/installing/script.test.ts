/**
 * The Linux scripts as text: clean for shellcheck, the same under every POSIX shell, harmless when cut off anywhere, and of one mind with
 * the rest of the project about exit codes. What they do to a machine is in install.test.ts and bad-days.test.ts.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EXIT } from '@tidemark/service';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { embedded, INSTALL, runIn, SHELL_NAMES, SHELLS, UNINSTALL } from './shells.ts';

const script = readFileSync(INSTALL, 'utf8');
const stubs = fileURLToPath(new URL('stubs/', import.meta.url));
const filled = script
  .replace('@TIDEMARK_URL@', 'http://127.0.0.1:9')
  .replace('@TIDEMARK_KEY@', `${'A'.repeat(43)}=`)
  .replace('@TIDEMARK_RUNTIMES@', `${'0'.repeat(64)} tidemark-runtime-22.0.0-linux-x64.tar.gz`)
  .replace('@TIDEMARK_FINGERPRINT@', '')
  .replace('@TIDEMARK_VERSION@', '0.1.0')
  .replace('@TIDEMARK_NODE@', '22.0.0');
const asUser = process.getuid?.() === 0 ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] : [];
let directory: string;
let path: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tidemark-script-'));
  chmodSync(directory, 0o755);
  path = `${join(directory, 'bin')}:/usr/sbin:/usr/bin:/sbin:/bin`;
  mkdirSync(join(directory, 'bin'));
  writeFileSync(join(directory, 'install.sh'), filled);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** A program that comes before the machine's own. */
function pretend(name: string, body: string): void {
  writeFileSync(join(directory, 'bin', name), `#!/bin/sh\n${body}\n`, { mode: 0o755 });
}
const noLongerPretend = (...names: string[]): void => names.forEach((name) => rmSync(join(directory, 'bin', name)));

describe('as text', () => {
  test('shellcheck has nothing to say, not even about what the script writes', () => {
    writeFileSync(join(directory, 'wrapper'), embedded('WRAPPER'));
    writeFileSync(join(directory, 'sysv'), embedded('SYSV'));
    const files = [
      INSTALL,
      UNINSTALL,
      join(directory, 'wrapper'),
      join(directory, 'sysv'),
      join(stubs, 'systemctl'),
      join(stubs, 'journalctl'),
    ];
    const { status, stdout } = spawnSync('shellcheck', files, { encoding: 'utf8' });
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
  });

  test.each(SHELL_NAMES)('%s parses everything', (shell) => {
    for (const file of [INSTALL, UNINSTALL]) execFileSync(SHELLS[shell][0], [...SHELLS[shell].slice(1), '-n', file]);
    for (const word of ['WRAPPER', 'SYSV', 'OPENRC'] as const)
      execFileSync(SHELLS[shell][0], [...SHELLS[shell].slice(1), '-n'], { input: embedded(word) });
  });

  test('exit codes are those of the programs, in the script and in its help', () => {
    const own = Object.fromEntries(
      [...script.matchAll(/^EXIT_([A-Z_]+)=(\d+)$/gm)].map(([, name, code]) => [
        name!.toLowerCase().replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
        Number(code),
      ]),
    );
    expect(Object.keys(own).length).toBeGreaterThan(15);
    expect(EXIT).toMatchObject(own);
    const help = embedded('HELP');
    const told = [...help.slice(help.indexOf('Exit codes:')).matchAll(/^ +(\d+) {2}/gm)].map((match) => Number(match[1]));
    expect(told).toEqual([...new Set([...Object.values(own), EXIT.failed])].toSorted((a, b) => a - b));
  });

  test('the reference page has the same codes', () => {
    const page = readFileSync(fileURLToPath(new URL('../../../docs/reference/installer.md', import.meta.url)), 'utf8');
    const rows = [...page.matchAll(/^\| (\d+) \|/gm)].map((match) => Number(match[1]));
    const wanted = [
      ...embedded('HELP')
        .split('Exit codes:')[1]!
        .matchAll(/^ +(\d+) {2}/gm),
    ].map((match) => Number(match[1]));
    expect(rows).toEqual(wanted);
  });

  test('both scripts remove the same', () => {
    const removal = (text: string): string => text.slice(text.indexOf('# >>> removal'), text.indexOf('# <<< removal'));
    expect(removal(script).length).toBeGreaterThan(1_000);
    expect(removal(readFileSync(UNINSTALL, 'utf8'))).toBe(removal(script));
  });

  test('placeholders stand alone in quotes, each once', () => {
    const found = [...script.matchAll(/@TIDEMARK_[A-Z]+@/g)].map(([name]) => name);
    expect(found.toSorted()).toEqual(['FINGERPRINT', 'KEY', 'NODE', 'RUNTIMES', 'URL', 'VERSION'].map((name) => `@TIDEMARK_${name}@`));
    for (const name of found) expect(script).toContain(`\n${name.slice(1, -1)}='${name}'\n`);
  });
});

describe.each(SHELL_NAMES)('under %s', (shell) => {
  const run = (...args: string[]): ReturnType<typeof runIn> => runIn(shell, { file: join(directory, 'install.sh') }, args, { PATH: path });

  test('help is said, from a file and from a pipe', () => {
    for (const said of [run('--help'), runIn(shell, { text: filled }, ['--help'], { PATH: path })]) {
      expect(said).toMatchObject({ code: 0, stderr: '' });
      expect(said.stdout).toBe(embedded('HELP'));
    }
  });

  test.each([
    [['--frobnicate'], "There is no option '--frobnicate'"],
    [['--server'], '--server needs a value'],
    [['--server', 'collector:5000'], 'write http://HOST:5000 or https://HOST'],
    [['--server=http://user:secret@collector'], 'can be read by every user'],
    [['--postgres', 'postgres://monitor:secret@localhost/postgres'], 'can be read by every user'],
    [['--postgres', 'localhost'], 'neither auto nor an address'],
    [['--hostname', 'x'.repeat(300)], 'has 300 characters, and 253 are the most'],
    [['--hostname', 'é'.repeat(254)], 'has 254 characters, and 253 are the most'],
    [['--hostname', 'a/b'], 'without a slash'],
    [['--interval', '0'], 'no number of seconds from 1 to 3600'],
    [['--interval', '1m'], 'no number of seconds'],
    [['--tag', 'role'], 'write KEY=VALUE'],
    [['--proxy', 'socks5://proxy:1080'], 'write http://HOST:PORT'],
    [['--purge'], '--uninstall --purge'],
    [['--update', '--site', 'berlin'], 'With --update nothing is changed'],
    [['--dry-run', '--version', '9.9.9'], 'has version 0.1.0 of the agent and no other'],
    [['--dry-run', '--token-file', '/nonexistent'], 'There is no file /nonexistent'],
    [['--dry-run', '--update'], 'no agent here to update'],
  ])('%j is refused, with what to do', (args, words) => {
    const said = run(...args);
    expect(said).toMatchObject({ code: EXIT.usage, stdout: '' });
    expect(said.stderr).toContain(words);
    expect(said.stderr.trim().split('\n')).toHaveLength(1);
  });

  test('the bare template says where the script is to be had', () => {
    const said = runIn(shell, { file: INSTALL }, ['--dry-run'], { PATH: path });
    expect(said).toMatchObject({ code: EXIT.usage, stdout: '' });
    expect(said.stderr).toContain('fetch the script from your collector');
  });

  test('an ordinary user is told to use sudo', () => {
    const [program, ...args] = [...asUser, ...SHELLS[shell], join(directory, 'install.sh')];
    const { status, stderr } = spawnSync(program, args, { env: { PATH: path }, encoding: 'utf8' });
    expect({ status, stderr }).toEqual({
      status: EXIT.noRights,
      stderr: 'agent-install-linux.sh: This needs root: put sudo before the command.\n',
    });
  });

  test.each([
    ['uname', 'case $1 in -m) echo riscv64 ;; *) echo Linux ;; esac', EXIT.unsupportedSystem, '(riscv64)'],
    ['uname', 'echo FreeBSD', EXIT.unsupportedSystem, 'this is FreeBSD'],
    ['getconf', 'case $1 in LONG_BIT) echo 32 ;; *) echo glibc 2.36 ;; esac', EXIT.unsupportedSystem, '32-bit system'],
    ['getconf', 'case $1 in LONG_BIT) echo 64 ;; *) echo glibc 2.17 ;; esac', EXIT.glibcTooOld, 'glibc 2.17, and the agent needs 2.28'],
    ['getconf', 'case $1 in LONG_BIT) echo 64 ;; *) echo glibc 2.27.9000 ;; esac', EXIT.glibcTooOld, 'glibc 2.27.9000'],
  ])('%s (%s): code %i', (name, body, code, words) => {
    pretend(name, body);
    const said = run('--dry-run');
    noLongerPretend(name);
    expect(said.code).toBe(code);
    expect(said.stderr).toContain(words);
  });

  test('a dry run says each step and needs no root', () => {
    pretend('systemctl', 'exit 1');
    const [program, ...args] = [
      ...asUser,
      ...SHELLS[shell],
      join(directory, 'install.sh'),
      '--dry-run',
      '--hostname',
      "o'brien's db",
      '--postgres=auto',
    ];
    const { status, stdout, stderr } = spawnSync(program, args, { env: { PATH: path }, encoding: 'utf8' });
    noLongerPretend('systemctl');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain(`--hostname 'o'\\''brien'\\''s db'`);
    expect(stdout).toContain('nothing is changed');
    expect(stdout).toContain('Ask to join: someone has to approve this node');
  });

  test('cut off anywhere it runs nothing', () => {
    const mark = join(directory, `ran-${shell}`);
    const traps = join(directory, `traps-${shell}`);
    mkdirSync(traps, { recursive: true });
    const programs = [...new Set([...script.matchAll(/\b[a-z][a-z0-9-]{1,20}\b/g)].map(([word]) => word))].filter(
      (word) => existsSync(`/usr/bin/${word}`) || existsSync(`/usr/sbin/${word}`) || /^(systemctl|curl|wget|xz|semanage)$/.test(word),
    );
    expect(programs).toEqual(expect.arrayContaining(['rm', 'mkdir', 'id', 'sed', 'uname', 'useradd']));
    for (const name of programs) writeFileSync(join(traps, name), `#!/bin/sh\necho "$0 $*" >>${mark}\n`, { mode: 0o755 });
    const whole = filled.trimEnd().length;
    const lines = [...filled.matchAll(/\n/g)].map((match) => match.index + 1);
    const cuts = [
      ...lines.filter((cut, i) => cut < whole && (i < 20 || i % 19 === 0)),
      ...Array.from({ length: 60 }, (_, i) => whole - 1 - i),
    ];
    // The shell itself is outside of the path.
    const shellPath = execFileSync('which', [SHELLS[shell][0]], { encoding: 'utf8' }).trim();
    for (const cut of cuts) {
      const { stdout } = spawnSync(shellPath, [...SHELLS[shell].slice(1), '-s', '--', '--uninstall', '--purge'], {
        env: { PATH: traps },
        input: filled.slice(0, cut),
        encoding: 'utf8',
      });
      expect({ cut, stdout, ran: existsSync(mark) ? readFileSync(mark, 'utf8') : '' }).toEqual({ cut, stdout: '', ran: '' });
    }
    // The traps do work.
    spawnSync(shellPath, [...SHELLS[shell].slice(1), '-s', '--', '--uninstall', '--purge'], { env: { PATH: traps }, input: filled });
    expect(readFileSync(mark, 'utf8')).toContain('/id ');
    rmSync(mark);
  });
});
