/**
 * How the Linux installer reaches its collector, and what it says when it cannot: names, connections, certificates, proxies, with each
 * program that fetches. And the whole way over HTTPS from a collector that is its own authority. Needs root.
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request as ask, type Server } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EXIT } from '@tidemark/service';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { runToEnd, startCollector, type RunningCollector } from '../programs.ts';
import type { Machine } from './machine.ts';
import { Site } from './site.ts';

const isRoot = process.getuid?.() === 0;

let site: Site;
beforeAll(async () => {
  if (isRoot) site = await Site.open(['--enrollment', 'open']);
});
afterEach(() => site?.gate.clear());
afterAll(() => site?.close());

/** A port of this side where nobody listens. */
async function deadPort(): Promise<number> {
  const server = createServer().listen(0, site.lab.address);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe.skipIf(!isRoot).each(['curl', 'wget', 'busybox wget'] as const)('%s', (fetcher) => {
  let machine: Machine;
  beforeAll(async () => {
    machine = await site.machine({ release: fetcher === 'wget' ? 'bullseye' : 'bookworm', hostname: fetcher.replace(' ', '-') });
    await site.fetchScript(machine);
    if (fetcher !== 'busybox wget') return;
    machine.install('/usr/bin/busybox', '/usr/bin/busybox');
    await machine.run('rm /usr/bin/curl; ln -s busybox /usr/bin/wget');
  });
  const install = (args: string): ReturnType<Machine['run']> => machine.run(`sh /srv/agent-install-linux.sh ${args}`);

  test('DNS', async () => {
    const outcome = await install('--server http://collector.invalid:5000');
    expect(outcome.stderr).toMatch(
      /^agent-install-linux\.sh: DNS: the name in http:\/\/collector\.invalid:5000 is unknown to this machine \(.+\)/,
    );
    expect(outcome.code).toBe(EXIT.nameUnknown);
  });

  test('TCP, with the command for the firewall that is found', async () => {
    const port = await deadPort();
    const url = `http://${site.lab.address}:${port}`;
    const refused = await install(`--server ${url}`);
    expect(refused.stderr).toContain(`TCP: no connection to ${url}`);
    expect(refused.stderr).toContain(`sudo ufw allow ${port}/tcp`);
    expect(refused.code).toBe(EXIT.connectionRefused);
    machine.write('/usr/local/bin/firewall-cmd', '#!/bin/sh\n', 0o755);
    expect((await install(`--server ${url}`)).stderr).toContain(`sudo firewall-cmd --permanent --add-port=${port}/tcp`);
    await machine.run('rm /usr/local/bin/firewall-cmd');
  });

  test('TLS', async () => {
    const outcome = await install(`--server ${site.gate.url.replace('http:', 'https:')}`);
    expect(outcome.stderr).toContain('TLS: ');
    expect(outcome.stderr).toContain("this machine's clock");
    expect(outcome.code).toBe(EXIT.tlsFailed);
  });

  test('HTTP: something else answers', async () => {
    const other = createServer((_, response) => response.writeHead(404).end('no such page')).listen(0, site.lab.address);
    await once(other, 'listening');
    // The script's own origin would do for the downloads; so the script is made to come from there.
    const url = `http://${site.lab.address}:${(other.address() as AddressInfo).port}`;
    await machine.run(`sed "s|^TIDEMARK_URL=.*|TIDEMARK_URL='${url}'|" /srv/agent-install-linux.sh >/srv/other.sh`);
    const outcome = await machine.run('sh /srv/other.sh');
    other.close();
    expect(outcome.stderr).toContain(`HTTP: what answers at ${url} is not a Tidemark collector`);
    expect(outcome.stderr).toContain('404');
    expect(outcome.code).toBe(EXIT.notACollector);
  });

  test('and then it is installed, the waiting included', async () => {
    let asked = 0;
    site.gate.intercept((path, response) => {
      if (!path.endsWith('release.json') || ++asked > 1) return false;
      response.writeHead(503, { 'retry-after': '1' }).end('{}');
      return true;
    });
    const outcome = await install('');
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    expect(outcome.stdout).toContain('still preparing the downloads');
    expect(outcome.stdout).toContain('the collector has confirmed a report');
  });
});

/** An HTTP proxy that passes everything on and remembers where to. */
async function openProxy(seen: string[]): Promise<{ url: string; server: Server; close: () => Promise<void> }> {
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => {
    seen.push(`${request.method} ${request.url}`);
    const onward = ask(request.url!, { method: request.method, headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    request.pipe(onward);
  });
  server.on('connect', (request, client: Socket, head: Buffer) => {
    seen.push(`CONNECT ${request.url}`);
    const [host, port] = request.url!.split(':');
    const onward = connect(Number(port), host, () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n');
      onward.write(head);
      onward.pipe(client).pipe(onward);
    });
    for (const socket of [onward, client]) {
      sockets.add(socket);
      socket.on('error', () => socket.destroy());
    }
  });
  server.listen(0, site.lab.address);
  await once(server, 'listening');
  const close = async (): Promise<void> => {
    sockets.forEach((socket) => socket.destroy());
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://${site.lab.address}:${(server.address() as AddressInfo).port}`, server, close };
}

describe.skipIf(!isRoot)('through a proxy', () => {
  test.each(['bookworm', 'bullseye'] as const)(
    'downloads and reports take it; one of the environment is not taken (%s)',
    async (release) => {
      const machine = await site.machine({ release, hostname: `behind-${release}` });
      const seen: string[] = [];
      const proxy = await openProxy(seen);
      await site.fetchScript(machine);
      const dead = { http_proxy: `http://${site.lab.address}:${await deadPort()}` };
      const outcome = await machine.run(`sh /srv/agent-install-linux.sh --proxy ${proxy.url}`, dead);
      expect(outcome).toMatchObject({ code: 0, stderr: '' });
      expect(seen.filter((line) => line.includes('/documentation/downloads/')).length).toBeGreaterThan(3);
      const byScript = seen.length;
      expect(await machine.run('systemctl restart tidemark-agent')).toMatchObject({ code: 0 });
      expect(await machine.run(`tidemark-agent confirm --since ${Date.now()}`)).toMatchObject({ code: 0 });
      expect(seen.length).toBeGreaterThan(byScript);
      expect(machine.read('/etc/tidemark/agent.yaml')).toContain(`proxy: ${proxy.url}`);
      await machine.run('systemctl stop tidemark-agent');
      await proxy.close();
    },
  );
});

describe.skipIf(!isRoot)('HTTPS, from a collector that is its own authority', () => {
  let directory: string;
  let collector: RunningCollector | undefined;
  let url: string;
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'tidemark-installing-https-'));
    collector = await startCollector({
      dataDir: join(directory, 'data'),
      listen: `${site.lab.address}:0`,
      arguments: ['--tls', 'self-made', '--tls-names', site.lab.address],
    });
    url = collector.url;
  });
  afterAll(async () => {
    await collector?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const fetchBlindly = (machine: Machine): ReturnType<Machine['run']> =>
    machine.run(
      `cd /srv && if command -v curl >/dev/null; then curl -kfsSO ${url}/documentation/downloads/agent-install-linux.sh; else wget -q --no-check-certificate ${url}/documentation/downloads/agent-install-linux.sh; fi`,
    );
  async function string(): Promise<string> {
    const made = await runToEnd('collector', ['enroll', '--data-dir', join(directory, 'data'), '--server', url, '--url', url]);
    const [found] = /tme1\.\S+/.exec(made.stdout) ?? [];
    if (found === undefined) throw new Error(`${made.stdout}${made.stderr}`);
    return found;
  }

  test.each(['bookworm', 'bullseye'] as const)('an enrolment string pins it, to the confirmed report (%s)', async (release) => {
    const machine = await site.machine({ release, hostname: `pinned-${release}` });
    expect(await fetchBlindly(machine)).toMatchObject({ code: 0 });
    machine.write('/srv/enrolment', await string(), 0o600);
    const outcome = await machine.run('sh /srv/agent-install-linux.sh --token-file /srv/enrolment');
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    expect(outcome.stdout).toContain('the collector has confirmed a report');
    expect((await machine.run(`stat -c '%a %U:%G' /etc/tidemark/ca.pem; sed -n 's/^caFile: //p' /etc/tidemark/agent.yaml`)).stdout).toBe(
      '644 root:root\n/etc/tidemark/ca.pem\n',
    );
    // An upgrade trusts what was pinned, and nothing else.
    expect(await machine.run('sh /srv/agent-install-linux.sh --update')).toMatchObject({ code: 0, stderr: '' });
  });

  test('another authority than the string was made for is refused before anything is sent there', async () => {
    const machine = await site.machine({ release: 'bookworm', hostname: 'deceived' });
    expect(await fetchBlindly(machine)).toMatchObject({ code: 0 });
    machine.write('/srv/enrolment', (await string()).replace(/\.[0-9a-f]{64}@/, `.${'0'.repeat(64)}@`), 0o600);
    const outcome = await machine.run('sh /srv/agent-install-linux.sh --token-file /srv/enrolment');
    expect(outcome.code).toBe(EXIT.tlsFailed);
    expect(outcome.stderr).toContain('is not the one that the enrolment string was made for');
    expect(await machine.run('test -e /srv/enrolment && ! test -e /opt/tidemark-agent')).toMatchObject({ code: 0 });
  });

  test('a given authority does as well, and a wrong one is said', async () => {
    const machine = await site.machine({ release: 'bookworm', hostname: 'given' });
    expect(await fetchBlindly(machine)).toMatchObject({ code: 0 });
    await machine.run(`curl -kfsS -o /srv/ca.pem ${url}/documentation/downloads/ca.pem`);
    const outcome = await machine.run('sh /srv/agent-install-linux.sh --ca-file /srv/ca.pem');
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    expect(outcome.stdout).toContain('it waits to be approved');
    writeFileSync(machine.path('/srv/no.pem'), 'nothing');
    const wrong = await machine.run('sh /srv/agent-install-linux.sh --ca-file /srv/no.pem');
    expect(wrong).toMatchObject({ code: EXIT.usage });
    expect(wrong.stderr).toContain('holds no certificate as PEM');
    const anothers = await machine.run('sh /srv/agent-install-linux.sh --ca-file /etc/ssl/certs/ISRG_Root_X1.pem');
    expect(anothers).toMatchObject({ code: EXIT.tlsFailed });
    expect(anothers.stderr, 'the reason, and not where curl explains it').toMatch(
      /does not prove who it is \(SSL certificate problem: [^)]*\)\. Give/,
    );
  });
});
