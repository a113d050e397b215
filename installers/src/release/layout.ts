/**
 * What a release of the collector holds, and where: the checkout's own relative layout, so that collector/dist/main.js finds its
 * directories in both by the same paths.
 */
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Entry } from '../archive/entry.ts';
import type { Link } from '../archive/tar.ts';
import type { Packages } from '../downloads/archives.ts';
import { sumOf, sumRows } from '../downloads/sums.ts';
import { NODE_VERSION, type Platform } from '../runtime/pinned.ts';
import { collectorProgram, type CollectorProgram } from './collector-program.ts';
import { embeddedPostgres } from './embedded-postgres.ts';
import { licencesOf } from '../licences.ts';

/** Whole directories of the checkout that are read as they are. */
const DIRECTORIES = ['collector/migrations', 'packages/console/dist', 'docs/runbooks', 'dashboards/json'] as const;
const SCRIPTS = ['installers/linux', 'installers/windows'] as const;
/** Of the console, which Vite bundles. */
const CONSOLE_PACKAGES = ['node_modules/preact', 'node_modules/@preact/signals', 'node_modules/@preact/signals-core', 'node_modules/uplot'];

/** A part of the archive that is packed by itself: what seldom changes is packed once. */
export interface Part {
  what: string;
  /** Compressed already. */
  isPacked: boolean;
  entries: Entry[];
  links: Link[];
}

export interface Release {
  version: string;
  /** The one directory that everything is in. */
  top: string;
  parts: Part[];
}

/** Reads and makes all that goes into a release for this platform. `bundleDirectory` holds what nodes download, already made. */
export async function releaseFor(platform: Platform, root: string, bundleDirectory: string, packages: Packages): Promise<Release> {
  const version = await versionOf(root);
  const program = await collectorProgram(root);
  const runtime = (await packages.runtime(platform)).map((entry) => ({ ...entry, name: `runtime/${entry.name}` }));
  // There is no PostgreSQL of our own on Windows: the collector says so, and takes the address of another.
  const postgres = platform === 'win-x64' ? { entries: [], links: [] } : await embeddedPostgres(root, platform, packages);
  const bundle = await directoryEntries(bundleDirectory, 'installers/dist/bundle');
  const own = await ownEntries(platform, root, version, program);
  const parts = [
    { what: 'the runtime', isPacked: false, entries: runtime, links: [] },
    { what: 'PostgreSQL', isPacked: false, ...postgres },
    { what: 'what nodes download', isPacked: true, entries: bundle, links: [] },
    { what: 'the collector', isPacked: false, entries: own, links: [] },
  ];
  const sums = new Map(parts.flatMap(({ entries }) => entries.map(({ name, content }) => [name, sumOf(content)] as const)));
  own.push({ name: 'SHA256SUMS', content: Buffer.from(sumRows(sums)), executable: false });
  return { version, top: `tidemark-${version}`, parts: parts.filter(({ entries }) => entries.length > 0) };
}

/** The version of a release is the collector's. */
export async function versionOf(root: string): Promise<string> {
  return (JSON.parse(await readFile(join(root, 'collector/package.json'), 'utf8')) as { version: string }).version;
}

async function ownEntries(platform: Platform, root: string, version: string, program: CollectorProgram): Promise<Entry[]> {
  const entries: Entry[] = [];
  const text = (name: string, content: string, executable = false): void =>
    void entries.push({ name, content: Buffer.from(content), executable });
  for (const directory of [...DIRECTORIES, ...SCRIPTS]) entries.push(...(await directoryEntries(join(root, directory), directory)));
  const isWindows = platform === 'win-x64';
  const [folder, script] = isWindows ? ['windows', 'collector-install-windows.ps1'] : ['linux', 'collector-install-linux.sh'];
  const installer = entries.find(({ name }) => name === `installers/${folder}/${script}`);
  if (installer !== undefined) entries.push({ ...installer, name: script });
  entries.push({ name: 'collector/dist/main.js', content: program.content, executable: false });
  text('collector/package.json', `${JSON.stringify({ name: '@tidemark/collector', version, type: 'module' }, null, 2)}\n`);
  if (isWindows) text('bin/tidemark-collector.cmd', WINDOWS_WRAPPER);
  else text('bin/tidemark-collector', await readFile(join(root, 'installers/linux/tidemark-collector'), 'utf8'), true);
  text('VERSION', `${version}\n`);
  text('NODE', `${NODE_VERSION}\n`);
  entries.push({ name: 'LICENSE', content: await readFile(join(root, 'LICENSE')), executable: false });
  text('THIRD-PARTY-LICENSES', await licencesOf(root, [...program.packages, ...CONSOLE_PACKAGES]));
  return entries;
}

const WINDOWS_WRAPPER = `@echo off\r\nrem Runs the Tidemark collector with the Node.js that came with it.\r\n"%~dp0..\\runtime\\node.exe" "%~dp0..\\collector\\dist\\main.js" %*\r\n`;

/** The files below a directory, named below `name`; what tests and editors leave there stays out. */
async function directoryEntries(directory: string, name: string): Promise<Entry[]> {
  const entries: Entry[] = [];
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    const inner = `${name}/${entry.name}`;
    if (entry.name.startsWith('.') || entry.name.endsWith('.tmp') || /\.test\./.test(entry.name)) continue;
    if (entry.isDirectory()) entries.push(...(await directoryEntries(path, inner)));
    else if (entry.isFile()) {
      const content = await readFile(path);
      // By what it begins with, and not by its mode, which Windows does not have.
      entries.push({ name: inner, content, executable: content.subarray(0, 2).toString() === '#!' });
    }
  }
  return entries;
}
