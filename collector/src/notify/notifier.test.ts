import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Recorder } from '../incidents/recorder.ts';
import {
  DELIVERED,
  FAILED,
  GONE,
  MortalRecorder,
  REFUSED,
  ScriptedChannel,
  channelOf,
  fakeTimersClock,
  startNotifier,
  type Told,
} from './testing.ts';

beforeEach(() => void vi.useFakeTimers({ now: Date.UTC(2026, 10, 21, 3, 12, 7) }));
afterEach(() => void vi.useRealTimers());

const settle = (ms = 0): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const HOUR = 3_600_000;

function one(more: Parameters<typeof channelOf>[2] = {}, random?: () => number): Told & { channel: ScriptedChannel } {
  const channel = new ScriptedChannel();
  return { ...startNotifier({ channels: [channelOf('ops', channel, more)], ...(random === undefined ? {} : { random }) }), channel };
}

/** Sends are answered only when the test says so. */
function byHand(channel: ScriptedChannel): ((sent?: typeof DELIVERED) => void)[] {
  const waiting: ((sent?: typeof DELIVERED) => void)[] = [];
  channel.answering = () => new Promise((resolve) => waiting.push((sent = DELIVERED) => resolve(sent)));
  return waiting;
}

describe('telling', () => {
  test('what is recorded is sent at once, without a timer, after the attempt is in the journal', async () => {
    const { channel, open, recorder } = one();
    const kinds: string[] = [];
    recorder.onRecorded((entries) => kinds.push(...entries.map(({ kind }) => `${kind} ${channel.messages.length}`)));
    await open('i1');
    for (let i = 0; i < 20; i++) await Promise.resolve();
    expect(channel.said()).toEqual(['firing warning i1']);
    expect(kinds).toEqual(['opened 0', 'attempted 0', 'answered 1']);
    expect(recorder.book.incident('i1')!.told.get('ops')).toMatchObject({ status: 'firing', confirmed: true });
  });

  test('raised, lowered and over: told again, not told, told in the same thread', async () => {
    const { channel, open, level, close } = one();
    await open('i1');
    await settle();
    await level('i1', 'critical');
    await settle();
    await level('i1', 'warning');
    await settle();
    await close('i1');
    await settle(HOUR);
    expect(channel.said()).toEqual(['firing warning i1', 'firing critical i1', 'resolved critical i1']);
    const [first, ...rest] = channel.messages;
    expect(first!.opensThread).toBe(true);
    for (const message of rest) expect(message).toMatchObject({ thread: first!.id, opensThread: false, possibleRepeat: false });
    expect(new Set(channel.messages.map(({ id }) => id)).size).toBe(3);
    expect(channel.messages.map(({ openCount }) => openCount)).toEqual([1, 1, 0]);
  });

  test('one message is in flight; what becomes due meanwhile goes together', async () => {
    const { channel, open } = one();
    const waiting = byHand(channel);
    await open('i1');
    await settle();
    for (const id of ['i2', 'i3', 'i4']) await open(id);
    await settle(5_000);
    expect(channel.said()).toEqual(['firing warning i1']);
    waiting.shift()!();
    await settle();
    expect(channel.said()).toEqual(['firing warning i1', 'firing warning i2, firing warning i3, firing warning i4']);
  });

  test('a slow channel does not delay another', async () => {
    const [slow, quick] = [new ScriptedChannel(() => new Promise(() => {})), new ScriptedChannel()];
    const { open } = startNotifier({ channels: [channelOf('slow', slow), channelOf('quick', quick)] });
    await open('i1');
    await settle();
    await open('i2');
    await settle();
    expect(slow.said()).toEqual(['firing warning i1']);
    expect(quick.said()).toEqual(['firing warning i1', 'firing warning i2']);
  });

  test('links and names are those of now', async () => {
    const channel = new ScriptedChannel();
    const { open } = startNotifier({ channels: [channelOf('ops', channel)], node: () => ({ name: 'db-new', site: 'south', tags: {} }) });
    await open('i1', { runbook: '/runbooks/cpu' });
    await settle();
    expect(channel.messages[0]!.items[0]).toMatchObject({
      node: 'db-new',
      url: 'https://monitor.example/alerts/i1',
      runbook: 'https://monitor.example/runbooks/cpu',
    });
  });

  test('silenced: not told; over: told; ended while it is silenced: told that', async () => {
    const { channel, open, close, silence, record } = one();
    await silence('s1', { node: 'db1' }, 600);
    await open('i1');
    await settle(599_000);
    expect(channel.messages).toEqual([]);
    await settle(2_000);
    expect(channel.said()).toEqual(['firing warning i1']);
    await silence('s2', { node: 'db1' }, 600);
    await close('i1');
    await settle();
    expect(channel.said()).toEqual(['firing warning i1', 'resolved warning i1']);
    await open('i2');
    await settle();
    await record({ kind: 'unsilenced', silenceId: 's2', by: 'ada' });
    await settle();
    expect(channel.said().at(-1)).toBe('firing warning i2');
  });
});

test('five hundred nodes silent at once: a few messages, everyone named once, and their returns as well', async () => {
  const { channel, open, close } = one();
  channel.answering = () => new Promise((resolve) => setTimeout(() => resolve(DELIVERED), 100));
  const ids = Array.from({ length: 500 }, (_, i) => `i${i}`);
  for (const [i, id] of ids.entries()) {
    await open(id, { rule: 'node-silent', nodeId: i });
    await settle(1);
  }
  await settle(5_000);
  const named = (status: string): string[] =>
    channel.messages.flatMap(({ items }) => items.filter((item) => item.status === status).map(({ incident }) => incident.incidentId));
  expect(named('firing').toSorted()).toEqual(ids.toSorted());
  expect(channel.messages.length).toBeLessThan(10);
  for (const id of ids) {
    await close(id);
    await settle(1);
  }
  await settle(60_000);
  expect(named('resolved').toSorted()).toEqual(ids.toSorted());
  expect(channel.messages.length).toBeLessThan(40);
});

describe('when it does not arrive', () => {
  test('it is tried again under the same id, ever more rarely, at most five minutes apart', async () => {
    const { channel, open } = one({}, () => 1);
    channel.answering = () => FAILED;
    await open('i1');
    await settle(20 * 60_000);
    const { messages } = channel;
    expect(new Set(messages.map(({ id }) => id)).size).toBe(1);
    expect(messages.map(({ possibleRepeat }) => possibleRepeat)).toEqual([false, ...messages.slice(1).map(() => true)]);
    // 1 + 2 + 4 + … + 256 s, then 300 s.
    expect(messages.length).toBe(12);
    channel.answering = () => DELIVERED;
    await settle(300_000);
    expect(messages.length).toBe(13);
    await settle(HOUR);
    expect(messages.length).toBe(13);
  });

  test.each([
    [120_000, 120_000],
    [10 * HOUR, HOUR],
    [0, 550],
  ])('told to come back in %i ms, it comes back after %i', async (retryAfterMs, waits) => {
    const { channel, open } = one();
    channel.answering = () => ({ ...FAILED, retryAfterMs });
    await open('i1');
    await settle(waits - 1);
    expect(channel.messages.length).toBe(1);
    await settle(1);
    expect(channel.messages.length).toBe(2);
  });

  test('over before it arrived: one message, another id, and it says so', async () => {
    const { channel, open, close } = one();
    channel.answering = () => FAILED;
    await open('i1');
    await settle();
    await close('i1');
    channel.answering = () => DELIVERED;
    await settle(HOUR);
    expect(channel.said()).toEqual(['firing warning i1', 'resolved warning i1 late']);
    expect(channel.messages[1]!.id).not.toBe(channel.messages[0]!.id);
    expect(channel.messages[1]).toMatchObject({ possibleRepeat: true, thread: channel.messages[0]!.id });
  });

  test('new work does not wait behind a message that is never taken, and does not starve it', async () => {
    const { channel, open } = one();
    channel.answering = ({ items }) => (items[0]!.incident.incidentId === 'poison' ? FAILED : DELIVERED);
    await open('poison', { rule: 'a' });
    await settle(10 * 60_000);
    const before = channel.messages.length;
    await open('i1', { rule: 'b' });
    await settle(30_000);
    expect(
      channel
        .said()
        .slice(before)
        .filter((said) => !said.includes('poison')),
    ).toEqual(['firing warning i1']);
    for (let i = 0; i < 60; i++) {
      await open(`more${i}`, { rule: 'b' });
      await settle(10_000);
    }
    expect(
      channel
        .said()
        .slice(before + 1)
        .filter((said) => said === 'firing warning poison').length,
    ).toBeGreaterThan(1);
    expect(channel.said().filter((said) => said.includes('more')).length).toBe(60);
  });

  test('while nothing arrives, new alerts do not make it try more often', async () => {
    const { channel, open } = one();
    channel.answering = () => FAILED;
    for (let i = 0; i < 200; i++) {
      await open(`i${i}`, { rule: `r${i}` });
      await settle(1_000);
    }
    expect(channel.messages.length).toBeLessThan(20);
    channel.answering = () => DELIVERED;
    await settle(HOUR);
    const last = new Set(channel.messages.flatMap(({ items }) => items.map(({ incident }) => incident.incidentId)));
    expect(last.size).toBe(200);
  });

  test('a channel that never answers is given up on in time, and the next attempt is another', async () => {
    const { channel, open } = one();
    let aborted = 0;
    channel.answering = (_, { signal }) => {
      signal.addEventListener('abort', () => aborted++);
      return new Promise(() => {});
    };
    await open('i1');
    await settle(16_999);
    expect([channel.messages.length, aborted]).toEqual([1, 1]);
    await settle(60_000);
    expect(channel.messages.length).toBeGreaterThan(2);
    expect(aborted).toBeGreaterThan(1);
  });

  test('a defect in a channel is an attempt that failed', async () => {
    const { channel, open, notifier } = one();
    channel.answering = () => {
      throw new TypeError('x is not a function');
    };
    await open('i1');
    await settle();
    expect(notifier.views()[0]).toMatchObject({ state: 'retrying', waiting: 1 });
    channel.answering = () => DELIVERED;
    await settle(10_000);
    expect(notifier.views()[0]).toMatchObject({ state: 'working', waiting: 0 });
  });

  test('refused: not repeated, said in the health, tried at the next change and when a test goes through', async () => {
    const { channel, open, level, notifier } = one();
    channel.answering = () => REFUSED;
    await open('i1');
    await open('i2', { rule: 'other' });
    await settle(HOUR);
    expect(channel.said()).toEqual(['firing warning i1', 'firing warning i2']);
    expect(notifier.reading()).toMatchObject({ status: 'unhealthy', detail: expect.stringContaining('HTTP 401') as string });
    await level('i1', 'critical');
    await settle(HOUR);
    expect(channel.said().at(-1)).toBe('firing critical i1');
    channel.answering = () => DELIVERED;
    expect(await notifier.test('ops')).toMatchObject({ delivered: true, answer: 'HTTP 204' });
    await settle();
    expect(channel.said().slice(3)).toEqual(['', 'firing critical i1', 'firing warning i2']);
    expect(notifier.reading().status).toBe('healthy');
  });

  test('gone: nothing is sent until a test goes through; then all that is owed', async () => {
    const { channel, open, close, notifier } = one();
    await open('i1');
    await settle();
    channel.answering = () => GONE;
    await open('i2');
    await settle();
    const sent = channel.messages.length;
    await close('i1');
    await open('i3');
    await settle(HOUR);
    expect(channel.messages.length).toBe(sent);
    expect(notifier.views()[0]).toMatchObject({ state: 'disabled' });
    channel.answering = () => DELIVERED;
    expect((await notifier.test('ops')).delivered).toBe(true);
    await settle();
    expect(channel.said().slice(sent)).toEqual(['', 'firing warning i2', 'firing warning i3', 'resolved warning i1']);
    expect(notifier.views()[0]).toMatchObject({ state: 'working', waiting: 0 });
  });

  test('gone stays gone over a reload with the same options, and not with others', async () => {
    const { channel, open, notifier } = one();
    channel.answering = () => GONE;
    await open('i1');
    await settle();
    await notifier.reload([channelOf('ops', new ScriptedChannel())]);
    await settle(HOUR);
    expect(channel.messages.length).toBe(1);
    const changed = new ScriptedChannel();
    await notifier.reload([channelOf('ops', changed, { fingerprint: 'two' })]);
    await settle();
    expect(changed.said()).toEqual(['firing warning i1']);
    expect(channel.closed).toBe(true);
  });
});

describe('reload', () => {
  test('a channel that is new is told of what is open; one that is removed is told nothing more', async () => {
    const { channel, open, notifier } = one();
    await open('i1');
    await settle();
    const mail = new ScriptedChannel();
    await notifier.reload([channelOf('mail', mail)]);
    await open('i2');
    await settle();
    expect(channel.said()).toEqual(['firing warning i1']);
    expect(mail.said()[0]).toBe('firing warning i1');
    expect(mail.said().join(', ')).toContain('i2');
    expect(notifier.views().map(({ name }) => name)).toEqual(['mail']);
  });
});

describe('restart', () => {
  test.each(['before the journal', 'after the journal', 'while it is sent', 'after it was sent'])('killed %s', async (when) => {
    const channel = new ScriptedChannel();
    const waiting = when.startsWith('while') || when.startsWith('after it') ? byHand(channel) : [];
    const first = new MortalRecorder(fakeTimersClock);
    const { open } = startNotifier({ channels: [channelOf('ops', channel)], recorder: first });
    if (when === 'after the journal') first.onRecorded(() => void (first.dieAfterNext = true));
    if (when === 'before the journal') first.onRecorded(() => void (first.dead = true));
    void open('i1');
    await settle();
    if (when.startsWith('after it')) {
      first.dead = true;
      waiting.shift()!();
      await settle();
    }
    first.dead = true;
    const arrived = channel.messages.length;
    channel.answering = () => DELIVERED;
    const second = new MortalRecorder(fakeTimersClock, first);
    const { close } = startNotifier({ channels: [channelOf('ops', channel)], recorder: second });
    await settle();
    const again = channel.messages[arrived]!;
    expect(channel.messages.length).toBe(arrived + 1);
    expect(again.possibleRepeat).toBe(when !== 'before the journal');
    if (arrived === 1) expect(again.id).toBe(channel.messages[0]!.id);
    await close('i1');
    await settle(HOUR);
    expect(channel.said().at(-1)).toBe('resolved warning i1');
    expect(channel.messages.length).toBe(arrived + 2);
  });

  test('what was to be tried again in a while is tried again then', async () => {
    const channel = new ScriptedChannel(() => ({ ...FAILED, retryAfterMs: 600_000 }));
    const first = new MortalRecorder(fakeTimersClock);
    const { open, notifier } = startNotifier({ channels: [channelOf('ops', channel)], recorder: first });
    await open('i1');
    await settle(300_000);
    await notifier.stop();
    startNotifier({ channels: [channelOf('ops', channel)], recorder: new MortalRecorder(fakeTimersClock, first) });
    await settle(299_000);
    expect(channel.messages.length).toBe(1);
    await settle(2_000);
    expect(channel.messages.length).toBe(2);
  });

  test('a stop gives what is under way a moment, and sends nothing more', async () => {
    const { channel, open, notifier, recorder } = one();
    const waiting = byHand(channel);
    await open('i1');
    await settle();
    const stopped = notifier.stop();
    await open('i2');
    await settle(100);
    waiting.shift()!();
    await stopped;
    await settle(HOUR);
    expect(channel.said()).toEqual(['firing warning i1']);
    expect(channel.closed).toBe(true);
    expect(recorder.book.incident('i1')!.told.get('ops')).toMatchObject({ confirmed: true });
  });

  test('a stop does not wait for one that hangs, and does not claim to know what became of it', async () => {
    const { channel, open, notifier, recorder } = one();
    channel.answering = () => new Promise(() => {});
    await open('i1');
    await settle();
    let stopped = false;
    void notifier.stop().then(() => (stopped = true));
    await settle(7_100);
    expect(stopped).toBe(true);
    expect([...recorder.book.deliveries()]).toMatchObject([{ retryAt: null }]);
  });

  test('a collector that another one took over from sends nothing more', async () => {
    const { channel, open, recorder, notifier } = one();
    channel.answering = () => FAILED;
    await open('i1');
    await settle();
    (recorder as Recorder).supersede(2);
    await settle(HOUR);
    expect(channel.messages.length).toBe(1);
    expect(notifier.reading().detail).toContain('another collector has taken over');
  });

  test('nothing is sent that could not be recorded', async () => {
    const { channel, open, recorder, notifier } = one();
    const record = recorder.record.bind(recorder);
    let broken = true;
    recorder.record = (happenings) =>
      broken && happenings.some(({ kind }) => kind === 'attempted') ? Promise.reject(new Error('ENOSPC')) : record(happenings);
    await open('i1');
    await settle(60_000);
    expect(channel.messages).toEqual([]);
    expect(notifier.reading().detail).toContain('ENOSPC');
    broken = false;
    await settle(300_000);
    expect(channel.said()).toEqual(['firing warning i1']);
    expect(notifier.reading().status).toBe('healthy');
  });
});

describe('why it was told, or not', () => {
  const text = ({ notifier, recorder }: Told, id = 'i1'): string => notifier.tellingOf(recorder.book.incident(id)!)[0]!.text;

  test('in every state', async () => {
    const rig = one();
    const { channel, open, silence, close, level, record } = rig;
    await silence('s1', { rule: 'cpu_usage' }, 600);
    await open('i1');
    await settle();
    expect(text(rig)).toBe('not told: silenced by ada until 2026-11-21 03:22:07 UTC (maintenance)');
    await record({ kind: 'unsilenced', silenceId: 's1', by: 'ada' });
    await settle();
    expect(text(rig)).toBe('told firing (warning) at 2026-11-21 03:12:07 UTC (HTTP 204)');
    await silence('s2', { rule: 'cpu_usage' }, 600);
    await level('i1', 'critical');
    expect(text(rig)).toBe(
      'told firing (warning) at 2026-11-21 03:12:07 UTC (HTTP 204); that it is critical now is not: silenced by ada until 2026-11-21 03:22:07 UTC (maintenance)',
    );
    channel.answering = () => ({ ...FAILED, retryAfterMs: 40_000 });
    await close('i1');
    await settle(100);
    expect(text(rig)).toBe('waiting to tell resolved: one attempt, last answer HTTP 503, next in 40 s');
    channel.answering = () => DELIVERED;
    await settle(60_000);
    expect(text(rig)).toMatch(/^told resolved at .* \(HTTP 204\)$/);
  });

  test('moot, left out, over, refused, gone, no longer configured', async () => {
    const rig = one({ only: { levels: ['critical'] } });
    const { channel, open, close, notifier, level } = rig;
    await open('p', { rule: 'node_silent', title: 'Silent node', level: 'critical' });
    await open('i1', { suppressedBy: ['node_silent'], level: 'critical' });
    await open('i2', { nodeId: 2 });
    await settle();
    expect(text(rig)).toBe('not told: moot while "Silent node" is open on db1');
    expect(text(rig, 'i2')).toBe('not told: this channel is told only: level critical');
    await close('i1');
    expect(text(rig)).toBe('not told: it was over before anything was sent');
    channel.answering = () => REFUSED;
    await level('i2', 'critical');
    await settle();
    expect(text(rig, 'i2')).toBe(
      'not told firing (critical): it was refused at 2026-11-21 03:12:07 UTC (HTTP 401); tried again at the next change, and when a test goes through',
    );
    channel.answering = () => GONE;
    await open('i3', { nodeId: 3, level: 'critical' });
    await settle();
    expect(text(rig, 'i3')).toContain('the channel is disabled, it asked for nothing more at');
    await notifier.reload([]);
    expect(text(rig, 'p')).toBe('told firing at 2026-11-21 03:12:07 UTC; it is no longer configured');
    expect(notifier.reading().status).toBe('inactive');
  });
});

test('a channel that is not there, or is being tested, cannot be tested', async () => {
  const { notifier, channel } = one();
  await expect(notifier.test('nope')).rejects.toMatchObject({ code: 'channel_unknown' });
  const waiting = byHand(channel);
  const testing = notifier.test('ops');
  await expect(notifier.test('ops')).rejects.toMatchObject({ code: 'rate_limited' });
  waiting.shift()!(REFUSED);
  expect(await testing).toMatchObject({ delivered: false, answer: 'HTTP 401' });
  expect(channel.messages[0]).toMatchObject({ test: true, items: [] });
});
