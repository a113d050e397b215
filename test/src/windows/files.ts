/**
 * What a Windows machine downloads, made as the collector makes it and laid out as the installer lays it out: the tests run those very
 * files. The pinned runtime comes from the npm registry once and is then in the user's cache.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const run = promisify(execFile);
const MAKE_TIMEOUT_MS = 200_000;

export interface WindowsFiles {
  /** As %ProgramFiles%\Tidemark\Agent: `current`, versions and runtimes. */
  readonly programs: string;
  readonly version: string;
  readonly runtime: string;
  /** The directory of the version: tidemark-agent.cjs, flags, host. */
  readonly agent: string;
}

/** Into an empty directory. With `runtime` node.exe is unpacked as well. */
export async function windowsFiles(directory: string, { runtime: withRuntime }: { runtime: boolean }): Promise<WindowsFiles> {
  const downloads = join(directory, 'downloads');
  await run(process.execPath, [join(root, 'scripts/bundle.mjs'), '--platform', 'win-x64', '--out', downloads], {
    cwd: root,
    timeout: MAKE_TIMEOUT_MS,
  });
  const { version, node } = JSON.parse(readFileSync(join(downloads, 'release.json'), 'utf8')) as { version: string; node: string };
  const programs = join(directory, 'programs');
  const agent = join(programs, 'versions', version);
  const runtime = join(programs, 'runtimes', node);
  await unzip(join(downloads, `tidemark-agent-${version}.zip`), agent);
  mkdirSync(runtime, { recursive: true });
  if (withRuntime) await unzip(join(downloads, `tidemark-runtime-${node}-win-x64.zip`), runtime);
  writeFileSync(join(programs, 'current.new'), `${version}\r\n`);
  renameSync(join(programs, 'current.new'), join(programs, 'current'));
  return { programs, version, runtime, agent };
}

async function unzip(archive: string, directory: string): Promise<void> {
  mkdirSync(directory, { recursive: true });
  await run('python3', ['-m', 'zipfile', '-e', archive, directory]);
}

/** The flags that the agent ships with. */
export function flagsOf(files: WindowsFiles): string[] {
  return readFileSync(join(files.agent, 'flags'), 'utf8').split('\n').filter(Boolean);
}
