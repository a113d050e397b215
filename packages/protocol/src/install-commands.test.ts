/** The commands to paste, pasted: into a real shell, with a real certificate, and with what a name can hold. */
import { execFileSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { formatEnrolment } from './enrolment-string.ts';
import { installCommands, powershellWord, shellWord } from './install-commands.ts';

const NAMES = ['db1', 'web 1', "it's", '$(reboot)`reboot`', '"; rm -rf / #', 'a\\b', '🦫', '-n', '*', '', '’; Stop-Computer ‘'];

test.each(NAMES)('%s is one word for a shell', (name) => {
  expect(execFileSync('/bin/sh', ['-c', `printf '[%s]' ${shellWord(name)}`], { encoding: 'utf8' })).toBe(`[${name}]`);
});

test.each(NAMES)('%s is one literal for PowerShell', (name) => {
  // All of it between the outer quotes; each quote inside, of whatever kind, twice.
  const word = powershellWord(name);
  expect(word).toMatch(/^'([^'‘’‚‛]|''|‘‘|’’|‚‚|‛‛)*'$/);
  expect(word.slice(1, -1).replaceAll(/(['‘’‚‛])\1/g, '$1')).toBe(name);
});

const string = (fingerprint: string | undefined): string =>
  formatEnrolment({ token: 'tmen_0123456789012345678901234567890123456789012', fingerprint, url: 'https://watch.example/tidemark' });

test('without a token they are those that the documentation of every system shows, and ask for approval', () => {
  const { linux, windows } = installCommands('http://10.0.0.1:5000/', undefined, 'minusnow-db');
  expect(linux.split('\n')).toEqual([
    'curl -fsSo agent-install-linux.sh http://10.0.0.1:5000/documentation/downloads/agent-install-linux.sh &&',
    'chmod +x agent-install-linux.sh &&',
    'sudo ./agent-install-linux.sh --server http://10.0.0.1:5000 --hostname minusnow-db --interval 60',
  ]);
  expect(windows).toContain(
    "-Uri 'http://10.0.0.1:5000/documentation/downloads/agent-install-windows.ps1' -OutFile agent-install-windows.ps1",
  );
  expect(windows).toMatch(/-Server 'http:\/\/10\.0\.0\.1:5000' -HostName 'minusnow-db' -Interval 60\n}$/);
});

test('no command holds the token', () => {
  const { linux, windows } = installCommands('https://watch.example/tidemark', string('ab'.repeat(32)));
  expect(`${linux}${windows}`).not.toMatch(/tmen_|tme1\./);
});

describe('with an authority of the collector’s own', () => {
  /** Pastes the Linux commands where `curl` gives the certificate and says what it is asked. */
  function paste(
    fingerprintOf: (pem: string) => string,
    how: 'as an argument' | 'from the terminal' = 'as an argument',
  ): { asked: string[]; said: string; failed: boolean } {
    const directory = mkdtempSync(join(tmpdir(), 'tidemark-paste-'));
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
    const inside = (name: string): string => join(directory, name);
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-keyout',
        inside('key'),
        '-out',
        inside('ca.pem'),
        '-subj',
        '/CN=t',
      ],
      { stdio: 'ignore' },
    );
    const program = (name: string, body: string): void => {
      writeFileSync(inside(name), `#!/bin/sh\necho ${name} "$@" >> ${inside('asked')}\n${body}\n`);
      chmodSync(inside(name), 0o755);
    };
    program(
      'curl',
      `case "$*" in *ca.pem*documentation*ca.pem) cp ${inside('ca.pem')} tidemark-ca.pem ;; *) : > agent-install-linux.sh ;; esac`,
    );
    program('sudo', '');
    const { linux } = installCommands(
      'https://watch.example/tidemark',
      string(fingerprintOf(readFileSync(inside('ca.pem'), 'utf8'))),
      'db1',
    );
    let failed = false;
    let said = '';
    try {
      // bash reads a pipe as it reads a terminal: no further than it has understood.
      const [shell, argv, input] =
        how === 'as an argument' ? (['/bin/sh', ['-c', linux], 'tme1.x\n'] as const) : (['bash', ['-s'], `${linux}\ntme1.x\n`] as const);
      said = execFileSync(shell, argv, {
        encoding: 'utf8',
        cwd: directory,
        env: { PATH: `${directory}:/usr/bin:/bin` },
        input,
        stdio: ['pipe', 'pipe', 'ignore'],
      });
      expect(readFileSync(inside('enrolment-token'), 'utf8')).toBe('tme1.x\n');
      expect(statSync(inside('enrolment-token')).mode & 0o777).toBe(0o600);
    } catch (error) {
      if (!(error instanceof Error && 'status' in error)) throw error;
      failed = true;
      said = (error as { stdout?: string }).stdout ?? '';
    }
    return { asked: readFileSync(inside('asked'), 'utf8').trim().split('\n'), said, failed };
  }

  test('the script is fetched over a connection that the fingerprint vouches for', () => {
    const { asked, failed } = paste((pem) => createHash('sha256').update(new X509Certificate(pem).raw).digest('hex'));
    expect(failed).toBe(false);
    expect(asked).toEqual([
      'curl -fsSko tidemark-ca.pem https://watch.example/tidemark/documentation/downloads/ca.pem',
      'curl -fsSo agent-install-linux.sh --cacert tidemark-ca.pem https://watch.example/tidemark/documentation/downloads/agent-install-linux.sh',
      'sudo ./agent-install-linux.sh --server https://watch.example/tidemark --hostname db1 --interval 60 --token-file ./enrolment-token',
    ]);
  });

  test('pasted whole into a shell that reads its commands from the same terminal, the string is asked for and not a command is swallowed', () => {
    const { asked } = paste((pem) => createHash('sha256').update(new X509Certificate(pem).raw).digest('hex'), 'from the terminal');
    expect(asked).toHaveLength(3);
  });

  test('with another certificate nothing is fetched and nothing is run', () => {
    const { asked, said, failed } = paste(() => 'ab'.repeat(32));
    expect(failed).toBe(true);
    expect(said).toContain('This is not the collector that made the enrolment string.');
    expect(asked).toEqual(['curl -fsSko tidemark-ca.pem https://watch.example/tidemark/documentation/downloads/ca.pem']);
  });
});
