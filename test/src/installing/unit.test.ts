/**
 * The systemd unit: systemd itself has nothing against it, finds it hardened enough, and the agent does all of its work under the
 * system call filter and the address families that it is left with. The restrictions are read from the unit, so they cannot drift.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { embedded } from './shells.ts';

const isRoot = process.getuid?.() === 0;
const unit = embedded('UNIT');
const agent = fileURLToPath(new URL('../../../installers/dist/tidemark-agent.cjs', import.meta.url));
const confine = fileURLToPath(new URL('stubs/confine.py', import.meta.url));
/** All values of a setting, in order. */
const values = (name: string): string[] => [...unit.matchAll(new RegExp(`^${name}=(.*)$`, 'gm'))].map((match) => match[1]!);
let directory: string;
let file: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tidemark-unit-'));
  chmodSync(directory, 0o755);
  file = join(directory, 'tidemark-agent.service');
  writeFileSync(file, unit);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

test('systemd-analyze security finds no more than 2.5', () => {
  const { stdout } = spawnSync('systemd-analyze', ['security', '--offline=true', '--threshold=25', '--no-pager', file], {
    encoding: 'utf8',
  });
  const [, exposure] = /Overall exposure level for \S+: ([0-9.]+)/.exec(stdout) ?? [];
  process.stdout.write(`systemd-analyze security: ${exposure}\n`);
  expect(Number(exposure)).toBeGreaterThan(0);
  expect(Number(exposure)).toBeLessThanOrEqual(2.5);
});

test.skipIf(!isRoot)('systemd-analyze verify has nothing to say', () => {
  // The command has to be there to be run: in a mount namespace of its own it is.
  const script =
    'mount -t tmpfs none /opt && mkdir -p /opt/tidemark-agent/bin && ln -s /bin/true /opt/tidemark-agent/bin/tidemark-agent && exec systemd-analyze verify "$1"';
  const { status, stdout, stderr } = spawnSync('unshare', ['--mount', 'sh', '-c', script, 'sh', file], { encoding: 'utf8' });
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' });
});

test('whatever is given up says why', () => {
  const lines = unit.split('\n');
  const givenUp = lines.flatMap((line, i) =>
    /^(Protect\w+|Private\w+|ProcSubset|MemoryDenyWriteExecute)=(no|all|default|read-only)$/.test(line) ? [i] : [],
  );
  expect(givenUp.length).toBeGreaterThanOrEqual(6);
  const silent = givenUp.filter((i) => {
    let above = i - 1;
    // Two settings may share a reason.
    while (/^(Protect|Private|Proc)\w*=/.test(lines[above]!)) above -= 1;
    return !lines[above]!.startsWith('#');
  });
  expect(silent.map((i) => lines[i])).toEqual([]);
});

/** One report, as JSON: by probe, whether it worked, and what else it says. */
function collect(prefix: readonly string[]): { failed: string[]; hasAddresses: boolean; metrics: number } {
  const [program, ...args] = [
    ...prefix,
    process.execPath,
    '--no-opt',
    agent,
    'collect',
    '--json',
    '--config',
    join(directory, 'agent.yaml'),
  ];
  writeFileSync(join(directory, 'agent.yaml'), 'postgres: []\n', { mode: 0o644 });
  const text = execFileSync(program, args, {
    encoding: 'utf8',
    maxBuffer: 32 * 1024 * 1024,
    env: { PATH: process.env['PATH'], HOME: directory },
  });
  const report = JSON.parse(text) as {
    series: { metric: string; labels: Record<string, string>; value: unknown }[];
    observations: { kind: string; document: { addresses?: unknown[] } }[];
  };
  return {
    failed: report.series
      .filter(({ metric, value }) => metric === 'tidemark_probe_success' && value !== 1)
      .map(({ labels }) => labels['probe']!),
    hasAddresses: (report.observations.find(({ kind }) => kind === 'inventory')?.document.addresses?.length ?? 0) > 0,
    metrics: new Set(report.series.map(({ metric }) => metric)).size,
  };
}

test.skipIf(!isRoot)('under the filter of the unit the agent measures what it measures without', () => {
  // What systemd makes of @sets, from systemd itself.
  const expand = (set: string): string[] =>
    set.startsWith('@')
      ? execFileSync('systemd-analyze', ['syscall-filter', set], { encoding: 'utf8' })
          .split('\n')
          .map((line) => line.trim())
          .filter((line) => /^@?[a-z_0-9-]+$/.test(line) && line !== set)
          .flatMap(expand)
      : [set];
  const allowed = new Set<string>();
  for (const rule of values('SystemCallFilter'))
    for (const set of rule.replace('~', '').split(' '))
      for (const call of expand(set)) {
        if (rule.startsWith('~')) allowed.delete(call);
        else allowed.add(call);
      }
  expect(allowed.size).toBeGreaterThan(150);
  expect(allowed.has('mount')).toBe(false);
  expect(allowed.has('setuid')).toBe(false);
  mkdirSync(join(directory, 'home'), { recursive: true });
  writeFileSync(
    join(directory, 'rules.json'),
    JSON.stringify({ allowed: [...allowed], families: values('RestrictAddressFamilies')[0]!.split(' ') }),
  );
  const user = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--no-new-privs', '--bounding-set=-all', '--inh-caps=-all'];
  const confined = [...user, '/usr/bin/python3', confine, join(directory, 'rules.json')];
  // The filter is real: what the unit forbids fails.
  const forbidden = spawnSync(
    confined[0]!,
    [...confined.slice(1), '/usr/bin/python3', '-c', 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'],
    { encoding: 'utf8' },
  );
  expect(forbidden.status).toBe(1);
  expect(forbidden.stderr).toContain('Address family not supported');
  const free = collect(user);
  const bound = collect(confined);
  expect(free).toMatchObject({ failed: [], hasAddresses: true });
  expect(bound).toEqual(free);
  expect(free.metrics).toBeGreaterThan(30);
});
