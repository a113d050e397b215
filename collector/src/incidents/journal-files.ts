/** The few things the journal asks of a file system, so that a test can lose power or fill the disk between any two of them. */
import { chmod, mkdir, open, readFile, readdir, truncate, unlink } from 'node:fs/promises';

export interface JournalFile {
  append(bytes: Uint8Array): Promise<void>;
  /** On the disk when it resolves, length included. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface JournalFiles {
  /** Only for its owner. */
  makeDirectory(path: string): Promise<void>;
  /** Names of files, without their directory. */
  list(path: string): Promise<string[]>;
  read(path: string): Promise<Buffer>;
  /** A new file, only for its owner. */
  create(path: string): Promise<JournalFile>;
  truncate(path: string, sizeBytes: number): Promise<void>;
  remove(path: string): Promise<void>;
  /** What was created or removed in it stays so. */
  syncDirectory(path: string): Promise<void>;
}

export const diskFiles: JournalFiles = {
  async makeDirectory(path) {
    await mkdir(path, { recursive: true, mode: 0o700 });
    await chmod(path, 0o700);
  },
  list: (path) => readdir(path),
  read: (path) => readFile(path),
  async create(path) {
    const handle = await open(path, 'wx', 0o600);
    return {
      async append(bytes) {
        for (let done = 0; done < bytes.length;) done += (await handle.write(bytes, done)).bytesWritten;
      },
      sync: () => handle.datasync(),
      close: () => handle.close(),
    };
  },
  truncate: (path, sizeBytes) => truncate(path, sizeBytes),
  remove: (path) => unlink(path),
  async syncDirectory(path) {
    const handle = await open(path, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
};
