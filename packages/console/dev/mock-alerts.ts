/**
 * Alerts and silences that do not exist, answering at the collector's addresses with its rules: an acknowledged alert stays
 * open, a silence covers what fits its matcher, closing says why. Which alerts there are is one of a few scenes.
 */
import type { AlertDetail, AlertEvent, AlertLevel, AlertView, Matcher, NewSilence, Overview, SilenceView } from '@tidemark/protocol';
import { MOCK_RULES } from './mock-rules.ts';

/** none: all quiet. one: one critical. fleet: what the fleet's own figures say. storm: a site of 500 gone. */
export type AlertScene = 'none' | 'one' | 'fleet' | 'storm';

const iso = (ms: number): string => new Date(ms).toISOString();
let counter = 0;
/** Sorts by time like the collector's ids (UUID version 7). */
function newId(atMs: number): string {
  counter += 1;
  const hex = Math.floor(atMs).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-${counter.toString(16).padStart(12, '0')}`;
}

interface Given {
  rule: string;
  node: string;
  site: string;
  level: AlertLevel;
  sinceMs: number;
  value: number | null;
  labels?: Record<string, string>;
}

const percent = (value: number): string => `${Math.round(value * 100)} %`;

function whyOf(rule: (typeof MOCK_RULES)[number], level: AlertLevel, value: number | null): string {
  const parts = rule[level];
  if (rule.name === 'node-silent') return 'No report has come for 1 min; it reports every 15 s.';
  if (rule.name === 'postgres-down') return 'connect ECONNREFUSED 127.0.0.1:5432, for 1 min.';
  if (parts === null || value === null || !('above' in parts.trigger)) return rule.title;
  const text = rule.unit === 'ratio' ? percent : (n: number): string => `${Math.round(n / 2 ** 20)} MiB`;
  return `${text(value)} above ${text(parts.trigger.above)}, for ${Math.round(parts.trueForSeconds / 60)} min of the last ${Math.round(parts.ofLastSeconds / 60)} min`;
}

export function makeAlert(given: Given): AlertView {
  const rule = MOCK_RULES.find((each) => each.name === given.rule);
  if (rule === undefined) throw new Error(`no rule ${given.rule}`);
  const openedAtMs = given.sinceMs + (rule[given.level]?.trueForSeconds ?? 60) * 1_000;
  return {
    id: newId(openedAtMs),
    rule: rule.name,
    kind: rule.kind,
    title: rule.title,
    node: given.node,
    site: given.site,
    metric: rule.metric,
    labels: given.labels ?? {},
    unit: rule.unit,
    state: 'open',
    level: given.level,
    levelMax: given.level,
    since: iso(given.sinceMs),
    openedAt: iso(openedAtMs),
    closedAt: null,
    closeReason: null,
    value: given.value,
    valueAtOpening: given.value === null ? null : given.value * 0.99,
    bound: rule[given.level]?.trigger ?? { missing: true },
    why: whyOf(rule, given.level, given.value),
    noData: false,
    acknowledged: null,
    silencedBy: null,
    suppressedBy: null,
    annotations: rule.annotations,
    runbook: rule.runbook,
    told: [
      { channel: 'team-mail', status: 'firing', level: given.level, at: iso(openedAtMs + 900), confirmed: false },
      ...(given.level === 'critical'
        ? [{ channel: 'on-call', status: 'firing' as const, level: given.level, at: iso(openedAtMs + 400), confirmed: true }]
        : []),
    ],
  };
}

/** What the figures of a fleet would have been judged as. */
function ofFleet(overview: Overview, nowMs: number): AlertView[] {
  const found: AlertView[] = [];
  overview.nodes.forEach((node, index) => {
    const at = { node: node.name, site: node.site };
    const sinceMs = nowMs - 240_000 - ((index * 7_919) % 9_000) * 1_000;
    if (node.state === 'approved' && !node.up && node.lastSeenAt !== null)
      found.push(makeAlert({ ...at, rule: 'node-silent', level: 'critical', sinceMs: Date.parse(node.lastSeenAt), value: null }));
    if (!node.up) return;
    if ((node.cpu.usageRatio ?? 0) > 0.88) found.push(makeAlert({ ...at, rule: 'cpu-usage', level: 'warning', sinceMs, value: 0.86 }));
    for (const mount of node.disk.mounts) {
      const { mountpoint, usageRatio } = mount;
      if ((usageRatio ?? 0) <= 0.72) continue;
      const level = (usageRatio ?? 0) > 0.85 ? 'critical' : 'warning';
      found.push(makeAlert({ ...at, rule: 'disk-usage', level, sinceMs, value: usageRatio, labels: { mountpoint } }));
    }
    for (const server of node.postgres) {
      const labels = { instance: server.instance };
      if (server.up === false) found.push(makeAlert({ ...at, rule: 'postgres-down', level: 'critical', sinceMs, value: null, labels }));
    }
  });
  return found;
}

function storm(nowMs: number): AlertView[] {
  const found = Array.from({ length: 500 }, (_, n) =>
    makeAlert({
      rule: 'node-silent',
      node: `web-porto-${String(n).padStart(4, '0')}`,
      site: n < 480 ? 'porto' : 'faro',
      level: 'critical',
      sinceMs: nowMs - 120_000 - (n % 40) * 250,
      value: null,
    }),
  );
  found.push(
    makeAlert({
      rule: 'disk-usage',
      node: 'db-lisbon-0001',
      site: 'lisbon',
      level: 'warning',
      sinceMs: nowMs - 7_200_000,
      value: 0.83,
      labels: { mountpoint: '/var/lib/postgresql' },
    }),
  );
  return found;
}

const PAST = ['cpu-usage', 'disk-usage', 'memory-usage', 'node-silent'] as const;
const REASONS = ['recovered', 'recovered', 'recovered', 'closed_by_hand', 'retired', 'rule_changed', 'gone'] as const;

function past(overview: Overview, nowMs: number): AlertView[] {
  const nodes = overview.nodes.filter((node) => node.state === 'approved');
  if (nodes.length === 0) return [];
  return Array.from({ length: 140 }, (_, n) => {
    const node = nodes[(n * 37) % nodes.length];
    const rule = PAST[n % PAST.length] ?? 'cpu-usage';
    const level = n % 3 === 0 || rule === 'node-silent' ? 'critical' : 'warning';
    const sinceMs = nowMs - 5_400_000 - n * 3_700_000;
    const closedMs = sinceMs + 600_000 + (n % 7) * 420_000;
    const alert = makeAlert({
      rule,
      node: node?.name ?? '',
      site: node?.site ?? '',
      level,
      sinceMs,
      value: rule === 'node-silent' ? null : 0.93,
    });
    return {
      ...alert,
      state: 'closed' as const,
      closedAt: iso(closedMs),
      closeReason: REASONS[n % REASONS.length] ?? 'recovered',
      value: rule === 'node-silent' ? null : 0.58,
      acknowledged: n % 4 === 0 ? { by: 'Ana', at: iso(closedMs - 90_000), note: n % 8 === 0 ? 'the nightly batch again' : '' } : null,
      told: alert.told.map((each) => ({ ...each, status: 'resolved' as const, at: iso(closedMs + 700), confirmed: true })),
    };
  });
}

const fits = (pattern: string, text: string): boolean =>
  new RegExp(`^${pattern.replace(/[.+?^${}()|[\]\\]/g, String.raw`\$&`).replaceAll('*', '.*')}$`, 's').test(text);
function covers(matcher: Matcher, alert: AlertView): boolean {
  const part = (wanted: string | undefined, text: string): boolean => wanted === undefined || fits(wanted, text);
  return (
    part(matcher.rule, alert.rule) &&
    part(matcher.node, alert.node) &&
    part(matcher.site, alert.site) &&
    (matcher.level === undefined || matcher.level === alert.level) &&
    Object.entries(matcher.labels ?? {}).every(([name, value]) => fits(value, alert.labels[name] ?? ''))
  );
}

export interface MockReply {
  status: number;
  body?: unknown;
}

/** The book of one mock. `onAlert` hears of each that changed. */
export class MockAlerts {
  #alerts: AlertView[] = [];
  #silences: SilenceView[] = [];
  readonly #now: () => number;
  readonly #changed: (alert: AlertView) => void;
  readonly #silencesChanged: () => void;

  constructor(now: () => number, changed: (alert: AlertView) => void, silencesChanged: () => void) {
    this.#now = now;
    this.#changed = changed;
    this.#silencesChanged = silencesChanged;
  }

  /** Sets the scene; those who listen are not told, as after a start. */
  set(scene: AlertScene, overview: Overview): void {
    const now = this.#now();
    const open = {
      none: () => [],
      one: () =>
        ofFleet(overview, now)
          .filter((each) => each.rule === 'disk-usage' && each.level === 'critical')
          .slice(0, 1),
      fleet: () => ofFleet(overview, now),
      storm: () => storm(now),
    }[scene]();
    this.#silences = [];
    this.#alerts = [...open, ...past(overview, now)].sort((a, b) => (a.id < b.id ? 1 : -1));
  }

  get open(): AlertView[] {
    return this.#alerts.filter((alert) => alert.state === 'open');
  }

  /** Puts an alert into the book, or another version of one that is there, and tells of it. */
  put(alert: AlertView): void {
    this.#alerts = [alert, ...this.#alerts.filter((each) => each.id !== alert.id)].sort((a, b) => (a.id < b.id ? 1 : -1));
    this.#changed(alert);
  }

  list(query: URLSearchParams): unknown {
    const wanted = (name: string, text: string): boolean => query.get(name) === null || query.get(name) === text;
    const state = query.get('state') ?? 'open';
    const before = query.get('before');
    const found = this.#alerts.filter(
      (alert) =>
        (state === 'all' || alert.state === state) &&
        wanted('node', alert.node) &&
        wanted('rule', alert.rule) &&
        wanted('site', alert.site) &&
        wanted('level', alert.level) &&
        (before === null || alert.id < before),
    );
    const limit = Math.min(500, Number(query.get('limit') ?? 100));
    return { at: iso(this.#now()), alerts: found.slice(0, limit), more: found.length > limit };
  }

  detail(id: string): AlertDetail | undefined {
    const alert = this.#alerts.find((each) => each.id === id);
    if (alert === undefined) return undefined;
    const openedMs = Date.parse(alert.openedAt);
    const event = (afterMs: number, kind: string, text: string): AlertEvent => ({
      id: newId(openedMs + afterMs),
      at: iso(openedMs + afterMs),
      kind,
      text,
    });
    const events = [event(0, 'opened', `Opened as ${alert.level}: ${alert.why}`)];
    for (const told of alert.told.filter((each) => each.status === 'firing' || alert.closedAt !== null)) {
      events.push(event(300, 'attempted', `Told ${told.channel}: firing, ${told.level}. Attempt 1.`));
      events.push(
        event(
          700,
          'answered',
          told.confirmed
            ? `${told.channel} answered: 200 OK.`
            : `${told.channel} answered: 451 4.7.1 Greylisting in action. Again in 5 min.`,
        ),
      );
    }
    if (alert.acknowledged !== null)
      events.push({
        id: newId(this.#now()),
        at: alert.acknowledged.at,
        kind: 'acknowledged',
        text: `${alert.acknowledged.by} acknowledged it${alert.acknowledged.note === '' ? '.' : `: ${alert.acknowledged.note}`}`,
      });
    if (alert.closedAt !== null)
      events.push({ id: newId(this.#now()), at: alert.closedAt, kind: 'closed', text: `Closed: ${alert.closeReason}.` });
    return {
      alert,
      events: events.sort((a, b) => (a.at < b.at ? -1 : 1)),
      telling: [
        {
          channel: 'on-call',
          text:
            alert.level === 'critical' ? 'Told that it fires. It will be told when it is over.' : 'Not told: it is told of critical alone.',
        },
        { channel: 'team-mail', text: 'It answered 451 4.7.1 Greylisting in action; tried again in 5 min.' },
        { channel: 'old-pager', text: 'Not told: it is disabled, because it answered 410 Gone.' },
      ],
    };
  }

  acknowledge(id: string, body: { by?: string; note?: string }): MockReply {
    return this.#change(id, (alert) => ({
      ...alert,
      acknowledged: { by: body.by ?? 'admin', at: iso(this.#now()), note: body.note ?? '' },
    }));
  }
  unacknowledge(id: string): MockReply {
    return this.#change(id, (alert) => ({ ...alert, acknowledged: null }));
  }
  close(id: string): MockReply {
    return this.#change(id, (alert) => ({ ...alert, state: 'closed', closedAt: iso(this.#now()), closeReason: 'closed_by_hand' }));
  }

  #change(id: string, change: (alert: AlertView) => AlertView): MockReply {
    const alert = this.#alerts.find((each) => each.id === id);
    if (alert === undefined) return { status: 404, body: 'alert_unknown' };
    if (alert.state === 'closed') return { status: 409, body: 'alert_closed' };
    const changed = change(alert);
    this.put(changed);
    return { status: 200, body: changed };
  }

  silences(): { silences: SilenceView[] } {
    return {
      silences: this.#silences.map((each) => {
        const active = each.active && Date.parse(each.endsAt) > this.#now();
        return { ...each, active, alerts: active ? this.open.filter((alert) => covers(each.matcher, alert)).length : 0 };
      }),
    };
  }

  silence(body: NewSilence): MockReply {
    const now = this.#now();
    const made: SilenceView = {
      id: newId(now),
      matcher: body.matcher,
      reason: body.reason,
      author: body.author ?? 'admin',
      createdAt: iso(now),
      endsAt: iso(now + body.seconds * 1_000),
      active: true,
      alerts: 0,
    };
    this.#silences = [made, ...this.#silences];
    for (const alert of this.open) if (covers(made.matcher, alert)) this.put({ ...alert, silencedBy: made.id });
    this.#silencesChanged();
    return { status: 201, body: made };
  }

  endSilence(id: string): MockReply {
    if (!this.#silences.some((each) => each.id === id)) return { status: 404, body: 'silence_unknown' };
    this.#silences = this.#silences.map((each) => (each.id === id ? { ...each, active: false, endsAt: iso(this.#now()) } : each));
    for (const alert of this.open) if (alert.silencedBy === id) this.put({ ...alert, silencedBy: null });
    this.#silencesChanged();
    return { status: 204 };
  }
}
