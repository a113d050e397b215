/**
 * A mail's words: subject, plain text and simple HTML, from the same lines. The HTML uses tables and inline styles only,
 * no picture and nothing from elsewhere, and colours that are readable on light and on dark.
 */
import { boundText, valueText } from '../../rules/bound-text.ts';
import type { Message, MessageItem } from './channel.ts';
import { durationInWords, endInWords, lastedMs, oneLine, subjectOf, timeInWords, valueAgainstBound } from '../wording.ts';

export interface MailText {
  readonly subject: string;
  readonly text: string;
  readonly html: string;
}

export function mailText(message: Message): MailText {
  const subject = oneLine(subjectLine(message), 200);
  if (message.test) return testMail(message, subject);
  const blocks = message.items.map(blockOf);
  const foot = footOf(message);
  return {
    subject,
    text: `${blocks.map(blockText).join('\n\n----------------------------------------\n\n')}\n\n${foot.join('\n')}\n`,
    html: page(subject, blocks.map(blockHtml).join(''), foot),
  };
}

function testMail(message: Message, subject: string): MailText {
  const lines = ['This is a test. Alerts will arrive in this form, and from this address.', `Collector: ${message.collectorUrl}`];
  return {
    subject,
    text: `${lines.join('\n')}\n`,
    html: page(subject, lines.map((line) => `<p style="margin:0 0 8px">${escape(line)}</p>`).join(''), []),
  };
}

/** "[CRITICAL] db-1: CPU usage 93 % above 90 %" */
function subjectLine({ items, test }: Message): string {
  if (test) return '[TEST] Tidemark can reach you';
  const tag = tagOf(items);
  const [first] = items;
  if (first === undefined) return `[${tag}] Tidemark`;
  if (items.length === 1) {
    const what = `${first.node}: ${subjectOf(first)}`;
    if (first.status === 'firing') return `[${tag}] ${what} ${valueAgainstBound(first)}`;
    const lasted = lastedMs(first);
    return `[${tag}] ${what}${lasted === null ? '' : `, after ${durationInWords(lasted)}`}`;
  }
  const nodes = new Set(items.map(({ node }) => node));
  const titles = new Set(items.map(({ incident }) => incident.title));
  const where = nodes.size === 1 ? first.node : `${nodes.size} nodes`;
  const firing = items.filter(({ status }) => status === 'firing').length;
  const counts = firing === 0 || firing === items.length ? `${items.length} alerts` : `${firing} firing, ${items.length - firing} resolved`;
  return `[${tag}] ${where}: ${titles.size === 1 ? `${first.incident.title}, ${counts}` : counts}`;
}

function tagOf(items: readonly MessageItem[]): string {
  const firing = items.filter(({ status }) => status === 'firing');
  if (firing.length === 0) return 'RESOLVED';
  return firing.some(({ level }) => level === 'critical') ? 'CRITICAL' : 'WARNING';
}

interface Block {
  readonly tag: 'CRITICAL' | 'WARNING' | 'RESOLVED';
  readonly head: string;
  readonly why: string;
  readonly rows: readonly (readonly [string, string])[];
  readonly links: readonly (readonly [string, string])[];
}

/** Annotations that rules commonly have, by their names. */
const ANNOTATIONS: Readonly<Record<string, string>> = Object.assign(Object.create(null) as object, {
  summary: 'About',
  description: 'Details',
  action: 'To do',
});

function blockOf(item: MessageItem): Block {
  const { incident, node, status, level, late } = item;
  const { unit, value, bound, site, labels } = incident;
  const lasted = lastedMs(item);
  const rows: [string, string][] = [['Where', site === '' ? node : `${node} (${site})`]];
  if (labels.length > 0) rows.push(['What', labels.map(([name, text]) => `${name}=${text}`).join(', ')]);
  if (value !== null)
    rows.push([
      'Value',
      status === 'firing' ? `${valueText(value, unit)}; the bound: ${boundText(bound, unit)}` : `${valueText(value, unit)} now`,
    ]);
  rows.push(['Since', timeInWords(incident.since)]);
  if (status === 'resolved') {
    rows.push(['Ended', `${endInWords(item)}${incident.closedAt === null ? '' : `, at ${timeInWords(incident.closedAt)}`}`]);
    if (lasted !== null) rows.push(['Lasted', durationInWords(lasted)]);
    if (late) rows.push(['Late', 'It was over before this could be delivered; you may not have been told that it fired.']);
  }
  if (incident.noData && status === 'firing')
    rows.push(['Careful', 'Nothing has been measured of late: nobody knows whether it is still so.']);
  if (incident.acknowledged !== null) rows.push(['Taken by', incident.acknowledged.by]);
  const known = Object.keys(ANNOTATIONS);
  const order = (name: string): number => (known.includes(name) ? known.indexOf(name) : known.length);
  for (const [name, text] of Object.entries(incident.annotations).toSorted(([a], [b]) => order(a) - order(b)))
    rows.push([ANNOTATIONS[name] ?? name, text]);
  return {
    tag: status === 'resolved' ? 'RESOLVED' : level === 'critical' ? 'CRITICAL' : 'WARNING',
    head: `${node}: ${subjectOf(item)}`,
    why: incident.why,
    rows: rows.map(([name, text]) => [oneLine(name, 60), oneLine(text, 2_000)]),
    links: [...(item.runbook === null ? [] : [['What to do', item.runbook] as const]), ['Open in the console', item.url] as const],
  };
}

function footOf({ possibleRepeat, openCount, collectorUrl }: Message): string[] {
  const lines: string[] = [];
  if (possibleRepeat) lines.push('This may be a repetition: an earlier attempt to send it had no answer.');
  lines.push(openCount === 0 ? 'No other alert is open.' : `Open alerts you were told of: ${openCount}.`);
  lines.push(`Sent by Tidemark at ${collectorUrl}`);
  return lines;
}

function blockText({ tag, head, why, rows, links }: Block): string {
  const width = Math.max(...rows.map(([name]) => name.length));
  return [
    `[${tag}] ${oneLine(head)}`,
    oneLine(why, 2_000),
    '',
    ...rows.map(([name, text]) => `${`${name}:`.padEnd(width + 1)} ${text}`),
    '',
    ...links.map(([name, url]) => `${name}: ${oneLine(url, 2_000)}`),
  ].join('\n');
}

const COLOURS = { CRITICAL: '#c62828', WARNING: '#b26a00', RESOLVED: '#2e7d32' } as const;

function blockHtml({ tag, head, why, rows, links }: Block): string {
  const colour = COLOURS[tag];
  const cells = rows.map(
    ([name, text]) =>
      `<tr><td style="padding:2px 12px 2px 0;opacity:.7;vertical-align:top;white-space:nowrap">${escape(name)}</td><td style="padding:2px 0;overflow-wrap:anywhere">${escape(text)}</td></tr>`,
  );
  const anchors = links
    .filter(([, url]) => /^https?:\/\//i.test(url))
    .map(([name, url]) => `<a href="${escape(url)}" style="display:inline-block;padding:10px 16px 10px 0">${escape(name)}</a>`);
  return (
    `<div style="border-left:4px solid ${colour};padding:4px 0 4px 14px;margin:0 0 24px">` +
    `<p style="margin:0 0 6px"><span style="background:${colour};color:#ffffff;padding:2px 8px;border-radius:3px;font-weight:bold;font-size:13px">${tag}</span></p>` +
    `<p style="margin:0 0 6px;font-size:19px;font-weight:bold;overflow-wrap:anywhere">${escape(oneLine(head))}</p>` +
    `<p style="margin:0 0 10px">${escape(oneLine(why, 2_000))}</p>` +
    `<table role="presentation" cellpadding="0" cellspacing="0" style="font-size:15px;line-height:1.45">${cells.join('')}</table>` +
    `<p style="margin:8px 0 0">${anchors.join(' ')}</p></div>`
  );
}

/** No colours of its own but for the marks: the reader's theme gives text and ground, and may turn both over. */
function page(subject: string, content: string, foot: readonly string[]): string {
  return (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">' +
    '<meta name="color-scheme" content="light dark"><meta name="supported-color-schemes" content="light dark">' +
    `<title>${escape(subject)}</title></head>` +
    '<body style="margin:0;padding:16px;font-family:-apple-system,Segoe UI,Roboto,Helvetica,Arial,sans-serif;font-size:16px;line-height:1.4">' +
    `${content}${foot.length === 0 ? '' : `<p style="font-size:13px;opacity:.7">${foot.map(escape).join('<br>')}</p>`}</body></html>\n`
  );
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;').replaceAll("'", '&#39;');
}
