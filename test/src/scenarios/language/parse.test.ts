/** A scenario file is read whole or refused with every mistake, each where it stands and with what is allowed there. */
import { describe, expect, test } from 'vitest';
import { CONDITIONS } from '../conditions/index.ts';
import { readScenarios } from '../files.ts';
import { VERBS } from '../verbs/index.ts';
import { tokensOf } from './forms.ts';
import { parseScenario } from './parse.ts';

const vocabulary = { verbs: VERBS, conditions: CONDITIONS };
const read = (text: string) => parseScenario('cases/some.scenario', text, vocabulary);
const mistakesOf = (text: string): string[] => {
  try {
    read(text);
    return [];
  } catch (error) {
    return (error as Error).message.split(/\n(?=cases)/);
  }
};

describe('a file that is right', () => {
  test('says who there is, what is done and what is expected', () => {
    const scenario = read(`# Replay paused
design: 2
versions: 15 18
settings of A: wal_keep_size=0 archive_command='cp %p x'
settings: work_mem=1MB
at 2s write on A 500 kB/s
then pause replay on B
expect within 10s state of B is paused or stalled and lag of B is above 5s; catchup of B is never
never event split_brain`);
    expect(scenario).toMatchObject({
      name: 'some',
      title: 'Replay paused',
      numbers: [2],
      versions: [15, 18],
      compare: 'B',
      intervalMs: 2_000,
    });
    expect(scenario.servers).toEqual([
      { name: 'A', from: undefined, slot: undefined, settings: { wal_keep_size: '0', archive_command: 'cp %p x', work_mem: '1MB' } },
      { name: 'B', from: 'A', slot: 'b', settings: { work_mem: '1MB' } },
      { name: 'C', from: 'B', slot: 'c', settings: { work_mem: '1MB' } },
      { name: 'D', from: 'A', slot: undefined, settings: { work_mem: '1MB' } },
    ]);
    const [write, paused, expecting, never] = scenario.statements;
    expect(write).toMatchObject({ kind: 'do', line: 6, atMs: 2_000 });
    expect(write!.kind === 'do' && write!.verb.values.number('rate')).toBe(500 * 1024);
    expect(paused).toMatchObject({ kind: 'do', atMs: undefined });
    expect(expecting).toMatchObject({ kind: 'expect', withinMs: 10_000 });
    expect(expecting!.kind === 'expect' && expecting!.conditions.map(({ text }) => text)).toEqual([
      'state of B is paused or stalled',
      'lag of B is above 5s',
      'catchup of B is never',
    ]);
    expect(never).toMatchObject({ kind: 'never' });
  });

  test('may name a server that a line before has made, and no other', () => {
    const made = '# Copy\nthen clone A as E\nexpect within 5s event clone_suspected about E';
    expect(mistakesOf(made)).toEqual([]);
    expect(mistakesOf('# Copy\nexpect within 5s state of E is running\nthen clone A as E')).toEqual([
      'cases/some.scenario:2: "E" is no server of this scenario; there are A, B, C, D',
    ]);
  });

  test.each([
    ['set archive_command to "cp %p x" on A', ['set', 'archive_command', 'to', 'cp %p x', 'on', 'A']],
    ["set primary_conninfo to '' on B", ['set', 'primary_conninfo', 'to', '', 'on', 'B']],
    ['a is 1.5 min; b is 2 kB/s', ['a', 'is', '1.5min', ';', 'b', 'is', '2kB/s']],
    ['metric x{a="b"} on A', ['metric', 'x{a="b"}', 'on', 'A']],
  ])('%s', (line, tokens) => expect(tokensOf(line)).toEqual(tokens));
});

describe('a file that is not', () => {
  test('names every mistake, each with its line', () => {
    const mistakes = mistakesOf(
      '# Title\nversions: 14\nat 2s pauze replay on B\nexpect within 5 state of B is paused\nnever state of Q is paused',
    );
    expect(mistakes).toHaveLength(4);
    expect(mistakes[0]).toBe('cases/some.scenario:2: "versions:" takes some of 15 16 17 18');
    expect(mistakes[1]).toBe('cases/some.scenario:3: "pauze" is not known; did you mean "pause"?');
    expect(mistakes[2]).toContain(':4: "5" is not a duration (500ms, 2s, 1.5min, 1h)');
    expect(mistakes[3]).toContain(':5: "Q" is no server of this scenario; there are A, B, C, D');
  });

  test.each([
    ['at 1s write on A 5 MB', 'is not a rate (500kB/s, 2MB/s)'],
    ['at 1s stop A gently', '"gently" stands where one of these is meant: fast, immediate, smart'],
    ['at 1s pause B', 'Allowed:\n      pause replay on <server>'],
    ['expect 5s state of B is paused', '"expect" goes on with "within <time>"'],
    ['expect within 5s', 'A condition is missing'],
    ['expect within 5s state of B is asleep', '"asleep" stands where one of these is meant: running, streaming'],
    ['expect within 5s event earthquake', '"earthquake" stands where one of these is meant: primary_lost'],
    ['pause replay on B', 'A line begins with one of: at <time> VERB, then VERB'],
    ['colour: blue', '"colour:" is not known; there are design, versions'],
    ['servers: A, B from C', 'B is from C, which has to stand before it'],
    ['servers: A, B to A', '"B to A" is no server; they are written like this'],
    ['settings of A: wal_keep_size', 'Settings are written name=value'],
    ['settings of Z: a=b', '"settings of Z": there is no server Z'],
    ['detect within 1s split brain\ndetect within 2s split brain', 'One line at most begins with "detect"'],
    ['at 1s stop B\ndesign: 3', '"design:" has to stand before'],
  ])('%s', (text, why) => expect(mistakesOf(`# Title\n${text}`).join('\n')).toContain(why));

  test('without a title or without anything to do', () => {
    expect(mistakesOf('at 1s stop B').join()).toContain('The first line is a comment');
    expect(mistakesOf('# Title').join()).toContain('Nothing is done');
  });
});

test('every scenario of the folder can be read, and every number of the design is there', () => {
  const numbers = new Set(readScenarios().flatMap((scenario) => scenario.numbers));
  const designed = Array.from({ length: 32 }, (_, i) => i + 1).filter((number) => ![5, 24, 31].includes(number));
  expect(designed.filter((number) => !numbers.has(number))).toEqual([]);
});
