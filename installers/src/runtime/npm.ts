/**
 * Fetches a package through npm itself, so that the user's registry, proxy, certificates and npm's own cache all count,
 * and refuses whatever is not the pinned bytes.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { EXIT, OperationalFailure } from '@tidemark/service';
import type { PinnedPackage } from './pinned.ts';

const FETCH_TIMEOUT_MS = 20 * 60_000;
const MAX_OUTPUT_CHARACTERS = 64 * 1024;

/** How npm is started: a program and its first arguments. */
export interface NpmCommand {
  program: string;
  args: readonly string[];
  environment: NodeJS.ProcessEnv;
}

/** The npm that runs us, else the one beside this Node.js, else the one on the path. */
export function findNpm(environment: NodeJS.ProcessEnv, nodePath: string): NpmCommand {
  const beside = [
    join(dirname(nodePath), 'node_modules/npm/bin/npm-cli.js'),
    join(dirname(nodePath), '../lib/node_modules/npm/bin/npm-cli.js'),
  ];
  const running = environment['npm_execpath'];
  const script = [...(running !== undefined && /npm-cli\.[cm]?js$/.test(running) ? [running] : []), ...beside].find((file) =>
    existsSync(file),
  );
  return script === undefined ? { program: 'npm', args: [], environment } : { program: nodePath, args: [script], environment };
}

/**
 * The package's archive as npm's registry has it. `directory` is an empty one for npm to write to; `from` is where npm looks for
 * a project's own settings. Throws an OperationalFailure (14 not fetched, 15 not the pinned bytes).
 */
export async function fetchPackage(pinned: PinnedPackage, directory: string, from: string, npm: NpmCommand): Promise<Buffer> {
  const wanted = `${pinned.name}@${pinned.version}`;
  const args = [...npm.args, 'pack', wanted, '--pack-destination', directory, '--ignore-scripts', '--loglevel=error'];
  const { code, output } = await runToEnd({ ...npm, args }, from);
  if (/\bENOSPC\b/.test(output)) {
    throw new OperationalFailure(
      `There is no room left for ${wanted}, which npm writes to its cache and to ${directory}. Free 300 MB.`,
      EXIT.noRoom,
    );
  }
  if (code !== 0) throw notFetched(wanted, reasonOf(output));
  const [file, ...others] = await readdir(directory);
  if (file === undefined || others.length > 0) throw notFetched(wanted, `npm wrote ${others.length === 0 ? 'nothing' : 'more than that'}`);
  const bytes = await readFile(join(directory, file));
  checkIntegrity(bytes, pinned);
  return bytes;
}

/** Throws an OperationalFailure when the bytes are not those of the pinned package. */
export function checkIntegrity(bytes: Uint8Array, { name, version, integrity }: PinnedPackage): void {
  const found = `sha512-${createHash('sha512').update(bytes).digest('base64')}`;
  if (found === integrity) return;
  throw new OperationalFailure(
    `${name}@${version} is not the package this version of Tidemark was made for: its hash is ${found}, and ${integrity} is expected. The download was cut or changed on its way (${bytes.length} bytes came). Try again; if it stays so, ask who runs the npm registry or proxy that you use.`,
    EXIT.checksumWrong,
  );
}

function notFetched(wanted: string, reason: string): OperationalFailure {
  return new OperationalFailure(
    `${wanted} could not be fetched from the npm registry: ${reason}. Nodes need this Node.js once. Check the network, npm's proxy and registry settings (npm config list), or make the bundle on another machine with "npm run bundle" and copy its installers/dist/bundle here.`,
    EXIT.downloadFailed,
  );
}

/** npm's first line that says something: "npm error network request to … failed, reason: getaddrinfo ENOTFOUND …". */
function reasonOf(output: string): string {
  const lines = output
    .split('\n')
    .map((line) => line.replace(/^npm (?:error|ERR!)\s*/, '').trim())
    .filter((line) => line !== '' && !/^(?:code|errno|syscall|A complete log|npm warn)\b/i.test(line));
  return (lines.find((line) => /reason|ENOTFOUND|ECONN|40\d|50\d|EINTEGRITY/i.test(line)) ?? lines[0] ?? 'npm did not say why').replace(
    /\.$/,
    '',
  );
}

function runToEnd({ program, args, environment: env }: NpmCommand, cwd: string): Promise<{ code: number; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], timeout: FETCH_TIMEOUT_MS, windowsHide: true });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(-MAX_OUTPUT_CHARACTERS)));
    }
    child.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') reject(error);
      else
        reject(
          new OperationalFailure(
            'There is no npm here: the runtime for nodes is fetched through it. Install Node.js with npm.',
            EXIT.downloadFailed,
          ),
        );
    });
    child.once('close', (code) => resolve({ code: code ?? 1, output }));
  });
}
