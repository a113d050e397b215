/**
 * Root file systems of real Debian releases, made once by debootstrap below the system's temporary directory and never changed
 * afterwards: every machine of a test has one as the lower layer of its own.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const MIRROR = 'http://deb.debian.org/debian';
const TIMEOUT_MS = 230_000;

/** Debian 12 fetches with curl and unpacks xz; Debian 11 has wget alone, and gzip: a bare system. */
const RELEASES = {
  bookworm: ['curl', 'ca-certificates', 'xz-utils'],
  bullseye: ['wget'],
} as const;
export type Release = keyof typeof RELEASES;

/** Debian 12's OpenRC, unpacked: as a machine's own init it would want to be installed in place of systemd. */
export async function openrc(): Promise<string> {
  const unpacked = join(tmpdir(), 'tidemark-debootstrap', 'openrc');
  if (existsSync(unpacked)) return unpacked;
  await mkdir(`${unpacked}.new`, { recursive: true });
  const script = `[ -d "$1" ] || { cd "$1.new" && apt-get -q download openrc librc1 libeinfo1 && mkdir root && for file in *.deb; do dpkg-deb -x "$file" root; done && mv root "$1"; }`;
  await run('flock', [`${unpacked}.lock`, 'sh', '-c', script, 'sh', unpacked], { timeout: TIMEOUT_MS, maxBuffer: 16 * 1024 * 1024 });
  return unpacked;
}

/** The directory of a release's root. Two test files that want the same one wait for each other. */
export async function debianRoot(release: Release): Promise<string> {
  const directory = join(tmpdir(), 'tidemark-debootstrap');
  const root = join(directory, `${release}-${RELEASES[release].join('-')}`);
  if (existsSync(root)) return root;
  await mkdir(directory, { recursive: true });
  const script = `[ -d "$1" ] || { rm -rf "$1.new"; debootstrap --variant=minbase --include="$2" "$3" "$1.new" "$4" && rm -rf "$1.new"/var/cache/apt/archives/*.deb && mv "$1.new" "$1"; }`;
  const including = RELEASES[release].join(',');
  await run('flock', [`${root}.lock`, 'sh', '-c', script, 'sh', root, including, release, MIRROR], {
    timeout: TIMEOUT_MS,
    maxBuffer: 16 * 1024 * 1024,
  });
  return root;
}
