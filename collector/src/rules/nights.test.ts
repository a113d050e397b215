/** What the shipped rules make of nights as they are, judged by the real reducer: what happens every night wakes nobody, and one outage is one alert. */
import { expect, test } from 'vitest';
import { bridgeMs } from '../alerts/bridge.ts';
import { step, type Effect } from '../alerts/step.ts';
import type { AlertState } from '../alerts/state.ts';
import { compileRules } from './compile.ts';
import { LayeredRules } from './rule-set.ts';
import type { Rule } from './rule.ts';

const INTERVAL_MS = 15_000;
const MINUTE = 60_000;
const shipped = new LayeredRules(compileRules({ rules: [], overrides: [] }).declared, () => 'shipped').for({
  name: 'n',
  site: '',
  tags: {},
});
const ruleOf = (name: string): Rule => shipped.find((rule) => rule.name === name)!;

/** The effects of a series that has a value each 15 seconds. */
function judged(name: string, minutes: number, valueAt: (minute: number) => number | boolean): Effect[] {
  const rule = ruleOf(name);
  let state: AlertState | undefined;
  const effects: Effect[] = [];
  for (let at = 0; at <= minutes * MINUTE; at += INTERVAL_MS) {
    const stepped = step(rule, state, { kind: 'sample', at, value: valueAt(at / MINUTE), live: true, bridgeMs: bridgeMs(15) }, at);
    state = stepped.state;
    effects.push(...stepped.effects);
  }
  return effects;
}
const levels = (effects: readonly Effect[]): string[] =>
  effects.flatMap((effect) => (effect.kind === 'opened' || effect.kind === 'level' ? [effect.level] : []));
/** From when to when it was open, in minutes. */
const open = (effects: readonly Effect[]): [number, number | undefined][] =>
  effects
    .filter(({ kind }) => kind === 'opened')
    .map(
      ({ at }) =>
        [at / MINUTE, effects.filter((effect) => effect.kind === 'closed' && effect.at > at)[0]?.at].map((time, i) =>
          i === 1 && time !== undefined ? time / MINUTE : time,
        ) as [number, number | undefined],
    );

/** A number from 0 to 1 that is the same in every run. */
const noise = (minute: number): number => Math.abs(Math.sin(minute * 12.9898) * 43_758.5453) % 1;

test('a backup of an hour at 75 to 85 % CPU, a file in between at 100 %, warns once', () => {
  const backup = (minute: number): number =>
    minute < 20 || minute > 80 ? 0.15 : minute > 40 && minute < 45 ? 1 : 0.75 + 0.1 * noise(minute);
  expect(levels(judged('cpu-usage', 120, backup))).toEqual(['warning']);
});

test('CPUs that are busy nine tenths of the time are critical, whatever the quiet samples between', () => {
  const effects = judged('cpu-usage', 60, (minute) => (noise(minute) < 0.1 ? 0.3 : 0.97));
  expect(levels(effects).at(-1)).toBe('critical');
});

test('a dump that lies on the disk for eight minutes says nothing', () => {
  expect(judged('disk-usage', 60, (minute) => (minute > 10 && minute < 18 ? 0.95 : 0.6))).toEqual([]);
});

test.each([
  ['a virtual machine reboots', 1.5, []],
  ['a server with a long self-test', 5.5, ['warning']],
  ['a server that stays away', 30, ['warning', 'critical']],
])('%s', (_, minutesAway, expected) => {
  // It counts as silent 50 seconds after its last report.
  const silent = (minute: number): boolean => minute > 10 + 50 / 60 && minute < 10 + minutesAway;
  expect(levels(judged('node-silent', 60, silent))).toEqual(expected);
});

/** What the agent tells of an endpoint that fails in these minutes: the ratio of failures of the last five minutes. */
const errorRatio =
  (fails: (minute: number) => boolean) =>
  (minute: number): number => {
    const calls = Array.from({ length: 20 }, (_, i) => minute - i / 4).filter((when) => when >= 0);
    return calls.filter(fails).length / calls.length;
  };

test.each([
  ['one failed call', (minute: number) => minute === 30],
  ['a restart of a minute', (minute: number) => minute >= 30 && minute < 31],
])('%s tells nothing', (_, fails) => {
  expect(judged('error-rate', 60, errorRatio(fails))).toEqual([]);
  expect(levels(judged('endpoint-down', 60, (minute) => (fails(minute) ? 0 : 1)))).not.toContain('critical');
});

test('one call in six that fails is critical', () => {
  expect(
    levels(
      judged(
        'error-rate',
        60,
        errorRatio((minute) => minute > 10 && Math.round(minute * 4) % 6 === 0),
      ),
    ).at(-1),
  ).toBe('critical');
});

test.each([3, 10, 45])('an outage of %d minutes is one alert: what it makes moot begins after it and ends before', (outage) => {
  const fails = (minute: number): boolean => minute >= 20 && minute < 20 + outage;
  const down = judged('endpoint-down', 90, (minute) => (fails(minute) ? 0 : 1));
  expect(levels(down)).toEqual(['warning', 'critical']);
  const [[from, to]] = open(down) as [[number, number]];
  for (const moot of [judged('error-rate', 90, errorRatio(fails)), judged('response-time', 90, (minute) => (fails(minute) ? 10 : 0.1))])
    for (const [begin, end] of open(moot)) {
      expect(begin).toBeGreaterThan(from);
      expect(end).toBeLessThan(to);
    }
});
