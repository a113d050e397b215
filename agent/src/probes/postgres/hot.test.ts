/** What one narrow row says of where a server stands. */
import { expect, test } from 'vitest';
import { furthest, hotFrom } from './hot.ts';

test('a primary', () => {
  expect(hotFrom(['f', null, null, null, '16/B374D848', '0000000A', '77', null, null, null, null, null])).toEqual({
    role: 'primary',
    head: '16/B374D848',
    replayed: null,
    pauseState: null,
    timeline: 10,
    backendPid: 77,
    receiving: false,
    sender: null,
    senderAgoMs: null,
    values: expect.any(Array),
  });
  // Promoted: its replay stands still where its recovery ended, and is no position of a primary's.
  expect(hotFrom(['f', '0/5', '0/5', null, '0/9', '00000002', '77', null, null, null, null, null])).toMatchObject({
    head: '0/9',
    replayed: null,
  });
});

test('a replica: its head is the furthest of received and replayed', () => {
  const replica = (receive: string | null, replay: string | null): unknown =>
    hotFrom(['t', replay, receive, 'paused', null, null, '77', '9', 'streaming', '3', '0/F', '1500']);
  expect(replica('0/E', '0/9')).toMatchObject({ role: 'replica', head: '0/E', replayed: '0/9', pauseState: 'paused', timeline: 3 });
  expect(replica('0/0', '0/9')).toMatchObject({ head: '0/9', receiving: true, sender: '0/F', senderAgoMs: 1_500 });
  expect(replica(null, '0/9')).toMatchObject({ head: '0/9' });
  expect(replica('0/E', null)).toMatchObject({ head: '0/E', replayed: null });
});

test('a receiver that waits does not receive; one whose state may not be seen does', () => {
  const receiver = (...values: (string | null)[]): unknown => hotFrom(['t', '0/1', '0/1', 'not paused', null, null, '77', ...values]);
  expect(receiver('9', 'waiting', '1', '0/1', '5')).toMatchObject({ receiving: false });
  expect(receiver('9', null, null, null, null)).toMatchObject({ receiving: true, sender: null, senderAgoMs: null, timeline: null });
  expect(receiver(null, null, null, null, null)).toMatchObject({ receiving: false });
  // A clock that was set back between two looks at it.
  expect(receiver('9', 'streaming', '1', '0/1', '-3')).toMatchObject({ senderAgoMs: 0 });
});

test('positions are compared as numbers', () => {
  expect(furthest('9/0', '10/0')).toBe('10/0');
  expect(furthest('1/FF', '1/100')).toBe('1/100');
  expect(furthest(null, null)).toBeNull();
});
