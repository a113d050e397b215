/** Finding servers: what the kernel's files say, what may not be read, what only looks like PostgreSQL, and what is watched already. */
import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { discoverServers, notWatched, setupCommand, urlOf, type DiscoveredServer } from './discovery.ts';
import { answersAsPostgres } from './discovery-handshake.ts';
import { postmasterFileIn, publishedPortIn, tcpListenersIn, unixListenersIn } from './discovery-kernel.ts';

let directory: string;
const servers: { server: Server; sockets: Set<Socket> }[] = [];
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'tidemark-discovery-'))));
afterEach(async () => {
  for (const { server, sockets } of servers.splice(0)) {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
  rmSync(directory, { recursive: true, force: true });
});

/** Listens on a port of the system's, or on a socket. */
async function listen(on: number | string, serve: (socket: Socket) => void = () => {}): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    serve(socket);
  });
  servers.push({ server, sockets });
  await new Promise<void>((resolve) => (typeof on === 'string' ? server.listen(on, resolve) : server.listen(on, '127.0.0.1', resolve)));
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

describe('the kernel’s files', () => {
  test('sockets of PostgreSQL that listen, with blanks in their paths', () => {
    const text = [
      'Num       RefCount Protocol Flags    Type St Inode Path',
      '00000000adf912c0: 00000002 00000000 00010000 0001 01 17 /run/postgresql/.s.PGSQL.5432',
      '00000000adf912c1: 00000003 00000000 00000000 0001 03 18 /run/postgresql/.s.PGSQL.5432',
      '00000000adf912c2: 00000002 00000000 00010000 0001 01 19 /tmp/a b/.s.PGSQL.5433',
      '00000000adf912c3: 00000002 00000000 00010000 0001 01 20 /run/other.sock',
      '00000000adf912c4: 00000002 00000000 00010000 0001 01 21 @/tmp/.s.PGSQL.5434',
      '00000000adf912c5: 00000003 00000000 00000000 0001 03 22',
    ].join('\n');
    expect(unixListenersIn(text)).toEqual([
      { path: '/run/postgresql/.s.PGSQL.5432', inode: '17' },
      { path: '/tmp/a b/.s.PGSQL.5433', inode: '19' },
    ]);
  });

  test('TCP listeners of both families', () => {
    const line = (address: string, state: string, inode: number): string =>
      `   0: ${address} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000   101        0 ${inode} 1 0000000000000000 100 0 0 10 0`;
    const all = [
      '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
      line('0100007F:1538', '0A', 1),
      line('0100007F:1538', '01', 2),
      line('00000000:1539', '0A', 3),
      line('00000000000000000000000000000000:153A', '0A', 4),
      line('00000000000000000000000001000000:153B', '0A', 5),
      line('0000000000000000FFFF00000100007F:153C', '0A', 6),
      line('B80D0120000000000000000001000000:153D', '0A', 7),
    ];
    expect(tcpListenersIn(all.join('\n')).map(({ ip, port, uid, inode }) => `${ip} ${port} ${uid} ${inode}`)).toEqual([
      '127.0.0.1 5432 101 1',
      '0.0.0.0 5433 101 3',
      ':: 5434 101 4',
      '::1 5435 101 5',
      '127.0.0.1 5436 101 6',
      '2001:db8:0:0:0:0:0:1 5437 101 7',
    ]);
  });

  test('what docker-proxy was started with, and postmaster.pid', () => {
    const proxy = '/usr/bin/docker-proxy -proto tcp -host-ip 0.0.0.0 -host-port 5444 -container-ip 172.17.0.2 -container-port 5432';
    expect(publishedPortIn(`${proxy.replaceAll(' ', '\0')}\0`)).toEqual({ hostPort: 5444, containerPort: 5432 });
    expect(publishedPortIn(proxy.replace('tcp', 'udp').replaceAll(' ', '\0'))).toBeUndefined();
    expect(publishedPortIn('docker-proxy\0--version\0')).toBeUndefined();
    expect(postmasterFileIn('4711\n/data\n1795267849\n5433\n/run/postgresql\n*\n  5432001 3\nready   \n')).toEqual({
      port: 5433,
      socketDir: '/run/postgresql',
      listens: '*',
    });
    expect(postmasterFileIn('4711\n/data\n1795267849\n5433\n\n\n')).toEqual({ port: 5433, socketDir: undefined, listens: undefined });
    expect(postmasterFileIn('4711\n/data\n')).toBeUndefined();
  });
});

describe('the handshake', () => {
  const afterRequest =
    (answer: (socket: Socket) => void) =>
    (socket: Socket): void =>
      void socket.once('data', (data: Buffer) => {
        if (data.equals(Buffer.from('0000000804d2162f', 'hex'))) answer(socket);
      });

  test('PostgreSQL without TLS, and what is not PostgreSQL', async () => {
    expect(
      await answersAsPostgres(
        '127.0.0.1',
        await listen(
          0,
          afterRequest((socket) => socket.write('N')),
        ),
      ),
    ).toBe(true);
    expect(await answersAsPostgres('127.0.0.1', await listen(0, (socket) => socket.write('SSH-2.0-OpenSSH_9.6\r\n')))).toBe(false);
    expect(await answersAsPostgres('127.0.0.1', await listen(0, (socket) => socket.end()))).toBe(false);
    expect(await answersAsPostgres('127.0.0.1', 1)).toBe(false);
    const startedMs = performance.now();
    expect(await answersAsPostgres('127.0.0.1', await listen(0), 200)).toBe(false);
    expect(performance.now() - startedMs).toBeLessThan(2_000);
  });

  test('with TLS it is completed, and nothing is said in it', async () => {
    const ssl = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=x', '-days', '2', '-keyout', 'key', '-out', 'cert'];
    execFileSync('openssl', ssl, { cwd: directory, stdio: 'ignore' });
    const [key, cert] = ['key', 'cert'].map((name) => readFileSync(join(directory, name)));
    const said: string[] = [];
    const port = await listen(
      0,
      afterRequest((socket) => {
        socket.write('S');
        const secured = new TLSSocket(socket, { isServer: true, key, cert });
        secured.on('error', () => {});
        secured.once('secure', () => said.push('secured'));
        secured.on('data', (data: Buffer) => said.push(data.toString()));
        secured.once('end', () => {
          said.push('goodbye');
          secured.end();
        });
      }),
    );
    expect(await answersAsPostgres('127.0.0.1', port)).toBe(true);
    expect(said).toEqual(['secured', 'goodbye']);
  });

  test('nothing but loopback is asked', async () => {
    expect(await answersAsPostgres('192.0.2.1', 5432)).toBe(false);
    expect(await answersAsPostgres('localhost', 5432)).toBe(false);
  });
});

/** A /proc with one process for each entry; `fd` are inodes of its sockets, absent when they may not be read. */
function procOf(
  processes: Record<string, { comm: string; parent?: number; cmdline?: string; fd?: string[]; pidFile?: string }>,
  unix: string,
  tcp: string,
): string {
  const procfs = join(directory, 'proc');
  mkdirSync(join(procfs, 'net'), { recursive: true });
  writeFileSync(join(procfs, 'net/unix'), unix);
  writeFileSync(join(procfs, 'net/tcp'), tcp);
  for (const [pid, { comm, parent = 1, cmdline = '', fd, pidFile }] of Object.entries(processes)) {
    const own = join(procfs, pid);
    mkdirSync(own);
    writeFileSync(join(own, 'comm'), `${comm}\n`);
    writeFileSync(join(own, 'stat'), `${pid} (a (b) c) S ${parent} 1 1`);
    writeFileSync(join(own, 'cmdline'), cmdline.replaceAll(' ', '\0'));
    if (fd !== undefined) {
      mkdirSync(join(own, 'fd'));
      fd.forEach((inode, i) => symlinkSync(`socket:[${inode}]`, join(own, 'fd', String(i))));
    }
    if (pidFile !== undefined) {
      mkdirSync(join(own, 'cwd'));
      writeFileSync(join(own, 'cwd/postmaster.pid'), pidFile);
    }
  }
  return procfs;
}
const unixLine = (path: string, inode: string): string => `0000: 00000002 00000000 00010000 0001 01 ${inode} ${path}\n`;
const tcpLine = (port: number, inode: string, uid = 0): string =>
  ` 0: 0100007F:${port.toString(16).toUpperCase().padStart(4, '0')} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 ${uid} 0 ${inode} 1\n`;

describe('servers of a machine', () => {
  const asked: number[] = [];
  const asks =
    (...answering: number[]) =>
    (_host: string, port: number): Promise<boolean> => {
      asked.push(port);
      return Promise.resolve(answering.includes(port));
    };
  beforeEach(() => void (asked.length = 0));

  test('one whose process may be looked into: its sockets and ports are one server, its children none', async () => {
    const path = join(directory, '.s.PGSQL.5433');
    await listen(path);
    writeFileSync(`${path}.lock`, '');
    const procfs = procOf(
      { 10: { comm: 'postgres', fd: ['7', '8'] }, 11: { comm: 'postgres', parent: 10, fd: [] } },
      unixLine(path, '7'),
      tcpLine(5433, '8'),
    );
    expect(await discoverServers({ platform: 'linux', procfs, asks: asks() })).toEqual([
      {
        address: path,
        how: 'socket',
        endpoints: [
          { host: directory, port: 5433 },
          { host: '127.0.0.1', port: 5433 },
        ],
      },
    ]);
    expect(asked).toEqual([5432]);
  });

  test('one that only postmaster.pid tells of', async () => {
    const procfs = procOf({ 10: { comm: 'postgres', fd: [], pidFile: `10\n/data\n1\n5433\n${directory}\n127.0.0.1\n` } }, '', '');
    expect(await discoverServers({ platform: 'linux', procfs, asks: asks() })).toMatchObject([
      { address: `${directory}/.s.PGSQL.5433`, how: 'postmaster.pid' },
    ]);
  });

  test('a pooler’s socket is none of PostgreSQL, and a dead one is none at all', async () => {
    const path = join(directory, '.s.PGSQL.6432');
    await listen(path);
    const procfs = procOf({}, unixLine(path, '7') + unixLine(join(directory, 'gone/.s.PGSQL.5432'), '9'), '');
    expect(await discoverServers({ platform: 'linux', procfs, asks: asks() })).toEqual([]);
  });

  test('in a container by its published port, when it answers', async () => {
    const proxy = (port: number, inside: number): string =>
      `/usr/bin/docker-proxy -proto tcp -host-ip 0.0.0.0 -host-port ${port} -container-ip 172.17.0.2 -container-port ${inside}`;
    const procfs = procOf(
      {
        20: { comm: 'docker-proxy', cmdline: proxy(5444, 5432) },
        21: { comm: 'docker-proxy', cmdline: proxy(5445, 5432) },
        22: { comm: 'docker-proxy', cmdline: proxy(8080, 80) },
      },
      '',
      tcpLine(5444, '1') + tcpLine(5445, '2') + tcpLine(8080, '3') + tcpLine(22, '4'),
    );
    expect(await discoverServers({ platform: 'linux', procfs, asks: asks(5444, 8080, 22) })).toEqual([
      { address: '127.0.0.1:5444', how: 'published port', endpoints: [{ host: '127.0.0.1', port: 5444 }] },
    ]);
    expect(asked).toEqual([5444, 5445, 5432]);
  });

  test('of a user whose processes are hidden: the ports of that user are asked, and not a pooler’s', async () => {
    const uid = process.getuid?.() === 0 ? 4_711 : process.getuid!();
    const hidden = { 30: { comm: 'postgres' }, 31: { comm: 'postgres', parent: 30 } };
    const ports = tcpLine(5433, '1', uid) + tcpLine(5434, '2', uid) + tcpLine(8080, '3', uid + 1);
    const procfs = procOf(hidden, '', ports);
    const own = (pid: string): void => chownSync(join(procfs, pid), uid, process.getgid!());
    own('30');
    expect(await discoverServers({ platform: 'linux', procfs, asks: asks(5433) })).toMatchObject([
      { address: '127.0.0.1:5433', how: 'port' },
    ]);
    expect(asked).toEqual([5433, 5434, 5432]);
    mkdirSync(join(procfs, '32'));
    writeFileSync(join(procfs, '32/comm'), 'pgbouncer\n');
    own('32');
    asked.length = 0;
    await discoverServers({ platform: 'linux', procfs, asks: asks() });
    expect(asked).toEqual([5432]);
  });

  test('the usual port, where nothing else can be known', async () => {
    expect(await discoverServers({ platform: 'win32', procfs: join(directory, 'none'), asks: asks(5432) })).toMatchObject([
      { address: '127.0.0.1:5432', how: 'port' },
    ]);
    const path = join(directory, '.s.PGSQL.5440');
    await listen(path);
    writeFileSync(`${path}.lock`, '');
    expect(await discoverServers({ platform: 'darwin', socketDirectories: [directory, '/nowhere'], asks: asks() })).toMatchObject([
      { address: path, how: 'socket' },
    ]);
  });
});

describe('watched already', () => {
  const here = (host: string): boolean => ['127.0.0.1', 'localhost', 'db1'].includes(host);
  const both: DiscoveredServer = {
    address: '/run/postgresql/.s.PGSQL.5432',
    how: 'socket',
    endpoints: [
      { host: '/run/postgresql', port: 5432 },
      { host: '127.0.0.1', port: 5432 },
    ],
  };
  const socketOnly: DiscoveredServer = { address: '/run/x/.s.PGSQL.5432', how: 'socket', endpoints: [{ host: '/run/x', port: 5432 }] };

  test.each([
    [{ host: 'localhost', port: 5432 }, 0],
    [{ host: 'db1', port: 5432 }, 0],
    [{ host: 'db2', port: 5432 }, 1],
    [{ host: '127.0.0.1', port: 5433 }, 1],
    [{ host: '/run/postgresql', port: 5432 }, 0],
    [{ host: '/run/postgresql', port: 5433 }, 1],
    [{ host: '/tmp', port: 5432 }, 1],
  ])('by %o: %i left', (endpoint, left) => expect(notWatched([both], [endpoint], here)).toHaveLength(left));

  test('two servers with one port, in directories of their own, are two', () => {
    expect(notWatched([both, socketOnly], [{ host: '/run/x', port: 5432 }], here)).toEqual([both]);
  });

  test('what to run has the address in it', () => {
    expect(setupCommand(both)).toBe("tidemark-agent postgres setup --url 'postgresql://postgres@/postgres?host=/run/postgresql'");
    expect(urlOf({ ...both, endpoints: [{ host: "/a b'", port: 5433 }] })).toBe('postgresql:///postgres?host=/a%20b%27&port=5433');
    expect(urlOf({ ...both, endpoints: [{ host: '::1', port: 5433 }] }, 'me@x')).toBe('postgresql://me%40x@[::1]:5433/postgres');
  });
});
