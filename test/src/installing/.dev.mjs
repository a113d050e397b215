// test/src/installing/machine.ts
import { execFile as execFile2, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir as tmpdir2 } from 'node:os';
import { dirname, join as join2 } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify as promisify2 } from 'node:util';

// test/src/installing/debian-root.ts
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
var run = promisify(execFile);
var MIRROR = 'http://deb.debian.org/debian';
var TIMEOUT_MS = 23e4;
var RELEASES = {
  bookworm: ['curl', 'ca-certificates', 'xz-utils'],
  bullseye: ['wget'],
};
async function debianRoot(release) {
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

// test/src/installing/machine.ts
var run2 = promisify2(execFile2);
var here = dirname(fileURLToPath(import.meta.url));
var PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
var COMMAND_TIMEOUT_MS = 15e4;
var FIRST_PROCESS = `
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
var Lab = class _Lab {
  address;
  #block;
  #machines = 0;
  constructor(block) {
    this.#block = block;
    this.address = `10.231.${block}.254`;
  }
  static async open() {
    const taken = (await run2('ip', ['-4', '-o', 'addr'])).stdout;
    let block = process.pid % 256;
    while (taken.includes(`10.231.${block}.`)) block = (block + 1) % 256;
    const lab2 = new _Lab(block);
    await run2('ip', ['addr', 'add', `${lab2.address}/32`, 'dev', 'lo']);
    return lab2;
  }
  /** Joins the network namespace of a process to this side. Returns the machine's own address. */
  async join(pid) {
    const index = this.#machines++;
    const [outer, inner] = [1, 2].map((host) => `10.231.${this.#block}.${index * 4 + host}`);
    const name = `tm${this.#block}v${index}`;
    await run2('ip', ['link', 'add', 'name', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(pid)]);
    await run2('ip', ['addr', 'add', `${outer}/30`, 'dev', name]);
    await run2('ip', ['link', 'set', name, 'up']);
    const inside = (...args) => run2('nsenter', ['-t', String(pid), '-n', 'ip', ...args]);
    await inside('addr', 'add', `${inner}/30`, 'dev', 'eth0');
    await inside('link', 'set', 'eth0', 'up');
    await inside('route', 'add', 'default', 'via', outer);
    return inner;
  }
  async close() {
    await run2('ip', ['addr', 'del', `${this.address}/32`, 'dev', 'lo']);
  }
};
var Machine = class _Machine {
  pid;
  address;
  #first;
  #directory;
  constructor(pid, address, first, directory) {
    this.pid = pid;
    this.address = address;
    this.#first = first;
    this.#directory = directory;
  }
  static async start({ release, hostname = 'db1', systemd = true, gateway }) {
    const lower = await debianRoot(release);
    const directory = mkdtempSync(join2(tmpdir2(), 'tidemark-machine-'));
    for (const name of ['upper', 'work', 'root']) mkdirSync(join2(directory, name));
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
    first.stderr.setEncoding('utf8').on('data', (text) => (said += text));
    const pid = await new Promise((resolve, reject) => {
      first.stdout.setEncoding('utf8').once('data', (text) => resolve(Number(text)));
      first.once('exit', () => reject(new Error(`the machine did not start: ${said}`)));
    });
    const machine = new _Machine(pid, await gateway.join(pid), first, directory);
    await machine.#settle(systemd);
    return machine;
  }
  async #settle(systemd) {
    for (let tries = 0; tries < 500; tries++) {
      if ((await run2('readlink', [`/proc/${this.pid}/root`])).stdout.trim() !== '/') break;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    this.write('/etc/resolv.conf', '');
    this.write('/etc/hosts', '127.0.0.1 localhost\n');
    this.write(
      '/etc/machine-id',
      `${createHash('md5').update(this.#directory).digest('hex')}
`,
    );
    if (!systemd) return;
    await this.run('mkdir -p /run/systemd/system');
    for (const name of ['systemctl', 'journalctl']) this.install(join2(here, 'stubs', name), `/usr/bin/${name}`);
  }
  /** Where a path of the machine is on this side. */
  path(path) {
    return `/proc/${this.pid}/root${path}`;
  }
  write(path, content, mode = 420) {
    writeFileSync(this.path(path), content, { mode });
  }
  read(path) {
    return readFileSync(this.path(path), 'utf8');
  }
  install(file, path) {
    copyFileSync(file, this.path(path));
  }
  /** What `run` starts: for tests that talk to it while it runs. */
  spawn(command, environment = {}, shell = 'sh') {
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
  async run(command, environment = {}, shell = 'sh') {
    const child = this.spawn(command, environment, shell);
    const outcome = { code: 'unknown', stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text) => (outcome.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text) => (outcome.stderr += text));
    const timer = setTimeout(() => child.kill('SIGKILL'), COMMAND_TIMEOUT_MS);
    outcome.code = await new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal ?? 'unknown')));
    await new Promise(setImmediate);
    clearTimeout(timer);
    return outcome;
  }
  /** Every file of the root file system: kind, mode, owner, target or sum. What differs between two listings has changed. */
  async listing() {
    const { stdout } = await this.run(
      `find / -xdev -path /tmp -prune -o -printf '%P\\t%y %m %U:%G %l\\n'; echo; find / -xdev -type f -not -path '/tmp/*' -exec sha256sum {} +`,
    );
    const [entries = '', sums = ''] = stdout.split('\n\n');
    const files = new Map(entries.split('\n').map((line) => [`/${line.split('	')[0]}`, line.split('	')[1] ?? '']));
    for (const line of sums.split('\n').filter((one) => one !== ''))
      files.set(line.slice(66), `${files.get(line.slice(66)) ?? ''} ${line.slice(0, 64)}`);
    return files;
  }
  async stop() {
    const gone = new Promise((resolve) => this.#first.once('exit', resolve));
    this.#first.stdin.end();
    await gone;
    rmSync(this.#directory, { recursive: true, force: true });
  }
};

// ../../tmp/s-tools/dev.ts
import { cp } from 'node:fs/promises';
import { join as join3 } from 'node:path';
var lab = await Lab.open();
var m = await Machine.start({ release: 'bookworm', hostname: 'monitor', gateway: lab });
for (const name of ['systemctl', 'journalctl'])
  m.install(join3('/work/main/test/src/installing/stubs/collector', name), `/usr/bin/${name}`);
await cp('/tmp/s-tools/release', m.path('/root/tidemark-0.1.0'), { recursive: true, verbatimSymlinks: true });
console.log('PID', m.pid, 'ADDRESS', m.address);
await new Promise((r) => process.once('SIGTERM', () => r()));
await m.stop();
await lab.close();
process.exit(0);
