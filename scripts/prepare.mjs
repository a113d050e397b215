/**
 * What every command of this checkout needs first: the right Node.js, the packages of the lock file, and
 * programs built from the present sources. Each step is skipped when nothing changed. Needs nothing but
 * Node.js itself: it runs before anything is installed.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
const at = (path) => join(root, path);
const NODE_WANTED = [20, 19];

/** A failure that is said in one sentence, with the exit code to leave with. */
export class Failure extends Error {
  constructor(message, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Runs a command's main function; a Failure becomes its sentence and exit code. */
export async function runCommand(main) {
  try {
    process.exitCode = await main();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    if (error.message !== '') process.stderr.write(`${error.message}\n`);
    process.exitCode = error.exitCode;
  }
}

export function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  const [wantedMajor, wantedMinor] = NODE_WANTED;
  if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) return;
  throw new Failure(
    `Tidemark needs Node.js ${NODE_WANTED.join('.')} or later; this is ${process.version} (${process.execPath}). Install a newer one: https://nodejs.org/en/download`,
    78,
  );
}

/** Runs a program of this checkout to its end. Resolves with its exit code; a signal counts as 1. */
export function run(command, args, { cwd = root, env = process.env, quiet = false } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', quiet ? 'pipe' : 'inherit', quiet ? 'pipe' : 'inherit'] });
    const output = [];
    child.stdout?.on('data', (chunk) => output.push(chunk));
    child.stderr?.on('data', (chunk) => output.push(chunk));
    child.once('error', reject);
    child.once('close', (code) => {
      // What went well needs no words; what did not is shown whole.
      if (quiet && code !== 0) process.stderr.write(Buffer.concat(output));
      resolve(code ?? 1);
    });
  });
}

/** The path of an installed package's program, to be run by this Node.js. */
export const programOf = (name, file) => at(join('node_modules', name, file));

function say(text) {
  process.stderr.write(`${text}\n`);
}

const hashOf = (...parts) => parts.reduce((hash, part) => hash.update(part).update('\0'), createHash('sha256')).digest('hex');

// --- packages -------------------------------------------------------------------------------------------------

/** Installs the packages of the lock file when they are missing or others. */
export async function ensureInstalled() {
  const lockText = readFileSync(at('package-lock.json'), 'utf8');
  const stampFile = at('node_modules/.tidemark-installed');
  const stamp = hashOf(lockText, process.platform, process.arch);
  if (readIfThere(stampFile) === stamp) return;
  if (!holdsLock(JSON.parse(lockText))) {
    say('Installing packages (this happens once)…');
    // Development packages hold the compiler, whatever NODE_ENV says.
    const code = await npm(['ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund', '--loglevel=error']);
    if (code !== 0)
      throw new Failure('Installing the packages failed; npm says why above. Tidemark needs the registry for its first start only.', code);
    if (!holdsLock(JSON.parse(lockText))) {
      throw new Failure('npm left packages out that this machine needs, which a failing download does. Start again.', 1);
    }
  }
  writeFileSync(stampFile, stamp);
}

/** npm itself: the one that runs us, else the one on the path. */
function npm(args) {
  const own = process.env.npm_execpath;
  return own !== undefined && /npm-cli\.[cm]?js$/.test(own) ? run(process.execPath, [own, ...args]) : run('npm', args);
}

/** True when node_modules is what the lock file says, by npm's own record of what it installed. */
function holdsLock(lock) {
  const installed = readIfThere(at('node_modules/.package-lock.json'));
  if (installed === undefined) return false;
  const { packages } = JSON.parse(installed);
  return Object.entries(lock.packages).every(([path, wanted]) => {
    if (!path.startsWith('node_modules/') && !path.includes('/node_modules/')) return true;
    if (wanted.link === true) return existsSync(at(path));
    const found = packages[path];
    if (found === undefined) return wanted.optional === true && !isForThisMachine(path, wanted);
    return found.version === wanted.version && found.integrity === wanted.integrity && existsSync(at(join(path, 'package.json')));
  });
}

/** Packages of one C library alone are left to npm's judgement. */
function isForThisMachine(path, { os, cpu, libc }) {
  const fits = (list, own) => list === undefined || list.includes(own);
  return libc === undefined && !/-(?:musl|gnu)/.test(path) && fits(os, process.platform) && fits(cpu, process.arch);
}

// --- builds ---------------------------------------------------------------------------------------------------

const GROUND = ['package-lock.json', 'tsconfig.base.json', 'packages/protocol', 'packages/service'];
const tsc = (...projects) => run(process.execPath, [programOf('typescript', 'bin/tsc'), '-b', ...projects], { quiet: true });

const STEPS = {
  /** What `npm start` runs. */
  programs: {
    what: 'the collector',
    inputs: [...GROUND, 'collector', 'installers'],
    outputs: ['collector/dist/main.js', 'installers/dist/main.js'],
    build: () => tsc('collector', 'installers'),
  },
  /** What `npm run bundle` runs; it bundles the agent from its sources. */
  installers: {
    what: 'the installers',
    inputs: [...GROUND, 'installers'],
    outputs: ['installers/dist/main.js'],
    build: () => tsc('installers'),
  },
  everything: {
    what: 'everything',
    inputs: [...GROUND, 'tsconfig.json', 'packages/console', 'agent', 'collector', 'installers', 'dashboards', 'test'],
    outputs: ['collector/dist/main.js', 'agent/dist/main.js', 'installers/dist/main.js', 'dashboards/dist/index.js', 'test/dist/index.js'],
    build: () => tsc(),
  },
  console: {
    what: 'the console',
    inputs: [...GROUND, 'packages/console'],
    outputs: ['packages/console/dist/index.html'],
    build: () =>
      run(process.execPath, [programOf('vite', 'bin/vite.js'), 'build', '--logLevel', 'warn'], {
        cwd: at('packages/console'),
        quiet: true,
      }),
  },
  agent: {
    what: 'the agent',
    inputs: [...GROUND, 'agent', 'installers'],
    outputs: ['installers/dist/tidemark-agent.cjs', 'installers/dist/tidemark-agent.flags.json'],
    build: () => run(process.execPath, [at('installers/dist/main.js')], { quiet: true }),
  },
};

/** Builds the named steps whose sources changed since they were last built, in order. */
export async function ensureBuilt(...names) {
  for (const name of names) {
    const step = STEPS[name];
    const stampFile = at(join('.cache', `built-${name}`));
    const stamp = contentHash(step.inputs);
    if (readIfThere(stampFile) === stamp && step.outputs.every((output) => existsSync(at(output)))) continue;
    say(`Building ${step.what}…`);
    const code = await step.build();
    if (code !== 0) throw new Failure(`Building ${step.what} failed; the reason is above.`, 1);
    const missing = step.outputs.find((output) => !existsSync(at(output)));
    if (missing !== undefined)
      throw new Failure(`Building ${step.what} made no ${missing}. Remove the dist directories and build again.`, 1);
    mkdirSync(dirname(stampFile), { recursive: true });
    writeFileSync(`${stampFile}.${process.pid}`, stamp);
    renameSync(`${stampFile}.${process.pid}`, stampFile);
  }
}

/** A hash over the content of files and directories, made things left out. */
function contentHash(paths) {
  const hash = createHash('sha256').update(process.version);
  const visit = (path) => {
    for (const entry of readdirSync(at(path), { withFileTypes: true }).toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
      const inner = `${path}/${entry.name}`;
      if (entry.isDirectory()) {
        if (!/^(?:node_modules|dist|dist-types|__snapshots__|\.vite)$/.test(entry.name)) visit(inner);
      } else if (entry.isFile()) addFile(inner);
    }
  };
  const addFile = (path) => {
    hash.update(`\0${path}\0`).update(readFileSync(at(path)));
  };
  for (const path of paths) {
    if (path.endsWith('.json')) addFile(path);
    else visit(path);
  }
  return hash.digest('hex');
}

function readIfThere(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
