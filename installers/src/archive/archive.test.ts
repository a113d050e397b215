import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { crc32, gunzipSync, inflateRawSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { inOrder, type Entry } from './entry.ts';
import { deflate, gzip, xz } from './squeeze.ts';
import { tarOf, tarPartOf } from './tar.ts';
import { zipOf } from './zip.ts';

const run = promisify(execFile);
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Bytes that compress, but not to nothing. */
const TEXT = Buffer.from(Array.from({ length: 4000 }, (_, i) => `line ${i} of ${(i * 7919) % 1009}\n`).join(''));
const entries: Entry[] = [
  { name: 'node', content: TEXT, executable: true },
  { name: 'LICENSE', content: Buffer.from('Free.\n'), executable: false },
  { name: 'empty', content: new Uint8Array(), executable: false },
];
let directory: string;
beforeAll(() => void (directory = mkdtempSync(join(tmpdir(), 'tidemark-archive-'))));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe('the same bytes, whatever the order, the time and the place', () => {
  // Known hashes: they change only with PACKER, or else every node's cache and signature would be of something else.
  test.each([
    ['tar', () => tarOf(entries), () => tarOf(entries.toReversed()), 'e769b2b88548bd5faf9006c397fcd2eef6262cd4b3d4bda79efd7473e24f2244'],
    [
      'tar.xz',
      async () => xz(await tarOf(entries)),
      async () => xz(await tarOf(entries.toReversed())),
      '0a6df5f7b602fddd5604091add60adc9be643666f21be272c02a6cc2045b04ae',
    ],
    [
      'tar.gz',
      async () => gzip(await tarOf(entries)),
      async () => gzip(await tarOf(entries.toReversed())),
      '06e09757929cd94081e0e902bd38fae2aed9feea4a67341d5df9a19ddd1a99fe',
    ],
    ['zip', () => zipOf(entries), () => zipOf(entries.toReversed()), '748cb23ddbc212e37cabea5117a794023945b85cae32937f1ad4dc6f3c265020'],
  ] as const)('%s', async (_form, first, second, known) => {
    const zone = process.env['TZ'];
    const one = await first();
    process.env['TZ'] = 'Pacific/Kiritimati';
    try {
      expect(sha256(await second())).toBe(sha256(one));
    } finally {
      if (zone === undefined) delete process.env['TZ'];
      else process.env['TZ'] = zone;
    }
    expect(sha256(one)).toBe(known);
  });
});

test('xz and gzip are what the system’s programs unpack', async () => {
  writeFileSync(join(directory, 'one.xz'), await xz(TEXT));
  writeFileSync(join(directory, 'one.gz'), await gzip(TEXT));
  const options = { encoding: 'buffer', maxBuffer: 16 * 1024 * 1024 } as const;
  expect((await run('xz', ['-dc', join(directory, 'one.xz')], options)).stdout.equals(TEXT)).toBe(true);
  expect((await run('gzip', ['-dc', join(directory, 'one.gz')], options)).stdout.equals(TEXT)).toBe(true);
});

test('gzip names no file, no time and no system', async () => {
  const made = Buffer.from(await gzip(TEXT));
  expect(made.subarray(0, 10).toString('hex')).toBe('1f8b08000000000002ff');
  expect(gunzipSync(made).equals(TEXT)).toBe(true);
});

test('deflate comes with the checksum of what was packed', async () => {
  const { bytes, crc32: sum } = await deflate(TEXT);
  expect(inflateRawSync(bytes).equals(TEXT)).toBe(true);
  expect(sum).toBe(crc32(TEXT));
});

test('tells how far it is, up to the end', async () => {
  const told: number[] = [];
  const large = Buffer.alloc(8 * 1024 * 1024, TEXT);
  await deflate(large, (percent) => told.push(percent));
  expect(told.length).toBeGreaterThan(2);
  expect(told).toEqual(told.toSorted((a, b) => a - b));
  expect(told.at(-1)).toBe(100);
});

test('tar: root owns everything, programs may be run, links and directories are there', async () => {
  const tar = await tarOf(
    entries.map((entry) => ({ ...entry, name: `top/${entry.name}` })),
    {
      links: [{ name: 'top/also-node', to: 'node' }],
      directories: ['top'],
    },
  );
  writeFileSync(join(directory, 'all.tar'), tar);
  const { stdout } = await run('tar', ['tvf', join(directory, 'all.tar'), '--numeric-owner'], {
    env: { ...process.env, TZ: 'UTC', LC_ALL: 'C' },
  });
  expect(
    stdout
      .trim()
      .split('\n')
      .map((line) => line.replaceAll(/\s+/g, ' ')),
  ).toEqual([
    'drwxr-xr-x 0/0 0 1985-10-26 08:15 top/',
    '-rw-r--r-- 0/0 6 1985-10-26 08:15 top/LICENSE',
    'lrwxrwxrwx 0/0 0 1985-10-26 08:15 top/also-node -> node',
    '-rw-r--r-- 0/0 0 1985-10-26 08:15 top/empty',
    `-rwxr-xr-x 0/0 ${TEXT.length} 1985-10-26 08:15 top/node`,
  ]);
});

test('parts of a tar archive, each a stream of its own, are one archive', async () => {
  const whole = Buffer.concat([await xz(await tarPartOf([entries[0]!])), await xz(await tarOf([entries[1]!]), () => {}, true)]);
  const file = join(directory, 'parts.tar.xz');
  writeFileSync(file, whole);
  expect((await run('tar', ['tJf', file])).stdout).toBe('node\nLICENSE\n');
});

test('zip: what unzip makes of it, and what is packed already is stored', async () => {
  const file = join(directory, 'all.zip');
  const packed = { name: 'dir/inner.tar.gz', content: TEXT, executable: false };
  writeFileSync(file, await zipOf([...entries, packed]));
  const script = `import json, zipfile
z = zipfile.ZipFile(${JSON.stringify(file)})
assert z.testzip() is None
print(json.dumps([[i.filename, i.file_size, i.compress_type, oct(i.external_attr >> 16), list(i.date_time)] for i in z.infolist()]))`;
  const { stdout } = await run('python3', ['-c', script]);
  const time = [1985, 10, 26, 8, 15, 0];
  expect(JSON.parse(stdout)).toEqual([
    ['LICENSE', 6, 8, '0o100644', time],
    ['dir/inner.tar.gz', TEXT.length, 0, '0o100644', time],
    ['empty', 0, 8, '0o100644', time],
    ['node', TEXT.length, 8, '0o100755', time],
  ]);
  expect(statSync(file).size).toBeGreaterThan(TEXT.length);
});

test.each(['../out', '/etc/passwd', 'a\\b', ''])('a name that would leave its directory is refused: "%s"', (name) => {
  expect(() => inOrder([{ name }])).toThrow('not a name');
});

test('a name that comes twice is refused', () => {
  expect(() => inOrder([{ name: 'a' }, { name: 'a' }])).toThrow('twice');
});
