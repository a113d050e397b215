/** Conditions judge what is published as a reader would: what is not there is never what is expected, and what is seen is said. */
import type { ReplicationCluster, ReplicationEvent, ReplicationInstance } from '@tidemark/protocol';
import { describe, expect, test } from 'vitest';
import { matchForm, tokensOf } from '../language/forms.ts';
import { seriesOf } from './alerts.ts';
import { CONDITIONS, type Look } from './index.ts';

const naming = { servers: new Set(['A', 'B']) };
const lag = {
  seconds: 5.5,
  lowerSeconds: 4,
  upperSeconds: 6,
  bytes: 2_000_000,
  source: 'primary',
  at: '2026-01-01T00:00:00Z',
  unknownSince: null,
} as const;
const replica = {
  id: 'b',
  name: 'b.x',
  node: 'b.x',
  role: 'replica',
  state: 'paused',
  why: 'Replay is paused.',
  upstream: 'a.x',
  upstreamId: 'a',
  lag,
  edgeLag: null,
  replayBytes: null,
  catchup: 'never',
  catchupSeconds: null,
} as unknown as ReplicationInstance;
const primary = { ...replica, id: 'a', name: 'a.x', node: 'a.x', role: 'primary', state: 'running', lag: null } as ReplicationInstance;
const failover = {
  id: '1',
  kind: 'failover',
  instance: 'b.x',
  instanceId: 'b',
  text: 'Failover.',
  details: { lostBytes: 500 },
} as unknown as ReplicationEvent;

const look: Look = {
  cluster: { splitBrain: false, rpoBytes: null, primary: { why: 'A reports.' } } as unknown as ReplicationCluster,
  instance: (letter) => ({ A: primary, B: replica })[letter],
  slot: () => undefined,
  events: [failover],
  alerts: [],
  letterOf: (node) => node?.slice(0, 1).toUpperCase(),
  nodeOf: (letter) => `${letter.toLowerCase()}.x`,
  primary: async () => ({ node: 'a.x', name: 'a.x', certainty: 'likely', why: 'It was when last seen.' }) as never,
  metrics: async () => '# HELP x\ntidemark_x{node="b.x",server="postgres",slot_name="b"} 3\ntidemark_x{node="a.x",server="postgres"} 7\n',
};

async function judge(line: string): Promise<{ holds: boolean; seen: string }> {
  const { form, values } = matchForm(tokensOf(line), CONDITIONS, naming);
  return form.test(look, values);
}

describe('what holds and what does not', () => {
  test.each([
    ['state of B is paused', true],
    ['state of B is streaming or paused', true],
    ['state of B is not paused', false],
    ['state of B is not streaming or stalled', true],
    ['role of A is primary', true],
    ['upstream of B is A', true],
    ['upstream of A is B', false],
    ['lag of B is above 5s', true],
    ['lower bound of B is above 5s', false],
    ['upper bound of B is below 6500 ms', true],
    ['lag of B is not known', false],
    ['lag of A is not known', true],
    ['lag of A is below 1h', false],
    ['edge lag of B is below 1h', false],
    ['bytes behind of B is above 1 MB', true],
    ['replay backlog of B is below 1 GB', false],
    ['catchup of B is caught_up or never', true],
    ['catchup time of B is below 1h', false],
    ['there is no split brain', true],
    ['split brain', false],
    ['rpo is below 1 GB', false],
    ['event failover', true],
    ['event failover about B with lostBytes above 499', true],
    ['event failover with lostBytes above 500', false],
    ['event failover about A', false],
    ['event failover with otherBytes above 0', false],
    ['events failover are 1', true],
    ['primary is A', true],
    ['primary is A sure', false],
    ['primary is B', false],
    ['slot ghost of A is active', false],
    ['slot ghost of A keeps below 1 GB', false],
    ['no alert', true],
    ['alert split-brain on B is critical', false],
    ['metric tidemark_x on A is above 6', true],
    ['metric tidemark_x{slot_name="b"} on B is above 2', true],
    ['metric tidemark_x{slot_name="b"} on A is above 0', false],
    ['metric tidemark_y on A is below 1', false],
  ])('%s: %s', async (line, holds) => expect(await judge(line)).toMatchObject({ holds }));
});

test('what is seen is said, whether it holds or not', async () => {
  expect((await judge('lag of B is below 1s')).seen).toBe('the lag of B is 5.5 s (4.0 s to 6.0 s, by the primary)');
  expect((await judge('event split_brain')).seen).toBe('events: failover of B');
  expect((await judge('metric tidemark_y on A is above 0')).seen).toBe('there is no metric tidemark_y of A');
});

test('a series is found by its whole name', () => {
  expect(seriesOf('up{node="a"} 1\nup_since{node="a"} 2\n', 'a', 'up')).toEqual([{ line: 'up{node="a"} 1', value: 1 }]);
});
