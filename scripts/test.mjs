/**
 * `npm test`: installs what is missing, builds, runs every test (or those that its arguments name), and ends
 * with `N passed, N failed` alone on a line. A run without tests has failed.
 */
import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { ensureRewind } from './pg-rewind.mjs';
import { Failure, checkNode, ensureBuilt, ensureInstalled, programOf, root, run, runCommand } from './prepare.mjs';

/** Programs (or, by a whole path, files) that tests need, and the Debian package that has each. Tests of what is optional say so when it is missing. */
const SYSTEM_PROGRAMS = [
  { programs: ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'], debianPackage: 'chromium' },
  { programs: ['prometheus'], debianPackage: 'prometheus' },
  { programs: ['promtool'], debianPackage: 'prometheus' },
  { programs: ['faketime'], debianPackage: 'faketime' },
  { programs: ['openssl'], debianPackage: 'openssl' },
  { programs: ['pgbouncer'], debianPackage: 'pgbouncer' },
  { programs: ['python3'], debianPackage: 'python3' },
  { programs: ['xz'], debianPackage: 'xz-utils' },
  { programs: ['shellcheck'], debianPackage: 'shellcheck' },
  { programs: ['busybox'], debianPackage: 'busybox' },
  { programs: ['nginx'], debianPackage: 'nginx' },
  { programs: ['debootstrap'], debianPackage: 'debootstrap' },
  { programs: ['systemd-analyze'], debianPackage: 'systemd' },
  { programs: ['/usr/share/doc/python3-seccomp'], debianPackage: 'python3-seccomp' },
  { programs: ['haproxy'], debianPackage: 'haproxy' },
  { programs: ['mcs'], debianPackage: 'mono-mcs' },
  { programs: ['/usr/lib/mono/4.5/System.ServiceProcess.dll'], debianPackage: 'libmono-system-serviceprocess4.0-cil' },
  { programs: ['wine'], debianPackage: 'wine', optional: true },
];

await runCommand(async () => {
  checkNode();
  await ensureInstalled();
  await ensureSystemPrograms();
  await ensureRewind((text) => process.stderr.write(text));
  await ensureBuilt('everything', 'console', 'agent');
  const whole = process.argv.length === 2;
  if (whole) await ensureBundle();
  const { passed, failed } = await runTests(process.argv.slice(2));
  if (passed + failed === 0) process.stderr.write('No test was run: that is a failure.\n');
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  return failed === 0 && passed > 0 ? 0 : 1;
});

/** What nodes download, made before tests wait for it: minutes on a machine that has never packed it, else seconds. */
async function ensureBundle() {
  const code = await run(process.execPath, [join(root, 'installers/dist/main.js'), 'bundle']);
  if (code !== 0) process.stderr.write('What nodes download cannot be made, as is said above: tests of installing will fail.\n');
}

async function ensureSystemPrograms() {
  await installPackages(missingPackages((entry) => !entry.optional));
  for (const name of missingPackages((entry) => entry.optional)) {
    await installPackages([name]).catch((error) => process.stderr.write(`Tests that need ${name} are skipped: ${error.message}\n`));
  }
}

async function installPackages(missing) {
  if (missing.length === 0) return;
  const install = ['install', '-y', '--no-install-recommends', ...missing];
  const command = `apt-get update && apt-get ${install.join(' ')}`;
  if (process.getuid?.() !== 0 || !isOnPath('apt-get')) {
    throw new Failure(`The tests need programs that are not here: ${missing.join(', ')}. On Debian or Ubuntu, as root: ${command}`, 1);
  }
  process.stderr.write(`Installing ${missing.join(', ')}…\n`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  for (const args of [
    ['update', '-q'],
    ['-q', ...install],
  ]) {
    const code = await run('apt-get', args, { env, quiet: true });
    if (code !== 0) throw new Failure(`apt-get could not install ${missing.join(', ')}; it says why above. By hand: ${command}`, 1);
  }
  const still = missingPackages((entry) => missing.includes(entry.debianPackage));
  if (still.length > 0) throw new Failure(`${still.join(', ')} was installed, yet its programs are not on the path.`, 1);
}

function missingPackages(which) {
  const missing = SYSTEM_PROGRAMS.filter((entry) => which(entry) && !entry.programs.some(isOnPath));
  return [...new Set(missing.map(({ debianPackage }) => debianPackage))];
}

function isOnPath(program) {
  if (isAbsolute(program)) return existsSync(program);
  // Debian has daemons where only root looks for them.
  return [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin'].some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Runs vitest and counts by its report, not by its exit code alone. */
async function runTests(args) {
  const results = join(root, 'test-results');
  const report = join(results, 'vitest.json');
  mkdirSync(results, { recursive: true });
  rmSync(report, { force: true });
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  if (process.env.CI) reporters.push('--reporter=junit', `--outputFile.junit=${join(results, 'junit.xml')}`);
  const code = await run(process.execPath, [programOf('vitest', 'vitest.mjs'), 'run', ...reporters, ...args]);
  const { passed, failed } = countTests(report);
  // An error outside of any test, or a run that was cut off, is a failure as well.
  return { passed, failed: code !== 0 && passed > 0 && failed === 0 ? 1 : failed };
}

function countTests(report) {
  let results;
  try {
    results = JSON.parse(readFileSync(report, 'utf8'));
  } catch {
    return { passed: 0, failed: 0 };
  }
  // A file that could not be loaded has no tests to count, but has failed.
  const brokenFiles = results.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
  );
  return { passed: results.numPassedTests, failed: results.numFailedTests + brokenFiles.length };
}
