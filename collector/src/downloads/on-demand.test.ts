/** A bundle that is not there yet: made once, in the background, in a checkout alone; and what is said meanwhile, and when it fails. */
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import type { Problem } from '@tidemark/protocol';
import { describe, expect, test, vi } from 'vitest';
import { AGENT, BASE, RUNTIME, listening, served, temporary, writeBundle, writeBundler } from './testing.ts';

describe('made on demand', () => {
  const waits = { scriptMs: 20, fileMs: 20 };

  test('in a checkout: how far it is is told meanwhile, and then it is served', async () => {
    const { app, installersDir } = await served({ empty: true, waits });
    const scratch = temporary();
    const files = writeBundle(scratch);
    const go = join(scratch, 'go');
    writeBundler(
      installersDir,
      `progress(42.7, 'packing linux-x64');
       const timer = setInterval(() => {
         if (!fs.existsSync(${JSON.stringify(go)})) return;
         clearInterval(timer);
         fs.cpSync(${JSON.stringify(join(scratch, 'dist/bundle'))}, out, { recursive: true });
       }, 10);`,
    );
    await vi.waitFor(async () => {
      const answer = await app.inject({ url: BASE + RUNTIME });
      expect([answer.statusCode, answer.headers['retry-after'], answer.json<Problem>().detail]).toEqual([
        503,
        '5',
        'The collector is preparing its downloads: 42 %, packing linux-x64.',
      ]);
    });
    const script = await app.inject({ url: `${BASE}agent-install-linux.sh` });
    expect([script.statusCode, script.headers['content-type'], script.headers['retry-after']]).toEqual([
      503,
      'text/x-shellscript; charset=utf-8',
      '5',
    ]);
    expect(runScript(script.body)).toEqual({
      code: 14,
      err: 'The collector is preparing its downloads: 42 %, packing linux-x64. Fetch agent-install-linux.sh again later; http://localhost:80/documentation/downloads/ shows how it stands.\n',
    });
    expect((await app.inject({ url: `${BASE}agent-uninstall-linux.sh` })).statusCode).toBe(200);
    const page = (await app.inject({ url: BASE })).body;
    expect(page).toContain('<progress max="100" value="42">');
    expect(page).toContain('Look again');
    writeFileSync(go, '');
    await vi.waitFor(async () => expect((await app.inject({ url: BASE + RUNTIME })).rawPayload.equals(files[RUNTIME]!)).toBe(true), 10_000);
    expect((await app.inject({ url: BASE })).body).not.toContain('Look again');
  });

  test('a script is waited for', async () => {
    const { app, installersDir } = await served({ empty: true });
    const scratch = temporary();
    writeBundle(scratch);
    writeBundler(installersDir, `progress(1, 'x'); fs.cpSync(${JSON.stringify(join(scratch, 'dist/bundle'))}, out, { recursive: true });`);
    expect((await app.inject({ url: `${BASE}agent-install-linux.sh` })).statusCode).toBe(200);
  });

  test('once at a time, however many ask; and what went wrong is told for a minute before it is tried again', async () => {
    const { app, installersDir, clock } = await served({ empty: true });
    const runs = join(temporary(), 'runs');
    writeBundler(
      installersDir,
      `fs.appendFileSync(${JSON.stringify(runs)}, 'x'); console.error('  at noise\\ntidemark-installers: There is no room left.'); process.exit(1);`,
    );
    const ask = (): Promise<Problem[]> =>
      Promise.all([AGENT, RUNTIME, 'SHA256SUMS'].map(async (name) => (await app.inject({ url: BASE + name })).json<Problem>()));
    await vi.waitFor(async () => {
      for (const { code, detail } of await ask()) expect([code, detail]).toEqual(['downloads_unavailable', 'There is no room left.']);
    }, 10_000);
    clock.advance(59_000);
    const answer = await app.inject({ url: BASE + AGENT });
    expect([answer.json<Problem>().code, answer.headers['retry-after']]).toEqual(['downloads_unavailable', '1']);
    expect((await app.inject({ url: BASE })).body).toContain('There is no room left.');
    expect(readFileSync(runs, 'utf8')).toBe('x');
    clock.advance(1_000);
    await vi.waitFor(async () => {
      await ask();
      expect(readFileSync(runs, 'utf8')).toBe('xx');
    }, 10_000);
  });

  test('anew after an update of the checkout, and a release serves what it has', async () => {
    const { app, installersDir } = await served({ version: '0.2.0', waits: { scriptMs: 20_000, fileMs: 20_000 } });
    const scratch = temporary();
    writeBundle(scratch, {}, '0.2.0');
    writeBundler(installersDir, `fs.cpSync(${JSON.stringify(join(scratch, 'dist/bundle'))}, out, { recursive: true });`);
    expect((await app.inject({ url: `${BASE}release.json` })).json<{ version: string }>().version).toBe('0.2.0');
    const { app: release } = await served({ version: '0.2.0', waits });
    expect((await release.inject({ url: `${BASE}release.json` })).json<{ version: string }>().version).toBe('0.1.0');
  });

  test('a bundler that leaves out a file has failed', async () => {
    const { app, installersDir } = await served({ empty: true, waits: { scriptMs: 20_000, fileMs: 20_000 } });
    const scratch = temporary();
    writeBundle(scratch);
    rmSync(join(scratch, 'dist/bundle', RUNTIME));
    writeBundler(installersDir, `fs.cpSync(${JSON.stringify(join(scratch, 'dist/bundle'))}, out, { recursive: true });`);
    const problem = (await app.inject({ url: BASE + AGENT })).json<Problem>();
    expect(problem.code).toBe('downloads_unavailable');
    expect(problem.detail).toMatch(
      new RegExp(`^The downloads are not whole: ${RUNTIME} is not in .* \\(ENOENT\\)\\. Delete .*, and they are made anew\\.$`),
    );
  });

  test('is stopped with the collector, and who waits for it is answered', async () => {
    const { app, installersDir } = await served({ empty: true });
    const pid = join(temporary(), 'pid');
    writeBundler(
      installersDir,
      `fs.writeFileSync(${JSON.stringify(`${pid}.new`)}, String(process.pid)); fs.renameSync(${JSON.stringify(`${pid}.new`)}, ${JSON.stringify(pid)}); setInterval(() => {}, 1000);`,
    );
    const url = await listening(app);
    const waiting = new Promise<number>((resolve, reject) => {
      httpRequest(`${url}${BASE}agent-install-linux.sh`, { agent: false }, (response) => resolve(response.resume().statusCode!))
        .on('error', reject)
        .end();
    });
    await vi.waitFor(() => expect(readFileSync(pid, 'utf8')).not.toBe(''), 10_000);
    await app.close();
    expect(await waiting).toBe(503);
    expect(() => process.kill(Number(readFileSync(pid, 'utf8')), 0)).toThrow(/ESRCH/);
  });

  test('never in a release, which has them or says that it has lost them', async () => {
    const { app } = await served({ empty: true });
    const problem = (await app.inject({ url: BASE + AGENT })).json<Problem>();
    expect([problem.code, problem.status]).toEqual(['downloads_unavailable', 503]);
    expect(problem.detail).toMatch(/^This installation was shipped without its downloads, or has lost them: .*\. Install it again\.$/);
  });
});

function runScript(text: string): { code: number; err: string } {
  try {
    execFileSync('sh', ['-s'], { input: text, encoding: 'utf8', stdio: 'pipe' });
    return { code: 0, err: '' };
  } catch (error) {
    const { status, stderr } = error as { status: number; stderr: string };
    return { code: status, err: stderr };
  }
}
