/** Enrolment from the command line, against a running collector: tokens made, listed and ended; machines that ask shown, approved and denied. */
import { execFileSync } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { machineCode, parseEnrolment, type EnrollAnswer, type Problem } from '@tidemark/protocol';
import { describe, expect, test } from 'vitest';
import { createTestDatabase } from '../db/testing.ts';
import { Machine } from '../fleet/enrolment-testing.ts';
import { commandLine, startTestCollector, temporaryDirectory, urlOf, type CommandResult, type TestCollector } from '../testing.ts';

interface World extends TestCollector {
  dataDir: string;
  run: (...argv: string[]) => Promise<CommandResult>;
  enroll: (machine: Machine, name: string, token?: string) => Promise<EnrollAnswer & Problem>;
  /** What a report hears: the problem's code, or nothing. */
  report: (machine: Machine) => Promise<string | undefined>;
}

async function world(options: { publicUrl?: string } = {}): Promise<World> {
  const { address, database } = await createTestDatabase();
  await database.close();
  const dataDir = temporaryDirectory();
  const collector = await startTestCollector({ dataDir, databaseUrl: urlOf(address), ...options });
  const post = async (path: string, body: object, secret?: string): Promise<unknown> => {
    const headers = { 'content-type': 'application/json', ...(secret === undefined ? {} : { authorization: `Bearer ${secret}` }) };
    return (await fetch(`${collector.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })).json();
  };
  return {
    ...collector,
    dataDir,
    run: (...argv) => commandLine([...argv, '--server', collector.url, '--data-dir', dataDir]),
    enroll: async (machine, name, token) =>
      (await post('/api/telemetry/v1/enroll', machine.request(name, token === undefined ? {} : { token }))) as EnrollAnswer & Problem,
    report: async (machine) => {
      const now = Date.now();
      const body = {
        agent: { version: '1.0.0', intervalSeconds: 60 },
        bootId: '00000000-0000-4000-8000-000000000000',
        sentAt: now,
        sentMonotonicMs: 0,
        reports: [],
      };
      return ((await post('/api/telemetry/v1/reports', body, machine.secret)) as Partial<Problem>).code;
    },
  };
}

describe('enroll', () => {
  test('prints the string alone, and beside it the commands for both systems; a machine gets in with it', async () => {
    const { run, enroll, url, report } = await world();
    const made = await run('enroll', '--site', 'hamburg', '--tag', 'role=db');
    expect(made.code).toBe(0);
    const address = url.replace('127.0.0.1', 'collector.example');
    expect(made.out.trim().split('\n')).toHaveLength(1);
    const parsed = parseEnrolment(made.out)!;
    expect(parsed).toEqual({ token: expect.stringMatching(/^tmen_[\w-]{43}$/) as string, fingerprint: undefined, url: address });
    expect(made.err, 'the token goes where it was asked for, and nowhere else').not.toContain(parsed.token);
    expect(made.err).toContain(`curl -fsSo agent-install-linux.sh ${address}/documentation/downloads/agent-install-linux.sh`);
    expect(made.err).toContain(
      `sudo ./agent-install-linux.sh --server ${address} --hostname "$(hostname)" --interval 60 --token-file ./enrolment-token`,
    );
    expect(made.err, 'it is a guess, and said to be one').toContain('--url URL');
    expect(made.err).toContain(`-Server '${address}' -HostName $env:COMPUTERNAME -Interval 60 -TokenFile `);
    const machine = new Machine();
    expect(await enroll(machine, 'db1', parsed.token)).toMatchObject({ state: 'approved', node: { name: 'db1', site: 'hamburg' } });
    expect(await report(machine)).toBeUndefined();
    expect((await run('enroll', 'list')).out).toMatch(
      /^ID +STATE +USED +EXPIRES +SITE +TAGS\n1 +used-up +1 of 1 +\S+ +hamburg +role=db\n$/,
    );
  });

  test('a token for a fleet, with an address of its own, as JSON; listed, revoked', async () => {
    const { run, enroll } = await world({ publicUrl: 'https://watch.example/tidemark/' });
    const { enrollment, string, commands } = JSON.parse(
      (await run('enroll', '--uses', '40', '--ttl', '7d', '--url', 'http://10.0.0.1:5000', '--json')).out,
    ) as { enrollment: { id: number; uses: number; createdAt: string; expiresAt: string }; string: string; commands: { linux: string } };
    expect(enrollment).toMatchObject({ id: 1, uses: 40 });
    expect(Date.parse(enrollment.expiresAt) - Date.parse(enrollment.createdAt)).toBe(7 * 86_400_000);
    expect([parseEnrolment(string)?.url, commands.linux]).toEqual([
      'http://10.0.0.1:5000',
      expect.stringContaining('--server http://10.0.0.1:5000 ') as string,
    ]);
    expect(parseEnrolment((await run('enroll')).out)?.url, 'the public one').toBe('https://watch.example/tidemark');
    const listed = JSON.parse((await run('enroll', 'list', '--json')).out) as { enrollments: object[] };
    expect(listed.enrollments).toMatchObject([{ id: 2 }, { id: 1, state: 'open' }]);
    expect(JSON.stringify(listed)).not.toContain(parseEnrolment(string)!.token);
    expect(await run('enroll', 'revoke', '1')).toEqual({ code: 0, out: '', err: 'The enrolment token 1 is worth nothing from now on.\n' });
    expect((await enroll(new Machine(), 'n', parseEnrolment(string)!.token)).code).toBe('enrollment_token_revoked');
    expect(await run('enroll', 'revoke', '9')).toMatchObject({ code: 1, err: expect.stringContaining('[enrollment_unknown]') as string });
    expect((await run('enroll', '--url', 'http://10.0.0.1:5000')).err).not.toContain('--url URL');
  });

  test.each([
    ['--ttl', 'soon'],
    ['--ttl', '10s'],
    ['--ttl', '2000d'],
    ['--uses', '0'],
    ['--uses', '1e3'],
    ['--tag', 'role'],
  ])('%s %s is refused with a sentence', async (...flags) => {
    const { code, out, err } = await commandLine(['enroll', ...flags, '--server', 'http://127.0.0.1:1', '--data-dir', '/nonexistent']);
    expect([code, out, err.trim().split('\n').length]).toEqual([2, '', 1]);
  });

  test.each(['collector:5000', 'ftp://collector', 'http://a b', 'http://user:pw@collector', 'https://collector/?a=b'])(
    'an address like %s goes into no string',
    async (url) => {
      const { run } = await world();
      expect(await run('enroll', '--url', url)).toMatchObject({
        code: 1,
        out: '',
        err: expect.stringContaining('is not an address that an agent could use') as string,
      });
      expect((await run('enroll', 'list')).out).toBe('');
    },
  );

  test('what it prints for Linux is read by a shell as it was meant, and leaves the token to its owner', async () => {
    const directory = temporaryDirectory();
    const { run } = await world();
    const { commands, string } = JSON.parse((await run('enroll', '--url', 'http://10.0.0.1:5000/tide~mark', '--json')).out) as {
      commands: { linux: string };
      string: string;
    };
    writeFileSync(join(directory, 'agent-install-linux.sh'), '');
    const recorder = `for argument in "$@"; do printf '[%s]' "$argument"; done; echo`;
    execFileSync(
      '/bin/sh',
      ['-c', `mkdir bin; for name in curl sudo hostname; do printf '#!/bin/sh\\n%s\\n' "$RECORDER" > bin/$name; chmod +x bin/$name; done`],
      {
        cwd: directory,
        env: { PATH: '/usr/bin:/bin', RECORDER: recorder },
      },
    );
    const said = execFileSync('/bin/sh', ['-c', commands.linux], {
      cwd: directory,
      env: { PATH: `${directory}/bin:/usr/bin:/bin` },
      input: `${string}\n`,
      encoding: 'utf8',
    });
    expect(said.split('\n')).toEqual([
      'Enrolment string: [-fsSo][agent-install-linux.sh][http://10.0.0.1:5000/tide~mark/documentation/downloads/agent-install-linux.sh]',
      '[./agent-install-linux.sh][--server][http://10.0.0.1:5000/tide~mark][--hostname][][--interval][60][--token-file][./enrolment-token]',
      '',
    ]);
    expect(readFileSync(join(directory, 'enrolment-token'), 'utf8')).toBe(`${string}\n`);
    expect(statSync(join(directory, 'enrolment-token')).mode & 0o777).toBe(0o600);
  });
});

describe('nodes', () => {
  test('list shows who asks, with the exact commands; approve says what was approved', async () => {
    const { run, enroll, report } = await world({ publicUrl: 'https://watch.example/tidemark' });
    const machine = new Machine();
    const code = machineCode(machine.id);
    expect(await enroll(machine, 'web 1')).toMatchObject({
      state: 'pending',
      approveCommand: "tidemark-collector nodes approve 'web 1'",
      consoleUrl: 'https://watch.example/tidemark/nodes/web%201',
    });
    const listed = await run('nodes', 'list');
    expect(listed.out).toMatch(/^web 1 +pending /m);
    expect(listed.err).toMatch(
      /One machine asks to be approved:\n {2}web 1: A new machine\. machine \w{4}-\w{4}, from 127\.0\.0\.1, linux-x64, asked /,
    );
    expect(listed.err).toContain(`\n    tidemark-collector nodes approve 'web 1' --machine ${code}\n`);
    expect(await report(machine)).toBe('node_pending');
    const approved = await run('nodes', 'approve', 'web 1');
    expect(approved).toMatchObject({ code: 0, out: '' });
    expect(approved.err).toMatch(
      new RegExp(`^web 1 may report now: a new machine \\(machine ${code}, from 127\\.0\\.0\\.1, linux-x64, asked .*\\)\\.`),
    );
    expect(await report(machine)).toBeUndefined();
    expect((await run('nodes', 'list')).err).toBe('');
    expect(await run('nodes', 'approve', 'web 1')).toEqual({ code: 0, out: '', err: 'web 1 may report now.\n' });
  });

  test('a clone is a question that is answered with the machine named', async () => {
    const { run, enroll, report } = await world();
    const { token } = parseEnrolment((await run('enroll', '--uses', '2')).out)!;
    const [old, clone, fresh] = [new Machine(), new Machine(), new Machine()];
    await enroll(old, 'db1', token);
    expect((await enroll(clone, 'db1', token)).reason).toBe('clone-or-replacement');
    const asked = await run('nodes', 'approve', 'db1');
    expect([asked.code, asked.out]).toEqual([1, '']);
    expect(asked.err).toMatch(/^Clone or replacement\? A machine \(machine .*\) asks to be db1, which is a node already\./);
    expect(asked.err).toContain(`  tidemark-collector nodes approve db1 --machine ${machineCode(clone.id)}\n`);
    const denied = await run('nodes', 'deny', 'db1');
    expect(denied.err).toMatch(/was not approved as db1\. The node goes on as it was\.\n$/);
    expect([await report(old), await report(clone)]).toEqual([undefined, 'node_revoked']);
    await enroll(fresh, 'db1');
    expect(await run('nodes', 'approve', 'db1', '--machine', machineCode(clone.id))).toMatchObject({
      code: 1,
      err: expect.stringContaining('[state_conflict]') as string,
    });
    expect((await run('nodes', 'list')).err).toContain('db1: Clone or replacement? machine ');
    expect((await run('nodes', 'approve', 'db1', '--machine', machineCode(fresh.id))).err).toContain(
      'The machine that was it before may no longer report.',
    );
    expect([await report(old), await report(fresh)]).toEqual(['node_revoked', undefined]);
    expect(await run('nodes', 'deny', 'db1')).toMatchObject({ code: 1, err: expect.stringContaining('[state_conflict]') as string });
  });

  test('a new one that is denied leaves its name free', async () => {
    const { run, enroll } = await world();
    await enroll(new Machine(), 'db1');
    expect((await run('nodes', 'deny', 'db1')).err).toMatch(/was not approved as db1\. The name is free\.\n$/);
    expect((await run('nodes', 'add', 'db1')).code).toBe(0);
  });

  test('token with an overlap', async () => {
    const { run, report } = await world();
    const [a, b] = [new Machine(), new Machine()];
    a.secret = (await run('nodes', 'add', 'db1')).out.trim();
    b.secret = (await run('nodes', 'token', 'db1', '--overlap', '24h')).out.trim();
    expect([await report(a), await report(b), await report(a)]).toEqual([undefined, undefined, 'node_revoked']);
    expect(await run('nodes', 'token', 'db1', '--overlap', 'long')).toMatchObject({
      code: 2,
      err: expect.stringMatching(/^--overlap long is not a duration/) as string,
    });
  });
});
