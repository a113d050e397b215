/** Alerts and silences as the API shows them: names as nodes are called now, what is moot derived at the moment of asking. */
import type { AlertEvent, AlertView, SilenceView, ToldView } from '@tidemark/protocol';
import type { RecordedEntry } from './book.ts';
import type { Book, Incident, Silence } from './entry.ts';
import { covers, silenceOf, suppressorOf, type NodeNames } from './moot.ts';

export interface ViewContext {
  readonly book: Book;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** What a node is called now. */
  readonly nodeOf: (nodeId: number) => NodeNames | undefined;
  /** The newest value judged of an open alert, where whoever judges knows one. */
  readonly latestOf?: ((incidentId: string) => number | undefined) | undefined;
}

const time = (ms: number): string => new Date(ms).toISOString();
const timeOrNull = (ms: number | null): string | null => (ms === null ? null : time(ms));

/** A node as it is called now; one that is not known here, as it was called then. */
export function namesOf(incident: Incident, nodeOf: ViewContext['nodeOf']): NodeNames {
  return nodeOf(incident.nodeId) ?? { name: incident.nodeName, site: incident.site };
}

export function alertView(incident: Incident, { book, now, nodeOf, latestOf }: ViewContext): AlertView {
  const { name, site } = namesOf(incident, nodeOf);
  const { acknowledged } = incident;
  const isOpen = incident.closedAt === null;
  return {
    id: incident.incidentId,
    rule: incident.rule,
    kind: incident.kind,
    title: incident.title,
    node: name,
    site,
    metric: incident.metric,
    labels: Object.fromEntries(incident.labels),
    unit: incident.unit,
    state: isOpen ? 'open' : 'closed',
    level: incident.level,
    levelMax: incident.levelMax,
    since: time(incident.since),
    openedAt: time(incident.openedAt),
    closedAt: timeOrNull(incident.closedAt),
    closeReason: incident.closeReason,
    value: (isOpen ? latestOf?.(incident.incidentId) : undefined) ?? incident.value,
    valueAtOpening: incident.valueAtOpening,
    bound: incident.bound,
    why: incident.why,
    noData: incident.noData,
    acknowledged: acknowledged === null ? null : { by: acknowledged.by, at: time(acknowledged.at), note: acknowledged.note },
    silencedBy: (isOpen ? silenceOf(book.silences(), incident, { name, site }, now)?.silenceId : undefined) ?? null,
    suppressedBy: suppressorOf(book, incident)?.incidentId ?? null,
    annotations: { ...incident.annotations },
    runbook: incident.runbook,
    told: toldViews(incident),
  };
}

/** What each channel was last told. */
export function toldViews(incident: Incident): ToldView[] {
  return [...incident.told].map(([channel, { status, level, at, confirmed }]) => ({ channel, status, level, at: time(at), confirmed }));
}

export function silenceView(
  silence: Silence & { readonly createdAt: number; readonly endedAt?: number | null },
  { book, now, nodeOf }: ViewContext,
): SilenceView {
  const endsAt = silence.endedAt ?? silence.endsAt;
  const active = endsAt > now;
  let alerts = 0;
  if (active)
    for (const incident of book.incidents())
      if (incident.closedAt === null && covers(silence.matcher, incident, namesOf(incident, nodeOf))) alerts++;
  return {
    id: silence.silenceId,
    matcher: silence.matcher,
    reason: silence.reason,
    author: silence.author,
    createdAt: time(silence.createdAt),
    endsAt: time(endsAt),
    active,
    alerts,
  };
}

const ENDED: Readonly<Record<NonNullable<Incident['closeReason']>, string>> = {
  recovered: 'It recovered',
  gone: 'What it was about is no longer there',
  retired: 'The node was retired',
  rule_removed: 'The rule was removed',
  rule_changed: 'The rule was changed',
  closed_by_hand: 'Closed by hand',
};

const note = (text: string): string => (text === '' ? '' : `: ${text}`);
const seconds = (ms: number): string => `${time(ms).slice(0, 19).replace('T', ' ')} UTC`;

/** One line of an alert's story. `incidentId` chooses, of a message about several, what it said of this one. */
export function alertEvent(entry: RecordedEntry, incidentId: string): AlertEvent {
  return { id: entry.id, at: time(entry.at), kind: entry.kind, text: sentence(entry, incidentId) };
}

function sentence(entry: RecordedEntry, incidentId: string): string {
  switch (entry.kind) {
    case 'opened':
      return `It opened as ${entry.opening.level}${note(entry.opening.why)}`;
    case 'level':
      return `${entry.level === 'critical' ? 'It became critical' : 'It is a warning again'}${note(entry.why)}`;
    case 'data':
      return `${entry.noData ? 'Nothing is measured any more' : 'It is measured again'}${note(entry.why)}`;
    case 'closed':
      return `${ENDED[entry.reason]}${note(entry.why)}`;
    case 'acknowledged':
      return `Acknowledged by ${entry.by}${note(entry.note)}`;
    case 'unacknowledged':
      return `No longer acknowledged, by ${entry.by}${note(entry.why)}`;
    case 'silenced':
      return `Silenced by ${entry.silence.author} until ${seconds(entry.silence.endsAt)}${note(entry.silence.reason)}`;
    case 'unsilenced':
      return `Silence ended by ${entry.by}`;
    case 'attempted': {
      const item = entry.items.find((one) => one.incidentId === incidentId);
      const said = item === undefined ? 'a message' : item.status === 'resolved' ? 'that it is over' : `that it fires (${item.level})`;
      return `${entry.channel} is told ${said}${entry.attempt > 1 ? `, attempt ${entry.attempt}` : ''}`;
    }
    case 'answered':
      return answered(entry);
  }
}

function answered({ channel, outcome, answer, retryAt }: Extract<RecordedEntry, { kind: 'answered' }>): string {
  switch (outcome) {
    case 'delivered':
      return `${channel} took it${note(answer)}`;
    case 'retry':
      return `${channel} did not take it${note(answer)}; ${retryAt === null ? 'it is not tried again' : `tried again at ${seconds(retryAt)}`}`;
    case 'refused':
      return `${channel} will not take it${note(answer)}`;
    case 'gone':
      return `${channel} asked never to be sent anything again${note(answer)}`;
  }
}
