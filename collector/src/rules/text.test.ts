/** Durations, quantities, patterns and bounds as people write and read them. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { boundText, crossingText, holdText, valueText } from './bound-text.ts';
import { durationText, holdForm, parseDuration, parseHold } from './duration.ts';
import { compilePattern, compilePatterns } from './pattern.ts';
import { isQuantity, quantityForm, toBaseUnit, unitOfMetric, UNITS } from './quantity.ts';

describe('durations', () => {
  test.each([
    ['90s', 90_000],
    ['5m', 300_000],
    ['1h30m', 5_400_000],
    ['1h 30m', 5_400_000],
    ['2d', 172_800_000],
    ['1w', 604_800_000],
    ['0s', 0],
  ])('%s', (text, ms) => expect(parseDuration(text)).toBe(ms));
  test.each(['', '5', '5 minutes', 'm', '-5m', '1.5h', '30m1h', '5m5m', '1e3s'])('not %j', (text) =>
    expect(parseDuration(text)).toBeUndefined(),
  );

  test('what is written back reads as the same', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 100_000_000 }), (seconds) => {
        expect(parseDuration(durationText(seconds * 1_000))).toBe(seconds * 1_000);
      }),
    );
    fc.assert(
      fc.property(fc.nat(100_000), fc.nat(100_000), (a, b) => {
        const hold = { trueForMs: a * 1_000, ofLastMs: b * 1_000 };
        expect(parseHold(holdForm(hold))).toEqual(hold);
      }),
    );
  });
  test('holds', () => {
    expect(parseHold('10m of 15m')).toEqual({ trueForMs: 600_000, ofLastMs: 900_000 });
    expect(parseHold('5m')).toEqual({ trueForMs: 300_000, ofLastMs: 300_000 });
    for (const text of ['10m of', 'of 15m', '10m of 15m of 20m', '10mof15m']) expect(parseHold(text)).toBeUndefined();
    expect(holdText({ trueForMs: 600_000, ofLastMs: 900_000 })).toBe('for 10 min of the last 15 min');
    expect(holdText({ trueForMs: 5_400_000, ofLastMs: 5_400_000 })).toBe('for 1 h 30 min without interruption');
    expect(holdText({ trueForMs: 0, ofLastMs: 0 })).toBe('');
  });
});

describe('quantities', () => {
  test.each([
    ['70%', 'ratio', 0.7],
    ['0.5 %', 'ratio', 0.005],
    ['100MiB', 'bytes', 104_857_600],
    ['1.5 GB', 'bytes', 1.5e9],
    ['2s', 'seconds', 2],
    ['1500ms', 'seconds', 1.5],
    ['1h30m', 'seconds', 5_400],
    ['14d', 'seconds', 1_209_600],
  ] as const)('%s', (text, unit, value) => {
    expect(isQuantity(text)).toBe(true);
    expect(toBaseUnit(text, unit)).toEqual({ value });
    for (const other of UNITS) if (other !== unit) expect(toBaseUnit(text, other)).toHaveProperty('mistake');
  });
  test.each(['much', '70', '%', '-5%', '1XB', ''])('not %j', (text) => expect(isQuantity(text)).toBe(false));

  test('every percentage is the ratio it is written as', () => {
    for (let percent = 0; percent <= 100; percent++) expect(toBaseUnit(`${percent}%`, 'ratio')).toEqual({ value: percent / 100 });
  });
  test('what is written back reads as the same', () => {
    fc.assert(
      fc.property(fc.constantFrom('bytes', 'seconds'), fc.nat(2 ** 31 - 1), (unit, value) => {
        const written = quantityForm(value, unit);
        expect(toBaseUnit(isQuantity(written) ? written : Number(written), unit)).toEqual({ value });
      }),
    );
    expect([quantityForm(0.7, 'ratio'), quantityForm(104_857_600, 'bytes'), quantityForm(1.5, 'seconds')]).toEqual([
      '70%',
      '100MiB',
      '1.5s',
    ]);
  });
  test.each([
    ['tidemark_cpu_usage_ratio', 'ratio'],
    ['tidemark_postgres_replica_bytes_behind', 'bytes'],
    ['node_disk_read_bytes_total', 'bytes'],
    ['tidemark_http_response_seconds', 'seconds'],
    ['pg_up', ''],
    ['bytes', ''],
  ])('%s', (metric, unit) => expect(unitOfMetric(metric)).toBe(unit));
});

describe('patterns', () => {
  test('as a regular expression would', () => {
    const letters = fc.constantFrom('a', 'b', '*');
    fc.assert(
      fc.property(fc.array(letters, { maxLength: 7 }), fc.array(fc.constantFrom('a', 'b'), { maxLength: 9 }), (pattern, value) => {
        const expected = new RegExp(`^${pattern.map((letter) => (letter === '*' ? '.*' : letter)).join('')}$`).test(value.join(''));
        expect(compilePattern(pattern.join(''))(value.join(''))).toBe(expected);
      }),
      { numRuns: 2_000 },
    );
  });
  test.each([
    [
      ['/data*', '!/data/tmp'],
      ['/data', '/data/a'],
      ['/data/tmp', '/'],
    ],
    [
      ['!nfs*', '!cifs'],
      ['ext4', ''],
      ['nfs4', 'cifs'],
    ],
    [['a.c'], ['a.c'], ['abc']],
    [['*'], ['', 'x'], []],
  ])('%j', (patterns, fitting, others) => {
    const fits = compilePatterns(patterns);
    expect(fitting.filter((value) => !fits(value))).toEqual([]);
    expect(others.filter((value) => fits(value))).toEqual([]);
  });
});

describe('bounds', () => {
  test.each([
    [0.93, { above: 0.9 }, 'ratio', '93 % above 90 %'],
    [0.90001, { above: 0.9 }, 'ratio', '90.001 % above 90 %'],
    [0.9, { atLeast: 0.9 }, 'ratio', '90 % at least 90 %'],
    [112 * 2 ** 20, { above: 100 * 2 ** 20 }, 'bytes', '112 MiB above 100 MiB'],
    [104_857_601, { above: 104_857_600 }, 'bytes', '100.000001 MiB above 100 MiB'],
    [2.347, { above: 2 }, 'seconds', '2.35 s above 2 s'],
    [0.0042, { below: 0.5 }, 'seconds', '4.2 ms below 500 ms'],
    [13.5 * 86_400, { below: 14 * 86_400 }, 'seconds', '13 d 12 h below 14 d'],
    [0, { above: -1 }, '', '0 above -1'],
    [1_234_567, { atMost: 2_000_000 }, '', '1234567 at most 2000000'],
    [0, { is: [0, 2] }, '', 'is 0'],
    [3, { roseBy: 1 }, '', 'rose by 1 or more'],
  ] as const)('%d', (value, bound, unit, text) => {
    const copy = 'is' in bound ? { is: [...bound.is] } : bound;
    expect(crossingText(value, copy, unit)).toBe(text);
  });

  test('two numbers never look the same beside each other', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('ratio', 'bytes', 'seconds', ''),
        fc.integer({ min: 1, max: 1e9 }),
        fc.integer({ min: 1, max: 1e9 }),
        (unit, a, b) => {
          const scale = unit === 'ratio' ? 1e-9 : unit === 'seconds' ? 1e-3 : 1;
          const text = crossingText(a * scale, { above: b * scale }, unit);
          const [value, bound] = text.split(' above ');
          expect(value === bound).toBe(a === b);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test('words', () => {
    expect(boundText({ isNot: ['a', 'b', 'c'] }, '')).toBe('is not a, b or c');
    expect(boundText({ missing: true }, '')).toBe('missing');
    expect([valueText(Number.NaN, 'bytes'), valueText(Number.POSITIVE_INFINITY, 'ratio'), valueText(-90, 'seconds')]).toEqual([
      'not a number',
      'infinite',
      '-1 min 30 s',
    ]);
  });
});
