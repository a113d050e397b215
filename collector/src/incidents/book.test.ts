/** The fold: what each happening does, that doing it twice does nothing, and what is let go of when. */
import { describe, expect, test } from 'vitest';
import { IncidentBook, type PruneOptions, type RecordedEntry } from './book.ts';
import type { DeliveryItem, Happening, Outcome } from './entry.ts';
import { openingOf } from './testing.ts';

class Story {
  readonly book = new IncidentBook();
  readonly entries: RecordedEntry[] = [];
  #position = 0;

  tell(...happenings: Happening[]): this {
    for (const happening of happenings) {
      const position = ++this.#position;
      const entry: RecordedEntry = { ...happening, id: `e${position}`, at: position * 1_000, epoch: 1, position };
      this.entries.push(entry);
      this.book.apply(entry);
    }
    return this;
  }
}

const opened = (incidentId = 'a', more: Parameters<typeof openingOf>[1] = {}): Happening => ({
  kind: 'opened',
  opening: openingOf(incidentId, more),
});
const level = (to: 'warning' | 'critical', incidentId = 'a'): Happening => ({
  kind: 'level',
  incidentId,
  level: to,
  value: 0.5,
  bound: { above: 0.4 },
  why: to,
});
const closed = (incidentId = 'a'): Happening => ({ kind: 'closed', incidentId, reason: 'recovered', value: 0, why: 'over' });
const item = (status: 'firing' | 'resolved', incidentId = 'a'): DeliveryItem => ({ incidentId, status, level: 'warning' });
const attempted = (deliveryId: string, items: DeliveryItem[], attempt = 1): Happening => ({
  kind: 'attempted',
  deliveryId,
  channel: 'ops',
  attempt,
  thread: 't',
  items,
});
const answered = (deliveryId: string, outcome: Outcome, retryAt: number | null = null, attempt = 1): Happening => ({
  kind: 'answered',
  deliveryId,
  channel: 'ops',
  attempt,
  outcome,
  answer: outcome,
  retryAt,
});
const everything: PruneOptions = { now: 10 ** 12, keepClosedMs: 0, keepUntoldMs: 7 * 86_400_000, closedMax: 10, mirrored: 10 ** 9 };
const ids = (all: Iterable<{ incidentId: string }>): string[] => [...all].map(({ incidentId }) => incidentId);

describe('levels and acknowledgement', () => {
  test('a warning that becomes critical is nobody’s any more, and stays the worst it was', () => {
    const { book } = new Story().tell(opened(), { kind: 'acknowledged', incidentId: 'a', by: 'kim', note: '' }, level('critical'));
    expect(book.incident('a')).toMatchObject({ level: 'critical', levelMax: 'critical', acknowledged: null });
    const down = new Story().tell(
      opened('a', { level: 'critical' }),
      { kind: 'acknowledged', incidentId: 'a', by: 'kim', note: 'mine' },
      level('warning'),
    ).book;
    expect(down.incident('a')).toMatchObject({ level: 'warning', levelMax: 'critical', acknowledged: { by: 'kim', note: 'mine' } });
  });

  test('a critical that goes down and up again is asked about again', () => {
    const story = new Story().tell(opened('a', { level: 'critical' }), level('warning'));
    story.tell({ kind: 'acknowledged', incidentId: 'a', by: 'kim', note: '' }, level('critical'));
    expect(story.book.incident('a')!.acknowledged).toBeNull();
  });

  test('what is over does not change', () => {
    const { book } = new Story().tell(opened(), closed(), level('critical'), closed(), {
      kind: 'acknowledged',
      incidentId: 'a',
      by: 'kim',
      note: '',
    });
    expect(book.incident('a')).toMatchObject({ level: 'warning', closedAt: 2_000, closeReason: 'recovered', acknowledged: null });
    expect(ids(book.openOf(1))).toEqual([]);
  });

  test('an entry about what is not known does no harm, and one applied twice counts once', () => {
    const story = new Story().tell(level('critical', 'x'), closed('x'), answered('x', 'retry', 5), {
      kind: 'unsilenced',
      silenceId: 'x',
      by: '',
    });
    expect(story.book.state()).toMatchObject({ incidents: [], silences: [], deliveries: [], goneChannels: [] });
    story.tell(opened(), attempted('d', [item('firing')]), answered('d', 'delivered'), level('critical'));
    const before = story.book.state();
    for (const entry of story.entries) story.book.apply(entry);
    expect(story.book.state()).toEqual(before);
  });
});

describe('what was told', () => {
  test('attempted is told and not confirmed; only the answer to what was said last confirms it', () => {
    const story = new Story().tell(opened(), attempted('d1', [item('firing')]));
    expect(story.book.incident('a')!.told.get('ops')).toEqual({
      status: 'firing',
      level: 'warning',
      deliveryId: 'd1',
      thread: 't',
      at: 2_000,
      confirmed: false,
    });
    story.tell(answered('d1', 'retry', 9_000));
    expect([...story.book.deliveries()]).toMatchObject([{ deliveryId: 'd1', attempt: 1, retryAt: 9_000 }]);
    story.tell(closed(), attempted('d2', [item('resolved')]), answered('d1', 'delivered'));
    expect(story.book.incident('a')!.told.get('ops')).toMatchObject({ status: 'resolved', confirmed: false });
    expect(ids(story.book.incidents()), 'still to be told').toEqual(['a']);
    story.tell(answered('d2', 'delivered'));
    expect(ids(story.book.incidents())).toEqual([]);
    expect(ids(story.book.past())).toEqual(['a']);
  });

  test('a late answer to an earlier attempt does not put off the one under way', () => {
    const story = new Story().tell(opened(), attempted('d', [item('firing')]), answered('d', 'retry', 5_000));
    story.tell(attempted('d', [item('firing')], 2), answered('d', 'retry', 99_000, 1));
    expect([...story.book.deliveries()]).toMatchObject([{ attempt: 2, retryAt: null }]);
  });

  test.each(['refused', 'gone', 'retry'] as const)('%s without another attempt ends the delivery and confirms nothing', (outcome) => {
    const { book } = new Story().tell(opened(), attempted('d', [item('firing')]), answered('d', outcome));
    expect([...book.deliveries()]).toEqual([]);
    expect(book.incident('a')!.told.get('ops')!.confirmed).toBe(false);
    expect([...book.goneChannels().keys()]).toEqual(outcome === 'gone' ? ['ops'] : []);
  });

  test('a channel that takes something again is not gone', () => {
    const story = new Story().tell(opened(), attempted('d', [item('firing')]), answered('d', 'gone'));
    expect(story.book.goneChannels().get('ops')).toMatchObject({ answer: 'gone' });
    expect([...story.tell(answered('a test message', 'delivered')).book.goneChannels()]).toEqual([]);
  });
});

describe('letting go', () => {
  test('what is open stays, whatever the time; what is over and told goes; what is to be told waits for days', () => {
    const story = new Story().tell(
      opened('open'),
      opened('told'),
      opened('owed'),
      closed('told'),
      attempted('d', [item('firing', 'owed')]),
    );
    story.tell(answered('d', 'delivered'), closed('owed'));
    story.book.prune({ ...everything, now: 100_000 });
    expect(ids(story.book.state().incidents).sort()).toEqual(['open', 'owed']);
    story.book.prune(everything);
    expect(ids(story.book.state().incidents)).toEqual(['open']);
  });

  test('what the database does not have yet stays', () => {
    const { book } = new Story().tell(opened(), closed());
    book.prune({ ...everything, mirrored: 1 });
    expect(ids(book.past())).toEqual(['a']);
    book.prune({ ...everything, mirrored: 2 });
    expect(ids(book.past())).toEqual([]);
  });

  test('there is a most of what is over, and the oldest go first', () => {
    const story = new Story();
    for (let i = 0; i < 20; i++) story.tell(opened(`a${i}`), closed(`a${i}`));
    story.book.prune({ ...everything, now: 0, keepClosedMs: 10 ** 9, closedMax: 2 });
    expect(ids(story.book.past())).toEqual(['a18', 'a19']);
  });

  test('a silence goes when its time is over', () => {
    const silence = { silenceId: 's', matcher: { rule: '*' }, reason: '', author: '', endsAt: 5_000 };
    const { book } = new Story().tell({ kind: 'silenced', silence });
    book.prune({ ...everything, now: 4_999 });
    expect([...book.silences()]).toMatchObject([silence]);
    book.prune({ ...everything, now: 5_000 });
    expect([...book.silences()]).toEqual([]);
  });
});
