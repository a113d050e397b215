/** A Debian 12 with an unpacked release of the collector in it, and versions made from that one. */
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Outcome } from '../programs.ts';
import { makeRelease } from './collector-release.ts';
import { Lab, Machine } from './machine.ts';

const here = dirname(fileURLToPath(import.meta.url));
/** The release in the machine. */
export const V1 = '/srv/tidemark-0.1.0';
export const DATA = '/var/lib/tidemark/collector';

export interface CollectorMachine {
  machine: Machine;
  /** Runs the installer of an unpacked release. */
  install: (from: string, ...args: string[]) => Promise<Outcome>;
  /** Another version: the first one under another number, changed by a line of shell within it. Resolves with where it is. */
  makeVersion: (version: string, change?: string) => Promise<string>;
  close: () => Promise<void>;
}

export async function startCollectorMachine(): Promise<CollectorMachine> {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-collector-release-'));
  const lab = await Lab.open();
  const [machine, release] = await Promise.all([
    Machine.start({ release: 'bookworm', hostname: 'monitor', gateway: lab }),
    makeRelease(directory),
  ]);
  for (const name of ['systemctl', 'journalctl']) machine.install(join(here, 'stubs', 'collector', name), `/usr/bin/${name}`);
  await cp(release.path, machine.path(V1), { recursive: true, verbatimSymlinks: true });
  // The stories need to know its number.
  await renumber(machine, V1, '0.1.0');
  return {
    machine,
    install: (from, ...args) => machine.run(`${from}/collector-install-linux.sh ${args.join(' ')}`),
    makeVersion: async (version, change = ':') => {
      const path = `/srv/tidemark-${version}`;
      await succeed(machine, `cp -a ${V1} ${path} && cd ${path} && ${change}`);
      await renumber(machine, path, version);
      return path;
    },
    close: async () => {
      await machine.stop();
      await lab.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Gives an unpacked release a number, and sums that are right. */
async function renumber(machine: Machine, path: string, version: string): Promise<void> {
  await succeed(
    machine,
    `cd ${path} && echo ${version} >VERSION && sed -i 's/"version": "[^"]*"/"version": "${version}"/' collector/package.json &&
     find . -type f ! -name SHA256SUMS | sed 's|^\\./||' | LC_ALL=C sort | xargs sha256sum >SHA256SUMS`,
  );
}

async function succeed(machine: Machine, command: string): Promise<void> {
  const { code, stderr } = await machine.run(command);
  if (code !== 0) throw new Error(`${command}: ${code} ${stderr}`);
}
