/**
 * A Linux machine of a test: a Debian root file system of its own (an overlay over the one of debian-root.ts), with namespaces for
 * processes, mounts, names and network, joined to this side by a veth pair. Everything in it ends with its first process, and that
 * ends with the test, whatever becomes of the test.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Outcome } from '../programs.ts';
import { debianRoot, type Release } from './debian-root.ts';

const run = promisify(execFile);
const here = dirname(fileURLToPath(import.meta.url));
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const COMMAND_TIMEOUT_MS = 150_000;

/** The first process: sets up what a machine has, says its number, and reaps what others leave until its standard input ends. */
const FIRST_PROCESS = `
set -e
read -r pid _ </proc/self/stat
root=$1/root
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 dev "$root/dev"
for device in null zero full random urandom tty; do touch "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=755 run "$root/run"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
hostname "$3"
ip link set lo up
echo "$pid"
exec chroot "$root" /bin/bash -c 'trap "" HUP INT; read -r forever || true'
`;

export interface MachineOptions {
  release: Release;
  hostname?: string;
  /** Without it the machine has System V init and nothing else. */
  systemd?: boolean;
  /** This side's address that the machine is to reach. */
  gateway: Lab;
}

/** An address of this side that machines reach and nobody else: on the loopback device, taken away at the end. */
export class Lab {
  readonly address: string;
  readonly #block: number;
  #machines = 0;

  private constructor(block: number) {
    this.#block = block;
    this.address = `10.231.${block}.254`;
  }

  static async open(): Promise<Lab> {
    const taken = (await run('ip', ['-4', '-o', 'addr'])).stdout;
    for (let tries = 0, block = process.pid % 256; tries < 256; tries++, block = (block + 1) % 256) {
      if (taken.includes(`10.231.${block}.`)) continue;
      const lab = new Lab(block);
      try {
        await run('ip', ['addr', 'add', `${lab.address}/32`, 'dev', 'lo']);
        return lab;
      } catch {
        // Another test was quicker.
      }
    }
    throw new Error('no address below 10.231.0.0/16 can be had: this needs root, and iproute2');
  }

  /** Joins the network namespace of a process to this side. Returns the machine's own address. */
  async join(pid: number): Promise<string> {
    const index = this.#machines++;
    const [outer, inner] = [1, 2].map((host) => `10.231.${this.#block}.${index * 4 + host}`);
    const name = `tm${this.#block}v${index}`;
    await run('ip', ['link', 'add', 'name', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(pid)]);
    await run('ip', ['addr', 'add', `${outer!}/30`, 'dev', name]);
    await run('ip', ['link', 'set', name, 'up']);
    const inside = (...args: string[]): Promise<unknown> => run('nsenter', ['-t', String(pid), '-n', 'ip', ...args]);
    await inside('addr', 'add', `${inner!}/30`, 'dev', 'eth0');
    await inside('link', 'set', 'eth0', 'up');
    await inside('route', 'add', 'default', 'via', outer!);
    return inner!;
  }

  async close(): Promise<void> {
    await run('ip', ['addr', 'del', `${this.address}/32`, 'dev', 'lo']);
  }
}

export class Machine {
  readonly pid: number;
  readonly address: string;
  readonly #first: ChildProcess;
  readonly #directory: string;

  private constructor(pid: number, address: string, first: ChildProcess, directory: string) {
    this.pid = pid;
    this.address = address;
    this.#first = first;
    this.#directory = directory;
  }

  static async start({ release, hostname = 'db1', systemd = true, gateway }: MachineOptions): Promise<Machine> {
    const lower = await debianRoot(release);
    const directory = mkdtempSync(join(tmpdir(), 'tidemark-machine-'));
    for (const name of ['upper', 'work', 'root']) mkdirSync(join(directory, name));
    const first = spawn(
      'unshare',
      [
        '--mount',
        '--pid',
        '--net',
        '--uts',
        '--ipc',
        '--fork',
        '--kill-child',
        'bash',
        '-c',
        FIRST_PROCESS,
        'machine',
        directory,
        lower,
        hostname,
      ],
      { stdio: ['pipe', 'pipe', 'pipe'] },
    );
    let said = '';
    first.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
    const pid = await new Promise<number>((resolve, reject) => {
      first.stdout.setEncoding('utf8').once('data', (text: string) => resolve(Number(text)));
      first.once('exit', () => reject(new Error(`the machine did not start: ${said}`)));
    });
    const machine = new Machine(pid, await gateway.join(pid), first, directory);
    await machine.#settle(systemd);
    return machine;
  }

  async #settle(systemd: boolean): Promise<void> {
    // Its root is entered a moment after the number was said.
    for (let tries = 0; tries < 500; tries++) {
      if ((await run('readlink', [`/proc/${this.pid}/root`])).stdout.trim() !== '/') break;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    this.write('/etc/resolv.conf', '');
    this.write('/etc/hosts', '127.0.0.1 localhost\n');
    // Every machine has an identity of its own.
    this.write('/etc/machine-id', `${createHash('md5').update(this.#directory).digest('hex')}\n`);
    if (!systemd) return;
    await this.run('mkdir -p /run/systemd/system');
    for (const name of ['systemctl', 'journalctl']) this.install(join(here, 'stubs', name), `/usr/bin/${name}`);
  }

  /** Where a path of the machine is on this side. */
  path(path: string): string {
    return `/proc/${this.pid}/root${path}`;
  }

  write(path: string, content: string | Buffer, mode = 0o644): void {
    writeFileSync(this.path(path), content, { mode });
  }

  read(path: string): string {
    return readFileSync(this.path(path), 'utf8');
  }

  install(file: string, path: string): void {
    copyFileSync(file, this.path(path));
  }

  /** What `run` starts: for tests that talk to it while it runs. */
  spawn(command: string, environment: Record<string, string> = {}, shell = 'sh'): ChildProcess {
    return spawn(
      'nsenter',
      [
        '-t',
        String(this.pid),
        '--mount',
        '--pid',
        '--net',
        '--uts',
        '--ipc',
        '--root',
        '--wd',
        'env',
        '-i',
        `PATH=${PATH}`,
        'HOME=/root',
        'LANG=C.UTF-8',
        ...Object.entries(environment).map(([name, value]) => `${name}=${value}`),
        shell,
        '-c',
        command,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
  }

  /** Runs a line of shell as root, to its end. */
  async run(command: string, environment: Record<string, string> = {}, shell = 'sh'): Promise<Outcome> {
    const child = this.spawn(command, environment, shell);
    const outcome: Outcome = { code: 'unknown', stdout: '', stderr: '' };
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (outcome.stdout += text));
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (outcome.stderr += text));
    const timer = setTimeout(() => child.kill('SIGKILL'), COMMAND_TIMEOUT_MS);
    const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
    outcome.code = await new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal ?? 'unknown')));
    clearTimeout(timer);
    // All it said is read, unless something that it started holds the pipes.
    let patience: NodeJS.Timeout | undefined;
    await Promise.race([closed, new Promise((resolve) => (patience = setTimeout(resolve, 2_000)))]);
    clearTimeout(patience);
    return outcome;
  }

  /** Every file of the root file system: kind, mode, owner, target or sum. What differs between two listings has changed. */
  async listing(): Promise<Map<string, string>> {
    const { stdout } = await this.run(
      `find / -xdev -path /tmp -prune -o -printf '%P\\t%y %m %U:%G %l\\n'; echo; find / -xdev -type f -not -path '/tmp/*' -exec sha256sum {} +`,
    );
    const [entries = '', sums = ''] = stdout.split('\n\n');
    const files = new Map(entries.split('\n').map((line) => [`/${line.split('\t')[0]!}`, line.split('\t')[1] ?? '']));
    for (const line of sums.split('\n').filter((one) => one !== ''))
      files.set(line.slice(66), `${files.get(line.slice(66)) ?? ''} ${line.slice(0, 64)}`);
    return files;
  }

  async stop(): Promise<void> {
    const gone = new Promise((resolve) => this.#first.once('exit', resolve));
    this.#first.stdin!.end();
    await gone;
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
