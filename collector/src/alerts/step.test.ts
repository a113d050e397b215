/** The semantics of judging, each as a table of samples and what they lead to. */
import { describe, expect, test } from 'vitest';
import { START } from '../live/testing.ts';
import { MINUTE, Stepper, levelOf, ruleOf } from './testing.ts';

const above = (bound: number, more: Parameters<typeof levelOf>[1] = {}) => levelOf({ above: bound }, more);
const warning = (more: Parameters<typeof levelOf>[1] = {}) => new Stepper(ruleOf({ warning: above(90, more) }));

describe('bounds', () => {
  test.each([
    [{ above: 90 }, 90, false],
    [{ above: 90 }, 90.000_001, true],
    [{ atLeast: 90 }, 90, true],
    [{ below: 5 }, 5, false],
    [{ below: 5 }, 4.9, true],
    [{ atMost: 5 }, 5, true],
    [{ above: 90 }, Number.POSITIVE_INFINITY, true],
  ])('%j with %d: %s', (trigger, value, opens) => {
    expect(new Stepper(ruleOf({ warning: levelOf(trigger) })).sample(0, value)).toEqual(opens ? ['opened warning'] : []);
  });

  test('exactly on the clear value is over, a hair beside it is not', () => {
    const stepper = warning({ clear: 80 });
    stepper.sample(0, 91);
    expect(stepper.sample(15, 89)).toEqual([]);
    expect(stepper.sample(30, 80.000_001)).toEqual([]);
    expect(stepper.sample(45, 80)).toEqual(['closed recovered']);
  });

  test('below: back at or above the clear value', () => {
    const stepper = new Stepper(ruleOf({ warning: levelOf({ below: 10 }, { clear: 20 }) }));
    expect(stepper.sample(0, 9)).toEqual(['opened warning']);
    expect(stepper.sample(15, 19)).toEqual([]);
    expect(stepper.sample(30, 20)).toEqual(['closed recovered']);
  });

  test.each([
    [{ is: [0] }, 0, true],
    [{ is: [0] }, 1, false],
    [{ is: ['streaming', 'catchup'] }, 'catchup', true],
    [{ isNot: ['streaming'] }, 'stopped', true],
    [{ isNot: [true] }, true, false],
    [{ is: [1] }, true, false],
  ])('state %j with %j: %s', (trigger, value, opens) => {
    const stepper = new Stepper(ruleOf({ kind: 'state', warning: levelOf(trigger) }));
    expect(stepper.sample(0, value)).toEqual(opens ? ['opened warning'] : []);
  });
});

describe('how long', () => {
  test('without interruption: from the first value on, not a moment sooner', () => {
    const stepper = warning({ trueForMs: 5 * MINUTE });
    expect(stepper.run(0, 285, 91)).toEqual([]);
    expect(stepper.sample(300, 91)).toEqual(['opened warning']);
    expect(stepper.effects).toMatchObject([{ kind: 'opened', since: START, at: START + 300_000, value: 91 }]);
  });

  test('one value that is not beyond begins it anew', () => {
    const stepper = warning({ trueForMs: 5 * MINUTE });
    stepper.run(0, 285, 91);
    stepper.sample(300, 90);
    expect(stepper.run(315, 600, 91)).toEqual([]);
    expect(stepper.sample(615, 91)).toEqual(['opened warning']);
    expect(stepper.effects[0]).toMatchObject({ since: START + 315_000 });
  });

  test('X of the last Y: what lies between does not begin it anew, and what is older than Y does not count', () => {
    const stepper = warning({ trueForMs: 5 * MINUTE, ofLastMs: 10 * MINUTE });
    stepper.run(0, 150, 91);
    expect(stepper.run(165, 300, 50)).toEqual([]);
    // 165 s held before; 135 more are needed.
    expect(stepper.run(315, 435, 91)).toEqual([]);
    expect(stepper.sample(450, 91)).toEqual(['opened warning']);
    expect(stepper.effects[0]).toMatchObject({ since: START });
    const late = warning({ trueForMs: 5 * MINUTE, ofLastMs: 6 * MINUTE });
    late.run(0, 150, 91);
    late.run(165, 300, 50);
    expect(late.run(315, 585, 91)).toEqual([]);
    expect(late.run(600, 630, 91)).toEqual(['opened warning']);
  });

  test('a value that is not beyond opens nothing, however much there was before', () => {
    const stepper = warning({ trueForMs: MINUTE, ofLastMs: 10 * MINUTE });
    stepper.sample(0, 91);
    stepper.sample(30, 91);
    expect(stepper.sample(60, 50)).toEqual([]);
    expect(stepper.sample(90, 91)).toEqual(['opened warning']);
  });

  test('a gap that is bridged counts, a longer one counts neither way and forgets nothing', () => {
    const bridged = warning({ trueForMs: MINUTE });
    bridged.sample(0, 91);
    bridged.sample(50, 91);
    expect(bridged.sample(60, 91)).toEqual(['opened warning']);
    const gap = warning({ trueForMs: 2 * MINUTE, ofLastMs: 10 * MINUTE });
    gap.run(0, 60, 91);
    expect(gap.sample(240, 91)).toEqual([]);
    expect(gap.sample(285, 91)).toEqual([]);
    expect(gap.sample(300, 91)).toEqual(['opened warning']);
    const strict = warning({ trueForMs: 2 * MINUTE });
    strict.run(0, 105, 91);
    expect(strict.run(165, 270, 91)).toEqual([]);
    expect(strict.sample(285, 91)).toEqual(['opened warning']);
  });

  test('a series with a slower pace than its node is bridged once it has shown it', () => {
    const stepper = warning({ trueForMs: 10 * MINUTE });
    const opened = Array.from({ length: 20 }, (_, i) => stepper.sample(i * 300, 91)).findIndex((told) => told.length > 0);
    expect(opened).toBeGreaterThan(1);
    expect(opened).toBeLessThanOrEqual(6);
  });

  test('flapping around the bound is one alert', () => {
    const stepper = warning({ clear: 80, clearAfterMs: MINUTE });
    for (let i = 0; i < 100; i++) stepper.sample(i * 15, i % 2 === 0 ? 91 : 89);
    for (let i = 100; i < 140; i++) stepper.sample(i * 15, i % 4 === 0 ? 91 : 70);
    expect(stepper.told).toEqual(['opened warning']);
    stepper.run(2_100, 2_200, 70);
    expect(stepper.told).toEqual(['opened warning', 'closed recovered']);
  });

  test('what was before an end does not help to the next beginning', () => {
    const stepper = warning({ trueForMs: 5 * MINUTE, ofLastMs: 15 * MINUTE, clearAfterMs: MINUTE });
    stepper.run(0, 300, 91);
    stepper.run(315, 375, 10);
    expect(stepper.told).toEqual(['opened warning', 'closed recovered']);
    expect(stepper.run(390, 660, 91)).toEqual([]);
    expect(stepper.run(675, 690, 91)).toEqual(['opened warning']);
  });

  test('clearAfter: the clear value has to hold; a gap neither adds nor begins anew', () => {
    const stepper = warning({ clear: 80, clearAfterMs: 2 * MINUTE });
    stepper.sample(0, 91);
    stepper.run(15, 75, 70);
    expect(stepper.sample(600, 70)).toEqual([]);
    expect(stepper.run(615, 645, 70)).toEqual([]);
    expect(stepper.sample(660, 70)).toEqual(['closed recovered']);
  });
});

describe('levels', () => {
  const both = () => new Stepper(ruleOf({ warning: above(70, { clear: 60 }), critical: above(90, { clear: 85 }) }));

  test('up, down and over, each by its own clear value', () => {
    const stepper = both();
    expect(stepper.sample(0, 75)).toEqual(['opened warning']);
    expect(stepper.sample(15, 95)).toEqual(['level critical']);
    expect(stepper.sample(30, 86)).toEqual([]);
    expect(stepper.sample(45, 85)).toEqual(['level warning']);
    expect(stepper.sample(60, 61)).toEqual([]);
    expect(stepper.sample(75, 60)).toEqual(['closed recovered']);
  });

  test('at once at the higher one', () => {
    const stepper = both();
    expect(stepper.sample(0, 95)).toEqual(['opened critical']);
    expect(stepper.sample(15, 10)).toEqual(['closed recovered']);
  });
});

describe('missing data', () => {
  const open = () => {
    const stepper = warning();
    stepper.sample(0, 91);
    return stepper;
  };
  const unmeasured = (stepper: Stepper, seconds: number, kind: 'unmeasured' | 'gone' = 'unmeasured') =>
    stepper.input({ kind, at: START + seconds * 1_000, bridgeMs: 50_000 });

  test('after a bridge it is said, never closed, and taken back with the next value', () => {
    const stepper = open();
    expect(unmeasured(stepper, 45)).toEqual([]);
    expect(unmeasured(stepper, 60)).toEqual(['data gone']);
    for (let seconds = 75; seconds < 86_400; seconds += 600) expect(unmeasured(stepper, seconds)).toEqual([]);
    expect(stepper.sample(86_400, 91)).toEqual(['data back']);
    unmeasured(stepper, 86_500);
    expect(stepper.sample(86_600, 10)).toEqual(['data back', 'closed recovered']);
  });

  test('what is said to be gone for ten minutes is closed for that reason; a value in between begins anew', () => {
    const stepper = open();
    unmeasured(stepper, 15, 'gone');
    unmeasured(stepper, 600, 'gone');
    stepper.sample(601, 91);
    expect(unmeasured(stepper, 615, 'gone')).toEqual([]);
    unmeasured(stepper, 1_200, 'gone');
    expect(unmeasured(stepper, 1_215, 'gone')).toEqual(['closed gone']);
    expect(stepper.state).toBeUndefined();
  });

  test('a silent node freezes it', () => {
    const stepper = open();
    expect(stepper.input({ kind: 'silent' }, 100)).toEqual(['data gone']);
    expect(stepper.input({ kind: 'silent' }, 101)).toEqual([]);
    expect(stepper.sample(600, 91)).toEqual(['data back']);
  });

  test('nothing to say where nothing is open', () => {
    const stepper = warning({ trueForMs: MINUTE });
    stepper.sample(0, 91);
    expect([...unmeasured(stepper, 300), ...stepper.input({ kind: 'silent' }, 400)]).toEqual([]);
  });
});

describe('late samples', () => {
  test('fill what is remembered, open nothing; the next live one does, and says when it began', () => {
    const stepper = warning({ trueForMs: 2 * MINUTE });
    for (let seconds = 0; seconds <= 300; seconds += 15) expect(stepper.sample(seconds, 91, false)).toEqual([]);
    expect(stepper.sample(315, 91)).toEqual(['opened warning']);
    expect(stepper.effects[0]).toMatchObject({ since: START, at: START + 315_000 });
  });

  test('history that is over opens nothing', () => {
    const stepper = warning({ trueForMs: 2 * MINUTE, ofLastMs: 10 * MINUTE });
    for (let seconds = 0; seconds <= 300; seconds += 15) stepper.sample(seconds, 91, false);
    expect(stepper.sample(315, 50)).toEqual([]);
    expect(stepper.told).toEqual([]);
  });

  test('older than what is known: ignored', () => {
    const stepper = warning();
    stepper.sample(60, 91);
    const { state } = stepper;
    expect(stepper.sample(30, 10, false)).toEqual([]);
    expect(stepper.sample(60, 10)).toEqual([]);
    expect(stepper.state).toBe(state);
  });

  test('close nothing by themselves', () => {
    const stepper = warning({ clearAfterMs: MINUTE });
    stepper.sample(0, 91);
    for (let seconds = 15; seconds <= 300; seconds += 15) expect(stepper.sample(seconds, 10, false)).toEqual([]);
    expect(stepper.sample(315, 10)).toEqual(['closed recovered']);
  });
});

describe('events', () => {
  const event = () => new Stepper(ruleOf({ kind: 'event', warning: levelOf({ roseBy: 2 }, { clearAfterMs: 15 * MINUTE }) }));

  test('open for as long after the last rise, several are one alert', () => {
    const stepper = event();
    expect(stepper.sample(0, 1)).toEqual([]);
    expect(stepper.sample(15, 2)).toEqual(['opened warning']);
    stepper.run(30, 600, 0);
    stepper.sample(615, 5);
    expect(stepper.run(630, 1_500, 0)).toEqual([]);
    expect(stepper.sample(1_515, 0)).toEqual(['closed recovered']);
    expect(stepper.effects).toMatchObject([{ since: START + 15_000, value: 2 }, { value: 5 }]);
    expect(stepper.state).toBeUndefined();
  });

  test('a late one opens with the next live sample, if it still counts', () => {
    const stepper = event();
    expect(stepper.sample(0, 3, false)).toEqual([]);
    expect(stepper.sample(600, 0)).toEqual(['opened warning']);
    expect(stepper.effects[0]).toMatchObject({ since: START, value: 3 });
    const old = event();
    old.sample(0, 3, false);
    expect(old.sample(1_000, 0)).toEqual([]);
    expect(old.state).toBeUndefined();
  });
});

describe('an edited rule', () => {
  const edit = (stepper: Stepper, rule: Parameters<typeof ruleOf>[0]) => {
    const before = stepper.rule;
    stepper.rule = ruleOf(rule);
    return stepper.input({ kind: 'edited', before });
  };
  const open = (value = 95) => {
    const stepper = new Stepper(ruleOf({ warning: above(70, { clear: 60 }), critical: above(90, { clear: 80 }) }));
    stepper.sample(0, value);
    return stepper;
  };

  test.each([
    ['the value is not beyond any more', { critical: above(99, { clear: 98 }) }, ['closed rule_changed']],
    ['it still is', { critical: above(94) }, []],
    ['only the warning is left', { warning: above(70) }, ['level warning']],
    ['only the warning still holds', { warning: above(70), critical: above(99) }, ['level warning']],
    ['only the duration changed', { warning: above(70), critical: above(90, { clear: 80, trueForMs: MINUTE }) }, []],
  ])('while open: %s', (_, rule, told) => {
    expect(edit(open(), rule)).toEqual(told);
  });

  test('between clear value and bound it stays while the bound is the same', () => {
    const stepper = open();
    stepper.sample(15, 85);
    expect(edit(stepper, { critical: above(90, { clear: 70 }) })).toEqual([]);
    expect(edit(stepper, { critical: above(88, { clear: 70 }) })).toEqual(['closed rule_changed']);
  });

  test('never opens or raises from the edit alone', () => {
    const stepper = open(75);
    expect(edit(stepper, { warning: above(70), critical: above(72, { trueForMs: MINUTE }) })).toEqual([]);
    expect(stepper.sample(15, 75)).toEqual([]);
    expect(stepper.run(30, 60, 75)).toEqual(['level critical']);
    const pending = new Stepper(ruleOf({ warning: above(70, { trueForMs: 5 * MINUTE }) }));
    pending.run(0, 240, 75);
    expect(edit(pending, { warning: above(60, { trueForMs: MINUTE }) })).toEqual([]);
    expect(pending.sample(255, 75)).toEqual([]);
    expect(pending.run(270, 300, 75)).toEqual(['opened warning']);
  });
});

describe('memory', () => {
  test('a calm series has no state, and has none again when all is over', () => {
    const stepper = warning({ trueForMs: 5 * MINUTE, ofLastMs: 10 * MINUTE });
    stepper.sample(0, 50);
    expect(stepper.state).toBeUndefined();
    stepper.run(15, 60, 91);
    expect(stepper.state).toBeDefined();
    stepper.run(75, 690, 50);
    expect(stepper.state).toBeUndefined();
  });

  test('however often it goes up and down, little is kept', () => {
    const stepper = warning({ trueForMs: 86_000_000, ofLastMs: 86_400_000 });
    for (let i = 0; i < 10_000; i++) stepper.sample(i * 15, i % 2 === 0 ? 91 : 50);
    expect(stepper.state!.warning!.runs.length).toBeLessThanOrEqual(512);
  });

  test('nobody judges it any more', () => {
    const stepper = warning();
    stepper.sample(0, 91);
    expect(stepper.input({ kind: 'over', reason: 'retired' })).toEqual(['closed retired']);
    expect(stepper.state).toBeUndefined();
    const pending = warning({ trueForMs: MINUTE });
    pending.sample(0, 91);
    expect(pending.input({ kind: 'over', reason: 'rule_removed' })).toEqual([]);
    expect(pending.state).toBeUndefined();
  });
});
