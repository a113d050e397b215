/** Messages as a notifier makes them, for tests of channels. */
import type { Incident } from '../../incidents/entry.ts';
import { openingOf } from '../../incidents/testing.ts';
import type { Message, MessageItem } from './channel.ts';

export const NOW = Date.UTC(2026, 10, 21, 3, 12, 7);

export function itemOf(more: Partial<Incident> = {}, item: Partial<MessageItem> = {}): MessageItem {
  const opening = openingOf('i1', { level: 'critical', value: 0.93, bound: { above: 0.9 }, labels: [['mountpoint', '/']] });
  const incident: Incident = {
    ...opening,
    levelMax: 'critical',
    valueAtOpening: 0.93,
    openedAt: NOW,
    closedAt: null,
    closeReason: null,
    noData: false,
    acknowledged: null,
    told: new Map(),
    ...more,
  };
  return {
    status: 'firing',
    level: 'critical',
    incident,
    node: 'db-1',
    url: 'https://monitor.example/alerts/i1',
    runbook: null,
    late: false,
    ...item,
  };
}

export function messageOf(more: Partial<Message> = {}): Message {
  return {
    id: '019aa3c4-8d58-7000-8000-000000000001',
    thread: '019aa3c4-8d58-7000-8000-000000000001',
    opensThread: true,
    possibleRepeat: false,
    test: false,
    items: [itemOf()],
    openCount: 1,
    collectorUrl: 'https://monitor.example',
    ...more,
  };
}
