/** Times and alerts in words, for whoever reads a message on a phone at night. Pure; one line in, one line out. */
import { boundValue, crossingText } from '../rules/bound-text.ts';
import type { MessageItem } from './channels/channel.ts';

/** Without control characters and line breaks: safe in a header, in a subject and on a terminal. */
export function oneLine(text: string, maxChars = 300): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is meant
  const flat = text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ').trim();
  if (flat.length <= maxChars) return flat;
  // Never through the middle of a character.
  return `${flat.slice(0, maxChars - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}

/** "45 s", "12 min", "3 h 5 min", "2 d 4 h". */
export function durationInWords(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  const days = Math.floor(hours / 24);
  return hours % 24 === 0 ? `${days} d` : `${days} d ${hours % 24} h`;
}

export const timeInWords = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`;

/** What the series is about, in the fewest words: a mount point rather than the device behind it. */
export function labelsInWords(item: MessageItem): string {
  const { labels } = item.incident;
  const telling = ['mountpoint', 'endpoint', 'server', 'instance', 'interface'];
  const chosen = labels.filter(([name]) => telling.includes(name));
  return (chosen.length > 0 ? chosen.map(([, value]) => value) : labels.map(([name, value]) => `${name}=${value}`)).join(' ');
}

/** "CPU usage", "Disk usage of /var". */
export function subjectOf(item: MessageItem): string {
  const labels = labelsInWords(item);
  return labels === '' ? item.incident.title : `${item.incident.title} of ${labels}`;
}

/** "93 % above 90 %", or nothing when there is no number to show. */
export function valueAgainstBound(item: MessageItem): string {
  const { value, bound, unit } = item.incident;
  return value === null || boundValue(bound) === undefined ? '' : crossingText(value, bound, unit);
}

/** How it ended: "it recovered". */
export function endInWords(item: MessageItem): string {
  switch (item.incident.closeReason) {
    case 'recovered':
      return 'it recovered';
    case 'gone':
      return 'what it was about is no longer there';
    case 'retired':
      return 'the node was retired';
    case 'rule_removed':
      return 'its rule was removed';
    case 'rule_changed':
      return 'its rule was changed';
    case 'closed_by_hand':
      return 'somebody closed it by hand';
    case null:
      return 'it is over';
  }
}

/** How long an alert lasted, by when it was opened and closed; null while it is open. */
export function lastedMs(item: MessageItem): number | null {
  const { closedAt, since } = item.incident;
  return closedAt === null ? null : Math.max(0, closedAt - since);
}
