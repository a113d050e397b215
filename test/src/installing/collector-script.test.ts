/**
 * The collector's installer and its unit as text: clean for shellcheck, the same under every POSIX shell, harmless when cut off anywhere,
 * of one mind with the programs about exit codes, and a unit that systemd takes and finds well shut in.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EXIT } from '@tidemark/service';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SHELLS, SHELL_NAMES, runIn } from './shells.ts';

const installers = fileURLToPath(new URL('../../../installers/linux/', import.meta.url));
const stubs = fileURLToPath(new URL('stubs/collector/', import.meta.url));
const INSTALL = join(installers, 'collector-install-linux.sh');
const UNIT = join(installers, 'tidemark-collector.service');
const script = readFileSync(INSTALL, 'utf8');
const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };
let directory: string;

beforeAll(() => void (directory = mkdtempSync(join(tmpdir(), 'tidemark-collector-script-'))));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe('the script', () => {
  test('shellcheck has nothing to say', () => {
    const { status, stdout } = spawnSync('shellcheck', [INSTALL, join(stubs, 'systemctl'), join(stubs, 'journalctl')], {
      encoding: 'utf8',
    });
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
  });

  test.each(SHELL_NAMES)('%s parses it and says the same', (shell) => {
    execFileSync(SHELLS[shell][0], [...SHELLS[shell].slice(1), '-n', INSTALL]);
    const help = runIn(shell, { file: INSTALL }, ['--help'], ENVIRONMENT);
    expect(help).toMatchObject({ code: EXIT.ok, stderr: '' });
    expect(help.stdout).toBe(script.slice(script.indexOf("<<'HELP'\n") + 9, script.indexOf('\nHELP\n') + 1));
    for (const [args, sentence] of [
      [['--lisen', 'x'], "There is no option '--lisen'."],
      [['--listen'], '--listen needs a value.'],
      [['--listen='], '--listen needs a value.'],
      [['--purge'], '--uninstall --purge; --purge alone does nothing.'],
      [['--update', '--listen', '1'], 'With --update nothing is changed but the version.'],
      [['--uninstall', '--listen', '1'], 'Options cannot be changed while you uninstall.'],
      [['--wait', 'long'], "--wait 'long' is no number of seconds."],
      [['--backup-dir', 'here'], "--backup-dir 'here' must be a whole path"],
      [['--tls-key', 'key.pem'], "--tls-key 'key.pem' must be a whole path"],
    ] as const) {
      const said = runIn(shell, { file: INSTALL }, args, ENVIRONMENT);
      expect(said, args.join(' ')).toMatchObject({ code: EXIT.usage, stdout: '' });
      expect(said.stderr).toContain(sentence);
    }
  });

  test('cut off anywhere, it does nothing at all', () => {
    // Each line's end, and the middle of the last: what a broken download leaves.
    const ends = [...script.matchAll(/\n/g)].map(({ index }) => index).filter((_, i) => i % 29 === 0);
    for (const end of [...ends, script.length - 2, script.length - 5, script.lastIndexOf('main "$@"')]) {
      const { stdout } = runIn('dash', { text: script.slice(0, end) }, ['--help'], ENVIRONMENT);
      expect(stdout, `cut at ${end}`).toBe('');
    }
  });

  test('its exit codes are those of the programs, in the script and in its help', () => {
    const camel = (name: string): string => name.toLowerCase().replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    const own = [...script.matchAll(/^EXIT_([A-Z_]+)=(\d+)$/gm)].map(([, name, code]) => [camel(name!), Number(code)] as const);
    expect(own.length).toBeGreaterThan(8);
    expect(own).toEqual(own.map(([name]) => [name, EXIT[name as keyof typeof EXIT]]));
    const help = script.slice(script.indexOf('Exit codes:'), script.indexOf('\nHELP\n'));
    const told = [...help.matchAll(/^ +(\d+) {2}/gm)].map(([, code]) => Number(code));
    expect(told).toEqual(expect.arrayContaining([...own.map(([, code]) => code), EXIT.portInUse, EXIT.configuration]));
  });
});

describe('the unit', () => {
  const unit = readFileSync(UNIT, 'utf8');

  test('systemd takes it, and finds it shut in: 2.5 at most', () => {
    // The program is not on this machine, nor is its user.
    const runnable = unit.replace('/opt/tidemark-collector/current/bin/tidemark-collector', '/bin/true');
    const file = join(directory, 'tidemark-collector.service');
    writeFileSync(file, runnable);
    const verified = spawnSync('systemd-analyze', ['verify', file], { encoding: 'utf8' });
    const complaints = verified.stderr.split('\n').filter((line) => line.includes('tidemark-collector'));
    expect({ status: verified.status, complaints }).toEqual({ status: 0, complaints: [] });
    const { stdout, status } = spawnSync('systemd-analyze', ['security', '--offline=true', '--threshold=25', file], { encoding: 'utf8' });
    const level = Number(/Overall exposure level for .*: ([0-9.]+)/.exec(stdout)?.[1]);
    process.stdout.write(`systemd-analyze security: ${level}\n`);
    expect(status).toBe(0);
    expect(level).toBeGreaterThan(0);
    expect(level).toBeLessThanOrEqual(2.5);
  });

  test('it starts again for ever, stops in order, and says what it gives up', () => {
    expect(unit).toMatch(/^Restart=always$/m);
    expect(unit).toMatch(/^StartLimitIntervalSec=0$/m);
    expect(unit).toMatch(/^KillMode=mixed$/m);
    expect(unit).toMatch(/^StateDirectory=tidemark\/collector$/m);
    expect(unit).toMatch(/^# - MemoryDenyWriteExecute: /m);
    expect(unit, 'no secret in what everybody may read').not.toMatch(/postgres(ql)?:\/\/|TOKEN|PASSWORD/);
  });
});
