/** check-replication-status.sh under every shell it may meet: it finds the agent, hands over what it was given, and ends as the agent does. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { fillTemplate } from './templates.ts';
import { temporary } from './testing.ts';

const TEMPLATE = readFileSync(fileURLToPath(new URL('../../../installers/linux/check-replication-status.sh', import.meta.url)), 'utf8');
const INSTALLED = '/opt/tidemark-agent/bin/tidemark-agent';
const SHELLS = [['dash'], ['bash', '--posix'], ['busybox', 'sh']];

interface Run {
  code: number | null;
  out: string;
  err: string;
}

/** An agent that tells what it was given and ends with `code`; the script believes that it is installed at `installed`. */
function prepare(): {
  script: string;
  onPath: (code: number) => string;
  install: (code: number) => void;
  run: (shell: string[], path: string, ...args: string[]) => Run;
} {
  const directory = temporary();
  const installed = join(directory, 'opt with space', 'tidemark-agent');
  const script = join(directory, 'check-replication-status.sh');
  expect(TEMPLATE.split(INSTALLED).length).toBe(2);
  writeFileSync(
    script,
    fillTemplate(TEMPLATE.replace(`INSTALLED=${INSTALLED}`, `INSTALLED='${installed}'`), () => 'http://watch.example:5000'),
  );
  const agent = (file: string, which: string, code: number): void => {
    writeFileSync(file, `#!/bin/sh\nprintf '%s ' "${which}"\nprintf '[%s]' "$@"\nexit ${code}\n`);
    chmodSync(file, 0o755);
  };
  mkdirSync(join(directory, 'bin'));
  mkdirSync(join(directory, 'opt with space'));
  return {
    script,
    install: (code) => agent(installed, 'installed', code),
    onPath: (code) => {
      agent(join(directory, 'bin/tidemark-agent'), 'path', code);
      return join(directory, 'bin');
    },
    run: ([shell, ...flags], path, ...args) => {
      const { status, stdout, stderr } = spawnSync(shell!, [...flags, script, ...args], {
        encoding: 'utf8',
        env: { PATH: `${path}:/usr/bin:/bin` },
      });
      return { code: status, out: stdout, err: stderr };
    },
  };
}

describe.each(SHELLS)('%s %s', (...shell) => {
  const words = shell.filter((word) => word !== undefined);

  test.each(['primary', 'master', 'replica', 'standby'])('hands %s over, with everything else that was given', (role) => {
    const { onPath, run } = prepare();
    const bin = onPath(2);
    expect(run(words, bin, role, '--url', 'postgresql://a b@/x?host=/run', '--format', 'json')).toEqual({
      code: 2,
      out: `path [check][replication][${role}][--format][status][--url][postgresql://a b@/x?host=/run][--format][json]`,
      err: '',
    });
  });

  test('asks the installed agent before any other', () => {
    const { install, onPath, run } = prepare();
    install(1);
    expect(run(words, onPath(0), 'replica')).toMatchObject({ code: 1, out: 'installed [check][replication][replica][--format][status]' });
  });

  test('says where the agent is to be had when there is none', () => {
    const { run, script } = prepare();
    const { code, out, err } = run(words, '/nonexistent', 'master');
    expect([code, out]).toEqual([3, '']);
    expect(err).toMatch(
      /^check-replication-status\.sh: the Tidemark agent is not installed here .*: see http:\/\/watch\.example:5000\/documentation\/downloads\/\n$/,
    );
    writeFileSync(script, TEMPLATE);
    expect(run(words, '/nonexistent', 'master').err).toMatch(/its collector has it at \/documentation\/downloads\/\n$/);
  });

  test('wants to know what the server should be', () => {
    const { onPath, run } = prepare();
    const bin = onPath(0);
    const none = run(words, bin);
    expect([none.code, none.out]).toEqual([3, '']);
    expect(none.err).toMatch(/^Usage: /);
    expect(run(words, bin, 'slave')).toEqual({
      code: 3,
      out: '',
      err: 'check-replication-status.sh: say primary, master or replica first, not "slave" (see --help).\n',
    });
    const help = run(words, bin, '--help');
    expect([help.code, help.err]).toEqual([0, '']);
    expect(help.out).toMatch(/^Usage: check-replication-status\.sh primary\|master\|replica/);
  });

  test('does nothing when it was cut off', () => {
    const { onPath, run, script } = prepare();
    const bin = onPath(0);
    const whole = readFileSync(script, 'utf8');
    const lines = whole.split('\n');
    for (let count = 1; count < lines.length - 1; count += 1) {
      writeFileSync(script, lines.slice(0, count).join('\n'));
      expect(run(words, bin, 'master').out, `after line ${count}`).toBe('');
    }
  });
});

test('shellcheck has nothing to say', () => {
  const { status, stdout } = spawnSync(
    'shellcheck',
    ['-s', 'sh', fileURLToPath(new URL('../../../installers/linux/check-replication-status.sh', import.meta.url))],
    { encoding: 'utf8' },
  );
  expect([status, stdout]).toEqual([0, '']);
});
