import { chmodSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Type } from 'typebox';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { configureFile, mergeOptions, type ConfigureFileOptions } from './configure.ts';
import { EXIT, OperationalFailure } from './failure.ts';
import { declareOptions } from './options.ts';

describe('merging', () => {
  test('changes what is given, keeps comments, order and everything else', () => {
    const text =
      '# ours\nlisten: 0.0.0.0:5000 # the old port\n\n# thresholds\nrules:\n  - name: cpu\n    warning: 70\ntag: {a: x}\nlong: "' +
      'word '.repeat(60) +
      '"\n';
    const { text: merged, changed } = mergeOptions(text, { listen: '0.0.0.0:5055', tag: { b: 'y' }, publicUrl: 'https://x.example' });
    expect(merged).toContain('# ours\nlisten: 0.0.0.0:5055 # the old port\n\n# thresholds\nrules:\n  - name: cpu\n    warning: 70\n');
    expect(merged).toMatch(/tag: \{ ?a: x, b: y ?\}/);
    expect(merged.split('\n').filter((line) => line.startsWith('long'))).toHaveLength(1);
    expect(merged).toMatch(/publicUrl: https:\/\/x\.example\n$/);
    expect(changed).toEqual([
      { option: 'listen', before: '0.0.0.0:5000', after: '0.0.0.0:5055' },
      { option: 'tag', before: { a: 'x' }, after: { a: 'x', b: 'y' } },
      { option: 'publicUrl', before: undefined, after: 'https://x.example' },
    ]);
  });

  test('what is there already changes nothing, not even a space', () => {
    const text = 'listen:    "0.0.0.0:5000"   # odd, but ours\n';
    expect(mergeOptions(text, { listen: '0.0.0.0:5000' })).toEqual({ text, changed: [] });
  });

  test('a file of comments keeps them; undefined removes', () => {
    const { text } = mergeOptions('# only\n# words\n', { site: 'hamburg' });
    expect(text).toMatch(/^# only\n# words\n\n?site: hamburg\n$/);
    expect(mergeOptions('a: 1\nb: 2\n', { a: undefined }).text).toBe('b: 2\n');
  });

  test.each(['- a\n', 'a: [1\n', 'plain'])('refuses what is no options file: %j', (text) => {
    expect(() => mergeOptions(text, { a: 1 })).toThrow(OperationalFailure);
  });

  test('text that looks like something else stays text', () => {
    const { text } = mergeOptions('', { site: '007', publicUrl: 'yes', tag: { a: '*x' } });
    expect(mergeOptions(text, { site: '007', publicUrl: 'yes', tag: { a: '*x' } }).changed).toEqual([]);
  });
});

describe('the file', () => {
  const OPTIONS = declareOptions({
    interval: { schema: Type.Number({ minimum: 1 }), description: 'seconds', value: 'seconds', default: 15 },
    site: { schema: Type.String({ minLength: 1 }), description: 'site', value: 'site' },
  });
  let directory: string;
  let file: string;
  const configure = (flags: ConfigureFileOptions['flags']): unknown =>
    configureFile('program', OPTIONS, { file, flags, mode: 0o640, header: '# made\n' });
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'tidemark-configure-'));
    file = join(directory, 'x.yaml');
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  test('is made with its header and mode, and numbers are numbers', () => {
    configure({ interval: '60', config: '/elsewhere', unknown: 'x' });
    expect(readFileSync(file, 'utf8')).toMatch(/^# made\n\n?interval: 60\n$/);
    expect(statSync(file).mode & 0o777).toBe(0o640);
    expect(readdirSync(directory)).toEqual(['x.yaml']);
  });

  test('keeps the mode that somebody gave it', () => {
    writeFileSync(file, 'interval: 5\n');
    chmodSync(file, 0o600);
    expect(configure({ interval: '60' })).toEqual([{ option: 'interval', before: 5, after: 60 }]);
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  test('a mistake, given or in the file, writes nothing', () => {
    expect(() => configure({ interval: 'soon' })).toThrow(expect.objectContaining({ exitCode: EXIT.configuration }) as Error);
    expect(existsSync(file)).toBe(false);
    writeFileSync(file, 'interval: 5\nsiet: hamburg\n');
    expect(() => configure({ interval: '60' })).toThrow(/siet.*did you mean site/);
    expect(readFileSync(file, 'utf8')).toBe('interval: 5\nsiet: hamburg\n');
    expect(readdirSync(directory)).toEqual(['x.yaml']);
  });
});
